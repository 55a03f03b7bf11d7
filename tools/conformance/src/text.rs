//! Texts compared: sections of a script's output, their difference, what is replaced before comparing.

use std::collections::BTreeMap;

/// Cuts `## name` sections out of a script's output, in the order of names.
pub(crate) fn sections(output: &str) -> BTreeMap<String, Vec<String>> {
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current: Option<&str> = None;
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            current = Some(name);
            sections.entry(name.to_owned()).or_default();
        } else if let Some(lines) = current.and_then(|name| sections.get_mut(name)) {
            lines.push(line.to_owned());
        }
    }
    sections
}

/// How two texts differ, line by line: none, or the first differing lines (`-` reference, `+` candidate).
pub(crate) fn difference(reference: &[String], candidate: &[String]) -> Option<String> {
    const SHOWN_MAX: usize = 8;
    let mut shown = Vec::new();
    let mut count = 0;
    for at in 0..reference.len().max(candidate.len()) {
        let (left, right) = (reference.get(at), candidate.get(at));
        if left == right {
            continue;
        }
        count += 1;
        if count <= SHOWN_MAX {
            shown.extend(left.map(|line| format!("     - {}", cut(line, right))));
            shown.extend(right.map(|line| format!("     + {}", cut(line, left))));
        }
    }
    if count > SHOWN_MAX {
        shown.push(format!("     ... {} more lines differ", count - SHOWN_MAX));
    }
    (count > 0).then(|| shown.join("\n"))
}

/// A long line cut to the neighbourhood of where it begins to differ from the other.
fn cut(line: &str, other: Option<&String>) -> String {
    const AROUND: usize = 300;
    let same =
        other.map_or(0, |other| line.chars().zip(other.chars()).take_while(|(left, right)| left == right).count());
    let from = same.saturating_sub(60);
    let text: String = line.chars().skip(from).take(AROUND).collect();
    if from > 0 { format!("(at {from}) ...{text}") } else { text }
}

/// Replaces every run of decimal digits that follows `mark` by `N`.
pub(crate) fn hide_number_after(line: &str, mark: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(mark) {
        out += before;
        out += mark;
        rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '-');
        if rest.len() != after.len() {
            out.push('N');
        }
    }
    out + rest
}

/// Replaces the word (up to a blank) that follows `mark` by `W`.
pub(crate) fn hide_word_after(line: &str, mark: &str) -> String {
    let Some((before, after)) = line.split_once(mark) else {
        return line.to_owned();
    };
    let rest = after.trim_start_matches(|letter: char| !letter.is_whitespace());
    format!("{before}{mark}W{rest}")
}

/// The last `count` lines.
pub(crate) fn end_of(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(count);
    lines.into_iter().skip(skip).collect::<Vec<_>>().join("\n     ")
}

/// The line with a word for each number, and one blank for several.
pub(crate) fn numberless(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for (at, character) in line.char_indices() {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        match character {
            '0'..='9' if before.is_some_and(|before| before.is_ascii_digit()) => {}
            '0'..='9' => out.push('N'),
            ' ' | '\t' if before.is_some_and(|before| before.is_whitespace()) => {}
            '\t' => out.push(' '),
            other => out.push(other),
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{difference, hide_number_after, hide_word_after, sections};

    #[test]
    fn sections_are_cut_by_their_headings() {
        let found = sections("noise\n## a\n1\n2\n## b\n## end\n");
        assert_eq!(found.get("a"), Some(&vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(found.get("b"), Some(&vec![]));
    }

    #[test]
    fn equal_texts_have_no_difference_and_others_show_both_sides() {
        let left = ["same".to_owned(), "one".to_owned()];
        let right = ["same".to_owned(), "two".to_owned(), "three".to_owned()];
        assert_eq!(difference(&left, &left), None);
        assert_eq!(difference(&left, &right).as_deref(), Some("     - one\n     + two\n     + three"));
    }

    #[test]
    fn numbers_and_words_of_their_own_are_hidden() {
        assert_eq!(
            hide_number_after("CreateTime: 17 crc: -5 CreateTime: 3", "CreateTime: "),
            "CreateTime: N crc: -5 CreateTime: N"
        );
        assert_eq!(hide_word_after("TopicId: abc Partitions: 1", "TopicId: "), "TopicId: W Partitions: 1");
    }
}
