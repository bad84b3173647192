//! Why, and why that; and what of it an asker is told.

use std::io;
use std::iter::successors;

use miner_ctrl_protocol::Refusal;

/// An error with its causes, for a log line or an operator.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A refusal for what is not the asker's fault. The cause, which names files, stays in this node's log, under a number; what
/// the system said of them, such as that the disk is full, goes to the asker, who may be far from that log.
pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Refusal {
    let id = u64::from(rand::random::<u32>());
    tracing::error!(id, error, "a request failed");
    // Of one that the system did not say the text is ours, or a library's.
    let code = successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error());
    Refusal::Internal { id, why: code.map(|code| io::Error::from_raw_os_error(code).to_string()) }
}
