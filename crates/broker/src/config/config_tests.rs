//! Whole configs against what Apache Kafka 4.3.1 says of them.

use std::collections::BTreeMap;

use super::*;

/// One line a case: changes to the base config (`key=value` or `-key`, divided by `;`), the class of
/// the exception or `ok`, and its text. Written by Kafka's own `KafkaConfig.fromProps`.
const CASES: &str = include_str!("../../testdata/server_properties.tsv");

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
}

fn base() -> BTreeMap<String, String> {
    texts(&[
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.bootstrap.servers", "localhost:9093"),
        ("log.dirs", "data"),
    ])
}

#[test]
fn configs_are_refused_in_kafkas_words() {
    let mut wrong = Vec::new();
    for line in CASES.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [changes, class, message] = fields[..] else { panic!("{line}") };
        let mut keys = base();
        for change in changes.split(';').filter(|change| !change.is_empty()) {
            match change.split_once('=') {
                Some((name, text)) => keys.insert(name.to_owned(), text.to_owned()),
                None => keys.remove(change.trim_start_matches('-')),
            };
        }
        let got = match ServerConfig::from_texts(keys) {
            // What Kafka starts and Milena cannot serve has tests of its own.
            Ok(_) | Err(LoadError::Unsupported(_)) => String::new(),
            Err(error) => error.to_string(),
        };
        if (class == "ok") != got.is_empty() || got != message {
            wrong.push(format!("{changes}\n  kafka {class} {message}\n  we    {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(CASES.lines().count() > 80);
}

#[test]
fn without_a_file_one_node_serves_this_machine() {
    let config = load_config(&ConfigSource::BuiltIn, &BTreeMap::new()).unwrap();
    assert!(config.node.is_broker && config.node.is_controller);
    assert_eq!(config.listeners.broker().map(ToString::to_string).collect::<Vec<_>>(), ["PLAINTEXT://localhost:9092"]);
    assert_eq!(config.listeners.controller().next().unwrap().to_string(), "CONTROLLER://localhost:9093");
    assert_eq!(config.quorum.bootstrap_servers, [("localhost".to_owned(), 9093)]);
    assert_eq!(config.topics.offsets_topic_replication_factor, 1);
    assert_eq!(config.node.metadata_log_dir.to_str(), Some("./milena-data"));
    assert!(config.warnings.is_empty());
    assert_eq!(config.keys_without_effect(), [], "nobody chose the built-in keys");
}

#[test]
fn the_built_in_quorum_address_follows_the_controllers_listener() {
    let overrides = texts(&[("listeners", "PLAINTEXT://127.0.0.1:1000,CONTROLLER://:1001")]);
    let config = load_config(&ConfigSource::BuiltIn, &overrides).unwrap();
    assert_eq!(config.quorum.bootstrap_servers, [("localhost".to_owned(), 1001)]);
}

#[test]
fn overrides_win_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.properties");
    std::fs::write(
        &path,
        "process.roles=broker,controller\nnode.id=7\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
         controller.listener.names=CONTROLLER\ncontroller.quorum.voters=7@localhost:9093\nnum.partitions=3\n\
         log.retention.minutes=5\n",
    )
    .unwrap();
    let overrides = texts(&[("num.partitions", "4"), ("milena.durability", "fsync")]);
    let config = load_config(&ConfigSource::File(path), &overrides).unwrap();
    assert_eq!(config.topics.num_partitions, 4);
    assert_eq!(config.node.durability, Durability::Fsync);
    assert_eq!(config.topics.defaults["retention.ms"], "300000");
    assert_eq!(config.quorum.voters, [Voter { id: milena_types::BrokerId(7), host: "localhost".into(), port: 9093 }]);
}

#[test]
fn unknown_keys_are_warned_of_and_keys_without_effect_are_named() {
    let mut keys = base();
    keys.extend(texts(&[("no.such.key", "1"), ("listener.name.plaintext.ssl.key", "x"), ("num.io.threads", "3")]));
    let config = ServerConfig::from_texts(keys).unwrap();
    assert_eq!(config.warnings, ["These configurations '[no.such.key]' were supplied but are not used yet."]);
    let named = config.keys_without_effect();
    assert!(named.iter().any(|(name, reason)| *name == "num.io.threads" && !reason.is_empty()), "{named:?}");
    assert!(!named.iter().any(|(name, _)| *name == "listeners"));
}

#[test]
fn a_listener_that_cannot_be_served_refuses_to_start() {
    let mut keys = base();
    keys.extend(texts(&[
        ("listeners", "SSL://localhost:9092,CONTROLLER://localhost:9093"),
        ("listener.security.protocol.map", "SSL:SSL,CONTROLLER:PLAINTEXT"),
        ("security.inter.broker.protocol", "SSL"),
    ]));
    let error = ServerConfig::from_texts(keys).unwrap_err().to_string();
    assert!(error.starts_with("Listener SSL asks for SSL"), "{error}");
}

#[test]
fn keys_that_would_open_what_was_closed_refuse_to_start() {
    for (name, text, why) in [
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "authorization is not"),
        ("create.topic.policy.class.name", "a.Policy", "Milena loads no Java classes"),
        ("alter.config.policy.class.name", "a.Policy", "Milena loads no Java classes"),
        ("client.quota.callback.class", "a.Callback", "Milena loads no Java classes"),
        ("config.providers", "file", "they are Java classes"),
        ("remote.log.storage.system.enable", "true", "tiered storage is not built yet"),
    ] {
        let mut keys = base();
        keys.extend(texts(&[(name, text)]));
        let error = ServerConfig::from_texts(keys).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name} is set, and Milena cannot honour it: {why}")), "{error}");
    }
    let mut keys = base();
    keys.extend(texts(&[("authorizer.class.name", ""), ("remote.log.storage.system.enable", "false")]));
    assert_eq!(ServerConfig::from_texts(keys).unwrap().keys_without_effect(), []);
}

#[test]
fn a_broker_whose_controllers_are_protected_refuses_to_start() {
    let mut keys = base();
    keys.extend(texts(&[
        ("process.roles", "broker"),
        ("listeners", "PLAINTEXT://localhost:9092"),
        ("controller.listener.names", "C"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,C:SASL_SSL"),
    ]));
    let error = ServerConfig::from_texts(keys).unwrap_err().to_string();
    assert!(error.starts_with("Listener C of the controllers asks for SASL_SSL"), "{error}");
}

#[test]
fn keys_of_single_listeners_are_named_when_they_have_no_effect() {
    let mut keys = base();
    keys.extend(texts(&[
        ("listener.name.plaintext.max.connections", "5"),
        ("listener.name.plaintext.ssl.keystore.location", "x"),
        ("listener.name.plaintext.num.partitions", "5"),
    ]));
    let config = ServerConfig::from_texts(keys).unwrap();
    let named: Vec<&str> = config.keys_without_effect().into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, ["listener.name.plaintext.num.partitions", "listener.name.plaintext.ssl.keystore.location"]);
}

#[test]
fn leases_are_on_unless_they_are_turned_off() {
    let key = "milena.leader.lease.enable";
    let leases = |text: Option<&str>| {
        let mut keys = base();
        keys.extend(text.map(|text| (key.to_owned(), text.to_owned())));
        ServerConfig::from_texts(keys)
    };
    assert!(leases(None).unwrap().node.has_leader_lease);
    assert!(!leases(Some("false")).unwrap().node.has_leader_lease);
    let refused = leases(Some("perhaps")).unwrap_err().to_string();
    assert!(refused.ends_with("Expected value to be either true or false"), "{refused}");
}

#[test]
fn the_reserve_of_the_disk_is_a_number_within_its_bounds() {
    let refused = |key: &str, value: &str| {
        let mut keys = base();
        keys.extend(texts(&[(key, value)]));
        ServerConfig::from_texts(keys).unwrap_err().to_string()
    };
    let percent = "milena.disk.reserve.percent";
    assert_eq!(
        refused(percent, "51"),
        format!("Invalid value 51 for configuration {percent}: Value must be no more than 50")
    );
    assert_eq!(
        refused(percent, "-1"),
        format!("Invalid value -1 for configuration {percent}: Value must be at least 0")
    );
    for key in ["milena.disk.reserve.max.bytes", "milena.scrub.interval.ms", "milena.scrub.max.bytes.per.second"] {
        assert!(refused(key, "x").ends_with("Not a number of type LONG"));
    }
}

#[test]
fn a_wrong_durability_names_the_choices() {
    let mut keys = base();
    keys.extend(texts(&[("milena.durability", "maybe")]));
    assert_eq!(
        ServerConfig::from_texts(keys).unwrap_err().to_string(),
        "Invalid value maybe for configuration milena.durability: String must be one of: os, fsync"
    );
}

#[test]
fn the_listener_of_metrics_is_off_unless_it_is_an_address() {
    let listener = |text: &str| {
        let mut keys = base();
        keys.extend(texts(&[("milena.metrics.listener", text)]));
        ServerConfig::from_texts(keys).map(|config| config.node.metrics_listener).map_err(|error| error.to_string())
    };
    assert_eq!(ServerConfig::from_texts(base()).unwrap().node.metrics_listener, None);
    assert_eq!(listener(" ").unwrap(), None);
    assert_eq!(listener("127.0.0.1:9404").unwrap(), Some(("127.0.0.1".to_owned(), 9404)));
    assert_eq!(listener("[::1]:0").unwrap(), Some(("::1".to_owned(), 0)));
    for wrong in ["9404", "http://127.0.0.1:9404", "127.0.0.1:99999", ":9404"] {
        let expected = format!("Invalid value {wrong} for configuration milena.metrics.listener: must be host:port");
        assert_eq!(listener(wrong).unwrap_err(), expected);
    }
}

/// Replaces or compares what stands between `marker` and the next blank line of `docs/COMPATIBILITY.md`.
fn check_document(marker: &str, expected: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/COMPATIBILITY.md");
    // Two tests write the same file.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap();
    let document = std::fs::read_to_string(&path).unwrap();
    let marker = format!("<!-- generated: {marker}: UPDATE_EXPECT=1 cargo test -p milena-broker compatibility -->\n");
    let (head, rest) = document.split_once(&marker).unwrap();
    let end = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    let (table, tail) = rest.split_at(end);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, format!("{head}{marker}{expected}{tail}")).unwrap();
        return;
    }
    assert!(
        table == expected,
        "docs/COMPATIBILITY.md is stale: run UPDATE_EXPECT=1 cargo test -p milena-broker compatibility"
    );
}

#[test]
fn the_compatibility_document_has_the_table_of_keys() {
    check_document("keys", &milena_metadata::config::compatibility_table());
}

#[test]
fn the_compatibility_document_has_the_table_of_requests() {
    use std::fmt::Write;
    let mut table = String::from("| key | request | versions in Milena | versions in Kafka |\n|---|---|---|---|\n");
    for info in milena_protocol::api_keys::TABLE {
        if !info.listeners.contains(&milena_protocol::api_keys::Listener::Broker) {
            continue;
        }
        let shown = |versions: std::ops::RangeInclusive<i16>| format!("{} to {}", versions.start(), versions.end());
        let ours = crate::api::apis().iter().find(|api| api.key == info.key);
        let ours = ours.map_or_else(|| "not yet".to_owned(), |api| shown(api.versions()));
        let kafkas = shown(info.min_version..=info.max_stable_version());
        writeln!(table, "| {} | {} | {ours} | {kafkas} |", info.key.0, info.name).unwrap();
    }
    check_document("requests", &table);
}

#[test]
fn the_parts_get_their_share_of_the_config() {
    let mut keys = base();
    keys.extend(texts(&[
        ("listeners", "PLAINTEXT://:19092,CONTROLLER://127.0.0.1:19093"),
        ("max.connections.per.ip", "7"),
        ("max.connections.per.ip.overrides", "127.0.0.1:3"),
        ("connections.max.idle.ms", "-1"),
        ("socket.request.max.bytes", "1000000"),
        ("listener.name.plaintext.max.connections", "5"),
        ("listener.name.plaintext.max.connection.creation.rate", "50"),
        ("max.connection.creation.rate", "60"),
        ("controller.quorum.election.timeout.ms", "1234"),
    ]));
    let config = ServerConfig::from_texts(keys).unwrap();
    let limits = config.connection_limits();
    let quotas = &limits.quotas;
    assert_eq!((quotas.max_connections_per_ip, limits.socket_request_max_bytes), (7, 1_000_000));
    assert_eq!(quotas.max_connections_per_ip_overrides[&std::net::Ipv4Addr::LOCALHOST.into()], 3);
    assert_eq!((quotas.max_connections, quotas.max_connection_creation_rate), (i32::MAX as usize, 60));
    let own = quotas.listeners["PLAINTEXT"];
    assert_eq!((own.max_connections, own.max_connection_creation_rate), (5, 50));
    assert_eq!(limits.connections_max_idle, None);
    let bound = config.listener_config(&config.listeners.bound[0]).unwrap();
    assert!(bound.address.ip().is_unspecified());
    assert_eq!(bound.address.port(), 19092);
    let controller = config.listener_config(&config.listeners.bound[1]).unwrap();
    assert_eq!(controller.address.to_string(), "127.0.0.1:19093");
    assert!(!config.advertised_broker_listeners()[0].host.is_empty());
    let dir = crate::format::LogDirIdentity { path: "data".into(), id: milena_types::Uuid::ONE };
    let formatted = crate::format::Formatted {
        cluster_id: "cluster".to_owned(),
        log_dirs: vec![dir.clone()],
        unusable_log_dirs: Vec::new(),
        metadata_log_dir: dir,
        is_new: false,
    };
    assert_eq!(config.quorum_config(&formatted, 1).election_timeout_ms, 1234);
    assert_eq!(config.broker_settings(&formatted).cluster_id, "cluster");
    let controller = config.controller_settings(&formatted, &milena_raft::VoterSet::default());
    assert!(controller.static_configs.contains_key("listeners"));
    assert!(!controller.static_configs.contains_key("listener.name.plaintext.max.connections"));
}
