//! The doctor on directories that Milena formatted, and on what becomes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use milena_storage::disk::{Disk as _, RealDisk};

use super::{Diagnosis, Request, Verdict, examine};
use crate::config::{ConfigSource, load_config};
use crate::format::{FormatRequest, InitialVoters, format};

/// A formatted directory, and the config it was formatted with.
struct Formatted {
    _root: tempfile::TempDir,
    data: PathBuf,
    config: PathBuf,
}

impl Formatted {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let config = root.path().join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=127.0.0.1:19093\n\
             listeners=PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093\ncontroller.listener.names=CONTROLLER\n\
             log.dirs={}\n",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let loaded = load_config(&ConfigSource::File(config.clone()), &BTreeMap::new()).unwrap();
        let request = FormatRequest {
            cluster_id: "AAAAAAAAAAAAAAAAAAAAAQ".to_owned(),
            initial_voters: InitialVoters::Standalone,
            ..FormatRequest::default()
        };
        format(&loaded, &request, &mut std::io::sink()).unwrap();
        Self { _root: root, data, config }
    }

    fn examined(&self) -> Diagnosis {
        examine(&Request { directories: vec![self.data.clone()], config: Some(self.config.clone()), is_deep: true })
    }

    fn add(&self, file: &str, content: &[u8]) {
        let path = self.data.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// What stands in the way, without the paths.
fn stops(diagnosis: &Diagnosis) -> Vec<&str> {
    let stops = diagnosis.findings.iter().filter(|finding| finding.verdict == Verdict::Stop);
    stops.map(|finding| finding.text.as_str()).collect()
}

fn obstacles(diagnosis: &Diagnosis) -> Vec<String> {
    diagnosis.releases.iter().map(|answer| answer.obstacles.join("; ")).collect()
}

/// Every file with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

/// A batch of one record, as a log has it.
fn batch() -> Vec<u8> {
    let mut builder = milena_records::BatchBuilder::new(milena_records::BuilderConfig::default());
    builder.append(1, None, Some(b"value"), &[]).unwrap();
    builder.build(milena_types::Offset(0), milena_types::LeaderEpoch(0)).unwrap().to_vec()
}

#[test]
fn a_formatted_directory_has_nothing_in_its_way_and_is_not_written_to() {
    let formatted = Formatted::new();
    formatted.add("topic-0/00000000000000000000.log", &batch());
    let before = content(&formatted.data);
    let diagnosis = formatted.examined();
    assert_eq!(stops(&diagnosis), Vec::<&str>::new());
    assert!(diagnosis.can_start());
    assert_eq!(obstacles(&diagnosis), vec![String::new(); 5], "no metadata.version stands in anybody's way yet");
    assert_eq!(content(&formatted.data), before);
}

#[test]
fn a_directory_that_is_in_use_says_by_whom() {
    let formatted = Formatted::new();
    let lock = RealDisk.try_lock(&formatted.data.join(".lock")).unwrap().unwrap();
    let diagnosis = formatted.examined();
    assert_eq!(stops(&diagnosis), [format!("is in use by process {}", std::process::id())]);
    assert!(obstacles(&diagnosis).iter().all(|text| text.contains("runs on")), "{:?}", obstacles(&diagnosis));
    drop(lock);
    assert!(formatted.examined().can_start());
}

#[test]
fn a_directory_of_a_zookeeper_cluster_or_of_nobody_is_told_apart() {
    let formatted = Formatted::new();
    formatted.add("meta.properties", b"version=0\nbroker.id=1\ncluster.id=x\n");
    let diagnosis = formatted.examined();
    assert!(stops(&diagnosis)[0].contains("ZooKeeper"), "{:?}", stops(&diagnosis));
    assert!(obstacles(&diagnosis).iter().all(|text| text.contains("ZooKeeper")));
    fs::remove_file(formatted.data.join("meta.properties")).unwrap();
    assert_eq!(stops(&formatted.examined()), ["is not formatted: there is no meta.properties"]);
    let absent = examine(&Request { directories: vec![formatted.data.join("absent")], ..Request::default() });
    assert!(stops(&absent)[0].starts_with("cannot be looked at"), "{:?}", stops(&absent));
}

#[test]
fn a_wrong_checksum_is_found_on_request_and_a_torn_end_is_what_a_crash_leaves() {
    let formatted = Formatted::new();
    let mut bytes = batch();
    let whole = bytes.len();
    bytes.extend_from_slice(&batch()[..20]);
    formatted.add("topic-0/00000000000000000000.log", &bytes);
    assert!(formatted.examined().can_start(), "a torn end is cut");
    bytes[whole - 1] ^= 1;
    formatted.add("topic-0/00000000000000000000.log", &bytes);
    let diagnosis = formatted.examined();
    assert!(stops(&diagnosis)[0].starts_with("the batch at 0 is damaged"), "{:?}", stops(&diagnosis));
    let quick = examine(&Request { directories: vec![formatted.data.clone()], ..Request::default() });
    assert!(quick.can_start(), "who does not ask for it does not wait for it");
    bytes[16] = 1;
    formatted.add("topic-0/00000000000000000000.log", &bytes);
    let quick = examine(&Request { directories: vec![formatted.data], ..Request::default() });
    assert!(stops(&quick)[0].contains("of before Apache Kafka 0.11"), "{:?}", stops(&quick));
}

#[test]
fn a_config_that_would_be_refused_or_names_others_stands_in_the_way() {
    let formatted = Formatted::new();
    let config = fs::read_to_string(&formatted.config).unwrap();
    fs::write(&formatted.config, config.replace("node.id=1", "node.id=2")).unwrap();
    assert_eq!(stops(&formatted.examined()), ["belongs to node 1, and node.id is 2"]);
    fs::write(&formatted.config, config.replace("log.dirs=", "log.dirs=/elsewhere")).unwrap();
    assert_eq!(stops(&formatted.examined()), ["is not among log.dirs of the config"]);
    fs::write(&formatted.config, format!("{config}remote.log.storage.system.enable=true\n")).unwrap();
    let diagnosis = formatted.examined();
    assert!(stops(&diagnosis)[0].contains("remote.log.storage.system.enable"), "{:?}", stops(&diagnosis));
    formatted.add("lost+found/x", b"");
    assert!(stops(&formatted.examined()).iter().any(|text| text.contains("not the directory of a partition")));
}
