//! Every request is answered once, whatever becomes of the coordinator, unless it dies with the request.

use std::collections::BTreeSet;

use milena_coordinator::runtime::Ticket;

#[derive(Debug, Default)]
pub(crate) struct Answers {
    answered: BTreeSet<Ticket>,
}

impl Answers {
    pub(crate) fn answered(&mut self, ticket: Ticket, is_expected: bool) -> Result<(), String> {
        if !self.answered.insert(ticket) || !is_expected {
            return Err(format!("{ticket:?} is answered twice"));
        }
        Ok(())
    }

    /// The coordinator has ended.
    pub(crate) fn ended(waiting: usize) -> Result<(), String> {
        if waiting > 0 {
            return Err(format!("{waiting} wait for a coordinator that has ended"));
        }
        Ok(())
    }
}
