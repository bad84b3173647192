//! The answering end of a link: opens each request once, and seals the one answer to it.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::id::PeerKey;
use crate::smsg::batch::Verifier;
use crate::smsg::envelope::{self, Direction, RequestHeader, Statement, Unsigned};
use crate::smsg::session::{Ends, SessionKeys};
use crate::smsg::window::ReplayWindow;
use crate::smsg::{LinkNonce, NodeSecret, OpenError, SealError, Sender};

/// Sessions kept of one peer on one connection. Two overlap while a session is renewed; four leave room for a peer that
/// renews twice within what is in flight.
const MAX_SESSIONS: usize = 4;

/// Opens what one peer asks over one connection.
pub struct Receiver {
    secret: Arc<NodeSecret>,
    ends: Ends,
    peer: Arc<Mutex<Verifier>>,
    nonce: LinkNonce,
    /// By number, the lowest first; never more than [`MAX_SESSIONS`]. A number below the lowest is of a session that
    /// has ended: only the lowest ever leaves, so that none can come back.
    sessions: Vec<Session>,
}

struct Session {
    keys: Arc<SessionKeys>,
    window: ReplayWindow,
}

impl Receiver {
    /// For a connection whose other end is `peer`, to which we told `nonce` in our Hello.
    #[must_use]
    pub fn new(secret: Arc<NodeSecret>, peer: PeerKey, nonce: LinkNonce) -> Self {
        let ends = Ends::new(peer, secret.public());
        Self::with(secret, ends, Arc::new(Mutex::new(Verifier::new(&peer))), nonce)
    }

    /// For the connection of `sender`, as [`Receiver::new`] with its secret and its peer, whose key is prepared once for
    /// both.
    #[must_use]
    pub fn beside(sender: &Sender, nonce: LinkNonce) -> Self {
        Self::with(Arc::clone(&sender.secret), sender.ends.swapped(), Arc::clone(&sender.peer), nonce)
    }

    fn with(secret: Arc<NodeSecret>, ends: Ends, peer: Arc<Mutex<Verifier>>, nonce: LinkNonce) -> Self {
        Self { secret, ends, peer, nonce, sessions: Vec::new() }
    }

    /// Opens one request; the [`Answerer`] seals the answer to it.
    ///
    /// # Errors
    /// [`OpenError`]. A refused message changes nothing: it takes no place in the window and no session.
    pub fn open(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, Answerer), OpenError> {
        let header = RequestHeader::read(bytes)?;
        match self.sessions.binary_search_by_key(&header.session, |session| session.keys.number) {
            Ok(index) => {
                let session = &mut self.sessions[index];
                // An honest peer gives a number to one session only.
                if session.keys.enc != header.enc {
                    return Err(OpenError::Stale);
                }
                if !session.window.admits(header.seq) {
                    return Err(OpenError::Replayed);
                }
                let statement = session.keys.statement(&self.ends, Direction::Request, header.seq);
                let body = envelope::open_request(&session.keys.requests, &statement, &self.peer, bytes)?;
                session.window.mark(header.seq);
                let keys = Arc::clone(&session.keys);
                Ok((body, self.answerer(keys, header.seq)))
            }
            Err(0) if !self.sessions.is_empty() => Err(OpenError::Stale),
            Err(index) => {
                let keys = SessionKeys::join(&self.secret, &self.ends, self.nonce, header.session, header.enc)
                    .map_err(|_| OpenError::NoSession)?;
                let statement = keys.statement(&self.ends, Direction::Request, header.seq);
                let body = envelope::open_request(&keys.requests, &statement, &self.peer, bytes)
                    .map_err(|error| if error == OpenError::Unreadable { OpenError::NoSession } else { error })?;
                // Only now, when the peer has proved that it began this session, may another one give way to it.
                let mut window = ReplayWindow::new();
                window.mark(header.seq);
                let keys = Arc::new(keys);
                // Mostly there is one, and none where this end alone asks.
                self.sessions.reserve_exact(1);
                self.sessions.insert(index, Session { keys: Arc::clone(&keys), window });
                if self.sessions.len() > MAX_SESSIONS {
                    self.sessions.remove(0);
                }
                Ok((body, self.answerer(keys, header.seq)))
            }
        }
    }

    fn answerer(&self, keys: Arc<SessionKeys>, seq: u64) -> Answerer {
        let statement = keys.statement(&self.ends, Direction::Answer, seq);
        Answerer { secret: Arc::clone(&self.secret), keys, statement }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("peer", &self.ends.asker)
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

/// Seals the answer to one request. Consumed by it: two answers under one nonce would give the key stream away.
pub struct Answerer {
    secret: Arc<NodeSecret>,
    keys: Arc<SessionKeys>,
    statement: Statement,
}

impl Answerer {
    /// The answer, which only needs a signature. Sealing a refusal in place of a body that is too large needs a body that
    /// fits: check the length against [`crate::codec::MAX_BODY`] first.
    ///
    /// # Errors
    /// [`SealError::TooLarge`].
    pub fn prepare(self, body: Vec<u8>) -> Result<Unsigned, SealError> {
        Unsigned::new(self.keys, self.statement, body)
    }

    /// The answer's bytes under a signature of their own.
    ///
    /// # Errors
    /// As [`Answerer::prepare`].
    pub fn seal(self, body: &[u8]) -> Result<Vec<u8>, SealError> {
        let secret = Arc::clone(&self.secret);
        self.prepare(body.to_vec())?.seal_alone(&secret)
    }
}

impl fmt::Debug for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answerer")
            .field("peer", &self.statement.addressee)
            .field("session", &self.keys.number)
            .field("seq", &self.statement.seq)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::smsg::batch;

    const NONCE: LinkNonce = LinkNonce([9; 16]);

    fn secret(seed: u8) -> Arc<NodeSecret> {
        Arc::new(NodeSecret::from_seed(&[seed; 32]).unwrap())
    }

    fn receiver() -> Receiver {
        Receiver::new(secret(2), secret(1).public(), NONCE)
    }

    /// A session of node 1's with node 2, and what it would take to seal anything in it.
    fn session(number: u32) -> (Ends, Arc<SessionKeys>) {
        let ends = Ends::new(secret(1).public(), secret(2).public());
        let keys = SessionKeys::begin(&secret(1), &ends, NONCE, number, &mut rand::rng()).unwrap();
        (ends, Arc::new(keys))
    }

    fn seal(ends: &Ends, keys: &Arc<SessionKeys>, seq: u64, signer: &NodeSecret) -> Vec<u8> {
        let statement = keys.statement(ends, Direction::Request, seq);
        Unsigned::new(Arc::clone(keys), statement, b"stop".to_vec()).unwrap().seal_alone(signer).unwrap()
    }

    #[test]
    fn another_signer_inside_a_valid_seal_is_refused_and_leaves_no_trace() {
        let mut receiver = receiver();
        let (ends, keys) = session(0);
        // Node 2's own signature too: whoever has stolen its secret can seal to it in any name, and sign in none.
        for signer in [secret(3), secret(2)] {
            assert_eq!(receiver.open(&seal(&ends, &keys, 0, &signer)).unwrap_err(), OpenError::BadSignature);
            assert!(receiver.sessions.is_empty());
        }
        receiver.open(&seal(&ends, &keys, 0, &secret(1))).unwrap();
        assert_eq!(receiver.open(&seal(&ends, &keys, 1, &secret(3))).unwrap_err(), OpenError::BadSignature);
        receiver.open(&seal(&ends, &keys, 1, &secret(1))).unwrap();
    }

    #[test]
    fn a_signature_made_for_something_else_is_refused() {
        let (ends, keys) = session(0);
        let right = keys.statement(&ends, Direction::Request, 0);
        let (author, addressee) = (secret(3).public(), secret(3).public());
        for wrong in [
            Statement { direction: Direction::Answer, ..right },
            Statement { author, ..right },
            Statement { addressee, ..right },
            Statement { enc: [0; 32], ..right },
            Statement { seq: 1, ..right },
        ] {
            let unsigned = Unsigned::new(Arc::clone(&keys), right, b"stop".to_vec()).unwrap();
            let message = unsigned.seal(&batch::sign(&secret(1), &[wrong.leaf(b"stop")])[0]).unwrap();
            assert_eq!(receiver().open(&message).unwrap_err(), OpenError::BadSignature, "{wrong:?}");
        }
    }

    #[test]
    fn a_batch_is_accepted_message_by_message_and_each_once() {
        let mut receiver = receiver();
        let (ends, keys) = session(0);
        let unsigned = |seq| {
            let statement = keys.statement(&ends, Direction::Request, seq);
            Unsigned::new(Arc::clone(&keys), statement, vec![7; 3]).unwrap()
        };
        let leaves: Vec<_> = (0..5).map(|seq| unsigned(seq).leaf()).collect();
        let proofs = batch::sign(&secret(1), &leaves);
        let sealed: Vec<_> = (0..5).zip(&proofs).map(|(seq, proof)| unsigned(seq).seal(proof).unwrap()).collect();
        for message in &sealed {
            receiver.open(message).unwrap();
            assert_eq!(receiver.open(message).unwrap_err(), OpenError::Replayed);
        }
        // A leaf's proof under another seq of the same session, and one wrong message among good ones.
        let moved = unsigned(9).seal(&proofs[3]).unwrap();
        assert_eq!(receiver.open(&moved).unwrap_err(), OpenError::BadSignature);
        let good = unsigned(9);
        let proof = batch::sign(&secret(1), &[good.leaf()]);
        receiver.open(&good.seal(&proof[0]).unwrap()).unwrap();
    }

    #[test]
    fn a_request_and_an_answer_of_one_batch_are_verified_once() {
        let end = |own, peer| {
            let sender = Sender::new(secret(own), secret(peer).public(), NONCE);
            let receiver = Receiver::beside(&sender, NONCE);
            (sender, receiver)
        };
        let (mut asker, mut asked) = end(1, 2);
        let (mut other_asker, mut other) = end(2, 1);
        let rng = &mut rand::rng();
        let (first, pending) = asker.seal(b"stats", Duration::ZERO, rng).unwrap();
        let (body, answerer) = other.open(&first).unwrap();
        assert_eq!(body, b"stats");

        let answer = answerer.prepare(b"fine".to_vec()).unwrap();
        let (request, _) = other_asker.prepare(b"watch".to_vec(), Duration::ZERO, rng).unwrap();
        let proofs = batch::sign(&secret(2), &[answer.leaf(), request.leaf()]);
        assert_eq!(pending.open(&answer.seal(&proofs[0]).unwrap()).unwrap(), b"fine");
        assert_eq!(asked.open(&request.seal(&proofs[1]).unwrap()).unwrap().0, b"watch");
        assert_eq!(asked.peer.lock().unwrap().verified, 1);
    }

    #[test]
    fn a_peer_that_was_heard_often_is_checked_as_before() {
        let mut receiver = receiver();
        let (ends, keys) = session(0);
        for seq in 0..100 {
            assert_eq!(receiver.open(&seal(&ends, &keys, seq, &secret(3))).unwrap_err(), OpenError::BadSignature);
            receiver.open(&seal(&ends, &keys, seq, &secret(1))).unwrap();
        }
        assert_eq!(receiver.peer.lock().unwrap().verified, 100);
    }

    #[test]
    fn a_second_session_of_the_same_number_is_stale() {
        let mut receiver = receiver();
        let (ends, first) = session(0);
        let (_, second) = session(0);
        receiver.open(&seal(&ends, &first, 0, &secret(1))).unwrap();
        assert_eq!(receiver.open(&seal(&ends, &second, 0, &secret(1))).unwrap_err(), OpenError::Stale);
        receiver.open(&seal(&ends, &first, 1, &secret(1))).unwrap();
    }

    #[test]
    fn no_more_than_four_sessions_are_kept() {
        let mut receiver = receiver();
        for number in 0..50 {
            let (ends, keys) = session(number);
            receiver.open(&seal(&ends, &keys, 0, &secret(1))).unwrap();
            assert!(receiver.sessions.len() <= MAX_SESSIONS);
        }
    }

    #[test]
    fn an_agreement_key_that_is_no_key_is_refused() {
        let (ends, keys) = session(0);
        let message = seal(&ends, &keys, 0, &secret(1));
        for enc in [[0; 32], [0xff; 32]] {
            let mut forged = message.clone();
            forged[5..37].copy_from_slice(&enc);
            assert_eq!(receiver().open(&forged).unwrap_err(), OpenError::NoSession);
        }
    }
}
