//! What a bank is for: of each transfer both sides are there or none, they cancel each other out, so that the sum of all accounts is
//! always nothing, and of each order there is one transfer. And what tellers write down, made a history.
//!
//! A side's value is `NAME:AMOUNT`, the name of an order's transfer begins with `ORDER/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, ensure};
use milena_histories::{Operation, Outcome, Rules, What, check, unread};

use crate::lab_clients::TOPIC;

/// The topic of all accounts.
pub(crate) const ACCOUNTS: &str = "bank";

/// Of lines about the same send the last one, at the place of the first one.
pub(crate) fn latest(lines: Vec<Operation>) -> Vec<Operation> {
    let mut sends: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut all: Vec<Operation> = Vec::with_capacity(lines.len());
    for line in lines {
        if line.what != What::Send {
            all.push(line);
            continue;
        }
        let at = *sends.entry((line.key.clone(), line.value.clone())).or_insert(all.len());
        match all.get_mut(at) {
            Some(before) => *before = line,
            None => all.push(line),
        }
    }
    all
}

/// What a reader who read everything has seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    /// Transfers, by what clients were told.
    pub(crate) committed: usize,
    pub(crate) unknown: usize,
    pub(crate) aborted: usize,
    /// Transfers of which both sides were read.
    pub(crate) whole: usize,
    pub(crate) orders: usize,
    pub(crate) wrong: Vec<String>,
}

impl Balance {
    pub(crate) fn of(history: &[Operation], reader: &str) -> Self {
        let mut balance = Self::default();
        let is_account = |one: &&Operation| one.key.starts_with(ACCOUNTS);
        let sends = history.iter().filter(|one| one.what == What::Send).filter(is_account);
        let transfers: BTreeMap<&str, Outcome> = sends.map(|one| (name_of(one), one.outcome)).collect();
        for outcome in transfers.values() {
            *match outcome {
                Outcome::Ok => &mut balance.committed,
                Outcome::Info => &mut balance.unknown,
                Outcome::Fail => &mut balance.aborted,
            } += 1;
        }
        let polls = || history.iter().filter(|one| one.what == What::Poll && one.process == reader);
        let mut sides: BTreeMap<&str, Vec<(&str, i64)>> = BTreeMap::new();
        for one in polls().filter(is_account) {
            sides.entry(name_of(one)).or_default().push((&one.key, amount_of(one)));
        }
        let mut orders: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, found) in &sides {
            match found.as_slice() {
                [(from, taken), (to, given)] if from != to && taken + given == 0 => balance.whole += 1,
                _ => balance.wrong.push(format!("reader {reader}: the sides of {name} are {found:?}")),
            }
            if let Some((order, _)) = name.split_once('/') {
                *orders.entry(order).or_default() += 1;
            }
        }
        let sum: i64 = sides.values().flatten().map(|(_, amount)| amount).sum();
        if sum != 0 {
            balance.wrong.push(format!("reader {reader}: the sum is {sum}"));
        }
        let given: BTreeSet<&str> =
            polls().filter(|one| one.key.starts_with(TOPIC)).map(|one| one.value.as_str()).collect();
        balance.orders = given.len();
        // A reader of the accounts alone knows no orders.
        for order in given.iter().filter(|order| !orders.contains_key(*order)) {
            balance.wrong.push(format!("reader {reader}: there is no transfer of order {order}"));
        }
        for (order, count) in orders.iter().filter(|(_, count)| **count > 1) {
            balance.wrong.push(format!("reader {reader}: order {order} was done {count} times"));
        }
        balance
    }

    /// Whether so little was committed that nothing was tried.
    pub(crate) fn is_void(&self) -> bool {
        self.committed == 0 || self.committed < 3 * (self.committed + self.unknown) / 10 || self.orders == 0
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { committed, unknown, aborted, whole, orders, .. } = self;
        write!(
            f,
            "transfers: {committed} committed, {unknown} unknown, {aborted} aborted; {whole} read, {orders} orders among them"
        )
    }
}

fn name_of(one: &Operation) -> &str {
    one.value.rsplit_once(':').map_or(&one.value, |(name, _)| name)
}

fn amount_of(one: &Operation) -> i64 {
    one.value.rsplit_once(':').and_then(|(_, amount)| amount.parse().ok()).unwrap_or(i64::MAX / 1_000_000)
}

/// The run's own history with mistakes in it, each of which must be found.
pub(crate) fn planted(history: &[Operation], last: &str) -> anyhow::Result<()> {
    const WHOLE: Rules = Rules { is_read_to_the_end: true };
    let is_read = |one: &&Operation| one.what == What::Poll && one.process == last && one.key.starts_with(ACCOUNTS);
    let victim = history.iter().rev().find(is_read).context("a side that was read")?;
    let mut torn = history.to_vec();
    torn.retain(|one| one.what != What::Poll || one.value != victim.value || one.key != victim.key);
    ensure!(!check(&torn, WHOLE).is_legal() || !unread(&torn, last).is_empty(), "a torn transfer was not found");
    ensure!(!Balance::of(&torn, last).wrong.is_empty(), "the sum of a torn transfer was not found");
    let aborted = history.iter().find(|one| {
        one.what == What::Send && one.outcome == Outcome::Fail && one.offset.is_some() && one.key.starts_with(ACCOUNTS)
    });
    let aborted = aborted.context("a transfer that was aborted")?;
    let process = last.to_owned();
    let read = Operation { what: What::Poll, process, outcome: Outcome::Ok, transaction: None, ..aborted.clone() };
    let twice = Operation { offset: victim.offset.map(|offset| offset + 1), ..victim.clone() };
    let changed = Operation { value: format!("{}0", victim.value), ..victim.clone() };
    for (what, one) in [("an aborted side", read), ("a side that is there twice", twice), ("a changed amount", changed)]
    {
        let mut spoiled = history.to_vec();
        spoiled.push(one);
        ensure!(!check(&spoiled, WHOLE).is_legal(), "{what} was not found");
        ensure!(!Balance::of(&spoiled, last).wrong.is_empty(), "the sum did not notice {what}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use milena_histories::parse;

    use super::{Balance, latest, planted};

    const GOOD: &str = "send a ok bank-0 0 a.1:-5 1 a.1\nsend a ok bank-1 0 a.1:5 1 a.1\n\
                        send a fail bank-0 2 a.2:-7 2 a.2\nsend a fail bank-1 2 a.2:7 2 a.2\n\
                        send b info bank-0 -1 101/b.1:-9 3 b.1\nsend b info bank-1 -1 101/b.1:9 3 b.1\n\
                        send 1 ok lab-0 0 101 1\npoll 9 ok lab-0 0 101 4\n\
                        poll 9 ok bank-0 0 a.1:-5 5\npoll 9 ok bank-0 4 101/b.1:-9 5\n\
                        poll 9 ok bank-1 0 a.1:5 6\npoll 9 ok bank-1 4 101/b.1:9 6\n";

    fn wrong(text: &str) -> Vec<String> {
        Balance::of(&parse(&text.replace(' ', "\t")).expect("a history"), "9").wrong
    }

    #[test]
    fn a_good_history_is_balanced_and_every_planted_mistake_is_found() {
        let history = parse(&GOOD.replace(' ', "\t")).expect("a history");
        let balance = Balance::of(&history, "9");
        let expected = Balance { committed: 1, unknown: 1, aborted: 1, whole: 2, orders: 1, wrong: Vec::new() };
        assert_eq!(balance, expected);
        planted(&history, "9").expect("all are found");
    }

    #[test]
    fn a_torn_transfer_an_order_done_twice_and_one_not_done_are_wrong() {
        let torn = GOOD.replace("poll 9 ok bank-1 0 a.1:5 6\n", "");
        assert_eq!(wrong(&torn), ["reader 9: the sides of a.1 are [(\"bank-0\", -5)]", "reader 9: the sum is -5"]);
        let twice = format!("{GOOD}poll 9 ok bank-0 6 101/b.2:-9 7\npoll 9 ok bank-1 6 101/b.2:9 7\n");
        assert_eq!(wrong(&twice), ["reader 9: order 101 was done 2 times"]);
        let forgotten = format!("{GOOD}poll 9 ok lab-0 1 102 7\n");
        assert_eq!(wrong(&forgotten), ["reader 9: there is no transfer of order 102"]);
    }

    #[test]
    fn the_last_line_about_a_send_holds_at_the_place_of_the_first() {
        let lines = "send a fail bank-0 -1 a.1:5 1 a.1\nsend a fail bank-1 -1 a.1:-5 1 a.1\nseek a ok - -1 - 2\n\
                     send a ok bank-0 3 a.1:5 3 a.1\n";
        let history = latest(parse(&lines.replace(' ', "\t")).expect("a history"));
        let told: Vec<String> = history.iter().map(|one| one.to_string().replace('\t', " ")).collect();
        assert_eq!(
            told,
            ["send a ok bank-0 3 a.1:5 3 a.1", "send a fail bank-1 -1 a.1:-5 1 a.1", "seek a ok - -1 - 2"]
        );
    }
}
