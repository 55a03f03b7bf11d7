//! What the lab does to a cluster, drawn from a seed; each fault can be undone, and is before the next one.

use std::time::Duration;

use anyhow::Context as _;

use crate::cluster::Cluster;
use crate::namespaces::Network;
use crate::random::Random;

/// Nodes are the first namespaces, clients the others.
pub(crate) const NODES: usize = 3;
pub(crate) const PLACES: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing for a while.
    Quiet,
    /// One node does not hear another.
    OneDirection { from: usize, to: usize },
    /// Two nodes do not hear each other.
    BothDirections { one: usize, other: usize },
    /// A node neither hears the others nor is heard by them; clients reach all.
    OneNode { node: usize },
    /// A node and one of the clients' places on one side, the rest on the other.
    Halves { node: usize, client: usize },
    /// Clients of a place and a node do not hear each other.
    Client { node: usize, client: usize },
    /// SIGSTOP.
    Pause { node: usize },
    /// SIGKILL, and a start.
    Kill { node: usize },
    /// SIGTERM, and a start.
    Restart { node: usize },
    /// Little leaves a node, and late.
    Slow { node: usize, kilobits: u64 },
}

impl Fault {
    /// Draws one; a quarter is quiet.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut below = |end: usize| usize::try_from(random.below(end as u64)).unwrap_or(0);
        let node = below(NODES);
        let other = (node + 1 + below(NODES - 1)) % NODES;
        let client = NODES + below(PLACES - NODES);
        match below(12) {
            0..3 => Self::Quiet,
            3 => Self::OneDirection { from: node, to: other },
            4 => Self::BothDirections { one: node, other },
            5 => Self::OneNode { node },
            6 => Self::Halves { node, client },
            7 => Self::Client { node, client },
            8 => Self::Pause { node },
            9 => Self::Kill { node },
            10 => Self::Restart { node },
            _ => Self::Slow { node, kilobits: 200 + random.below(2000) },
        }
    }

    /// The pairs of places of which the second does not hear the first.
    pub(crate) fn cuts(self) -> Vec<(usize, usize)> {
        let both = |one: usize, others: Vec<usize>| {
            others.into_iter().flat_map(|other| [(one, other), (other, one)]).collect()
        };
        match self {
            Self::OneDirection { from, to } => vec![(from, to)],
            Self::BothDirections { one, other } => both(one, vec![other]),
            Self::OneNode { node } => both(node, (0..NODES).filter(|other| *other != node).collect()),
            Self::Halves { node, client } => {
                let side = [node, client];
                let rest: Vec<usize> = (0..PLACES).filter(|other| !side.contains(other)).collect();
                side.into_iter().flat_map(|one| both(one, rest.clone())).collect()
            }
            Self::Client { node, client } => both(node, vec![client]),
            _ => Vec::new(),
        }
    }

    /// Does it.
    pub(crate) fn begin(self, network: &Network, cluster: &mut Cluster) -> anyhow::Result<()> {
        for (from, to) in self.cuts() {
            network.cut(from, to)?;
        }
        match self {
            Self::Pause { node } => running(cluster, node)?.signal("STOP"),
            Self::Kill { node } => cluster.take(node)?.kill(),
            Self::Restart { node } => cluster.take(node)?.stop(),
            Self::Slow { node, kilobits } => network.slow(node, kilobits),
            _ => Ok(()),
        }
    }

    /// Undoes it.
    pub(crate) fn end(self, network: &Network, cluster: &mut Cluster) -> anyhow::Result<()> {
        match self {
            Self::Pause { node } => running(cluster, node)?.signal("CONT"),
            Self::Kill { node } | Self::Restart { node } => cluster.start(node),
            _ => network.heal(),
        }
    }

    /// How long it lasts: longer and shorter than what a broker may be silent.
    pub(crate) fn lasts(self, random: &mut Random) -> Duration {
        let most = if self == Self::Quiet { 6_000 } else { 20_000 };
        Duration::from_millis(1_000 + random.below(most))
    }
}

fn running(cluster: &Cluster, node: usize) -> anyhow::Result<&crate::server::Server> {
    cluster.members.get(node).and_then(|member| member.server.as_ref()).context("a running node")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::mem::discriminant;

    use super::Fault;
    use crate::random::Random;

    #[test]
    fn every_kind_of_fault_is_drawn_and_the_same_ones_from_the_same_seed() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..400).map(|_| Fault::draw(&mut random)).collect::<Vec<_>>()
        };
        let kinds: std::collections::HashSet<_> = draw(1).iter().map(discriminant).collect();
        assert_eq!(kinds.len(), 10);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn two_halves_hear_nothing_of_each_other_and_all_of_themselves() {
        let cuts: BTreeSet<(usize, usize)> = Fault::Halves { node: 1, client: 3 }.cuts().into_iter().collect();
        assert_eq!(cuts.len(), 12);
        assert!(cuts.iter().all(|(from, to)| cuts.contains(&(*to, *from))));
        assert!(!cuts.contains(&(1, 3)) && !cuts.contains(&(0, 2)) && cuts.contains(&(0, 1)) && cuts.contains(&(3, 4)));
        assert_eq!(Fault::OneDirection { from: 0, to: 2 }.cuts(), [(0, 2)]);
    }
}
