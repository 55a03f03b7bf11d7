//! Where things are: what `cargo xtask setup` installed, and folders for servers and results.

use std::path::{Path, PathBuf};

/// The repository's top folder.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_path_buf()
}

/// A file of this crate's folder.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A file of the repository's top folder.
pub(crate) fn document(name: &str) -> PathBuf {
    root().join(name)
}

/// The release of Apache Kafka that Milena is held against.
pub(crate) const RELEASE: &str = "4.3.1";

/// The jars of Apache Kafka.
pub(crate) fn jars() -> PathBuf {
    jars_of(RELEASE)
}

/// The jars of a release of Apache Kafka.
pub(crate) fn jars_of(release: &str) -> PathBuf {
    root().join("target").join("kafka").join(release).join("lib")
}

/// Where `setup` put clients.
pub(crate) fn installed(name: &str) -> PathBuf {
    root().join("target").join("conformance").join(name)
}

/// The Java class path: our classes, then Kafka's jars.
pub(crate) fn class_path() -> String {
    class_path_of(RELEASE)
}

/// The same with the jars of a release.
pub(crate) fn class_path_of(release: &str) -> String {
    format!("{}:{}/*", installed("classes").display(), jars_of(release).display())
}

/// The default place of the release binary.
pub(crate) fn milena() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release").join("milena")
}

/// A folder of this process, emptied, for servers and results.
pub(crate) fn scratch(name: &str) -> anyhow::Result<PathBuf> {
    let folder = root().join("target").join("conformance").join("runs").join(format!("{}-{name}", std::process::id()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
