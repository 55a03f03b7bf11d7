//! What goes wrong in a run, what clients and administrators do meanwhile, and the end: everything heals.

use milena_types::BrokerId;

use super::checker::Coverage;
use super::disk::{Disk, Snapshot};
use super::message::endpoint;
use super::world::{Bug, Event, World, directory};
use crate::identity::{OffsetAndEpoch, ReplicaKey};
use crate::quorum::Quorum;
use crate::replies::{AddVoterAsk, Ticket};
use crate::voters::KRaftState;

/// How long faults last, and how long healing may take.
const FAULTS_MS: i64 = 30_000;
const HEAL_MS: i64 = 60_000;

/// A leader that was heard by no majority for this long has resigned: a majority counts when its last member is heard, up to
/// one and a half fetch timeouts after its first, and that much longer it may lead; and the clock drifts.
const UNHEARD_MS: i64 = 6_000 + 300;

impl World {
    pub(super) fn crash(&mut self, at: usize) {
        let longest = if self.settings.quick_restarts { 30 } else { 4000 };
        let later = self.now + self.random.between(5, longest);
        let Some(node) = self.nodes.get_mut(at).filter(|node| node.quorum.is_some()) else {
            return;
        };
        node.quorum = None;
        node.incarnation += 1;
        node.parked.clear();
        node.heard.clear();
        let before = node.disk.end();
        node.disk.crash(&mut self.random);
        self.checker.coverage.lost_tails += u64::from(node.disk.end() < before);
        self.checker.coverage.crashes += 1;
        let end = node.disk.end();
        self.tell(|| format!("n{at} crashes, log {before} -> {end}"));
        self.schedule(later, Event::Restart { node: at });
    }

    pub(super) fn fault(&mut self) {
        if self.healed {
            return;
        }
        let next = self.now + self.random.between(100, 1500);
        self.schedule(next, Event::Fault);
        let nodes: Vec<usize> = (0..self.nodes.len()).collect();
        let Some(victim) = self.random.pick(&nodes) else { return };
        match self.random.below(6) {
            0 | 1 if self.settings.partitions => self.partition(),
            2 if self.settings.crashes => self.crash(victim),
            3 if self.settings.crashes && self.random.per_mille(200) => nodes.iter().for_each(|node| self.crash(*node)),
            4 if self.settings.pauses => {
                let until = self.now + self.random.between(50, 6000);
                if let Some(node) = self.nodes.get_mut(victim) {
                    node.busy_until = node.busy_until.max(until);
                }
            }
            5 if self.settings.wipes => self.wipe(victim),
            _ => {}
        }
        if self.settings.snapshots {
            self.snapshot(victim);
        }
    }

    /// Draws which links are cut: none, one member, one direction, halves, a bridge, a ring, single links.
    fn partition(&mut self) {
        let ids: Vec<i32> = self.nodes.iter().map(|node| node.id).collect();
        let lonely = self.random.pick(&ids).unwrap_or(0);
        let shape = self.random.below(8);
        let side = self.random.next();
        let in_side = |id: i32| side >> (id.unsigned_abs() % 64) & 1 == 1;
        let count = i32::try_from(ids.len()).unwrap_or(1);
        let near = |a: i32, b: i32| (a - b).rem_euclid(count) <= 1 || (b - a).rem_euclid(count) <= 1;
        let mut cut = Vec::new();
        for from in ids.iter().copied() {
            for to in ids.iter().copied().filter(|to| *to != from) {
                let is_cut = match shape {
                    0 => false,
                    1 => from == lonely || to == lonely,
                    2 => from == lonely,
                    3 => to == lonely,
                    4 => in_side(from) != in_side(to),
                    5 => from != lonely && to != lonely && in_side(from) != in_side(to),
                    6 => !near(from, to),
                    _ => self.random.per_mille(300),
                };
                if is_cut {
                    cut.push((from, to));
                }
            }
        }
        self.cut = cut;
    }

    /// A member loses its disk and comes back with another directory. Only one does in a run, and only if the others
    /// are a majority without it.
    fn wipe(&mut self, at: usize) {
        let enough = |quorum: &Quorum| quorum.kraft().voters.voters().len() >= 3;
        let all_know = self.nodes.iter().all(|node| node.quorum.as_ref().is_some_and(enough));
        if self.has_wiped || !all_know || self.settings.reconfigures {
            return;
        }
        self.has_wiped = true;
        self.crash(at);
        if let Some(node) = self.nodes.get_mut(at) {
            node.former = Some((node.key, node.disk.synced_end));
            node.key = ReplicaKey { id: BrokerId(node.id), directory_id: directory(node.id, 2) };
            node.disk = Disk::formatted(KRaftState::default());
        }
    }

    /// A member writes a snapshot of what it knows as committed and forgets the log before it.
    fn snapshot(&mut self, at: usize) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let Some(quorum) = &mut node.quorum else { return };
        let end = milena_types::Offset(node.committed);
        let Some(epoch) = node.disk.epoch_before(end.0).filter(|_| end.0 > node.disk.start + 3) else {
            return;
        };
        let id = OffsetAndEpoch { offset: end, epoch };
        node.disk.write_snapshot(Snapshot { id, kraft: quorum.kraft_history().at(end).clone() });
        quorum.on_snapshot_written(id);
        node.disk.clean();
        quorum.on_log_cleaned(end, Some(id));
    }

    pub(super) fn client(&mut self) {
        let next = self.now + self.random.between(20, 400);
        self.schedule(next, Event::Client);
        self.expire_parked();
        for at in 0..self.nodes.len() {
            let now = self.now;
            let Some(node) = self.nodes.get(at).filter(|node| node.busy_until <= now) else { continue };
            if node.quorum.as_ref().is_some_and(Quorum::is_leader) {
                let count = usize::try_from(self.random.between(1, 3)).unwrap_or(1);
                self.propose(at, count);
                self.check_heard(at);
            }
        }
    }

    /// A leader that nobody hears must not go on.
    fn check_heard(&mut self, at: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let Some(quorum) = node.quorum.as_ref().filter(|quorum| quorum.is_leader()) else {
            return;
        };
        if self.settings.reconfigures || self.has_wiped {
            // Whom it heard as a voter may be none now.
            return;
        }
        let voters = quorum.kraft().voters.clone();
        let ids: Vec<i32> = voters.voters().iter().map(|voter| voter.key.id.0).collect();
        let own = node.id;
        if !node.heard.keys().eq(&ids) {
            // A leader that is new, or whose voters are.
            node.heard = ids.iter().map(|id| (*id, now)).collect();
        }
        let recent = |id: &&i32| **id == own || node.heard.get(*id).is_some_and(|at| now - at <= UNHEARD_MS);
        let heard = ids.iter().filter(recent).count();
        // That it slept is no fault of the core.
        let awake = node.busy_until + 20 < now;
        assert!(heard >= voters.majority() || !awake, "{own} leads, but only {heard} of {} hear it", ids.len());
    }

    pub(super) fn admin(&mut self) {
        if self.healed {
            return;
        }
        let next = self.now + self.random.between(300, 4000);
        self.schedule(next, Event::Admin);
        if !self.settings.reconfigures {
            return;
        }
        let now = self.now;
        let all: Vec<(i32, ReplicaKey)> = self.nodes.iter().map(|node| (node.id, node.key)).collect();
        let twice = self.has(Bug::Core(crate::planted::Plant::ChangeVotersUncommitted));
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(at).filter(|node| node.busy_until <= now) else { continue };
            let Some(quorum) = node.quorum.as_ref().filter(|quorum| quorum.is_leader()) else {
                continue;
            };
            let voters = quorum.kraft().voters.clone();
            for _ in 0..1 + usize::from(twice) {
                let Some((id, key)) = self.random.pick(&all) else { continue };
                self.with(at, |quorum, now, fx| {
                    if voters.get(BrokerId(id)).is_none() {
                        let endpoints = vec![endpoint(id)];
                        let ask = AddVoterAsk { voter: key, endpoints, ack_when_committed: true };
                        quorum.handle_add_voter(ask, Ticket(0), now, fx);
                    } else {
                        quorum.handle_remove_voter(key, Ticket(0), now, fx);
                    }
                });
            }
        }
    }

    /// Faults, then healing. Panics when something that must hold does not.
    pub(super) fn play(mut self) -> (Coverage, u64) {
        self.run(FAULTS_MS);
        self.healed = true;
        self.cut.clear();
        for at in 0..self.nodes.len() {
            let now = self.now;
            if let Some(node) = self.nodes.get_mut(at) {
                node.busy_until = node.busy_until.min(now + 4000);
            }
            self.start(at);
        }
        let until = self.now + HEAL_MS;
        let goal = self.checker.committed_end() + 5;
        while self.now < until {
            let next = self.now + 500;
            self.run(next);
            if self.has_converged(goal) {
                return (self.checker.coverage, self.trace);
            }
        }
        panic!("not healed within {HEAL_MS} ms: {}", self.describe());
    }

    /// One leader, and every voter has committed what was new after healing.
    fn has_converged(&self, goal: i64) -> bool {
        let quorums: Vec<_> = self.nodes.iter().filter_map(|node| Some((node, node.quorum.as_ref()?))).collect();
        let mut leaders = quorums.iter().filter(|(_, quorum)| quorum.is_leader());
        let (Some((leader, quorum)), None) = (leaders.next(), leaders.next()) else {
            return false;
        };
        let voters = &quorum.kraft().voters;
        let rejoined = self.nodes.iter().all(|node| node.former.is_none() || voters.contains(&node.key));
        let done = quorums.iter().filter(|(node, _)| voters.contains(&node.key) && node.committed >= goal).count();
        leader.committed >= goal && done == voters.voters().len() && rejoined
    }

    fn describe(&self) -> String {
        let line = |node: &super::world::Node| {
            let epoch = super::hosting::epoch_of(node.quorum.as_ref());
            let role = node.quorum.as_ref().map(|quorum| (quorum.role(), quorum.leader_and_epoch().leader));
            let voters = node.quorum.as_ref().map(|quorum| quorum.kraft().voters.voters().len());
            let (start, end, committed) = (node.disk.start, node.disk.end(), node.committed);
            format!("{}: {role:?} epoch {epoch} voters {voters:?} log {start}..{end} committed {committed}\n", node.id)
        };
        self.nodes.iter().map(line).collect()
    }
}
