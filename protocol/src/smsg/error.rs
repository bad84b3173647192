//! Why bytes do not open, and why a body cannot be sealed.

use crate::codec::MAX_MESSAGE;
use crate::message::Refusal;
use crate::smsg::LinkNonce;

/// Why sealed bytes were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It opens, and the signature inside is not the peer's: only a node with our own secret could have made it.
    #[error("a sealed message with a wrong signature")]
    BadSignature,
    /// It names a session that we do not have, and does not open as the first message of one. Whether it was altered,
    /// sealed for somebody else or sealed for another connection cannot be told apart; the last is cured by sealing
    /// anew, so that is what the refusal says.
    #[error("a sealed message of no session with this connection")]
    NoSession,
    /// Accepted before, or too old to tell.
    #[error("a sealed message that was accepted before, or is too old to tell")]
    Replayed,
    /// Of a session that has ended.
    #[error("a sealed message of a session that has ended")]
    Stale,
    /// More bytes than a sealed message may have.
    #[error("a sealed message of {size} bytes, at most {MAX_MESSAGE} are allowed")]
    TooLarge {
        /// Bytes there are.
        size: usize,
    },
    /// Damaged, altered, cut short, or not the answer to this request.
    #[error("a sealed message that cannot be opened")]
    Unreadable,
    /// Sealed in a way that this version does not know.
    #[error("a sealed message of version {0}")]
    UnknownVersion(u8),
}

impl OpenError {
    /// What to tell the peer; `nonce` is the one that its next session is to be sealed for.
    #[must_use]
    pub fn refusal(&self, nonce: LinkNonce) -> Refusal {
        match self {
            Self::BadSignature | Self::Unreadable => Refusal::Unreadable,
            Self::NoSession | Self::Stale => Refusal::Stale { nonce },
            Self::Replayed => Refusal::Replayed,
            Self::TooLarge { .. } => Refusal::TooLarge { limit: u32::try_from(MAX_MESSAGE).unwrap_or(u32::MAX) },
            Self::UnknownVersion(_) => Refusal::Unsupported,
        }
    }
}

/// Why a body was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The peer's key and ours agree on nothing secret.
    #[error("no key agreement with this peer's key")]
    KeyAgreement,
    /// Every session number of this connection was used.
    #[error("no session numbers are left on this connection")]
    SessionsExhausted,
    /// The body does not fit one sealed message.
    #[error("a body of {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes there are.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
}
