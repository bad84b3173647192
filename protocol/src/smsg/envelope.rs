//! The bytes of a sealed message, and the statement that its author signs.
//!
//! ```text
//!   request   v 1 | session 4 | enc 32 | seq 8 | AEAD( proof | body )      big endian; the first 45 bytes are the AAD
//!   answer    v 1 | seq 8                      | AEAD( proof | body )      the AAD is these 9 bytes and enc
//!   leaf of   domain 26 | author 32 | addressee 32 | enc 32 | seq 8 | body, see `batch`
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use crate::VERSION;
use crate::codec::{MAX_BODY, MAX_MESSAGE, SEAL_OVERHEAD};
use crate::id::PeerKey;
use crate::smsg::batch::{self, Leaf, MAX_PROOF, Proof, Verifier};
use crate::smsg::hpke::{Cipher, TAG};
use crate::smsg::session::SessionKeys;
use crate::smsg::{NodeSecret, OpenError, SealError};

const REQUEST_HEADER: usize = 1 + 4 + 32 + 8;
const ANSWER_HEADER: usize = 1 + 8;
const ANSWER_AAD: usize = ANSWER_HEADER + 32;
const DOMAIN: usize = 26;
const PREAMBLE: usize = DOMAIN + 32 + 32 + 32 + 8;

// A body of `MAX_BODY` bytes fits a message of `MAX_MESSAGE`, whichever way it goes.
const _: () = assert!(REQUEST_HEADER + MAX_PROOF + TAG <= SEAL_OVERHEAD && ANSWER_HEADER < REQUEST_HEADER);

/// Which way a message goes. The domain strings have one length, so that what follows cannot be shifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Answer,
    Request,
}

impl Direction {
    const fn domain(self) -> &'static [u8; DOMAIN] {
        match self {
            Self::Answer => b"miner-ctrl smsg 1 answer\0\0",
            Self::Request => b"miner-ctrl smsg 1 request\0",
        }
    }
}

/// All that a leaf says, apart from the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement {
    pub(super) direction: Direction,
    pub(super) author: PeerKey,
    pub(super) addressee: PeerKey,
    pub(super) enc: [u8; 32],
    pub(super) seq: u64,
}

impl Statement {
    /// What stands for this statement with this body under a signature.
    pub(super) fn leaf(&self, body: &[u8]) -> Leaf {
        Leaf::new(&self.preamble(), body)
    }

    fn preamble(&self) -> [u8; PREAMBLE] {
        let mut bytes = [0; PREAMBLE];
        let mut rest = bytes.as_mut_slice();
        for part in [
            self.direction.domain().as_slice(),
            self.author.as_bytes(),
            self.addressee.as_bytes(),
            &self.enc,
            &self.seq.to_be_bytes(),
        ] {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        bytes
    }
}

/// What stands in clear before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestHeader {
    pub(super) session: u32,
    pub(super) enc: [u8; 32],
    pub(super) seq: u64,
}

impl RequestHeader {
    fn to_bytes(self) -> [u8; REQUEST_HEADER] {
        let mut bytes = [0; REQUEST_HEADER];
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&self.session.to_be_bytes());
        bytes[5..37].copy_from_slice(&self.enc);
        bytes[37..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    /// Reads the header; nothing about it is known to be true before [`open_request`].
    pub(super) fn read(message: &[u8]) -> Result<Self, OpenError> {
        check_frame(message)?;
        let header = message.first_chunk::<REQUEST_HEADER>().ok_or(OpenError::Unreadable)?;
        let (_, rest) = header.split_first_chunk::<1>().ok_or(OpenError::Unreadable)?;
        let (session, rest) = rest.split_first_chunk::<4>().ok_or(OpenError::Unreadable)?;
        let (enc, rest) = rest.split_first_chunk::<32>().ok_or(OpenError::Unreadable)?;
        let seq = rest.first_chunk::<8>().ok_or(OpenError::Unreadable)?;
        Ok(Self { session: u32::from_be_bytes(*session), enc: *enc, seq: u64::from_be_bytes(*seq) })
    }
}

/// The length and the version: what is wrong with a message before anything in it is looked at.
fn check_frame(message: &[u8]) -> Result<(), OpenError> {
    if message.len() > MAX_MESSAGE {
        return Err(OpenError::TooLarge { size: message.len() });
    }
    match message.first() {
        None => Err(OpenError::Unreadable),
        Some(&VERSION) => Ok(()),
        Some(&other) => Err(OpenError::UnknownVersion(other)),
    }
}

/// A message that is ready but for its author's signature, which it may share with others: see [`batch::sign`].
pub struct Unsigned {
    keys: Arc<SessionKeys>,
    statement: Statement,
    body: Vec<u8>,
}

impl Unsigned {
    /// The caller gives each `seq` of a session to one message of each direction only.
    pub(super) fn new(keys: Arc<SessionKeys>, statement: Statement, body: Vec<u8>) -> Result<Self, SealError> {
        if body.len() > MAX_BODY {
            return Err(SealError::TooLarge { size: body.len(), limit: MAX_BODY });
        }
        Ok(Self { keys, statement, body })
    }

    /// Bytes of its body.
    #[must_use]
    pub const fn body_length(&self) -> usize {
        self.body.len()
    }

    /// What the author signs of it.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        self.statement.leaf(&self.body)
    }

    /// The message's bytes. With a proof of another leaf they do not open.
    ///
    /// # Errors
    /// [`SealError::TooLarge`], which no body that was accepted meets.
    pub fn seal(self, proof: &Proof) -> Result<Vec<u8>, SealError> {
        let Self { keys, statement, body } = self;
        match statement.direction {
            Direction::Answer => {
                let aad = answer_aad(&statement);
                seal(&keys.answers, &aad[..ANSWER_HEADER], &aad, &statement, proof, &body)
            }
            Direction::Request => {
                let header = RequestHeader { session: keys.number, enc: statement.enc, seq: statement.seq }.to_bytes();
                seal(&keys.requests, &header, &header, &statement, proof, &body)
            }
        }
    }

    /// The message's bytes under a signature of its own.
    pub(super) fn seal_alone(self, signer: &NodeSecret) -> Result<Vec<u8>, SealError> {
        let proofs = batch::sign(signer, &[self.leaf()]);
        self.seal(&proofs[0])
    }
}

impl std::fmt::Debug for Unsigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsigned").field("seq", &self.statement.seq).finish_non_exhaustive()
    }
}

/// The body of a request whose header was read before.
pub(super) fn open_request(
    cipher: &Cipher,
    statement: &Statement,
    author: &Mutex<Verifier>,
    message: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let (header, sealed) = message.split_at_checked(REQUEST_HEADER).ok_or(OpenError::Unreadable)?;
    open(cipher, header, sealed, statement, author)
}

/// The body of the answer to the request that `statement` names.
pub(super) fn open_answer(
    cipher: &Cipher,
    statement: &Statement,
    author: &Mutex<Verifier>,
    message: &[u8],
) -> Result<Vec<u8>, OpenError> {
    check_frame(message)?;
    let aad = answer_aad(statement);
    let sealed = message.strip_prefix(&aad[..ANSWER_HEADER]).ok_or(OpenError::Unreadable)?;
    open(cipher, &aad, sealed, statement, author)
}

fn answer_aad(statement: &Statement) -> [u8; ANSWER_AAD] {
    let mut aad = [0; ANSWER_AAD];
    aad[0] = VERSION;
    aad[1..ANSWER_HEADER].copy_from_slice(&statement.seq.to_be_bytes());
    aad[ANSWER_HEADER..].copy_from_slice(&statement.enc);
    aad
}

fn seal(
    cipher: &Cipher,
    header: &[u8],
    aad: &[u8],
    statement: &Statement,
    proof: &Proof,
    body: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut message = Vec::with_capacity(header.len() + proof.length() + body.len() + TAG);
    message.extend_from_slice(header);
    proof.write(&mut message);
    message.extend_from_slice(body);
    let too_large = SealError::TooLarge { size: body.len(), limit: MAX_BODY };
    let tag = cipher.seal(statement.seq, aad, &mut message[header.len()..]).map_err(|_| too_large)?;
    message.extend_from_slice(&tag);
    Ok(message)
}

fn open(
    cipher: &Cipher,
    aad: &[u8],
    sealed: &[u8],
    statement: &Statement,
    author: &Mutex<Verifier>,
) -> Result<Vec<u8>, OpenError> {
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG>().ok_or(OpenError::Unreadable)?;
    let mut text = ciphertext.to_vec();
    cipher.open(statement.seq, aad, &mut text, tag).map_err(|_| OpenError::Unreadable)?;
    // Only the peer, or a thief of our own secret, can have sealed it: what is wrong from here on is wrongly signed.
    let (proof, body) = Proof::read(&text).ok_or(OpenError::BadSignature)?;
    author.lock().unwrap_or_else(PoisonError::into_inner).check(statement.leaf(body), &proof)?;
    text.drain(..proof.length());
    Ok(text)
}
