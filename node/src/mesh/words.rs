//! Why two nodes did not meet, in words for people.

use libp2p::swarm::DialError;

use super::command::PairError;

pub(super) const NOT_REGISTERED: &str = "it closed the connection: this node may not be registered there any more";

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

/// The system's own reason, beneath what libraries wrap around it.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    // The system's number says nothing to people that its words do not.
    text.split_once(" (os error").map_or_else(|| text.clone(), |(words, _)| words.to_owned())
}
