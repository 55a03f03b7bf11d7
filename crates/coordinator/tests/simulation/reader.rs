//! What a member does with the partitions it has: it looks up where to begin, reads, and commits what it has read.

use std::collections::{BTreeMap, BTreeSet};

use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::Text;

use crate::cluster::Spot;
use crate::member::{Act, Desk, Lane};
use crate::wire;

/// How long an answer may take.
const LIMIT_MS: i64 = 4_000;

#[derive(Clone, Debug)]
struct Place {
    /// `None` until the committed offset is known.
    at: Option<i64>,
    committed: i64,
    /// Which time this is that it has the partition.
    tenure: u64,
}

/// What it waits for.
#[derive(Clone, Debug)]
enum Asked {
    Offsets(BTreeMap<Spot, u64>),
    Commit(Vec<(Spot, i64)>),
}

#[derive(Debug, Default)]
pub(crate) struct Reader {
    places: BTreeMap<Spot, Place>,
    asked: Option<Asked>,
    last_tenure: u64,
}

/// As whom it asks.
pub(crate) struct Identity<'a> {
    pub(crate) group: &'a Text,
    pub(crate) member: &'a Text,
    pub(crate) instance: Option<&'a Text>,
    pub(crate) epoch: i32,
    pub(crate) is_classic: bool,
}

impl Identity<'_> {
    fn committer(&self) -> wire::Committer {
        wire::Committer {
            group: self.group.clone(),
            member: self.member.clone(),
            instance: self.instance.cloned(),
            epoch: self.epoch,
        }
    }
}

impl Reader {
    /// It has these partitions from now on and no others.
    pub(crate) fn own(&mut self, owned: &BTreeSet<Spot>) {
        self.places.retain(|spot, _| owned.contains(spot));
        for spot in owned {
            self.last_tenure += 1;
            let tenure = self.last_tenure;
            self.places.entry(*spot).or_insert(Place { at: None, committed: 0, tenure });
        }
    }

    /// Whatever it asked will not be answered.
    pub(crate) fn disconnected(&mut self) {
        self.asked = None;
    }

    /// Whether everything is read and committed.
    pub(crate) fn is_done(&self, desk: &Desk<'_>) -> bool {
        self.places.iter().all(|(spot, place)| {
            let Some(end) = desk.cluster.end_of(*spot) else { return true };
            place.at == Some(end) && (place.committed == end || end == 0)
        })
    }

    /// Takes a step, if nothing is on its way.
    pub(crate) fn step(&mut self, identity: &Identity<'_>, desk: &mut Desk<'_>) {
        self.read(desk);
        if self.asked.is_some() || self.places.is_empty() {
            return;
        }
        let unknown: BTreeMap<Spot, u64> = self
            .places
            .iter()
            .filter_map(|(spot, place)| {
                (place.at.is_none() && desk.cluster.end_of(*spot).is_some()).then_some((*spot, place.tenure))
            })
            .collect();
        if !unknown.is_empty() {
            let member = (!identity.is_classic).then(|| (identity.member.clone(), identity.epoch));
            let is_stable = desk.seed.one_in(2);
            let request = wire::fetch(identity.group, member, unknown.keys(), desk.cluster, is_stable);
            desk.send(Lane::Data, request, LIMIT_MS);
            self.asked = Some(Asked::Offsets(unknown));
        } else if desk.is_calm || desk.seed.one_in(3) {
            self.commit(identity, desk);
        }
    }

    /// Commits what it has read, unless a commit or a look is on its way.
    pub(crate) fn commit(&mut self, identity: &Identity<'_>, desk: &mut Desk<'_>) {
        if self.asked.is_some() {
            return;
        }
        let news = self.places.iter().filter_map(|(spot, place)| {
            let at = place.at?;
            (at > place.committed && desk.cluster.end_of(*spot).is_some()).then_some((*spot, at))
        });
        let news: Vec<(Spot, i64)> = news.collect();
        let request: Option<GroupRequest> = wire::commit(identity.committer(), &news, desk.cluster);
        if let Some(request) = request {
            desk.send(Lane::Data, request, LIMIT_MS);
            self.asked = Some(Asked::Commit(news));
        }
    }

    fn read(&mut self, desk: &mut Desk<'_>) {
        for (spot, place) in &mut self.places {
            let (Some(at), Some(end)) = (place.at, desk.cluster.end_of(*spot)) else { continue };
            if at < end {
                let upto = if desk.is_calm { end } else { desk.seed.between(at, end) };
                desk.acts.push(Act::Read(*spot, at, upto));
                place.at = Some(upto);
            }
        }
    }

    /// An answer; the first error of a commit is given back.
    pub(crate) fn answered(&mut self, reply: &GroupReply) -> i16 {
        match (self.asked.take(), reply) {
            (Some(Asked::Offsets(asked)), GroupReply::OffsetFetch(response)) => {
                if response.error_code != 0 {
                    return 0;
                }
                for (spot, offset) in wire::offsets(response) {
                    let Some(place) = self.places.get_mut(&spot) else { continue };
                    if asked.get(&spot) == Some(&place.tenure)
                        && let Ok(offset) = offset
                    {
                        place.at = Some(offset.max(0));
                        place.committed = offset.max(0);
                    }
                }
                0
            }
            (Some(Asked::Commit(offsets)), GroupReply::OffsetCommit(response)) => {
                let mut first_error = 0;
                for topic in &response.topics {
                    for partition in &topic.partitions {
                        let spot = (topic.topic_id, partition.partition_index);
                        let Some((_, offset)) = offsets.iter().find(|(known, _)| *known == spot) else { continue };
                        if partition.error_code == 0 {
                            if let Some(place) = self.places.get_mut(&spot) {
                                place.committed = place.committed.max(*offset);
                            }
                        } else if first_error == 0 {
                            first_error = partition.error_code;
                        }
                    }
                }
                first_error
            }
            _ => 0,
        }
    }
}
