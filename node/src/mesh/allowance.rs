//! How often a peer may ask, and a stranger come.

use tokio::time::Instant;

/// So often at once, and then so often a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub per_second: f64,
    /// At once, after a pause.
    pub burst: f64,
}

/// What is left of a rate.
#[derive(Debug)]
pub(super) struct Allowance {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(super) const fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, left: rate.burst, at: now }
    }

    /// When it was taken from last, or made.
    pub(super) const fn at(&self) -> Instant {
        self.at
    }

    pub(super) fn is_used_up(&self, now: Instant) -> bool {
        self.left_at(now) < 1.0
    }

    /// Takes one from it; false when it is used up.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        (self.left, self.at) = (self.left_at(now), now);
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }

    fn left_at(&self, now: Instant) -> f64 {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.rate.per_second;
        (self.left + earned).min(self.rate.burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_and_then_so_many_a_second() {
        let now = Instant::now();
        let mut allowance = Allowance::new(Rate { per_second: 2.0, burst: 3.0 }, now);
        assert_eq!((0..5).filter(|_| allowance.take(now)).count(), 3);
        let soon = now + Duration::from_millis(400);
        assert!(allowance.is_used_up(soon) && !allowance.take(soon));
        let later = now + Duration::from_millis(600);
        assert!(!allowance.is_used_up(later) && allowance.take(later), "what was refused cost nothing");
        let much_later = now + Duration::from_secs(60);
        assert_eq!((0..5).filter(|_| allowance.take(much_later)).count(), 3);
    }
}
