//! A code becomes two pinned keys: SPAKE2 (in the spirit of RFC 9382) with confirmation, bound to both peer keys.
//!
//! ```text
//!   adder                                  shower (shows the code)
//!     AdderStart::new      -- message -->    ShowerStart::respond
//!     AdderStart::finish   <-- message --
//!                          -- confirm -->    ShowerStart::verify     wrong: one of the code's tries is gone
//!     AdderConfirm::verify <-- confirm --
//! ```
//!
//! The adder confirms first. Were it the other way round, anybody who dials in could test a guess against the shower's
//! confirmation and hang up before the shower learns of it. Each run gives either side, or one in the middle, one guess;
//! a recording gives none.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use rand_core::CryptoRng;
use sha2::Sha256;
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use crate::id::PeerKey;
use crate::smsg::PairingCode;

/// A SPAKE2 message: the side's letter and a point.
const MESSAGE: usize = 33;

const TRANSCRIPT_DOMAIN: &[u8] = b"miner-ctrl pairing 1 transcript\0";
const ADDER_LABEL: &[u8] = b"miner-ctrl pairing 1 adder confirms\0";
const SHOWER_LABEL: &[u8] = b"miner-ctrl pairing 1 shower confirms\0";

/// Why pairing by code did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// The other side's message is not one of this exchange.
    #[error("a pairing message that cannot be read")]
    Unreadable,
    /// The other side has another code, or is not who it says.
    #[error(transparent)]
    WrongCode(#[from] WrongCode),
}

/// The other side did not prove that it has this code and these two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pairing code is wrong")]
pub struct WrongCode;

/// The side whose operator types the code, before it has heard from the other.
pub struct AdderStart {
    spake: Spake2<Ed25519Group>,
    message: [u8; MESSAGE],
    adder: PeerKey,
    shower: PeerKey,
}

impl AdderStart {
    /// Begins: the message is for the shower. Both keys are taken from the connection, never from what a peer says.
    #[must_use]
    pub fn new<R: CryptoRng>(code: &PairingCode, adder: PeerKey, shower: PeerKey, rng: &mut R) -> (Self, Vec<u8>) {
        let (spake, message) = Spake2::start_a_with_rng(&password(code), &identity(&adder), &identity(&shower), rng);
        let start = Self { spake, message: own(&message), adder, shower };
        (start, message)
    }

    /// Takes the shower's message and confirms: the bytes are for the shower.
    ///
    /// # Errors
    /// [`PairingError::Unreadable`] for what is no message of a shower.
    pub fn finish(self, shower_message: &[u8]) -> Result<(AdderConfirm, Vec<u8>), PairingError> {
        let theirs = read(shower_message)?;
        let key = Zeroizing::new(self.spake.finish(&theirs).map_err(|_| PairingError::Unreadable)?);
        let transcript = transcript(&self.adder, &self.shower, &self.message, &theirs);
        let confirm = confirmation(&key, ADDER_LABEL, &transcript).finalize().into_bytes().to_vec();
        Ok((AdderConfirm { expected: confirmation(&key, SHOWER_LABEL, &transcript) }, confirm))
    }
}

/// The adder that has confirmed and waits for the shower to do so.
pub struct AdderConfirm {
    expected: Hmac<Sha256>,
}

impl AdderConfirm {
    /// Whether the shower has the same code and saw the same keys; only then is it paired.
    ///
    /// # Errors
    /// [`WrongCode`].
    pub fn verify(self, shower_confirm: &[u8]) -> Result<(), WrongCode> {
        self.expected.verify_slice(shower_confirm).map_err(|_| WrongCode)
    }
}

/// The side that shows the code, after it has answered an adder.
pub struct ShowerStart {
    expected: Hmac<Sha256>,
    confirm: Hmac<Sha256>,
}

impl ShowerStart {
    /// Answers an adder's message: the bytes are for the adder.
    ///
    /// # Errors
    /// [`PairingError::Unreadable`] for what is no message of an adder.
    pub fn respond<R: CryptoRng>(
        code: &PairingCode,
        adder: PeerKey,
        shower: PeerKey,
        adder_message: &[u8],
        rng: &mut R,
    ) -> Result<(Self, Vec<u8>), PairingError> {
        let theirs = read(adder_message)?;
        let (spake, message) =
            Spake2::<Ed25519Group>::start_b_with_rng(&password(code), &identity(&adder), &identity(&shower), rng);
        let key = Zeroizing::new(spake.finish(&theirs).map_err(|_| PairingError::Unreadable)?);
        let transcript = transcript(&adder, &shower, &theirs, &own(&message));
        let start = Self {
            expected: confirmation(&key, ADDER_LABEL, &transcript),
            confirm: confirmation(&key, SHOWER_LABEL, &transcript),
        };
        Ok((start, message))
    }

    /// Checks the adder's confirmation and gives our own, which goes out only now.
    ///
    /// # Errors
    /// [`WrongCode`]: count it, and burn the code after a few.
    pub fn verify(self, adder_confirm: &[u8]) -> Result<Vec<u8>, WrongCode> {
        self.expected.verify_slice(adder_confirm).map_err(|_| WrongCode)?;
        Ok(self.confirm.finalize().into_bytes().to_vec())
    }
}

macro_rules! opaque {
    ($($type:ident),+) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "(…)"))
            }
        }
    )+};
}

opaque!(AdderStart, AdderConfirm, ShowerStart);

fn password(code: &PairingCode) -> Password {
    Password::new(code.symbols())
}

fn identity(key: &PeerKey) -> Identity {
    Identity::new(key.as_bytes())
}

fn own(message: &[u8]) -> [u8; MESSAGE] {
    message.try_into().expect("SPAKE2 over edwards25519 writes a letter and 32 bytes")
}

/// A peer's message, strictly: one spelling of a point of the prime-order group. SPAKE2 as such would also take points
/// with a part of small order, which tell three bits of our secret scalar to whoever sends them.
fn read(message: &[u8]) -> Result<[u8; MESSAGE], PairingError> {
    let message: [u8; MESSAGE] = message.try_into().map_err(|_| PairingError::Unreadable)?;
    let point = message.last_chunk::<32>().ok_or(PairingError::Unreadable)?;
    let point = VerifyingKey::from_bytes(point).map_err(|_| PairingError::Unreadable)?.to_edwards();
    let canonical = point.compress().as_bytes() == &message[1..];
    if !canonical || point.is_small_order() || !point.is_torsion_free() {
        return Err(PairingError::Unreadable);
    }
    Ok(message)
}

/// Both keys and both messages. All four have fixed lengths, so that there is one way to read it.
fn transcript(adder: &PeerKey, shower: &PeerKey, of_adder: &[u8; MESSAGE], of_shower: &[u8; MESSAGE]) -> Vec<u8> {
    [TRANSCRIPT_DOMAIN, adder.as_bytes(), shower.as_bytes(), of_adder, of_shower].concat()
}

/// A MAC over the transcript, keyed for one side.
fn confirmation(key: &[u8], label: &[u8], transcript: &[u8]) -> Hmac<Sha256> {
    let mut mac_key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, key)
        .expand_multi_info(&[label, transcript], mac_key.as_mut_slice())
        .expect("HKDF yields 32 bytes");
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(mac_key.as_slice()).expect("HMAC takes a key of any length");
    mac.update(label);
    mac.update(transcript);
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::smsg::NodeSecret;

    fn key(seed: u8) -> PeerKey {
        NodeSecret::from_seed(&[seed; 32]).unwrap().public()
    }

    fn code(text: &str) -> PairingCode {
        text.parse().unwrap()
    }

    /// What each side believes: its code, the adder's key and the shower's key.
    type Belief<'a> = (&'a str, PeerKey, PeerKey);

    /// Runs the exchange as far as it goes; `Ok` when both sides are paired.
    fn run(adder: Belief<'_>, shower: Belief<'_>) -> Result<(), PairingError> {
        let rng = &mut rand::rng();
        let (start, message) = AdderStart::new(&code(adder.0), adder.1, adder.2, rng);
        let (responded, reply) = ShowerStart::respond(&code(shower.0), shower.1, shower.2, &message, rng)?;
        let (confirming, confirm) = start.finish(&reply)?;
        let own_confirm = responded.verify(&confirm)?;
        confirming.verify(&own_confirm)?;
        Ok(())
    }

    #[test]
    fn the_right_code_pairs() {
        let typed = ("7kq2 m9xd", key(1), key(2));
        assert_eq!(run(typed, ("7KQ2-M9XD", key(1), key(2))), Ok(()));
    }

    #[test]
    fn a_wrong_code_is_seen_by_both_sides() {
        let rng = &mut rand::rng();
        let (start, message) = AdderStart::new(&code("7KQ2-M9XD"), key(1), key(2), rng);
        let (responded, reply) = ShowerStart::respond(&code("7KQ2-M9XE"), key(1), key(2), &message, rng).unwrap();
        // The shower as it would be if it did not mind the adder's confirmation.
        let shower_confirm = responded.confirm.clone().finalize().into_bytes();
        let (confirming, confirm) = start.finish(&reply).unwrap();
        assert_eq!(responded.verify(&confirm), Err(WrongCode));
        assert_eq!(confirming.verify(&shower_confirm), Err(WrongCode));
    }

    #[test]
    fn another_key_in_between_is_seen_on_either_side() {
        let honest = ("7KQ2-M9XD", key(1), key(2));
        for other in [(key(2), key(1)), (key(3), key(2)), (key(1), key(3))] {
            let other = ("7KQ2-M9XD", other.0, other.1);
            assert_eq!(run(honest, other), Err(PairingError::WrongCode(WrongCode)));
            assert_eq!(run(other, honest), Err(PairingError::WrongCode(WrongCode)));
        }
    }

    #[test]
    fn a_reflected_message_or_confirmation_fails() {
        let rng = &mut rand::rng();
        let own = code("7KQ2-M9XD");
        let (start, message) = AdderStart::new(&own, key(1), key(2), rng);
        assert_eq!(start.finish(&message).unwrap_err(), PairingError::Unreadable);

        // Even relabelled as the shower's.
        let (start, mut message) = AdderStart::new(&own, key(1), key(2), rng);
        message[0] = b'B';
        let (confirming, confirm) = start.finish(&message).unwrap();
        assert_eq!(confirming.verify(&confirm), Err(WrongCode));

        let (start, message) = AdderStart::new(&own, key(1), key(2), rng);
        let (responded, reply) = ShowerStart::respond(&own, key(1), key(2), &message, rng).unwrap();
        let (confirming, confirm) = start.finish(&reply).unwrap();
        assert!(responded.verify(&confirm).is_ok());
        assert_eq!(confirming.verify(&confirm), Err(WrongCode));
    }

    #[test]
    fn a_confirmation_of_another_run_fails() {
        let rng = &mut rand::rng();
        let own = code("7KQ2-M9XD");
        let (first, message) = AdderStart::new(&own, key(1), key(2), rng);
        let (_, reply) = ShowerStart::respond(&own, key(1), key(2), &message, rng).unwrap();
        let (_, confirm) = first.finish(&reply).unwrap();
        let (again, _) = ShowerStart::respond(&own, key(1), key(2), &message, rng).unwrap();
        assert_eq!(again.verify(&confirm), Err(WrongCode));
    }

    #[test]
    fn points_that_are_weak_mixed_or_loosely_spelt_are_refused() {
        let order_eight = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
        let identity = "0100000000000000000000000000000000000000000000000000000000000000";
        let loose = "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
        for point in [order_eight, identity, loose] {
            for side in *b"AB" {
                let message = [vec![side], hex::decode(point).unwrap()].concat();
                assert_eq!(read(&message), Err(PairingError::Unreadable), "{point}");
            }
        }
        let torsion = VerifyingKey::from_bytes(&hex::decode(order_eight).unwrap().try_into().unwrap()).unwrap();
        let mixed = (key(1).verifying().to_edwards() + torsion.to_edwards()).compress();
        assert_eq!(read(&[b"A".as_slice(), mixed.as_bytes()].concat()), Err(PairingError::Unreadable));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..70),
            side in prop::sample::select(b"AB".to_vec()),
            point in any::<[u8; 32]>(),
        ) {
            let rng = &mut rand::rng();
            let own = code("7KQ2-M9XD");
            for bytes in [bytes, [[side].as_slice(), &point].concat()] {
                if let Ok((start, _)) = ShowerStart::respond(&own, key(1), key(2), &bytes, rng) {
                    prop_assert_eq!(start.verify(&bytes), Err(WrongCode));
                }
                if let Ok((confirm, _)) = AdderStart::new(&own, key(1), key(2), rng).0.finish(&bytes) {
                    prop_assert_eq!(confirm.verify(&bytes), Err(WrongCode));
                }
            }
        }
    }
}
