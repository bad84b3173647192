//! This node.

use axum::extract::State;
use axum::response::Json;
use serde::Serialize;

use crate::error::ApiError;
use crate::node::{Node, NodeInfo};

/// A new pairing code.
#[derive(Debug, Serialize)]
pub(crate) struct PairingCode {
    code: String,
}

pub(crate) async fn info<N: Node>(State(node): State<N>) -> Json<NodeInfo> {
    Json(node.info().await)
}

pub(crate) async fn pairing_code<N: Node>(State(node): State<N>) -> Result<Json<PairingCode>, ApiError> {
    Ok(Json(PairingCode { code: node.pairing_code().await? }))
}
