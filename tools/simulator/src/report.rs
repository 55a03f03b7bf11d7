//! What a person is shown of one run.
#![expect(clippy::print_stdout, reason = "a person follows a seed through standard output")]

use crate::message::Request;

pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// A request in a few words.
pub(crate) fn request(request: &Request) -> String {
    if let Request::Produce { key: (topic, index), batch, .. } = request
        && let Ok(header) = milena_records::BatchHeader::parse(batch)
    {
        let (producer, sequence, count) = (header.producer_id, header.base_sequence, header.record_count);
        return format!("Produce {topic}-{index} producer {producer} sequence {sequence} count {count}");
    }
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
