//! One job: what each rig came to. Pure.

use std::collections::BTreeSet;

use miner_ctrl_protocol::{NodeId, ProfileName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::Caller;
use crate::contract::shape;
use crate::error::ProblemDetails;
use crate::node::MinerCommand;
use crate::records::By;

/// What a job does to each of its rigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Sends a profile.
    Deploy,
    /// Measures a round trip.
    Ping,
    /// Stops a miner, then starts it.
    Restart,
    /// Starts a miner.
    Start,
    /// Stops miners.
    Stop,
}

impl Verb {
    /// The word for it; the same as in the log of activities.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Ping => "ping",
            Self::Restart => "restart",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// What is asked of each rig.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Order {
    Deploy(ProfileName),
    Miner(MinerCommand),
    Ping,
}

/// Where a rig of a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// It was done, or found so.
    Done,
    /// It was not done.
    Failed,
    /// The rig is being asked.
    Running,
    /// No answer in time, or the connection broke: it may have been done.
    Unknown,
    /// Not asked yet.
    Waiting,
}

impl Progress {
    const fn is_last(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Unknown)
    }
}

/// One rig of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RigLine {
    /// Its handle; null for a name that no peer had.
    #[schemars(with = "Option<shape::NodeId>")]
    pub id: Option<NodeId>,
    /// Its name, or as it was asked for.
    pub name: String,
    /// Where it stands.
    pub state: Progress,
    /// The problem's code, when it failed or is unknown.
    pub code: Option<String>,
    /// What was reached, or what went wrong, in words.
    pub detail: Option<String>,
    /// What to do now, when it failed or is unknown.
    pub hint: Option<String>,
}

/// How many rigs stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Not asked yet.
    pub waiting: usize,
    /// Being asked.
    pub running: usize,
    /// Done.
    pub done: usize,
    /// Not done.
    pub failed: usize,
    /// Perhaps done.
    pub unknown: usize,
}

/// A job without its rigs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobSummary {
    /// Its handle.
    pub id: String,
    /// Grows by one with each event about it.
    pub v: u64,
    /// What it does.
    pub verb: Verb,
    /// With which profile.
    #[schemars(with = "Option<shape::ProfileName>")]
    pub profile: Option<ProfileName>,
    /// With which miner.
    pub miner: Option<String>,
    /// By which way its beginner came in.
    pub by: By,
    /// The beginner's session or token; null for the local user.
    pub who: Option<String>,
    /// Unix time, seconds.
    pub began: u64,
    /// Unix time, seconds; null while any rig is waiting or running.
    pub ended: Option<u64>,
    /// How many rigs stand where.
    pub counts: Counts,
}

/// A job with its rigs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// All but the rigs.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// Each keeps its place.
    pub rigs: Vec<RigLine>,
}

/// A rig that stands elsewhere than before.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ChangedRig {
    /// Its place among the job's rigs.
    i: usize,
    #[serde(flatten)]
    rig: RigLine,
}

/// What changed about a job; without `changed` when the stream only begins to tell of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobChange {
    #[serde(flatten)]
    summary: JobSummary,
    /// The rigs that stand elsewhere than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Vec<ChangedRig>>,
}

/// A job as it is kept.
#[derive(Debug)]
pub(super) struct Job {
    summary: JobSummary,
    rigs: Vec<RigLine>,
    pub(super) order: Order,
    from_here: bool,
    /// Rigs that changed since the last event about it.
    changed: BTreeSet<usize>,
}

/// What a new job is made of.
#[derive(Debug)]
pub(crate) struct NewJob {
    pub(crate) verb: Verb,
    pub(crate) profile: Option<ProfileName>,
    pub(crate) miner: Option<String>,
    pub(crate) order: Order,
    /// The profile was named, and is this node's: whoever tries again means the one that goes by this name then.
    pub(crate) from_here: bool,
    pub(crate) rigs: Vec<RigLine>,
}

impl Job {
    pub(super) fn new(id: String, new: NewJob, caller: &Caller, now: u64) -> Self {
        let NewJob { verb, profile, miner, order, from_here, rigs } = new;
        let counts = Counts::default();
        let (by, who) = (caller.by, caller.who.clone());
        let summary = JobSummary { id, v: 0, verb, profile, miner, by, who, began: now, ended: None, counts };
        let mut this = Self { summary, rigs, order, from_here, changed: BTreeSet::new() };
        this.count(now);
        this
    }

    pub(super) const fn summary(&self) -> &JobSummary {
        &self.summary
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.summary.ended.is_none()
    }

    pub(super) const fn size(&self) -> usize {
        self.rigs.len()
    }

    pub(super) fn view(&self) -> JobView {
        JobView { summary: self.summary.clone(), rigs: self.rigs.clone() }
    }

    pub(super) fn rigs(&self) -> &[RigLine] {
        &self.rigs
    }

    /// The same for the rigs that were not done, or not surely.
    pub(super) fn again(&self) -> NewJob {
        let JobSummary { verb, profile, miner, .. } = self.summary.clone();
        let left = self.rigs.iter().filter(|rig| matches!(rig.state, Progress::Failed | Progress::Unknown));
        let rigs = left.map(|rig| RigLine::waiting(rig.id, rig.name.clone())).collect();
        NewJob { verb, profile, miner, order: self.order.clone(), from_here: self.from_here, rigs }
    }

    /// A rig stands elsewhere now.
    pub(super) fn set(&mut self, place: usize, to: Progress, told: Told, now: u64) {
        let Some(rig) = self.rigs.get_mut(place) else { return };
        rig.state = to;
        (rig.code, rig.detail, rig.hint) = (told.code, told.detail, told.hint);
        self.changed.insert(place);
        self.count(now);
    }

    /// What to tell since the last time; none when nothing changed.
    pub(super) fn take_change(&mut self) -> Option<JobChange> {
        if self.changed.is_empty() {
            return None;
        }
        self.summary.v += 1;
        let places = std::mem::take(&mut self.changed);
        let changed = places.into_iter().filter_map(|i| Some(ChangedRig { i, rig: self.rigs.get(i)?.clone() }));
        Some(JobChange { changed: Some(changed.collect()), summary: self.summary.clone() })
    }

    pub(super) fn beginning(&self) -> JobChange {
        JobChange { summary: self.summary.clone(), changed: None }
    }

    fn count(&mut self, now: u64) {
        let mut counts = Counts::default();
        for rig in &self.rigs {
            *match rig.state {
                Progress::Done => &mut counts.done,
                Progress::Failed => &mut counts.failed,
                Progress::Running => &mut counts.running,
                Progress::Unknown => &mut counts.unknown,
                Progress::Waiting => &mut counts.waiting,
            } += 1;
        }
        self.summary.counts = counts;
        if self.summary.ended.is_none() && self.rigs.iter().all(|rig| rig.state.is_last()) {
            self.summary.ended = Some(now);
        }
    }
}

/// What is said about a rig's state.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) code: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) hint: Option<String>,
}

impl Told {
    pub(super) fn problem(problem: ProblemDetails) -> Self {
        Self { code: Some(problem.code), detail: Some(problem.detail), hint: Some(problem.hint) }
    }
}

impl RigLine {
    pub(crate) fn waiting(id: Option<NodeId>, name: String) -> Self {
        Self { id, name, state: Progress::Waiting, code: None, detail: None, hint: None }
    }

    pub(crate) fn failed(id: Option<NodeId>, name: String, problem: ProblemDetails) -> Self {
        let ProblemDetails { code, detail, hint, .. } = problem;
        Self {
            state: Progress::Failed,
            code: Some(code),
            detail: Some(detail),
            hint: Some(hint),
            ..Self::waiting(id, name)
        }
    }

    /// How the node is asked for it: by its id, which no renaming changes.
    pub(crate) fn asked(&self) -> String {
        self.id.map_or_else(|| self.name.clone(), |id| id.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(rigs: usize) -> Job {
        let rigs = (0..rigs).map(|n| RigLine::waiting(None, format!("rig-{n}"))).collect();
        let new = NewJob { verb: Verb::Ping, profile: None, miner: None, order: Order::Ping, from_here: false, rigs };
        Job::new("j".into(), new, &Caller::local(), 10)
    }

    #[test]
    fn a_job_ends_with_its_last_rig() {
        let mut job = job(2);
        job.set(0, Progress::Done, Told::default(), 11);
        job.set(1, Progress::Running, Told::default(), 12);
        assert!(job.is_under_way());
        job.set(1, Progress::Unknown, Told::default(), 13);
        assert_eq!(job.summary().ended, Some(13));
        assert_eq!(job.summary().counts, Counts { done: 1, unknown: 1, ..Counts::default() });
    }

    #[test]
    fn an_event_has_the_rigs_that_changed_since_the_one_before() {
        let mut job = job(3);
        assert!(job.take_change().is_none());
        job.set(2, Progress::Running, Told::default(), 11);
        job.set(2, Progress::Done, Told::default(), 12);
        let change = serde_json::to_value(job.take_change().unwrap()).unwrap();
        assert_eq!((&change["v"], &change["changed"][0]["i"]), (&1.into(), &2.into()));
        assert_eq!(change["changed"].as_array().unwrap().len(), 1);
        assert!(job.take_change().is_none());
    }

    #[test]
    fn only_what_failed_or_is_unknown_is_tried_again() {
        let mut job = job(3);
        job.set(0, Progress::Done, Told::default(), 11);
        job.set(1, Progress::Failed, Told::default(), 11);
        job.set(2, Progress::Unknown, Told::default(), 11);
        let names: Vec<_> = job.again().rigs.into_iter().map(|rig| (rig.name, rig.state)).collect();
        assert_eq!(names, [("rig-1".to_owned(), Progress::Waiting), ("rig-2".to_owned(), Progress::Waiting)]);
    }
}
