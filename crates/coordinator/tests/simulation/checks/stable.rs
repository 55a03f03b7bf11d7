//! When nothing goes wrong any more, groups become stable: everyone is a member, everything that is wanted belongs to
//! somebody and to nobody else, and is read to its end.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, Spot};
use crate::member::Member;

/// What keeps a group from being stable.
pub(crate) fn check(group: &str, members: &[&Member], cluster: &Cluster) -> Result<(), String> {
    if let Some(member) = members.iter().find(|member| !member.is_settled()) {
        return Err(format!("{group}: {member:?} is not settled"));
    }
    let mut owned: BTreeSet<Spot> = BTreeSet::new();
    for spot in members.iter().flat_map(|member| member.owned()) {
        if cluster.name_of(spot.0).is_some() && !owned.insert(*spot) {
            return Err(format!("{group}: two have {spot:?}"));
        }
    }
    let wanted: BTreeSet<Spot> = members.iter().flat_map(|member| cluster.wanted(&member.profile.wish)).collect();
    if owned != wanted {
        let (more, less): (Vec<_>, Vec<_>) = (owned.difference(&wanted).collect(), wanted.difference(&owned).collect());
        return Err(format!("{group}: nobody wants {more:?}, nobody has {less:?}"));
    }
    Ok(())
}
