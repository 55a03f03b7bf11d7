//! What clients and readers did, as a history that `milena-histories` checks.

use milena_histories::{Operation, Outcome, Rules, What, check};
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct History {
    operations: Vec<Operation>,
    /// The transfer of each operation that sends.
    transfers: BTreeMap<usize, u64>,
}

fn key_of(partition: usize) -> String {
    format!("accounts-{partition}")
}

impl History {
    /// A client begins to write the sides of a transfer.
    pub(crate) fn send(&mut self, client: usize, incarnation: u64, transfer: u64, partitions: [usize; 2]) {
        for partition in partitions {
            self.transfers.insert(self.operations.len(), transfer);
            self.operations.push(Operation {
                what: What::Send,
                process: format!("client-{client}.{incarnation}"),
                outcome: Outcome::Info,
                key: key_of(partition),
                offset: None,
                value: transfer.to_string(),
                at_ns: self.operations.len() as i128,
                transaction: Some(transfer.to_string()),
            });
        }
    }

    /// A partition's reader sees one side.
    pub(crate) fn poll(&mut self, partition: usize, offset: i64, transfer: u64) {
        self.operations.push(Operation {
            what: What::Poll,
            process: format!("reader-{partition}"),
            outcome: Outcome::Ok,
            key: key_of(partition),
            offset: Some(offset),
            value: transfer.to_string(),
            at_ns: self.operations.len() as i128,
            transaction: None,
        });
    }

    /// Checks it with what clients were told in the end.
    pub(crate) fn check(&mut self, told: &BTreeMap<u64, Option<bool>>) -> Result<(), String> {
        for (at, transfer) in &self.transfers {
            self.operations[*at].outcome = match told.get(transfer) {
                Some(Some(true)) => Outcome::Ok,
                Some(Some(false)) => Outcome::Fail,
                _ => Outcome::Info,
            };
        }
        let report = check(&self.operations, Rules { is_read_to_the_end: true });
        if report.is_legal() { Ok(()) } else { Err(report.to_string()) }
    }
}
