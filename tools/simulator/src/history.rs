//! What clients asked and were told, one line an operation: the format of all histories.

use std::fmt;

use milena_replication::PartitionKey;

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened.
    Info,
}

/// One operation of one client.
#[derive(Clone, Debug)]
pub struct Operation {
    pub process: usize,
    /// `send` or `poll`.
    pub what: &'static str,
    pub outcome: Outcome,
    pub key: PartitionKey,
    /// -1 where it is not known.
    pub offset: i64,
    pub value: u64,
    pub at_ms: i64,
}

impl fmt::Display for Operation {
    /// Tab-separated: op, process, type, key, offset, value, nanoseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
        };
        let (topic, index) = self.key;
        let nanoseconds = i128::from(self.at_ms) * 1_000_000;
        write!(
            f,
            "{}\t{}\t{outcome}\t{topic}-{index}\t{}\t{}\t{nanoseconds}",
            self.what, self.process, self.offset, self.value
        )
    }
}
