//! Which sequence numbers of a session were seen: a sliding bitmap (the ring of RFC 6479).

/// How far behind the newest a message may arrive. A link carries at most 32 open requests each way, so this is
/// thirty times what an honest peer can reorder.
pub(super) const WINDOW: u64 = 1024;

/// One word more than the window has, so that a window that starts inside a word is whole.
const WORDS: usize = WINDOW as usize / 64 + 1;

/// The last [`WINDOW`] sequence numbers, each accepted once.
pub(super) struct ReplayWindow {
    newest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    pub(super) const fn new() -> Self {
        Self { newest: 0, seen: [0; WORDS] }
    }

    /// Whether a sequence number is neither seen nor too old to tell. Changes nothing: what claims to be a message
    /// takes its place only once it has been verified, by [`Self::mark`].
    pub(super) const fn admits(&self, seq: u64) -> bool {
        if seq > self.newest {
            return true;
        }
        self.newest - seq < WINDOW && self.seen[word(seq)] & bit(seq) == 0
    }

    /// Remembers a sequence number that [`Self::admits`] and that was verified.
    pub(super) fn mark(&mut self, seq: u64) {
        if seq > self.newest {
            // Words between the old front and the new one hold numbers of one lap ago.
            let (old, new) = (self.newest / 64, seq / 64);
            for index in (old + 1..=new).take(WORDS) {
                self.seen[(index % WORDS as u64) as usize] = 0;
            }
            self.newest = seq;
        }
        self.seen[word(seq)] |= bit(seq);
    }
}

const fn word(seq: u64) -> usize {
    (seq / 64 % WORDS as u64) as usize
}

const fn bit(seq: u64) -> u64 {
    1 << (seq % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn accept(window: &mut ReplayWindow, seq: u64) -> bool {
        let admitted = window.admits(seq);
        if admitted {
            window.mark(seq);
        }
        admitted
    }

    #[test]
    fn each_number_is_accepted_once_in_any_order() {
        let mut window = ReplayWindow::new();
        for seq in [5, 0, 3, 1023, 64, 1] {
            assert!(accept(&mut window, seq), "{seq}");
            assert!(!accept(&mut window, seq), "{seq} again");
        }
    }

    #[test]
    fn the_window_is_exactly_as_wide_as_it_says() {
        for newest in [WINDOW, 5000, 5055, 5056, u64::MAX] {
            let mut window = ReplayWindow::new();
            assert!(accept(&mut window, newest));
            assert!(accept(&mut window, newest - (WINDOW - 1)));
            assert!(!accept(&mut window, newest - WINDOW));
        }
    }

    #[test]
    fn a_leap_over_many_laps_forgets_what_it_left_behind() {
        let mut window = ReplayWindow::new();
        for seq in 0..WINDOW {
            assert!(accept(&mut window, seq));
        }
        let far = 1 << 40;
        assert!(accept(&mut window, far));
        for seq in far + 1 - WINDOW..far {
            assert!(accept(&mut window, seq), "{seq}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_that_remembers_everything(
            steps in prop::collection::vec(prop_oneof![0u64..3000, 2000u64..4500, Just(u64::MAX), 1u64 << 32..1 << 33], 1..400)
        ) {
            let mut window = ReplayWindow::new();
            let mut seen = HashSet::new();
            let mut newest = 0;
            for seq in steps {
                let expected = !seen.contains(&seq) && (seq > newest || newest - seq < WINDOW);
                prop_assert_eq!(accept(&mut window, seq), expected);
                if expected {
                    seen.insert(seq);
                    newest = newest.max(seq);
                }
            }
        }
    }
}
