//! Java's string hash and its hash table's order: they decide on which partition a group is, and who wins a tie.

/// `String.hashCode`.
#[must_use]
pub fn string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The partition of `__consumer_offsets` that a group is on (`Utils.abs(groupId.hashCode()) % partitions`).
#[must_use]
pub fn partition_for(group: &str, partitions: i32) -> i32 {
    let hash = string_hash(group);
    let hash = if hash == i32::MIN { 0 } else { hash.abs() };
    hash % partitions.max(1)
}

/// The size of a `HashMap` with this many entries.
pub(crate) fn table_size(entries: usize) -> u32 {
    let mut size = 16u32;
    while entries > size as usize * 3 / 4 {
        size *= 2;
    }
    size
}

/// Where in the iteration of a `HashMap` a key is.
pub(crate) fn table_slot(key: &str, table_size: u32) -> u32 {
    let hash = string_hash(key) as u32;
    (hash ^ (hash >> 16)) & (table_size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        assert_eq!(string_hash(""), 0);
        assert_eq!(
            string_hash("console-consumer-1"),
            "console-consumer-1"
                .bytes()
                .fold(0i32, |hash, byte| { hash.wrapping_mul(31).wrapping_add(i32::from(byte)) })
        );
        assert_eq!(string_hash("hello"), 99_162_322);
        // Beyond the basic plane Java counts two units.
        assert_eq!(string_hash("\u{1F600}"), 0xd83d * 31 + 0xde00);
        // A known string whose hash is the smallest number, of which there is no absolute value.
        assert_eq!(string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("hello", 50), 22);
    }
}
