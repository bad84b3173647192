//! Why two nodes did not meet, in words for people.

use std::error::Error;
use std::io;

use libp2p::core::upgrade::NegotiationError;
use libp2p::swarm::{ConnectionError, DialError};

use super::command::PairError;

pub(super) const NOT_REGISTERED: &str = "it closed the connection: this node may not be registered there any more";

/// Why a connection broke; nothing of one that the peer closed, as it does with who is not registered there.
pub(super) fn broke(error: &ConnectionError) -> Option<String> {
    match error {
        ConnectionError::IO(error) if !is_closing(error) => Some(root_cause(error)),
        _ => None,
    }
}

/// Whether the other side closed the connection, in order or not. libp2p puts the muxer's error into one of the system's.
pub(super) fn is_closing(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof, WriteZero};
    let muxer = error.get_ref().and_then(|inner| inner.downcast_ref::<yamux::ConnectionError>());
    match muxer {
        Some(yamux::ConnectionError::Closed) => true,
        Some(yamux::ConnectionError::Io(error)) => is_closing(error),
        Some(_) => false,
        None => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof | WriteZero
        ),
    }
}

pub(super) fn pair_error(error: &DialError) -> PairError {
    match error {
        DialError::LocalPeerId { .. } => PairError::Ourselves,
        DialError::WrongPeerId { obtained, .. } => PairError::OtherNode { found: obtained.to_string() },
        other => PairError::Connect(explain(other)),
    }
}

/// What a failed dial met.
pub(super) fn explain(error: &DialError) -> String {
    match error {
        DialError::Aborted => "the attempt was given up".into(),
        DialError::Denied { cause } => root_cause(cause),
        DialError::DialPeerConditionFalse(_) => "it is being dialled already".into(),
        DialError::LocalPeerId { .. } => "that is this node's own address".into(),
        DialError::NoAddresses => "no address of it is known".into(),
        DialError::Transport(attempts) => {
            attempts.last().map_or_else(|| "no address of it works".into(), |(_, error)| root_cause(error))
        }
        DialError::WrongPeerId { obtained, .. } => format!("another node answers at its address: {obtained}"),
    }
}

/// What it was made of. An error of the system's that holds another one stands in its place.
fn beneath<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}

/// The system's own reason, beneath what libraries wrap around it.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = beneath(cause) {
        cause = deeper;
    }
    if cause.is::<libp2p::identity::DecodingError>() {
        return "another libp2p program answers there: its identity is no Ed25519 key".to_owned();
    }
    if matches!(cause.downcast_ref(), Some(NegotiationError::Failed)) {
        return "it speaks other protocols: is that the port of the mesh?".to_owned();
    }
    let text = cause.to_string();
    // The system's number says nothing to people that its words do not.
    text.split_once(" (os error").map_or_else(|| text.clone(), |(words, _)| words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_is_told_in_words_that_help() {
        let rsa = libp2p::identity::PublicKey::try_decode_protobuf(&[8, 0, 18, 1, 1]).unwrap_err();
        assert!(root_cause(&io::Error::other(rsa)).contains("no Ed25519 key"));
        assert!(root_cause(&io::Error::other(NegotiationError::Failed)).contains("is that the port of the mesh?"));
    }

    #[test]
    fn a_connection_that_was_closed_is_told_from_one_that_broke() {
        let muxer = |error| ConnectionError::IO(io::Error::other(error));
        let closed = [
            muxer(yamux::ConnectionError::Closed),
            muxer(yamux::ConnectionError::Io(io::ErrorKind::UnexpectedEof.into())),
            muxer(yamux::ConnectionError::Io(io::ErrorKind::ConnectionReset.into())),
            ConnectionError::KeepAliveTimeout,
        ];
        for error in closed {
            assert_eq!(broke(&error), None, "{error}");
        }
        let decrypt = io::Error::new(io::ErrorKind::InvalidData, "decrypt error");
        assert_eq!(broke(&muxer(yamux::ConnectionError::Io(decrypt))).as_deref(), Some("decrypt error"));
        assert!(broke(&muxer(yamux::ConnectionError::NoMoreStreamIds)).is_some());
    }
}
