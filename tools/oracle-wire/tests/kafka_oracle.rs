//! Runs the tool against Kafka's own classes when `MILENA_KAFKA_JARS` names the folder of the jars (`cargo xtask test`
//! sets it), and says so when it does not.

use std::process::Command;

fn tool() -> Command {
    Command::new(env!("CARGO_BIN_EXE_milena-oracle-wire"))
}

#[test]
fn every_message_and_version_equals_kafkas_in_both_directions() {
    if std::env::var_os("MILENA_KAFKA_JARS").is_none() {
        eprintln!("skipped: MILENA_KAFKA_JARS names no folder with Kafka's jars");
        return;
    }
    let output = tool().output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("272 schemas, both directions"), "{text}");
}

#[test]
fn a_folder_without_jars_is_an_error_and_no_success() {
    let empty = tempfile::tempdir().unwrap();
    let output = tool().arg("--jars").arg(empty.path()).output().unwrap();
    assert!(!output.status.success());
}
