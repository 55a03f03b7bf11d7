//! The `info` command: what is in the log directories.
//!
//! Kafka: `StorageTool.infoCommand`.

use std::fmt::Write as _;
use std::path::PathBuf;

use milena_storage::checkpoint::MetaProperties;
use milena_storage::disk::RealDisk;

use crate::config::ServerConfig;

/// What the command prints, and whether all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub text: String,
    pub has_problems: bool,
}

/// Looks at every log directory of `config` and changes nothing.
pub fn describe_directories(config: &ServerConfig) -> Info {
    let mut paths: Vec<PathBuf> = config.node.log_dirs.clone();
    paths.push(config.node.metadata_log_dir.clone());
    paths.sort();
    paths.dedup();
    let mut found: Vec<String> = Vec::new();
    let mut problems: Vec<String> = Vec::new();
    let mut first: Option<MetaProperties> = None;
    for path in paths {
        let shown = path.display();
        if !path.exists() {
            problems.push(format!("{shown} does not exist"));
            continue;
        }
        if !path.is_dir() {
            problems.push(format!("{shown} is not a directory"));
            continue;
        }
        found.push(shown.to_string());
        match MetaProperties::read(&RealDisk, &path) {
            Err(error) => problems.push(format!("Error loading meta.properties: {error}")),
            Ok(None) => problems.push(format!("{shown} is not formatted.")),
            Ok(Some(meta)) => match &first {
                Some(other) if other.cluster_id != meta.cluster_id => {
                    problems.push("Mismatched cluster IDs between storage directories.".to_owned());
                }
                Some(other) if other.node_id != meta.node_id => {
                    problems.push("Mismatched node IDs between storage directories.".to_owned());
                }
                Some(_) => {}
                None => first = Some(meta),
            },
        }
    }
    Info { text: render(&found, first.as_ref(), &problems), has_problems: !problems.is_empty() }
}

fn render(found: &[String], first: Option<&MetaProperties>, problems: &[String]) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: &[String]| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{title}");
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
        let _ = writeln!(text);
    };
    match found.len() {
        0 => {}
        1 => section("Found log directory:", found),
        _ => section("Found log directories:", found),
    }
    if let Some(meta) = first {
        let directory = meta.directory_id.map(|id| format!("directory.id={id}, ")).unwrap_or_default();
        let shown = format!(
            "Found metadata: {{cluster.id={}, {directory}node.id={}, version=1}}",
            meta.cluster_id, meta.node_id
        );
        section(&shown, &[]);
    }
    match problems.len() {
        0 => {}
        1 => section("Found problem:", problems),
        _ => section("Found problems:", problems),
    }
    text
}
