//! What a failed step has to say: the failures themselves out of its logs, not the thousand lines around them.

use std::path::Path;

use crate::process;

/// How many lines of one failure are shown.
const LINES: usize = 25;

/// How many lines of a log are shown that names no failure.
const TAIL: usize = 40;

/// The failures named in the logs of a step: `log` and those beside it which share its stem (`NN-step.1.log`).
pub(crate) fn of_step(log: &Path) -> String {
    let stem = log.file_stem().map(|stem| format!("{}.", stem.to_string_lossy())).unwrap_or_default();
    let beside = log.parent().and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten();
    let mut logs: Vec<_> = beside
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&stem)))
        .collect();
    logs.sort();
    let texts: Vec<String> = logs
        .iter()
        .map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned())
        .collect();
    let found: Vec<String> = texts.iter().flat_map(|text| in_log(text)).collect();
    if found.is_empty() {
        logs.iter().map(|path| process::tail(path, TAIL)).collect::<Vec<_>>().join("\n")
    } else {
        found.join("\n")
    }
}

/// Each failure of a log, with the lines that belong to it: `FAIL name` of our runner, `---- name stdout ----` of a test binary,
/// and what the compiler or cargo calls an error.
fn in_log(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut room = 0;
    for line in text.lines() {
        if begins(line) {
            found.push(line.to_owned());
            room = LINES;
        } else if ends(line) {
            room = 0;
        } else if room > 0 {
            room -= 1;
            found.last_mut().into_iter().for_each(|failure| failure.extend(["\n", line]));
        }
    }
    found
}

fn begins(line: &str) -> bool {
    line.starts_with("FAIL ")
        || line.starts_with("error")
        || (line.starts_with("---- ") && (line.ends_with(" stdout ----") || line.ends_with(" stderr ----")))
}

fn ends(line: &str) -> bool {
    line.is_empty()
        || ["ok   ", "skip ", "test result:", "failures:"].iter().any(|start| line.starts_with(start))
        || line.contains(" passed, ")
}

#[cfg(test)]
mod tests {
    use super::in_log;

    #[test]
    fn a_failure_comes_with_its_own_lines_and_no_others() {
        let log = "ok   a\nFAIL b\n     x differs\n     y differs\nok   c\n1 passed, 1 failed\n";
        assert_eq!(in_log(log), ["FAIL b\n     x differs\n     y differs"]);
        let log =
            "test q ... FAILED\n\nfailures:\n\n---- q stdout ----\nthread panicked\nleft: 1\n\nfailures:\n    q\n";
        assert_eq!(in_log(log), ["---- q stdout ----\nthread panicked\nleft: 1"]);
        assert!(in_log("ok   a\n1 passed, 0 failed\n").is_empty());
    }

    #[test]
    fn a_failure_without_end_is_cut() {
        let log = format!("FAIL b\n{}", "more\n".repeat(1000));
        assert_eq!(in_log(&log)[0].lines().count(), super::LINES + 1);
    }
}
