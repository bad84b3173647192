//! One command to many rigs.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Json;
use miner_ctrl_protocol::message::ProfileChoice;
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{MinerName, ProfileName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::contract::{Operation, Routes, shape};
use crate::error::{ApiError, Code};
use crate::extract::{self, Path, Query, invalid};
use crate::gateway::Gateway;
use crate::jobs::{JobPage, JobView, NewJob, Order, RigLine, Verb};
use crate::node::{MinerCommand, Node};
use crate::paging::{MAX_PART, limit};
use crate::router::API;
use crate::routes::remote::{NamedOrWhole, Source, Start, Stop};

/// Rigs of one job: as many as a node registers peers.
const MAX_RIGS: usize = 10_000;

/// Names that are looked up in one go: one by its name takes up to a millisecond among so many, and others wait meanwhile.
const LOOKED_UP: usize = 32;

/// Longest name of a rig that is looked up: names and ids are shorter, and so is a peer id.
const MAX_NAME: usize = 64;

/// Jobs in a page when nobody says how many: all that are kept.
const DEFAULT_JOBS: u32 = 100;

/// What to do to which rigs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeginJob {
    /// What to do.
    verb: Verb,
    /// Names or ids; the same rig twice counts once.
    #[schemars(length(min = 1, max = MAX_RIGS), inner(length(min = 1, max = MAX_NAME)))]
    rigs: Vec<String>,
    /// To start or to deploy this: a name, or, to start, a whole profile.
    #[schemars(with = "Option<NamedOrWhole>")]
    profile: Option<Value>,
    /// To start: whose profile the name means; left out, each rig's own.
    from: Option<Source>,
    /// To start, stop or restart this miner.
    #[schemars(with = "Option<shape::MinerName>")]
    miner: Option<MinerName>,
    /// To stop every miner.
    #[serde(default)]
    all: bool,
}

/// Which jobs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// At most so many, the newest; 100 when left out.
    #[schemars(range(min = 1, max = MAX_PART))]
    limit: Option<u32>,
    /// Only those older than this one.
    after: Option<String>,
}

type Begun = (StatusCode, [(HeaderName, String); 1], Json<JobView>);

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<Gateway<N>> {
    Routes::of("jobs")
        .get(
            "/jobs",
            list::<N>,
            Operation::new("listJobs", "The last jobs, without their rigs")
                .query::<Which>()
                .answers::<JobPage>(StatusCode::OK, "The jobs, newest first.")
                .fails(&[Code::UnknownJob]),
        )
        .post(
            "/jobs",
            begin::<N>,
            Operation::new("beginJob", "Does one thing to many rigs")
                .notes(
                    "It goes on when the caller is gone: results come with the event `job`, or by asking again. \
                     A job takes what the single route of its verb takes.",
                )
                .takes::<BeginJob>(json!({ "verb": "start", "rigs": ["rig-alpha"], "profile": "monero" }))
                .answers::<JobView>(StatusCode::ACCEPTED, "The job, under way.")
                .located()
                .fails(&[Code::Busy, Code::UnknownProfile]),
        )
        .get(
            "/jobs/{job}",
            show::<N>,
            Operation::new("showJob", "One job and what each of its rigs came to")
                .answers::<JobView>(StatusCode::OK, "The job.")
                .fails(&[Code::UnknownJob]),
        )
        .post(
            "/jobs/{job}/retry",
            retry::<N>,
            Operation::new("retryJob", "Begins a new job with the rigs that failed or are unknown")
                .notes("A profile that was sent along by its name (`from`: `here`) is the one that has the name now.")
                .answers::<JobView>(StatusCode::ACCEPTED, "The new job, under way.")
                .located()
                .fails(&[Code::Busy, Code::Conflict, Code::UnknownJob, Code::UnknownProfile]),
        )
}

async fn list<N: Node>(
    State(gateway): State<Gateway<N>>,
    Query(which): Query<Which>,
) -> Result<Json<JobPage>, ApiError> {
    let limit = limit(which.limit, DEFAULT_JOBS)? as usize;
    Ok(Json(gateway.jobs().list(limit, which.after.as_deref())?))
}

async fn show<N: Node>(State(gateway): State<Gateway<N>>, Path(job): Path<String>) -> Result<Json<JobView>, ApiError> {
    Ok(Json(gateway.jobs().show(&job)?))
}

async fn begin<N: Node>(
    State(gateway): State<Gateway<N>>,
    caller: Caller,
    extract::Json(mut body): extract::Json<BeginJob>,
) -> Result<Begun, ApiError> {
    let rigs = std::mem::take(&mut body.rigs);
    check_rigs(&rigs)?;
    let miner = body.miner.as_ref().map(ToString::to_string);
    let (verb, from_here) = (body.verb, body.from == Some(Source::Here));
    let (order, profile) = body.order(gateway.node()).await?;
    let rigs = found(gateway.node(), rigs.into_iter().map(|rig| RigLine::waiting(None, rig)).collect()).await;
    Ok(begun(gateway.begin_job(NewJob { verb, profile, miner, order, from_here, rigs }, &caller)?))
}

async fn retry<N: Node>(
    State(gateway): State<Gateway<N>>,
    caller: Caller,
    Path(job): Path<String>,
) -> Result<Begun, ApiError> {
    let mut again = gateway.jobs().again(&job)?;
    // It may have failed for what is wrong with the profile, and been corrected.
    if again.from_here
        && let Some(name) = &again.profile
        && let Order::Miner(MinerCommand::Start { profile, .. }) = &mut again.order
    {
        *profile = ProfileChoice::Inline(Box::new(gateway.node().profile(name).await?));
    }
    // A name that nobody had may have one by now.
    again.rigs = found(gateway.node(), again.rigs).await;
    Ok(begun(gateway.begin_job(again, &caller)?))
}

fn begun(job: JobView) -> Begun {
    let location = [(header::LOCATION, format!("{API}/jobs/{}", job.summary.id))];
    (StatusCode::ACCEPTED, location, Json(job))
}

fn check_rigs(rigs: &[String]) -> Result<(), ApiError> {
    if rigs.is_empty() || rigs.len() > MAX_RIGS {
        return Err(invalid("", "rigs", format!("names 1 to {MAX_RIGS} rigs")));
    }
    match rigs.iter().position(|rig| rig.is_empty() || rig.chars().count() > MAX_NAME) {
        Some(place) => Err(invalid("", &format!("rigs[{place}]"), format!("has 1 to {MAX_NAME} characters"))),
        None => Ok(()),
    }
}

impl BeginJob {
    /// What is asked of each rig, and with which profile. What the verb does not take is refused: it was meant to count.
    async fn order<N: Node>(self, node: &N) -> Result<(Order, Option<ProfileName>), ApiError> {
        let Self { verb, profile, from, miner, all, .. } = self;
        let surplus = [
            ("profile", profile.is_some() && !matches!(verb, Verb::Start | Verb::Deploy)),
            ("from", from.is_some() && verb != Verb::Start),
            ("miner", miner.is_some() && matches!(verb, Verb::Deploy | Verb::Ping)),
            ("all", all && verb != Verb::Stop),
        ];
        if let Some((field, _)) = surplus.into_iter().find(|(_, surplus)| *surplus) {
            return Err(invalid("", field, format!("does not go with `{}`", verb.as_str())));
        }
        let named = || profile.clone().ok_or_else(|| Invalid::new("profile", "is missing: name one"));
        Ok(match verb {
            Verb::Deploy => {
                let name: ProfileName = extract::parse("profile", named()?)?;
                // Asked now: every rig would fail for the same reason.
                node.profile(&name).await?;
                (Order::Deploy(name.clone()), Some(name))
            }
            Verb::Ping => (Order::Ping, None),
            Verb::Restart => (Order::Miner(MinerCommand::Restart(miner)), None),
            Verb::Start => {
                let (command, profile) = Start { profile: named()?, miner, from }.command(node).await?;
                (Order::Miner(command), Some(profile))
            }
            Verb::Stop => (Order::Miner(MinerCommand::Stop(Stop { miner, all }.choice()?)), None),
        })
    }
}

/// Each rig once, in the order of their first naming. A name that no peer has failed already.
async fn found<N: Node>(node: &N, named: Vec<RigLine>) -> Vec<RigLine> {
    let (mut rigs, mut seen) = (Vec::new(), HashSet::new());
    for (place, rig) in named.into_iter().enumerate() {
        if place % LOOKED_UP == LOOKED_UP - 1 {
            tokio::task::yield_now().await;
        }
        let (asked, RigLine { id, name, .. }) = (rig.asked(), rig);
        match node.named(&asked).await {
            Ok((id, name)) => {
                if seen.insert(id.to_string()) {
                    rigs.push(RigLine::waiting(Some(id), name.to_string()));
                }
            }
            Err(error) => {
                if seen.insert(asked) {
                    rigs.push(RigLine::failed(id, name, ApiError::from(error).document("")));
                }
            }
        }
    }
    rigs
}
