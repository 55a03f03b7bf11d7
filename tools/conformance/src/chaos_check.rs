//! What must hold of a chaos of group members, whatever was done to them, judged by what they wrote down:
//!
//! - in one generation or epoch a partition has one owner;
//! - what is committed does not go back, neither from commit to commit nor from one look of an administrator to the next;
//! - who commits an offset does so after all before it was read, and in the end everything was read;
//! - the record at an offset is the one that was written there.
//!
//! Two commits are in an order only if one was asked for after the other was answered.

use std::collections::BTreeMap;

use crate::chaos_log::{Diary, Event};

/// Findings of one kind that are told; more are counted.
const TOLD_MAX: usize = 5;

/// A look at what is committed, and when.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) group: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) asked: i64,
    pub(crate) answered: i64,
}

/// Everything that is known of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) diaries: Vec<Diary>,
    pub(crate) samples: Vec<Sample>,
    /// What the writer wrote down.
    pub(crate) writer: Diary,
}

/// A partition as one group sees it.
type Key<'a> = (&'a str, i32);

/// What was wrong; nothing, if all is well.
pub(crate) fn findings(story: &Story) -> Vec<String> {
    let mut all = Vec::new();
    for found in [owners(story), commits(story), reads(story), acknowledgements(story)] {
        let more = found.len().saturating_sub(TOLD_MAX);
        all.extend(found.into_iter().take(TOLD_MAX));
        if more > 0 {
            all.push(format!("... and {more} more like it"));
        }
    }
    all
}

/// One owner in a generation.
fn owners(story: &Story) -> Vec<String> {
    let mut found = Vec::new();
    let mut owners: BTreeMap<(Key<'_>, i32), String> = BTreeMap::new();
    for diary in &story.diaries {
        let mut lives = 0;
        for line in &diary.lines {
            let (generation, partitions) = match &line.event {
                Event::Start => {
                    lives += 1;
                    continue;
                }
                Event::Owns { generation, partitions } if *generation > 0 => (*generation, partitions),
                _ => continue,
            };
            let life = if diary.is_static { 0 } else { lives };
            let owner = format!("{}/{life}", diary.member);
            for partition in partitions {
                let key = ((diary.group.as_str(), *partition), generation);
                let first = owners.entry(key).or_insert_with(|| owner.clone());
                if *first != owner {
                    let group = &diary.group;
                    found.push(format!("{group}: {first} and {owner} own {partition} in generation {generation}"));
                }
            }
        }
    }
    found
}

/// From when to when something was asked, and the offset that was found or put there.
struct Known {
    asked: i64,
    answered: i64,
    offset: i64,
    who: String,
}

/// Commits and samples of each partition.
fn known(story: &Story) -> BTreeMap<Key<'_>, Vec<Known>> {
    let mut known: BTreeMap<Key<'_>, Vec<Known>> = BTreeMap::new();
    for diary in &story.diaries {
        let mut asked: BTreeMap<(i32, i64), i64> = BTreeMap::new();
        for line in &diary.lines {
            match line.event {
                Event::Commit { partition, next } => _ = asked.insert((partition, next), line.at),
                Event::Committed { partition, next } => {
                    let Some(asked) = asked.remove(&(partition, next)) else { continue };
                    let one = Known { asked, answered: line.at, offset: next, who: diary.member.clone() };
                    known.entry((diary.group.as_str(), partition)).or_default().push(one);
                }
                _ => {}
            }
        }
    }
    for sample in &story.samples {
        let Sample { asked, answered, offset, .. } = *sample;
        let one = Known { asked, answered, offset, who: "the administrator".to_owned() };
        known.entry((sample.group.as_str(), sample.partition)).or_default().push(one);
    }
    known
}

/// What is committed grows.
fn commits(story: &Story) -> Vec<String> {
    let mut found = Vec::new();
    for ((group, partition), mut known) in known(story) {
        // In the order in which they were asked; what was answered before is what each is held against.
        known.sort_by_key(|one| one.asked);
        let mut answered: Vec<&Known> = known.iter().collect();
        answered.sort_by_key(|one| one.answered);
        let mut answered = answered.into_iter().peekable();
        let mut highest: Option<&Known> = None;
        for one in &known {
            while let Some(before) = answered.next_if(|before| before.answered < one.asked) {
                if highest.is_none_or(|highest| highest.offset < before.offset) {
                    highest = Some(before);
                }
            }
            if let Some(before) = highest
                && one.offset < before.offset
            {
                let (offset, who) = (one.offset, &one.who);
                let text = format!("{group}-{partition}: {who} has {offset} at {}", one.asked);
                found.push(format!("{text}, {} had {} at {}", before.who, before.offset, before.answered));
            }
        }
    }
    found
}

/// When each record was read first.
fn first_reads(story: &Story, found: &mut Vec<String>) -> BTreeMap<(String, i32), BTreeMap<i64, i64>> {
    let mut reads: BTreeMap<(String, i32), BTreeMap<i64, i64>> = BTreeMap::new();
    for diary in &story.diaries {
        for line in &diary.lines {
            let Event::Read { partition, offset, value } = line.event else { continue };
            if value != offset {
                found.push(format!("{}: {} read {value} at {partition}@{offset}", diary.group, diary.member));
            }
            let first = reads.entry((diary.group.clone(), partition)).or_default().entry(offset).or_insert(line.at);
            *first = (*first).min(line.at);
        }
    }
    reads
}

/// Nothing is skipped.
fn reads(story: &Story) -> Vec<String> {
    let mut found = Vec::new();
    let reads = first_reads(story, &mut found);
    let nothing = BTreeMap::new();
    let of = |group: &str, partition: i32| reads.get(&(group.to_owned(), partition)).unwrap_or(&nothing);
    for (key, known) in known(story) {
        let ready = all_read_by(of(key.0, key.1));
        for one in known.iter().filter(|one| one.offset > 0) {
            let at = usize::try_from(one.offset - 1).ok().and_then(|before| ready.get(before));
            if at.is_none_or(|at| *at > one.answered) {
                let (group, partition) = key;
                let text = format!("{group}-{partition}: {} committed at {}", one.offset, one.answered);
                found.push(format!("{text} ({}), not all before it was read by then", one.who));
            }
        }
    }
    let groups: std::collections::BTreeSet<&str> = story.diaries.iter().map(|diary| diary.group.as_str()).collect();
    for line in &story.writer.lines {
        let Event::Acknowledged { partition, offset, .. } = line.event else { continue };
        for group in &groups {
            if !of(group, partition).contains_key(&offset) {
                found.push(format!("{group}: {partition}@{offset} was never read"));
            }
        }
    }
    found
}

/// At each place n: when all records up to n had been read. It ends where one was not.
fn all_read_by(reads: &BTreeMap<i64, i64>) -> Vec<i64> {
    let mut ready = Vec::new();
    let mut latest = i64::MIN;
    for ((offset, at), due) in reads.iter().zip(0..) {
        if *offset != due {
            break;
        }
        latest = latest.max(*at);
        ready.push(latest);
    }
    ready
}

/// The writer numbers from 0 on and never skips.
fn acknowledgements(story: &Story) -> Vec<String> {
    let mut found = Vec::new();
    for line in &story.writer.lines {
        if let Event::Acknowledged { partition, offset, value } = line.event
            && offset != value
        {
            found.push(format!("{value} was acknowledged at {partition}@{offset}"));
        }
    }
    found
}

#[cfg(test)]
#[path = "chaos_check_tests.rs"]
mod tests;
