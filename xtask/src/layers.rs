//! Who may use whom: the allow-list of docs/ARCHITECTURE.md, checked against `cargo metadata`.
//!
//! The table is closed: a workspace crate it does not name fails, and so does an edge it does not allow, whether the edge is for
//! building, running or testing. Pure crates may also not depend on the outside crates that bring input and output with them.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A room and the rooms it may use.
struct Room {
    name: &'static str,
    is_pure: bool,
    may_use: &'static [&'static str],
}

const fn pure(name: &'static str, may_use: &'static [&'static str]) -> Room {
    Room { name, is_pure: true, may_use }
}

const fn shell(name: &'static str, may_use: &'static [&'static str]) -> Room {
    Room { name, is_pure: false, may_use }
}

/// What a replicated core may use: never another core, never storage or network.
const CORE: &[&str] = &["types", "protocol", "records", "metadata"];

/// The broker composes everything below it and nothing above.
const BELOW_BROKER: &[&str] = &[
    "types",
    "protocol",
    "records",
    "metadata",
    "raft",
    "controller",
    "replication",
    "coordinator",
    "storage",
    "network",
    "metrics",
];

const ROOMS: &[Room] = &[
    pure("types", &[]),
    pure("protocol", &["types"]),
    pure("records", &["types", "protocol"]),
    pure("metadata", &["types", "protocol"]),
    pure("raft", CORE),
    pure("controller", CORE),
    pure("replication", CORE),
    pure("coordinator", CORE),
    shell("storage", &["types", "protocol", "records"]),
    shell("network", &["types", "protocol"]),
    shell("metrics", &[]),
    shell("client", &["types", "protocol", "records", "network"]),
    shell("broker", BELOW_BROKER),
    shell("cli", &["types", "protocol", "records", "metadata", "storage", "broker", "client"]),
    shell("console", &["types", "client"]),
];

/// Outside crates that do input and output, keep time or make randomness: not for pure rooms.
const IMPURE_CRATES: &[&str] = &[
    "tokio",
    "rand",
    "fastrand",
    "getrandom",
    "mio",
    "socket2",
    "rustix",
    "libc",
    "nix",
    "tracing",
    "async-std",
    "smol",
    "ureq",
];

/// The pure rooms, for the checks of `tidy` on their text.
pub(crate) fn pure_rooms() -> impl Iterator<Item = &'static str> {
    ROOMS.iter().filter(|room| room.is_pure).map(|room| room.name)
}

/// The task: prints each violation and fails if there is one.
pub(crate) fn run() -> anyhow::Result<()> {
    let violations = check(&metadata(&crate::process::root())?);
    for violation in &violations {
        println!("layers: {violation}");
    }
    if violations.is_empty() {
        println!("layers: {} rooms in order", ROOMS.len());
        return Ok(());
    }
    bail!("{} edges break the layers", violations.len())
}

/// The workspace as cargo describes it.
pub(crate) fn metadata(root: &Path) -> anyhow::Result<Value> {
    let mut command = crate::process::cargo();
    command.current_dir(root).args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = command.output().context("start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata's JSON")
}

/// Every edge of the workspace the table does not allow.
pub(crate) fn check(metadata: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    let packages = metadata.get("packages").and_then(Value::as_array);
    for package in packages.into_iter().flatten() {
        check_package(package, &mut violations);
    }
    violations
}

fn check_package(package: &Value, violations: &mut Vec<String>) {
    let name = text(package, "name");
    let manifest = text(package, "manifest_path").replace('\\', "/");
    let Some(folder) = manifest.strip_suffix("/Cargo.toml").and_then(|path| path.rsplit('/').next()) else {
        return;
    };
    if !manifest.contains("/crates/") {
        return;
    }
    if name != format!("milena-{folder}") {
        violations.push(format!("crates/{folder} holds a package named {name}, not milena-{folder}"));
    }
    let Some(room) = ROOMS.iter().find(|room| room.name == folder) else {
        violations.push(format!("crates/{folder} has no row in the table of layers"));
        return;
    };
    let dependencies = package.get("dependencies").and_then(Value::as_array);
    for dependency in dependencies.into_iter().flatten() {
        let used = text(dependency, "name");
        let for_tests_only = dependency.get("kind").and_then(Value::as_str) == Some("dev");
        if for_tests_only && used == "milena-histories" {
            // It has no dependencies, and only tests have histories.
            continue;
        }
        if let Some(used_room) = used.strip_prefix("milena-") {
            if !room.may_use.contains(&used_room) {
                violations.push(format!("{folder} may not use {used_room}"));
            }
        } else if room.is_pure && !for_tests_only && IMPURE_CRATES.contains(&used) {
            violations.push(format!("{folder} is pure and may not use the crate {used}"));
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{check, metadata};

    fn package(folder: &str, dependency: &str) -> serde_json::Value {
        json!({"packages": [{
            "name": format!("milena-{folder}"),
            "manifest_path": format!("/somewhere/crates/{folder}/Cargo.toml"),
            "dependencies": [{"name": dependency, "kind": null}],
        }]})
    }

    #[test]
    fn the_workspace_keeps_its_layers() {
        let violations = check(&metadata(&crate::process::root()).expect("cargo metadata"));
        assert!(violations.is_empty(), "{violations:#?}");
    }

    #[test]
    fn a_core_that_uses_another_core_is_found() {
        assert_eq!(check(&package("raft", "milena-controller")), ["raft may not use controller"]);
        assert_eq!(check(&package("raft", "milena-storage")), ["raft may not use storage"]);
        assert!(check(&package("raft", "milena-metadata")).is_empty());
    }

    #[test]
    fn a_pure_room_that_uses_an_executor_is_found() {
        assert_eq!(check(&package("records", "tokio")), ["records is pure and may not use the crate tokio"]);
        assert!(check(&package("network", "tokio")).is_empty());
    }

    #[test]
    fn a_room_without_a_row_is_found() {
        assert_eq!(check(&package("attic", "bytes")), ["crates/attic has no row in the table of layers"]);
    }
}
