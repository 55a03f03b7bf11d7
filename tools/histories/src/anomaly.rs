//! What can be wrong with a history, by the names of Jepsen's Kafka workload.

use std::collections::BTreeMap;
use std::fmt;

/// A kind of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// Two values have been at one offset.
    InconsistentOffsets,
    /// A value is at two offsets.
    Duplicate,
    /// A value was read that nobody sent.
    Phantom,
    /// What was acknowledged is below what was read, and was never read itself.
    LostWrite,
    /// What was acknowledged was never read, though everything was read to the end.
    Unseen,
    /// What certainly failed, or was aborted, was read.
    G1a,
    /// A transaction was read in part: one of its values was, another one below what was read never.
    G1b,
    /// Transactions read each other's writes in a circle.
    G1c,
    /// Writes of transactions are between each other's. Kafka does not isolate writes: legal.
    G0,
    /// A transaction reads what it wrote itself.
    PrecommittedRead,
    /// From one poll to the next a process passed over a value.
    PollSkip,
    /// From one poll to the next a process went back.
    NonmonotonicPoll,
    /// Within one poll, or one transaction, a value was passed over.
    IntPollSkip,
    /// Within one poll, or one transaction, it went back.
    IntNonmonotonicPoll,
    /// What a process sent later is before what it sent earlier.
    NonmonotonicSend,
    /// The same within a transaction.
    IntNonmonotonicSend,
    /// Between two sends of a transaction there is another's. Legal as `G0` is.
    IntSendSkip,
}

impl Anomaly {
    /// Every kind.
    pub const ALL: [Anomaly; 17] = [
        Anomaly::InconsistentOffsets,
        Anomaly::Duplicate,
        Anomaly::Phantom,
        Anomaly::LostWrite,
        Anomaly::Unseen,
        Anomaly::G1a,
        Anomaly::G1b,
        Anomaly::G1c,
        Anomaly::G0,
        Anomaly::PrecommittedRead,
        Anomaly::PollSkip,
        Anomaly::NonmonotonicPoll,
        Anomaly::IntPollSkip,
        Anomaly::IntNonmonotonicPoll,
        Anomaly::NonmonotonicSend,
        Anomaly::IntNonmonotonicSend,
        Anomaly::IntSendSkip,
    ];

    /// Whether Kafka promises nothing against it.
    #[must_use]
    pub fn is_legal(self) -> bool {
        matches!(self, Anomaly::G0 | Anomaly::IntSendSkip)
    }

    /// As Jepsen has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Anomaly::InconsistentOffsets => "inconsistent-offsets",
            Anomaly::Duplicate => "duplicate",
            Anomaly::Phantom => "phantom",
            Anomaly::LostWrite => "lost-write",
            Anomaly::Unseen => "unseen",
            Anomaly::G1a => "G1a",
            Anomaly::G1b => "G1b",
            Anomaly::G1c => "G1c",
            Anomaly::G0 => "G0",
            Anomaly::PrecommittedRead => "precommitted-read",
            Anomaly::PollSkip => "poll-skip",
            Anomaly::NonmonotonicPoll => "nonmonotonic-poll",
            Anomaly::IntPollSkip => "int-poll-skip",
            Anomaly::IntNonmonotonicPoll => "int-nonmonotonic-poll",
            Anomaly::NonmonotonicSend => "nonmonotonic-send",
            Anomaly::IntNonmonotonicSend => "int-nonmonotonic-send",
            Anomaly::IntSendSkip => "int-send-skip",
        }
    }
}

/// What was found, each with what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub found: BTreeMap<Anomaly, Vec<String>>,
}

impl Report {
    pub(crate) fn add(&mut self, anomaly: Anomaly, about: String) {
        self.found.entry(anomaly).or_default().push(about);
    }

    /// Whether there is nothing that Kafka promises not to be.
    #[must_use]
    pub fn is_legal(&self) -> bool {
        self.found.keys().all(|anomaly| anomaly.is_legal())
    }
}

/// Examples of each kind that are told.
const EXAMPLES_MAX: usize = 5;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (anomaly, all) in &self.found {
            let legal = if anomaly.is_legal() { " (legal)" } else { "" };
            writeln!(f, "{}{legal}: {}", anomaly.name(), all.len())?;
            all.iter().take(EXAMPLES_MAX).try_for_each(|about| writeln!(f, "  {about}"))?;
        }
        if self.found.is_empty() { writeln!(f, "no anomaly") } else { Ok(()) }
    }
}
