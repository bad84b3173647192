//! What a rig allows, whoever asks.

use serde::{Deserialize, Serialize};

use crate::profile::{Profile, Program, login, pool_host_and_port};

/// The rig's own rules. An absent list allows everything; an empty one allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Verbs that peers may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbs: Option<Vec<Verb>>,
    /// Mining programs that may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs: Option<Vec<Program>>,
    /// Pools as `host:port`, or `host` for any port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pools: Option<Vec<String>>,
    /// Wallets or logins, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wallets: Option<Vec<String>>,
}

/// What a peer may want done, as a policy names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Store a profile.
    Deploy,
    /// Read console lines.
    Logs,
    /// Remove a profile.
    Remove,
    /// Stop and start a miner.
    Restart,
    /// Start a miner.
    Start,
    /// Read statistics.
    Stats,
    /// Stop a miner.
    Stop,
}

/// The rule that forbids something, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(pub String);

impl Policy {
    /// The names of all rules, for refusing a misspelt one in a file: it would allow what it should forbid.
    pub const FIELDS: [&'static str; 4] = ["verbs", "programs", "pools", "wallets"];

    /// Whether peers may use a verb.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn allows_verb(&self, verb: Verb) -> Result<(), Forbidden> {
        match &self.verbs {
            Some(verbs) if !verbs.contains(&verb) => {
                Err(Forbidden(format!("verbs does not list {verb:?}").to_lowercase()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a profile may run here: its program, every pool and every wallet.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn allows_profile(&self, profile: &Profile) -> Result<(), Forbidden> {
        if let Some(programs) = &self.programs
            && !programs.contains(&profile.program)
        {
            return Err(Forbidden(format!("programs does not list {}", profile.program)));
        }
        for pool in &profile.pools {
            if self.pools.is_some() && !self.allows_pool(&pool.url) {
                return Err(Forbidden(format!("pools does not list {}", pool.url)));
            }
            let wallet = profile.wallet_at(pool);
            if let Some(wallets) = &self.wallets
                && !wallets.iter().any(|allowed| allowed == wallet)
            {
                // Whoever reads the refusal may not be one who may know it.
                return Err(Forbidden(format!("wallets does not list the wallet for {}", pool.url)));
            }
        }
        Ok(())
    }

    /// Whether a pool may be mined at.
    #[must_use]
    pub fn allows_pool(&self, url: &str) -> bool {
        self.pools.as_ref().is_none_or(|pools| pools.iter().any(|allowed| pool_matches(allowed, url)))
    }

    /// What stands in a rule and can never be met: a person who wrote it means something else.
    #[must_use]
    pub fn meaningless(&self) -> Option<String> {
        let pool = self.pools.iter().flatten().find(|pool| pool_host_and_port(pool).is_none() && !is_host(pool));
        let pool = pool.map(|pool| format!("`{pool}` in pools is neither `host:port` nor `host`"));
        // What no profile may have.
        let refused = |(index, wallet): (usize, &String)| login(&format!("wallets[{index}]"), wallet).err();
        pool.or_else(|| self.wallets.iter().flatten().enumerate().find_map(refused).map(|invalid| invalid.to_string()))
    }
}

/// Without a port: what it would be with one.
fn is_host(text: &str) -> bool {
    !text.contains("://") && pool_host_and_port(&format!("{text}:1")).is_some_and(|(host, _)| host == text)
}

fn pool_matches(allowed: &str, url: &str) -> bool {
    let Some((host, port)) = host_and_port(url) else { return false };
    match pool_host_and_port(allowed) {
        Some((allowed_host, allowed_port)) => bare(allowed_host).eq_ignore_ascii_case(host) && allowed_port == port,
        None => bare(allowed).eq_ignore_ascii_case(host),
    }
}

/// Also as mining programs report it: an IPv6 address without its brackets.
fn host_and_port(url: &str) -> Option<(&str, u16)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, port) = rest.rsplit_once(':')?;
    Some((bare(host), port.parse().ok()?))
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Pool, ProfileDraft};

    fn profile(url: &str, wallet: &str) -> Profile {
        let pool = Pool { url: url.into(), ..Pool::default() };
        serde_json::from_value::<ProfileDraft>(serde_json::json!({
            "name": "p", "program": "xmrig", "pools": [pool], "wallet": wallet,
        }))
        .unwrap()
        .check()
        .unwrap()
    }

    #[test]
    fn without_rules_everything_goes() {
        assert_eq!(Policy::default().allows_profile(&profile("evil.example:1", "theirs")), Ok(()));
        assert_eq!(Policy::default().allows_verb(Verb::Stop), Ok(()));
    }

    #[test]
    fn another_wallet_or_pool_is_forbidden_whoever_signs() {
        let policy = Policy {
            pools: Some(vec!["pool.example:3333".into(), "other.example".into()]),
            wallets: Some(vec!["mine".into()]),
            ..Policy::default()
        };
        assert_eq!(policy.allows_profile(&profile("Pool.Example:3333", "mine")), Ok(()));
        assert_eq!(policy.allows_profile(&profile("stratum+ssl://other.example:9", "mine")), Ok(()));
        assert!(policy.allows_profile(&profile("pool.example:3334", "mine")).is_err());
        assert!(policy.allows_profile(&profile("pool.example:3333", "theirs")).is_err());
    }

    #[test]
    fn a_pool_is_the_same_as_written_and_as_a_program_reports_it() {
        let allows =
            |rule: &str, pool: &str| Policy { pools: Some(vec![rule.into()]), ..Policy::default() }.allows_pool(pool);
        for (rule, pool) in [
            ("[2001:db8::1]:3333", "2001:db8::1:3333"),
            ("[2001:db8::1]:3333", "[2001:DB8::1]:3333"),
            ("[2001:db8::1]", "2001:db8::1:3333"),
            ("stratum+ssl://pool.example:443", "Pool.Example:443"),
        ] {
            assert!(allows(rule, pool), "{rule} {pool}");
        }
        for (rule, pool) in
            [("[2001:db8::1]:3333", "2001:db8::2:3333"), ("pool.example", "evil.example:1"), ("pool.example", "x")]
        {
            assert!(!allows(rule, pool), "{rule} {pool}");
        }
    }

    #[test]
    fn a_wallet_hidden_in_the_second_pool_is_found() {
        let policy = Policy { wallets: Some(vec!["mine".into()]), ..Policy::default() };
        let mut draft = profile("a.example:1", "mine").into_draft();
        draft.pools.push(Pool { url: "b.example:1".into(), wallet: Some("theirs".into()), ..Pool::default() });
        assert!(policy.allows_profile(&draft.check().unwrap()).is_err());
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        let policy = Policy { verbs: Some(vec![]), ..Policy::default() };
        assert_eq!(policy.allows_verb(Verb::Start).unwrap_err().to_string(), "verbs does not list start");
    }
}
