//! Subscriptions by regular expression: which topics they stand for. Kafka: `TopicRegexResolver`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::regex::{Regex, RegexBuilder};
use milena_metadata::Image;
use milena_protocol::Text;
use milena_types::ErrorCode;

use super::re2;
use crate::group::error::Refusal;

/// Most bytes of a compiled expression: a member must not fill the memory with one.
const PROGRAM_BYTES_MAX: usize = 10 << 20;

/// The topics an expression stood for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ResolvedRegex {
    pub(crate) topics: Arc<BTreeSet<Text>>,
    /// The offset of the metadata it was looked up in.
    pub(crate) version: i64,
    /// When, in milliseconds.
    pub(crate) timestamp: i64,
}

/// An expression that must match a whole name.
fn compile(pattern: &str) -> Result<Regex, &'static str> {
    let translated = re2::translate(pattern)?;
    RegexBuilder::new(&format!("^(?:{translated})$"))
        .size_limit(PROGRAM_BYTES_MAX)
        .build()
        .map_err(|_| "expression is too large")
}

/// Refuses what is no expression (`Utils.throwIfRegularExpressionIsInvalid`).
pub(super) fn validate(pattern: &str) -> Result<(), Refusal> {
    compile(pattern).map(|_| ()).map_err(|description| {
        let text = format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {description}.");
        Refusal::new(ErrorCode::INVALID_REGULAR_EXPRESSION, text)
    })
}

/// Looks expressions up among all topics. One that is not valid stands for none.
pub(super) fn resolve(patterns: &[Text], image: &Image, now_ms: i64) -> Vec<(Text, ResolvedRegex)> {
    let resolve = |pattern: &Text| {
        let mut topics = BTreeSet::new();
        if let Ok(regex) = compile(pattern) {
            let names = image.topics.iter().map(|topic| &topic.name);
            topics.extend(names.filter(|name| regex.is_match(name)).cloned());
        }
        let resolved = ResolvedRegex { topics: Arc::new(topics), version: image.offset.0, timestamp: now_ms };
        (pattern.clone(), resolved)
    };
    patterns.iter().map(resolve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patterns and what RE2/J of Kafka 4.3.1 said of them (`GroupOracle regex`).
    const KNOWN: &str = include_str!("../../../testdata/re2.txt");

    #[test]
    fn expressions_are_taken_refused_and_matched_as_re2_does() {
        let mut names: Vec<&str> = Vec::new();
        for line in KNOWN.lines() {
            let mut fields = line.split('\t');
            let pattern = fields.next().unwrap();
            if pattern == "pattern" {
                names = fields.skip(1).collect();
                continue;
            }
            let expected = fields.next().unwrap();
            let ours = match compile(pattern) {
                Err(description) => format!("error: {description}"),
                Ok(regex) => {
                    names.iter().fold("ok".to_owned(), |all, name| all + if regex.is_match(name) { " 1" } else { " 0" })
                }
            };
            assert_eq!(ours, expected, "{pattern}");
        }
    }

    #[test]
    fn an_expression_whose_program_would_fill_the_memory_is_refused() {
        for pattern in ["(x{1000}){1000}", "((x{100}){100}){100}"] {
            let refusal = validate(pattern).unwrap_err();
            assert_eq!(refusal.error, ErrorCode::INVALID_REGULAR_EXPRESSION);
        }
    }
}
