//! The binary as a person or a supervisor meets it: exit codes, and what the last line of a failed start says.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn milena(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_milena")).args(arguments).current_dir(directory).output().unwrap()
}

/// The exit code and the last line on standard error.
fn failure(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = milena(directory, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn a_start_that_fails_ends_with_1_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners =
        format!("listeners=PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:0", taken.local_addr().unwrap().port());
    std::fs::write(here.join("a-file"), "").unwrap();
    std::fs::write(here.join("latin"), "process.roles=\\uZZZZ\n").unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["start", "absent"], "milena: cannot read absent: No such file or directory (os error 2)"),
        (&["start", "."], "milena: cannot read .: Is a directory (os error 21)"),
        (&["start", "latin"], "milena: latin: Malformed \\uxxxx encoding."),
        (&["start", "--override", "x"], "milena: Invalid command line properties: x is not of the form key=value"),
        (
            &["start", "--override", "num.partitions=abc"],
            "milena: Invalid value abc for configuration num.partitions: Not a number of type INT",
        ),
        (
            &["start", "--override", "authorizer.class.name=x"],
            "milena: authorizer.class.name is set, and Milena cannot honour it: authorization is not built yet: everybody could do everything",
        ),
        (
            &["start", "--override", "log.dirs=a-file"],
            "milena: Encountered I/O error in metadata log directory a-file. Cannot continue. read a-file/meta.properties: Not a \
             directory (os error 20)",
        ),
        (
            &["start", "--override", "log.dirs=/proc/x"],
            "milena: Error while writing /proc/x: No such file or directory (os error 2)",
        ),
        (&["start", "--override", &listeners], "Address already in use (os error 98)."),
    ];
    for (arguments, text) in cases {
        let (code, line) = failure(here, arguments);
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(line.starts_with("milena: ") && line.ends_with(text), "{arguments:?}: {line}");
    }
}

#[test]
fn mistakes_on_the_command_line_end_with_1_and_questions_with_0() {
    let directory = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| milena(directory.path(), arguments).status.code();
    for wrong in [&["bogus"][..], &["start", "--bogus"], &["format"], &["random-uuid", "x"], &["feature-dependencies"]]
    {
        assert_eq!(code(wrong), Some(1), "{wrong:?}");
    }
    for right in
        [&["--help"][..], &["start", "--help"], &["--version"], &["version"], &["random-uuid"], &["version-mapping"]]
    {
        assert_eq!(code(right), Some(0), "{right:?}");
    }
    let output = milena(directory.path(), &["feature-dependencies", "-f", "group.version=1", "-f", "foo=1"]);
    assert_eq!(output.stdout, b"group.version=1 has no dependencies.\n");
    assert_eq!(output.stderr, b"milena: Unknown feature: foo\n");
}

#[test]
fn a_start_that_waits_for_a_controller_ends_when_it_is_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    // A port of somebody who says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "process.roles=broker\nnode.id=1\nlog.dirs=data\nlisteners=PLAINTEXT://127.0.0.1:0\ncontroller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers={}\ninitial.broker.registration.timeout.ms=20000\n",
        silent.local_addr().unwrap()
    );
    std::fs::write(here.join("config"), config).unwrap();
    let formatted = milena(here, &["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", "config"]);
    assert!(formatted.status.success(), "{formatted:?}");
    let mut server = Command::new(env!("CARGO_BIN_EXE_milena"));
    let mut server =
        server.args(["start", "config"]).current_dir(here).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // Whoever is asked for the quorum: the signals are taken before.
    drop(silent.accept().unwrap());
    let status = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(status.success());
    let ended = server.wait().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut server.stdout.take().unwrap(), &mut text).unwrap();
    assert!(ended.success() && text.contains("SIGTERM: the start is broken off"), "{ended}: {text}");
}
