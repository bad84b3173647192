//! Live events.

use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::access::Caller;
use crate::error::ApiError;
use crate::extract::{Query, invalid};
use crate::gateway::Gateway;
use crate::live::Topics;
use crate::node::Node;

/// Which events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    topics: Option<String>,
}

pub(crate) async fn listen<N: Node>(
    State(gateway): State<Gateway<N>>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Response, ApiError> {
    let body = gateway.live().open(gateway.access(), caller, which.parsed()?).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // A proxy that gathers an answer before it passes it on would gather for ever.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

impl Which {
    fn parsed(&self) -> Result<Topics, ApiError> {
        let Some(text) = &self.topics else { return Ok(Topics { activity: true, fleet: true, pairing: true }) };
        let mut topics = Topics { activity: false, fleet: false, pairing: false };
        for word in text.split(',') {
            match word {
                "activity" => topics.activity = true,
                "fleet" => topics.fleet = true,
                "pairing" => topics.pairing = true,
                _ => return Err(invalid("", "topics", "is a list of activity, fleet, pairing")),
            }
        }
        Ok(topics)
    }
}
