//! Which addresses are bound, which are told to clients, and which belong to the controller.
//!
//! Kafka: `AbstractKafkaConfig.listeners`, `effectiveAdvertisedBrokerListeners`,
//! `effectiveAdvertisedControllerListeners`, `effectiveListenerSecurityProtocolMap`,
//! `interBrokerListenerName`.

use std::collections::BTreeMap;

use super::endpoint::{Endpoint, SecurityProtocol, parse_endpoints};
use super::values::Values;

/// The listeners of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// `listeners`: what is bound, brokers' and controllers'.
    pub bound: Vec<Endpoint>,
    /// What clients and brokers are told. An empty host stands for this machine's name.
    pub advertised_broker: Vec<Endpoint>,
    /// What other nodes are told of this controller; empty on a node that is no controller.
    pub advertised_controller: Vec<Endpoint>,
    /// `controller.listener.names`, in order; the first is the one brokers use.
    pub controller_listener_names: Vec<String>,
    /// The listener that brokers use among themselves.
    pub inter_broker_listener_name: String,
    pub inter_broker_protocol: SecurityProtocol,
    /// Every name that has a protocol.
    pub protocols: BTreeMap<String, SecurityProtocol>,
}

impl Listeners {
    /// The bound listeners that serve clients and brokers.
    pub fn broker(&self) -> impl Iterator<Item = &Endpoint> {
        self.bound.iter().filter(|endpoint| !self.is_controller(&endpoint.name))
    }

    /// The bound listeners that serve the controller.
    pub fn controller(&self) -> impl Iterator<Item = &Endpoint> {
        self.bound.iter().filter(|endpoint| self.is_controller(&endpoint.name))
    }

    /// Whether the listener of this name belongs to the controller.
    pub fn is_controller(&self, name: &str) -> bool {
        self.controller_listener_names.iter().any(|other| other == name)
    }

    pub(super) fn read(values: &Values, set: &BTreeMap<String, String>) -> Result<Self, String> {
        let controller_listener_names = values.list("controller.listener.names");
        let protocols = protocol_map(values, set, &controller_listener_names)?;
        let bound = parse_endpoints(&values.list("listeners"), &protocols, true)?;
        let advertised = match values.get("advertised.listeners") {
            Some(_) => parse_endpoints(&values.list("advertised.listeners"), &protocols, false)?,
            None => bound.clone(),
        };
        let (inter_broker_listener_name, inter_broker_protocol) = inter_broker(values, set, &protocols)?;
        let is_controller = |name: &String| controller_listener_names.contains(name);
        let advertised_controller = controller_listener_names
            .iter()
            .filter_map(|name| advertised.iter().chain(&bound).find(|endpoint| endpoint.name == *name))
            .cloned()
            .collect();
        let advertised_broker = advertised.into_iter().filter(|endpoint| !is_controller(&endpoint.name)).collect();
        Ok(Self {
            bound,
            advertised_broker,
            advertised_controller,
            controller_listener_names,
            inter_broker_listener_name,
            inter_broker_protocol,
            protocols,
        })
    }
}

fn security_protocol(text: &str, key: &str) -> Result<SecurityProtocol, String> {
    SecurityProtocol::parse(text).ok_or_else(|| format!("Invalid security protocol `{text}` defined in {key}"))
}

/// `listener.security.protocol.map`; where that is not set, controllers' listeners are plaintext as long
/// as nothing else is protected.
fn protocol_map(
    values: &Values,
    set: &BTreeMap<String, String>,
    controller_names: &[String],
) -> Result<BTreeMap<String, SecurityProtocol>, String> {
    let key = "listener.security.protocol.map";
    let mut protocols = BTreeMap::new();
    for (name, protocol) in parse_map(key, &values.text(key))? {
        protocols.insert(name.to_uppercase(), security_protocol(&protocol, key)?);
    }
    if set.contains_key(key) {
        return Ok(protocols);
    }
    let mut in_use: Vec<String> = controller_names.to_vec();
    for entry in values.list("listeners") {
        let Some((name, _)) = entry.split_once(':') else {
            return Err(format!("Unable to parse a listener name from {entry}"));
        };
        in_use.push(name.to_uppercase());
    }
    let protected = |name: &String| matches!(name.as_str(), "SSL" | "SASL_SSL" | "SASL_PLAINTEXT");
    if !in_use.iter().any(protected) {
        for name in controller_names.iter().filter(|name| name.as_str() != "PLAINTEXT") {
            protocols.insert(name.clone(), SecurityProtocol::Plaintext);
        }
    }
    Ok(protocols)
}

fn inter_broker(
    values: &Values,
    set: &BTreeMap<String, String>,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<(String, SecurityProtocol), String> {
    let protocol_key = "security.inter.broker.protocol";
    let Some(name) = values.text_if_set("inter.broker.listener.name") else {
        let protocol = security_protocol(&values.text(protocol_key), protocol_key)?;
        return Ok((protocol.name().to_owned(), protocol));
    };
    if set.contains_key(protocol_key) {
        return Err(format!("Only one of inter.broker.listener.name and {protocol_key} should be set."));
    }
    let name = name.to_uppercase();
    match protocols.get(&name) {
        Some(protocol) => Ok((name, *protocol)),
        None => Err(format!(
            "Listener with name {name} defined in inter.broker.listener.name not found in listener.security.protocol.map."
        )),
    }
}

/// A value of the kind `a:1,b:2`; the last colon of an entry divides it.
pub(super) fn parse_map(key: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| match entry.rsplit_once(':') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            // What Java says of a missing colon.
            None => Err(format!(
                "Error parsing configuration property '{key}': begin 0, end -1, length {}",
                entry.encode_utf16().count()
            )),
        })
        .collect()
}
