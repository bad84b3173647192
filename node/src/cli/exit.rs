//! Exit codes: fixed, documented in `--help`, and mapped from the gateway's codes by one table.

use std::process::ExitCode;

use miner_ctrl_dashboard::Code;

/// How a command ended. Scripts go by it: a number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// Something broke.
    Error = 1,
    /// The command or a value in it cannot be taken.
    Usage = 2,
    /// No such peer, miner, profile or request.
    NotFound = 3,
    /// The other side did not grant this, or what is here is another user's.
    NotAllowed = 4,
    /// A policy forbids it, or it contradicts what is there.
    Refused = 5,
    /// Nobody answers, or not in time.
    Unreachable = 6,
    /// Of many, some failed.
    SomeFailed = 7,
}

/// Stands at the end of every help text.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  something broke
  2  the command or a value in it cannot be taken
  3  no such peer, miner, profile or request
  4  not allowed by the other side, or another user's home
  5  refused by a policy, or it contradicts what is there
  6  nobody answers, or not in time (then it may have been done)
  7  of many, some failed

Environment:
  MINER_CTRL_HOME  directory for configuration and data, as --home
  MINER_CTRL_LOG   what is logged to stderr, e.g. `debug` or `miner_ctrl=debug,libp2p=info`
  NO_COLOR         no colours
  MINER_CTRL_LISTEN, _PAIRING, _ON_SHUTDOWN, _SIMULATE
                   as in config.toml, for `node serve`
  MINER_CTRL_DASHBOARD, _PUBLIC_URL, _ALLOWED_HOSTS, _TRUSTED_PROXIES,
      _PASSWORD_FILE, _TLS, _TLS_CERTIFICATE, _TLS_KEY
                   the dashboard's part of config.toml, for `node serve`
  MINER_CTRL_XMRIG, MINER_CTRL_TT_MINER
                   where the mining programs lie";

/// The one table from the gateway's codes to exit codes.
const TABLE: &[(Code, Exit)] = &[
    (Code::AmbiguousMiner, Exit::Refused),
    (Code::AmbiguousPeer, Exit::Refused),
    (Code::BadAnswer, Exit::Unreachable),
    (Code::BadRequest, Exit::Error),
    (Code::BodyTooLarge, Exit::Usage),
    (Code::BodyTooSlow, Exit::Unreachable),
    (Code::Busy, Exit::Unreachable),
    (Code::Conflict, Exit::Refused),
    (Code::CrossOrigin, Exit::NotAllowed),
    (Code::Internal, Exit::Error),
    (Code::Invalid, Exit::Usage),
    (Code::KeyInUse, Exit::Refused),
    (Code::KeyReused, Exit::Usage),
    (Code::MethodNotAllowed, Exit::Error),
    (Code::MinerUnavailable, Exit::Error),
    (Code::Misdirected, Exit::Error),
    (Code::NotAllowed, Exit::NotAllowed),
    (Code::NotFound, Exit::Error),
    (Code::NotReady, Exit::Unreachable),
    (Code::NotRegistered, Exit::NotAllowed),
    (Code::PairingFailed, Exit::Refused),
    (Code::PolicyForbids, Exit::Refused),
    (Code::Replayed, Exit::Error),
    (Code::RigInternal, Exit::Error),
    (Code::RunsNoMiner, Exit::Refused),
    (Code::ScopeTooSmall, Exit::NotAllowed),
    (Code::ShuttingDown, Exit::Unreachable),
    (Code::SignInNeeded, Exit::NotAllowed),
    (Code::Stale, Exit::Unreachable),
    (Code::Timeout, Exit::Unreachable),
    (Code::TooLarge, Exit::Usage),
    (Code::TooManyRequests, Exit::Unreachable),
    (Code::TooManyStreams, Exit::Unreachable),
    (Code::TooManyTries, Exit::Unreachable),
    (Code::UnknownCredential, Exit::NotFound),
    (Code::UnknownJob, Exit::NotFound),
    (Code::UnknownMiner, Exit::NotFound),
    (Code::UnknownPairingRequest, Exit::NotFound),
    (Code::UnknownPeer, Exit::NotFound),
    (Code::UnknownProfile, Exit::NotFound),
    (Code::UnknownRigProfile, Exit::NotFound),
    (Code::Unreachable, Exit::Unreachable),
    (Code::Unreadable, Exit::Error),
    (Code::Unsupported, Exit::Error),
    (Code::UnsupportedMediaType, Exit::Error),
    (Code::WrongCredentials, Exit::NotAllowed),
];

impl Exit {
    /// What a code of the gateway means here; one that this version does not know is an error.
    pub(crate) fn of_code(code: &str) -> Self {
        TABLE.iter().find(|(known, _)| known.as_str() == code).map_or(Self::Error, |(_, exit)| *exit)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_gateway_has_one_exit_code() {
        for code in Code::ALL {
            assert_eq!(TABLE.iter().filter(|(known, _)| known == code).count(), 1, "{code:?}");
        }
        assert_eq!(TABLE.len(), Code::ALL.len());
    }

    #[test]
    fn the_numbers_are_those_that_scripts_rely_on() {
        for (code, number) in [
            ("unknown-peer", 3),
            ("unknown-profile", 3),
            ("not-allowed", 4),
            ("policy-forbids", 5),
            ("conflict", 5),
            ("unreachable", 6),
            ("timeout", 6),
            ("invalid", 2),
            ("a code of a later version", 1),
        ] {
            assert_eq!(Exit::of_code(code).number(), number, "{code}");
        }
        assert_eq!((Exit::Done.number(), Exit::SomeFailed.number()), (0, 7));
    }

    #[test]
    fn the_help_lists_every_number() {
        for number in 0..=7 {
            assert!(HELP.contains(&format!("\n  {number}  ")), "{number}");
        }
    }
}
