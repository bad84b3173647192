//! Room for the connections of thousands of rigs: each is an open file of this process.
//!
//! Debian lets a program have 1024 of them unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The system does not let this process have so many files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{needed} open files are needed, and this process may have {allowed}")]
pub struct TooFewFiles {
    /// What is needed.
    pub needed: u64,
    /// What the system allows.
    pub allowed: u64,
}

/// Lets this process have `needed` open files at once.
///
/// # Errors
/// [`TooFewFiles`]; then the limit is as it was.
pub fn make_room(needed: u64) -> Result<(), TooFewFiles> {
    let limit = getrlimit(Resource::Nofile);
    // None: no limit.
    let Some(current) = limit.current.filter(|current| *current < needed) else { return Ok(()) };
    let too_few = |_| TooFewFiles { needed, allowed: limit.maximum.unwrap_or(current) };
    // Not beyond the hard limit, even where root could: whoever set it meant it.
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum }).map_err(too_few)
}

/// Raises the limit as far as the system allows, up to `wanted`; how many open files this process may have then.
pub(crate) fn raise(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let possible = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    // At worst it stays as it is, which `allowed` tells.
    let _ = make_room(possible);
    allowed()
}

/// How many open files this process may have.
pub(crate) fn allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_files_than_any_system_has_are_refused_and_the_limit_stays() {
        let before = getrlimit(Resource::Nofile);
        let refused = make_room(u64::MAX - 1).unwrap_err();
        assert_eq!((refused.needed, Some(refused.allowed)), (u64::MAX - 1, before.maximum));
        assert_eq!(getrlimit(Resource::Nofile), before);
        assert_eq!(make_room(1), Ok(()));
        assert_eq!(Some(raise(1)), before.current, "it is never lowered");
    }
}
