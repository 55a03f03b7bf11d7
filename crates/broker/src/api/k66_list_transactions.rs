//! ListTransactions, versions 0 to 2 (KIP-664): the transactional ids of all coordinators here that pass the filters: state,
//! producer id, from version 1 duration, from version 2 a pattern (KIP-1152). Kafka:
//! `KafkaApis.handleListTransactionsRequest`, `TransactionStateManager.listTransactionStates`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::transaction::ListFilter;
use milena_protocol::ApiKey;
use milena_protocol::Text;
use milena_protocol::messages::list_transactions_response::TransactionState;
use milena_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::LIST_TRANSACTIONS, lane: Lane::Coordinator, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ListTransactionsRequest>() else { return Outcome::Close };
    let filter = ListFilter {
        states: request.state_filters.iter().map(Text::detached).collect(),
        producer_ids: request.producer_id_filters,
        duration_ms: request.duration_filter,
        pattern: request.transactional_id_pattern.as_ref().map(Text::detached),
    };
    let Some(later) = call.park() else { return Outcome::Close };
    let broker = Arc::clone(call.broker);
    let unknown_state_filters = filter.unknown_states();
    broker.transactions().list(&filter, move |listed| {
        later.answer(&match listed {
            Ok(listed) => ListTransactionsResponse {
                unknown_state_filters,
                transaction_states: listed
                    .into_iter()
                    .map(|(transactional_id, producer_id, state)| TransactionState {
                        transactional_id,
                        producer_id: producer_id.0,
                        transaction_state: Text::from_static(state),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            },
            Err(error) => ListTransactionsResponse { error_code: error.0, ..Default::default() },
        });
    });
    Outcome::Pending
}
