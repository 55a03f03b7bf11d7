//! Names of partition directories: `topic-0`, `topic-0.<32 hex digits>-delete` while one waits for its deletion,
//! `-future` while it moves between log directories, `-stray` when the metadata does not know it (`LocalLog`).

use std::fmt;
use std::sync::Arc;

use milena_types::{PartitionIndex, Uuid};

/// A partition by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: Arc<str>,
    /// 0-based partition.
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a directory in a log directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DirectoryKind {
    /// A partition's log.
    Log(TopicPartition),
    /// A log that waits for its deletion.
    Delete(TopicPartition),
    /// A copy of a log that will replace one in another log directory.
    Future(TopicPartition),
    /// A log the metadata did not know.
    Stray(TopicPartition),
}

impl TopicPartition {
    /// Parses `topic-0`.
    #[must_use]
    pub fn parse(name: &str) -> Option<TopicPartition> {
        let (topic, partition) = name.rsplit_once('-')?;
        if topic.is_empty() || partition.is_empty() || !partition.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(TopicPartition { topic: topic.into(), partition: PartitionIndex(partition.parse().ok()?) })
    }

    /// `topic-0.<unique>-delete`, cut to 255 bytes in the topic's part as Kafka does.
    #[must_use]
    pub fn delete_name(&self, unique: Uuid) -> String {
        self.name_with(unique, "delete")
    }

    fn name_with(&self, unique: Uuid, kind: &str) -> String {
        let hex: String = unique.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let suffix = format!("-{}.{hex}-{kind}", self.partition);
        let room = 255_usize.saturating_sub(suffix.len());
        format!("{}{suffix}", self.topic.get(..room).unwrap_or(&self.topic))
    }

    /// `topic-0.<unique>-future`.
    #[must_use]
    pub fn future_name(&self, unique: Uuid) -> String {
        self.name_with(unique, "future")
    }

    /// `topic-0.<unique>-stray`.
    #[must_use]
    pub fn stray_name(&self, unique: Uuid) -> String {
        self.name_with(unique, "stray")
    }
}

impl DirectoryKind {
    /// Parses a directory's name; `None` if it has none of the four forms.
    #[must_use]
    pub fn parse(name: &str) -> Option<DirectoryKind> {
        type Make = fn(TopicPartition) -> DirectoryKind;
        let forms: [(&str, Make); 3] =
            [("-delete", DirectoryKind::Delete), ("-future", DirectoryKind::Future), ("-stray", DirectoryKind::Stray)];
        for (suffix, make) in forms {
            if let Some(rest) = name.strip_suffix(suffix) {
                let (log, _unique) = rest.rsplit_once('.')?;
                return TopicPartition::parse(log).map(make);
            }
        }
        TopicPartition::parse(name).map(DirectoryKind::Log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition: PartitionIndex(partition) }
    }

    #[test]
    fn directories_are_told_apart_by_their_names() {
        assert_eq!(DirectoryKind::parse("a-b.c-12"), Some(DirectoryKind::Log(partition("a-b.c", 12))));
        let deleted = partition("a.b", 3).delete_name(Uuid([0xab; 16]));
        assert_eq!(deleted, "a.b-3.abababababababababababababababab-delete");
        assert_eq!(DirectoryKind::parse(&deleted), Some(DirectoryKind::Delete(partition("a.b", 3))));
        let stray = partition("a.b", 3).stray_name(Uuid([0xab; 16]));
        assert_eq!(DirectoryKind::parse(&stray), Some(DirectoryKind::Stray(partition("a.b", 3))));
        let deletes = partition("to-delete", 0).stray_name(Uuid([1; 16]));
        assert_eq!(DirectoryKind::parse(&deletes), Some(DirectoryKind::Stray(partition("to-delete", 0))), "{deletes}");
        for wrong in ["topic", "topic-", "-1", "topic-x", "x-delete", "lost+found"] {
            assert_eq!(DirectoryKind::parse(wrong), None, "{wrong}");
        }
        assert_eq!(partition(&"t".repeat(249), 0).delete_name(Uuid::ZERO).len(), 255);
    }
}
