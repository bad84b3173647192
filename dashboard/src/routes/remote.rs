//! Rigs, and what their miners are told.

use axum::extract::State;
use axum::response::Json;
use miner_ctrl_protocol::message::{LogPage, MAX_LOG_LINES, MAX_WAIT_SECONDS, MinerChoice, ProfileChoice};
use miner_ctrl_protocol::{MinerName, ProfileName};
use serde::Deserialize;
use serde_json::Value;

use crate::activity::About;
use crate::error::ApiError;
use crate::extract::{self, MaybeJson, Path, Query, invalid};
use crate::node::{DeployOutcome, LogQuery, MinerCommand, MinerOutcome, Node, RigView};
use crate::routes::profiles;

/// Lines in a page when nobody says how many: a screen or two.
const DEFAULT_LOG_LINES: u32 = 100;

/// What to start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// A name, or a whole profile.
    profile: Value,
    miner: Option<MinerName>,
    from: Option<Source>,
}

/// Whose profile a name means. Without a word it is the rig's own: that is what the rig's operator has checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Here,
    Rig,
}

/// What to stop; nothing said, the only one there is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    miner: Option<MinerName>,
    #[serde(default)]
    all: bool,
}

/// What to restart; nothing said, the only one there is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    miner: Option<MinerName>,
}

/// What to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deploy {
    profile: ProfileName,
}

/// Which lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lines {
    lines: Option<u32>,
    after: Option<u64>,
    wait: Option<u32>,
}

pub(crate) async fn rigs<N: Node>(State(node): State<N>) -> Json<Vec<RigView>> {
    Json(node.rigs().await)
}

pub(crate) async fn rig<N: Node>(State(node): State<N>, Path(peer): Path<String>) -> Result<Json<RigView>, ApiError> {
    Ok(Json(node.rig(&peer).await?))
}

pub(crate) async fn start<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    extract::Json(start): extract::Json<Start>,
) -> Result<(About, Json<MinerOutcome>), ApiError> {
    let profile = match (start.profile, start.from) {
        (Value::String(name), from) => {
            let name: ProfileName =
                name.parse().map_err(|error| invalid("", "profile", format!("is no profile name: {error}")))?;
            match from {
                None | Some(Source::Rig) => ProfileChoice::Stored(name),
                Some(Source::Here) => ProfileChoice::Inline(Box::new(node.profile(&name).await?)),
            }
        }
        (_, Some(_)) => return Err(invalid("", "from", "goes with the name of a profile, not with a whole one")),
        (inline, None) => {
            let draft = extract::profile("profile", inline)?;
            profiles::refuse_placeholder("profile", &draft)?;
            ProfileChoice::Inline(Box::new(draft))
        }
    };
    let name = match &profile {
        ProfileChoice::Inline(draft) => draft.name.to_string(),
        ProfileChoice::Stored(name) => name.to_string(),
    };
    let outcome = node.command(&peer, MinerCommand::Start { profile, miner: start.miner }).await?;
    Ok(told(format!("profile {name}, "), outcome))
}

pub(crate) async fn stop<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    MaybeJson(stop): MaybeJson<Stop>,
) -> Result<(About, Json<MinerOutcome>), ApiError> {
    let choice = match (stop.miner, stop.all) {
        (Some(_), true) => return Err(invalid("", "all", "and miner are both given: keep one")),
        (Some(miner), false) => MinerChoice::Named(miner),
        (None, true) => MinerChoice::All,
        (None, false) => MinerChoice::Only,
    };
    Ok(told(String::new(), node.command(&peer, MinerCommand::Stop(choice)).await?))
}

pub(crate) async fn restart<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    MaybeJson(restart): MaybeJson<Restart>,
) -> Result<(About, Json<MinerOutcome>), ApiError> {
    Ok(told(String::new(), node.command(&peer, MinerCommand::Restart(restart.miner)).await?))
}

pub(crate) async fn deploy<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    extract::Json(deploy): extract::Json<Deploy>,
) -> Result<(About, Json<DeployOutcome>), ApiError> {
    let outcome = node.deploy(&peer, &deploy.profile).await?;
    let detail = format!("profile {}", outcome.profile);
    Ok((About { target: Some(outcome.rig.to_string()), detail: Some(detail) }, Json(outcome)))
}

pub(crate) async fn logs<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    Query(lines): Query<Lines>,
) -> Result<Json<LogPage>, ApiError> {
    Ok(Json(node.logs(&peer, lines.of(None)?).await?))
}

pub(crate) async fn logs_of<N: Node>(
    State(node): State<N>,
    Path((peer, miner)): Path<(String, String)>,
    Query(lines): Query<Lines>,
) -> Result<Json<LogPage>, ApiError> {
    let miner = miner.parse().map_err(|error| invalid("", "miner", format!("is no miner name: {error}")))?;
    Ok(Json(node.logs(&peer, lines.of(Some(miner))?).await?))
}

/// What the log of activities says about a command.
fn told(before: String, outcome: MinerOutcome) -> (About, Json<MinerOutcome>) {
    let miners: Vec<_> = outcome.miners.iter().map(|miner| miner.name.as_str()).collect();
    let detail = before + &miners.join(" ") + if outcome.changed { "" } else { " (was so already)" };
    (About { target: Some(outcome.rig.to_string()), detail: Some(detail) }, Json(outcome))
}

impl Lines {
    fn of(self, miner: Option<MinerName>) -> Result<LogQuery, ApiError> {
        let lines = self.lines.unwrap_or(DEFAULT_LOG_LINES);
        if !(1..=MAX_LOG_LINES).contains(&lines) {
            return Err(invalid("", "lines", format!("is 1 to {MAX_LOG_LINES}")));
        }
        let wait = self.wait.unwrap_or(0);
        if wait > MAX_WAIT_SECONDS {
            return Err(invalid("", "wait", format!("is at most {MAX_WAIT_SECONDS} seconds")));
        }
        Ok(LogQuery { miner, lines, after: self.after, wait })
    }
}
