//! How keys must agree with each other before a node may start.
//!
//! Kafka: `KafkaConfig.validateValues`, in its order, since the first broken rule is the one reported.

use std::collections::BTreeMap;

use milena_metadata::config::{BROKER_CONFIGS, BROKER_STATUS, ConfigValue, KeyStatus};

use super::endpoint::SecurityProtocol;
use super::listeners::parse_map;
use super::server_config::{RACK_AWARE_SELECTOR, ServerConfig};
use super::values::Values;

/// A condition that Scala's `require` would check; the prefix is part of what Kafka prints.
fn require(holds: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("requirement failed: {}", otherwise.into())) }
}

/// Checks a whole config.
///
/// # Errors
/// Kafka's text for the first rule that is broken.
pub(super) fn check(config: &ServerConfig, values: &Values) -> Result<(), String> {
    if values.long("node.id") != values.long("broker.id") {
        return Err("You must set `node.id` to the same value as `broker.id`.".to_owned());
    }
    check_log(config, values)?;
    check_directories(config, values)?;
    check_roles(config, values)?;
    check_advertised(config)?;
    check_sockets(values)?;
    check_groups(values)
}

fn check_log(config: &ServerConfig, values: &Values) -> Result<(), String> {
    let topic_default =
        |name: &str| -> i64 { config.topics.defaults.get(name).and_then(|text| text.parse().ok()).unwrap_or_default() };
    require(topic_default("segment.ms") >= 1, "log.roll.ms must be greater than or equal to 1")?;
    require(topic_default("segment.jitter.ms") >= 0, "log.roll.jitter.ms must be greater than or equal to 0")?;
    let retention_ms = topic_default("retention.ms");
    require(
        retention_ms >= 1 || retention_ms == -1,
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
    )?;
    let buffer = values.long("log.cleaner.dedupe.buffer.size");
    let per_thread = buffer.checked_div(values.long("log.cleaner.threads"));
    require(
        per_thread.is_none_or(|bytes| bytes > 1024 * 1024),
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
    )?;
    let wait = values.long("replica.fetch.wait.max.ms");
    require(
        wait <= values.long("replica.socket.timeout.ms"),
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts",
    )?;
    require(
        wait <= values.long("replica.lag.time.max.ms"),
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR",
    )
}

fn check_directories(config: &ServerConfig, values: &Values) -> Result<(), String> {
    require(!config.node.log_dirs.is_empty(), "At least one log directory must be defined via log.dirs or log.dir.")?;
    let cordoned = values.list("cordoned.log.dirs");
    if cordoned.iter().any(|entry| entry == "*") {
        return require(cordoned.len() == 1, "When cordoned.log.dirs is set to *, it must not contain other values");
    }
    let missing: Vec<&str> = cordoned
        .iter()
        .map(String::as_str)
        .filter(|entry| !config.node.log_dirs.iter().any(|dir| dir.to_str() == Some(*entry)))
        .collect();
    require(
        missing.is_empty(),
        format!(
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
            missing.join(", ")
        ),
    )
}

fn check_roles(config: &ServerConfig, values: &Values) -> Result<(), String> {
    let quorum = &config.quorum;
    if quorum.voters.is_empty() && quorum.bootstrap_servers.is_empty() {
        return Err("If using process.roles, either controller.quorum.bootstrap.servers must contain the set of \
                    bootstrap controllers or controller.quorum.voters must contain a parseable set of controllers."
            .to_owned());
    }
    if !config.node.is_controller {
        check_broker_only(config)?;
        return require(
            !values.flag("controller.quorum.auto.join.enable"),
            "controller.quorum.auto.join.enable is only supported when process.roles contains the 'controller' role.",
        );
    }
    let listeners = &config.listeners;
    if !config.node.is_broker {
        require(
            listeners.advertised_controller.len() == listeners.bound.len(),
            "The listeners config must only contain KRaft controller listeners from controller.listener.names when process.roles=controller",
        )?;
    }
    let voter_ids: Vec<String> = quorum.voters.iter().map(|voter| voter.id.get().to_string()).collect();
    let is_voter = quorum.voters.iter().any(|voter| voter.id == config.node.node_id);
    require(
        voter_ids.is_empty() || is_voter,
        format!(
            "If process.roles contains the 'controller' role, the node id {} must be included in the set of voters controller.quorum.voters=Set({})",
            config.node.node_id.get(),
            voter_ids.join(", ")
        ),
    )?;
    require(
        !listeners.advertised_controller.is_empty(),
        "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when running the KRaft controller role",
    )?;
    let is_bound = |name: &String| listeners.bound.iter().any(|endpoint| endpoint.name == *name);
    require(
        listeners.controller_listener_names.iter().all(is_bound),
        "controller.listener.names must only contain values appearing in the 'listeners' configuration when running the KRaft controller role",
    )
}

fn check_broker_only(config: &ServerConfig) -> Result<(), String> {
    let listeners = &config.listeners;
    let voter_ids: Vec<String> = config.quorum.voters.iter().map(|voter| voter.id.get().to_string()).collect();
    require(
        !config.quorum.voters.iter().any(|voter| voter.id == config.node.node_id),
        format!(
            "If process.roles contains just the 'broker' role, the node id {} must not be included in the set of voters controller.quorum.voters=Set({})",
            config.node.node_id.get(),
            voter_ids.join(", ")
        ),
    )?;
    require(
        listeners.controller().next().is_none(),
        "controller.listener.names must not contain a value appearing in the 'listeners' configuration when running KRaft with just the broker role",
    )?;
    for name in &listeners.controller_listener_names {
        if !listeners.protocols.contains_key(&name.to_uppercase()) {
            return Err(format!(
                "Controller listener with name {} defined in controller.listener.names not found in listener.security.protocol.map  \
                 (an explicit security mapping for each controller listener is required if listener.security.protocol.map \
                 is non-empty, or if there are security protocols other than PLAINTEXT in use)",
                name.to_uppercase()
            ));
        }
    }
    Ok(())
}

fn check_advertised(config: &ServerConfig) -> Result<(), String> {
    let listeners = &config.listeners;
    let names = |endpoints: &[super::Endpoint]| {
        endpoints.iter().map(|endpoint| endpoint.name.clone()).collect::<Vec<_>>().join(",")
    };
    if config.node.is_broker {
        require(
            !listeners.advertised_broker.is_empty(),
            "There must be at least one broker advertised listener. Perhaps all listeners appear in controller.listener.names?",
        )?;
        let advertised = names(&listeners.advertised_broker);
        require(
            listeners.advertised_broker.iter().any(|endpoint| endpoint.name == listeners.inter_broker_listener_name),
            format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. \
                 The valid options based on currently configured listeners are {advertised}"
            ),
        )?;
        let is_bound = |name: &String| listeners.bound.iter().any(|endpoint| endpoint.name == *name);
        require(
            listeners.advertised_broker.iter().all(|endpoint| is_bound(&endpoint.name)),
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. \
                 Found {advertised}. The valid options based on the current configuration are {}",
                names(&listeners.bound)
            ),
        )?;
    }
    // Only what was advertised on purpose or falls back to a broker's listener counts: a controller may
    // listen on every interface.
    require(
        !listeners.advertised_broker.iter().any(|endpoint| endpoint.host == "0.0.0.0"),
        "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
    )
}

fn check_sockets(values: &Values) -> Result<(), String> {
    let queued = values.long("queued.max.request.bytes");
    require(
        queued <= 0 || queued >= values.long("socket.request.max.bytes"),
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
    )?;
    let overrides = parse_map("max.connections.per.ip.overrides", &values.text("max.connections.per.ip.overrides"))?;
    require(
        values.long("max.connections.per.ip") != 0 || !overrides.is_empty(),
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
    )?;
    let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-%._:".contains(&byte);
    let invalid: Vec<&str> =
        overrides.iter().map(|(host, _)| host.as_str()).filter(|host| !host.bytes().all(host_byte)).collect();
    if !invalid.is_empty() {
        return Err(format!("max.connections.per.ip.overrides contains invalid addresses : {}", invalid.join(",")));
    }
    let (delay, idle) =
        (values.long("connection.failed.authentication.delay.ms"), values.long("connections.max.idle.ms"));
    require(
        idle < 0 || delay < idle,
        format!(
            "connection.failed.authentication.delay.ms={delay} should always be less than connections.max.idle.ms={idle} \
             to prevent failed authentication responses from timing out"
        ),
    )
}

/// Limits and the values between them. Kafka: `GroupCoordinatorConfig`'s constructor.
fn check_groups(values: &Values) -> Result<(), String> {
    if !values.list("group.coordinator.rebalance.protocols").iter().any(|protocol| protocol == "classic") {
        return Err("Disabling the 'classic' protocol is not supported.".to_owned());
    }
    for kind in ["consumer", "share", "streams"] {
        for what in ["heartbeat.interval.ms", "session.timeout.ms"] {
            let name = format!("group.{kind}.{what}");
            let (least, most) = (format!("group.{kind}.min.{what}"), format!("group.{kind}.max.{what}"));
            let value = values.long(&name);
            if value < values.long(&least) {
                return Err(format!("{name} must be greater than or equal to {least}"));
            }
            if value > values.long(&most) {
                return Err(format!("{name} must be less than or equal to {most}"));
            }
        }
    }
    Ok(())
}

/// What Kafka says of a config that it nevertheless starts with.
pub(super) fn warnings(config: &ServerConfig, values: &Values) -> Vec<String> {
    let mut warnings = Vec::new();
    let (beat, session) = (values.long("broker.heartbeat.interval.ms"), values.long("broker.session.timeout.ms"));
    if beat > session / 2 {
        warnings.push(format!(
            "broker.heartbeat.interval.ms ({beat} ms) must be less than or equal to half of the broker.session.timeout.ms \
             ({session} ms). Please increase broker.session.timeout.ms or decrease broker.heartbeat.interval.ms."
        ));
    }
    if !config.node.is_controller && config.listeners.controller_listener_names.len() > 1 {
        warnings.push(format!(
            "controller.listener.names has multiple entries; only the first will be used since process.roles=broker: [{}]",
            config.listeners.controller_listener_names.join(", ")
        ));
    }
    warnings
}

/// What Milena does not do yet and must not pretend to: where to ignore a key would open what the person who set it
/// meant to close, or hide data, the node does not start.
pub(super) fn check_supported(config: &ServerConfig, values: &Values) -> Result<(), String> {
    for endpoint in &config.listeners.bound {
        if endpoint.protocol != SecurityProtocol::Plaintext {
            return Err(format!(
                "Listener {} asks for {}, which Milena does not serve yet: only PLAINTEXT listeners can be opened",
                endpoint.name,
                endpoint.protocol.name()
            ));
        }
    }
    // A broker that is no controller does not bind the controllers' listeners, it connects to them.
    for name in &config.listeners.controller_listener_names {
        let protocol = config.listeners.protocols.get(&name.to_uppercase());
        if let Some(protocol) = protocol.filter(|protocol| **protocol != SecurityProtocol::Plaintext) {
            return Err(format!(
                "Listener {name} of the controllers asks for {}, which Milena does not speak yet: only PLAINTEXT is",
                protocol.name()
            ));
        }
    }
    let selector = values.text_if_set("replica.selector.class").filter(|class| !class.is_empty());
    if let Some(class) = selector.filter(|class| class != RACK_AWARE_SELECTOR) {
        return Err(format!(
            "replica.selector.class is {class}, and Milena cannot honour it: it loads no Java classes and knows only \
             {RACK_AWARE_SELECTOR}"
        ));
    }
    for (name, status) in BROKER_STATUS {
        let KeyStatus::Refused(reason) = status else { continue };
        let default = BROKER_CONFIGS.find(name).and_then(|key| key.parse_default().ok().flatten());
        let is_empty = |value: &ConfigValue| value.to_text().is_empty();
        match values.get(name) {
            Some(value) if default.as_ref() != Some(value) && !is_empty(value) => {
                return Err(format!("{name} is set, and Milena cannot honour it: {reason}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A name that is neither a broker key nor one of the families that plug-ins and listeners read.
pub(super) fn unknown_names(set: &BTreeMap<String, String>) -> Vec<&str> {
    const FAMILIES: [&str; 4] = ["listener.name.", "config.providers.", "rlmm.config.", "rsm.config."];
    set.keys()
        .map(String::as_str)
        .filter(|name| BROKER_CONFIGS.find(name).is_none())
        .filter(|name| !FAMILIES.iter().any(|family| name.starts_with(family)))
        .filter(|name| !super::server_config::OWN_KEYS.contains(name))
        .collect()
}
