//! Histories with one anomaly each, `planted/<anomaly>.tsv`, and such as have none, `planted/none-*.tsv`: the checker finds
//! what is there and nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;

use milena_histories::{Anomaly, Operation, Rules, check, parse};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/planted")
}

fn found(history: &[Operation]) -> Vec<&'static str> {
    check(history, Rules { is_read_to_the_end: true }).found.keys().map(|anomaly| anomaly.name()).collect()
}

#[test]
fn each_planted_history_has_its_anomaly_and_no_other() {
    let mut seen = BTreeSet::new();
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let history = parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        if name.starts_with("none-") {
            assert_eq!(found(&history), Vec::<&str>::new(), "{name}");
        } else {
            let expected = name.split('.').next().unwrap();
            assert_eq!(found(&history), [expected], "{name}");
            seen.insert(expected.to_owned());
        }
    }
    let all: BTreeSet<String> = Anomaly::ALL.iter().map(|anomaly| anomaly.name().to_owned()).collect();
    assert_eq!(seen, all, "each kind is planted");
}

#[test]
fn without_an_end_what_was_not_read_may_still_come() {
    let text = std::fs::read_to_string(folder().join("unseen.tsv")).unwrap();
    let report = check(&parse(&text).unwrap(), Rules { is_read_to_the_end: false });
    assert!(report.found.is_empty(), "{report}");
}

#[test]
fn a_history_is_written_as_it_is_read() {
    for file in std::fs::read_dir(folder()).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let history = parse(&text).unwrap();
        assert_eq!(history.iter().map(ToString::to_string).collect::<Vec<_>>(), lines);
    }
    assert_eq!(parse("send\t1\tok\tt-0\t0\n").unwrap_err().line, 1);
}
