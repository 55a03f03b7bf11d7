//! Directories formatted by this tool against those Kafka's formats.

use std::collections::BTreeMap;
use std::path::Path;

use milena_records::{Batches, verify_crc};
use milena_types::{LeaderEpoch, Uuid};

use super::*;
use crate::config::{ConfigSource, ServerConfig, load_config};

const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

fn config(log_dirs: &str, more: &[(&str, &str)]) -> ServerConfig {
    let mut overrides = BTreeMap::from([("log.dirs".to_owned(), log_dirs.to_owned())]);
    overrides.extend(more.iter().map(|(name, text)| (name.to_string(), text.to_string())));
    load_config(&ConfigSource::BuiltIn, &overrides).unwrap()
}

fn standalone() -> FormatRequest {
    FormatRequest {
        cluster_id: CLUSTER_ID.to_owned(),
        initial_voters: InitialVoters::Standalone,
        ..FormatRequest::default()
    }
}

fn run(config: &ServerConfig, request: &FormatRequest) -> Result<String, String> {
    let mut out = Vec::new();
    format(config, request, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

fn join(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

/// The bytes that differ between two runs of Kafka's own tool: checksums, times, and a directory's id.
fn without_times_and_ids(path: &Path, id: Option<Uuid>) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    for batch in Batches::new(bytes.clone().into()) {
        let batch = batch.unwrap();
        verify_crc(&batch.bytes).unwrap();
        let start = usize::try_from(bytes_offset(&bytes, &batch.bytes)).unwrap();
        bytes[start + 17..start + 21].fill(0);
        bytes[start + 27..start + 43].fill(0);
    }
    if let Some(id) = id {
        let at = bytes.windows(16).position(|window| window == id.0).unwrap();
        bytes[at..at + 16].fill(0);
    }
    // The header record's own time is in front of the kraft.version record.
    if id.is_some() {
        bytes[73..81].fill(0);
    }
    bytes
}

fn bytes_offset(all: &[u8], part: &[u8]) -> i64 {
    all.windows(part.len()).position(|window| window == part).map_or(-1, |at| at as i64)
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|character| character.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// `bootstrap.checkpoint` as kafka-storage.sh 4.3.1 writes it, checksums and times zeroed.
const BOOTSTRAP: &str = include_str!("../../testdata/bootstrap_checkpoint.hex");
/// The voters' snapshot of a standalone controller, checksums, times and the directory's id zeroed.
const VOTERS: &str = include_str!("../../testdata/voters_checkpoint.hex");

#[test]
fn a_standalone_node_gets_the_files_kafkas_tool_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (join(dir.path(), "d1"), join(dir.path(), "d2"));
    let config = config(&format!("{first},{second}"), &[]);
    let said = run(&config, &standalone()).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("Bootstrap metadata: BootstrapMetadata(records=[ApiMessageAndVersion(FeatureLevelRecord(name='metadata.version', featureLevel=30) at version 0), "));
    assert_eq!(lines[1], format!("Formatting data directory {second} with metadata.version 4.3-IV0."));
    assert_eq!(lines[2], format!("Formatting dynamic metadata voter directory {first} with metadata.version 4.3-IV0."));
    let formatted = ensure_formatted(&config, &mut Vec::new()).unwrap();
    assert!(!formatted.is_new);
    assert_eq!(formatted.cluster_id, CLUSTER_ID);
    let id = formatted.metadata_log_dir.id;
    for path in [&first, &second] {
        let bytes = without_times_and_ids(&Path::new(path).join("bootstrap.checkpoint"), None);
        assert_eq!(bytes, from_hex(BOOTSTRAP));
    }
    let snapshot = Path::new(&first).join("__cluster_metadata-0/00000000000000000000-0000000000.checkpoint");
    assert_eq!(without_times_and_ids(&snapshot, Some(id)), from_hex(VOTERS));
    assert!(!Path::new(&second).join("__cluster_metadata-0").exists());
    let batch = Batches::new(std::fs::read(&snapshot).unwrap().into()).next().unwrap().unwrap();
    assert_eq!(batch.header.partition_leader_epoch, LeaderEpoch(0));
}

#[test]
fn formatting_twice_is_refused_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = join(dir.path(), "d");
    let config = config(&path, &[]);
    run(&config, &standalone()).unwrap();
    assert_eq!(
        run(&config, &standalone()).unwrap_err(),
        format!(
            "Log directory {path} is already formatted. Use --ignore-formatted to ignore this directory and format the others."
        )
    );
    let again = FormatRequest { ignore_formatted: true, ..standalone() };
    assert_eq!(run(&config, &again).unwrap(), "All of the log directories are already formatted.\n");
    let other = FormatRequest { cluster_id: "other".to_owned(), ..again };
    assert_eq!(
        run(&config, &other).unwrap_err(),
        format!("Invalid cluster.id in: {path}/meta.properties. Expected other, but read {CLUSTER_ID}")
    );
}

#[test]
fn flags_are_refused_in_kafkas_words() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&join(dir.path(), "d"), &[]);
    let refusal = |change: &dyn Fn(&mut FormatRequest)| {
        let mut request = standalone();
        change(&mut request);
        run(&config, &request).unwrap_err()
    };
    assert_eq!(
        refusal(&|request| request.initial_voters = InitialVoters::Unspecified),
        "Because controller.quorum.voters is not set on this controller, you must specify one of the following: --standalone, --initial-controllers, or --no-initial-controllers."
    );
    assert!(
        refusal(&|request| request.release_version = Some("1.0".into()))
            .starts_with("Unknown metadata.version '1.0'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, ")
    );
    assert_eq!(
        refusal(&|request| request.features = vec!["foo.version=1".into()]),
        "Unsupported feature: foo.version. Supported features are: eligible.leader.replicas.version, group.version, kraft.version, share.version, streams.version, transaction.version"
    );
    assert_eq!(
        refusal(&|request| request.features = vec!["group.version=9".into()]),
        "No feature:group.version with feature level 9"
    );
    assert_eq!(
        refusal(&|request| request.features = vec!["share.version".into()]),
        "Can't parse feature=level string share.version: equals sign not found."
    );
    assert_eq!(
        refusal(&|request| request.initial_voters = InitialVoters::List("1@localhost:9093".into())),
        "No colon following port could be found."
    );
    assert_eq!(refusal(&|request| request.initial_voters = InitialVoters::List(String::new())), "No voters given.");
    assert!(!dir.path().join("d").exists(), "a refused request must not leave anything behind");
}

#[test]
fn initial_controllers_name_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&join(dir.path(), "d"), &[]);
    let id = Uuid::from_random([7; 16]).unwrap();
    let voters = format!("1@localhost:9093:{id},2@[::1]:9093:{}", Uuid::from_random([9; 16]).unwrap());
    run(&config, &FormatRequest { initial_voters: InitialVoters::List(voters), ..standalone() }).unwrap();
    assert_eq!(ensure_formatted(&config, &mut Vec::new()).unwrap().metadata_log_dir.id, id);
}

#[test]
fn a_lone_node_formats_itself_and_a_node_of_many_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let lone = config(&join(dir.path(), "a"), &[]);
    let formatted = ensure_formatted(&lone, &mut Vec::new()).unwrap();
    assert!(formatted.is_new && formatted.cluster_id.len() == 22);
    assert_eq!(ensure_formatted(&lone, &mut Vec::new()).unwrap(), Formatted { is_new: false, ..formatted });
    let many = config(
        &join(dir.path(), "b"),
        &[("controller.quorum.voters", "1@localhost:9093,2@other:9093"), ("controller.quorum.bootstrap.servers", "")],
    );
    let error = ensure_formatted(&many, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("No readable meta.properties files found."), "{error}");
}

#[test]
fn a_directory_added_later_gets_an_id_and_another_nodes_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (join(dir.path(), "a"), join(dir.path(), "b"));
    ensure_formatted(&config(&first, &[]), &mut Vec::new()).unwrap();
    let grown = ensure_formatted(&config(&format!("{first},{second}"), &[]), &mut Vec::new()).unwrap();
    assert_eq!(grown.log_dirs.len(), 2);
    assert_ne!(grown.log_dirs[0].id, grown.log_dirs[1].id);
    let error = ensure_formatted(&config(&first, &[("node.id", "2")]), &mut Vec::new()).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("Stored node id 1 doesn't match previous node id 2 in {first}/meta.properties."))
    );
}

#[test]
fn info_says_what_is_there_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = join(dir.path(), "d");
    let config = config(&path, &[]);
    let before = describe_directories(&config);
    assert_eq!(
        (before.text.as_str(), before.has_problems),
        (&*format!("Found problem:\n  {path} does not exist\n\n"), true)
    );
    let formatted = ensure_formatted(&config, &mut Vec::new()).unwrap();
    let after = describe_directories(&config);
    assert_eq!(
        after.text,
        format!(
            "Found log directory:\n  {path}\n\nFound metadata: {{cluster.id={}, directory.id={}, node.id=1, version=1}}\n\n",
            formatted.cluster_id, formatted.metadata_log_dir.id
        )
    );
    assert!(!after.has_problems);
}

#[test]
fn version_mapping_is_kafkas() {
    assert_eq!(
        version_mapping(Some("4.0")).unwrap(),
        "metadata.version=25 (4.0)\nkraft.version=1\ntransaction.version=2\ngroup.version=1\neligible.leader.replicas.version=0\nshare.version=0\nstreams.version=0\n"
    );
}

fn alone(log_dirs: &str) -> ServerConfig {
    let set = [("listeners", "PLAINTEXT://:0,CONTROLLER://:9"), ("controller.quorum.bootstrap.servers", "localhost:9")];
    config(log_dirs, &[&set[..], &[("controller.listener.names", "CONTROLLER")]].concat())
}

fn refusal(config: &ServerConfig) -> String {
    ensure_formatted(config, &mut std::io::sink()).unwrap_err().to_string()
}

#[test]
fn partitions_without_meta_properties_are_left_alone_and_the_start_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (join(dir.path(), "one"), join(dir.path(), "two"));
    let both = alone(&format!("{one},{two}"));
    ensure_formatted(&alone(&one), &mut std::io::sink()).unwrap();
    for name in ["__cluster_metadata-0/00000000000000000000.log", "orders-0/00000000000000000000.log"] {
        let log = dir.path().join("one").join(name);
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::fs::write(&log, b"records").unwrap();
        std::fs::rename(dir.path().join("one/meta.properties"), dir.path().join("aside")).unwrap();
        assert!(refusal(&alone(&one)).contains("holds"), "{}", refusal(&alone(&one)));
        assert_eq!(std::fs::read(&log).unwrap(), b"records");
        assert!(!dir.path().join("one/meta.properties").exists());
        std::fs::rename(dir.path().join("aside"), dir.path().join("one/meta.properties")).unwrap();
        std::fs::remove_file(&log).unwrap();
    }
    // The same in a directory that is added to a formatted node.
    std::fs::create_dir_all(dir.path().join("two/orders-1")).unwrap();
    std::fs::write(dir.path().join("two/orders-1/00000000000000000000.log"), b"").unwrap();
    assert!(refusal(&both).contains("orders-1"), "{}", refusal(&both));
    std::fs::remove_file(dir.path().join("two/orders-1/00000000000000000000.log")).unwrap();
    assert!(!ensure_formatted(&both, &mut std::io::sink()).unwrap().is_new);
}

#[test]
fn a_format_that_did_not_end_is_done_again_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let one = join(dir.path(), "one");
    ensure_formatted(&alone(&one), &mut std::io::sink()).unwrap();
    std::fs::remove_file(dir.path().join("one/meta.properties")).unwrap();
    assert!(ensure_formatted(&alone(&one), &mut std::io::sink()).unwrap().is_new);
}

#[test]
fn damaged_and_foreign_meta_properties_are_named_and_left_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let one = join(dir.path(), "one");
    ensure_formatted(&alone(&one), &mut std::io::sink()).unwrap();
    let file = dir.path().join("one/meta.properties");
    let sound = std::fs::read_to_string(&file).unwrap();
    let damaged = [
        (String::new(), "cluster.id"),
        ("rubbish".to_owned(), "cluster.id"),
        (sound.replace("version=1", "version=7"), "version 7"),
        (sound.replace("node.id=1", "node.id=x"), "node.id"),
        (sound.replace("node.id=1", "node.id=5"), "Stored node id 5 doesn't match previous node id 1"),
        (sound.replace("directory.id=", "directory.id=!"), "directory.id"),
    ];
    for (text, expected) in damaged {
        std::fs::write(&file, &text).unwrap();
        let refused = refusal(&alone(&one));
        assert!(refused.contains(expected) && refused.contains("meta.properties"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "nothing is made better behind anybody's back");
    }
    // One formatted before directories had ids gets one, as with Kafka.
    let without: String =
        sound.lines().filter(|line| !line.starts_with("directory.id")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, without).unwrap();
    let formatted = ensure_formatted(&alone(&one), &mut std::io::sink()).unwrap();
    assert!(!formatted.is_new && !formatted.log_dirs[0].id.is_zero());
    assert!(std::fs::read_to_string(&file).unwrap().contains(&formatted.log_dirs[0].id.to_string()));
}
