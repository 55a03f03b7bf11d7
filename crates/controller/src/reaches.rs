//! Whether anything is left of a request for the active controller once what is refused beforehand (`requests.rs`) is taken out. If not,
//! any controller can answer it (`ControllerApis`; `QuorumController` answers what is empty at once).

use milena_metadata::ConfigResource;
use milena_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, IncrementalAlterConfigsRequest,
};

use crate::requests::{CLUSTER_METADATA_TOPIC, admit, repeated};

/// Is there a topic to be created?
#[must_use]
pub fn creations(request: &CreateTopicsRequest) -> bool {
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.clone()));
    request.topics.iter().any(|topic| !repeated.contains(&topic.name) && &*topic.name != CLUSTER_METADATA_TOPIC)
}

/// Is there a topic that is to have more partitions?
#[must_use]
pub fn additions(request: &CreatePartitionsRequest) -> bool {
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.clone()));
    request.topics.iter().any(|topic| !repeated.contains(&topic.name))
}

/// Is there a resource whose configs are to be replaced?
#[must_use]
pub fn replacements(request: &AlterConfigsRequest) -> bool {
    let resource = request.resources.iter().map(|asked| (asked.resource_type, &asked.resource_name));
    !admit(resource.map(|(kind, name)| ConfigResource { kind, name: name.clone() }).collect()).1.is_empty()
}

/// Is there a resource whose configs are to be changed?
#[must_use]
pub fn changes(request: &IncrementalAlterConfigsRequest) -> bool {
    let resource = request.resources.iter().map(|asked| (asked.resource_type, &asked.resource_name));
    !admit(resource.map(|(kind, name)| ConfigResource { kind, name: name.clone() }).collect()).1.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_protocol::messages::create_topics_request::CreatableTopic;

    #[test]
    fn topics_named_twice_and_the_metadata_ask_nothing_of_the_controller() {
        let reaches = |names: &[&str]| {
            let topic = |name: &&str| CreatableTopic { name: (*name).into(), ..Default::default() };
            creations(&CreateTopicsRequest { topics: names.iter().map(topic).collect(), ..Default::default() })
        };
        assert!(!reaches(&[]));
        assert!(!reaches(&["twice", "twice"]));
        assert!(!reaches(&["__cluster_metadata"]));
        assert!(reaches(&["twice", "twice", "once"]));
    }
}
