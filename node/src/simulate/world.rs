//! The pool, the shares and the rate that the stand-in pretends to have.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::console;
use super::cues::Cues;

/// Seconds without a rate after the start, as in the real XMRig.
const WARMUP: Duration = Duration::from_secs(10);
/// Until its first connection.
const CONNECT: Duration = Duration::from_millis(300);
/// Between shares.
const SHARE: Duration = Duration::from_secs(5);
/// Between looks at the cues.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Lines of a flood in each tick.
const FLOOD: u32 = 5000;

/// One simulated life.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) started: Instant,
    pub(super) cues: Cues,
    /// H/s without cues.
    pub(super) base: f64,
}

/// What a moment of it looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moment {
    pub(super) age: Duration,
    pub(super) connected: bool,
    /// Has been connected before.
    pub(super) known: bool,
    pub(super) paused: bool,
    /// Is at another pool than the one it was given.
    pub(super) redirected: bool,
    /// H/s; nothing while it is not known.
    pub(super) rate: Option<f64>,
    pub(super) accepted: u64,
}

impl World {
    pub(super) fn new(base: f64) -> Self {
        Self { started: Instant::now(), cues: Cues::now(), base }
    }

    pub(super) fn moment(&self) -> Moment {
        self.at(self.started.elapsed())
    }

    fn at(&self, age: Duration) -> Moment {
        let lost = self.cues.has("no-pool");
        let known = age >= CONNECT;
        let connected = known && !lost;
        let paused = self.cues.has("paused");
        let warm = age >= self.cues.time("warmup").unwrap_or(WARMUP) && !self.cues.has("null-forever");
        let idle = !connected || paused || self.cues.has("zero");
        let rate = match (idle, warm) {
            (true, _) => Some(0.0),
            (false, false) => None,
            (false, true) => {
                // Real rates wander by a few percent.
                let drift = 1.0 + 0.03 * (age.as_secs_f64() / 7.0).sin();
                Some((self.cues.number("rate").unwrap_or(self.base) * drift * 100.0).floor() / 100.0)
            }
        };
        let accepted = (age.saturating_sub(CONNECT).as_secs_f64() / SHARE.as_secs_f64()) as u64;
        let redirected = self.cues.has("redirected");
        Moment { age, connected, known, paused, redirected, rate, accepted }
    }

    /// What happens at each tick; an exit code ends it.
    pub(super) fn tick(&mut self) -> Option<u8> {
        self.cues = Cues::now();
        if self.cues.has("flood") {
            for number in 0..FLOOD {
                console::line(&format!("\u{1b}[33mflood {number}\u{1b}[0m"));
            }
        }
        (self.cues.time("crash").is_some_and(|after| self.started.elapsed() >= after)).then_some(1)
    }
}

/// Resolves when it shall stop, with the name of the signal; never on cue.
pub(super) async fn stopped() -> &'static str {
    let (Ok(mut term), Ok(mut interrupt), Ok(mut hangup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    loop {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => "SIGHUP",
        };
        if !Cues::now().has("ignore-term") {
            return name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_connects_warms_up_and_mines() {
        let world = World { started: Instant::now(), cues: Cues::default(), base: 1000.0 };
        let at = |milliseconds| world.at(Duration::from_millis(milliseconds));
        assert_eq!((at(0).connected, at(0).rate), (false, Some(0.0)));
        assert_eq!((at(1000).connected, at(1000).rate), (true, None));
        assert!(at(11_000).rate.unwrap() > 900.0);
        assert_eq!((at(1000).accepted, at(60_300).accepted), (0, 12));
    }
}
