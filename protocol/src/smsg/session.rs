//! The keys that the two ends of a session share.

use std::fmt;

use rand_core::CryptoRng;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::id::PeerKey;
use crate::smsg::envelope::{Direction, Statement};
use crate::smsg::hpke::{self, Cipher, Context, NoAgreement};
use crate::smsg::{LinkNonce, NodeSecret};

const INFO: &[u8] = b"miner-ctrl/smsg/1";
const ANSWER_KEY: &[u8] = b"miner-ctrl smsg 1 answer key";
const ANSWER_NONCE: &[u8] = b"miner-ctrl smsg 1 answer nonce";

/// Who asks and who answers on one connection, with their agreement keys, which are the same for every session.
pub(super) struct Ends {
    pub(super) asker: PeerKey,
    pub(super) answerer: PeerKey,
    asker_x25519: [u8; 32],
    answerer_x25519: [u8; 32],
}

impl Ends {
    pub(super) fn new(asker: PeerKey, answerer: PeerKey) -> Self {
        Self { asker_x25519: asker.x25519(), answerer_x25519: answerer.x25519(), asker, answerer }
    }

    /// For the other direction of the same connection.
    pub(super) const fn swapped(&self) -> Self {
        Self {
            asker: self.answerer,
            answerer: self.asker,
            asker_x25519: self.answerer_x25519,
            answerer_x25519: self.asker_x25519,
        }
    }

    fn info(&self, nonce: LinkNonce, number: u32) -> Vec<u8> {
        [INFO, self.asker.as_bytes(), self.answerer.as_bytes(), &nonce.0, &number.to_be_bytes()].concat()
    }
}

/// One session: the keys for requests, and those for the answers, exported from them.
pub(super) struct SessionKeys {
    pub(super) number: u32,
    pub(super) enc: [u8; 32],
    pub(super) requests: Cipher,
    pub(super) answers: Cipher,
}

impl SessionKeys {
    /// A new session of the asker's.
    pub(super) fn begin<R: CryptoRng>(
        asker: &NodeSecret,
        ends: &Ends,
        nonce: LinkNonce,
        number: u32,
        rng: &mut R,
    ) -> Result<Self, NoAgreement> {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        let ephemeral = StaticSecret::from(*seed);
        let sender = StaticSecret::from(*asker.x25519());
        let (secret, enc) = hpke::auth_encap(&ephemeral, &sender, &ends.asker_x25519, &ends.answerer_x25519)?;
        Ok(Self::derive(Context::schedule(&secret, &ends.info(nonce, number)), number, enc))
    }

    /// The same session at the answerer's.
    pub(super) fn join(
        answerer: &NodeSecret,
        ends: &Ends,
        nonce: LinkNonce,
        number: u32,
        enc: [u8; 32],
    ) -> Result<Self, NoAgreement> {
        let receiver = StaticSecret::from(*answerer.x25519());
        let secret = hpke::auth_decap(&enc, &receiver, &ends.answerer_x25519, &ends.asker_x25519)?;
        Ok(Self::derive(Context::schedule(&secret, &ends.info(nonce, number)), number, enc))
    }

    fn derive(context: Context, number: u32, enc: [u8; 32]) -> Self {
        let answers = Cipher::new(&context.export(ANSWER_KEY), context.export(ANSWER_NONCE));
        Self { number, enc, requests: context.cipher, answers }
    }

    /// What the author of a message of this session signs.
    pub(super) const fn statement(&self, ends: &Ends, direction: Direction, seq: u64) -> Statement {
        let (author, addressee) = match direction {
            Direction::Answer => (ends.answerer, ends.asker),
            Direction::Request => (ends.asker, ends.answerer),
        };
        Statement { direction, author, addressee, enc: self.enc, seq }
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKeys({})", self.number)
    }
}
