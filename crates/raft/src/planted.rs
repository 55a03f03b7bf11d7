//! Bugs that are planted on purpose, so that the simulation can prove that it finds them. Only a test build has a place
//! to keep which one is on: in every other build `is` is false whatever it is asked.

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A vote is given to a log that is behind.
    VoteWithoutLogCheck,
    /// A second vote is given in one epoch.
    VoteTwice,
    /// The vote on disk is not read.
    ForgetVoteOnRestart,
    /// A leader counts what it has not synced.
    CountUnflushed,
    /// Records of an earlier epoch are committed by counting.
    CommitOldEpochByCount,
    /// A follower keeps what diverges from its leader's log.
    SkipTruncation,
    /// A member that led its epoch before it stopped takes part in that epoch as if it had not.
    LeaderForgetsItLed,
    /// The answer to an earlier fetch is taken for the answer to this one.
    TakeStaleFetchAnswer,
    /// A replica with a voter's id but another directory counts as that voter.
    IgnoreDirectory,
    /// A leader does not care whether anybody hears it.
    NoCheckQuorum,
    /// Voters change while the change before is not committed.
    ChangeVotersUncommitted,
    /// Voters of a record that was cut off stay in force.
    KeepVotersAfterTruncation,
    /// A follower takes the leader's high watermark although its own log ends earlier.
    HighWatermarkPastEnd,
    /// The majority is counted as half of the voters.
    HalfIsMajority,
}

/// Which bug is on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    #[cfg(test)]
    pub(crate) plant: Option<Plant>,
}

impl Planted {
    #[cfg(test)]
    pub(crate) fn is(self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the test build keeps the bug in it")]
    pub(crate) fn is(self, _plant: Plant) -> bool {
        false
    }
}
