//! Which names a topic may have (`Topic.validate`).

/// The longest name: file names add a partition number and a suffix.
const NAME_BYTES_MAX: usize = 249;

/// Whether a topic may have this name.
pub(crate) fn is_valid(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name != "." && name != ".." && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn names_are_those_kafka_allows() {
        let longest = "a".repeat(249);
        for good in ["a", "A.b_c-1", "...", longest.as_str()] {
            assert!(is_valid(good), "{good}");
        }
        let too_long = "a".repeat(250);
        for bad in ["", ".", "..", "a b", "a/b", "ä", too_long.as_str()] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
