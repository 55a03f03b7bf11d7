//! AlterConfigs (KIP-133), versions 0 to 2: replaces all dynamic configs of a resource. See `altering`.
//! Kafka: `KafkaApis.handleAlterConfigsRequest`.

use super::altering::{self, Altering, altering};
use super::{Api, Lane};
use crate::config_checks::{AskedConfig, AskedResource, Style};
use milena_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, alter_configs_request, alter_configs_response,
};
use milena_protocol::{ApiKey, Text};

/// The row of the table.
pub(crate) const API: Api =
    Api { key: ApiKey::ALTER_CONFIGS, lane: Lane::Controller, handle: altering::handle::<AlterConfigsRequest> };

/// Every key of the request is set.
const SET: i8 = 0;

altering!(
    Style::Replace,
    AlterConfigsRequest,
    AlterConfigsResponse,
    alter_configs_request,
    alter_configs_response,
    |_| SET
);
