//! `ConsumerGroup`: what the records of one consumer group amount to.

/// One consumer group. Cloned once for each append that changes it, so its parts are cheap to clone.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ConsumerGroup {
    /// Counts changes of members, subscriptions and topics.
    pub epoch: i32,
    /// Of the subscribed topics' metadata.
    pub metadata_hash: i64,
}
