//! What the group coordinators here are doing, for metrics: one after the other is looked at, none for long.

use super::directory::GroupCoordinators;
use milena_coordinator::group::{GroupCounts, GroupSurvey};
use milena_coordinator::runtime::Phase;

/// Groups and coordinators at one moment.
pub(crate) struct Survey {
    pub(crate) groups: GroupSurvey,
    pub(crate) counts: GroupCounts,
    /// Coordinators that are loading, serving, and that have ended though this broker leads their partitions.
    pub(crate) loading: usize,
    pub(crate) active: usize,
    pub(crate) failed: usize,
    /// What waits in their boxes.
    pub(crate) queued: usize,
}

impl GroupCoordinators {
    /// Looks at all of them. Of groups and offsets at most `room` are told one by one.
    pub(crate) fn survey(&self, room: usize) -> Survey {
        let mut survey = Survey {
            groups: GroupSurvey { room, ..GroupSurvey::default() },
            counts: self.counts.clone(),
            loading: 0,
            active: 0,
            failed: 0,
            queued: 0,
        };
        for host in self.led.all() {
            survey.queued += host.queued();
            let phase = host.look(|coordinator| {
                let phase = coordinator.phase();
                if phase == Phase::Active {
                    coordinator.machine().survey(coordinator.state(), &mut survey.groups);
                }
                phase
            });
            match phase {
                Phase::Loading => survey.loading += 1,
                Phase::Active => survey.active += 1,
                Phase::Ended => survey.failed += 1,
            }
        }
        survey
    }
}
