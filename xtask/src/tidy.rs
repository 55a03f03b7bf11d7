//! The rules of docs/STYLE.md that a machine can hold, checked on the text of the tree.
//!
//! A file past `LINES_WITHOUT_REASON` needs a row in `xtask/ratchet.txt`: the bound and the reason. A bound may only shrink: once
//! the file is shorter than its bound by more than `SLACK_LINES`, the check fails until the row is lowered (`tidy --shrink`).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::source::{self, SourceFile};

const RATCHET: &str = "xtask/ratchet.txt";
/// A hand-written file longer than this needs a reason.
const LINES_WITHOUT_REASON: usize = 400;
/// Longer than this only a uniform table may be, and its reason says `table`.
const LINES_MAX: usize = 1000;
/// How far a file may shrink below its bound before the bound must follow.
const SLACK_LINES: usize = 20;

/// Names that pure rooms never use; see ARCHITECTURE.md, "Invariants of absence".
const IMPURE_NAMES: &[&str] = &["std::fs", "std::net", "std::thread", "Instant::now", "SystemTime", "tokio", "rand::"];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["common", "util", "utils", "helper", "helpers", "misc"];
/// Marks of work left open; spelt in halves so that this file does not contain them.
const UNFINISHED: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")];
/// Paths and hosts that exist on one machine or one workplace only.
const MACHINE_PLACES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("registry", ".npmjs"),
    concat!("repo1.", "maven"),
    concat!("files.", "pythonhosted"),
    concat!("proxy.", "golang"),
    concat!("static.", "crates.io"),
];

/// A row of the ratchet.
struct Bound {
    lines: usize,
    reason: String,
}

/// The task.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let root = crate::process::root();
    if args.iter().any(|arg| arg == "--shrink") {
        shrink(&root)?;
    }
    let (files, violations) = check(&root)?;
    for violation in &violations {
        println!("tidy: {violation}");
    }
    if violations.is_empty() {
        println!("tidy: {files} files in order");
        return Ok(());
    }
    bail!("{} places are not tidy", violations.len())
}

/// Checks the whole tree: how many files were looked at, and what is wrong.
pub(crate) fn check(root: &Path) -> anyhow::Result<(usize, Vec<String>)> {
    let files = source::files(root)?;
    let ratchet = read_ratchet(root)?;
    let mut violations = Vec::new();
    for file in &files {
        check_file(file, &mut violations);
        check_size(file, &ratchet, &mut violations);
    }
    for path in ratchet.keys() {
        if !files.iter().any(|file| &file.path == path) {
            violations.push(format!("{RATCHET}: {path} is no longer there; drop its row"));
        }
    }
    Ok((files.len(), violations))
}

fn check_file(file: &SourceFile, violations: &mut Vec<String>) {
    check_machine_places(file, violations);
    if !file.is_rust() {
        return;
    }
    if !file.text.starts_with("//!") {
        violations.push(format!("{}: does not open with //!", file.path));
    }
    let is_empty_name = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    if file.path.split('/').any(is_empty_name) {
        violations.push(format!("{}: a name that says nothing about what is inside", file.path));
    }
    for (number, line) in file.text.lines().enumerate() {
        if UNFINISHED.iter().any(|mark| line.contains(mark)) {
            violations.push(format!("{}:{}: unfinished work: {}", file.path, number + 1, line.trim()));
        }
    }
    if matches!(file.file_name(), "lib.rs" | "mod.rs") {
        check_holds_no_logic(file, violations);
    }
    if is_pure(file) {
        check_pure(file, violations);
    }
}

fn check_machine_places(file: &SourceFile, violations: &mut Vec<String>) {
    if file.file_name() == "Cargo.lock" {
        return;
    }
    for (number, line) in file.text.lines().enumerate() {
        for place in MACHINE_PLACES {
            let found = line.find(place).filter(|at| {
                let before = line.get(..*at).and_then(|text| text.chars().next_back());
                !place.starts_with('/')
                    || before.is_none_or(|letter| !letter.is_alphanumeric() && !"._-}".contains(letter))
            });
            if found.is_some() {
                violations.push(format!("{}:{}: names a place of one machine ({place})", file.path, number + 1));
            }
        }
    }
}

fn check_holds_no_logic(file: &SourceFile, violations: &mut Vec<String>) {
    const LOGIC: &[&str] =
        &["fn ", "struct ", "enum ", "trait ", "impl ", "impl<", "macro_rules!", "const ", "static ", "union "];
    for (number, line) in source::code_lines(&file.text) {
        let mut rest = line.trim_start();
        for prefix in ["pub(crate) ", "pub(super) ", "pub ", "async ", "unsafe "] {
            rest = rest.strip_prefix(prefix).unwrap_or(rest);
        }
        if LOGIC.iter().any(|word| rest.starts_with(word)) {
            violations.push(format!("{}:{number}: logic in {}", file.path, file.file_name()));
        }
    }
}

fn is_pure(file: &SourceFile) -> bool {
    let in_room = |room: &str| file.path.starts_with(&format!("crates/{room}/src/"));
    !file.is_test() && crate::layers::pure_rooms().any(in_room)
}

fn check_pure(file: &SourceFile, violations: &mut Vec<String>) {
    for (number, line) in source::code_lines(&file.text) {
        let grouped = line.contains("use std::{")
            && line
                .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .any(|word| matches!(word, "fs" | "net" | "thread"));
        let named = IMPURE_NAMES.iter().find(|name| names(line, name));
        if let Some(name) = named.copied().or(grouped.then_some("std::{fs, net, thread}")) {
            violations.push(format!("{}:{number}: a pure room names {name}", file.path));
        }
    }
}

/// True if `line` holds `name` as a whole path and not as the end or start of a longer word.
fn names(line: &str, name: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + name.len()..).and_then(|text| text.chars().next());
        let open_ended = name.ends_with(':');
        !before.is_some_and(is_word) && (open_ended || !after.is_some_and(is_word))
    })
}

fn check_size(file: &SourceFile, ratchet: &BTreeMap<String, Bound>, violations: &mut Vec<String>) {
    if !file.is_rust() {
        return;
    }
    let lines = file.text.lines().count();
    let path = &file.path;
    let Some(bound) = ratchet.get(path) else {
        let limit = if file.is_test() { LINES_MAX } else { LINES_WITHOUT_REASON };
        if lines > limit {
            violations
                .push(format!("{path}: {lines} lines; past {limit} it needs to be split, or a reason in {RATCHET}"));
        }
        return;
    };
    if lines > bound.lines {
        violations.push(format!("{path}: {lines} lines, its ratchet stands at {}", bound.lines));
    }
    if lines + SLACK_LINES < bound.lines {
        violations.push(format!("{path}: {lines} lines, lower its ratchet from {} (tidy --shrink)", bound.lines));
    }
    if lines > LINES_MAX && !bound.reason.contains("table") {
        violations.push(format!("{path}: {lines} lines; only a uniform table may pass {LINES_MAX}"));
    }
}

fn read_ratchet(root: &Path) -> anyhow::Result<BTreeMap<String, Bound>> {
    let text = std::fs::read_to_string(root.join(RATCHET)).with_context(|| format!("read {RATCHET}"))?;
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse_bound).collect()
}

/// A row: lines, path, reason, separated by blanks.
fn parse_bound(line: &str) -> anyhow::Result<(String, Bound)> {
    let mut parts = line.splitn(3, ' ');
    let (lines, path, reason) = (parts.next(), parts.next(), parts.next());
    let (Some(lines), Some(path), Some(reason)) = (lines, path, reason.filter(|reason| !reason.trim().is_empty()))
    else {
        bail!("{RATCHET}: a row is `lines path reason`, not `{line}`");
    };
    let lines = lines.parse().with_context(|| format!("{RATCHET}: {line}"))?;
    Ok((path.to_owned(), Bound { lines, reason: reason.to_owned() }))
}

/// Lowers every bound to its file's present length, drops rows that are no longer needed; never raises one.
fn shrink(root: &Path) -> anyhow::Result<()> {
    let old = std::fs::read_to_string(root.join(RATCHET))?;
    let mut kept = String::new();
    for line in old.lines() {
        if !line.is_empty() && !line.starts_with('#') {
            let (path, bound) = parse_bound(line)?;
            let lines = std::fs::read_to_string(root.join(&path)).map_or(0, |text| text.lines().count());
            if lines > LINES_WITHOUT_REASON {
                kept += &format!("{} {path} {}\n", lines.min(bound.lines), bound.reason);
            }
        } else {
            kept += line;
            kept.push('\n');
        }
    }
    std::fs::write(root.join(RATCHET), kept).context("write the ratchet")
}

#[cfg(test)]
#[path = "tidy_tests.rs"]
mod tests;
