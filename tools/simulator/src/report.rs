//! What a person is shown of one run.
#![expect(clippy::print_stdout, reason = "a person follows a seed through standard output")]

use crate::message::Request;

pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// A request in a few words.
pub(crate) fn request(request: &Request) -> String {
    let mut text = format!("{request:?}");
    if text.len() > 300 {
        let mut end = 300;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}
