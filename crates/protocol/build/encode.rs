//! The encoding half of the generated code, in the order of Kafka's own writers: fields, the check of what this version
//! cannot carry, then known and unknown tagged fields by ascending tag.

use std::fmt::Write;

use crate::decode::{flexible, without};
use crate::model::{Member, Structure, Type, Unit, condition, intersect};
use crate::notation::Versions;

/// `fn encode_fields`.
pub(crate) fn function(out: &mut String, unit: &Unit, structure: &Structure) {
    let all = unit.versions();
    out.push_str(
        "    #[allow(unused_variables, unused_mut, reason = \"not every structure needs all of them\")]\n    \
         pub(crate) fn encode_fields(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {\n",
    );
    let _ = writeln!(out, "        let flexible = {};", flexible(unit.flexible, all));
    for field in &structure.fields {
        plain_field(out, unit, field);
    }
    if !unit.flexible.is_empty() {
        tagged(out, unit, structure);
    }
    out.push_str("        Ok(())\n    }\n");
}

fn plain_field(out: &mut String, unit: &Unit, field: &Member) {
    let all = unit.versions();
    let untagged = without(field.versions, field.tagged);
    if let (false, Some(test)) = (field.ignorable, condition(field.versions, all)) {
        let set = field.is_set(&format!("self.{}", field.name));
        let _ = writeln!(
            out,
            "        if !({test}) && {set} {{\n            return Err(EncodeError::FieldNotInVersion {{ message: {:?}, \
             field: {:?}, version }});\n        }}",
            unit.message.name, field.kafka_name
        );
    }
    let writing = nullable_write(unit, field, untagged);
    match condition(untagged, all).as_deref() {
        None => {
            let _ = writeln!(out, "        {writing}");
        }
        Some("false") => {}
        Some(test) => {
            let _ = writeln!(out, "        if {test} {{ {writing} }}");
        }
    }
}

/// Writes an untagged field that is present in `present`.
fn nullable_write(unit: &Unit, field: &Member, present: Versions) -> String {
    let place = format!("self.{}", field.name);
    let flexible = if field.flexible == Versions::NONE { "false" } else { "flexible" };
    if !field.is_option() {
        return write(&field.ty, &reference(&field.ty, &place), flexible);
    }
    let some = write(&field.ty, &dereferenced(&field.ty, "value"), flexible);
    let (null, some_in_nullable) = match &field.ty {
        Type::Struct(_) => ("writer.write_i8(-1);".to_owned(), format!("writer.write_i8(1); {some}")),
        Type::String => (format!("writer.write_null_string({flexible});"), some.clone()),
        _ => (format!("writer.write_null({flexible});"), some.clone()),
    };
    let error = format!(
        "return Err(EncodeError::NullNotInVersion {{ message: {:?}, field: {:?}, version }});",
        unit.message.name, field.kafka_name
    );
    let (null, some) = match condition(intersect(field.nullable, present), present).as_deref() {
        None => (null, some_in_nullable),
        Some("false") => (error, some),
        Some(test) if matches!(field.ty, Type::Struct(_)) => (
            format!("if {test} {{ {null} }} else {{ {error} }}"),
            format!("if {test} {{ writer.write_i8(1); }} {some}"),
        ),
        Some(test) => (format!("if {test} {{ {null} }} else {{ {error} }}"), some),
    };
    format!("match &{place} {{ None => {{ {null} }} Some(value) => {{ {some} }} }}")
}

fn tagged(out: &mut String, unit: &Unit, structure: &Structure) {
    let all = unit.flexible;
    let mut fields: Vec<&Member> = structure.fields.iter().filter(|field| !field.tagged.is_empty()).collect();
    fields.sort_by_key(|field| field.tag);
    out.push_str("        if flexible {\n            let mut count = self.unknown_tagged_fields.len();\n");
    for field in &fields {
        let set = and_present(field, all, &field.is_set(&format!("self.{}", field.name)));
        let _ =
            writeln!(out, "            let has_{} = {set};\n            count += usize::from(has_{0});", field.name);
    }
    out.push_str("            writer.write_count(count)?;\n");
    if !fields.is_empty() {
        out.push_str("            let mut unknown = self.unknown_tagged_fields.as_slice();\n");
    }
    for field in &fields {
        let tag = field.tag.unwrap_or_default();
        let _ = writeln!(out, "            if has_{} {{", field.name);
        if tag > 0 {
            let _ = writeln!(out, "                unknown = writer.write_unknown_tags_below({tag}, unknown)?;");
        }
        let _ = writeln!(out, "                writer.write_uvarint({tag});");
        let _ = writeln!(out, "                let start = writer.begin_tagged_field();");
        let _ = writeln!(out, "                {}", tagged_write(field));
        out.push_str("                writer.end_tagged_field(start)?;\n            }\n");
    }
    if fields.is_empty() {
        out.push_str("            writer.write_unknown_tags(&self.unknown_tagged_fields)?;\n");
    } else {
        let last = fields.iter().filter_map(|field| field.tag).max().unwrap_or_default();
        let _ = writeln!(out, "            unknown = writer.write_unknown_tags_below({last}, unknown)?;");
        out.push_str("            writer.write_unknown_tags(unknown)?;\n");
    }
    out.push_str("        } else if !self.unknown_tagged_fields.is_empty() {\n");
    let _ = writeln!(
        out,
        "            return Err(EncodeError::FieldNotInVersion {{ message: {:?}, field: \"tagged fields\", version }});\n        }}",
        unit.message.name
    );
}

fn and_present(field: &Member, all: Versions, set: &str) -> String {
    match condition(field.tagged, all) {
        None => set.to_owned(),
        Some(test) => format!("({test}) && ({set})"),
    }
}

fn tagged_write(field: &Member) -> String {
    let place = format!("self.{}", field.name);
    if !field.is_option() {
        return write(&field.ty, &reference(&field.ty, &place), "true");
    }
    let some = write(&field.ty, &dereferenced(&field.ty, "value"), "true");
    let some = if matches!(field.ty, Type::Struct(_)) { format!("writer.write_uvarint(1); {some}") } else { some };
    format!("match &{place} {{ None => writer.write_uvarint(0), Some(value) => {{ {some} }} }}")
}

fn reference(ty: &Type, place: &str) -> String {
    if ty.fixed().is_some() || matches!(ty, Type::Struct(_)) { place.to_owned() } else { format!("&{place}") }
}

fn dereferenced(ty: &Type, place: &str) -> String {
    if ty.fixed().is_some() { format!("*{place}") } else { place.to_owned() }
}

fn write(ty: &Type, place: &str, flexible: &str) -> String {
    if let Some(name) = ty.fixed() {
        return format!("writer.write_{name}({place});");
    }
    match ty {
        Type::String => format!("writer.write_string({place}, {flexible})?;"),
        Type::Bytes => format!("writer.write_bytes({place}, {flexible})?;"),
        Type::Records => format!("writer.write_records({place}, {flexible})?;"),
        Type::Array(element) => {
            let inner = write(element, &dereferenced(element, "element"), flexible);
            format!("writer.write_array_count(({place}).len(), {flexible})?; for element in {place} {{ {inner} }}")
        }
        _ => format!("{place}.encode_fields(writer, version)?;"),
    }
}
