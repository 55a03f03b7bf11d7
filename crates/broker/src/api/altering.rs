//! What AlterConfigs and IncrementalAlterConfigs have in common: the broker checks what concerns itself
//! (`config_checks`), the controller decides the rest, and what either refused is answered together.

use crate::call::{Call, Outcome};
use crate::config_checks::{AskedResource, Style, check};
use crate::controller_handle::ForController;
use milena_controller::ApiError;
use milena_protocol::{Message, Text};
use milena_types::ErrorCode;

/// A request that changes configs.
pub(super) trait Altering: Message + ForController {
    /// One resource of it.
    type Resource: Clone + Send + 'static;
    /// The answer for one resource.
    type Answered: Send + 'static;

    const STYLE: Style;

    fn resources(&mut self) -> &mut Vec<Self::Resource>;
    fn asked(resource: &Self::Resource) -> AskedResource<'_>;
    fn answered(resource: &Self::Resource, error_code: i16, error_message: Option<Text>) -> Self::Answered;
    fn answers(response: Self::Response) -> Vec<Self::Answered>;
    fn response(answers: Vec<Self::Answered>) -> Self::Response;
}

pub(super) fn handle<R: Altering>(call: &mut Call<'_, '_>) -> Outcome
where
    R::Response: Message,
{
    let Ok(mut request) = call.decode::<R>() else { return Outcome::Close };
    let resources = std::mem::take(request.resources());
    let asked: Vec<AskedResource<'_>> = resources.iter().map(R::asked).collect();
    let outcomes = check(&asked, R::STYLE, &call.broker.image(), &call.broker.settings);
    let (mut answers, mut waiting) = (Vec::new(), Vec::new());
    for (outcome, resource) in outcomes.into_iter().zip(&resources) {
        match outcome {
            Some(outcome) => answers.push(answer::<R>(resource, outcome)),
            None => waiting.push(resource.clone()),
        }
    }
    if waiting.is_empty() {
        return call.answer(&R::response(answers));
    }
    request.resources().clone_from(&waiting);
    call.forward(request, move |result| {
        answers.extend(match result {
            Ok(response) => R::answers(response),
            Err(error) => waiting.iter().map(|resource| answer::<R>(resource, Err(error.into()))).collect(),
        });
        R::response(answers)
    })
}

fn answer<R: Altering>(resource: &R::Resource, outcome: Result<(), ApiError>) -> R::Answered {
    match outcome {
        Ok(()) => R::answered(resource, ErrorCode::NONE.0, None),
        Err(error) => R::answered(resource, error.error.0, error.text()),
    }
}

/// Says how a request and its answer, which have the same fields in both kinds, are read and made.
macro_rules! altering {
    ($style:expr, $request:ident, $response:ident, $asked:ident, $answered:ident, $operation:expr) => {
        impl Altering for $request {
            type Resource = $asked::AlterConfigsResource;
            type Answered = $answered::AlterConfigsResourceResponse;

            const STYLE: Style = $style;

            fn resources(&mut self) -> &mut Vec<Self::Resource> {
                &mut self.resources
            }

            fn asked(resource: &Self::Resource) -> AskedResource<'_> {
                let operation: fn(&$asked::AlterableConfig) -> i8 = $operation;
                AskedResource {
                    kind: resource.resource_type,
                    name: &resource.resource_name,
                    configs: resource
                        .configs
                        .iter()
                        .map(|config| AskedConfig {
                            name: &config.name,
                            operation: operation(config),
                            value: config.value.as_ref(),
                        })
                        .collect(),
                }
            }

            fn answered(resource: &Self::Resource, error_code: i16, error_message: Option<Text>) -> Self::Answered {
                let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
                Self::Answered { error_code, error_message, resource_type, resource_name, ..Default::default() }
            }

            fn answers(response: $response) -> Vec<Self::Answered> {
                response.responses
            }

            fn response(responses: Vec<Self::Answered>) -> $response {
                $response { responses, ..Default::default() }
            }
        }
    };
}
pub(super) use altering;
