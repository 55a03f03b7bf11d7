//! What the members of a group want: whether it changed, whether all want the same, and which topics it comes down to.
//! Kafka: the parts of `GroupMetadataManager` around `updateSubscriptionMetadata` and `maybeUpdateRegularExpressions`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_metadata::{Image, Ordered};
use milena_protocol::Text;
use milena_types::Uuid;

use super::member::Member;
use super::record;
use super::regex::{self, ResolvedRegex};
use super::state::{
    ConsumerGroup, SubscribedTopics, add_regex_topics, remove_regex_topics, replace_names, replace_regex,
};
use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::records::GroupRecord;
use crate::group::timer::Timer;

/// Expressions are not looked up again before so long.
const REGEX_REFRESH_MIN_MS: i64 = 10_000;

/// What became of a member's expression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RegexChange {
    None,
    /// It is another one; its topics are not known yet.
    Updated,
    /// It is another one or none, and what that stands for is known.
    Resolved,
}

/// The group's epoch and kind of subscription once a member has changed.
pub(super) struct Subscription {
    pub(super) epoch: i32,
    pub(super) is_homogeneous: bool,
}

/// Writes a member that changed. Gives whether the topics it names are others (`hasMemberSubscriptionChanged`).
pub(super) fn update_member(group_id: &Text, old: &Member, new: &Member, records: &mut Vec<GroupRecord>) -> bool {
    if old == new {
        return false;
    }
    records.push(record::member(group_id, new));
    old.subscribed_topic_names != new.subscribed_topic_names
}

/// Takes a member's new expression. Looking it up is left to a timer that is due at once: it takes time that grows with
/// the number of topics (`maybeUpdateRegularExpressions`).
pub(super) fn update_regex(
    context: &mut Context<'_>,
    group_id: &Text,
    group: &ConsumerGroup,
    (old, new): (&Member, &Member),
    records: &mut Vec<GroupRecord>,
) -> Result<RegexChange, Refusal> {
    let mut change = RegexChange::None;
    let mut must_refresh = false;
    if old.subscribed_topic_regex != new.subscribed_topic_regex {
        change = RegexChange::Updated;
        if let Some(old) = old.regex()
            && group.regex_members(old) == 1
        {
            records.push(record::regex_tombstone(group_id, old));
        }
        match new.regex() {
            Some(new) if group.regex_members(new) == 0 => {
                regex::validate(new)?;
                must_refresh = true;
            }
            Some(new) if group.resolved_regexes.contains_key(new) => change = RegexChange::Resolved,
            None if old.regex().is_some() => change = RegexChange::Resolved,
            _ => {}
        }
    }
    if must_refresh || !group.subscribed_regexes.is_empty() {
        let mut subscribed = Arc::clone(&group.subscribed_regexes);
        replace_regex(&mut subscribed, Some(old), Some(new));
        refresh_if_due(context, group_id, group, &subscribed, must_refresh);
    }
    Ok(change)
}

/// Has the expressions looked up again when one is new, topics are, or it was long ago.
fn refresh_if_due(
    context: &mut Context<'_>,
    group_id: &Text,
    group: &ConsumerGroup,
    subscribed: &BTreeMap<Text, usize>,
    must_refresh: bool,
) {
    let now = context.now.0;
    // All expressions of a group are looked up together, so any of them tells when that was.
    let last = group.resolved_regexes.values().next();
    let is_older_than = |ms: i64| last.is_none_or(|last| now > last.timestamp.saturating_add(ms));
    if !is_older_than(REGEX_REFRESH_MIN_MS) || subscribed.is_empty() {
        return;
    }
    let last_version = last.map_or(0, |last| last.version);
    if must_refresh
        || subscribed.len() != group.resolved_regexes.len()
        || last_version < context.live.consumer.new_topics_version
        || is_older_than(context.config.consumer_regex_refresh_interval_ms)
    {
        let timer = Timer::ConsumerRefresh { group: group_id.clone() };
        context.live.timers.set_if_absent(timer, context.now);
    }
}

/// Looks up the expressions of a group (`handleRegularExpressionsResult`).
pub(super) fn refresh_regexes(context: &mut Context<'_>, group_id: &Text) -> Vec<GroupRecord> {
    let mut records = Vec::new();
    let Some(group) = context.state.consumer(group_id) else { return records };
    let patterns: Vec<Text> = group.subscribed_regexes.keys().cloned().collect();
    let mut topics = group.subscribed_topics.clone();
    let mut must_bump = false;
    for (pattern, resolved) in regex::resolve(&patterns, context.image, context.now.0) {
        let old = group.resolved_regexes.get(&pattern).cloned().unwrap_or_default();
        if old.topics != resolved.topics {
            must_bump = true;
            remove_regex_topics(&mut topics, &old);
            add_regex_topics(&mut topics, &resolved);
        }
        records.push(record::regex(group_id, &pattern, &resolved));
    }
    let hash = context.live.consumer.metadata_hash(&topics, context.image);
    if must_bump || hash != group.metadata_hash {
        let epoch = group.epoch + 1;
        records.push(record::epoch(group_id, epoch, hash));
        context.live.consumer.set_checked(group_id, epoch, context.now);
        context.live.counts.rebalanced_consumer_group();
    }
    records
}

/// Looks at the topics of a group and gives it a new epoch if they changed or it must have one
/// (`updateSubscriptionMetadata`).
pub(super) fn update_epoch(
    context: &mut Context<'_>,
    group_id: &Text,
    group: &ConsumerGroup,
    (old, new): (&Member, &Member),
    must_bump: bool,
    records: &mut Vec<GroupRecord>,
) -> Subscription {
    let mut regexes = Arc::clone(&group.subscribed_regexes);
    replace_regex(&mut regexes, Some(old), Some(new));
    let topics = topics_with(group, old, new);
    let hash = context.live.consumer.metadata_hash(&topics, context.image);
    let mut epoch = group.epoch;
    if must_bump || hash != group.metadata_hash {
        epoch += 1;
        records.push(record::epoch(group_id, epoch, hash));
        context.live.counts.rebalanced_consumer_group();
    }
    context.live.consumer.set_checked(group_id, epoch, context.now);
    if group.has_partition_metadata {
        records.push(record::partition_metadata_tombstone(group_id));
    }
    Subscription { epoch, is_homogeneous: is_homogeneous(&regexes, &topics, members_with(group, new)) }
}

/// The group's epoch as it is. Whether all want the same matters only when there will be a target.
///
/// Kafka takes what held before the member came, so that one that joins without topics while the target is old can leave
/// everybody without partitions until the next epoch; here it is counted.
pub(super) fn unchanged(group: &ConsumerGroup, (old, new): (&Member, &Member)) -> Subscription {
    let mut subscription = Subscription { epoch: group.epoch, is_homogeneous: true };
    if group.assignment_epoch < group.epoch {
        let mut regexes = Arc::clone(&group.subscribed_regexes);
        replace_regex(&mut regexes, Some(old), Some(new));
        let topics = topics_with(group, old, new);
        subscription.is_homogeneous = is_homogeneous(&regexes, &topics, members_with(group, new));
    }
    subscription
}

/// How many members the group has with this one.
fn members_with(group: &ConsumerGroup, member: &Member) -> usize {
    let is_known = group.members.contains_key(&member.member_id)
        || member.instance_id.as_ref().is_some_and(|instance| group.static_members.contains_key(instance));
    group.members.len() + usize::from(!is_known)
}

/// The topics of a group once `old` is `new`. The last member of an expression takes its topics with it; those of a new
/// one come when it is looked up.
fn topics_with(group: &ConsumerGroup, old: &Member, new: &Member) -> SubscribedTopics {
    let mut topics = group.subscribed_topics.clone();
    // A member that is not in the group yet has not been counted.
    replace_names(&mut topics, Some(old), Some(new));
    if let Some(regex) = old.regex()
        && new.regex() != Some(regex)
        && group.regex_members(regex) == 1
        && let Some(resolved) = group.resolved_regexes.get(regex)
    {
        remove_regex_topics(&mut topics, resolved);
    }
    topics
}

/// Whether all members want the same topics (`ConsumerGroup.subscriptionType`).
pub(super) fn is_homogeneous(regexes: &BTreeMap<Text, usize>, topics: &SubscribedTopics, members: usize) -> bool {
    match regexes.values().next() {
        None => topics.values().all(|count| count.by_name == members),
        Some(count) => *count == members && topics.values().all(|count| count.by_regex == 1 && count.by_name == 0),
    }
}

/// The names and the expression of a member.
type Wish = (Arc<BTreeSet<Text>>, Option<Text>);

/// Which topics members want that exist. Members that want the same share the answer.
pub(super) struct TopicResolver<'a> {
    image: &'a Image,
    regexes: &'a Ordered<Text, Arc<ResolvedRegex>>,
    known: BTreeMap<Wish, Arc<BTreeSet<Uuid>>>,
}

impl<'a> TopicResolver<'a> {
    pub(super) fn new(image: &'a Image, regexes: &'a Ordered<Text, Arc<ResolvedRegex>>) -> TopicResolver<'a> {
        TopicResolver { image, regexes, known: BTreeMap::new() }
    }

    pub(super) fn topic_ids(&mut self, member: &Member) -> Arc<BTreeSet<Uuid>> {
        let key = (Arc::clone(&member.subscribed_topic_names), member.regex().cloned());
        if let Some(known) = self.known.get(&key) {
            return Arc::clone(known);
        }
        let by_regex = member.regex().and_then(|regex| self.regexes.get(regex));
        let by_regex = by_regex.iter().flat_map(|resolved| resolved.topics.iter());
        let names = member.subscribed_topic_names.iter().chain(by_regex);
        let ids = Arc::new(names.filter_map(|name| self.image.topics.id_of(name)).collect());
        self.known.insert(key, Arc::clone(&ids));
        ids
    }

    /// Whether a member wants nothing at all, be it there or not.
    pub(super) fn wants_nothing(&self, member: &Member) -> bool {
        let by_regex = member.regex().and_then(|regex| self.regexes.get(regex));
        member.subscribed_topic_names.is_empty() && by_regex.is_none_or(|resolved| resolved.topics.is_empty())
    }
}
