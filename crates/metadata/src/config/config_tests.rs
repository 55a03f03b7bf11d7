//! The tables and parsers against what Apache Kafka 4.3.1 answers.

use std::collections::BTreeMap;

use super::*;

/// One line a value: table, key, value, `ok` or `err`, and Kafka's value or message. Written by
/// Kafka's own `ConfigDef.parse`.
const VALUES: &str = include_str!("../../testdata/config_values.tsv");

fn table(name: &str) -> &'static ConfigDef {
    match name {
        "broker" => &BROKER_CONFIGS,
        "topic" => &TOPIC_CONFIGS,
        _ => &GROUP_CONFIGS,
    }
}

#[test]
fn values_are_taken_and_refused_in_kafkas_words() {
    let mut wrong = Vec::new();
    for line in VALUES.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, name, text, verdict, expected] = fields[..] else { panic!("{line}") };
        let key = table(kind).find(name).unwrap();
        let (got_verdict, got) = match key.parse(text) {
            Ok(value) => ("ok", value.to_text()),
            Err(error) => ("err", error.to_string()),
        };
        if (got_verdict, got.as_str()) != (verdict, expected) {
            wrong.push(format!("{line}\n  got {got_verdict} {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(VALUES.lines().count() > 800);
}

#[test]
fn tables_are_sorted_and_their_defaults_are_valid() {
    for (def, count) in [(&BROKER_CONFIGS, 360), (&TOPIC_CONFIGS, 34), (&GROUP_CONFIGS, 17)] {
        assert_eq!(def.keys().len(), count);
        assert!(def.keys().is_sorted_by(|a, b| a.name < b.name));
        for key in def.keys() {
            if let Some(text) = key.default_text() {
                assert_eq!(key.parse(text).unwrap().to_text(), text, "{}", key.name);
            }
        }
    }
}

#[test]
fn every_broker_key_has_one_status_row() {
    let names: Vec<&str> = BROKER_STATUS.iter().map(|(name, _)| *name).collect();
    let keys: Vec<&str> = BROKER_CONFIGS.keys().iter().map(|key| key.name).collect();
    assert_eq!(names, keys);
}

#[test]
fn broker_retention_in_minutes_wins_over_hours_and_becomes_milliseconds() {
    let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    };
    let retention = |pairs: &[(&str, &str)]| topic_default("retention.ms", &texts(pairs)).unwrap().unwrap();
    assert_eq!(retention(&[]), "604800000");
    assert_eq!(retention(&[("log.retention.hours", "2")]), "7200000");
    assert_eq!(retention(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]), "180000");
    assert_eq!(retention(&[("log.retention.minutes", "3"), ("log.retention.ms", "5")]), "5");
    assert_eq!(retention(&[("log.retention.hours", "-1")]), "-1");
    assert_eq!(topic_default("segment.ms", &texts(&[])).unwrap().unwrap(), "604800000");
    assert_eq!(topic_default("cleanup.policy", &texts(&[])).unwrap().unwrap(), "delete");
    assert_eq!(topic_default("internal.segment.bytes", &texts(&[])).unwrap(), None);
}

#[test]
fn topic_defaults_on_a_plain_broker_are_the_topic_tables_own() {
    for key in TOPIC_CONFIGS.keys() {
        let from_broker = topic_default(key.name, &BTreeMap::new()).unwrap();
        assert_eq!(from_broker.as_deref(), key.default_text(), "{}", key.name);
    }
}

#[test]
fn every_synonym_is_a_key_of_its_table() {
    assert!(TOPIC_SYNONYMS.is_sorted_by(|a, b| a.topic_key < b.topic_key));
    for row in TOPIC_SYNONYMS {
        assert!(TOPIC_CONFIGS.find(row.topic_key).is_some());
        assert!(row.broker_keys.iter().all(|synonym| BROKER_CONFIGS.find(synonym.name).is_some()));
    }
    assert_eq!(
        broker_key_synonyms("listener.name.internal.scram-sha-256.sasl.jaas.config"),
        ["listener.name.internal.scram-sha-256.sasl.jaas.config", "sasl.jaas.config"]
    );
}

#[test]
fn dynamic_changes_are_refused_in_kafkas_words() {
    let one = |name: &str, text: &str| BTreeMap::from([(name.to_owned(), text.to_owned())]);
    let refusal = |name: &str, text: &str, per_broker| {
        validate_dynamic_broker_configs(&one(name, text), per_broker).unwrap_err().to_string()
    };
    assert_eq!(refusal("node.id", "3", true), "Cannot update these configs dynamically: [node.id]");
    assert_eq!(
        refusal("advertised.listeners", "PLAINTEXT://a:1", false),
        "Cannot update these configs dynamically: [advertised.listeners]"
    );
    assert_eq!(
        refusal("listeners", "PLAINTEXT://a:1", false),
        "Cannot update these configs at default cluster level, broker id must be specified: [listeners]"
    );
    assert_eq!(
        refusal("log.cleaner.threads", "x", false),
        "Invalid value x for configuration log.cleaner.threads: Not a number of type INT"
    );
    validate_dynamic_broker_configs(&one("log.cleaner.threads", "2"), false).unwrap();
    validate_dynamic_broker_configs(&one("custom.plugin.key", "2"), false).unwrap();
}

#[test]
fn topic_configs_that_contradict_each_other_are_refused() {
    let check = |pairs: &[(&str, &str)]| {
        let configs = pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let nothing = BTreeMap::new();
        let rules = TopicRules { existing: &nothing, defaults: &nothing, remote_storage_enabled: false };
        validate_topic_configs(&configs, &rules).map_err(|error| error.to_string())
    };
    check(&[("cleanup.policy", "compact"), ("retention.ms", "-1")]).unwrap();
    assert_eq!(check(&[("nope", "1")]).unwrap_err(), "Unknown topic config name: nope");
    assert_eq!(
        check(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]).unwrap_err(),
        "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"
    );
    assert_eq!(
        check(&[("remote.storage.enable", "true")]).unwrap_err(),
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    );
}
