//! The wall clock, for what is stored and shown. It may be wrong: who may do what, and in which order, is not decided by it;
//! how long old numbers stay, which of them are missing, and when a certificate or a session ends are.

use std::time::{SystemTime, UNIX_EPOCH};

/// No clock that was ever set shows less: this program is younger. The beginning of 2026.
pub const NEVER_BEFORE: u64 = 1_767_225_600;

/// Unix time in seconds; 0 on a machine whose clock stands before 1970.
#[must_use]
pub fn unix_now() -> u64 {
    unix_seconds(SystemTime::now())
}

/// Unix time in milliseconds; 0 on a machine whose clock stands before 1970.
#[must_use]
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A point in time as Unix seconds; 0 for what lies before 1970.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
