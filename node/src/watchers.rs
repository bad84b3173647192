//! A hashrate on its way to the page: for each rig whose link is up, one open `Watch`, answered when something changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_protocol::{PeerKey, Refusal, Request, Response};
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fleet::{FleetHandle, Observation};
use crate::mesh::{AskError, Link, MeshHandle};
use crate::news::STEP;

/// Seconds a rig may keep a watch open when nothing changes.
const WAIT: u32 = 30;
/// How long we wait for its answer: the watch, and what a loaded rig may take on top.
const LIMIT: Duration = Duration::from_secs(35);
/// Between an answer and the next watch, at least. Nothing changes unseen for longer than this and [`TOGETHER`].
const PAUSE: Duration = Duration::from_millis(100);
/// Watches begin at common moments, so long apart: all that begin at one go out under one signature, and a busy rig costs
/// one each. A rig answers at the same steps, so that its answer comes just after a moment, and the next question with the
/// next.
const TOGETHER: Duration = STEP;
/// After a refusal: it will hardly be another one soon, and an operator who grants the permission sees it in time.
const REFUSED_PAUSE: Duration = Duration::from_secs(20);
/// Links that came up unnoticed, because the queue was full, are found this often.
const LOOK_AROUND: Duration = Duration::from_secs(10);

/// Watches every rig that comes up, until `stop`.
pub(crate) async fn run(
    mesh: MeshHandle,
    fleet: FleetHandle,
    mut ups: mpsc::Receiver<PeerKey>,
    stop: CancellationToken,
) {
    let begun = Instant::now();
    // With the task that watches it: of one that broke off, nothing else is told.
    let mut watching: HashMap<PeerKey, (Link, task::Id)> = HashMap::new();
    let mut watchers: JoinSet<(PeerKey, Link)> = JoinSet::new();
    let mut look_around = tokio::time::interval(LOOK_AROUND);
    look_around.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let found = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(ended) = watchers.join_next() => {
                match ended {
                    Ok((key, link)) => drop(
                        // A newer link's watcher may have taken its place already.
                        watching.get(&key).is_some_and(|(watched, _)| watched.same_as(&link)).then(|| watching.remove(&key)),
                    ),
                    Err(error) => {
                        tracing::error!(%error, "a watcher broke off; its rig is watched anew");
                        watching.retain(|_, (_, task)| *task != error.id());
                    }
                }
                continue;
            }
            Some(key) = ups.recv() => mesh.link(&key).map(|link| (key, link)).into_iter().collect(),
            _ = look_around.tick() => mesh.connected(),
        };
        for (key, link) in found {
            let mines = fleet.now().peer(&key).is_some_and(|peer| peer.peer.role.mines()) || link.hello.role.mines();
            if mines && !watching.get(&key).is_some_and(|(watched, _)| watched.same_as(&link)) {
                let task = watchers.spawn(watch(key, link.clone(), fleet.clone(), begun)).id();
                watching.insert(key, (link, task));
            }
        }
    }
}

/// What is told of a rig whose link is up and whose numbers do not come.
const SILENT: &str = "it does not tell its numbers";
/// … or come as nothing that we know.
const UNREADABLE: &str = "its numbers cannot be read: update miner-ctrl here and on the rig";

/// In place of a revision: it is to say what there is, at once. What it said before is not current any more.
const ANYTHING: u64 = 0;

/// Watches one rig until its link ends. Common moments are counted from `begun`.
async fn watch(key: PeerKey, link: Link, fleet: FleetHandle, begun: Instant) -> (PeerKey, Link) {
    let mut after = ANYTHING;
    loop {
        let pause = match link.ask(&Request::Watch { after, wait: WAIT }, LIMIT).await {
            Ok(Response::Stats(stats)) => {
                let revision = stats.revision;
                fleet.observe(key, Observation::Answered);
                // What found the queue full is asked for again.
                if fleet.try_observe(key, Observation::Stats(Arc::from(stats))) {
                    after = revision;
                }
                PAUSE
            }
            Ok(Response::Refused(refusal @ Refusal::Busy { retry_after_ms }))
            | Err(AskError::Refused(refusal @ Refusal::Busy { retry_after_ms })) => {
                after = ANYTHING;
                fleet.observe(key, Observation::Unreadable { why: refusal.to_string() });
                Duration::from_millis(u64::from(retry_after_ms)).clamp(PAUSE, REFUSED_PAUSE)
            }
            Ok(Response::Refused(refusal)) | Err(AskError::Refused(refusal)) => {
                after = ANYTHING;
                fleet.observe(key, Observation::Answered);
                fleet.observe(key, Observation::Unreadable { why: refusal.to_string() });
                REFUSED_PAUSE
            }
            // Our own queue is full; that is no fault of the rig's.
            Err(AskError::Busy) => PAUSE,
            Err(AskError::Timeout) => {
                after = ANYTHING;
                fleet.observe(key, Observation::TimedOut);
                fleet.observe(key, Observation::Unreadable { why: SILENT.to_owned() });
                PAUSE
            }
            Err(AskError::Lost | AskError::Unreachable) => return (key, link),
            Ok(_) | Err(_) => {
                after = ANYTHING;
                fleet.observe(key, Observation::Failed);
                fleet.observe(key, Observation::Unreadable { why: UNREADABLE.to_owned() });
                REFUSED_PAUSE
            }
        };
        // Until it asks again: the first of those that wake at one moment is not to sign for itself alone.
        let _coming = link.announce();
        tokio::time::sleep_until(begun + together(begun.elapsed() + pause)).await;
    }
}

/// The next common moment from then on.
fn together(after: Duration) -> Duration {
    let step = TOGETHER.as_nanos();
    Duration::from_nanos(u64::try_from(after.as_nanos().div_ceil(step) * step).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_at_most_a_second_old() {
        assert!(TOGETHER + PAUSE < Duration::from_secs(1), "and the wire takes its time");
        for millis in [0, 1, 649, 650, 651, 749, 750, 751, 12_345] {
            let answered = Duration::from_millis(millis);
            let next = together(answered + PAUSE);
            assert!(next - answered >= PAUSE && next - answered < TOGETHER + PAUSE, "{millis}");
            assert_eq!(next.as_nanos() % TOGETHER.as_nanos(), 0);
        }
    }
}
