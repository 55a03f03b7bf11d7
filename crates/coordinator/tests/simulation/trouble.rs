//! What goes wrong: with members, with the coordinator, with topics.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use milena_coordinator::runtime::Phase;
use milena_protocol::Text;

use crate::member::Protocol;
use crate::world::{Event, World};

impl World {
    pub(crate) fn member_trouble(&mut self) {
        if self.is_calm {
            return;
        }
        let mean = self.shape.member_trouble_ms;
        let ms = self.seed.between(mean / 4, mean * 7 / 4);
        self.at(ms, Event::MemberTrouble);
        let slot = self.seed.below(self.slots.len());
        if self.slots.get(slot).unwrap().member.is_none() {
            return self.start(slot);
        }
        match self.seed.below(10) {
            0..3 => self.kill(slot),
            3..5 => self.pause(slot),
            5..7 => self.leave(slot),
            7 => {
                // Killed, and back before anybody notices.
                self.kill(slot);
                self.start(slot);
                self.count("members that came back at once");
            }
            8 => self.resubscribe(slot),
            _ => {
                let free = (0..self.slots.len()).find(|slot| self.slots.get(*slot).unwrap().member.is_none());
                if let Some(free) = free {
                    self.start(free);
                }
            }
        }
    }

    fn kill(&mut self, slot: usize) {
        self.count("members killed");
        self.tell(|| format!("slot {slot} is killed"));
        self.slots.get_mut(slot).unwrap().member = None;
    }

    fn pause(&mut self, slot: usize) {
        // Longer than a session, now and then.
        let ms = if self.seed.one_in(2) { self.seed.between(200, 4_000) } else { self.seed.between(6_500, 20_000) };
        let until = self.now + ms;
        self.count(if ms > 6_000 { "pauses longer than a session" } else { "pauses" });
        self.tell(|| format!("slot {slot} stands still for {ms} ms"));
        if let Some(member) = self.slots.get_mut(slot).unwrap().member.as_mut() {
            member.paused_until = until;
        }
    }

    fn leave(&mut self, slot: usize) {
        let is_for_now = self.seed.one_in(2);
        let place = self.slots.get_mut(slot).unwrap();
        let is_static = place.instance.is_some();
        let Some(member) = place.member.as_mut() else { return };
        match &mut member.protocol {
            // A static member of a classic group just goes.
            Protocol::Classic(_) if is_static => return self.kill(slot),
            Protocol::Classic(classic) => classic.leave(),
            Protocol::Consumer(consumer) => consumer.leave(is_static && is_for_now),
        }
        self.count("members that leave");
        self.tell(|| format!("slot {slot} leaves"));
    }

    fn resubscribe(&mut self, slot: usize) {
        let Some(member) = self.slots.get(slot).unwrap().member.as_ref() else { return };
        let is_classic = matches!(member.protocol, Protocol::Classic(_));
        if is_classic && member.profile.instance.is_some() {
            return;
        }
        let wish = self.wish(is_classic);
        self.count("subscriptions changed");
        self.tell(|| format!("slot {slot} wants {wish:?}"));
        let Some(member) = self.slots.get_mut(slot).unwrap().member.as_mut() else { return };
        member.profile.wish = wish;
        match &mut member.protocol {
            Protocol::Classic(classic) => classic.resubscribed(),
            Protocol::Consumer(consumer) => consumer.resubscribed(),
        }
    }

    pub(crate) fn coordinator_trouble(&mut self) {
        if self.is_calm {
            return;
        }
        // Rather while records are on their way: that is where it hurts.
        self.hesitations = self.hesitations.saturating_add(1);
        if self.log.uncommitted() == 0 && self.hesitations < 60 {
            return self.at(25, Event::CoordinatorTrouble);
        }
        let is_aftershock = self.hesitations >= usize::MAX / 2;
        self.hesitations = self.seed.below(90);
        if !is_aftershock {
            let mean = self.shape.coordinator_trouble_ms;
            let ms = self.seed.between(mean / 4, mean * 7 / 4);
            self.at(ms, Event::CoordinatorTrouble);
        }
        if self.seed.one_in(4) {
            self.log.batches = self.log.compacted(self.seed.one_in(2));
            self.count("compactions");
            return;
        }
        let Some(leader) = self.leader.take() else { return };
        let is_loading = self.hosts.get(&leader).unwrap().coordinator.phase() == Phase::Loading;
        let ms = match self.seed.below(3) {
            0 => {
                self.count("coordinator crashes");
                self.tell(|| format!("host {leader} crashes"));
                self.hosts.remove(&leader);
                self.seed.between(100, 3_000)
            }
            kind if kind == 1 || is_loading => {
                self.count("leaderships given up");
                self.tell(|| format!("host {leader} gives up"));
                self.deposed(leader);
                self.seed.between(0, 300)
            }
            _ => {
                // Another leads, and this one goes on for a while.
                self.count("leaderships lost without a word");
                self.tell(|| format!("host {leader} is deposed"));
                let end = self.log.end();
                let host = self.hosts.get_mut(&leader).unwrap();
                host.is_deposed = true;
                host.own_end = end;
                let ms = self.seed.between(0, 6_000);
                self.at(ms, Event::Deposed(leader));
                self.seed.between(0, 500)
            }
        };
        self.at(ms, Event::Elect);
    }

    pub(crate) fn topics(&mut self) {
        if self.is_calm || !self.shape.topics_change {
            return;
        }
        let ms = self.seed.between(1_000, 12_000);
        self.at(ms, Event::Topics);
        let name = Text::from(format!("t{}", self.seed.below(4)));
        let is_there = self.cluster.topics.contains_key(&name);
        let total: i32 = self.cluster.topics.values().map(|(_, count)| *count).sum();
        let event = match self.seed.below(3) {
            _ if !is_there => {
                self.count("topics created");
                let count = 1 + self.seed.below(self.shape.partitions as usize) as i32;
                Some(self.cluster.create(&name, count))
            }
            0 => {
                self.count("topics deleted");
                self.cluster.delete(&name)
            }
            _ if total < 70 => {
                self.count("topics grown");
                let more = 1 + self.seed.below(3) as i32;
                self.cluster.grow(&name, more)
            }
            _ => None,
        };
        let Some(event) = event else { return };
        let topics = format!("topics are {:?}", self.cluster.topics);
        self.tell(|| topics);
        // Each node hears of it in its time, and of one change after another.
        let ms = 5;
        let hosts: Vec<u64> = self.hosts.keys().copied().collect();
        for host in hosts {
            self.at(ms, Event::Image { host, event: Box::new(event.clone()) });
        }
    }

    pub(crate) fn produce(&mut self) {
        if self.is_calm {
            return;
        }
        let ms = self.seed.between(20, 400);
        self.at(ms, Event::Produce);
        let spots: Vec<_> = self.cluster.spots().map(|(_, spot)| spot).collect();
        for _ in 0..3 {
            let Some(spot) = spots.get(self.seed.below(spots.len())) else { return };
            let more = self.seed.between(1, 5);
            if let Some(end) = self.cluster.ends.get_mut(spot) {
                *end += more;
            }
        }
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn heal(&mut self) {
        self.is_calm = true;
        self.healed_at = self.now;
        self.tell(|| "nothing goes wrong any more".to_owned());
        self.revive();
        for slot in 0..self.slots.len() {
            if let Some(member) = self.slots.get_mut(slot).unwrap().member.as_mut() {
                member.paused_until = 0;
            }
        }
    }

    /// A group that nobody is in gets a member.
    pub(crate) fn revive(&mut self) {
        for slot in 0..self.slots.len() {
            let group = self.slots.get(slot).unwrap().group;
            if self.members_of(group).next().is_none() {
                self.start(slot);
            }
        }
    }
}
