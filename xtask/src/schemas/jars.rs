//! Finds Kafka's jars and reads the schema files in them. The jars come from Maven, or from a folder that has them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The jars that carry schemas.
const MODULES: &[&str] = &[
    "kafka-clients",
    "kafka-metadata",
    "kafka-group-coordinator",
    "kafka-share-coordinator",
    "kafka-storage",
    "kafka-transaction-coordinator",
    "kafka-raft",
];

/// The folder with the jars of one Kafka version, `target/kafka/<version>/lib` as for the other tasks; what is not there
/// is copied through Maven.
pub(crate) fn fetch(version: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kafka").join(version).join("lib");
    fs::create_dir_all(&folder)?;
    for module in MODULES {
        if folder.join(format!("{module}-{version}.jar")).exists() {
            continue;
        }
        let status = Command::new("mvn")
            .args(["-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"])
            .arg(format!("-Dartifact=org.apache.kafka:{module}:{version}"))
            .arg(format!("-DoutputDirectory={}", folder.display()))
            .status()
            .context("running mvn")?;
        if !status.success() {
            bail!("mvn could not copy org.apache.kafka:{module}:{version}");
        }
    }
    Ok(folder)
}

/// The texts of all schema files, with the name of the jar's entry, in the order of names.
pub(crate) fn schema_files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for module in MODULES {
        let jar = find_jar(folder, module)?;
        let mut archive = zip::ZipArchive::new(File::open(&jar)?)?;
        for at in 0..archive.len() {
            let mut entry = archive.by_index(at)?;
            let name = entry.name()?.into_owned();
            if name.ends_with(".json") && (name.contains("message/") || name.contains("metadata/")) {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                texts.push((name, text));
            }
        }
    }
    texts.sort();
    Ok(texts)
}

fn find_jar(folder: &Path, module: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let version = name.strip_prefix(module).and_then(|rest| rest.strip_prefix('-'));
        if name.ends_with(".jar") && version.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        {
            return Ok(path);
        }
    }
    bail!("{} has no {module} jar", folder.display())
}
