//! `ClassicRecord`: a classic group as its last record has it (`GroupMetadataValue`).

use milena_protocol::messages::GroupMetadataValue;

/// What is in the log of a classic group.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClassicRecord {
    value: GroupMetadataValue,
}

impl ClassicRecord {
    pub(crate) fn new(value: &GroupMetadataValue) -> ClassicRecord {
        ClassicRecord { value: value.clone() }
    }

    /// A group that offsets were committed for, without members ever.
    pub(crate) fn simple() -> ClassicRecord {
        ClassicRecord::default()
    }

    /// The record.
    #[must_use]
    pub fn value(&self) -> &GroupMetadataValue {
        &self.value
    }

    /// Whether members never came and offsets are all there is.
    #[must_use]
    pub fn is_simple(&self) -> bool {
        self.value.protocol_type.is_empty() && self.value.members.is_empty()
    }
}
