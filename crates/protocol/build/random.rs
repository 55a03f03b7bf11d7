//! The code behind feature `random`: random filling of every structure, and the table of all messages for tests.

use std::fmt::Write;

use crate::model::{Member, Type, Unit, condition};

/// The impls and the table of every unit.
pub(crate) fn render(units: &[Unit]) -> String {
    let mut out = String::new();
    for unit in units {
        for structure in &unit.structures {
            let path = format!("crate::messages::{}::{}", unit.module, structure.name);
            let _ = writeln!(
                out,
                "impl RandomFill for {path} {{\n    fn random_fill(random: &mut Random, version: i16) -> Self {{\n        \
                 let mut filled = Self::default();"
            );
            for field in &structure.fields {
                let _ = writeln!(out, "        {}", fill(unit, field));
            }
            if let (false, test) = (unit.flexible.is_empty(), condition(unit.flexible, unit.versions())) {
                let test = test.unwrap_or_else(|| "true".to_owned());
                let _ = writeln!(
                    out,
                    "        if {test} {{ filled.unknown_tagged_fields = random.unknown_tagged_fields(); }}"
                );
            }
            out.push_str("        filled\n    }\n}\n");
        }
    }
    out.push_str("/// Every message, by module name.\npub static MESSAGES: &[MessageEntry] = &[\n");
    for unit in units {
        let name = &unit.message.name;
        let _ = writeln!(
            out,
            "    MessageEntry {{ name: {name:?}, kind: {:?}, api_key: {:?}, min_version: {}, max_version: {}, \
             recode: recode::<crate::messages::{name}>, blank: blank_bytes::<crate::messages::{name}>, random: random_bytes::<crate::messages::{name}> }},",
            unit.message.kind,
            unit.message.api_key,
            unit.versions().min,
            unit.versions().max
        );
    }
    out.push_str("];\n");
    out
}

fn fill(unit: &Unit, field: &Member) -> String {
    let all = unit.versions();
    let value = value(unit, &field.ty);
    let mut value = if field.is_option() { format!("Some({value})") } else { value };
    if field.is_option() {
        let test = condition(field.nullable, all).unwrap_or_else(|| "true".to_owned());
        value = format!("if {test} && random.one_in(4) {{ None }} else {{ {value} }}");
    }
    if !field.tagged.is_empty() {
        value = format!("if random.one_in(3) {{ filled.{} }} else {{ {value} }}", field.name);
    }
    let present = condition(field.versions, all).unwrap_or_else(|| "true".to_owned());
    format!("if {present} {{ filled.{} = {value}; }}", field.name)
}

fn value(unit: &Unit, ty: &Type) -> String {
    match ty {
        Type::String => "random.text()".to_owned(),
        Type::Bytes => "random.bytes()".to_owned(),
        Type::Records => "Records::Bytes(random.bytes())".to_owned(),
        Type::Struct(name) => {
            format!("crate::messages::{}::{name}::random_fill(random, version)", unit.module)
        }
        Type::Array(element) => {
            format!("{{ let count = random.count(); (0..count).map(|_| {}).collect() }}", value(unit, element))
        }
        fixed => format!("random.{}_value()", fixed.fixed().unwrap_or("bool")),
    }
}
