//! The struct definitions, their defaults and the trait impls of top-level messages.

use std::fmt::Write;

use crate::model::{Structure, Unit};
use crate::{decode, encode};

/// The whole Rust file of one message.
pub(crate) fn render(unit: &Unit) -> String {
    let mut out = String::from("use crate::messages::imports::*;\n\n");
    for structure in &unit.structures {
        definition(&mut out, unit, structure);
        default(&mut out, unit, structure);
        let name = &structure.name;
        let _ = writeln!(out, "impl {name} {{");
        decode::function(&mut out, unit, structure);
        encode::function(&mut out, unit, structure);
        out.push_str("}\n\n");
        if structure.is_top {
            message_impl(&mut out, unit, structure);
        }
    }
    out
}

fn definition(out: &mut String, unit: &Unit, structure: &Structure) {
    let name = &structure.name;
    let _ = writeln!(out, "/// `{name}`, versions {}.", unit.versions());
    let _ = writeln!(out, "#[derive(Clone, Debug, PartialEq)]\npub struct {name} {{");
    for field in &structure.fields {
        let mut facts = format!("`{}`, versions {}", field.kafka_name, field.versions);
        if let Some(tag) = field.tag {
            let _ = write!(facts, ", tag {tag}");
        }
        if field.ignorable {
            facts.push_str(", ignorable");
        }
        let _ = writeln!(out, "    /// {facts}.\n    pub {}: {},", field.name, field.rust_type());
    }
    if !unit.flexible.is_empty() {
        out.push_str("    /// Tagged fields this version of the schema does not know, in the order they came.\n");
        out.push_str("    pub unknown_tagged_fields: Vec<RawTaggedField>,\n");
    }
    out.push_str("}\n\n");
}

fn default(out: &mut String, unit: &Unit, structure: &Structure) {
    let _ = writeln!(out, "impl Default for {0} {{\n    fn default() -> {0} {{\n        {0} {{", structure.name);
    for field in &structure.fields {
        let _ = writeln!(out, "            {}: {},", field.name, field.default_value());
    }
    if !unit.flexible.is_empty() {
        out.push_str("            unknown_tagged_fields: Vec::new(),\n");
    }
    out.push_str("        }\n    }\n}\n\n");
}

fn message_impl(out: &mut String, unit: &Unit, structure: &Structure) {
    let name = &structure.name;
    let (min, max) = (unit.versions().min, unit.versions().max);
    if let (Some(key), false) = (unit.message.api_key, matches!(unit.message.kind.as_str(), "request" | "response")) {
        let _ = writeln!(
            out,
            "impl {name} {{\n    /// The record type that names this message in a key or a frame.\n    \
             pub const RECORD_API_KEY: i16 = {key};\n}}\n"
        );
    }
    let _ = write!(
        out,
        "impl Message for {name} {{
    const NAME: &'static str = \"{name}\";
    const MIN_VERSION: i16 = {min};
    const MAX_VERSION: i16 = {max};

    fn decode(reader: &mut Reader, version: i16) -> Result<{name}, DecodeError> {{
        if version < {min} || version > {max} {{
            return Err(DecodeError::UnsupportedVersion {{ message: \"{name}\", version }});
        }}
        {name}::decode_fields(reader, version)
    }}

    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {{
        if version < {min} || version > {max} {{
            return Err(EncodeError::UnsupportedVersion {{ message: \"{name}\", version }});
        }}
        self.encode_fields(writer, version)
    }}
}}

"
    );
    if unit.message.kind == "request" {
        let base = name.trim_end_matches("Request");
        let _ = write!(
            out,
            "impl Request for {name} {{\n    const API_KEY: ApiKey = ApiKey({});\n    \
             type Response = crate::messages::{base}Response;\n}}\n",
            unit.message.api_key.unwrap_or_default()
        );
    }
}
