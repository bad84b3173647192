//! Hashrates over time, as columns for charts.

use axum::extract::State;
use axum::response::Json;
use miner_ctrl_protocol::MinerName;
use serde::Deserialize;

use crate::error::ApiError;
use crate::extract::{Path, Query, invalid};
use crate::node::{History, HistoryQuery, Node};

/// Which numbers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    miner: Option<MinerName>,
    since: Option<u64>,
    step: Option<u64>,
}

pub(crate) async fn show<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    Query(Which { miner, since, step }): Query<Which>,
) -> Result<Json<History>, ApiError> {
    if step.is_some_and(|step| !History::STEPS.contains(&step)) {
        return Err(invalid("", "step", "is 10, 60 or 900 seconds"));
    }
    Ok(Json(node.history(&peer, HistoryQuery { miner, since, step }).await?))
}
