//! The follower's side of one partition: where it cuts its log when it parts from its leader's (KIP-101, 279, 320; class
//! `AbstractFetcherThread`), and what it does when the offset it wants is not in the leader's log.

use milena_types::{LeaderEpoch, Offset};

/// Where an epoch ends in some log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch the answer is about: the one asked for, or the greatest one below it that the log knows.
    pub epoch: LeaderEpoch,
    pub end: Offset,
}

/// The offset a follower truncates to after its leader said that its log ends in an epoch, or at an offset, that the
/// leader does not have. `leader` is the leader's answer, `own` what the follower's epochs say of the leader's epoch. If
/// the logs still part after that, the next fetch tells (`getOffsetTruncationState`).
#[must_use]
pub fn truncation_offset(leader: EpochEnd, own: Option<EpochEnd>, log_end: Offset) -> Offset {
    let wanted = match own {
        // The leader's epoch is unknown here: go back to the end of the newest older one, and ask again.
        Some(own) if own.epoch != leader.epoch => own.end,
        Some(own) => own.end.min(leader.end),
        None => leader.end,
    };
    wanted.min(log_end)
}

/// What a follower does whose wanted offset is out of the leader's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfRange {
    /// The leader's log ends before: after an unclean election. The rest is cut off.
    TruncateTo(Offset),
    /// The leader's log begins after: everything here is older and goes.
    StartAt(Offset),
    /// The offset is in range after all: fetch again.
    FetchAgain,
}

/// Compares the two logs (`fetchOffsetAndTruncate`).
#[must_use]
pub fn after_out_of_range(log_end: Offset, leader_start: Offset, leader_end: Offset) -> OutOfRange {
    if leader_end < log_end {
        OutOfRange::TruncateTo(leader_end)
    } else if leader_start > log_end {
        OutOfRange::StartAt(leader_start)
    } else {
        OutOfRange::FetchAgain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(epoch: i32, end: i64) -> EpochEnd {
        EpochEnd { epoch: LeaderEpoch(epoch), end: Offset(end) }
    }

    #[test]
    fn a_follower_truncates_to_the_smaller_end_of_an_epoch_both_know() {
        assert_eq!(truncation_offset(end(3, 20), Some(end(3, 25)), Offset(30)), Offset(20));
        assert_eq!(truncation_offset(end(3, 20), Some(end(3, 15)), Offset(30)), Offset(15));
    }

    #[test]
    fn a_follower_without_the_leaders_epoch_goes_back_to_the_end_of_an_older_one() {
        assert_eq!(truncation_offset(end(3, 20), Some(end(2, 12)), Offset(30)), Offset(12));
    }

    #[test]
    fn a_follower_without_epochs_believes_its_leader() {
        assert_eq!(truncation_offset(end(3, 20), None, Offset(30)), Offset(20));
        assert_eq!(truncation_offset(end(3, 50), None, Offset(30)), Offset(30), "never beyond the log's end");
    }

    #[test]
    fn a_log_out_of_the_leaders_range_is_cut_or_begun_anew() {
        let after = |log_end, start, end| after_out_of_range(Offset(log_end), Offset(start), Offset(end));
        assert_eq!(after(30, 0, 20), OutOfRange::TruncateTo(Offset(20)));
        assert_eq!(after(30, 40, 90), OutOfRange::StartAt(Offset(40)));
        assert_eq!(after(30, 10, 90), OutOfRange::FetchAgain);
    }
}
