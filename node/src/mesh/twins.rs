//! Whether two machines use one identity, as a disk and its copy do: rigs are set up from one image, and that may hold a key.
//!
//! Each drives the other's link out, for the newer one wins; whatever is sent to the rig reaches one of the two.

use std::collections::HashMap;

use miner_ctrl_protocol::PeerKey;

/// So many copies may come in turns before the first is seen again and known. More do not keep to turns for long.
const COPIES: usize = 8;

/// Who was driven out by another program with the same key. No more than are registered.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// By what each program draws at its start and says in its Hello; the latest first.
    driven_out: HashMap<PeerKey, [Option<u64>; COPIES]>,
}

impl Twins {
    /// A link of another program takes the place of one that is up. A program that is started again is another one and
    /// stays that; when one that was driven out comes back, both live. Whether it did.
    pub(super) fn replaced(&mut self, key: PeerKey, was: Option<u64>, is: Option<u64>) -> bool {
        match (was, is) {
            (Some(was), Some(is)) if was != is => {
                let driven_out = self.driven_out.entry(key).or_default();
                let both_live = driven_out.contains(&Some(is));
                driven_out.rotate_right(1);
                driven_out[0] = Some(was);
                both_live
            }
            _ => false,
        }
    }

    pub(super) fn forget(&mut self, key: &PeerKey) {
        self.driven_out.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use miner_ctrl_protocol::smsg::NodeSecret;

    use super::*;

    fn key(number: u8) -> PeerKey {
        NodeSecret::from_seed(&[number; 32]).unwrap().public()
    }

    /// What is found when programs come one after the other, each while the one before it is still there.
    fn found(programs: [Option<u64>; 4]) -> Vec<bool> {
        let mut twins = Twins::default();
        programs.windows(2).map(|pair| twins.replaced(key(1), pair[0], pair[1])).collect()
    }

    #[test]
    fn a_program_that_was_driven_out_and_comes_back_tells_of_two() {
        assert_eq!(found([Some(1), Some(2), Some(1), Some(2)]), [false, true, true]);
        // Three copies that keep to their turns.
        assert_eq!(found([Some(1), Some(2), Some(3), Some(1)]), [false, false, true]);
    }

    #[test]
    fn a_rig_that_is_started_anew_or_dials_anew_is_one() {
        for honest in [[Some(1), Some(2), Some(3), Some(4)], [Some(1), Some(1), Some(1), Some(2)]] {
            assert_eq!(found(honest), [false, false, false]);
        }
        // A program that says nothing of it, as another implementation may.
        assert_eq!(found([None, Some(1), None, Some(1)]), [false, false, false]);
    }

    #[test]
    fn who_is_removed_is_forgotten_and_others_are_not() {
        let mut twins = Twins::default();
        for number in [1, 2] {
            assert!(!twins.replaced(key(number), Some(1), Some(2)));
        }
        twins.forget(&key(1));
        assert!(!twins.replaced(key(1), Some(2), Some(1)));
        assert!(twins.replaced(key(2), Some(2), Some(1)));
    }
}
