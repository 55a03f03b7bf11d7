//! A bank in the lab: transfers between accounts in different partitions, each a transaction, while nodes, leaders, coordinators
//! and the clients themselves are killed, stopped, and cut off from each other. Some clients make transfers of their own and abort
//! some, others make one of every order they read, in transactions with their group's offsets. Who is killed is followed by
//! another one with the same transactional id, who was stopped goes on beside it.
//!
//! What all did and read is one history for `milena-histories`; `lab_bank_check.rs` adds what a bank is for. At the end somebody
//! reads what is not committed as well, and the checks must not like it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use milena_histories::{Operation, Rules, check, unread};

use crate::flags::Flags;
use crate::lab::{Lab, as_sent, kinds};
use crate::lab_bank_check::{ACCOUNTS, Balance, latest, planted};
use crate::lab_clients::{Client, TOPIC};
use crate::lab_faults::{Fault, NODES};
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, missing_java};
use crate::{layout, namespaces, process};

const PARTITIONS: u32 = 4;
const PARTITIONS_TEXT: &str = "4";
/// Where transactional ids are coordinated.
const COORDINATORS: u32 = 3;
/// Orders a second.
const ORDERS: u32 = 30;
const ORDERER: u32 = 1;
/// Within this everything must be readable once all is healed: transactions of who was killed end by themselves before.
const HEALED: Duration = Duration::from_secs(60);
/// How long clients may take to finish beyond that.
const FINISH_LIMIT: Duration = Duration::from_secs(120);
/// Longer than a transaction may be open, and shorter.
const PAUSES_MS: (u64, u64) = (2_000, 22_000);
const FOLLOWERS: [&str; 2] = ["7", "6"];
const AFTER_HEAL: &str = "8";
const LAST: &str = "9";
const UNCOMMITTED: &str = "10";
const WHOLE: Rules = Rules { is_read_to_the_end: true };
/// Findings that are told.
const TOLD_MAX: usize = 12;

/// The task: each run is one check.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kinds = kinds(flags)?;
    let missing = kinds.iter().find_map(|kind| server::missing(*kind, flags)).or_else(missing_java);
    if let Some(reason) = missing.or_else(namespaces::missing) {
        report.skip("bank", &reason);
        return Ok(());
    }
    for number in 0..flags.rounds.unwrap_or(10) {
        let seed = flags.seed.wrapping_add(u64::from(number));
        println!("run {}: seed {seed}, {} s", number + 1, flags.seconds);
        // What a run that failed leaves stays there when the next one begins.
        let outcome = Lab::start(&format!("bank-{seed}"), kinds, PARTITIONS, flags)
            .and_then(|lab| Bank::open(lab)?.one(seed, flags));
        report.outcome(&format!("bank: seed {seed}"), outcome);
    }
    Ok(())
}

/// Clients that are killed and come back, in one process.
struct Teller {
    is_java: bool,
    /// What it does and its transactional id, for each of its clients.
    work: Vec<(&'static str, String)>,
    place: usize,
    incarnations: u32,
    client: Option<Client>,
}

/// What happens to the bank.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// What happens to every lab; a teller may be killed while it lasts.
    Lab {
        fault: Fault,
        victim: Option<usize>,
    },
    /// Who leads a partition of a topic is killed.
    KillLeader {
        of: &'static str,
        partition: i32,
    },
    KillTeller {
        teller: usize,
    },
    /// It stands still; another one takes its place before it goes on, or none.
    PauseTeller {
        teller: usize,
        is_replaced: bool,
    },
}

impl Deed {
    fn draw(random: &mut Random, tellers: usize) -> Self {
        let teller = usize::try_from(random.below(tellers as u64)).unwrap_or(0);
        let mut partition = |count: u32| i32::try_from(random.below(u64::from(count))).unwrap_or(0);
        let (coordinator, leader) = (partition(COORDINATORS), partition(PARTITIONS));
        match random.below(10) {
            0 => Self::KillLeader { of: "__transaction_state", partition: coordinator },
            1 => Self::KillLeader { of: ACCOUNTS, partition: leader },
            2 => Self::KillLeader { of: "__consumer_offsets", partition: coordinator },
            3 => Self::KillTeller { teller },
            4 => Self::PauseTeller { teller, is_replaced: random.below(3) > 0 },
            _ => Self::Lab { fault: Fault::draw(random), victim: Some(teller).filter(|_| random.below(3) == 0) },
        }
    }
}

struct Bank {
    lab: Lab,
    tellers: Vec<Teller>,
}

impl Bank {
    fn open(lab: Lab) -> anyhow::Result<Self> {
        lab.wire(0)?.create_replicated(ACCOUNTS, (i32::try_from(PARTITIONS)?, 3), &[("min.insync.replicas", "2")])?;
        let teller = |is_java, place, work: &[(&'static str, &str)]| Teller {
            is_java,
            work: work.iter().map(|(what, id)| (*what, (*id).to_owned())).collect(),
            place,
            incarnations: 0,
            client: None,
        };
        let tellers = vec![
            teller(true, 0, &[("transfers", "java-1"), ("orders", "java-2"), ("transfers", "java-3")]),
            teller(false, 1, &[("transfers", "go-1")]),
            teller(false, 0, &[("orders", "go-2")]),
        ];
        Ok(Self { lab, tellers })
    }

    fn one(mut self, seed: u64, flags: &Flags) -> anyhow::Result<()> {
        let mut random = Random::new(seed);
        let mut orderer = self.lab.target((PARTITIONS, ORDERS)).go_writer(&self.place(1), ORDERER, "none")?;
        let followers = vec![self.go_reader(0, FOLLOWERS[0], "read_committed")?, self.java_reader(1, FOLLOWERS[1])?];
        for teller in 0..self.tellers.len() {
            self.employ(teller)?;
        }
        let told = self.disturb(&mut random, &mut orderer, flags);
        println!("     {}", told.0);
        told.1?;
        let healed = Instant::now();
        self.go_reader(1, AFTER_HEAL, "read_committed")?.end(HEALED).context("not readable after healing")?;
        println!("     everything was read again {:.1} s after healing", healed.elapsed().as_secs_f64());
        let mut history = as_sent(orderer.history(FINISH_LIMIT)?);
        let mut ending: Vec<Client> = self.tellers.iter_mut().filter_map(|teller| teller.client.take()).collect();
        ending.iter_mut().for_each(Client::finish);
        for mut client in ending.into_iter().chain(followers) {
            client.end(FINISH_LIMIT)?;
        }
        self.go_reader(0, LAST, "read_committed")?.end(FINISH_LIMIT)?;
        history.extend(self.histories()?);
        let uncommitted = self.go_reader(1, UNCOMMITTED, "read_uncommitted")?.history(FINISH_LIMIT)?;
        self.judge(&history, &uncommitted)?;
        self.lab.cluster.await_in_sync()?;
        std::thread::sleep(Duration::from_secs(1));
        (0..NODES).try_for_each(|at| self.lab.cluster.take(at)?.kill())?;
        self.lab.cluster.same_logs_of(ACCOUNTS, PARTITIONS, |_| true)?;
        self.lab.cluster.same_logs_of("__transaction_state", COORDINATORS, |_| true)?;
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&self.lab.folder);
            let _ = std::fs::remove_dir_all(&self.lab.cluster.folder);
        }
        Ok(())
    }

    fn place(&self, at: usize) -> String {
        self.lab.network.namespace(NODES + at)
    }

    fn history(&self, process: &str) -> PathBuf {
        self.lab.folder.join(format!("{process}.history"))
    }

    fn java(&self) -> Command {
        let mut command = process::java("BankClient");
        command.args([&self.lab.bootstrap, PARTITIONS_TEXT]).arg(&self.lab.folder);
        command
    }

    fn go(&self, role: &str, id: &str, process: &str) -> Command {
        let mut command = Command::new(layout::installed("bin").join("go-client"));
        command.args([role, &self.lab.bootstrap, PARTITIONS_TEXT]).arg(&self.lab.folder).args([id, process]);
        command
    }

    fn go_reader(&self, place: usize, process: &str, isolation: &str) -> anyhow::Result<Client> {
        let command = self.go("bank-reader", isolation, process);
        let target = self.lab.target((PARTITIONS, ORDERS));
        target.start(&self.place(place), &format!("reader-{process}"), &command, vec![self.history(process)])
    }

    fn java_reader(&self, place: usize, process: &str) -> anyhow::Result<Client> {
        let mut command = self.java();
        command.arg(format!("reader:-:{process}"));
        let target = self.lab.target((PARTITIONS, ORDERS));
        target.start(&self.place(place), &format!("reader-{process}"), &command, vec![self.history(process)])
    }

    /// The next one at this place begins; who was there before is handed out.
    fn employ(&mut self, at: usize) -> anyhow::Result<Option<Client>> {
        let teller = self.tellers.get_mut(at).context("a teller")?;
        teller.incarnations += 1;
        let (place, is_java) = (teller.place, teller.is_java);
        let work: Vec<(&str, String, String)> =
            teller.work.iter().map(|(what, id)| (*what, id.clone(), format!("{id}.{}", teller.incarnations))).collect();
        let histories = work.iter().map(|(.., process)| self.history(process)).collect();
        let (what, id, process) = work.first().context("work")?;
        let command = if is_java {
            let mut command = self.java();
            command.args(work.iter().map(|(what, id, process)| format!("{what}:{id}:{process}")));
            command
        } else {
            self.go(&format!("bank-{what}"), id, process)
        };
        let client = self.lab.target((PARTITIONS, ORDERS)).start(&self.place(place), process, &command, histories)?;
        Ok(self.tellers.get_mut(at).context("a teller")?.client.replace(client))
    }

    fn teller(&self, at: usize) -> anyhow::Result<&Client> {
        self.tellers.get(at).and_then(|teller| teller.client.as_ref()).context("a teller at work")
    }

    /// SIGKILL, and the next one.
    fn replace(&mut self, at: usize) -> anyhow::Result<()> {
        self.teller(at)?.signal("KILL")?;
        drop(self.employ(at)?);
        Ok(())
    }

    /// One thing after the other, and quiet between them; all is healed at the end.
    fn disturb(&mut self, random: &mut Random, orderer: &mut Client, flags: &Flags) -> (String, anyhow::Result<()>) {
        let end = Instant::now() + Duration::from_secs_f64(flags.seconds);
        let mut told = String::from("deeds:");
        std::thread::sleep(Duration::from_secs(5));
        while Instant::now() < end {
            let deed = Deed::draw(random, self.tellers.len());
            told.push_str(&format!(" {deed:?};"));
            let mut outcome = self.commit(deed, random).with_context(|| format!("{deed:?}"));
            std::thread::sleep(Duration::from_millis(random.below(6_000)));
            let mut clients: Vec<&mut Client> = self.tellers.iter_mut().filter_map(|one| one.client.as_mut()).collect();
            clients.push(&mut *orderer);
            outcome = outcome.and_then(|()| clients.into_iter().try_for_each(Client::must_be_alive));
            if outcome.is_err() {
                return (told, outcome);
            }
        }
        let healed = self.lab.network.heal();
        (told, healed)
    }

    fn commit(&mut self, deed: Deed, random: &mut Random) -> anyhow::Result<()> {
        match deed {
            Deed::Lab { fault, victim } => {
                let lasts = fault.lasts(random);
                fault.begin(&self.lab.network, &mut self.lab.cluster)?;
                if let Some(teller) = victim {
                    std::thread::sleep(lasts / 2);
                    self.replace(teller)?;
                    std::thread::sleep(lasts / 2);
                } else {
                    std::thread::sleep(lasts);
                }
                fault.end(&self.lab.network, &mut self.lab.cluster)
            }
            Deed::KillLeader { of, partition } => {
                let node = self.leader(of, partition)?;
                self.lab.cluster.take(node)?.kill()?;
                std::thread::sleep(Duration::from_millis(random.below(PAUSES_MS.1)));
                self.lab.cluster.start(node)
            }
            Deed::KillTeller { teller } => self.replace(teller),
            Deed::PauseTeller { teller, is_replaced } => {
                self.teller(teller)?.signal("STOP")?;
                std::thread::sleep(Duration::from_millis(PAUSES_MS.0 + random.below(PAUSES_MS.1 - PAUSES_MS.0)));
                if !is_replaced {
                    return self.teller(teller)?.signal("CONT");
                }
                let old = self.employ(teller)?.context("who stands still")?;
                std::thread::sleep(Duration::from_millis(500 + random.below(2_000)));
                old.signal("CONT")?;
                // Both have the same transactional id now, and fence each other.
                std::thread::sleep(Duration::from_millis(1_000 + random.below(3_000)));
                old.signal("KILL")
            }
        }
    }

    /// Who leads a partition, once somebody does.
    fn leader(&self, topic: &str, partition: i32) -> anyhow::Result<usize> {
        let end = Instant::now() + HEALED;
        loop {
            let found = self.lab.wire(0).and_then(|mut wire| wire.leader(topic, partition));
            match found {
                Ok(node) if node > 0 => return Ok(usize::try_from(node)? - 1),
                found if Instant::now() > end => bail!("nobody leads {topic}-{partition}: {found:?}"),
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// What everybody wrote down but the orderer and who reads what is not committed.
    fn histories(&self) -> anyhow::Result<Vec<Operation>> {
        let mut processes: Vec<String> = self
            .tellers
            .iter()
            .flat_map(|teller| {
                let incarnations = 1..=teller.incarnations;
                incarnations.flat_map(|number| teller.work.iter().map(move |(_, id)| format!("{id}.{number}")))
            })
            .collect();
        processes.extend(FOLLOWERS.into_iter().chain([AFTER_HEAL, LAST]).map(str::to_owned));
        let mut all = Vec::new();
        for process in processes {
            // Who was killed at once wrote nothing.
            let text = std::fs::read_to_string(self.history(&process)).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            all.extend(latest(milena_histories::parse(whole)?));
        }
        Ok(all)
    }

    fn judge(&self, history: &[Operation], uncommitted: &[Operation]) -> anyhow::Result<()> {
        let anomalies = check(history, WHOLE);
        let mut missing = unread(history, LAST);
        let balance = Balance::of(history, LAST);
        println!("     {balance}");
        let count = missing.len();
        missing.extend(FOLLOWERS.iter().flat_map(|reader| Balance::of(history, reader).wrong));
        missing.extend(balance.wrong.iter().cloned());
        let is_good = missing.is_empty() && anomalies.is_legal();
        missing.truncate(TOLD_MAX);
        ensure!(
            is_good,
            "histories in {}: {count} records not read at the end:\n     {}\n{anomalies}",
            self.lab.folder.display(),
            missing.join("\n     ")
        );
        ensure!(!balance.is_void(), "void: too little was committed");
        planted(history, LAST)?;
        let mut spoiled = history.to_vec();
        spoiled.extend_from_slice(uncommitted);
        ensure!(!check(&spoiled, WHOLE).is_legal(), "a reader of what is not committed was not found");
        ensure!(!Balance::of(&spoiled, UNCOMMITTED).wrong.is_empty(), "its sum was not found wrong");
        ensure!(uncommitted.iter().any(|one| one.key.starts_with(TOPIC)), "it read no orders");
        Ok(())
    }
}
