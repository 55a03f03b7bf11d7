//! Names: Kafka's camel case to Rust's.

/// `TopicId` -> `topic_id`; keywords get a trailing underscore.
pub(crate) fn snake(name: &str) -> String {
    let mut out = String::new();
    for character in name.replace("KRaft", "Kraft").chars() {
        if character.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    if matches!(out.as_str(), "type" | "match" | "as" | "ref" | "move" | "final" | "where") {
        out.push('_');
    }
    out
}

/// `OffsetForLeaderEpoch` -> `OFFSET_FOR_LEADER_EPOCH`.
pub(crate) fn screaming(name: &str) -> String {
    snake(name).trim_end_matches('_').to_uppercase()
}

/// The first letter in upper case.
pub(crate) fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
