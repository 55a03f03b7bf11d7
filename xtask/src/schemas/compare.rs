//! Says where our notation of a message differs from Kafka's schema, one line a difference.

use super::notation::{Field, Message};

/// Differences of one message; empty when equal.
pub(crate) fn compare(ours: &Message, kafkas: &Message) -> Vec<String> {
    let mut differences = Vec::new();
    let name = &kafkas.name;
    let pairs = [
        ("kind", ours.kind.clone(), kafkas.kind.clone()),
        ("key", format!("{:?}", ours.api_key), format!("{:?}", kafkas.api_key)),
        ("name", ours.name.clone(), kafkas.name.clone()),
        ("versions", ours.versions.to_string(), kafkas.versions.to_string()),
        ("flexible", ours.flexible.to_string(), kafkas.flexible.to_string()),
        ("listeners", ours.listeners.join(" "), kafkas.listeners.join(" ")),
        ("unstable", ours.latest_version_unstable.to_string(), kafkas.latest_version_unstable.to_string()),
    ];
    for (what, ours, kafkas) in pairs {
        if ours != kafkas {
            differences.push(format!("{name}: {what} is {ours}, in Kafka {kafkas}"));
        }
    }
    compare_fields(&mut differences, name, &ours.fields, &kafkas.fields);
    for shared in &kafkas.structs {
        let path = format!("{name}.{}", shared.name);
        match ours.structs.iter().find(|ours| ours.name == shared.name) {
            None => differences.push(format!("{path}: missing")),
            Some(ours) => {
                if ours.versions != shared.versions {
                    differences.push(format!("{path}: versions are {}, in Kafka {}", ours.versions, shared.versions));
                }
                compare_fields(&mut differences, &path, &ours.fields, &shared.fields);
            }
        }
    }
    for extra in ours.structs.iter().filter(|ours| kafkas.structs.iter().all(|shared| shared.name != ours.name)) {
        differences.push(format!("{name}.{}: not in Kafka", extra.name));
    }
    differences
}

fn compare_fields(differences: &mut Vec<String>, path: &str, ours: &[Field], kafkas: &[Field]) {
    let names = |fields: &[Field]| fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>().join(" ");
    if names(ours) != names(kafkas) {
        differences.push(format!("{path}: fields are [{}], in Kafka [{}]", names(ours), names(kafkas)));
        return;
    }
    for (ours, kafkas) in ours.iter().zip(kafkas) {
        let path = format!("{path}.{}", kafkas.name);
        let flat = |field: &Field| Field { fields: Vec::new(), ..field.clone() };
        if flat(ours) != flat(kafkas) {
            differences.push(format!("{path}: is {:?}, in Kafka {:?}", flat(ours), flat(kafkas)));
        }
        compare_fields(differences, &path, &ours.fields, &kafkas.fields);
    }
}
