//! When a rig answers a `Watch`: at once with what its asker does not know yet and with a change of a miner's state, and
//! with mere readings that come meanwhile at moments counted from the question.

use std::time::Duration;

use miner_ctrl_protocol::message::MAX_WAIT_SECONDS;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Readings are told at whole steps of this after the question. A controller that asks a thousand rigs at one moment so
/// has their answers at few moments, which costs it less than answers that drip in; and nothing becomes older by it than by
/// the controller's own pause between two questions. A miner is read each 3 s, which is four steps.
pub(crate) const STEP: Duration = Duration::from_millis(750);

/// What a rig tells of itself.
pub(crate) trait Tells {
    /// What a person who acts waits for; readings are left out.
    type State: PartialEq + Send;

    /// Grows with each change.
    fn revision(&self) -> u64;

    fn state(&self) -> Self::State;
}

/// Returns when there is something to tell to a watcher that has revision `after`, or else after `wait` seconds, of which
/// [`MAX_WAIT_SECONDS`] count, or when nothing will change any more.
pub(crate) async fn since<T: Tells + Send + Sync>(known: &mut watch::Receiver<T>, after: u64, wait: u32) {
    let asked = Instant::now();
    let until = asked + Duration::from_secs(wait.min(MAX_WAIT_SECONDS).into());
    let state = {
        let now = known.borrow_and_update();
        if now.revision() != after {
            return;
        }
        now.state()
    };
    // Bound to a name: what `wait_for` gives is a lock, and must not live on.
    let changed = timeout_at(until, known.wait_for(|now| now.revision() != after)).await.is_ok_and(|told| told.is_ok());
    if changed {
        // Ended by the moment, or because the node is stopping: in either case it is to be told now.
        let _ = timeout_at(until.min(moment(asked)), known.wait_for(|now| now.state() != state)).await;
    }
}

/// The next whole step after the question.
fn moment(asked: Instant) -> Instant {
    let steps = asked.elapsed().as_nanos().div_ceil(STEP.as_nanos()).max(1);
    asked + STEP * u32::try_from(steps).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Rig {
        revision: u64,
        mining: bool,
    }

    impl Tells for Rig {
        type State = bool;

        fn revision(&self) -> u64 {
            self.revision
        }

        fn state(&self) -> bool {
            self.mining
        }
    }

    const RIG: Rig = Rig { revision: 7, mining: true };

    /// How long somebody who has revision 7 waits for up to `wait` seconds, when that comes about after so many ms.
    async fn told_after(wait: u32, changes: &[(u64, Rig)]) -> Duration {
        let (rig, mut known) = watch::channel(RIG);
        let (asked, changes) = (Instant::now(), changes.to_vec());
        let changing = tokio::spawn(async move {
            for (at, change) in changes {
                tokio::time::sleep_until(asked + Duration::from_millis(at)).await;
                rig.send_replace(change);
            }
            // Until nobody listens any more.
            rig.closed().await;
        });
        since(&mut known, 7, wait).await;
        let waited = asked.elapsed();
        drop(known);
        changing.await.unwrap();
        waited
    }

    const fn reading(revision: u64) -> Rig {
        Rig { revision, mining: true }
    }

    const fn stopped(revision: u64) -> Rig {
        Rig { revision, mining: false }
    }

    #[tokio::test(start_paused = true)]
    async fn readings_are_told_at_whole_steps_after_the_question() {
        let ms = Duration::from_millis;
        for (at, told) in [(1, 750), (749, 750), (750, 750), (751, 1_500), (2_000, 2_250)] {
            assert_eq!(told_after(30, &[(at, reading(8))]).await, ms(told), "a reading after {at} ms");
        }
        assert_eq!(told_after(30, &[(10, reading(8)), (20, reading(9))]).await, ms(750));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_state_is_told_at_once() {
        let ms = Duration::from_millis;
        assert_eq!(told_after(30, &[(10, stopped(8))]).await, ms(10));
        assert_eq!(told_after(30, &[(10, reading(8)), (20, stopped(9))]).await, ms(20), "a reading was held back");
        assert_eq!(told_after(30, &[(1_000, reading(8)), (1_200, stopped(9))]).await, ms(1_200));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_was_asked_for() {
        let second = Duration::from_secs(1);
        assert_eq!(told_after(0, &[]).await, Duration::ZERO);
        assert_eq!(told_after(1, &[]).await, second);
        assert_eq!(told_after(1, &[(950, reading(8))]).await, second, "the step would end later");
        assert_eq!(told_after(u32::MAX, &[]).await, second * MAX_WAIT_SECONDS);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_asker_does_not_know_and_the_end_are_told_at_once() {
        let (rig, mut known) = watch::channel(RIG);
        let asked = Instant::now();
        for other in [0, 6, 8] {
            since(&mut known, other, 30).await;
        }
        drop(rig);
        since(&mut known, 7, 30).await;
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
}
