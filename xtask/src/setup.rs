//! Installs what the tests need beyond a Rust toolchain, each by its ordinary package manager, under `target/`.
//!
//! A part is installed once: its stamp holds the text of the files that say what to install. A part that cannot be installed (no
//! Java, no Node) is reported by name and its tests are skipped; on CI that is a failure. Layout, shared with the conformance
//! runner: `target/kafka/<version>/lib`, and under `target/conformance`: `classes`, `venv`, `node`, `bin`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::process;

/// The version of Apache Kafka that Milena is held against.
pub(crate) const KAFKA_VERSION: &str = "4.3.1";

/// One thing to install.
struct Part {
    name: &'static str,
    /// Programs that must exist already.
    needs: &'static [&'static str],
    /// Files or folders of the repository that say what to install; a change in them installs anew.
    inputs: &'static [&'static str],
    install: fn(&Path) -> anyhow::Result<()>,
}

const PARTS: &[Part] = &[
    Part { name: "kafka-jars", needs: &["java", "mvn"], inputs: &["tools/conformance/pom.xml"], install: jars },
    Part {
        name: "java-client",
        needs: &["javac"],
        inputs: &["tools/conformance/java", "tools/conformance/pom.xml"],
        install: java,
    },
    Part {
        name: "python-client",
        needs: &["python3"],
        inputs: &["tools/conformance/python/requirements.txt"],
        install: python,
    },
    Part {
        name: "node-client",
        needs: &["node", "npm"],
        inputs: &["tools/conformance/node/package.json", "tools/conformance/node/package-lock.json"],
        install: node,
    },
    Part { name: "go-client", needs: &["go"], inputs: &["tools/conformance/go"], install: go },
    Part { name: "c-client", needs: &["gcc"], inputs: &["tools/conformance/c"], install: c },
    Part { name: "kcat", needs: &[], inputs: &[], install: kcat },
];

/// What became of one part.
pub(crate) struct Installed {
    pub(crate) name: &'static str,
    /// Why it is not there, if it is not.
    pub(crate) missing: Option<String>,
}

/// The task: installs every part, fails on CI if one is missing.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut absent = Vec::new();
    for part in install_all() {
        if let Some(reason) = part.missing {
            println!("setup: {} is missing: {reason}", part.name);
            absent.push(part.name);
        }
    }
    if !absent.is_empty() && process::is_ci() {
        bail!("on CI nothing may be missing: {}", absent.join(", "));
    }
    Ok(())
}

/// Installs what is not there yet and tells of each part.
pub(crate) fn install_all() -> Vec<Installed> {
    PARTS
        .iter()
        .map(|part| {
            let missing = install(part).err().map(|error| format!("{error:#}"));
            Installed { name: part.name, missing }
        })
        .collect()
}

fn install(part: &Part) -> anyhow::Result<()> {
    if let Some(program) = part.needs.iter().find(|program| !process::exists(program)) {
        bail!("{program} is not installed");
    }
    let stamp = folder()?.join(format!("{}.stamp", part.name));
    let wanted = fingerprint(part)?;
    let is_there = std::fs::read(&stamp).is_ok_and(|found| found == wanted);
    if is_there && (!part.inputs.is_empty() || process::exists(part.name)) {
        return Ok(());
    }
    println!("setup: installing {}", part.name);
    let log = folder()?.join(format!("{}.log", part.name));
    std::fs::write(&log, b"")?;
    (part.install)(&log)?;
    std::fs::write(&stamp, wanted).context("write the stamp")
}

/// The text of everything that says what to install, and where this checkout is: a venv is not movable.
fn fingerprint(part: &Part) -> anyhow::Result<Vec<u8>> {
    let mut text = format!("{}\n", process::root().display()).into_bytes();
    for input in part.inputs {
        let path = process::root().join(input);
        for file in files_of(&path)? {
            text.extend_from_slice(file.to_string_lossy().as_bytes());
            text.extend_from_slice(&std::fs::read(&file).with_context(|| format!("read {}", file.display()))?);
        }
    }
    Ok(text)
}

fn files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let listing = std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
    let mut files: Vec<PathBuf> =
        listing.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// `target/conformance`.
fn folder() -> anyhow::Result<PathBuf> {
    let folder = process::root().join("target").join("conformance");
    std::fs::create_dir_all(folder.join("bin")).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

fn sources(name: &str) -> PathBuf {
    process::root().join("tools").join("conformance").join(name)
}

/// The folder of Apache Kafka's jars.
pub(crate) fn jar_folder() -> PathBuf {
    process::root().join("target").join("kafka").join(KAFKA_VERSION).join("lib")
}

fn jars(log: &Path) -> anyhow::Result<()> {
    copy_jars(&jar_folder(), None, log)
}

fn copy_jars(target: &Path, version: Option<&str>, log: &Path) -> anyhow::Result<()> {
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(sources("pom.xml"));
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", target.display()));
    maven.args(version.map(|version| format!("-Dkafka.version={version}")));
    process::run_logged(&mut maven, log)
}

/// Installs other releases of Apache Kafka, for what is compared with several.
pub(crate) fn releases(versions: &[&str]) -> anyhow::Result<()> {
    for version in versions {
        let target = process::root().join("target").join("kafka").join(version).join("lib");
        if target.is_dir() {
            continue;
        }
        println!("setup: installing Apache Kafka {version}");
        // Under its name it is whole.
        let partial = target.with_extension("part");
        let log = folder()?.join(format!("kafka-{version}.log"));
        std::fs::write(&log, b"")?;
        copy_jars(&partial, Some(version), &log)?;
        std::fs::rename(&partial, &target).with_context(|| format!("rename {}", partial.display()))?;
    }
    Ok(())
}

fn java(log: &Path) -> anyhow::Result<()> {
    let classes = folder()?.join("classes");
    std::fs::create_dir_all(&classes)?;
    let mut compiler = Command::new("javac");
    compiler.args(["-nowarn", "-d"]).arg(classes).arg("-cp").arg(jar_folder().join("*"));
    compiler.args(files_of(&sources("java"))?);
    process::run_logged(&mut compiler, log)
}

fn python(log: &Path) -> anyhow::Result<()> {
    let venv = folder()?.join("venv");
    process::run_logged(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), log)?;
    let mut pip = Command::new(venv.join("bin").join("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(sources("python").join("requirements.txt"));
    process::run_logged(&mut pip, log)
}

fn node(log: &Path) -> anyhow::Result<()> {
    let folder = folder()?.join("node");
    std::fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(sources("node").join(name), folder.join(name)).with_context(|| format!("copy {name}"))?;
    }
    process::run_logged(Command::new("npm").arg("ci").current_dir(folder), log)
}

fn go(log: &Path) -> anyhow::Result<()> {
    let binary = folder()?.join("bin").join("go-client");
    process::run_logged(Command::new("go").args(["build", "-o"]).arg(binary).arg(".").current_dir(sources("go")), log)
}

fn c(log: &Path) -> anyhow::Result<()> {
    let header =
        ["/usr/include", "/usr/local/include"].map(|folder| Path::new(folder).join("librdkafka").join("rdkafka.h"));
    if !header.iter().any(|path| path.exists()) {
        apt_install("librdkafka-dev", log)?;
    }
    let binary = folder()?.join("bin").join("c-client");
    let mut compiler = Command::new("gcc");
    // Beside them are programs that the harness compiles when it needs them.
    let files = ["client.c", "chaos.c", "lab.c", "program.c"].map(|name| sources("c").join(name));
    compiler.args(["-O2", "-Wall", "-o"]).arg(binary).args(files).arg("-lrdkafka");
    process::run_logged(&mut compiler, log)
}

fn kcat(log: &Path) -> anyhow::Result<()> {
    if process::exists("kcat") {
        return Ok(());
    }
    apt_install("kcat", log)
}

/// What networks of namespaces are made with.
pub(crate) fn for_lab() -> anyhow::Result<()> {
    let log = folder()?.join("lab.log");
    for (program, package) in [("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables")] {
        if !process::exists(program) {
            println!("setup: installing {package}");
            apt_install(package, &log)?;
        }
    }
    Ok(())
}

fn apt_install(package: &str, log: &Path) -> anyhow::Result<()> {
    if !process::exists("apt-get") || !is_superuser() {
        bail!("{package} is not installed, and this user cannot install it with apt-get");
    }
    let install = || {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "-y", "-q", "--no-install-recommends", package]).env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    if process::run_logged(&mut install(), log).is_ok() {
        return Ok(());
    }
    process::run_logged(Command::new("apt-get").args(["update", "-q"]), log)?;
    process::run_logged(&mut install(), log)
}

fn is_superuser() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
