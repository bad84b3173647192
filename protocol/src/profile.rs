//! What to mine, where, and with which program.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::name::{NodeName, ProfileName};
use crate::text::is_visible;
use crate::words;

/// Most profiles of a rig; a farm has a few per program. Keeps a runaway script from filling the disk.
pub const MAX_PROFILES: usize = 256;

/// Most pools of a profile. Failover beyond a handful is never reached.
pub const MAX_POOLS: usize = 8;
/// Longest wallet or login: an integrated Monero address with payment id, worker and difficulty fits well.
pub const MAX_WALLET: usize = 256;
/// Longest pool password. Pools that take options in it (`x,d=1000,c=XMR`) stay far below.
pub const MAX_PASSWORD: usize = 256;
/// Longest pool address: a scheme, a DNS name of 253 characters and a port.
pub const MAX_POOL_URL: usize = 300;
/// Most extra arguments.
pub const MAX_ARGUMENTS: usize = 32;
/// Longest extra argument.
pub const MAX_ARGUMENT: usize = 256;
/// Most CPU threads that a profile may ask for; more than any machine sold has.
pub const MAX_THREADS: u32 = 4096;

/// A mining program that a rig can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// TT-Miner by TrailingStop: NVIDIA and AMD GPUs.
    TtMiner,
    /// XMRig: CPU, CUDA, OpenCL.
    Xmrig,
}

impl Program {
    /// Every program there is a driver for.
    pub const ALL: [Self; 2] = [Self::Xmrig, Self::TtMiner];
}

words!(Program: Xmrig = "xmrig", TtMiner = "tt-miner"; not_a_program as Invalid);

fn not_a_program(_: &str, why: &str) -> Invalid {
    Invalid::new("program", why)
}

/// A field that cannot be taken as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field} {why}")]
pub struct Invalid {
    /// Which field, e.g. `pools[0].url`.
    pub field: String,
    /// What is wrong with it and what it takes, e.g. `has no port: write host:port`.
    pub why: String,
}

impl Invalid {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

/// One pool of a profile; several are tried in order, the first has priority.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pool {
    /// `host:port`, or with a scheme that the program knows, e.g. `stratum+ssl://host:port`.
    pub url: String,
    /// Wallet or login at this pool, where it differs from the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<String>,
    /// Password at this pool, where it differs from the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// TLS to the pool. Mining programs check no certificate, only the fingerprint below.
    #[serde(default)]
    pub tls: bool,
    /// SHA-256 of the pool's certificate, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

impl fmt::Debug for Pool {
    /// Without the password: drafts end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("url", &self.url)
            .field("wallet", &self.wallet)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("tls", &self.tls)
            .field("fingerprint", &self.fingerprint)
            .finish()
    }
}

impl Pool {
    /// The names of all fields, for refusing a misspelt one in a file or a request body.
    pub const FIELDS: [&'static str; 5] = ["url", "wallet", "password", "tls", "fingerprint"];
}

/// A profile as it is written, sent and stored; [`ProfileDraft::check`] makes a [`Profile`] of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileDraft {
    /// Its name.
    pub name: ProfileName,
    /// Which program runs it.
    pub program: Program,
    /// Algorithm by the program's own name, e.g. `rx/0`. For XMRig it may be left to the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Coin by the program's own name, instead of the algorithm, e.g. `monero`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coin: Option<String>,
    /// Pools in order of priority.
    pub pools: Vec<Pool>,
    /// Wallet or pool login.
    pub wallet: String,
    /// Pool password; most pools take anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Worker name at the pool; `{name}` becomes the rig's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rig_name: Option<String>,
    /// CPU threads; left out, the program decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Percent of the CPU's threads, 1 to 100, instead of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_hint: Option<u8>,
    /// Huge pages; left out, the program decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<bool>,
    /// Extra arguments, each from the driver's allow-list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

impl fmt::Debug for ProfileDraft {
    /// Without the password: drafts end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileDraft")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("algorithm", &self.algorithm)
            .field("coin", &self.coin)
            .field("pools", &self.pools)
            .finish_non_exhaustive()
    }
}

impl ProfileDraft {
    /// The names of all fields, for refusing a misspelt one in a file or a request body.
    pub const FIELDS: [&'static str; 12] = [
        "name",
        "program",
        "algorithm",
        "coin",
        "pools",
        "wallet",
        "password",
        "rig_name",
        "threads",
        "threads_hint",
        "huge_pages",
        "arguments",
    ];

    /// Checks every field that does not depend on the program; drivers check the rest.
    ///
    /// # Errors
    /// The first field that cannot be taken, with what it takes.
    pub fn check(self) -> Result<Profile, Invalid> {
        word("algorithm", self.algorithm.as_deref(), 48)?;
        word("coin", self.coin.as_deref(), 48)?;
        if self.algorithm.is_some() && self.coin.is_some() {
            return Err(Invalid::new("coin", "and algorithm are both given: keep one"));
        }
        if self.program == Program::TtMiner && self.algorithm.is_none() && self.coin.is_none() {
            return Err(Invalid::new("algorithm", "or coin is missing: tt-miner needs one of them"));
        }
        if self.pools.is_empty() {
            return Err(Invalid::new("pools", "is empty: name at least one pool as host:port"));
        }
        if self.pools.len() > MAX_POOLS {
            return Err(Invalid::new("pools", format!("has {} entries: at most {MAX_POOLS}", self.pools.len())));
        }
        login("wallet", &self.wallet)?;
        password("password", self.password.as_deref())?;
        for (index, pool) in self.pools.iter().enumerate() {
            pool_url(&format!("pools[{index}].url"), &pool.url)?;
            if let Some(wallet) = &pool.wallet {
                login(&format!("pools[{index}].wallet"), wallet)?;
            }
            password(&format!("pools[{index}].password"), pool.password.as_deref())?;
            if let Some(fingerprint) = &pool.fingerprint {
                let field = format!("pools[{index}].fingerprint");
                if fingerprint.len() != 64 || !fingerprint.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(Invalid::new(field, "is not a SHA-256: 64 hexadecimal digits"));
                }
                if !pool.tls {
                    return Err(Invalid::new(field, "needs tls on this pool"));
                }
            }
        }
        if let Some(template) = &self.rig_name {
            let rest = template.replace("{name}", "");
            if template.is_empty() || template.len() > 64 {
                return Err(Invalid::new("rig_name", "has 1 to 64 characters"));
            }
            if !rest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
                return Err(Invalid::new("rig_name", "takes letters, digits, `-`, `_`, `.` and {name}"));
            }
            if template.starts_with('-') {
                return Err(Invalid::new("rig_name", "starts with a letter, a digit or {name}"));
            }
        }
        if let Some(threads) = self.threads {
            if threads == 0 || threads > MAX_THREADS {
                return Err(Invalid::new("threads", format!("is 1 to {MAX_THREADS}; leave it out for automatic")));
            }
            if self.threads_hint.is_some() {
                return Err(Invalid::new("threads_hint", "and threads are both given: keep one"));
            }
        }
        if self.threads_hint.is_some_and(|hint| hint == 0 || hint > 100) {
            return Err(Invalid::new("threads_hint", "is a percentage, 1 to 100"));
        }
        if self.arguments.len() > MAX_ARGUMENTS {
            return Err(Invalid::new("arguments", format!("has more than {MAX_ARGUMENTS} entries")));
        }
        for (index, argument) in self.arguments.iter().enumerate() {
            let field = || format!("arguments[{index}]");
            if argument.is_empty() || argument.len() > MAX_ARGUMENT {
                return Err(Invalid::new(field(), format!("has 1 to {MAX_ARGUMENT} characters")));
            }
            if !argument.chars().all(is_visible) {
                return Err(Invalid::new(field(), HIDDEN));
            }
        }
        Ok(Profile(self))
    }
}

/// A profile whose fields were checked. What only the driver knows (algorithm names, arguments) it checks itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile(ProfileDraft);

impl Profile {
    /// The worker name at the pool, with the rig's name in it.
    #[must_use]
    pub fn rig_name_for(&self, rig: &NodeName) -> String {
        self.0.rig_name.as_deref().unwrap_or("{name}").replace("{name}", rig.as_str())
    }

    /// The login at a pool of this profile.
    #[must_use]
    pub fn wallet_at<'a>(&'a self, pool: &'a Pool) -> &'a str {
        pool.wallet.as_deref().unwrap_or(&self.0.wallet)
    }

    /// The password at a pool of this profile.
    #[must_use]
    pub fn password_at<'a>(&'a self, pool: &'a Pool) -> Option<&'a str> {
        pool.password.as_deref().or(self.0.password.as_deref())
    }

    /// Back to what is written and sent.
    #[must_use]
    pub fn into_draft(self) -> ProfileDraft {
        self.0
    }
}

impl Deref for Profile {
    type Target = ProfileDraft;
    fn deref(&self) -> &ProfileDraft {
        &self.0
    }
}

/// `host:port` of a pool address without its scheme; `None` when it has no valid host and port.
#[must_use]
pub fn pool_host_and_port(url: &str) -> Option<(&str, u16)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, port) = rest.rsplit_once(':')?;
    // Rust reads a `+` before a number, and no mining program says that it does.
    let port: u16 = port.parse().ok().filter(|number| *number != 0 && !port.starts_with('+'))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let bracketed = bare.len() != host.len();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || (bracketed && c == ':');
    (!bare.is_empty() && bare.len() <= 253 && !bare.starts_with('-') && bare.chars().all(fits)).then_some((host, port))
}

/// Schemes that both programs know; each driver narrows them.
const SCHEMES: [&str; 10] = [
    "stratum+tcp",
    "stratum+ssl",
    "stratum+tls",
    "stratum1+ssl",
    "daemon+http",
    "daemon+https",
    "ssl",
    "http",
    "epic",
    "zmp",
];

fn pool_url(field: &str, url: &str) -> Result<(), Invalid> {
    if url.len() > MAX_POOL_URL {
        return Err(Invalid::new(field, format!("has more than {MAX_POOL_URL} characters")));
    }
    if let Some((scheme, _)) = url.split_once("://")
        && !SCHEMES.contains(&scheme)
    {
        return Err(Invalid::new(field, format!("has a scheme that is none of {}", SCHEMES.join(", "))));
    }
    match pool_host_and_port(url) {
        Some(_) => Ok(()),
        None => Err(Invalid::new(field, "is not host:port, e.g. pool.example:3333")),
    }
}

fn word(field: &str, value: Option<&str>, longest: usize) -> Result<(), Invalid> {
    let Some(value) = value else { return Ok(()) };
    if value.is_empty() || value.len() > longest {
        return Err(Invalid::new(field, format!("has 1 to {longest} characters")));
    }
    if !value.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.' | '+'))
    {
        return Err(Invalid::new(field, "is one word of letters, digits and `-_/.+`"));
    }
    Ok(())
}

/// Copied from a page a wallet may have one: no pool knows it then, and nobody sees why. A console without such characters
/// would show the rest of a secret.
const HIDDEN: &str = "has a character that does not show, perhaps copied along: type it anew";

/// What may be a wallet or a login.
pub(crate) fn login(field: &str, value: &str) -> Result<(), Invalid> {
    if value.is_empty() {
        return Err(Invalid::new(field, "is empty: give the wallet address or pool login"));
    }
    if value.len() > MAX_WALLET {
        return Err(Invalid::new(field, format!("has more than {MAX_WALLET} characters")));
    }
    if value.starts_with('-') {
        return Err(Invalid::new(field, "starts with `-`"));
    }
    if value.chars().any(char::is_whitespace) {
        return Err(Invalid::new(field, "has a space"));
    }
    if !value.chars().all(is_visible) {
        return Err(Invalid::new(field, HIDDEN));
    }
    Ok(())
}

fn password(field: &str, value: Option<&str>) -> Result<(), Invalid> {
    let Some(value) = value else { return Ok(()) };
    if value.len() > MAX_PASSWORD {
        return Err(Invalid::new(field, format!("has more than {MAX_PASSWORD} characters")));
    }
    if !value.chars().all(is_visible) {
        return Err(Invalid::new(field, HIDDEN));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> ProfileDraft {
        ProfileDraft {
            name: "p".parse().unwrap(),
            program: Program::Xmrig,
            algorithm: Some("rx/0".into()),
            coin: None,
            pools: vec![Pool { url: "pool.example:3333".into(), ..Pool::default() }],
            wallet: "44AFFq5kSiGBoZ".into(),
            password: None,
            rig_name: None,
            threads: None,
            threads_hint: None,
            huge_pages: None,
            arguments: vec![],
        }
    }

    #[test]
    fn a_plain_profile_is_taken_and_names_the_rig() {
        let profile = draft().check().unwrap();
        assert_eq!(profile.rig_name_for(&"rig-alpha".parse().unwrap()), "rig-alpha");
        let profile = ProfileDraft { rig_name: Some("barn.{name}".into()), ..draft() }.check().unwrap();
        assert_eq!(profile.rig_name_for(&"rig-alpha".parse().unwrap()), "barn.rig-alpha");
    }

    #[test]
    fn a_bad_field_is_refused_by_its_name() {
        let with_pool = |pool: Pool| ProfileDraft { pools: vec![pool], ..draft() };
        let url = |url: &str| with_pool(Pool { url: url.into(), ..Pool::default() });
        for (bad, field) in [
            (ProfileDraft { pools: vec![], ..draft() }, "pools"),
            (ProfileDraft { pools: vec![draft().pools[0].clone(); 9], ..draft() }, "pools"),
            (url("pool.example"), "pools[0].url"),
            (url("pool.example:0"), "pools[0].url"),
            (url("pool.example:65536"), "pools[0].url"),
            (url("pool.example:+3333"), "pools[0].url"),
            (url("gopher://pool.example:1"), "pools[0].url"),
            (url("pool.example:1 --evil"), "pools[0].url"),
            (url("-x:1"), "pools[0].url"),
            (url("a:b:1"), "pools[0].url"),
            (ProfileDraft { wallet: String::new(), ..draft() }, "wallet"),
            (ProfileDraft { wallet: "a b".into(), ..draft() }, "wallet"),
            (ProfileDraft { wallet: "-c/etc/passwd".into(), ..draft() }, "wallet"),
            (ProfileDraft { wallet: "x".repeat(257), ..draft() }, "wallet"),
            (ProfileDraft { wallet: "44AFF\u{200b}q5kSi".into(), ..draft() }, "wallet"),
            (ProfileDraft { password: Some("a\nb".into()), ..draft() }, "password"),
            (ProfileDraft { password: Some("hunter\u{feff}2".into()), ..draft() }, "password"),
            (ProfileDraft { algorithm: Some("rx 0".into()), ..draft() }, "algorithm"),
            (ProfileDraft { algorithm: None, program: Program::TtMiner, ..draft() }, "algorithm"),
            (ProfileDraft { coin: Some("monero".into()), ..draft() }, "coin"),
            (ProfileDraft { threads: Some(0), ..draft() }, "threads"),
            (ProfileDraft { threads: Some(1), threads_hint: Some(50), ..draft() }, "threads_hint"),
            (ProfileDraft { threads_hint: Some(101), ..draft() }, "threads_hint"),
            (ProfileDraft { rig_name: Some("{host}".into()), ..draft() }, "rig_name"),
            (ProfileDraft { arguments: vec![String::new()], ..draft() }, "arguments[0]"),
            (ProfileDraft { arguments: vec!["--no-cpu\u{200d}".into()], ..draft() }, "arguments[0]"),
            (
                with_pool(Pool { fingerprint: Some("ab".into()), tls: true, ..draft().pools[0].clone() }),
                "pools[0].fingerprint",
            ),
            (
                with_pool(Pool { fingerprint: Some("ab".repeat(32)), ..draft().pools[0].clone() }),
                "pools[0].fingerprint",
            ),
        ] {
            assert_eq!(bad.check().unwrap_err().field, field);
        }
    }

    #[test]
    fn a_pool_address_gives_host_and_port() {
        assert_eq!(pool_host_and_port("stratum+ssl://pool.example:443"), Some(("pool.example", 443)));
        assert_eq!(pool_host_and_port("[::1]:3333"), Some(("[::1]", 3333)));
        assert_eq!(pool_host_and_port("::1:3333"), None);
        assert_eq!(pool_host_and_port(":3333"), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let draft = ProfileDraft {
            password: Some("hunter2".into()),
            pools: vec![Pool { password: Some("hunter2".into()), ..draft().pools[0].clone() }],
            ..draft()
        };
        assert!(!format!("{draft:?}").contains("hunter2"));
    }
}
