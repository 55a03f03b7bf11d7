//! System calls of a server that end it or fail, at a number that is drawn: `c/syscalls.c` runs the server and looks at the calls
//! that change its files, and a small file that both map says which of them is meant.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::{layout, process};

/// What happens at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The server is killed before the call.
    Kill = 1,
    /// A sync does nothing and says EIO. Only syncs count.
    FailSync = 2,
}

/// The numbers of the control file.
const COUNT: u64 = 0;
const FROM: u64 = 1;
const WHAT: u64 = 2;
const HAPPENED: u64 = 3;
const CALL: u64 = 4;

/// For runs on a machine that may hold a node up for long: it is not fenced meanwhile, which is another matter.
pub(crate) const LONG_SESSION: (&str, &str) = ("broker.session.timeout.ms", "120000");

/// The command that starts `milena`, under an injector if there is one.
pub(crate) fn start(injector: Option<&Injector>, milena: &Path) -> Command {
    let mut command = Command::new(injector.map_or(milena, |injector| &injector.program));
    if let Some(injector) = injector {
        command.arg(&injector.control).arg(&injector.filter).arg(milena);
    }
    command.arg("start");
    command
}

/// The program, and the file with which it is told.
#[derive(Debug)]
pub(crate) struct Injector {
    program: PathBuf,
    control: PathBuf,
    filter: PathBuf,
    file: File,
}

impl Injector {
    /// Why it cannot be used here, if it cannot.
    pub(crate) fn missing() -> Option<String> {
        (!cfg!(all(target_os = "linux", target_arch = "x86_64"))).then(|| "only on Linux on x86_64".to_owned())
    }

    /// Compiles the program into a node's folder. Only calls to files whose path contains `filter` count.
    pub(crate) fn new(folder: &Path, filter: PathBuf) -> anyhow::Result<Self> {
        let (program, control) = (folder.join("syscalls"), folder.join("control"));
        let mut command = Command::new("gcc");
        command.args(["-O1", "-o"]).arg(&program).arg(layout::source("c").join("syscalls.c"));
        process::succeed(&mut command, &folder.join("gcc"), Duration::from_secs(60)).context("compile syscalls.c")?;
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&control)?;
        file.write_all_at(&[0; 40], 0)?;
        Ok(Self { program, control, filter, file })
    }

    fn get(&self, number: u64) -> anyhow::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, number * 8)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn set(&self, number: u64, value: u64) -> anyhow::Result<()> {
        Ok(self.file.write_all_at(&value.to_le_bytes(), number * 8)?)
    }

    /// Something shall happen `after` calls more.
    pub(crate) fn arm(&self, what: What, after: u64) -> anyhow::Result<()> {
        self.set(FROM, 0)?;
        self.set(WHAT, what as u64)?;
        self.set(HAPPENED, 0)?;
        self.set(FROM, self.get(COUNT)? + 1 + after)
    }

    /// Nothing shall happen any more.
    pub(crate) fn disarm(&self) -> anyhow::Result<()> {
        self.set(FROM, 0)
    }

    /// Whether it has happened, and to which call.
    pub(crate) fn happened(&self) -> anyhow::Result<Option<&'static str>> {
        Ok(if self.get(HAPPENED)? > 0 { Some(name_of(self.get(CALL)?)) } else { None })
    }
}

fn name_of(call: u64) -> &'static str {
    match call {
        18 | 296 | 328 => "write",
        74 | 75 => "sync",
        306 => "syncfs",
        77 => "truncate",
        82 | 264 | 316 => "rename",
        84 | 87 | 263 => "remove",
        83 | 258 => "mkdir",
        257 => "create",
        _ => "another call",
    }
}
