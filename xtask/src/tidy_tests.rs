//! The tree is tidy, and each rule finds what it forbids.

use super::*;

fn violations_of(path: &str, text: &str) -> Vec<String> {
    let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
    let mut violations = Vec::new();
    check_file(&file, &mut violations);
    check_size(&file, &BTreeMap::new(), &mut violations);
    violations
}

#[test]
fn the_tree_is_tidy() {
    let (files, violations) = check(&crate::process::root()).expect("the tree can be read");
    assert!(files > 20, "only {files} files were seen");
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn a_file_without_its_opening_comment_is_found() {
    assert_eq!(violations_of("crates/types/src/offset.rs", "use core;\n").len(), 1);
    assert!(violations_of("crates/types/src/offset.rs", "//! Offsets.\nuse core;\n").is_empty());
}

#[test]
fn a_long_file_needs_a_row_in_the_ratchet() {
    let text = format!("//! Long.\n{}", "const A: u8 = 1;\n".repeat(400));
    assert_eq!(violations_of("crates/storage/src/log.rs", &text).len(), 1);
    let row = BTreeMap::from([(
        "crates/storage/src/log.rs".to_owned(),
        Bound { lines: 401, reason: "one state machine".to_owned() },
    )]);
    let file = SourceFile { path: "crates/storage/src/log.rs".to_owned(), text };
    let mut violations = Vec::new();
    check_size(&file, &row, &mut violations);
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn a_bound_far_above_its_file_must_shrink() {
    let file = SourceFile { path: "a.rs".to_owned(), text: "//! A.\n".repeat(420) };
    let row = BTreeMap::from([("a.rs".to_owned(), Bound { lines: 500, reason: "x".to_owned() })]);
    let mut violations = Vec::new();
    check_size(&file, &row, &mut violations);
    assert_eq!(violations, ["a.rs: 420 lines, lower its ratchet from 500 (tidy --shrink)"]);
}

#[test]
fn logic_in_a_module_list_is_found_and_reexports_are_not() {
    assert_eq!(violations_of("crates/raft/src/lib.rs", "//! Raft.\npub fn vote() {}\n").len(), 1);
    assert!(violations_of("crates/raft/src/lib.rs", "//! Raft.\nmod vote;\npub use vote::Vote;\n").is_empty());
}

#[test]
fn a_pure_room_that_names_the_outside_world_is_found() {
    let path = "crates/raft/src/vote.rs";
    for line in
        ["use std::fs;", "use std::{fs, mem};", "let now = Instant::now();", "tokio::spawn(a);", "rand::random();"]
    {
        assert_eq!(violations_of(path, &format!("//! Vote.\n{line}\n")).len(), 1, "{line}");
    }
    for line in
        ["// std::fs is not for us", "let operand = brand::new();", "#[cfg(test)]\nmod tests {\n    use std::fs;\n}"]
    {
        assert_eq!(violations_of(path, &format!("//! Vote.\n{line}\n")), Vec::<String>::new(), "{line}");
    }
    assert!(violations_of("crates/storage/src/disk.rs", "//! Disk.\nuse std::fs;\n").is_empty());
}

#[test]
fn names_that_say_nothing_are_found() {
    assert_eq!(violations_of("crates/raft/src/util.rs", "//! U.\n").len(), 1);
    assert_eq!(violations_of("crates/common/src/a.rs", "//! U.\n").len(), 1);
}

#[test]
fn unfinished_marks_and_machine_paths_are_found() {
    let mark = concat!("//! A.\nfn a() { todo", "!() }\n");
    assert_eq!(violations_of("crates/cli/src/a.rs", mark).len(), 1);
    let place = concat!("see /wo", "rk/notes\n");
    assert_eq!(violations_of("README.md", place).len(), 1);
    assert!(violations_of("README.md", "crates/network/src\n").is_empty());
}
