//! The jobs of a gateway.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::job::{Job, JobChange, JobSummary, JobView, NewJob, Order, Progress, RigLine, Told};
use crate::access::Caller;
use crate::access::book::unix_now;
use crate::error::{ApiError, Code};

/// Jobs that are kept: more than anybody scrolls through.
const MAX_JOBS: usize = 100;

/// Rigs of all kept jobs together: some 20 MB with their texts. Five jobs of the largest size fit.
const MAX_LINES: usize = 50_000;

/// Jobs under way: several people with several tabs each. All of them share [`AT_ONCE`].
const MAX_UNDER_WAY: usize = 16;

/// Rigs asked at once, by all jobs together, besides one of each job. A start answers when the miner's API does, which
/// takes seconds: 10 000 rigs are through in minutes. More would crowd out what single requests ask of the mesh, whose
/// queue holds 256.
const AT_ONCE: usize = 64;

/// The jobs of a gateway.
#[derive(Debug, Clone)]
pub(crate) struct Jobs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Another one after a restart: ids are not used twice.
    boot: String,
    places: Semaphore,
    stop: CancellationToken,
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    count: u64,
    /// Newest last.
    jobs: VecDeque<Job>,
}

/// Jobs, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobPage {
    /// Without their rigs.
    pub(crate) jobs: Vec<JobSummary>,
    /// How many are kept.
    pub(crate) total: usize,
    /// Ask with `after` this for older ones; null when there are none.
    pub(crate) next: Option<String>,
}

impl Jobs {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        let boot = format!("{:08x}", rand::random::<u32>());
        Self(Arc::new(Shared { boot, places: Semaphore::new(AT_ONCE), stop, board: Mutex::default() }))
    }

    /// Keeps a new job; whoever keeps it runs it.
    pub(crate) fn add(&self, new: NewJob, caller: &Caller) -> Result<JobView, ApiError> {
        let mut board = self.board();
        if board.jobs.iter().filter(|job| job.is_under_way()).count() >= MAX_UNDER_WAY {
            return Err(ApiError::new(Code::Busy, format!("{MAX_UNDER_WAY} jobs are under way")));
        }
        board.count += 1;
        let job = Job::new(format!("{}-{}", self.0.boot, board.count), new, caller, unix_now());
        let view = job.view();
        board.jobs.push_back(job);
        board.forget();
        Ok(view)
    }

    pub(crate) fn show(&self, id: &str) -> Result<JobView, ApiError> {
        self.board().find(id).map(|job| job.view())
    }

    /// The newest, or those older than the one named.
    pub(crate) fn list(&self, limit: usize, after: Option<&str>) -> Result<JobPage, ApiError> {
        let mut board = self.board();
        let end = match after {
            Some(id) => {
                board.find(id)?;
                board.jobs.iter().position(|job| job.summary().id == id).unwrap_or(0)
            }
            None => board.jobs.len(),
        };
        let jobs: Vec<_> = board.jobs.range(..end).rev().take(limit).map(|job| job.summary().clone()).collect();
        let next = jobs.last().filter(|_| jobs.len() < end).map(|job| job.id.clone());
        Ok(JobPage { total: board.jobs.len(), jobs, next })
    }

    /// What a job left undone, as a new one.
    pub(crate) fn again(&self, id: &str) -> Result<NewJob, ApiError> {
        let mut board = self.board();
        let job = board.find(id)?;
        let new = job.again();
        if job.is_under_way() {
            return Err(ApiError::new(Code::Conflict, format!("the job {id} is under way")));
        }
        if new.rigs.is_empty() {
            return Err(ApiError::new(Code::Conflict, format!("the job {id} is done: nothing failed")));
        }
        Ok(new)
    }

    /// What to tell of every job that changed since the last time.
    pub(crate) fn take_changes(&self) -> Vec<JobChange> {
        self.board().jobs.iter_mut().filter_map(Job::take_change).collect()
    }

    /// What a new listener is told of each job under way.
    pub(crate) fn beginnings(&self) -> Vec<JobChange> {
        self.board().jobs.iter().filter(|job| job.is_under_way()).map(Job::beginning).collect()
    }

    /// What is asked of each rig, and the rigs that wait for it, with their places.
    pub(super) fn orders(&self, id: &str) -> Option<(Order, Vec<(usize, RigLine)>)> {
        let mut board = self.board();
        let job = board.find(id).ok()?;
        let waiting = job.rigs().iter().cloned().enumerate().filter(|(_, rig)| rig.state == Progress::Waiting);
        Some((job.order.clone(), waiting.collect()))
    }

    pub(super) fn set(&self, id: &str, place: usize, to: Progress, told: Told) {
        if let Ok(job) = self.board().find(id) {
            job.set(place, to, told, unix_now());
        }
    }

    /// A place for the next rig of a job; none when the node stops. The job's own place is its alone, so that one with
    /// few rigs goes on while others hold all that they share with rigs that do not answer.
    pub(super) async fn turn<'a>(&'a self, own: &'a Semaphore) -> Option<SemaphorePermit<'a>> {
        tokio::select! {
            biased;
            () = self.0.stop.cancelled() => None,
            shared = self.0.places.acquire() => shared.ok(),
            own = own.acquire() => own.ok(),
        }
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn find(&mut self, id: &str) -> Result<&mut Job, ApiError> {
        let found = self.jobs.iter_mut().find(|job| job.summary().id == id);
        found.ok_or_else(|| ApiError::new(Code::UnknownJob, format!("no job `{id}`")))
    }

    /// Forgets the oldest that are over, until what is kept is within its bounds.
    fn forget(&mut self) {
        loop {
            let lines: usize = self.jobs.iter().map(Job::size).sum();
            if self.jobs.len() <= MAX_JOBS && lines <= MAX_LINES {
                return;
            }
            // Those under way are few enough to be kept in any case.
            let Some(oldest) = self.jobs.iter().position(|job| !job.is_under_way()) else { return };
            self.jobs.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Verb;

    fn new(rigs: usize) -> NewJob {
        let rigs = (0..rigs).map(|n| RigLine::waiting(None, format!("rig-{n}"))).collect();
        NewJob { verb: Verb::Ping, profile: None, miner: None, order: Order::Ping, from_here: false, rigs }
    }

    fn ended(jobs: &Jobs, rigs: usize) -> String {
        let id = jobs.add(new(rigs), &Caller::local()).unwrap().summary.id;
        (0..rigs).for_each(|place| jobs.set(&id, place, Progress::Done, Told::default()));
        id
    }

    #[test]
    fn the_oldest_jobs_are_forgotten_first() {
        let jobs = Jobs::new(CancellationToken::new());
        let first = ended(&jobs, 1);
        let under_way = jobs.add(new(1), &Caller::local()).unwrap().summary.id;
        for _ in 0..MAX_JOBS - 1 {
            ended(&jobs, 1);
        }
        assert!(jobs.show(&first).is_err());
        assert!(jobs.show(&under_way).is_ok());
        assert_eq!(jobs.list(1000, None).unwrap().total, MAX_JOBS);
    }

    #[test]
    fn large_jobs_are_kept_in_smaller_numbers() {
        let jobs = Jobs::new(CancellationToken::new());
        let large = MAX_LINES / 10;
        let all: Vec<_> = (0..11)
            .map(|_| {
                let id = jobs.add(new(large), &Caller::local()).unwrap().summary.id;
                let mut board = jobs.board();
                let job = board.find(&id).unwrap();
                *job = Job::new(
                    id.clone(),
                    NewJob {
                        rigs: vec![RigLine { state: Progress::Done, ..RigLine::waiting(None, "r".into()) }; large],
                        ..new(0)
                    },
                    &Caller::local(),
                    1,
                );
                id
            })
            .collect();
        assert!(jobs.show(&all[0]).is_err());
        assert!(jobs.show(&all[1]).is_ok());
    }

    #[test]
    fn more_jobs_than_people_can_watch_are_refused() {
        let jobs = Jobs::new(CancellationToken::new());
        for _ in 0..MAX_UNDER_WAY {
            jobs.add(new(1), &Caller::local()).unwrap();
        }
        assert_eq!(jobs.add(new(1), &Caller::local()).unwrap_err().code, Code::Busy);
    }

    #[test]
    fn jobs_are_listed_newest_first_in_pages() {
        let jobs = Jobs::new(CancellationToken::new());
        let all: Vec<_> = (0..5).map(|_| ended(&jobs, 1)).collect();
        let page = jobs.list(2, None).unwrap();
        assert_eq!(page.jobs.iter().map(|job| &job.id).collect::<Vec<_>>(), [&all[4], &all[3]]);
        let page = jobs.list(5, page.next.as_deref()).unwrap();
        assert_eq!((page.jobs.len(), page.next, page.total), (3, None, 5));
        assert_eq!(jobs.list(2, Some("nobody")).unwrap_err().code, Code::UnknownJob);
    }
}
