//! Whether the node lives, and whether it serves.

use axum::extract::State;
use axum::response::Json;
use serde::Serialize;

use crate::error::{ApiError, Code};
use crate::node::Node;

/// One word.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    status: &'static str,
}

pub(crate) async fn alive() -> Json<Status> {
    Json(Status { status: "ok" })
}

pub(crate) async fn ready<N: Node>(State(node): State<N>) -> Result<Json<Status>, ApiError> {
    if node.info().await.serving {
        Ok(Json(Status { status: "ready" }))
    } else {
        Err(ApiError::new(Code::NotReady, "this node was started for one command only"))
    }
}
