//! Somebody outside, who is never far from the coordinator, looks at offsets and groups; the log is read from scratch.

use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_coordinator::runtime::{Phase, Ticket};

use crate::checks::replay;
use crate::host::{Answer, Caller};
use crate::wire;
use crate::world::{Event, World};

impl World {
    /// Somebody outside looks at all groups; now and then the log is read from scratch.
    pub(crate) fn poll(&mut self) {
        self.at(1_000, Event::Poll);
        if self.is_calm {
            self.revive();
        }
        let Some(leader) = self.leader else { return };
        let is_active = self.hosts.get(&leader).is_some_and(|host| host.coordinator.phase() == Phase::Active);
        if !is_active {
            return;
        }
        for group in 0..self.shape.groups.len() {
            let acknowledged = self.offsets.of(group);
            let name = World::group_name(group);
            let spots: Vec<_> = self.cluster.spots().map(|(_, spot)| spot).collect();
            let is_stable = self.seed.one_in(2);
            let request = wire::fetch(&name, None, spots.iter(), &self.cluster, is_stable);
            self.last_ticket += 1;
            self.ask(leader, Ticket(self.last_ticket), Caller::Poller { group, acknowledged }, request);
        }
        self.last_ticket += 1;
        let list = GroupRequest::ListGroups { states: Vec::new(), types: Vec::new() };
        self.ask(leader, Ticket(self.last_ticket), Caller::Lister, list);
        if self.seed.one_in(16) {
            let result = self.replay();
            self.check(result);
        }
    }

    /// An answer to somebody outside, who is never far.
    pub(crate) fn outside(&mut self, answer: Answer) {
        match (answer.caller, answer.reply) {
            (Caller::Poller { group, acknowledged }, GroupReply::OffsetFetch(response)) if response.error_code == 0 => {
                self.count("looks from outside");
                for (spot, offset) in wire::offsets(&response) {
                    let (Ok(offset), Some(_)) = (offset, self.cluster.end_of(spot)) else { continue };
                    let expected = acknowledged.get(&spot).copied().unwrap_or(-1);
                    let result = self.offsets.seen(group, spot, offset, expected);
                    self.check(result);
                }
            }
            (Caller::Lister, GroupReply::ListGroups(Ok(groups))) => {
                let states = groups.into_iter().map(|group| (group.group_id, group.group_state));
                self.states = states.collect();
            }
            _ => {}
        }
    }

    /// The log, read from scratch and compacted, is what the coordinator has, when nothing is on its way.
    pub(crate) fn replay(&mut self) -> Result<(), String> {
        let Some(host) = self.leader.and_then(|leader| self.hosts.get(&leader)) else { return Ok(()) };
        let is_quiet = host.coordinator.phase() == Phase::Active
            && host.disk.is_empty()
            && host.coordinator.next_offset() == self.log.end()
            && self.log.high_watermark == self.log.end();
        if !is_quiet {
            return Ok(());
        }
        let live = &host.coordinator.state().0;
        replay::check(live, &self.log.batches, "whole")?;
        replay::check(live, &self.log.compacted(true), "compacted")?;
        replay::check(live, &self.log.compacted(false), "compacted and swept")?;
        self.count("replays");
        Ok(())
    }
}
