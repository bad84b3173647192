//! Whether the other end of a link lives, and hears us. Pure: `now` is an argument.
//!
//! The dialer says "are you there?"; the other side answers, and the dialer says that the answer came. What either has sent
//! must be heard of again, for a hole may be in one way alone. A dialer that is asked all the time need not ask: whom its
//! answers do not reach asks no more.

use std::time::Duration;

use tokio::time::Instant;

/// The dialer asks this often, unless its answers say as much. What has not been heard of again by the time below ends the
/// link at the side that sent it, so that a black-holed rig shows as offline within 15 s, whichever way the hole is.
pub(super) const BEAT: Duration = Duration::from_secs(6);
pub(super) const DEAD: Duration = Duration::from_secs(13);

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

    /// What we sent then was heard of again.
    pub(super) fn heard_of(&mut self, sent: Instant) {
        self.proven = self.proven.max(sent);
    }

    /// Our answer leaves to a request that came then. It tells the asker what a Beat would: that both ways worked at that
    /// time. A rig that mines has a new reading each 3 s, and its controller asks for the next within one; of a thousand
    /// such rigs, Beats were half of all that came.
    pub(super) fn answers(&mut self, came: Instant, now: Instant) {
        // One that is due or out stays: after we stood still, what the asker knows is older than what we read now.
        if self.dialer && self.out.is_none() && now < self.due {
            self.proven = self.proven.max(came);
            self.due = self.due.max(came + BEAT);
        }
    }

    /// A Beat came: what to say to it.
    pub(super) fn on_beat(&mut self, id: u64, now: Instant) -> Option<u64> {
        if self.dialer {
            let asked = self.out.take()?;
            self.heard_of(asked);
            return Some(CAME);
        }
        if id == CAME {
            self.says_came = true;
            let answered = self.out.take()?;
            self.heard_of(answered);
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

    /// Both ends of a link that is so long each way. The controller asks `pause` after each answer, and the rig answers
    /// `reading` after that, until `quiet`; then nothing is asked. Gives the Beats in a minute, and how old, at worst, what
    /// the controller knew of its way out was.
    fn minute(way: Duration, pause: Duration, reading: Duration, quiet: Duration) -> (u32, Duration) {
        let begun = Instant::now();
        let (mut rig, mut controller) = (Heartbeat::new(true, begun), Heartbeat::new(false, begun));
        // What is on its way to the controller, and what is known when it is there.
        let mut coming: Vec<(Instant, Instant)> = Vec::new();
        let (mut beats, mut oldest) = (0, Duration::ZERO);
        let mut asked = begun;
        let mut now = begun;
        while now < begun + Duration::from_secs(60) {
            if rig.asks(now) {
                beats += 1;
                assert_eq!(controller.on_beat(ASKS, now + way), Some(ANSWERS));
                assert_eq!(rig.on_beat(ANSWERS, now + way * 2), Some(CAME));
                controller.out = None;
                coming.push((now + way * 3, now + way));
            }
            if now >= asked + way + reading && asked < begun + quiet {
                rig.answers(asked + way, now);
                coming.push((now + way, asked));
                asked = now + way + pause;
            }
            oldest = oldest.max(now.saturating_duration_since(controller.proven));
            coming.retain(|(there, sent)| {
                if *there <= now {
                    controller.heard_of(*sent);
                }
                *there > now
            });
            now += Duration::from_millis(10);
        }
        (beats, oldest)
    }

    const MS: Duration = Duration::from_millis(1);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_rig_that_tells_a_reading_each_three_seconds_needs_no_beats_and_any_other_has_one_each_six() {
        for way in [1, 50, 200] {
            let (beats, oldest) = minute(way * MS, 750 * MS, 2250 * MS, MINUTE);
            assert_eq!(beats, 1, "the first");
            assert!(oldest < Duration::from_secs(6) + way * 2 * MS, "{way} {oldest:?}");
            let (beats, _) = minute(way * MS, 750 * MS, Duration::from_secs(30), MINUTE);
            assert_eq!(beats, 10);
        }
    }

    #[test]
    fn whatever_is_asked_and_however_late_it_is_answered_the_asker_knows_in_time_with_two_seconds_to_spare() {
        for way in [1, 50, 200, 1000] {
            for reading in (0..12_000).step_by(400) {
                for quiet in [10, 20, 60] {
                    let (_, oldest) = minute(way * MS, 750 * MS, reading * MS, Duration::from_secs(quiet));
                    assert!(oldest + Duration::from_secs(2) < DEAD, "{way} {reading} {quiet}: {oldest:?}");
                }
            }
        }
    }

    #[test]
    fn after_a_stop_what_is_due_is_not_put_off() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut rig = Heartbeat::new(true, begun);
        assert!(rig.asks(begun));
        assert_eq!(rig.on_beat(ANSWERS, begun), Some(CAME));
        // Sent at 1 and read at 9, since the rig was stopped; the asker knows of 1 then.
        rig.answers(at(9), at(9));
        assert!(rig.asks(at(9)));
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
