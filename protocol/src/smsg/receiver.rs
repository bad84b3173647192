//! The answering end of a link: opens each request once, and seals the one answer to it.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;

use crate::id::PeerKey;
use crate::smsg::envelope::{self, Direction, RequestHeader, Statement};
use crate::smsg::session::{Ends, SessionKeys};
use crate::smsg::window::ReplayWindow;
use crate::smsg::{LinkNonce, NodeSecret, OpenError, SealError};

/// Sessions kept of one peer on one connection. Two overlap while a session is renewed; four leave room for a peer that
/// renews twice within what is in flight.
const MAX_SESSIONS: usize = 4;

/// Opens what one peer asks over one connection.
pub struct Receiver {
    secret: Arc<NodeSecret>,
    ends: Ends,
    peer: VerifyingKey,
    nonce: LinkNonce,
    /// By number, the lowest first; never more than [`MAX_SESSIONS`]. A number below the lowest is of a session that
    /// has ended: only the lowest ever leaves, so that none can come back.
    sessions: Vec<Session>,
    counts: RefusalCounts,
}

struct Session {
    keys: Arc<SessionKeys>,
    window: ReplayWindow,
}

/// What was refused since the connection began, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RefusalCounts {
    /// Sealed properly and signed by somebody else.
    pub bad_signature: u64,
    /// Accepted before, or too old to tell.
    pub replayed: u64,
    /// Of a session that has ended.
    pub stale: u64,
    /// More bytes than allowed.
    pub too_large: u64,
    /// Of another version.
    pub unknown_version: u64,
    /// Did not open, under a session that we have or as the first of a new one.
    pub unreadable: u64,
}

impl RefusalCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self { bad_signature, replayed, stale, too_large, unknown_version, unreadable } = *self;
        bad_signature + replayed + stale + too_large + unknown_version + unreadable
    }

    const fn record(&mut self, error: OpenError) {
        let count = match error {
            OpenError::BadSignature => &mut self.bad_signature,
            OpenError::Replayed => &mut self.replayed,
            OpenError::Stale => &mut self.stale,
            OpenError::TooLarge { .. } => &mut self.too_large,
            OpenError::UnknownVersion(_) => &mut self.unknown_version,
            OpenError::NoSession | OpenError::Unreadable => &mut self.unreadable,
        };
        *count += 1;
    }
}

impl Receiver {
    /// For a connection whose other end is `peer`, to which we told `nonce` in our Hello.
    #[must_use]
    pub fn new(secret: Arc<NodeSecret>, peer: PeerKey, nonce: LinkNonce) -> Self {
        Self {
            ends: Ends::new(peer, secret.public()),
            secret,
            peer: peer.verifying(),
            nonce,
            sessions: Vec::with_capacity(MAX_SESSIONS + 1),
            counts: RefusalCounts::default(),
        }
    }

    /// Opens one request; the [`Answerer`] seals the answer to it.
    ///
    /// # Errors
    /// [`OpenError`], counted. A refused message changes nothing else: it takes no place in the window and no session.
    pub fn open(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, Answerer), OpenError> {
        self.accept(bytes).inspect_err(|error| self.counts.record(*error))
    }

    /// How many messages were refused, and why.
    #[must_use]
    pub const fn counts(&self) -> RefusalCounts {
        self.counts
    }

    fn accept(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, Answerer), OpenError> {
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
            .field("counts", &self.counts)
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
    /// The answer's bytes. Sealing a refusal in place of a body that is too large needs a body that fits: check the
    /// length against [`crate::codec::MAX_BODY`] first.
    ///
    /// # Errors
    /// [`SealError::TooLarge`].
    pub fn seal(self, body: &[u8]) -> Result<Vec<u8>, SealError> {
        envelope::seal_answer(&self.keys.answers, &self.statement, &self.secret, body)
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
