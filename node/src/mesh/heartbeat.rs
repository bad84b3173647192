//! Whether the other end of a link lives, and hears us. Pure: `now` is an argument.
//!
//! The dialer says "are you there?"; the other side answers, and the dialer says that the answer came. What either has sent
//! must be heard of again, for a hole may be in one way alone.

use std::time::Duration;

use tokio::time::Instant;

/// The dialer asks this often. What has not been heard of again by the time below ends the link at the side that sent it,
/// so that a black-holed rig shows as offline within 15 s, whichever way the hole is.
pub(super) const BEAT: Duration = Duration::from_secs(6);
pub(super) const DEAD: Duration = Duration::from_secs(13);

/// An answer that leaves so soon after its request came tells the asker what a Beat would: both ways work, or worked so
/// long ago. A rig that mines has a new reading each 3 s, and its controller asks for the next within one: of a thousand
/// such rigs, Beats were half of all that came.
const SOON: Duration = Duration::from_millis(2500);
// Known so late, it must still be known in time: the Beat that comes next has 4 s to go there, and back, and there.
const _: () = assert!(SOON.as_millis() + BEAT.as_millis() + 4000 < DEAD.as_millis());

/// Ids of a Beat: the dialer asks, the other side answers, the dialer says that the answer came.
pub(super) const ASKS: u64 = 0;
pub(super) const ANSWERS: u64 = 1;
pub(super) const CAME: u64 = 2;

/// What one end of a link knows of the other.
#[derive(Debug)]
pub(super) struct Heartbeat {
    dialer: bool,
    heard: Instant,
    /// When the latest of what we sent, and heard of again, was sent: until then our way out worked.
    proven: Instant,
    /// The Beat that waits for its answer, or, not as the dialer, the answer of which we have not heard that it came.
    out: Option<Instant>,
    /// When the dialer's next Beat is due.
    due: Instant,
    /// The dialer says that answers came; one that does not cannot be held to it.
    says_came: bool,
}

impl Heartbeat {
    pub(super) const fn new(dialer: bool, now: Instant) -> Self {
        Self { dialer, heard: now, proven: now, out: None, due: now, says_came: false }
    }

    /// Something came.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// More of a large frame came on a slow line. That is a sign of life, and what would say that our way out works may
    /// wait behind it.
    pub(super) const fn crawls(&mut self, now: Instant) {
        (self.heard, self.proven) = (now, now);
    }

    /// What we sent then was answered.
    pub(super) fn answered(&mut self, sent: Instant) {
        self.proven = self.proven.max(sent);
    }

    /// Our answer leaves to a request that came then.
    pub(super) fn answers(&mut self, came: Instant, now: Instant) {
        if self.dialer && now.saturating_duration_since(came) <= SOON {
            // Should it not come, the asker ends the link, or falls silent: then our next question finds out.
            self.proven = self.proven.max(now);
            self.due = self.due.max(now + BEAT);
        }
    }

    /// A Beat came: what to say to it.
    pub(super) fn on_beat(&mut self, id: u64, now: Instant) -> Option<u64> {
        if self.dialer {
            self.proven = self.proven.max(self.out.take()?);
            return Some(CAME);
        }
        if id == CAME {
            self.says_came = true;
            self.proven = self.out.take().map_or(self.proven, |sent| self.proven.max(sent));
            return None;
        }
        self.out.get_or_insert(now);
        Some(ANSWERS)
    }

    /// Whether the dialer is to ask now; one question at a time.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let asks = self.dialer && self.out.is_none() && now >= self.due;
        if asks {
            (self.out, self.due) = (Some(now), now + BEAT);
        }
        asks
    }

    /// We stood still for so long ourselves: what came meanwhile is not heard yet.
    pub(super) fn stood_still(&mut self, late: Duration, now: Instant) {
        for then in [&mut self.heard, &mut self.proven].into_iter().chain(&mut self.out) {
            *then = now.min(*then + late);
        }
    }

    /// Since when nothing was heard, or nothing of ours heard of.
    pub(super) fn since(&self) -> Instant {
        self.heard.min(if self.dialer || self.says_came { self.proven } else { self.heard })
    }

    /// When there may be something to ask.
    pub(super) const fn due(&self) -> Option<Instant> {
        if self.dialer { Some(self.due) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a link over which a request comes `asked` after the last answer and is answered `after` that, for a
    /// minute, at 50 ms each way; gives the Beats that were sent and how old, at worst, what the asker knew of its way out was.
    fn minute(asked: Duration, after: Duration) -> (u32, Duration) {
        const WAY: Duration = Duration::from_millis(50);
        let begun = Instant::now();
        let (mut rig, mut controller) = (Heartbeat::new(true, begun), Heartbeat::new(false, begun));
        let (mut beats, mut oldest) = (0, Duration::ZERO);
        let mut sent = begun;
        let mut now = begun;
        while now < begun + Duration::from_secs(60) {
            if rig.asks(now) {
                let answer = rig.out.map(|asked| controller.on_beat(ASKS, asked + WAY));
                assert_eq!(answer, Some(Some(ANSWERS)));
                assert_eq!(rig.on_beat(ANSWERS, now + WAY * 2), Some(CAME));
                assert_eq!(controller.on_beat(CAME, now + WAY * 3), None);
                beats += 1;
            }
            if now >= sent + WAY + after {
                rig.answers(sent + WAY, now);
                oldest = oldest.max((now + WAY).saturating_duration_since(controller.proven));
                controller.answered(sent);
                sent = now + WAY + asked;
            }
            oldest = oldest.max(now.saturating_duration_since(controller.proven));
            now += Duration::from_millis(10);
        }
        (beats, oldest)
    }

    #[test]
    fn a_rig_that_answers_soon_needs_no_beats_and_any_other_has_one_each_six_seconds() {
        let (beats, oldest) = minute(Duration::from_millis(750), Duration::from_millis(2200));
        assert_eq!(beats, 1, "the first");
        assert!(oldest < Duration::from_secs(6), "{oldest:?}");
        let (beats, oldest) = minute(Duration::from_millis(750), Duration::from_secs(30));
        assert_eq!(beats, 10);
        assert!(oldest < Duration::from_millis(6200), "{oldest:?}");
    }

    #[test]
    fn requests_that_come_often_and_are_answered_late_leave_the_asker_no_doubt() {
        // Each second another one, each answered after 20 s: none of them says anything of the last 13.
        let begun = Instant::now();
        let mut rig = Heartbeat::new(true, begun);
        assert!(rig.asks(begun));
        let _ = rig.on_beat(ANSWERS, begun);
        for second in 20..60 {
            let now = begun + Duration::from_secs(second);
            rig.answers(now - Duration::from_secs(20), now);
        }
        assert!(rig.asks(begun + BEAT), "no answer put it off");
    }

    #[test]
    fn who_is_asked_ends_by_what_it_sent_not_by_what_it_hears() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut asked = Heartbeat::new(false, begun);
        assert_eq!(asked.on_beat(ASKS, at(1)), Some(ANSWERS));
        asked.heard(at(30));
        assert_eq!(asked.since(), at(30), "a dialer that never said that an answer came is not held to it");
        assert_eq!(asked.on_beat(CAME, at(30)), None);
        asked.heard(at(40));
        assert_eq!(asked.since(), at(1));
        // Its answers prove nothing of it to itself.
        asked.answers(at(40), at(40));
        assert_eq!((asked.since(), asked.due()), (at(1), None));
    }
}
