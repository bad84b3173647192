//! Words that two people compare, by eye or over the telephone.

use sha2::{Digest, Sha256};

use crate::id::PeerKey;

/// The English list of BIP-39, 2048 words of which the first four letters tell each from the others. Taken
/// from the crate `bip39` 3.0 (CC0-1.0); a test below compares its SHA-256 with that of the published `english.txt`.
const WORDS: &str = include_str!("english.txt");

/// Bits in a word of a list of 2048.
const WORD_BITS: usize = 11;

/// Words in a fingerprint: 66 bits, more than anyone can search for a second key with the same words.
const FINGERPRINT_WORDS: usize = 6;

/// Times that the digest of a pair is hashed on. Someone between two nodes may choose both of the keys that he shows,
/// and so look for any two that give the same words on both sides, which takes 2^33 keys on each side rather than 2^66;
/// this makes each try 2^15 times as dear. A person waits a few milliseconds.
const PAIR_ROUNDS: u32 = 1 << 15;

/// Six words for two keys: the same on both sides, whichever asks. Takes milliseconds: not for the inside of a loop.
#[must_use]
pub fn fingerprint_words(one: &PeerKey, other: &PeerKey) -> String {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    let mut digest: [u8; 32] = Sha256::new()
        .chain_update(b"miner-ctrl fingerprint 1 pair\0")
        .chain_update(low.as_bytes())
        .chain_update(high.as_bytes())
        .finalize()
        .into();
    for _ in 0..PAIR_ROUNDS {
        digest = Sha256::digest(digest).into();
    }
    words(&digest)
}

impl PeerKey {
    /// Six words for this key alone.
    #[must_use]
    pub fn words(&self) -> String {
        let digest =
            Sha256::new().chain_update(b"miner-ctrl fingerprint 1 node\0").chain_update(self.as_bytes()).finalize();
        words(&digest.into())
    }
}

fn words(digest: &[u8; 32]) -> String {
    let bit = |index: usize| usize::from(digest[index / 8] >> (7 - index % 8) & 1);
    let word = |position: usize| {
        let start = position * WORD_BITS;
        let index = (start..start + WORD_BITS).fold(0, |index, at| index << 1 | bit(at));
        WORDS.lines().nth(index).unwrap_or_default()
    };
    (0..FINGERPRINT_WORDS).map(word).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smsg::NodeSecret;

    fn key(seed: u8) -> PeerKey {
        NodeSecret::from_seed(&[seed; 32]).unwrap().public()
    }

    #[test]
    fn the_list_is_the_published_one() {
        let digest = hex::encode(Sha256::digest(WORDS));
        assert_eq!(digest, "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda");
        assert_eq!(WORDS.lines().count(), 1 << WORD_BITS);
    }

    #[test]
    fn the_words_of_a_pair_do_not_depend_on_who_asks() {
        assert_eq!(fingerprint_words(&key(1), &key(2)), fingerprint_words(&key(2), &key(1)));
        assert_ne!(fingerprint_words(&key(1), &key(2)), fingerprint_words(&key(1), &key(3)));
        assert_ne!(fingerprint_words(&key(1), &key(1)), key(1).words());
    }

    #[test]
    fn a_fingerprint_is_one_shell_word_of_six_words() {
        for text in [key(1).words(), fingerprint_words(&key(1), &key(2))] {
            assert_eq!(text.split('-').count(), FINGERPRINT_WORDS);
            assert!(text.chars().all(|c| c == '-' || c.is_ascii_lowercase()), "{text}");
        }
    }

    #[test]
    fn the_first_and_the_last_word_of_the_list_are_reached() {
        assert_eq!(words(&[0; 32]), "abandon-abandon-abandon-abandon-abandon-abandon");
        assert_eq!(words(&[0xff; 32]), "zoo-zoo-zoo-zoo-zoo-zoo");
        let mut digest = [0; 32];
        digest[8] = 0b0100_0000;
        assert_eq!(words(&digest), "abandon-abandon-abandon-abandon-abandon-ability");
    }
}
