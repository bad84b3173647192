//! The signals that ask this program to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Exit, Failure};

/// Listens from its making on; what came before it is looked at counts.
#[derive(Debug)]
pub(crate) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal it was started in is closed. None under `nohup`: to listen would undo what that has set.
    hangup: Option<Signal>,
}

impl Stops {
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen = || -> io::Result<Self> {
            let ignored = ignores_hangup(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: if ignored { None } else { Some(signal(SignalKind::hangup())?) },
            })
        };
        listen().map_err(|error| Failure::new(Exit::Error, "no-signals", "cannot wait for a stop").caused_by(&error))
    }

    /// Ctrl-C, and no other.
    pub(crate) async fn interrupted(&mut self) {
        let _ = self.interrupt.recv().await;
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hung_up => {}
        }
    }
}

/// Whether whoever started this program wants it to go on after its terminal: an ignored signal stays ignored (signal(7)),
/// and the system says which are (proc(5)).
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_nohup_a_closed_terminal_is_no_stop() {
        assert!(ignores_hangup("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
