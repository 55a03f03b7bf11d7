//! Writes a message in the notation that `notation` parses.

use std::fmt::Write;

use super::notation::{Field, Message};

/// The whole file of one message.
pub(crate) fn render(message: &Message) -> String {
    let mut out = message.kind.clone();
    if let Some(key) = message.api_key {
        let _ = write!(out, " {key}");
    }
    let _ = write!(out, " {}\nversions {}\nflexible {}\n", message.name, message.versions, message.flexible);
    if !message.listeners.is_empty() {
        let _ = writeln!(out, "listeners {}", message.listeners.join(" "));
    }
    if message.latest_version_unstable {
        out.push_str("latest-version-unstable\n");
    }
    if !message.fields.is_empty() {
        out.push('\n');
    }
    for field in &message.fields {
        render_field(&mut out, field, 0);
    }
    for shared in &message.structs {
        let _ = writeln!(out, "\nstruct {} {}", shared.name, shared.versions);
        for field in &shared.fields {
            render_field(&mut out, field, 1);
        }
    }
    out
}

fn render_field(out: &mut String, field: &Field, depth: usize) {
    let indent = "    ".repeat(depth);
    let _ = write!(out, "{indent}{}: {} {}", field.name, field.type_name, field.versions);
    if !field.nullable.is_empty() {
        out.push_str(" nullable");
        if field.nullable != field.versions {
            let _ = write!(out, " {}", field.nullable);
        }
    }
    if let Some(tag) = field.tag {
        let _ = write!(out, " tag {tag}");
        if field.tagged != field.versions {
            let _ = write!(out, " {}", field.tagged);
        }
    }
    if let Some(flexible) = field.flexible {
        let _ = write!(out, " flexible {flexible}");
    }
    if let Some(default) = &field.default {
        let _ = write!(out, " default {default}");
    }
    for (is_set, word) in [(field.key, "key"), (field.ignorable, "ignorable"), (field.zero_copy, "zero-copy")] {
        if is_set {
            let _ = write!(out, " {word}");
        }
    }
    if let Some(entity) = &field.entity {
        let _ = write!(out, " entity {entity}");
    }
    out.push('\n');
    for child in &field.fields {
        render_field(out, child, depth + 1);
    }
}
