//! One operation of one client, one line of text: the format of all histories.

use std::fmt;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A record is written.
    Send,
    /// A record is read.
    Poll,
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

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub what: What,
    pub process: u64,
    pub outcome: Outcome,
    /// The partition.
    pub key: String,
    /// -1 where it is not known.
    pub offset: i64,
    /// Written once to a partition.
    pub value: u64,
    /// When it was over.
    pub at_ns: i128,
}

impl fmt::Display for Operation {
    /// Tab-separated: op, process, type, key, offset, value, nanoseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Send => "send",
            What::Poll => "poll",
        };
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
        };
        let Self { process, key, offset, value, at_ns, .. } = self;
        write!(f, "{what}\t{process}\t{outcome}\t{key}\t{offset}\t{value}\t{at_ns}")
    }
}

/// The operations of a text; lines that begin with `#` are no operations, and neither is a last line without an end.
///
/// # Errors
///
/// The first line that is none of these.
pub fn parse(text: &str) -> Result<Vec<Operation>, String> {
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let lines = whole.map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| operation(line).ok_or_else(|| format!("no operation: {line}"))).collect()
}

fn operation(line: &str) -> Option<Operation> {
    let mut words = line.split('\t');
    let what = match words.next()? {
        "send" => What::Send,
        "poll" => What::Poll,
        _ => return None,
    };
    let process = words.next()?.parse().ok()?;
    let outcome = match words.next()? {
        "ok" => Outcome::Ok,
        "fail" => Outcome::Fail,
        "info" => Outcome::Info,
        _ => return None,
    };
    let key = words.next()?.to_owned();
    let (offset, value) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let at_ns = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Operation { what, process, outcome, key, offset, value, at_ns })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_operation_is_read_as_it_is_written() {
        let text = "send\t3\tinfo\tt-0\t-1\t17\t5\npoll\t4\tok\tt-0\t9\t17\t6\n";
        let found = parse(&format!("# noise\n{text}poll\t4\tok\tt-0\t1")).expect("a history");
        assert_eq!(found.iter().map(|one| format!("{one}\n")).collect::<String>(), text);
    }

    #[test]
    fn what_is_no_operation_is_an_error() {
        assert!(parse("send\t3\tmaybe\tt-0\t-1\t17\t5\n").is_err());
        assert!(parse("send\t3\tok\tt-0\t-1\t17\t5\t6\n").is_err());
    }
}
