//! `milena start`: reads the config, makes sure the directories are formatted, runs the node until a
//! signal asks it to stop.
//!
//! Kafka: `kafka.Kafka`, `KafkaRaftServer`.

use std::process::ExitCode;

use anyhow::Context;
use milena_broker::Node;
use milena_broker::config::{Endpoint, ServerConfig};
use milena_broker::format::{Formatted, ensure_formatted};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::args::StartArguments;
use crate::logging;

pub(crate) fn start(arguments: &StartArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.load()?;
    logging::init();
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("milena")
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    runtime.block_on(run(&config, &formatted))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the node until a signal asks it to stop.
async fn run(config: &ServerConfig, formatted: &Formatted) -> anyhow::Result<()> {
    // Both are taken before the node starts, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut node = Node::start(config, formatted).await?;
    info!("{}", greeting(config, formatted));
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = node.failed() => {
            node.stop().await;
            anyhow::bail!("the metadata log failed; see the errors above");
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

/// What a person who just started a node wants to know.
fn greeting(config: &ServerConfig, formatted: &Formatted) -> String {
    let roles = match (config.node.is_broker, config.node.is_controller) {
        (true, true) => "broker and controller",
        (true, false) => "broker",
        (false, _) => "controller",
    };
    let head = format!(
        "node {} ({roles}) of cluster {} is running; data in {}",
        config.node.node_id,
        formatted.cluster_id,
        shown(formatted)
    );
    match config.listeners.advertised_broker.first() {
        None => head,
        Some(listener) => {
            let address = address(listener);
            format!(
                "{head}\n  clients connect to {address}\n  try: echo hello | kcat -b {address} -t greetings -P && kcat -b {address} -t greetings -C -e"
            )
        }
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
    fn the_greeting_names_the_address_clients_use() {
        let dir = tempfile::tempdir().unwrap();
        let overrides = BTreeMap::from([
            ("log.dirs".to_owned(), dir.path().to_str().unwrap().to_owned()),
            ("listeners".to_owned(), "PLAINTEXT://:19092,CONTROLLER://[::1]:19093".to_owned()),
        ]);
        let config = load_config(&ConfigSource::BuiltIn, &overrides).unwrap();
        let formatted = ensure_formatted(&config, &mut std::io::sink()).unwrap();
        let text = greeting(&config, &formatted);
        assert!(text.starts_with("node 1 (broker and controller) of cluster "), "{text}");
        assert!(text.contains("clients connect to localhost:19092\n"), "{text}");
    }
}
