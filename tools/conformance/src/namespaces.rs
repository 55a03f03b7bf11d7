//! A network of our own: a bridge, and a network namespace with an address on it for each node and for the clients. A cut is a rule
//! in the namespace that does not hear any more: what comes from an address is dropped, and connections hang as they do in
//! reality. Everything is named after this process, is removed when the network is dropped, and what a run that crashed
//! left behind the next one removes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// Namespaces are named so, then the process, then their number.
const PREFIX: &str = "milena-lab-";
/// The rule that cuts.
const RULES: &str = "table ip lab { set cut { type ipv4_addr; }; chain in { type filter hook input priority 0; ip saddr @cut drop; }; }";

/// The bridge and its namespaces.
#[derive(Debug)]
pub(crate) struct Network {
    process: u32,
    count: usize,
}

/// Why this machine or user cannot have one, if it cannot.
pub(crate) fn missing() -> Option<String> {
    let uid = Command::new("id").arg("-u").output().map(|output| output.stdout.trim_ascii().to_vec());
    if uid.ok().as_deref() != Some(b"0") {
        return Some("network namespaces are made by root alone".to_owned());
    }
    let absent = ["ip", "nft", "tc"].into_iter().find(|name| Command::new(name).arg("-V").output().is_err());
    absent.map(|name| format!("{name} is not installed"))
}

/// A command as it runs in a namespace, or in ours if it has no name; the process keeps its number.
pub(crate) fn within(namespace: &str, command: &Command) -> Command {
    let mut inside = if namespace.is_empty() {
        Command::new(command.get_program())
    } else {
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", namespace]).arg(command.get_program());
        ip
    };
    inside.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            inside.env(name, value);
        }
    }
    inside
}

impl Network {
    /// A bridge with so many namespaces.
    pub(crate) fn new(count: usize) -> anyhow::Result<Self> {
        remove_left_behind()?;
        let network = Self { process: std::process::id(), count };
        let bridge = network.bridge();
        run("ip", &["link", "add", &bridge, "type", "bridge"])?;
        run("ip", &["addr", "add", &format!("{}/24", network.outside()), "dev", &bridge])?;
        run("ip", &["link", "set", &bridge, "up"])?;
        for at in 0..count {
            let (name, veth) = (network.namespace(at), format!("{bridge}n{at}"));
            run("ip", &["netns", "add", &name])?;
            run("ip", &["link", "add", &veth, "type", "veth", "peer", "name", "e0", "netns", &name])?;
            run("ip", &["link", "set", &veth, "master", &bridge, "up"])?;
            run("ip", &["-n", &name, "addr", "add", &format!("{}/24", network.address(at)), "dev", "e0"])?;
            run("ip", &["-n", &name, "link", "set", "e0", "up"])?;
            run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
            run("ip", &["netns", "exec", &name, "nft", RULES])?;
        }
        Ok(network)
    }

    fn bridge(&self) -> String {
        format!("ml{}", self.process)
    }

    pub(crate) fn namespace(&self, at: usize) -> String {
        format!("{PREFIX}{}-{at}", self.process)
    }

    /// The address of a namespace.
    pub(crate) fn address(&self, at: usize) -> String {
        format!("10.77.{}.{}", self.process % 250, at + 1)
    }

    /// Ours, which no cut touches.
    fn outside(&self) -> String {
        format!("10.77.{}.254", self.process % 250)
    }

    /// `to` does not hear `from` any more.
    pub(crate) fn cut(&self, from: usize, to: usize) -> anyhow::Result<()> {
        let element = format!("{{ {} }}", self.address(from));
        run("ip", &["netns", "exec", &self.namespace(to), "nft", "add", "element", "ip", "lab", "cut", &element])
    }

    /// What leaves this namespace leaves slowly.
    pub(crate) fn slow(&self, at: usize, kilobits: u64) -> anyhow::Result<()> {
        let (name, rate) = (self.namespace(at), format!("{kilobits}kbit"));
        let words =
            ["qdisc", "replace", "dev", "e0", "root", "tbf", "rate", &rate, "burst", "16kb", "latency", "500ms"];
        let all: Vec<&str> = ["netns", "exec", &name, "tc"].into_iter().chain(words).collect();
        run("ip", &all)
    }

    /// No cuts, and nothing is slow.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        for at in 0..self.count {
            let name = self.namespace(at);
            run("ip", &["netns", "exec", &name, "nft", "flush", "set", "ip", "lab", "cut"])?;
            // There is none where nothing was slow.
            let _ = run("ip", &["netns", "exec", &name, "tc", "qdisc", "del", "dev", "e0", "root"]);
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for at in 0..self.count {
            // The kernel takes its time to empty a namespace; the next network of this process has the same names.
            let _ = run("ip", &["link", "del", &format!("{}n{at}", self.bridge())]);
            let _ = run("ip", &["netns", "del", &self.namespace(at)]);
        }
        let _ = run("ip", &["link", "del", &self.bridge()]);
    }
}

/// What runs left that are not any more.
fn remove_left_behind() -> anyhow::Result<()> {
    let output = Command::new("ip").args(["netns", "list"]).output().context("ip netns")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in text.lines().filter_map(|line| line.split_whitespace().next()) {
        let Some(process) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
        if Path::new("/proc").join(process).exists() {
            continue;
        }
        println!("     removes {name}, which another run left behind");
        let inside = Command::new("ip").args(["netns", "pids", name]).output().context("ip netns pids")?;
        for pid in String::from_utf8_lossy(&inside.stdout).split_whitespace() {
            let _ = run("kill", &["-KILL", pid]);
        }
        run("ip", &["netns", "del", name])?;
        let _ = run("ip", &["link", "del", &format!("ml{process}")]);
    }
    Ok(())
}

fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(args).output().with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
