//! Numbers over time, as columns for charts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use miner_ctrl_protocol::{Measure, MinerName};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::contract::{Operation, Routes, shape};
use crate::error::{ApiError, Code};
use crate::extract::{Path, Query, invalid};
use crate::node::{History, HistoryQuery, Node};

/// Which numbers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Of this miner; left out, of all.
    #[schemars(with = "Option<shape::MinerName>")]
    miner: Option<MinerName>,
    /// Left out, the hashrate.
    #[schemars(with = "shape::Measure")]
    #[serde(default)]
    measure: Measure,
    /// From this Unix time on, seconds; left out, of the last day.
    since: Option<u64>,
    /// Seconds from one number to the next; left out, as a chart needs it.
    #[schemars(extend("enum" = History::STEPS))]
    step: Option<u64>,
}

/// Which sums.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhichSums {
    /// From this Unix time on, seconds; left out, of the last day.
    since: Option<u64>,
    /// Seconds from one number to the next; left out, as a chart needs it.
    #[schemars(extend("enum" = History::STEPS))]
    step: Option<u64>,
}

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<N> {
    Routes::of("history")
        .get(
            "/history",
            fleet::<N>,
            Operation::new("fleetHistory", "Hashrates of all rigs over time, summed by algorithm")
                .query::<WhichSums>()
                .answers::<History>(StatusCode::OK, "One series for each algorithm; null where nothing is known."),
        )
        .get(
            "/history/{peer}",
            show::<N>,
            Operation::new("history", "Hashrates of a rig over time, as columns for charts")
                .query::<Which>()
                .answers::<History>(
                    StatusCode::OK,
                    "One series for each miner; null where nothing is known, and none of a miner of which nothing is.",
                )
                .fails(&[Code::AmbiguousPeer, Code::UnknownPeer]),
        )
}

async fn fleet<N: Node>(
    State(node): State<N>,
    Query(WhichSums { since, step }): Query<WhichSums>,
) -> Result<Json<History>, ApiError> {
    known(step)?;
    Ok(Json(node.fleet_history(HistoryQuery { since, step, ..HistoryQuery::default() }).await?))
}

async fn show<N: Node>(
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
