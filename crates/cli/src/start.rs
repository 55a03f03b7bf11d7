//! `milena start`: reads the config, makes sure the directories are formatted, runs the node until a
//! signal asks it to stop.
//!
//! Kafka: `kafka.Kafka`, `KafkaRaftServer`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use milena_broker::Node;
use milena_broker::config::{Durability, Endpoint, ServerConfig};
use milena_broker::format::{Formatted, ensure_formatted};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::args::StartArguments;
use crate::logging;
use crate::storage::KAFKA_RELEASE;

pub(crate) fn start(arguments: &StartArguments) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let config = arguments.load()?;
    logging::init();
    info!("{}", identity(&config));
    for warning in &config.warnings {
        warn!("{warning}");
    }
    for (name, reason) in config.keys_without_effect() {
        warn!("{name} is set and has no effect: {reason}");
    }
    let formatted = ensure_formatted(&config, &mut std::io::sink())?;
    if formatted.is_new {
        info!("formatted {} for a new cluster {}", shown(&formatted), formatted.cluster_id);
    }
    info!("cluster {}; data in {}", formatted.cluster_id, shown(&formatted));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("milena")
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    let ended = runtime.block_on(run(&config, &formatted, began));
    // A start that was broken off leaves threads that open logs, and nothing waits for them.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Runs the node until a signal asks it to stop.
async fn run(config: &ServerConfig, formatted: &Formatted, began: Instant) -> anyhow::Result<()> {
    // Both are taken before the node starts, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let started = tokio::select! {
        biased;
        started = Node::start(config, formatted) => Ok(started?),
        _ = terminate.recv() => Err("SIGTERM"),
        _ = interrupt.recv() => Err("SIGINT"),
    };
    let mut node = match started {
        Ok(node) => node,
        Err(name) => {
            // It may wait for a controller, or read logs, for as long as it takes.
            warn!("{name}: the start is broken off; nothing was served, and the next start checks the logs");
            return Ok(());
        }
    };
    for line in listening(config, node.addresses()) {
        info!("{line}");
    }
    if let Some(address) = node.metrics_address() {
        info!("metrics are at http://{address}/metrics");
    }
    info!("started in {} ms{}", began.elapsed().as_millis(), hint(config));
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = node.failed() => {
            node.stop().await;
            anyhow::bail!("the node failed; see the errors above");
        }
    };
    info!("{name}: shutting down");
    node.stop().await;
    info!("shut down");
    Ok(())
}

fn shown(formatted: &Formatted) -> String {
    let paths: Vec<String> = formatted.log_dirs.iter().map(|dir| dir.path.display().to_string()).collect();
    paths.join(", ")
}

/// What runs.
fn identity(config: &ServerConfig) -> String {
    let roles = match (config.node.is_broker, config.node.is_controller) {
        (true, true) => "broker and controller",
        (true, false) => "broker",
        (false, _) => "controller",
    };
    let durability = match config.node.durability {
        Durability::Os => "os",
        Durability::Fsync => "fsync",
    };
    format!(
        "Milena {} (Apache Kafka {KAFKA_RELEASE}): node {}, {roles}, durability {durability}",
        env!("CARGO_PKG_VERSION"),
        config.node.node_id
    )
}

/// A line for each listener: where it is bound, and what clients are told if that is another address.
fn listening(config: &ServerConfig, bound: &[(String, SocketAddr)]) -> Vec<String> {
    let told = |name: &str| {
        let advertised = config.advertised_broker_listeners().into_iter().find(|listener| listener.name == name)?;
        let port = bound.iter().find(|(other, _)| other == name).map_or(0, |(_, address)| address.port());
        let port = if advertised.port == 0 { port } else { advertised.port };
        Some(format!(", clients are told {}", address(&Endpoint { port, ..advertised })))
    };
    bound.iter().map(|(name, at)| format!("{name} listens on {at}{}", told(name).unwrap_or_default())).collect()
}

/// What to try, for who runs a node without a configuration of their own.
fn hint(config: &ServerConfig) -> String {
    match config.listeners.advertised_broker.first() {
        Some(listener) if !config.chosen.contains("listeners") => {
            let address = address(listener);
            format!("; try: echo hello | kcat -b {address} -t greetings -P && kcat -b {address} -t greetings -C -e")
        }
        _ => String::new(),
    }
}

fn address(listener: &Endpoint) -> String {
    match listener.host.as_str() {
        "" => format!("localhost:{}", listener.port),
        host if host.contains(':') => format!("[{host}]:{}", listener.port),
        host => format!("{host}:{}", listener.port),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use milena_broker::config::{ConfigSource, load_config};

    use super::*;

    #[test]
    fn a_start_says_what_runs_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let overrides = BTreeMap::from([
            ("log.dirs".to_owned(), dir.path().to_str().unwrap().to_owned()),
            ("listeners".to_owned(), "PLAINTEXT://:19092,CONTROLLER://[::1]:19093".to_owned()),
        ]);
        let config = load_config(&ConfigSource::BuiltIn, &overrides).unwrap();
        assert!(identity(&config).ends_with("node 1, broker and controller, durability os"), "{}", identity(&config));
        let bound = [
            ("PLAINTEXT".to_owned(), "[::]:19092".parse().unwrap()),
            ("CONTROLLER".to_owned(), "[::1]:19093".parse().unwrap()),
        ];
        let lines = listening(&config, &bound);
        assert!(lines[0].starts_with("PLAINTEXT listens on [::]:19092, clients are told "), "{lines:?}");
        assert!(lines[0].ends_with(":19092"), "{lines:?}");
        assert_eq!(lines[1], "CONTROLLER listens on [::1]:19093");
        assert_eq!(hint(&config), "", "who chose listeners knows where to connect");
        let config = load_config(&ConfigSource::BuiltIn, &BTreeMap::new()).unwrap();
        assert!(hint(&config).contains("kcat -b localhost:9092 "));
    }
}
