//! What whole requests may not do, whoever decides the rest (`ControllerApis`): name a thing twice, or create the topic of
//! the metadata log. Two records for one topic would be a log that cannot be replayed.

use std::collections::BTreeSet;

use milena_protocol::Text;
use milena_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    create_partitions_response, create_topics_response,
};
use milena_types::ErrorCode;

use crate::{Controller, Decision, Random};

/// The topic of the metadata log, which is not a topic of the cluster.
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// The names that appear more than once.
fn repeated<'a>(names: impl Iterator<Item = &'a Text>) -> BTreeSet<Text> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).cloned().collect()
}

impl Controller {
    /// Creates topics; names that appear twice in the request are refused. The configs of a new topic are answered only for
    /// topics that `may_describe`.
    #[must_use]
    pub fn decide_create_topics(
        &self,
        request: &CreateTopicsRequest,
        may_describe: &dyn Fn(&str) -> bool,
        random: &mut dyn Random,
    ) -> Decision<CreateTopicsResponse> {
        let repeated = repeated(request.topics.iter().map(|topic| &topic.name));
        let for_metadata = request.topics.iter().any(|topic| &*topic.name == CLUSTER_METADATA_TOPIC);
        if repeated.is_empty() && !for_metadata {
            return self.create_unique_topics(request, may_describe, random);
        }
        let mut effective = request.clone();
        effective.topics.retain(|topic| !repeated.contains(&topic.name) && &*topic.name != CLUSTER_METADATA_TOPIC);
        let mut decision = self.create_unique_topics(&effective, may_describe, random);
        let refusal = |name: Text, why: &str| create_topics_response::CreatableTopicResult {
            name,
            error_code: ErrorCode::INVALID_REQUEST.0,
            error_message: Some(why.into()),
            configs: Some(Vec::new()),
            ..Default::default()
        };
        let metadata_refused = for_metadata && !repeated.contains(CLUSTER_METADATA_TOPIC);
        let topics = &mut decision.response.topics;
        topics.extend(repeated.into_iter().map(|name| refusal(name, "Duplicate topic name.")));
        if metadata_refused {
            let why = format!("Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited.");
            topics.push(refusal(Text::from_static(CLUSTER_METADATA_TOPIC), &why));
        }
        decision
    }

    /// Adds partitions to topics; names that appear twice in the request are refused.
    #[must_use]
    pub fn decide_create_partitions(
        &self,
        request: &CreatePartitionsRequest,
        random: &mut dyn Random,
    ) -> Decision<CreatePartitionsResponse> {
        let repeated = repeated(request.topics.iter().map(|topic| &topic.name));
        if repeated.is_empty() {
            return self.grow_unique_topics(request, random);
        }
        let mut effective = request.clone();
        effective.topics.retain(|topic| !repeated.contains(&topic.name));
        let mut decision = self.grow_unique_topics(&effective, random);
        let refusal = |name| create_partitions_response::CreatePartitionsTopicResult {
            name,
            error_code: ErrorCode::INVALID_REQUEST.0,
            error_message: Some("Duplicate topic name.".into()),
            ..Default::default()
        };
        decision.response.results.extend(repeated.into_iter().map(refusal));
        decision
    }
}
