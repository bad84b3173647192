//! Live events.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::access::Caller;
use crate::contract::{Operation, Routes};
use crate::error::{ApiError, Code};
use crate::extract::{Query, invalid};
use crate::gateway::Gateway;
use crate::gzip;
use crate::live::Topics;
use crate::node::Node;

/// Which events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Some of `activity`, `fleet`, `jobs`, `pairing`, parted by commas; left out, all.
    #[schemars(regex(pattern = "^(activity|fleet|jobs|pairing)(,(activity|fleet|jobs|pairing))*$"))]
    topics: Option<String>,
    /// Whether it is sent uncompressed, whatever `Accept-Encoding` says: for who can't read gzip piece by piece, or asks through
    /// something that keeps compressed pieces back.
    #[serde(default)]
    plain: bool,
}

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<Gateway<N>> {
    Routes::of("activity").get(
        "/events",
        listen::<N>,
        Operation::new("listen", "Live events (server-sent): rigs and jobs as they change, writes, pairing requests")
            .notes("Each event is an id, a name and one line of JSON, whose schema the name tells.")
            .query::<Which>()
            .answers_text("text/event-stream", "The stream goes on until it is closed.")
            .fails(&[Code::TooManyStreams]),
    )
}

async fn listen<N: Node>(
    State(gateway): State<Gateway<N>>,
    caller: Caller,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Result<Response, ApiError> {
    let gzip = !which.plain && gzip::is_taken(&headers);
    let body = gateway.live().open(gateway.access(), caller, which.parsed()?, gzip).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::VARY, "accept-encoding"),
        // A proxy that gathers an answer before it passes it on would gather for ever.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let encoding = gzip.then_some([(header::CONTENT_ENCODING, "gzip")]);
    Ok((headers, encoding, body).into_response())
}

impl Which {
    fn parsed(&self) -> Result<Topics, ApiError> {
        let Some(text) = &self.topics else {
            return Ok(Topics { activity: true, fleet: true, jobs: true, pairing: true });
        };
        let mut topics = Topics { activity: false, fleet: false, jobs: false, pairing: false };
        for word in text.split(',') {
            match word {
                "activity" => topics.activity = true,
                "fleet" => topics.fleet = true,
                "jobs" => topics.jobs = true,
                "pairing" => topics.pairing = true,
                _ => return Err(invalid("", "topics", "is a list of activity, fleet, jobs, pairing")),
            }
        }
        Ok(topics)
    }
}
