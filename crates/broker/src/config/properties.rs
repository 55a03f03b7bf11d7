//! The properties format, as `java.util.Properties.load` reads it from a stream of bytes.
//!
//! Bytes are ISO-8859-1; anything else is written as `\uXXXX`. A logical line ends at a line feed or a
//! carriage return that no backslash precedes; blanks at the start of a continuation are dropped; `#`
//! and `!` open a comment only at the start of a logical line; a key ends at `=`, `:` or a blank.

use std::collections::BTreeMap;

/// A `\u` that four hexadecimal digits do not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Malformed \\uxxxx encoding.")]
pub struct MalformedProperties;

/// Reads all pairs; the last of several pairs with one key counts.
pub fn parse_properties(bytes: &[u8]) -> Result<BTreeMap<String, String>, MalformedProperties> {
    let text: Vec<char> = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut pairs = BTreeMap::new();
    for line in logical_lines(&text) {
        let (key, value) = split_pair(&line);
        pairs.insert(unescape(key)?, unescape(value)?);
    }
    Ok(pairs)
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r')
}

/// Lines without comments, empty lines, leading blanks and continuations.
fn logical_lines(text: &[char]) -> Vec<Vec<char>> {
    let mut lines = Vec::new();
    let mut line: Vec<char> = Vec::new();
    let mut continued = false;
    for natural in text.split(|character| is_line_end(*character)) {
        let start = natural.iter().position(|character| !is_blank(*character)).unwrap_or(natural.len());
        let content = natural.get(start..).unwrap_or_default();
        if !continued && (content.is_empty() || matches!(content.first(), Some('#' | '!'))) {
            continue;
        }
        // A carriage return and line feed pair leaves an empty natural line inside a continuation.
        if continued && content.is_empty() && line.last() != Some(&'\\') && natural.is_empty() {
            continue;
        }
        let backslashes = content.iter().rev().take_while(|character| **character == '\\').count();
        continued = backslashes % 2 == 1;
        let keep = if continued { content.len().saturating_sub(1) } else { content.len() };
        line.extend(content.iter().take(keep));
        if !continued {
            lines.push(std::mem::take(&mut line));
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

fn split_pair(line: &[char]) -> (&[char], &[char]) {
    let mut escaped = false;
    let mut key_end = line.len();
    for (index, character) in line.iter().enumerate() {
        if !escaped && (is_blank(*character) || matches!(character, '=' | ':')) {
            key_end = index;
            break;
        }
        escaped = *character == '\\' && !escaped;
    }
    let (key, rest) = line.split_at_checked(key_end).unwrap_or((line, &[]));
    let mut separator_seen = false;
    let value_start = rest
        .iter()
        .position(|character| {
            let separator = !separator_seen && matches!(character, '=' | ':');
            separator_seen |= separator;
            !separator && !is_blank(*character)
        })
        .unwrap_or(rest.len());
    (key, rest.get(value_start..).unwrap_or_default())
}

fn unescape(raw: &[char]) -> Result<String, MalformedProperties> {
    // Surrogate pairs may come as two escapes, so code units are collected first.
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(character) = rest.next() {
        let plain = match character {
            '\\' => match rest.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    units.push(hexadecimal(&mut rest)?);
                    continue;
                }
                Some(other) => *other,
                None => continue,
            },
            other => *other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn hexadecimal<'a>(rest: &mut impl Iterator<Item = &'a char>) -> Result<u16, MalformedProperties> {
    let mut unit = 0u32;
    for _ in 0..4 {
        let digit = rest.next().and_then(|character| character.to_digit(16)).ok_or(MalformedProperties)?;
        unit = unit * 16 + digit;
    }
    u16::try_from(unit).map_err(|_| MalformedProperties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: &[(&str, &str)]) {
        let pairs = parse_properties(text).unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn separators_blanks_and_comments_are_javas() {
        check(
            b"a=1\n b : 2\nc 3\nd\n#e=5\n  !f=6\ng = = x ",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", ""), ("g", "= x ")],
        );
    }

    #[test]
    fn lines_continue_after_a_backslash_and_lose_their_leading_blanks() {
        check(b"list=a,\\\n   b,\\\r\n\tc\nlast=x\\\\\nnext=1", &[("last", "x\\"), ("list", "a,b,c"), ("next", "1")]);
        check(b"a=1\\", &[("a", "1")]);
    }

    #[test]
    fn a_comment_never_continues_and_a_hash_in_a_value_is_no_comment() {
        check(b"# one \\\na=b#c\n", &[("a", "b#c")]);
    }

    #[test]
    fn escapes_and_latin_1_become_text() {
        check(b"k\\=e\\:y\\ =\\t\\u00e9\\ud83d\\ude00\xe9\\q", &[("k=e:y ", "\t\u{e9}\u{1f600}\u{e9}q")]);
        assert_eq!(parse_properties(b"a=\\u12g4"), Err(MalformedProperties));
    }

    #[test]
    fn the_last_of_two_values_counts() {
        check(b"a=1\na=2", &[("a", "2")]);
    }
}
