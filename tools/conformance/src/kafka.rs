//! How Apache Kafka is started: to be there soon, or as its own scripts start it.

use std::process::Command;

use crate::layout;

/// What a JVM is told that is to start soon and lives for a short time.
const SHORT_OPTIONS: [&str; 4] = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];
/// What Apache Kafka's own start script tells it, with its default heap.
const BENCHMARK_OPTIONS: [&str; 9] = [
    "-Xmx1g",
    "-Xms1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

/// A release of Apache Kafka's server, but for the file of its settings.
pub(crate) fn short_lived(release: &str) -> Command {
    with(&SHORT_OPTIONS, release)
}

/// The same as its own scripts run it.
pub(crate) fn for_benchmark() -> Command {
    with(&BENCHMARK_OPTIONS, layout::RELEASE)
}

/// What a JVM is told that is to serve JMX to this machine.
pub(crate) fn jmx_options(port: u16) -> String {
    let option = |name: &str, value: &str| format!("-Dcom.sun.management.jmxremote.{name}={value}");
    [
        option("port", &port.to_string()),
        option("rmi.port", &port.to_string()),
        option("host", "127.0.0.1"),
        option("authenticate", "false"),
        option("ssl", "false"),
        "-Djava.rmi.server.hostname=127.0.0.1".to_owned(),
    ]
    .join(" ")
}

fn with(options: &[&str], release: &str) -> Command {
    let mut command = Command::new("java");
    command.args(options);
    command.arg(format!("-Dlog4j2.configurationFile={}", layout::source("log4j2.properties").display()));
    // Before 4.0 it was log4j 1.
    command.arg(format!("-Dlog4j.configuration=file:{}", layout::source("log4j.properties").display()));
    command.arg("-cp").arg(layout::class_path_of(release)).arg("kafka.Kafka");
    command
}
