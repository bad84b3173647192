//! The one place that lets time pass: it looks at a state again and again until it is what the test waits for.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// Longest wait for a state that comes within seconds on an idle machine: only a broken program exceeds it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// Looks until `state` is there, and gives it.
///
/// # Panics
/// When it is not there after `deadline`.
pub async fn wait_for<T>(what: &str, deadline: Duration, mut state: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let found = timeout_at(end, async {
        loop {
            look.tick().await;
            if let Some(found) = state().await {
                return found;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("not within {} s: {what}", deadline.as_secs()))
}

/// Lets `work` go on until it is done or this long has passed: for tests that break in at a moment that nobody chose.
pub async fn for_a_while<T>(moment: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(moment, work).await.ok()
}
