//! Why the metadata do not start.

use milena_raft::{QuorumConfig, VoterSet};
use milena_types::BrokerId;

/// What keeps the metadata thread from starting.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The files.
    #[error(transparent)]
    Storage(#[from] milena_storage::Error),
    /// The log or its snapshot says that the quorum has several voters.
    #[error(
        "the metadata log names {} voters ({}): a quorum of several controllers cannot be run yet",
        .0.len(), listed(.0)
    )]
    SeveralVoters(Vec<BrokerId>),
    /// A controller that may not vote would wait for a leader for ever.
    #[error(
        "controller {local} is not a voter of its quorum (the voters are: {}). Format it with --standalone, or name it \
         in controller.quorum.voters; joining the quorum of another controller is not possible yet",
        listed(.voters)
    )]
    NotAVoter { local: BrokerId, voters: Vec<BrokerId> },
    /// The system has no thread for it.
    #[error("the metadata thread does not start: {0}")]
    Thread(#[source] std::io::Error),
}

fn listed(ids: &[BrokerId]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A quorum of one is all that is run: its controller must be that one, and brokers must not count on a second.
pub(super) fn check_voters(voters: &VoterSet, quorum: &QuorumConfig) -> Result<(), MetadataError> {
    let ids = || voters.voters().iter().map(|voter| voter.key.id).collect();
    if voters.voters().len() > 1 {
        return Err(MetadataError::SeveralVoters(ids()));
    }
    if quorum.can_vote && !voters.contains(&quorum.local) {
        return Err(MetadataError::NotAVoter { local: quorum.local.id, voters: ids() });
    }
    Ok(())
}
