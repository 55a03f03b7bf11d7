//! The decoding half of the generated code. A field is read into a local `f_name`, then the struct is built.

use std::fmt::Write;

use crate::model::{Member, Structure, Type, Unit, condition, intersect};
use crate::notation::Versions;

/// `fn decode_fields`.
pub(crate) fn function(out: &mut String, unit: &Unit, structure: &Structure) {
    let name = &structure.name;
    let all = unit.versions();
    let _ = writeln!(
        out,
        "    #[allow(unused_variables, unused_mut, reason = \"not every structure needs all of them\")]\n    \
         pub(crate) fn decode_fields(reader: &mut Reader, version: i16) -> Result<{name}, DecodeError> {{"
    );
    let _ = writeln!(out, "        let flexible = {};", flexible(unit.flexible, all));
    for field in &structure.fields {
        let untagged = without(field.versions, field.tagged);
        let value = nullable_read(field, untagged, all, false);
        let expression = match condition(untagged, all).as_deref() {
            None => value,
            Some("false") => field.default_value(),
            Some(test) => format!("if {test} {{ {value} }} else {{ {} }}", field.default_value()),
        };
        let mutable = if field.tagged.is_empty() { "" } else { "mut " };
        let _ = writeln!(out, "        let {mutable}f_{}: {} = {expression};", field.name, field.rust_type());
    }
    if !unit.flexible.is_empty() {
        tagged(out, unit, structure);
    }
    let _ = write!(out, "        Ok({name} {{");
    for field in &structure.fields {
        let _ = write!(out, " {0}: f_{0},", field.name);
    }
    if !unit.flexible.is_empty() {
        out.push_str(" unknown_tagged_fields: unknown,");
    }
    out.push_str(" })\n    }\n\n");
}

pub(crate) fn flexible(flexible: Versions, all: Versions) -> String {
    condition(flexible, all).unwrap_or_else(|| "true".to_owned())
}

/// Versions where the field is there and not tagged. Kafka's tagged ranges are open-ended.
pub(crate) fn without(versions: Versions, tagged: Versions) -> Versions {
    if tagged.is_empty() { versions } else { intersect(versions, Versions { min: 0, max: tagged.min - 1 }) }
}

fn tagged(out: &mut String, unit: &Unit, structure: &Structure) {
    let all = unit.flexible;
    out.push_str("        let mut unknown = Vec::new();\n        if flexible {\n");
    out.push_str("            let mut tags = reader.read_uvarint()?;\n            while tags > 0 {\n");
    out.push_str("                tags -= 1;\n");
    out.push_str("                let (tag, mut inner) = reader.read_tagged_field()?;\n");
    if structure.fields.iter().any(|field| !field.tagged.is_empty()) {
        out.push_str("                match tag {\n");
        for field in structure.fields.iter().filter(|field| !field.tagged.is_empty()) {
            let tag = field.tag.unwrap_or_default();
            if let Some(test) = condition(field.tagged, all) {
                let _ = writeln!(
                    out,
                    "                    {tag} if !({test}) => return Err(DecodeError::TagNotInVersion {{ tag, version }}),"
                );
            }
            let _ = writeln!(
                out,
                "                    {tag} => {{\n                        let reader = &mut inner;\n                        \
                 f_{} = {};\n                        inner.finish_tagged_field(tag)?;\n                    }}",
                field.name,
                nullable_read(field, field.tagged, all, true)
            );
        }
        out.push_str("                    _ => unknown.push(RawTaggedField { tag, data: inner.rest() }),\n");
        out.push_str("                }\n");
    } else {
        out.push_str("                unknown.push(RawTaggedField { tag, data: inner.rest() });\n");
    }
    out.push_str("            }\n        }\n");
}

/// Reads a field that is present in `present`; `all` are the versions that can be at this point.
fn nullable_read(field: &Member, present: Versions, all: Versions, in_tag: bool) -> String {
    let flexible = if field.flexible == Versions::NONE { "false" } else { "flexible" };
    let plain = read(&field.ty, flexible, false);
    if !field.is_option() {
        return format!("{plain}?");
    }
    let nullable = match &field.ty {
        Type::Struct(name) => {
            let test = if in_tag { "read_tagged_presence" } else { "read_presence" };
            format!("if reader.{test}()? {{ Some({name}::decode_fields(reader, version)?) }} else {{ None }}")
        }
        ty => format!("{}?", read(ty, flexible, true)),
    };
    match condition(field.nullable, intersect(present, all)).as_deref() {
        None => nullable,
        Some("false") => format!("Some({plain}?)"),
        Some(test) => format!("if {test} {{ {nullable} }} else {{ Some({plain}?) }}"),
    }
}

fn read(ty: &Type, flexible: &str, nullable: bool) -> String {
    if let Some(name) = ty.fixed() {
        return format!("reader.read_{name}()");
    }
    let prefix = if nullable { "nullable_" } else { "" };
    match ty {
        Type::String => format!("reader.read_{prefix}string({flexible})"),
        Type::Bytes => format!("reader.read_{prefix}bytes({flexible})"),
        Type::Records => format!("reader.read_{prefix}records({flexible})"),
        Type::Array(element) => {
            format!("reader.read_{prefix}array({flexible}, |reader| {})", read(element, flexible, false))
        }
        Type::Struct(name) => format!("{name}::decode_fields(reader, version)"),
        _ => String::new(),
    }
}
