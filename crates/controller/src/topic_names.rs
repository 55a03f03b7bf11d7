//! Which names a topic may have (`org.apache.kafka.common.internals.Topic`).

use milena_types::ErrorCode;

use crate::ApiError;

const NAME_LENGTH_MAX: usize = 249;

/// Whether the name may be a topic's.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION` with Kafka's text.
pub fn validate_topic_name(name: &str) -> Result<(), ApiError> {
    let refuse =
        |why: String| Err(ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, format!("Topic name is invalid: {why}")));
    if name.is_empty() {
        return refuse("the empty string is not allowed".to_owned());
    }
    if name == "." {
        return refuse("'.' is not allowed".to_owned());
    }
    if name == ".." {
        return refuse("'..' is not allowed".to_owned());
    }
    // Java counts UTF-16 units.
    if name.encode_utf16().count() > NAME_LENGTH_MAX {
        return refuse(format!("the length of '{name}' is longer than the max allowed length {NAME_LENGTH_MAX}"));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(legal) {
        return refuse(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// Names that differ only in `.` and `_` would share a metric's name.
pub(crate) fn has_collision_characters(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// The form in which colliding names are equal.
pub(crate) fn unify_collision_characters(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_in_kafkas_words() {
        let text = |name: &str| validate_topic_name(name).map_err(|error| error.message.unwrap_or_default());
        assert_eq!(text("orders.v1_a-b"), Ok(()));
        assert_eq!(text(".."), Err("Topic name is invalid: '..' is not allowed".to_owned()));
        assert_eq!(
            text("a b"),
            Err("Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' \
                 and '-'"
                .to_owned())
        );
        assert!(text(&"x".repeat(249)).is_ok());
        assert!(text(&"x".repeat(250)).is_err());
    }
}
