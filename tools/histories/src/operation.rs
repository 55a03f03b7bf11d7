//! One line of a history, separated by tabs: what (`send`, `poll`, `seek`), process, outcome (`ok`, `fail`, `info`), key (a
//! topic's partition), offset (-1 if it is not known), value, nanoseconds, and, if it was in one, the transaction. Empty
//! lines and lines that begin with `#` say nothing. Lines are in the order in which a process did things.
//!
//! Values are unique in a key. All lines of a transaction have its outcome: `ok` committed, `fail` aborted, `info` nobody
//! was told. Records of one poll outside of a transaction have the same time. `seek` says that the process goes on
//! reading the key (`-`: every key) somewhere else: by a rebalance, a restart, or after an abort.

use std::fmt;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Send,
    Poll,
    Seek,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened.
    Info,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub what: What,
    pub process: String,
    pub outcome: Outcome,
    pub key: String,
    pub offset: Option<i64>,
    pub value: String,
    pub at_ns: i128,
    pub transaction: Option<String>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Send => "send",
            What::Poll => "poll",
            What::Seek => "seek",
        };
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
        };
        let Operation { process, key, offset, value, at_ns, transaction, .. } = self;
        write!(f, "{what}\t{process}\t{outcome}\t{key}\t{}\t{value}\t{at_ns}", offset.unwrap_or(-1))?;
        transaction.iter().try_for_each(|transaction| write!(f, "\t{transaction}"))
    }
}

/// A line that is none.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
    pub text: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is no operation: {}", self.line, self.text)
    }
}

impl std::error::Error for Malformed {}

/// Reads a history.
///
/// # Errors
/// The first line that is no operation.
pub fn parse(text: &str) -> Result<Vec<Operation>, Malformed> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(at, line)| operation(line).ok_or_else(|| Malformed { line: at + 1, text: line.to_owned() })).collect()
}

fn operation(line: &str) -> Option<Operation> {
    let mut columns = line.split('\t');
    let what = match columns.next()? {
        "send" => What::Send,
        "poll" => What::Poll,
        "seek" => What::Seek,
        _ => return None,
    };
    let process = columns.next()?.to_owned();
    let outcome = match columns.next()? {
        "ok" => Outcome::Ok,
        "fail" => Outcome::Fail,
        "info" => Outcome::Info,
        _ => return None,
    };
    let key = columns.next()?.to_owned();
    let offset = Some(columns.next()?.parse().ok()?).filter(|offset| *offset >= 0);
    let value = columns.next()?.to_owned();
    let at_ns = columns.next()?.parse().ok()?;
    let transaction = columns.next().map(str::to_owned);
    columns.next().is_none().then_some(Operation { what, process, outcome, key, offset, value, at_ns, transaction })
}
