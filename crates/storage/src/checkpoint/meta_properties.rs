//! `meta.properties`, version 1: to which cluster and node a log directory belongs, and its own id
//! (`MetaProperties`, KIP-858). Java's properties format, of which only what Kafka writes here is read.

use std::path::Path;

use milena_types::{BrokerId, Uuid};

use crate::disk::{Disk, read_whole, write_atomic};
use crate::error::{At, Result, corrupt};

/// The file's name.
pub const META_PROPERTIES: &str = "meta.properties";

/// The identity of a log directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id` (`broker.id` in version 0).
    pub node_id: BrokerId,
    /// `directory.id`; `None` in directories formatted before KIP-858.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// Reads the file of a log directory; `None` if it is not formatted.
    ///
    /// # Errors
    /// IO, an unknown version, or missing or malformed keys.
    pub fn read<D: Disk>(disk: &D, log_dir: &Path) -> Result<Option<MetaProperties>> {
        let path = log_dir.join(META_PROPERTIES);
        let Some(contents) = read_whole(disk, &path).at("read", &path)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&contents);
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
        let pairs: Vec<(&str, String)> = lines.filter_map(parse_pair).collect();
        let get = |key: &str| pairs.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        let version = get("version").unwrap_or_else(|| "0".into());
        let node_key = match version.as_str() {
            "0" => "broker.id",
            "1" => "node.id",
            other => return Err(corrupt(&path, 0, format!("unknown meta.properties version {other}"))),
        };
        let node_id = get(node_key).and_then(|id| id.parse().ok()).map(BrokerId);
        let directory_id = match get("directory.id") {
            Some(id) => Some(id.parse().map_err(|_| corrupt(&path, 0, "malformed directory.id"))?),
            None => None,
        };
        Ok(Some(MetaProperties {
            cluster_id: get("cluster.id").ok_or_else(|| corrupt(&path, 0, "cluster.id is missing"))?,
            node_id: node_id.ok_or_else(|| corrupt(&path, 0, format!("{node_key} is missing or malformed")))?,
            directory_id,
        }))
    }

    /// Replaces the file durably. `date` goes into the comment line Java writes, such as `Sat Nov 21 14:39:47 UTC 2026`.
    ///
    /// # Errors
    /// IO.
    pub fn write<D: Disk>(&self, disk: &D, log_dir: &Path, date: &str) -> Result<()> {
        let path = log_dir.join(META_PROPERTIES);
        let mut text = format!("#\n#{date}\n");
        text.push_str(&format!("node.id={}\n", self.node_id));
        if let Some(id) = self.directory_id {
            text.push_str(&format!("directory.id={id}\n"));
        }
        text.push_str(&format!("version=1\ncluster.id={}\n", escape(&self.cluster_id)));
        write_atomic(disk, &path, text.as_bytes()).at("write", &path)
    }
}

fn parse_pair(line: &str) -> Option<(&str, String)> {
    let at = line.find(['=', ':'])?;
    let (key, value) = line.split_at_checked(at)?;
    let mut unescaped = String::new();
    let mut characters = value.get(1..)?.trim_start().chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => unescaped.extend(characters.next()),
            other => unescaped.push(other),
        }
    }
    Some((key.trim_end(), unescaped))
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '\\' | '=' | ':' | '#' | '!') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn the_file_is_kafkas_and_reads_back() {
        let disk = SimulatedDisk::new(1);
        let root = Path::new("/");
        assert_eq!(MetaProperties::read(&disk, root).unwrap(), None);
        let meta = MetaProperties { cluster_id: "abc".into(), node_id: BrokerId(1), directory_id: Some(Uuid::ONE) };
        meta.write(&disk, root, "Sat Nov 21 14:39:47 UTC 2026").unwrap();
        let text = "#\n#Sat Nov 21 14:39:47 UTC 2026\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\nversion=1\ncluster.id=abc\n";
        assert_eq!(read_whole(&disk, &root.join(META_PROPERTIES)).unwrap().unwrap(), text.as_bytes());
        assert_eq!(MetaProperties::read(&disk, root).unwrap(), Some(meta.clone()));
        let odd = MetaProperties { cluster_id: "a=b:c\\d".into(), ..meta };
        odd.write(&disk, root, "x").unwrap();
        assert_eq!(MetaProperties::read(&disk, root).unwrap(), Some(odd));
    }

    #[test]
    fn unknown_versions_and_missing_keys_are_refused() {
        let disk = SimulatedDisk::new(1);
        for text in ["version=2\nnode.id=1\ncluster.id=x\n", "version=1\ncluster.id=x\n", "version=1\nnode.id=1\n"] {
            write_atomic(&disk, Path::new("/meta.properties"), text.as_bytes()).unwrap();
            assert!(MetaProperties::read(&disk, Path::new("/")).is_err(), "{text}");
        }
    }
}
