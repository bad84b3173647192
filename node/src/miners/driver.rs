//! What the supervisor needs to know of a mining program; one implementation per program in `drivers/`.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use miner_ctrl_protocol::profile::{Invalid, pool_host_and_port};
use miner_ctrl_protocol::stats::DeviceStats;
use miner_ctrl_protocol::text::is_visible;
use miner_ctrl_protocol::{Hashrate, NodeName, Policy, Profile, ProfileDraft, Program, Shares};
use serde::{Deserialize, Serialize};

use super::lifecycle::{Phase, StartLimits};

/// Longest word taken from a program's API (algorithm, version, device name), bytes.
const MAX_WORD: usize = 300;

/// A mining program as it is started: the file, and arguments that come before the driver's own.
///
/// The prefix lets a wrapper stand for the program, e.g. `miner-ctrl simulate xmrig`; the driver cannot tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramPath {
    /// What to execute.
    pub path: PathBuf,
    /// Arguments before the driver's.
    pub prefix_args: Vec<String>,
}

impl From<PathBuf> for ProgramPath {
    fn from(path: PathBuf) -> Self {
        Self { path, prefix_args: Vec::new() }
    }
}

/// Where the API of one started process is, and how it proves that it is ours. Recorded for adoption.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Secret that the process was given and a stranger on the port does not know.
    pub token: String,
    /// The name that the process was told to answer with.
    pub worker_id: String,
}

impl fmt::Debug for Endpoint {
    /// Without the token: endpoints end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "127.0.0.1:{} as {}", self.port, self.worker_id)
    }
}

/// All that a driver needs to write down how to start one instance.
#[derive(Debug)]
pub struct Order<'a> {
    /// What to mine.
    pub profile: &'a Profile,
    /// The rig's name, for the worker name at the pool.
    pub node: &'a NodeName,
    /// The instance's own directory.
    pub directory: &'a Path,
    /// Where its API shall be.
    pub endpoint: &'a Endpoint,
}

/// How to start one process: pure data, nothing has happened yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaunchPlan {
    /// Arguments after the program's prefix. A path among them need not be text.
    pub args: Vec<OsString>,
    /// Files to write first, readable by the owner alone.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Whether the program must be shielded from a broken console pipe, so that it outlives this node.
    pub shield_from_broken_pipe: bool,
}

/// What a program said of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Where it stands.
    pub phase: Phase,
    /// Over 10 s, 60 s and 15 min, as far as the program has them.
    pub hashrates: [Option<Hashrate>; 3],
    /// Shares of this process.
    pub shares: Shares,
    /// What it is hashing.
    pub algorithm: Option<String>,
    /// The pool of its connection, or of the last one.
    pub pool: Option<String>,
    /// Version of the program.
    pub version: Option<String>,
    /// GPUs.
    pub devices: Vec<DeviceStats>,
    /// What this build can do, when it says so.
    pub algorithms: Vec<String>,
}

impl Reading {
    /// The rate to show: the shortest window that has a value.
    #[must_use]
    pub fn hashrate(&self) -> Option<Hashrate> {
        self.hashrates.iter().copied().flatten().next()
    }

    /// Why this cannot be the process that was asked for, if so: it mines elsewhere, or cannot do the algorithm.
    #[must_use]
    pub fn contradicts(&self, profile: &Profile) -> Option<String> {
        if let Some(algorithm) = &profile.algorithm
            && !self.algorithms.is_empty()
            && !self.algorithms.iter().any(|known| known.eq_ignore_ascii_case(algorithm))
        {
            return Some(format!("this build of {} cannot do {algorithm}", profile.program));
        }
        self.strays_from(profile)
            .map(|pool| format!("it mines at {pool}, which the profile `{}` does not name", profile.name))
    }

    /// A pool that it is connected to and the policy does not allow.
    #[must_use]
    pub fn pool_outside(&self, policy: &Policy) -> Option<&str> {
        self.pools().find(|pool| !policy.allows_pool(pool))
    }

    /// The pool it is connected to, when that is none of the profile's.
    #[must_use]
    pub fn strays_from(&self, profile: &Profile) -> Option<&str> {
        let asked = |part: &str| profile.pools.iter().any(|asked| same_pool(&asked.url, part));
        self.pool.as_deref().filter(|_| !self.pools().all(asked))
    }

    /// The pools of all coins: of two at once they are joined by `;`, which may also end the one.
    fn pools(&self) -> impl Iterator<Item = &str> {
        self.pool.iter().flat_map(|pool| pool.split(';')).map(str::trim).filter(|pool| !pool.is_empty())
    }
}

fn same_pool(asked: &str, reported: &str) -> bool {
    let parts = |url| {
        let (host, port) = pool_host_and_port(url)?;
        Some((host.trim_matches(['[', ']']).to_ascii_lowercase(), port))
    };
    // A bare IPv6 address does not parse as host:port; then the last colon is the port's.
    let bare = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        Some((host.trim_matches(['[', ']']).to_ascii_lowercase(), port.parse().ok()?))
    };
    parts(asked).is_some_and(|asked| parts(reported).or_else(|| bare(reported)) == Some(asked))
}

/// Why there is no reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// Somebody answers there who is not the process we started.
    #[error("127.0.0.1:{port} answers, but not as the miner that was started: {why}")]
    NotOurs {
        /// Where.
        port: u16,
        /// How it gave itself away.
        why: String,
    },
    /// Nobody answers there, or not in time, or with nothing to read yet.
    #[error("no reading from its API on 127.0.0.1:{port}: {why}")]
    Silent {
        /// Where.
        port: u16,
        /// What the system said.
        why: String,
    },
}

/// A mining program, as the supervisor sees it.
pub trait Driver: fmt::Debug + Send + Sync {
    /// Which one.
    fn program(&self) -> Program;

    /// Names of its executable file, the usual one first.
    fn file_names(&self) -> &'static [&'static str];

    /// Directories below which it is often unpacked, besides `PATH`.
    fn directories(&self) -> &'static [&'static str];

    /// Environment variable that names its executable.
    fn variable(&self) -> &'static str;

    /// How long a start may take, and how often it is tried on another port.
    fn limits(&self) -> StartLimits;

    /// The draft by the names that the program's API answers with, where it takes others for them: what is stored, shown
    /// and compared with readings is one name.
    fn named(&self, draft: ProfileDraft) -> ProfileDraft {
        draft
    }

    /// Checks what [`miner_ctrl_protocol::ProfileDraft::check`] leaves to the program: names, arguments, schemes.
    ///
    /// # Errors
    /// The first field that the program cannot do as asked.
    fn check(&self, profile: &Profile) -> Result<(), Invalid>;

    /// Whether the executable may be run from where it lies.
    ///
    /// # Errors
    /// Why not, in words for the operator.
    fn check_place(&self, _executable: &Path) -> Result<(), String> {
        Ok(())
    }

    /// Whether a version, as the program tells it, can be read and stopped by this driver.
    ///
    /// # Errors
    /// Why not, in words for the operator.
    fn check_version(&self, _line: &str) -> Result<(), String> {
        Ok(())
    }

    /// What a line of its console says went wrong with a pool, without what stands in every line; nothing of others. Why
    /// there is no job is often told nowhere else.
    fn pool_trouble<'a>(&self, _line: &'a str) -> Option<&'a str> {
        None
    }

    /// How to start the order's process.
    ///
    /// # Errors
    /// As [`Driver::check`].
    fn plan(&self, order: &Order<'_>) -> Result<LaunchPlan, Invalid>;

    /// Asks a started process how it is.
    fn poll<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Reading, PollError>>;
}

/// A word from a program's API: bounded and without control characters; nothing when empty.
#[must_use]
pub fn word(text: &str) -> Option<String> {
    let mut word = String::new();
    for c in text.chars().filter(|c| is_visible(*c)) {
        if word.len() + c.len_utf8() > MAX_WORD {
            break;
        }
        word.push(c);
    }
    (!word.is_empty()).then_some(word)
}

/// What a program measures on a device. 0 degrees, percent or watt mean that it does not know.
#[must_use]
pub fn measured(value: &serde_json::Value) -> Option<f32> {
    number(value).map(|number| number as f32).filter(|number| number.is_finite() && *number > 0.0)
}

/// A number from a program's API, given as number or text; finite, nothing else.
#[must_use]
pub fn number(value: &serde_json::Value) -> Option<f64> {
    let number = match value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }?;
    number.is_finite().then_some(number)
}

/// A count from a program's API. What is below zero or no number counts as zero; too large stays the largest.
#[must_use]
pub fn count(value: &serde_json::Value) -> u64 {
    // `as` saturates, and takes a NaN as zero; an exact u64 must not go through a float.
    value.as_u64().unwrap_or_else(|| number(value).unwrap_or(0.0) as u64)
}

/// A rate from a program's API.
#[must_use]
pub fn rate(value: &serde_json::Value) -> Option<Hashrate> {
    number(value).and_then(Hashrate::per_second)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// Of a program that mines.
    pub(in crate::miners) fn reading() -> Reading {
        Reading {
            phase: Phase::Mining,
            hashrates: [Hashrate::per_second(10.0), None, None],
            shares: Shares::default(),
            algorithm: None,
            pool: None,
            version: None,
            devices: Vec::new(),
            algorithms: Vec::new(),
        }
    }

    #[test]
    fn hostile_numbers_become_nothing_or_bounds() {
        assert_eq!(count(&json!(18_446_744_073_709_551_615_u64)), u64::MAX);
        assert_eq!(count(&json!(-3)), 0);
        assert_eq!(count(&json!("17")), 17);
        assert_eq!(count(&json!(1e300)), u64::MAX);
        assert_eq!(count(&json!([1])), 0);
        assert_eq!((measured(&json!(61)), measured(&json!(0)), measured(&json!(1e39))), (Some(61.0), None, None));
        assert_eq!(rate(&json!("NaN")), None);
        assert_eq!(rate(&json!("inf")), None);
        assert_eq!(rate(&json!(-1.0)), None);
        assert_eq!(rate(&json!(null)), None);
        assert_eq!(rate(&json!("6.5e1")), Hashrate::per_second(65.0));
    }

    #[test]
    fn a_pool_is_the_same_whatever_its_scheme_case_or_brackets() {
        assert!(same_pool("stratum+ssl://Pool.Example:443", "pool.example:443"));
        assert!(same_pool("[::1]:3333", "::1:3333"));
        assert!(!same_pool("pool.example:443", "pool.example:444"));
        assert!(!same_pool("pool.example:443", "evil.example:443"));
    }

    #[test]
    fn each_pool_of_two_coins_must_be_asked_for_and_an_empty_part_is_none() {
        let draft: miner_ctrl_protocol::ProfileDraft = serde_json::from_value(json!({
            "name": "p", "program": "tt-miner", "coin": "RVN", "wallet": "RWallet",
            "pools": [{"url": "a.example:1"}, {"url": "b.example:1"}],
        }))
        .unwrap();
        let profile = draft.check().unwrap();
        let policy = Policy { pools: Some(vec!["a.example:1".into()]), ..Policy::default() };
        for (pool, strays, outside) in [
            ("a.example:1;", None, None),
            ("a.example:1;b.example:1", None, Some("b.example:1")),
            ("a.example:1;evil.example:1", Some("a.example:1;evil.example:1"), Some("evil.example:1")),
        ] {
            let reading = Reading { pool: Some(pool.into()), ..reading() };
            assert_eq!((reading.strays_from(&profile), reading.pool_outside(&policy)), (strays, outside), "{pool}");
        }
    }

    #[test]
    fn a_word_is_bounded_on_a_character() {
        assert_eq!(word("a\u{1b}[31mb\n"), Some("a[31mb".into()));
        assert_eq!(word(&"\u{e9}".repeat(400)).unwrap().len(), 300);
        assert_eq!(word("GPU\u{202e}1\u{200b}"), Some("GPU1".into()));
        assert_eq!(word(""), None);
    }
}
