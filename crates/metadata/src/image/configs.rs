//! Dynamic configs of topics, brokers, groups and client metrics subscriptions (`ConfigurationsImage`).

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::Text;

use super::Ordered;

/// What a config belongs to (`ConfigResource`). The order is the type's, then the name's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConfigResource {
    /// `ConfigResource.Type.id`.
    pub kind: i8,
    /// The topic, the broker's id (empty for all brokers), the group, the subscription.
    pub name: Text,
}

impl ConfigResource {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const BROKER_LOGGER: i8 = 8;
    pub const CLIENT_METRICS: i8 = 16;
    pub const GROUP: i8 = 32;

    /// A topic's configs.
    #[must_use]
    pub fn topic(name: Text) -> ConfigResource {
        ConfigResource { kind: Self::TOPIC, name }
    }

    /// The configs of all brokers that have none of their own.
    #[must_use]
    pub fn all_brokers() -> ConfigResource {
        ConfigResource { kind: Self::BROKER, name: Text::default() }
    }

    /// The name Kafka prints of the type.
    #[must_use]
    pub fn kind_name(kind: i8) -> &'static str {
        match kind {
            Self::TOPIC => "TOPIC",
            Self::BROKER => "BROKER",
            Self::BROKER_LOGGER => "BROKER_LOGGER",
            Self::CLIENT_METRICS => "CLIENT_METRICS",
            Self::GROUP => "GROUP",
            _ => "UNKNOWN",
        }
    }
}

/// The configs of one resource; values as they were written.
pub type ConfigMap = BTreeMap<Text, Text>;

/// All dynamic configs.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Configs {
    by_resource: Ordered<ConfigResource, Arc<ConfigMap>>,
}

impl Configs {
    /// The configs of a resource, when it has any.
    #[must_use]
    pub fn get(&self, resource: &ConfigResource) -> Option<&Arc<ConfigMap>> {
        self.by_resource.get(resource)
    }

    /// One config of a resource.
    #[must_use]
    pub fn value(&self, resource: &ConfigResource, name: &str) -> Option<&Text> {
        self.by_resource.get(resource)?.get(name)
    }

    /// The configs of a topic, when it has any.
    #[must_use]
    pub fn topic(&self, name: &Text) -> Option<&Arc<ConfigMap>> {
        self.get(&ConfigResource::topic(name.clone()))
    }

    /// All resources that have configs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<ConfigMap>)> {
        self.by_resource.iter()
    }

    pub(super) fn set(&mut self, resource: ConfigResource, name: Text, value: Option<Text>) {
        if !self.by_resource.contains_key(&resource) {
            if value.is_none() {
                return;
            }
            self.by_resource.insert(resource.clone(), Arc::default());
        }
        let Some(configs) = self.by_resource.get_mut(&resource) else { return };
        let configs = Arc::make_mut(configs);
        match value {
            Some(value) => {
                configs.insert(name, value);
            }
            None => {
                configs.remove(&name);
            }
        }
        if configs.is_empty() {
            self.by_resource.remove(&resource);
        }
    }

    pub(super) fn remove(&mut self, resource: &ConfigResource) -> bool {
        self.by_resource.remove(resource).is_some()
    }
}
