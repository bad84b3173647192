//! This node.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::access::Caller;
use crate::activity::About;
use crate::contract::{Operation, Routes};
use crate::error::{ApiError, Code};
use crate::extract;
use crate::gateway::Gateway;
use crate::node::{InitNode, Initialised, Node, NodeInfo};

/// A new pairing code.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PairingCode {
    /// For the one node that shall pair next, e.g. `7KQ2-M9XD`.
    code: String,
}

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<Gateway<N>> {
    Routes::of("node")
        .get(
            "/node/info",
            info::<N>,
            Operation::new("nodeInfo", "This node")
                .notes("The pairing code is shown to the scope `admin` alone: it lets a controller in.")
                .answers::<NodeInfo>(StatusCode::OK, "This node."),
        )
        .post(
            "/node/init",
            init::<N>,
            Operation::new("initNode", "Names a node that was never named, and says what it is for")
                .notes("As `miner-ctrl node init`, for a node that runs already: it goes by it from its next start on.")
                .takes::<InitNode>(json!({ "name": "control-center", "role": "controller" }))
                .answers::<Initialised>(StatusCode::OK, "It is named so, or was already.")
                .fails(&[Code::Conflict]),
        )
        .post(
            "/node/pairing-code",
            pairing_code::<N>,
            Operation::new("newPairingCode", "Shows a new pairing code in place of the one before")
                .answers::<PairingCode>(StatusCode::OK, "The code; it pairs one node, within 1 h.")
                .fails(&[Code::PairingFailed]),
        )
}

/// The pairing code lets a controller in: who may only look does not see it.
async fn info<N: Node>(State(gateway): State<Gateway<N>>, caller: Caller) -> Json<NodeInfo> {
    let mut info = gateway.complete(gateway.node().info().await);
    info.pairing_code.take_if(|_| !caller.is_admin());
    Json(info)
}

async fn init<N: Node>(
    State(gateway): State<Gateway<N>>,
    extract::Json(body): extract::Json<InitNode>,
) -> Result<(About, Json<Initialised>), ApiError> {
    let name = body.name.to_string();
    let done = gateway.node().init(body).await.map_err(|error| ApiError::from(error).about(&name))?;
    Ok((About { target: Some(name), detail: Some(done.role.to_string()) }, Json(done)))
}

async fn pairing_code<N: Node>(State(gateway): State<Gateway<N>>) -> Result<Json<PairingCode>, ApiError> {
    Ok(Json(PairingCode { code: gateway.node().pairing_code().await? }))
}
