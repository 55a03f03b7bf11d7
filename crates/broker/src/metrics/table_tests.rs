//! The table of names is what the documentation says, and names what it may.

use super::METRICS;
use milena_metrics::{Kind, Metric};
use std::collections::BTreeSet;

fn documented() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/METRICS.md")
}

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Count => "count",
        Kind::Histogram => "histogram",
    };
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    format!(
        "| {} | {kind} | {} | {} | {} |\n",
        code(&metric.full_name()),
        metric.labels.replace(',', ", "),
        code(metric.mbean),
        metric.help
    )
}

#[test]
fn the_documentation_has_every_metric() {
    const BEGIN: &str = "<!-- generated: metrics: UPDATE_EXPECT=1 cargo test -p milena-broker metrics -->\n";
    let page = std::fs::read_to_string(documented()).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark before the table");
    let after = rest.find("\n\n").map_or("", |end| rest.get(end..).unwrap());
    let table: String = METRICS.iter().map(|metric| row(metric)).collect();
    let head = "| name | kind | labels | Apache Kafka's MBean and attribute | meaning |\n|---|---|---|---|---|\n";
    let expected = format!("{before}{BEGIN}{head}{}{after}", table.trim_end());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(documented(), &expected).unwrap();
    }
    assert!(page == expected || std::env::var_os("UPDATE_EXPECT").is_some(), "UPDATE_EXPECT=1 writes docs/METRICS.md");
}

#[test]
fn names_are_distinct_and_of_the_characters_that_prometheus_allows() {
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len());
    let may_be = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    for metric in METRICS {
        assert!(metric.name.bytes().all(may_be), "{}", metric.name);
        assert!(!metric.name.ends_with("_total"), "{}: the page adds it", metric.name);
        assert!(metric.help.ends_with('.') && !metric.help.contains('|'), "{}", metric.name);
    }
}
