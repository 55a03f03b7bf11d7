//! Typed reading of parsed values.

use std::collections::BTreeMap;

use milena_metadata::config::ConfigValue;

/// All broker keys that are not null, parsed.
pub(super) struct Values(pub(super) BTreeMap<&'static str, ConfigValue>);

impl Values {
    pub(super) fn get(&self, name: &str) -> Option<&ConfigValue> {
        self.0.get(name)
    }

    /// A key that always has a value of this type. A name or type that the table does not know is a
    /// mistake in this crate, found by the first test that loads a config.
    fn must<T>(&self, name: &str, value: Option<T>) -> T {
        match value {
            Some(value) => value,
            None => panic!("no value of the expected type for {name}"),
        }
    }

    pub(super) fn long(&self, name: &str) -> i64 {
        self.must(name, self.get(name).and_then(ConfigValue::as_i64))
    }

    pub(super) fn int(&self, name: &str) -> i32 {
        self.must(name, i32::try_from(self.long(name)).ok())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.must(name, self.get(name).and_then(ConfigValue::as_bool))
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.must(name, self.get(name).and_then(ConfigValue::as_str)).to_owned()
    }

    pub(super) fn text_if_set(&self, name: &str) -> Option<String> {
        self.get(name).and_then(ConfigValue::as_str).map(str::to_owned)
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.get(name).and_then(ConfigValue::as_list).unwrap_or_default().to_vec()
    }
}
