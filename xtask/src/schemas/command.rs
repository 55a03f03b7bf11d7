//! The command line of `cargo xtask schemas`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::notation::Message;
use super::{compare, jars, json, render};

/// `schemas [--kafka VERSION | --jars DIR] [--check]`: writes `crates/protocol/schemas`, or only compares with it and
/// fails when something differs.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut version = "4.3.1".to_owned();
    let mut folder = None;
    let mut check = false;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--kafka" => version = words.next().context("--kafka wants a version")?.clone(),
            "--jars" => folder = Some(PathBuf::from(words.next().context("--jars wants a folder")?)),
            "--check" => check = true,
            other => bail!("unknown flag {other}; usage: schemas [--kafka VERSION | --jars DIR] [--check]"),
        }
    }
    let folder = match folder {
        Some(folder) => folder,
        None => jars::fetch(&version)?,
    };
    let mut kafkas = BTreeMap::new();
    for (entry, text) in jars::schema_files(&folder)? {
        if let Some(message) = json::message(&text).with_context(|| entry.clone())? {
            let file = format!("{}.schema", file_name(&message.name));
            if let Some(other) = kafkas.insert(file, message) {
                bail!("two messages are called {}", other.name);
            }
        }
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/protocol/schemas");
    if check { check_against(&target, &kafkas) } else { write_to(&target, &kafkas) }
}

fn write_to(target: &Path, kafkas: &BTreeMap<String, Message>) -> Result<()> {
    fs::create_dir_all(target)?;
    for old in schema_names(target)? {
        if !kafkas.contains_key(&old) {
            fs::remove_file(target.join(old))?;
        }
    }
    for (file, message) in kafkas {
        fs::write(target.join(file), render::render(message))?;
    }
    eprintln!("wrote {} schemas", kafkas.len());
    Ok(())
}

fn check_against(target: &Path, kafkas: &BTreeMap<String, Message>) -> Result<()> {
    let mut differences = Vec::new();
    for (file, message) in kafkas {
        match fs::read_to_string(target.join(file)) {
            Err(_) => differences.push(format!("{file}: missing")),
            Ok(text) => {
                let ours = Message::parse(&text).map_err(|why| anyhow!("{file}: {why}"))?;
                differences.extend(compare::compare(&ours, message));
            }
        }
    }
    for extra in schema_names(target)?.into_iter().filter(|name| !kafkas.contains_key(name)) {
        differences.push(format!("{extra}: Kafka has no such message"));
    }
    for difference in &differences {
        eprintln!("{difference}");
    }
    if differences.is_empty() {
        eprintln!("{} schemas equal Kafka's", kafkas.len());
        return Ok(());
    }
    bail!("{} differences from Kafka's schemas", differences.len())
}

fn schema_names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".schema") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// `ProduceRequest` -> `produce_request`.
fn file_name(name: &str) -> String {
    let mut out = String::new();
    for character in name.replace("KRaft", "Kraft").chars() {
        if character.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}
