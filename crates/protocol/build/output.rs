//! Reads `schemas/` and writes the Rust files into `OUT_DIR`: one a message, so that none is big.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::model::Unit;
use crate::notation::Message;
use crate::{api_keys, metadata_record, random, structs};

/// Generates everything.
pub(crate) fn write_all() -> Result<(), String> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set"));
    let schemas = variable("CARGO_MANIFEST_DIR")?.join("schemas");
    let out = variable("OUT_DIR")?;
    println!("cargo::rerun-if-changed=schemas");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=build.rs");
    let units = read_units(&schemas)?;
    fs::create_dir_all(out.join("messages")).map_err(|why| why.to_string())?;
    let mut index = String::new();
    for unit in &units {
        let (module, name, kind) = (&unit.module, &unit.message.name, &unit.message.kind);
        write(&out.join(format!("messages/{module}.rs")), &structs::render(unit))?;
        let _ = write!(
            index,
            "/// `{name}` ({kind}).\npub mod {module} {{\n    \
             include!(concat!(env!(\"OUT_DIR\"), \"/messages/{module}.rs\"));\n}}\npub use {module}::{name};\n"
        );
    }
    write(&out.join("messages.rs"), &index)?;
    write(&out.join("api_keys.rs"), &api_keys::render(&units)?)?;
    write(&out.join("metadata_record.rs"), &metadata_record::render(&units))?;
    write(&out.join("random.rs"), &random::render(&units))
}

fn read_units(schemas: &Path) -> Result<Vec<Unit>, String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(schemas)
        .map_err(|why| format!("{}: {why}", schemas.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "schema"))
        .collect();
    paths.sort();
    let mut units = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        let message = Message::parse(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        units.push(Unit::new(message)?);
    }
    Ok(units)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|why| format!("{}: {why}", path.display()))
}
