//! Syncs that fail: a node with two log directories syncs before it acknowledges; one sync of the second directory says EIO and
//! does nothing (`c/syscalls.c`), all later ones would succeed. From then on nothing may be acknowledged in that directory, the
//! other one must go on, and after the next start everything that was acknowledged must be there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::flags::Flags;
use crate::full_disk::delete_records;
use crate::injector::{Injector, LONG_SESSION, What};
use crate::ledger::{Kept, Ledger};
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, Kind, Node, Server};
use crate::wire::Wire;

const TOPICS: [(&str, i32); 2] = [("first", 3), ("second", 3)];
/// The most syncs of the directory that succeed before.
const SYNCS_MAX: u64 = 40;
/// How long a directory that failed may go on refusing nothing: until the failed sync is noticed, nothing of it is acknowledged.
const STEPS_AFTER: u32 = 10;

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(Kind::Milena, flags).or_else(Injector::missing) {
        report.skip("failed syncs", &reason);
        return Ok(());
    }
    println!("seed {}", flags.seed);
    let folder = crate::layout::scratch("fail-syncs-dirs")?;
    let dirs = format!("{0}/good,{0}/bad", folder.display());
    let settings = [
        ("log.dirs", dirs.as_str()),
        ("milena.durability", "fsync"),
        ("log.segment.bytes", "1048576"),
        ("log.flush.offset.checkpoint.interval.ms", "400"),
        LONG_SESSION,
    ];
    let mut node = Node::with("fail-syncs", flags, &settings)?;
    let bad = folder.join("bad");
    node.injector = Some(Injector::new(&node.folder, bad.clone())?);
    let failed = report.failed();
    let mut run = Run { node: &node, bad, random: Random::new(flags.seed), ledger: Ledger::default() };
    let outcome = run.rounds(flags.rounds.unwrap_or(200), report);
    if outcome.is_ok() && report.failed() == failed {
        node.remove(flags);
        let _ = std::fs::remove_dir_all(folder);
    }
    outcome.with_context(|| format!("seed {}", flags.seed))
}

struct Run<'a> {
    node: &'a Node,
    bad: std::path::PathBuf,
    random: Random,
    ledger: Ledger,
}

impl Run<'_> {
    fn injector(&self) -> anyhow::Result<&Injector> {
        self.node.injector.as_ref().context("an injector")
    }

    fn rounds(&mut self, rounds: u32, report: &mut Report) -> anyhow::Result<()> {
        let mut server = self.node.format_and_start(Kind::Milena)?;
        let mut wire = Wire::connect(self.node.port)?;
        for (name, partitions) in TOPICS {
            wire.create_topic(name, partitions, &[])?;
            self.ledger.add_topic(name, usize::try_from(partitions)?, Kept::All);
        }
        for round in 1..=rounds {
            let outcome = self.round(&server);
            server.kill()?;
            server = self.start()?;
            let outcome = outcome.and_then(|call| Ok((call, self.after(round)?)));
            let failure = outcome.as_ref().err().map(|error| format!("     {error:#}\n     {}", server.last_words()));
            let told =
                outcome.map_or_else(|_| String::new(), |(call, read)| format!(" ({call}): {read} records are there"));
            let is_lost = failure.is_some();
            report.check(&format!("failed sync {round}{told}"), failure);
            if is_lost {
                break;
            }
        }
        server.stop()
    }

    fn round(&mut self, server: &Server) -> anyhow::Result<&'static str> {
        let mut wire = Wire::connect(self.node.port)?;
        let all: Vec<(&str, i32)> =
            TOPICS.iter().flat_map(|(name, count)| (0..*count).map(move |index| (*name, index))).collect();
        let is_bad: Vec<bool> =
            all.iter().map(|(name, index)| self.bad.join(format!("{name}-{index}")).is_dir()).collect();
        ensure!(is_bad.contains(&true) && is_bad.contains(&false), "all partitions are in one directory");
        let after = self.random.below(SYNCS_MAX);
        self.injector()?.arm(What::FailSync, after)?;
        let end = Instant::now() + Duration::from_secs(60);
        let mut steps_after = 0;
        while steps_after < STEPS_AFTER {
            let happened = self.injector()?.happened()?.is_some();
            let size = (1 + self.random.below(5), 100 + usize::try_from(self.random.below(2000))?);
            let codes = self.ledger.produce(&mut wire, &all, size)?;
            for ((code, is_bad), (name, index)) in codes.iter().zip(&is_bad).zip(&all) {
                if happened && *is_bad {
                    ensure!(*code != 0, "{name}-{index} acknowledged after a sync had failed");
                } else if !*is_bad {
                    ensure!(*code == 0, "{name}-{index} in the other directory says {code}: {}", server.last_words());
                }
            }
            steps_after += u32::from(happened);
            ensure!(Instant::now() < end, "no sync failed");
        }
        self.injector()?.happened()?.context("a failed sync")
    }

    /// The one before may still hold its lock for a moment.
    fn start(&self) -> anyhow::Result<Server> {
        self.injector()?.disarm()?;
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            match self.node.start(Kind::Milena) {
                Err(error) if Instant::now() < end && format!("{error:#}").contains("in use") => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                outcome => return outcome,
            }
        }
    }

    fn after(&mut self, round: u32) -> anyhow::Result<u64> {
        let read = self.ledger.check_all(self.node.port)?;
        if round.is_multiple_of(10) {
            let mut wire = Wire::connect(self.node.port)?;
            for (name, count) in TOPICS {
                for index in 0..count {
                    let offset = self.ledger.end(name, index);
                    self.ledger.deleted_to(name, index, offset);
                    delete_records(&mut wire, name, index, offset)?;
                }
            }
        }
        Ok(read)
    }
}
