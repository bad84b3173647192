//! The asking end of a link: seals requests, and opens the one answer to each.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand_core::CryptoRng;

use crate::codec::MAX_BODY;
use crate::id::PeerKey;
use crate::smsg::batch::Verifier;
use crate::smsg::envelope::{self, Direction, Statement, Unsigned};
use crate::smsg::session::{Ends, SessionKeys};
use crate::smsg::{LinkNonce, NodeSecret, OpenError, SealError};

/// Messages sealed in one session. Far below what ChaCha20-Poly1305 bears with one key, and hours at the rate that one
/// peer is allowed.
const MESSAGES_PER_SESSION: u64 = 1 << 20;

/// How long a session is used: whoever steals its keys from memory reads one hour.
const SESSION_LIFE: Duration = Duration::from_secs(3600);

/// Seals what one node asks of one peer over one connection.
pub struct Sender {
    pub(super) secret: Arc<NodeSecret>,
    pub(super) ends: Arc<Ends>,
    /// What comes at one moment comes under one signature, which is verified once: all answers that are waited for share
    /// this, and the requests of [`Receiver::beside`](super::Receiver::beside).
    pub(super) peer: Arc<Mutex<Verifier>>,
    nonce: LinkNonce,
    /// Only ever grows, so that the peer can tell an ended session from a new one.
    next_number: Option<u32>,
    session: Option<Session>,
}

struct Session {
    keys: Arc<SessionKeys>,
    next_seq: u64,
    begun: Duration,
}

impl Session {
    fn is_fresh(&self, now: Duration) -> bool {
        self.next_seq < MESSAGES_PER_SESSION && now.saturating_sub(self.begun) < SESSION_LIFE
    }
}

impl Sender {
    /// For a connection whose other end is `peer` and told `nonce` in its Hello.
    #[must_use]
    pub fn new(secret: Arc<NodeSecret>, peer: PeerKey, nonce: LinkNonce) -> Self {
        let ends = Arc::new(Ends::new(secret.public(), peer));
        Self {
            secret,
            ends,
            peer: Arc::new(Mutex::new(Verifier::new(&peer))),
            nonce,
            next_number: Some(0),
            session: None,
        }
    }

    /// A request that only needs a signature. `now` counts from any fixed moment and never runs backwards.
    ///
    /// # Errors
    /// [`SealError::TooLarge`] for a body above [`MAX_BODY`]; the others end the connection's usefulness.
    pub fn prepare<R: CryptoRng>(
        &mut self,
        body: Vec<u8>,
        now: Duration,
        rng: &mut R,
    ) -> Result<(Unsigned, PendingAnswer), SealError> {
        if body.len() > MAX_BODY {
            return Err(SealError::TooLarge { size: body.len(), limit: MAX_BODY });
        }
        let (keys, seq) = self.next(now, rng)?;
        let statement = keys.statement(&self.ends, Direction::Request, seq);
        let expected = keys.statement(&self.ends, Direction::Answer, seq);
        let pending = PendingAnswer { keys: Arc::clone(&keys), expected, peer: Arc::clone(&self.peer) };
        Ok((Unsigned::new(keys, statement, body)?, pending))
    }

    /// Seals one request under a signature of its own.
    ///
    /// # Errors
    /// As [`Sender::prepare`].
    pub fn seal<R: CryptoRng>(
        &mut self,
        body: &[u8],
        now: Duration,
        rng: &mut R,
    ) -> Result<(Vec<u8>, PendingAnswer), SealError> {
        let (unsigned, pending) = self.prepare(body.to_vec(), now, rng)?;
        Ok((unsigned.seal_alone(&self.secret)?, pending))
    }

    /// Begins anew after a refusal as stale, which told `nonce`. Answers to what was sealed before still open.
    pub fn renew(&mut self, nonce: LinkNonce) {
        self.nonce = nonce;
        self.session = None;
    }

    /// A session, and a sequence number of it that no other message has.
    fn next<R: CryptoRng>(&mut self, now: Duration, rng: &mut R) -> Result<(Arc<SessionKeys>, u64), SealError> {
        let session = match self.session.take() {
            Some(session) if session.is_fresh(now) => session,
            _ => self.begin(now, rng)?,
        };
        let session = self.session.insert(session);
        let seq = session.next_seq;
        session.next_seq += 1;
        Ok((Arc::clone(&session.keys), seq))
    }

    fn begin<R: CryptoRng>(&mut self, now: Duration, rng: &mut R) -> Result<Session, SealError> {
        let number = self.next_number.ok_or(SealError::SessionsExhausted)?;
        self.next_number = number.checked_add(1);
        let keys = SessionKeys::begin(&self.secret, &self.ends, self.nonce, number, rng)
            .map_err(|_| SealError::KeyAgreement)?;
        Ok(Session { keys: Arc::new(keys), next_seq: 0, begun: now })
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("peer", &self.ends.answerer).finish_non_exhaustive()
    }
}

/// Opens the answer to one request, once.
pub struct PendingAnswer {
    keys: Arc<SessionKeys>,
    expected: Statement,
    peer: Arc<Mutex<Verifier>>,
}

impl PendingAnswer {
    /// The answer's body.
    ///
    /// # Errors
    /// [`OpenError`] for anything but this peer's answer to this request.
    pub fn open(self, bytes: &[u8]) -> Result<Vec<u8>, OpenError> {
        envelope::open_answer(&self.keys.answers, &self.expected, &self.peer, bytes)
    }
}

impl fmt::Debug for PendingAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAnswer")
            .field("peer", &self.expected.author)
            .field("session", &self.keys.number)
            .field("seq", &self.expected.seq)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(7);

    fn sender() -> Sender {
        let secret = |seed| NodeSecret::from_seed(&[seed; 32]).unwrap();
        Sender::new(Arc::new(secret(1)), secret(2).public(), LinkNonce([9; 16]))
    }

    #[test]
    fn a_session_is_renewed_when_it_has_sealed_its_messages() {
        let mut sender = sender();
        let rng = &mut rand::rng();
        let (_, first) = sender.seal(b"", NOW, rng).unwrap();
        sender.session.as_mut().unwrap().next_seq = MESSAGES_PER_SESSION - 1;
        let (_, last) = sender.seal(b"", NOW, rng).unwrap();
        let (_, renewed) = sender.seal(b"", NOW, rng).unwrap();
        assert_eq!((first.keys.number, last.keys.number, renewed.keys.number), (0, 0, 1));
        assert_eq!((last.expected.seq, renewed.expected.seq), (MESSAGES_PER_SESSION - 1, 0));
        assert_ne!(first.keys.enc, renewed.keys.enc);
    }

    #[test]
    fn session_numbers_end_and_never_begin_again() {
        let mut sender = sender();
        let rng = &mut rand::rng();
        sender.next_number = Some(u32::MAX);
        assert_eq!(sender.seal(b"", NOW, rng).unwrap().1.keys.number, u32::MAX);
        sender.renew(LinkNonce([10; 16]));
        assert_eq!(sender.seal(b"", NOW, rng).unwrap_err(), SealError::SessionsExhausted);
    }

    #[test]
    fn a_body_that_is_refused_uses_no_sequence_number() {
        let mut sender = sender();
        let rng = &mut rand::rng();
        assert!(sender.seal(&vec![0; MAX_BODY + 1], NOW, rng).is_err());
        assert_eq!(sender.seal(b"", NOW, rng).unwrap().1.expected.seq, 0);
    }
}
