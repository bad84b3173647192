//! Numbers over time, as columns for charts.

use axum::extract::State;
use axum::response::Json;
use miner_ctrl_protocol::{Measure, MinerName};
use serde::Deserialize;

use crate::error::ApiError;
use crate::extract::{Path, Query, invalid};
use crate::node::{History, HistoryQuery, Node};

/// Which numbers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    miner: Option<MinerName>,
    /// Left out, the hashrate.
    #[serde(default)]
    measure: Measure,
    since: Option<u64>,
    step: Option<u64>,
}

/// Which sums.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhichSums {
    since: Option<u64>,
    step: Option<u64>,
}

pub(crate) async fn fleet<N: Node>(
    State(node): State<N>,
    Query(WhichSums { since, step }): Query<WhichSums>,
) -> Result<Json<History>, ApiError> {
    known(step)?;
    Ok(Json(node.fleet_history(HistoryQuery { since, step, ..HistoryQuery::default() }).await?))
}

pub(crate) async fn show<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    Query(Which { miner, measure, since, step }): Query<Which>,
) -> Result<Json<History>, ApiError> {
    known(step)?;
    Ok(Json(node.history(&peer, HistoryQuery { miner, measure, since, step }).await?))
}

fn known(step: Option<u64>) -> Result<(), ApiError> {
    if step.is_some_and(|step| !History::STEPS.contains(&step)) {
        return Err(invalid("", "step", "is 10, 60 or 900 seconds"));
    }
    Ok(())
}
