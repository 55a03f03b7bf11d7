//! The tree as the tidy checks see it: which files belong to it, and Rust text without comments and tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// One file of the tree: its path from the top with `/`, and its text (empty if it is not UTF-8).
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    /// A Rust file.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// A file that holds only tests: `tests/`, `benches/`, `fuzz/`, `<name>_tests.rs`.
    pub(crate) fn is_test(&self) -> bool {
        let in_folder = |folder: &str| self.path.contains(&format!("/{folder}/"));
        in_folder("tests")
            || in_folder("benches")
            || self.path.starts_with("fuzz/")
            || self.file_name().ends_with("tests.rs")
    }

    /// The last part of the path.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// Every file git knows or would add (tracked, and untracked but not ignored), sorted by path.
pub(crate) fn files(root: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("start git")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    }
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut paths: Vec<&str> = listing.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    Ok(paths.into_iter().filter_map(|path| read(root, path)).collect())
}

fn read(root: &Path, path: &str) -> Option<SourceFile> {
    let full: PathBuf = root.join(path);
    if !full.is_file() {
        return None;
    }
    let text = std::fs::read(full).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    Some(SourceFile { path: path.to_owned(), text })
}

/// The lines of a Rust file that are code outside its test module: `(line number from 1, text without line comments)`.
///
/// It goes by lines, which is enough for the names looked for: a test module is the house's `#[cfg(test)]` at the left edge
/// followed by `mod`, and block comments are not used here.
pub(crate) fn code_lines(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if line.starts_with("#[cfg(test)]") {
            let ends_inline =
                lines.peek().is_none_or(|(_, next)| next.starts_with("mod") && next.trim_end().ends_with('{'));
            if ends_inline {
                break;
            }
        }
        let code = line.split_once("//").map_or(line, |(before, _)| before);
        if !code.trim().is_empty() {
            found.push((index + 1, code));
        }
    }
    found
}
