//! Whether the node lives, and whether it serves.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use schemars::JsonSchema;
use serde::Serialize;

use crate::contract::{Operation, Routes};
use crate::error::{ApiError, Code};
use crate::node::Node;

/// One word.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Status {
    /// `ok`, or `ready`.
    status: &'static str,
}

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<N> {
    Routes::of("node")
        .get(
            "/health",
            alive,
            Operation::new("health", "Whether the node lives").answers::<Status>(StatusCode::OK, "It lives."),
        )
        .get(
            "/ready",
            ready::<N>,
            Operation::new("ready", "Whether the node serves peers, and not one command only")
                .answers::<Status>(StatusCode::OK, "It serves.")
                .fails(&[Code::NotReady]),
        )
}

async fn alive() -> Json<Status> {
    Json(Status { status: "ok" })
}

async fn ready<N: Node>(State(node): State<N>) -> Result<Json<Status>, ApiError> {
    if node.info().await.serving {
        Ok(Json(Status { status: "ready" }))
    } else {
        Err(ApiError::new(Code::NotReady, "this node was started for one command only"))
    }
}
