//! DescribeConfigs (KIP-133, KIP-226, KIP-569), versions 1 to 4: answered from the image and this broker's own
//! configuration (`describe_configs`). Version 3 adds types; documentation is always null. Kafka: `ConfigHelper`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::describe_configs::ConfigView;
use milena_protocol::ApiKey;
use milena_protocol::messages::DescribeConfigsRequest;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DESCRIBE_CONFIGS, lane: Lane::Inline, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DescribeConfigsRequest>() else { return Outcome::Close };
    let image = call.broker.image();
    let settings = &call.broker.settings;
    let response = ConfigView::new(&image, settings.node_id, &settings.config_texts).describe(&request);
    call.answer(&response)
}
