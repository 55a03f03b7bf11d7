//! Produce, versions 3 to 13: `acks` 0, 1 and all, idempotent sequences, topic ids from version 13 (KIP-516), the current
//! leader from version 10 (KIP-951), errors of single records from version 8 (KIP-467). The work is in
//! `partitions/append`: dispatch collects what one read brought, so a single request comes here only from elsewhere.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::PRODUCE, lane: Lane::Partition, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    call.append_alone()
}
