//! Rigs, and what their miners are told.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use miner_ctrl_protocol::message::{LogPage, MAX_LOG_LINES, MAX_WAIT_SECONDS, MinerChoice, ProfileChoice};
use miner_ctrl_protocol::{MinerName, ProfileName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::activity::{About, profile_told, so_already};
use crate::contract::{Operation, RIG, Routes, shape};
use crate::error::{ApiError, Code};
use crate::extract::{self, MaybeJson, Path, Query, invalid};
use crate::node::{DeployOutcome, LogQuery, MinerCommand, MinerOutcome, Node, NodeError, RigProfile, RigView};
use crate::routes::profiles;

/// Lines in a page when nobody says how many: a screen or two.
const DEFAULT_LOG_LINES: u32 = 100;

/// What to start.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// A name, or a whole profile, which is sent along and not stored.
    #[schemars(with = "NamedOrWhole")]
    pub(crate) profile: Value,
    /// Which instance; left out, the one that runs this profile, or the first free name.
    #[schemars(with = "Option<shape::MinerName>")]
    pub(crate) miner: Option<MinerName>,
    /// Whose profile the name means; left out, the rig's own.
    pub(crate) from: Option<Source>,
}

/// A profile in a request.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its shape counts")]
pub(crate) enum NamedOrWhole {
    Named(shape::ProfileName),
    Whole(shape::Profile),
}

/// Whose profile a name means. Without a word it is the rig's own: that is what the rig's operator has checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// This node's, sent along and not stored there.
    Here,
    /// The rig's own.
    Rig,
}

/// What to stop; nothing said, the only one there is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    /// This miner.
    #[schemars(with = "Option<shape::MinerName>")]
    pub(crate) miner: Option<MinerName>,
    /// Every miner of the rig; goes without `miner`.
    #[serde(default)]
    pub(crate) all: bool,
}

/// What to restart; nothing said, the only one there is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    /// This miner.
    #[schemars(with = "Option<shape::MinerName>")]
    miner: Option<MinerName>,
}

/// What to send.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deploy {
    /// A profile of this node.
    #[schemars(with = "shape::ProfileName")]
    profile: ProfileName,
}

/// What to take back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Undeploy {
    /// A profile of the rig.
    #[schemars(with = "shape::ProfileName")]
    profile: ProfileName,
}

/// Which lines.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lines {
    /// At most so many, the newest; 100 when left out.
    #[schemars(range(min = 1, max = MAX_LOG_LINES))]
    lines: Option<u32>,
    /// Only lines above this number.
    after: Option<u64>,
    /// Seconds to wait for a line when there is none.
    #[schemars(range(max = MAX_WAIT_SECONDS))]
    wait: Option<u32>,
}

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<N> {
    let miners = &[Code::AmbiguousMiner, Code::MinerUnavailable, Code::RunsNoMiner, Code::UnknownMiner];
    Routes::of("remote")
        .get(
            "/remote/stats",
            rigs::<N>,
            Operation::new("listRigs", "Every rig that this node may read, as it was last heard")
                .answers::<Vec<RigView>>(
                    StatusCode::OK,
                    "The rigs, by name; this node itself comes first, when it mines.",
                ),
        )
        .get(
            "/remote/{peer}/stats",
            rig::<N>,
            Operation::new("showRig", "One rig, as it was last heard")
                .answers::<RigView>(StatusCode::OK, "The rig.")
                .fails(RIG),
        )
        .post(
            "/remote/{peer}/start",
            start::<N>,
            Operation::new("startMiner", "Starts a miner on a rig, or finds it running")
                .takes::<Start>(json!({ "profile": "monero" }))
                .answers::<MinerOutcome>(StatusCode::OK, "The miner runs.")
                .fails(RIG)
                .fails(miners)
                .fails(&[Code::UnknownProfile, Code::UnknownRigProfile]),
        )
        .post(
            "/remote/{peer}/stop",
            stop::<N>,
            Operation::new("stopMiner", "Stops miners of a rig, or finds them stopped")
                .notes("Nothing said, the only miner there is.")
                .may_take::<Stop>(json!({ "all": true }))
                .answers::<MinerOutcome>(StatusCode::OK, "They are stopped.")
                .fails(RIG)
                .fails(miners),
        )
        .post(
            "/remote/{peer}/restart",
            restart::<N>,
            Operation::new("restartMiner", "Stops a miner of a rig, then starts it with the same profile")
                .notes("Nothing said, the only miner there is.")
                .may_take::<Restart>(json!({ "miner": "xmrig-1" }))
                .answers::<MinerOutcome>(StatusCode::OK, "It runs again.")
                .fails(RIG)
                .fails(miners)
                .fails(&[Code::UnknownRigProfile]),
        )
        .post(
            "/remote/{peer}/deploy",
            deploy::<N>,
            Operation::new("deployProfile", "Sends one of this node's profiles to a rig, which stores it")
                .takes::<Deploy>(json!({ "profile": "monero" }))
                .answers::<DeployOutcome>(StatusCode::OK, "The rig has it.")
                .fails(RIG)
                .fails(&[Code::RunsNoMiner, Code::UnknownProfile]),
        )
        .post(
            "/remote/{peer}/undeploy",
            undeploy::<N>,
            Operation::new("undeployProfile", "Makes a rig forget a profile that it has stored")
                .notes("What runs of it runs on.")
                .takes::<Undeploy>(json!({ "profile": "monero" }))
                .answers::<DeployOutcome>(StatusCode::OK, "The rig has it no more.")
                .fails(RIG)
                .fails(&[Code::RunsNoMiner]),
        )
        .get(
            "/remote/{peer}/profiles",
            profiles_of::<N>,
            Operation::new("listProfilesOfRig", "The profiles that a rig has stored, without their secrets")
                .answers::<Vec<RigProfile>>(StatusCode::OK, "The profiles, by name.")
                .fails(RIG)
                .fails(&[Code::RunsNoMiner]),
        )
        .get(
            "/remote/{peer}/logs",
            logs::<N>,
            Operation::new("logsOfOnlyMiner", "Console lines of the only miner of a rig")
                .query::<Lines>()
                .answers::<shape::LogPage>(StatusCode::OK, "The lines.")
                .fails(RIG)
                .fails(miners),
        )
        .get(
            "/remote/{peer}/logs/{miner}",
            logs_of::<N>,
            Operation::new("logsOfMiner", "Console lines of a miner of a rig")
                .notes("To follow it, ask again with `after` set to `newest`, and with `wait`.")
                .query::<Lines>()
                .answers::<shape::LogPage>(StatusCode::OK, "The lines.")
                .fails(RIG)
                .fails(miners),
        )
}

async fn rigs<N: Node>(State(node): State<N>) -> Json<Vec<RigView>> {
    Json(node.rigs().await)
}

async fn rig<N: Node>(State(node): State<N>, Path(peer): Path<String>) -> Result<Json<RigView>, ApiError> {
    Ok(Json(node.rig(&peer).await?))
}

async fn start<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    extract::Json(start): extract::Json<Start>,
) -> (About, Result<Json<MinerOutcome>, ApiError>) {
    let command = match start.command(&node).await {
        Ok((command, _)) => command,
        Err(error) => return (About::default(), Err(error)),
    };
    let what = profile_told(&command);
    match commanded(&node, &peer, command).await {
        Ok(outcome) => {
            let (about, outcome) = told(what + ", ", outcome);
            (about, Ok(outcome))
        }
        Err(error) => (About { target: None, detail: Some(what) }, Err(error)),
    }
}

/// Commands a rig; whoever looks at it next sees what that did.
async fn commanded<N: Node>(node: &N, peer: &str, command: MinerCommand) -> Result<MinerOutcome, ApiError> {
    let outcome = node.command(peer, command).await.map_err(ApiError::from);
    if outcome.as_ref().err().is_none_or(|error| error.code.may_change_a_rig()) {
        node.hear(peer).await;
    }
    outcome
}

async fn stop<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    MaybeJson(stop): MaybeJson<Stop>,
) -> Result<(About, Json<MinerOutcome>), ApiError> {
    let choice = stop.choice()?;
    let stopped = commanded(&node, &peer, MinerCommand::Stop(choice)).await.map_err(|error| match error.code {
        // Of what takes one miner, a stop alone can also mean all.
        Code::AmbiguousMiner => {
            error.hint("name one of them, or stop all with `--all` (a script: with `\"all\": true`)")
        }
        _ => error,
    });
    Ok(told(String::new(), stopped?))
}

async fn restart<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    MaybeJson(restart): MaybeJson<Restart>,
) -> Result<(About, Json<MinerOutcome>), ApiError> {
    Ok(told(String::new(), commanded(&node, &peer, MinerCommand::Restart(restart.miner)).await?))
}

async fn deploy<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    extract::Json(deploy): extract::Json<Deploy>,
) -> (About, Result<Json<DeployOutcome>, ApiError>) {
    deployed(&deploy.profile, node.deploy(&peer, &deploy.profile).await)
}

async fn undeploy<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    extract::Json(undeploy): extract::Json<Undeploy>,
) -> (About, Result<Json<DeployOutcome>, ApiError>) {
    deployed(&undeploy.profile, node.undeploy(&peer, &undeploy.profile).await)
}

fn deployed(
    profile: &ProfileName,
    outcome: Result<DeployOutcome, NodeError>,
) -> (About, Result<Json<DeployOutcome>, ApiError>) {
    let what = format!("profile {profile}");
    match outcome {
        Ok(outcome) => {
            let detail = what + so_already(outcome.changed) + &outcome.going_on();
            (About { target: Some(outcome.rig.to_string()), detail: Some(detail) }, Ok(Json(outcome)))
        }
        Err(error) => (About { target: None, detail: Some(what) }, Err(error.into())),
    }
}

async fn profiles_of<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
) -> Result<Json<Vec<RigProfile>>, ApiError> {
    Ok(Json(node.rig_profiles(&peer).await?))
}

async fn logs<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    Query(lines): Query<Lines>,
) -> Result<Json<LogPage>, ApiError> {
    Ok(Json(node.logs(&peer, lines.of(None)?).await?))
}

async fn logs_of<N: Node>(
    State(node): State<N>,
    Path((peer, miner)): Path<(String, String)>,
    Query(lines): Query<Lines>,
) -> Result<Json<LogPage>, ApiError> {
    let miner = miner.parse().map_err(|error| invalid("", "miner", format!("is no miner name: {error}")))?;
    Ok(Json(node.logs(&peer, lines.of(Some(miner))?).await?))
}

/// What the log of activities says about a command.
fn told(before: String, outcome: MinerOutcome) -> (About, Json<MinerOutcome>) {
    // That another start overtook it, as an example.
    let miners = outcome.miners.iter().map(|miner| match &miner.problem {
        Some(problem) => format!("{}: {problem}", miner.name),
        None => miner.name.to_string(),
    });
    let detail = before + &miners.collect::<Vec<_>>().join(", ") + so_already(outcome.changed);
    (About { target: Some(outcome.rig.to_string()), detail: Some(detail) }, Json(outcome))
}

impl Start {
    /// What the rig is told, and the profile's name.
    pub(crate) async fn command<N: Node>(self, node: &N) -> Result<(MinerCommand, ProfileName), ApiError> {
        let profile = match (self.profile, self.from) {
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
                // Asked now: every rig would refuse it for the same reason.
                let profile = draft.check().map_err(|wrong| invalid("profile", &wrong.field, wrong.why))?;
                ProfileChoice::Inline(Box::new(profile.into_draft()))
            }
        };
        let name = match &profile {
            ProfileChoice::Inline(draft) => draft.name.clone(),
            ProfileChoice::Stored(name) => name.clone(),
        };
        Ok((MinerCommand::Start { profile, miner: self.miner }, name))
    }
}

impl Stop {
    /// Which miners.
    pub(crate) fn choice(self) -> Result<MinerChoice, ApiError> {
        match (self.miner, self.all) {
            (Some(_), true) => Err(invalid("", "all", "and miner are both given: keep one")),
            (Some(miner), false) => Ok(MinerChoice::Named(miner)),
            (None, true) => Ok(MinerChoice::All),
            (None, false) => Ok(MinerChoice::Only),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{peer, rig};

    #[test]
    fn the_log_of_activities_has_what_is_wrong_with_what_came_of_an_order() {
        let rig = rig(peer(1, "rig-alpha"), true);
        let mut miners = rig.stats.unwrap().miners;
        miners[0].problem = Some("another start overtook it".to_owned());
        let outcome = MinerOutcome { rig: rig.peer.name, miners, changed: true };
        let (about, _) = told("profile p, ".to_owned(), outcome);
        assert_eq!(about.detail.as_deref(), Some("profile p, xmrig-1: another start overtook it"));
    }
}
