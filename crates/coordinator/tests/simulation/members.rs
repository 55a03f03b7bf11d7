//! The members' side of the world: processes start, wake, act, and hear answers over a network that loses them.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_coordinator::runtime::Ticket;
use milena_protocol::Text;

use crate::classic::Classic;
use crate::cluster::Wish;
use crate::consumer::Consumer;
use crate::host::{Answer, Caller};
use crate::member::{Act, Desk, Lane, Member, Pending, Profile, Protocol};
use crate::reader::Reader;
use crate::shape::Mode;
use crate::world::{Event, Request, World};

impl World {
    /// A process for a slot that has none.
    pub(crate) fn start(&mut self, slot: usize) {
        let Some(place) = self.slots.get(slot).filter(|place| place.member.is_none()) else { return };
        let (group, instance) = (place.group, place.instance.clone());
        let shape = *self.shape.groups.get(group).unwrap();
        self.last_process += 1;
        let process = self.last_process;
        let is_classic = match shape.mode {
            Mode::Classic => true,
            Mode::Consumer => false,
            Mode::Mixed => self.seed.one_in(2),
        };
        // A static member of a classic group is not asked again what it wants when it comes back.
        let is_fixed = is_classic && instance.is_some();
        let wish = if is_fixed { Wish::all() } else { self.wish(is_classic) };
        let protocol = if is_classic {
            self.count("classic members");
            Protocol::Classic(Classic::new(shape.is_cooperative))
        } else {
            self.count("consumer members");
            let assignor = ["", "range", "uniform"].get(self.seed.below(3)).filter(|name| !name.is_empty());
            let assignor = assignor.map(|name| Text::from_static(name));
            Protocol::Consumer(Consumer::new(Text::from(format!("m{process:04}")), assignor))
        };
        self.tell(|| format!("slot {slot} starts process {process}, {instance:?}, {wish:?}, {protocol:?}"));
        let profile = Profile { group: Self::group_name(group), instance, wish };
        let member = Member {
            profile,
            protocol,
            reader: Reader::default(),
            process,
            life: 0,
            connection: 0,
            host: None,
            membership: None,
            data: None,
            paused_until: 0,
            out_at: 0,
            in_at: 0,
        };
        self.slots.get_mut(slot).unwrap().member = Some(member);
        let ms = self.seed.between(0, 300);
        self.at(ms, Event::Wake { slot, process });
    }

    pub(crate) fn wish(&mut self, is_classic: bool) -> Wish {
        match self.seed.below(8) {
            0 if !is_classic => Wish::Regex("t[0-2]".into()),
            1 if !is_classic => Wish::Regex("t.*".into()),
            2 => Wish::Names(
                (0..4).filter(|_| self.seed.one_in(2)).map(|number| Text::from(format!("t{number}"))).collect(),
            ),
            _ => Wish::all(),
        }
    }

    pub(crate) fn wake(&mut self, slot: usize, process: u64) {
        let Some(member) = self.slots.get(slot).and_then(|slot| slot.member.as_ref()) else { return };
        if member.process != process {
            return;
        }
        if member.paused_until > self.now {
            let ms = member.paused_until - self.now;
            return self.at(ms, Event::Wake { slot, process });
        }
        self.step(slot, |member, desk| member.wake(desk));
        let ms = self.seed.between(50, if self.is_calm { 300 } else { 600 });
        self.at(ms, Event::Wake { slot, process });
    }

    /// Lets a member do something and carries it out.
    fn step(&mut self, slot: usize, act: impl FnOnce(&mut Member, &mut Desk<'_>)) {
        let Some(mut member) = self.slots.get_mut(slot).and_then(|slot| slot.member.take()) else { return };
        let mut desk = Desk {
            now: self.now,
            cluster: &self.cluster,
            seed: &mut self.seed,
            is_calm: self.is_calm,
            rebalance_ms: self.shape.rebalance_ms,
            travel_ms: self.shape.network_ms.1,
            acts: Vec::new(),
        };
        act(&mut member, &mut desk);
        let acts = desk.acts;
        let mut is_alive = true;
        for act in acts {
            is_alive &= self.perform(slot, &mut member, act);
        }
        if is_alive {
            self.slots.get_mut(slot).unwrap().member = Some(member);
        }
    }

    /// Whether the member lives on.
    fn perform(&mut self, slot: usize, member: &mut Member, act: Act) -> bool {
        let group = self.slots.get(slot).unwrap().group;
        match act {
            Act::Send(lane, request, limit_ms) => self.send(slot, member, lane, request, limit_ms),
            Act::Owns(epoch, spots) => {
                let owner = match &member.profile.instance {
                    Some(instance) => instance.clone(),
                    None => Text::from(format!("process {}", member.process)),
                };
                let name = member.profile.group.clone();
                let life = member.life;
                self.tell(|| {
                    let spots: Vec<String> =
                        spots.iter().map(|(id, number)| format!("{}-{number}", id.0[15])).collect();
                    format!("slot {slot} owns in {life}/{epoch}: {}", spots.join(" "))
                });
                let result = self.owners.owns((&name, life), epoch, &spots, &owner);
                self.check(result);
            }
            Act::Read(spot, from, upto) => self.delivery.read(group, spot, from, upto),
            Act::Rediscover => member.host = self.leader,
            Act::Dies(error) => {
                if error != 0 {
                    self.count("members ended by an error");
                }
                self.tell(|| format!("slot {slot} ends with {error}"));
                return false;
            }
        }
        true
    }

    fn send(&mut self, slot: usize, member: &mut Member, lane: Lane, request: GroupRequest, limit_ms: i64) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        *member.pending(lane) = Some(Pending { ticket, deadline: self.now + limit_ms });
        // Without a coordinator the request waits until it is late.
        let Some(host) = member.host else { return };
        if self.loses() {
            self.count("requests lost");
            return self.break_connection(slot, member);
        }
        let arrives_at = self.travel().max(member.out_at);
        member.out_at = arrives_at;
        let (process, connection) = (member.process, member.connection);
        let request = Request { slot, process, connection, host, ticket, request };
        let ms = arrives_at - self.now;
        self.at(ms, Event::Arrive(Box::new(request)));
    }

    pub(crate) fn travel(&mut self) -> i64 {
        let (usual, rare) = self.shape.network_ms;
        let ms = if self.is_calm { self.seed.between(0, 3) } else { self.seed.delay(usual, rare) };
        self.now + ms
    }

    pub(crate) fn loses(&mut self) -> bool {
        !self.is_calm && self.shape.loss > 0 && self.seed.one_in(self.shape.loss)
    }

    /// A connection breaks: half of the time the member notices only when it has waited long enough.
    fn break_connection(&mut self, _slot: usize, member: &mut Member) {
        if self.seed.one_in(2) {
            member.disconnected();
        } else {
            // Nothing sent on the old connection arrives any more.
            member.connection += 1;
        }
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        let Caller::Member { slot, process, connection, .. } = answer.caller else {
            return self.outside(answer);
        };
        let Some(member) = self.slots.get(slot).and_then(|slot| slot.member.as_ref()) else { return };
        if member.process != process || member.connection != connection {
            return;
        }
        if member.paused_until > self.now {
            let ms = member.paused_until - self.now;
            let caller = Caller::Member { slot, process, connection, commits: Vec::new() };
            return self.at(ms, Event::Answer(Box::new(Answer { caller, ..answer })));
        }
        let (ticket, lives) = (answer.ticket, answer.lives);
        self.count(name_of(&answer.reply));
        self.tell(|| format!("slot {slot} hears {}", brief(&answer.reply)));
        self.step(slot, |member, desk| {
            if let Some(lives) = lives {
                member.life = lives.of(&member.profile.group);
            }
            member.answered(ticket, &answer.reply, desk);
        });
    }
}

fn name_of(reply: &GroupReply) -> &'static str {
    match reply {
        GroupReply::JoinGroup(response) if response.error_code == 0 => "joined",
        GroupReply::SyncGroup(response) if response.error_code == 0 => "synchronized",
        GroupReply::ConsumerGroupHeartbeat(response) if response.error_code == 0 => "heartbeats of consumers",
        GroupReply::Heartbeat(response) if response.error_code == 0 => "heartbeats of classic members",
        GroupReply::OffsetCommit(_) => "commits",
        GroupReply::OffsetFetch(_) => "looks at offsets",
        _ => "refusals and others",
    }
}

fn brief(reply: &GroupReply) -> String {
    match reply {
        GroupReply::JoinGroup(response) => {
            format!("join {} {} generation {}", response.error_code, response.member_id, response.generation_id)
        }
        GroupReply::SyncGroup(response) => format!("sync {}", response.error_code),
        GroupReply::ConsumerGroupHeartbeat(response) => {
            let topics = response.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
            let told = topics.map(|topic| topic.partitions.len()).sum::<usize>();
            let is_told = response.assignment.is_some();
            format!("heartbeat {} epoch {} {is_told} {told}", response.error_code, response.member_epoch)
        }
        GroupReply::Heartbeat(response) => format!("heartbeat {}", response.error_code),
        other => name_of(other).to_owned(),
    }
}
