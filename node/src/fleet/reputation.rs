//! How well a peer answers, in one number.

use serde::{Deserialize, Serialize};

/// How much one outcome weighs. After some 45 answers in a row a score rises from 0 above 90, after as many failures it
/// falls from 100 below 10: minutes at the rate at which a rig is watched, not days and not one bad moment.
const WEIGHT: f64 = 0.05;

/// A timeout costs its asker the whole wait and tells nothing: it weighs twice.
const TIMEOUT_WEIGHT: f64 = 0.10;

/// A dial that fails may be our own network, and is repeated every minute: it weighs least.
const DIAL_WEIGHT: f64 = 0.01;

/// What came of asking a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered; a refusal is an answer.
    Answered,
    /// It could not be dialled.
    DialFailed,
    /// The link broke, or what came was no answer.
    Failed,
    /// Nothing came in time.
    TimedOut,
}

/// A peer's record. The score is 0 to 100 and starts at 50.
///
/// The rule, on paper: the score is the mean of the outcomes, 100 for an answer and 0 for anything else, in which the
/// newest has weight `w` and all before it together `1 - w`; before the first outcome stands 50. So
/// `score = score + w * (outcome - score)`, with `w` = 0.05 for answers and failures, 0.10 for timeouts, 0.01 for
/// failed dials. It follows that it never leaves 0..=100, that an answer never lowers it and nothing else ever raises
/// it, that it approaches what the peer deserves and forgets the past at the same pace, and that it depends on the
/// outcomes alone: no clock is read, and a restart changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reputation {
    mean: f64,
    successes: u64,
    failures: u64,
    timeouts: u64,
}

impl Default for Reputation {
    fn default() -> Self {
        Self { mean: 0.5, successes: 0, failures: 0, timeouts: 0 }
    }
}

impl Reputation {
    /// From its stored parts; a mean that is none counts as no record.
    #[must_use]
    pub fn from_parts(mean: f64, successes: u64, failures: u64, timeouts: u64) -> Self {
        let mean = if mean.is_finite() { mean.clamp(0.0, 1.0) } else { 0.5 };
        Self { mean, successes, failures, timeouts }
    }

    /// Takes an outcome into account.
    pub fn record(&mut self, outcome: Outcome) {
        let (weight, worth, count) = match outcome {
            Outcome::Answered => (WEIGHT, 1.0, &mut self.successes),
            Outcome::DialFailed => (DIAL_WEIGHT, 0.0, &mut self.failures),
            Outcome::Failed => (WEIGHT, 0.0, &mut self.failures),
            Outcome::TimedOut => (TIMEOUT_WEIGHT, 0.0, &mut self.timeouts),
        };
        *count = count.saturating_add(1);
        self.mean = (self.mean + weight * (worth - self.mean)).clamp(0.0, 1.0);
    }

    /// 0 to 100.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the mean lies in 0..=1")]
    pub fn score(&self) -> u8 {
        (self.mean * 100.0).round() as u8
    }

    /// The mean behind the score, 0 to 1, for storing.
    #[must_use]
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// Answers so far.
    #[must_use]
    pub const fn successes(&self) -> u64 {
        self.successes
    }

    /// Failures so far, failed dials included.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// Answers that did not come.
    #[must_use]
    pub const fn timeouts(&self) -> u64 {
        self.timeouts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![Just(Outcome::Answered), Just(Outcome::DialFailed), Just(Outcome::Failed), Just(Outcome::TimedOut)]
    }

    fn after(outcomes: &[Outcome]) -> Reputation {
        let mut reputation = Reputation::default();
        outcomes.iter().for_each(|outcome| reputation.record(*outcome));
        reputation
    }

    #[test]
    fn a_stranger_starts_in_the_middle() {
        assert_eq!(Reputation::default().score(), 50);
    }

    #[test]
    fn a_peer_that_always_or_never_answers_gets_there() {
        assert_eq!(after(&[Outcome::Answered; 200]).score(), 100);
        assert_eq!(after(&[Outcome::Failed; 200]).score(), 0);
        assert!(after(&[Outcome::Answered; 45]).score() >= 95);
        assert!(after(&[Outcome::Failed; 45]).score() <= 5);
        assert!(after(&[Outcome::TimedOut]).score() < after(&[Outcome::Failed]).score());
        assert!(after(&[Outcome::Failed]).score() < after(&[Outcome::DialFailed]).score());
    }

    #[test]
    fn a_stored_mean_that_is_none_counts_as_no_record() {
        for (mean, score) in [(f64::NAN, 50), (f64::INFINITY, 50), (7.0, 100), (-1.0, 0)] {
            assert_eq!(Reputation::from_parts(mean, 0, 0, 0).score(), score);
        }
    }

    proptest! {
        #[test]
        fn the_score_stays_in_range_and_each_outcome_moves_it_its_own_way(
            outcomes in prop::collection::vec(outcome(), 0..400), next in outcome()
        ) {
            let before = after(&outcomes);
            let mut now = before;
            now.record(next);
            prop_assert!(now.score() <= 100);
            if next == Outcome::Answered {
                prop_assert!(now.mean() >= before.mean());
            } else {
                prop_assert!(now.mean() <= before.mean());
            }
        }

        #[test]
        fn one_more_answer_in_place_of_a_failure_never_lowers_the_score(
            outcomes in prop::collection::vec(outcome(), 1..100), place in any::<prop::sample::Index>()
        ) {
            let mut better = outcomes.clone();
            if outcomes[place.index(outcomes.len())] == Outcome::Failed {
                better[place.index(outcomes.len())] = Outcome::Answered;
            }
            prop_assert!(after(&better).mean() >= after(&outcomes).mean());
        }

        #[test]
        fn a_restart_in_between_changes_nothing(
            first in prop::collection::vec(outcome(), 0..50), rest in prop::collection::vec(outcome(), 0..50)
        ) {
            let half = after(&first);
            let mut restarted =
                Reputation::from_parts(half.mean(), half.successes(), half.failures(), half.timeouts());
            rest.iter().for_each(|outcome| restarted.record(*outcome));
            prop_assert_eq!(restarted, after(&[first, rest].concat()));
        }
    }
}
