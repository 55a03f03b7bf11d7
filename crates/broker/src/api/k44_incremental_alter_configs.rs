//! IncrementalAlterConfigs (KIP-339), versions 0 and 1: sets, deletes, appends to and subtracts from single keys. See
//! `altering`. Kafka: `KafkaApis.handleIncrementalAlterConfigsRequest`.

use super::altering::{self, Altering, altering};
use super::{Api, Lane};
use crate::config_checks::{AskedConfig, AskedResource, Style};
use milena_protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, incremental_alter_configs_request,
    incremental_alter_configs_response,
};
use milena_protocol::{ApiKey, Text};

/// The row of the table.
pub(crate) const API: Api = Api {
    key: ApiKey::INCREMENTAL_ALTER_CONFIGS,
    lane: Lane::Controller,
    handle: altering::handle::<IncrementalAlterConfigsRequest>,
};

altering!(
    Style::Incremental,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    incremental_alter_configs_request,
    incremental_alter_configs_response,
    |config| config.config_operation
);
