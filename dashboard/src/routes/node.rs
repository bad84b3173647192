//! This node.

use axum::extract::State;
use axum::response::Json;
use serde::Serialize;

use crate::access::Caller;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::node::{Node, NodeInfo};

/// A new pairing code.
#[derive(Debug, Serialize)]
pub(crate) struct PairingCode {
    code: String,
}

/// The pairing code lets a controller in: who may only look does not see it.
pub(crate) async fn info<N: Node>(State(gateway): State<Gateway<N>>, caller: Caller) -> Json<NodeInfo> {
    let mut info = gateway.node().info().await;
    (info.dashboard, info.certificate) = (gateway.page(), gateway.certificate());
    info.pairing_code.take_if(|_| !caller.is_admin());
    Json(info)
}

pub(crate) async fn pairing_code<N: Node>(State(node): State<N>) -> Result<Json<PairingCode>, ApiError> {
    Ok(Json(PairingCode { code: node.pairing_code().await? }))
}
