//! Circles of transactions: each after the other. By what they read of each other (`G1c`, never), and by the order of their
//! writes (`G0`, which Kafka allows).

use std::collections::{BTreeMap, BTreeSet};

use crate::anomaly::{Anomaly, Report};
use crate::index::Index;
use crate::operation::What;

/// Who comes after whom.
type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

pub(crate) fn check(index: &Index<'_>, report: &mut Report) {
    for (anomaly, graph) in [(Anomaly::G1c, reads(index)), (Anomaly::G0, writes(index))] {
        if let Some(circle) = circle(graph) {
            report.add(anomaly, circle.join(" -> "));
        }
    }
}

/// From who wrote to who read it.
fn reads<'a>(index: &Index<'a>) -> Graph<'a> {
    let mut graph = Graph::new();
    for one in index.history.iter().filter(|one| one.what == What::Poll) {
        let Some(reader) = one.transaction.as_deref() else { continue };
        let senders = index.sends.get(&(one.key.as_str(), one.value.as_str()));
        for writer in senders.into_iter().flatten().filter_map(|send| send.transaction.as_deref()) {
            if writer != reader {
                graph.entry(writer).or_default().insert(reader);
            }
        }
    }
    graph
}

/// From who wrote to who wrote next in the same key.
fn writes<'a>(index: &Index<'a>) -> Graph<'a> {
    let mut by_offset: BTreeMap<&str, BTreeMap<i64, &'a str>> = BTreeMap::new();
    for send in index.sends.values().flatten().filter(|send| index.is_committed(send)) {
        if let (Some(transaction), Some(offset)) = (send.transaction.as_deref(), index.offset_of(send)) {
            by_offset.entry(&send.key).or_default().insert(offset, transaction);
        }
    }
    let mut graph = Graph::new();
    for order in by_offset.values() {
        for (before, after) in order.values().zip(order.values().skip(1)).filter(|(before, after)| before != after) {
            graph.entry(*before).or_default().insert(*after);
        }
    }
    graph
}

/// A circle, if there is one: what is left when who has nobody after it is taken away again and again.
fn circle(mut graph: Graph<'_>) -> Option<Vec<&str>> {
    let mut before: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut ends: Vec<&str> = Vec::new();
    for (one, after) in &graph {
        for next in after {
            before.entry(next).or_default().push(one);
            if !graph.contains_key(next) {
                ends.push(next);
            }
        }
    }
    while let Some(end) = ends.pop() {
        for one in before.get(end).into_iter().flatten() {
            if let Some(after) = graph.get_mut(one)
                && after.remove(end)
                && after.is_empty()
            {
                graph.remove(one);
                ends.push(one);
            }
        }
    }
    let mut at = graph.keys().next().copied()?;
    let mut walked: Vec<&str> = Vec::new();
    while !walked.contains(&at) {
        walked.push(at);
        at = graph.get(at)?.first()?;
    }
    let from = walked.iter().position(|one| *one == at)?;
    let mut circle = walked.split_off(from);
    circle.push(at);
    Some(circle)
}
