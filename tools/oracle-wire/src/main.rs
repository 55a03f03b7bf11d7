//! Holds the generated protocol against Kafka's own message classes, byte for byte, in both directions:
//! what Kafka writes is read and written again here, and what is written here Kafka reads and writes again. Every
//! message of the schemas, every version. `milena-oracle-wire --jars DIR [--seed N] [--count N]`; exit 1 on a
//! difference. The Java side is `java/OracleWire.java`.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks through its standard output")]

mod entries;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use milena_protocol::random::{MESSAGES, MessageEntry, Random};

use crate::entries::Entry;
use crate::oracle::Oracle;

/// Differences shown before the rest is only counted.
const SHOWN_MAX: usize = 20;

struct Options {
    jars: PathBuf,
    seed: u64,
    count: u32,
}

fn main() -> Result<()> {
    let options = options()?;
    let oracle = Oracle::new(options.jars.clone())?;
    let known: BTreeMap<&str, &MessageEntry> = MESSAGES.iter().map(|entry| (entry.name, entry)).collect();
    let mut differences = Vec::new();
    let from_kafka = oracle.write(options.seed, options.count)?;
    differences.extend(same_messages(&known, &from_kafka));
    differences.extend(from_kafka.iter().filter_map(|entry| read_here(&known, entry)));
    let blanks = oracle.blank()?;
    differences.extend(blanks.iter().filter_map(|entry| same_defaults(&known, entry)));
    let from_here = write_here(&options)?;
    let by_kafka = oracle.recode(&from_here)?;
    if by_kafka.len() != from_here.len() {
        bail!("Kafka answered {} of {} messages", by_kafka.len(), from_here.len());
    }
    differences.extend(from_here.iter().zip(&by_kafka).filter_map(|(ours, kafkas)| compare(ours, kafkas)));
    for difference in differences.iter().take(SHOWN_MAX) {
        println!("{difference}");
    }
    let compared = from_kafka.len() + blanks.len() + from_here.len();
    if !differences.is_empty() {
        bail!("{} of {compared} messages differ from Kafka's (seed {})", differences.len(), options.seed);
    }
    println!("{compared} messages equal Kafka's, {} schemas, both directions", known.len());
    Ok(())
}

fn options() -> Result<Options> {
    let jars = std::env::var_os("MILENA_KAFKA_JARS").map(PathBuf::from);
    let mut options = Options { jars: jars.unwrap_or_default(), seed: 1, count: 20 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} wants a value"))?;
        match word.as_str() {
            "--jars" => options.jars = PathBuf::from(value),
            "--seed" => options.seed = value.parse()?,
            "--count" => options.count = value.parse()?,
            _ => bail!("usage: milena-oracle-wire --jars DIR [--seed N] [--count N]"),
        }
    }
    if options.jars.as_os_str().is_empty() {
        bail!("--jars, or MILENA_KAFKA_JARS, must name the folder of Kafka's jars");
    }
    Ok(options)
}

/// Both sides must have the same messages in the same versions: nothing may be left out unseen.
fn same_messages(known: &BTreeMap<&str, &MessageEntry>, from_kafka: &[Entry]) -> Vec<String> {
    let kafkas: BTreeSet<(&str, i16)> = from_kafka.iter().map(|entry| (entry.name.as_str(), entry.version)).collect();
    let ours: BTreeSet<(&str, i16)> = known
        .values()
        .flat_map(|entry| (entry.min_version..=entry.max_version).map(|version| (entry.name, version)))
        .collect();
    let missing = kafkas.difference(&ours).map(|(name, version)| format!("{name} version {version}: missing here"));
    let extra = ours.difference(&kafkas).map(|(name, version)| format!("{name} version {version}: Kafka has none"));
    missing.chain(extra).collect()
}

/// A message with nothing set must be the same bytes on both sides, or be refused by both.
fn same_defaults(known: &BTreeMap<&str, &MessageEntry>, kafkas: &Entry) -> Option<String> {
    let message = known.get(kafkas.name.as_str())?;
    let ours = (message.blank)(kafkas.version);
    match (&ours, &kafkas.outcome) {
        (Ok(ours), Ok(kafkas)) if ours == kafkas => None,
        (Err(_), Err(_)) => None,
        _ => Some(format!(
            "{} version {}: defaults are {ours:02x?}, in Kafka {:02x?}",
            kafkas.name, kafkas.version, kafkas.outcome
        )),
    }
}

fn read_here(known: &BTreeMap<&str, &MessageEntry>, entry: &Entry) -> Option<String> {
    let place = format!("{} version {} written by Kafka", entry.name, entry.version);
    let bytes = entry.outcome.as_ref().ok()?;
    let message = known.get(entry.name.as_str())?;
    match (message.recode)(bytes.clone(), entry.version) {
        Err(why) => Some(format!("{place}: {why:?}")),
        Ok(again) if again != bytes => Some(format!("{place}: {bytes:02x?} became {again:02x?}")),
        Ok(_) => None,
    }
}

fn write_here(options: &Options) -> Result<Vec<Entry>> {
    let mut random = Random::new(options.seed);
    let mut entries = Vec::new();
    for message in MESSAGES {
        for version in message.min_version..=message.max_version {
            for _ in 0..options.count {
                let bytes = (message.random)(&mut random, version)
                    .with_context(|| format!("{} version {version}", message.name))?;
                entries.push(Entry { name: message.name.to_owned(), version, outcome: Ok(bytes) });
            }
        }
    }
    Ok(entries)
}

fn compare(ours: &Entry, kafkas: &Entry) -> Option<String> {
    let place = format!("{} version {} written here", ours.name, ours.version);
    match &kafkas.outcome {
        Err(why) => Some(format!("{place}: Kafka says {why}")),
        Ok(_) if ours == kafkas => None,
        Ok(bytes) => Some(format!("{place}: {:02x?} became {bytes:02x?}", ours.outcome)),
    }
}
