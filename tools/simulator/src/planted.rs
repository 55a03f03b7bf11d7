//! Mistakes that are made on purpose, one at a time, to prove that the checkers see.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The leader acknowledges what it has appended, whoever else has it.
    AcknowledgesAtOnce,
    /// A follower asks for more than follows its log.
    FollowerClaimsMore,
    /// A follower passes over that its log parts from the leader's.
    NeverTruncates,
    /// Who loses the leadership cuts its log to the high watermark (before KIP-101).
    TruncatesToHighWatermark,
    /// The leader looks at no epochs of who fetches.
    LeaderIgnoresEpochs,
    /// A follower takes answers that it asked for in another epoch or at another offset.
    TakesStaleAnswers,
    /// A broker says after a crash that it ended cleanly (before KIP-966).
    UncleanSaysClean,
    /// The leader forgets that the controller may have let in who it asked to let in.
    ForgetsWhatItAskedFor,
    /// Consumers see what is not replicated.
    ConsumersReadToLogEnd,
    /// A follower says what it has before it is on disk.
    FollowerFetchesBeforeSync,
    /// The leader counts what it has not synced.
    LeaderCountsUnsynced,
    /// The recovery point is ahead of what was synced.
    RecoveryPointTooHigh,
    /// The high watermark on disk is the log's end.
    HighWatermarkTooHigh,
    /// The leader does not know who wrote what.
    ForgetsProducers,
    /// `min.insync.replicas` is not looked at.
    IgnoresMinInsync,
    /// What timed out is told to have been written.
    TimeoutIsSuccess,
    /// A broker leads and serves before the controller lets it.
    ServesFenced,
    /// A change of the in-sync replicas that is not answered is not asked for again.
    NeverAsksAgain,
    /// A partition whose fetch failed once is not fetched until its leader changes.
    FailsForGood,
    /// Metadata that comes while a broker is busy is passed over.
    SkipsImages,
    /// The leader adds replicas to the in-sync ones that have not caught up.
    AddsLaggingReplicas,
    /// A broker stops its heartbeats when one of them fails.
    StopsHeartbeats,
    /// The controller fences whoever loses a connection.
    HintsFence,
    /// A lease lasts from when the answer came, not from when the heartbeat was sent.
    LeaseFromAnswer,
    /// A lease lasts longer than the session.
    LeaseTooLong,
    /// A lease that had ended begins again with the first answer.
    LeaseAtOnce,
    /// The disk of the metadata forgets what was synced.
    MetadataDiskLies,
    /// The disk of the data forgets what was synced.
    DataDiskLies,
    /// Names of files are not made durable.
    NamesAreNotSynced,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 29] = [
        Planted::AcknowledgesAtOnce,
        Planted::FollowerClaimsMore,
        Planted::NeverTruncates,
        Planted::TruncatesToHighWatermark,
        Planted::LeaderIgnoresEpochs,
        Planted::TakesStaleAnswers,
        Planted::UncleanSaysClean,
        Planted::ForgetsWhatItAskedFor,
        Planted::ConsumersReadToLogEnd,
        Planted::FollowerFetchesBeforeSync,
        Planted::LeaderCountsUnsynced,
        Planted::RecoveryPointTooHigh,
        Planted::HighWatermarkTooHigh,
        Planted::ForgetsProducers,
        Planted::IgnoresMinInsync,
        Planted::TimeoutIsSuccess,
        Planted::ServesFenced,
        Planted::NeverAsksAgain,
        Planted::FailsForGood,
        Planted::SkipsImages,
        Planted::AddsLaggingReplicas,
        Planted::StopsHeartbeats,
        Planted::HintsFence,
        Planted::LeaseFromAnswer,
        Planted::LeaseTooLong,
        Planted::LeaseAtOnce,
        Planted::MetadataDiskLies,
        Planted::DataDiskLies,
        Planted::NamesAreNotSynced,
    ];
}
