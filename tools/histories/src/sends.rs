//! In which order what a process sends lands: as it was sent.

use std::collections::BTreeMap;

use crate::anomaly::{Anomaly, Report};
use crate::index::Index;
use crate::operation::{Operation, What};

pub(crate) fn check(index: &Index<'_>, report: &mut Report) {
    let mut last: BTreeMap<(&str, &str), (&Operation, i64)> = BTreeMap::new();
    for one in index.history.iter().filter(|one| one.what == What::Send && index.is_committed(one)) {
        let Some(offset) = index.offset_of(one) else { continue };
        let Some((before, before_offset)) = last.insert((&one.process, &one.key), (one, offset)) else { continue };
        if before.value == one.value {
            continue;
        }
        let is_same = one.transaction.is_some() && before.transaction == one.transaction;
        let anomaly = if offset < before_offset {
            if is_same { Anomaly::IntNonmonotonicSend } else { Anomaly::NonmonotonicSend }
        } else if is_same && index.between(&one.key, before_offset, offset) > 0 {
            Anomaly::IntSendSkip
        } else {
            continue;
        };
        report.add(anomaly, format!("{one} after {before_offset}"));
    }
}
