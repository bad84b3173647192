//! Carrying a job out: so many rigs at once, each with its true result.

use std::panic::AssertUnwindSafe;

use futures::{FutureExt, StreamExt, stream};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::job::{JobView, NewJob, Order, Progress, RigLine, Told};
use crate::access::Caller;
use crate::activity::{profile_told, so_already};
use crate::error::{ApiError, Code};
use crate::gateway::Gateway;
use crate::node::{MinerCommand, Node};
use crate::surround::REQUEST_TIMEOUT;

/// What all rigs of a job have in common.
struct Asking<'a> {
    id: &'a str,
    verb: &'a str,
    order: &'a Order,
    caller: &'a Caller,
}

impl<N: Node> Gateway<N> {
    /// Begins a job. It goes on when its beginner is gone, and ends with the node.
    pub(crate) fn begin_job(&self, new: NewJob, caller: &Caller) -> Result<JobView, ApiError> {
        let verb = new.verb.as_str();
        let view = self.jobs().add(new, caller)?;
        let (this, id, caller) = (self.clone(), view.summary.id.clone(), caller.clone());
        tokio::spawn(async move {
            let Some((order, rigs)) = this.jobs().orders(&id) else { return };
            let (this, own) = (&this, &Semaphore::new(1));
            let asking = &Asking { id: &id, verb, order: &order, caller: &caller };
            // One rig of each job waits for a turn, the rest behind it: places go round among jobs, not among rigs.
            stream::iter(rigs)
                .then(async |(place, rig)| (place, rig, this.jobs().turn(own).await))
                .for_each_concurrent(None, |(place, rig, turn)| this.job_rig(asking, place, rig, turn))
                .await;
        });
        Ok(view)
    }

    /// One rig of a job, from waiting to its end.
    async fn job_rig(&self, asking: &Asking<'_>, place: usize, rig: RigLine, turn: Option<SemaphorePermit<'_>>) {
        let Asking { id, verb, order, caller } = *asking;
        let jobs = self.jobs();
        let stopping = || ApiError::new(Code::ShuttingDown, "this node is shutting down");
        let Some(turn) = turn else {
            return jobs.set(id, place, Progress::Failed, Told::problem(stopping().document("")));
        };
        jobs.set(id, place, Progress::Running, Told::default());
        let asked = rig.asked();
        let answer = AssertUnwindSafe(self.carry_out(order, &asked)).catch_unwind();
        let outcome = tokio::select! {
            biased;
            () = jobs.stop().cancelled() => Err(stopping()),
            answered = tokio::time::timeout(REQUEST_TIMEOUT, answer) => match answered {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(ApiError::new(Code::Internal, "the request broke something")),
                Err(_) => {
                    let seconds = REQUEST_TIMEOUT.as_secs();
                    Err(ApiError::new(Code::Timeout, format!("no answer within {seconds} s")))
                }
            },
        };
        // The next rig does not wait for the rest.
        drop(turn);
        let (state, told, code) = match outcome {
            Ok(detail) => (Progress::Done, Told { detail: Some(detail), ..Told::default() }, None),
            Err(error) => {
                let state = if error.code.leaves_unknown() { Progress::Unknown } else { Progress::Failed };
                (state, Told::problem(error.document("")), Some(error.code))
            }
        };
        if matches!(order, Order::Miner(_)) && code.is_none_or(Code::may_change_a_rig) {
            // A fault there takes this rig's news alone: all of a job's rigs share one task.
            let heard = AssertUnwindSafe(self.node().hear(&asked)).catch_unwind();
            tokio::select! {
                () = jobs.stop().cancelled() => {}
                _ = heard => {}
            }
        }
        // Kept first: whoever sees the result finds it in the log.
        if *order != Order::Ping {
            let asked = match order {
                Order::Deploy(profile) => format!("profile {profile}"),
                Order::Miner(command) => profile_told(command),
                Order::Ping => String::new(),
            };
            let detail = match (&told.detail, order) {
                (Some(done), Order::Miner(MinerCommand::Start { .. })) if code.is_none() => Some(asked + ", " + done),
                (Some(done), _) if code.is_none() => Some(done.clone()),
                _ => Some(asked).filter(|asked| !asked.is_empty()),
            };
            self.record(caller, verb, Some(rig.name), detail, code.map_or("ok", Code::as_str)).await;
        }
        jobs.set(id, place, state, told);
    }

    /// Asks one rig; says what was reached.
    async fn carry_out(&self, order: &Order, peer: &str) -> Result<String, ApiError> {
        Ok(match order {
            Order::Deploy(profile) => {
                let outcome = self.node().deploy(peer, profile).await?;
                format!("profile {}", outcome.profile) + so_already(outcome.changed) + &outcome.going_on()
            }
            Order::Miner(command) => {
                let outcome = self.node().command(peer, command.clone()).await?;
                let miners = outcome.miners.iter().map(|miner| {
                    let reached = format!("{} is {}", miner.name, miner.state);
                    // That its stop is not written down, as an example.
                    match &miner.problem {
                        Some(problem) => format!("{reached}: {problem}"),
                        None => reached,
                    }
                });
                miners.collect::<Vec<_>>().join(", ") + so_already(outcome.changed)
            }
            Order::Ping => format!("{:.1} ms", self.node().ping_peer(peer).await?.round_trip_ms),
        })
    }
}
