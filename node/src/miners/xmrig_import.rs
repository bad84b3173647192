//! An XMRig configuration, as people have it, becomes a profile. What cannot be taken is said.

use miner_ctrl_protocol::profile::{Invalid, Pool};
use miner_ctrl_protocol::{ProfileDraft, ProfileName, Program};
use serde_json::Value;

use super::drivers::{is_xmrig_algorithm, is_xmrig_coin};

/// Largest file taken. XMRig's own, with thread lists for hundreds of threads, stay below.
const MAX_FILE: usize = 256 * 1024;

/// A profile from XMRig's configuration, and what was left out, in words.
///
/// # Errors
/// The first value that a profile cannot carry and that matters for what is mined where.
pub fn import_xmrig(json: &str, name: ProfileName) -> Result<(ProfileDraft, Vec<String>), Invalid> {
    if json.len() > MAX_FILE {
        return Err(Invalid::new("config", format!("has more than {MAX_FILE} bytes")));
    }
    let config: Value = serde_json::from_str(&relaxed(json))
        .map_err(|error| Invalid::new("config", format!("is not JSON: {error}")))?;
    let mut import = Import { warnings: Vec::new() };
    let draft = import.draft(&config, name)?;
    draft.clone().check()?;
    Ok((draft, import.warnings))
}

struct Import {
    warnings: Vec<String>,
}

impl Import {
    fn draft(&mut self, config: &Value, name: ProfileName) -> Result<ProfileDraft, Invalid> {
        let listed = config["pools"].as_array().ok_or_else(|| Invalid::new("pools", "is missing"))?;
        let enabled: Vec<(usize, &Value)> =
            listed.iter().enumerate().filter(|(_, pool)| pool["enabled"] != Value::Bool(false)).collect();
        let Some((_, first)) = enabled.first().copied() else {
            return Err(Invalid::new("pools", "has no enabled pool"));
        };
        let wallet = text(first, "user").ok_or_else(|| Invalid::new("pools[0].user", "is missing"))?;
        let password = text(first, "pass");
        let mut pools = Vec::new();
        for (index, pool) in enabled.iter().copied() {
            pools.push(self.pool(index, pool, &wallet, password.as_deref())?);
        }
        for (index, pool) in enabled.iter().copied().skip(1) {
            for key in ["algo", "coin", "rig-id"] {
                if pool[key] != first[key] && !pool[key].is_null() {
                    self.warn(format!("pools[{index}].{key} differs from the first pool's, which is taken for all"));
                }
            }
        }
        let mut algorithm = text(first, "algo");
        let mut coin = text(first, "coin");
        if algorithm.is_some() && coin.take().is_some() {
            self.warn("pools[0].coin is left out: algo says it already".to_owned());
        }
        if let Some(unknown) = algorithm.take_if(|algorithm| !is_xmrig_algorithm(algorithm)) {
            return Err(Invalid::new("pools[0].algo", format!("`{unknown}` is not known")));
        }
        if let Some(unknown) = coin.take_if(|coin| !is_xmrig_coin(coin)) {
            return Err(Invalid::new("pools[0].coin", format!("`{unknown}` is not known: give algo instead")));
        }
        let cpu = &config["cpu"];
        let threads = cpu["*"]["threads"].as_u64().and_then(|threads| u32::try_from(threads).ok());
        let threads_hint = match (threads, cpu["max-threads-hint"].as_u64()) {
            (Some(_), _) | (None, None) => None,
            (None, Some(hint)) => u8::try_from(hint).ok().filter(|hint| *hint != 100),
        };
        let lists = cpu.as_object().into_iter().flatten().filter(|(key, value)| {
            value.is_array()
                && (is_xmrig_algorithm(key)
                    || matches!(
                        key.as_str(),
                        "*" | "rx" | "cn" | "cn-lite" | "cn-heavy" | "cn-pico" | "argon2" | "ghostrider"
                    ))
        });
        let lists: Vec<_> = lists.map(|(key, _)| format!("cpu.{key}")).collect();
        if !lists.is_empty() {
            self.warn(format!("{} left out: XMRig makes its thread lists itself", lists.join(", ")));
        }
        let draft = ProfileDraft {
            name,
            program: Program::Xmrig,
            algorithm,
            coin,
            pools,
            wallet,
            password,
            rig_name: text(first, "rig-id"),
            threads,
            threads_hint,
            huge_pages: cpu["huge-pages"].as_bool(),
            arguments: self.arguments(config),
        };
        self.leftovers(config);
        Ok(draft)
    }

    fn pool(&mut self, index: usize, pool: &Value, wallet: &str, password: Option<&str>) -> Result<Pool, Invalid> {
        let field = |key: &str| format!("pools[{index}].{key}");
        let mut url = text(pool, "url").ok_or_else(|| Invalid::new(field("url"), "is missing"))?;
        // XMRig's own default port.
        let bare = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        if !bare.contains(':') {
            url.push_str(":3333");
            self.warn(format!("{} has no port: XMRig's 3333 is written", field("url")));
        }
        if pool["daemon"] == Value::Bool(true) && !url.contains("://") {
            url.insert_str(0, "daemon+http://");
        }
        // These say where the hashes go; left out silently they would go elsewhere.
        for key in ["socks5", "self-select"] {
            if !pool[key].is_null() {
                return Err(Invalid::new(field(key), "is nothing that a profile carries: take it out first"));
            }
        }
        for key in ["nicehash", "submit-to-origin", "sni"] {
            if pool[key] == Value::Bool(true) {
                self.warn(format!("{} is left out", field(key)));
            }
        }
        let fingerprint = text(pool, "tls-fingerprint");
        Ok(Pool {
            url,
            wallet: text(pool, "user").filter(|own| own != wallet),
            // XMRig sends `x` where there is none; the first pool's must not go to another.
            password: match (text(pool, "pass"), password) {
                (Some(own), shared) => (Some(own.as_str()) != shared).then_some(own),
                (None, Some(_)) => Some("x".to_owned()),
                (None, None) => None,
            },
            tls: pool["tls"] == Value::Bool(true) || fingerprint.is_some(),
            fingerprint,
        })
    }

    fn arguments(&mut self, config: &Value) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut number = |place: &Value, usual: u64, name: &str| {
            if let Some(number) = place.as_u64().filter(|number| *number != usual) {
                arguments.push(format!("{name}={number}"));
            }
        };
        number(&config["cpu"]["priority"], u64::MAX, "--cpu-priority");
        number(&config["donate-level"], 1, "--donate-level");
        number(&config["print-time"], 60, "--print-time");
        number(&config["retries"], 5, "--retries");
        number(&config["retry-pause"], 5, "--retry-pause");
        if let Some(mode @ ("fast" | "light")) = config["randomx"]["mode"].as_str() {
            arguments.push(format!("--randomx-mode={mode}"));
        }
        for (place, when, name) in [
            (&config["randomx"]["1gb-pages"], true, "--randomx-1gb-pages"),
            (&config["randomx"]["numa"], false, "--randomx-no-numa"),
            (&config["cpu"]["yield"], false, "--cpu-no-yield"),
            (&config["cpu"]["huge-pages-jit"], true, "--huge-pages-jit"),
            (&config["cpu"]["enabled"], false, "--no-cpu"),
            (&config["cuda"]["enabled"], true, "--cuda"),
            (&config["opencl"]["enabled"], true, "--opencl"),
            (&config["pause-on-battery"], true, "--pause-on-battery"),
        ] {
            if place.as_bool() == Some(when) {
                arguments.push(name.to_owned());
            }
        }
        if arguments.iter().any(|argument| argument == "--donate-level=0") {
            arguments.retain(|argument| argument != "--donate-level=0");
            self.warn("donate-level 0 is left out: XMRig keeps 1".to_owned());
        }
        arguments
    }

    fn leftovers(&mut self, config: &Value) {
        for (key, value) in config.as_object().into_iter().flatten() {
            match key.as_str() {
                "http" | "api" if value["access-token"].is_string() || value["enabled"] == Value::Bool(true) => {
                    self.warn(format!("{key} is left out: each start gets an API of its own"));
                }
                "log-file" | "user-agent" if value.is_string() => self.warn(format!("{key} is left out")),
                "background" | "syslog" if *value == Value::Bool(true) => self.warn(format!("{key} is left out")),
                "pause-on-active" if !matches!(value, Value::Bool(false) | Value::Null) => {
                    self.warn(format!("{key} is left out: write it as an argument"));
                }
                _ => {}
            }
        }
        if !matches!(config["randomx"]["wrmsr"], Value::Null | Value::Bool(false)) {
            self.warn("randomx.wrmsr is left out: a profile asks for it with --randomx-wrmsr".to_owned());
        }
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

fn text(place: &Value, key: &str) -> Option<String> {
    place[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// JSON without the comments and trailing commas that XMRig takes. Everything else is left for the parser to judge.
fn relaxed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Where a comma stands that nothing but space has followed yet.
    let mut comma: Option<usize> = None;
    let mut chars = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('/', Some('/')) => while chars.next_if(|c| *c != '\n').is_some() {},
            ('/', Some('*')) => {
                chars.next();
                let mut star = false;
                for c in chars.by_ref() {
                    if star && c == '/' {
                        break;
                    }
                    star = c == '*';
                }
                out.push(' ');
            }
            ('"', _) => {
                comma = None;
                out.push('"');
                let mut escaped = false;
                for c in chars.by_ref() {
                    out.push(c);
                    match c {
                        '"' if !escaped => break,
                        '\\' => escaped = !escaped,
                        _ => escaped = false,
                    }
                }
            }
            (',', _) => {
                comma = Some(out.len());
                out.push(',');
            }
            (']' | '}', _) => {
                if let Some(place) = comma.take() {
                    out.replace_range(place..=place, " ");
                }
                out.push(c);
            }
            (c, _) => {
                if !c.is_ascii_whitespace() {
                    comma = None;
                }
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::miners::drivers::driver;

    fn import(json: &str) -> Result<(ProfileDraft, Vec<String>), Invalid> {
        import_xmrig(json, "p".parse().unwrap())
    }

    #[test]
    fn a_configuration_with_comments_becomes_a_profile_that_runs() {
        let (draft, warnings) = import(
            r#"{
            // my rig
            "autosave": true, "donate-level": 2, "http": {"enabled": true, "port": 8080},
            "cpu": {"enabled": true, "huge-pages": false, "max-threads-hint": 75, "rx": [0, 1], "priority": 3,},
            "randomx": {"mode": "light", "wrmsr": true},
            "pools": [
                {"url": "stratum+ssl://a.example:443", "user": "wallet//one", "pass": "x", "rig-id": "barn", "tls": true, "algo": "rx/0",
                 "tls-fingerprint": "420c7850e09b7c0bdcf748a7da9eb3647daf8515718f36d9ccfdd6b9ff834b14"}, /* second: */
                {"url": "b.example", "user": "other", "pass": "y", "algo": null},
                {"url": "off.example:1", "user": "w", "enabled": false},
            ],
        }"#,
        )
        .unwrap();
        assert_eq!(draft.wallet, "wallet//one");
        assert_eq!(draft.rig_name.as_deref(), Some("barn"));
        assert_eq!(
            (draft.algorithm.as_deref(), draft.threads_hint, draft.huge_pages),
            (Some("rx/0"), Some(75), Some(false))
        );
        assert_eq!(draft.pools.len(), 2);
        assert!(draft.pools[0].tls && draft.pools[0].fingerprint.is_some() && draft.pools[0].wallet.is_none());
        assert_eq!(draft.pools[1].url, "b.example:3333");
        assert_eq!((draft.pools[1].wallet.as_deref(), draft.pools[1].password.as_deref()), (Some("other"), Some("y")));
        assert_eq!(draft.arguments, ["--cpu-priority=3", "--donate-level=2", "--randomx-mode=light"]);
        for word in ["http", "cpu.rx", "wrmsr", "port"] {
            assert!(warnings.iter().any(|warning| warning.contains(word)), "{word}: {warnings:?}");
        }
        driver(Program::Xmrig).check(&draft.check().unwrap()).unwrap();
    }

    #[test]
    fn what_would_change_where_hashes_go_is_refused() {
        let pool = |more: &str| format!(r#"{{"pools": [{{"url": "a.example:1", "user": "w" {more}}}]}}"#);
        assert!(import(&pool("")).is_ok());
        for (json, field) in [
            (pool(r#", "socks5": "evil:1""#), "pools[0].socks5"),
            (pool(r#", "self-select": "evil:1""#), "pools[0].self-select"),
            (pool(r#", "algo": "rx/O""#), "pools[0].algo"),
            (pool(r#", "coin": "doge""#), "pools[0].coin"),
            (r#"{"pools": [{"url": "a.example:1"}]}"#.to_owned(), "pools[0].user"),
            (r#"{"pools": [{"user": "w"}]}"#.to_owned(), "pools[0].url"),
            (r#"{"pools": []}"#.to_owned(), "pools"),
            ("{}".to_owned(), "pools"),
            ("[".to_owned(), "config"),
            (" ".repeat(300_000), "config"),
        ] {
            assert_eq!(import(&json).unwrap_err().field, field, "{json}");
        }
    }

    #[test]
    fn the_recorded_configuration_of_the_real_program_is_taken() {
        let json = std::fs::read_to_string(format!(
            "{}/tests/fixtures/xmrig/config_from_command_line.json",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap();
        let (draft, _) = import(&json).unwrap();
        assert_eq!((draft.threads, draft.wallet.as_str()), (Some(1), "TESTWALLET"));
    }

    #[test]
    fn comments_and_commas_are_taken_out_and_strings_are_not_touched() {
        for (text, value) in [
            (r#"{"a": "x,]}//y/*z*/\"", /* , */ "b": [1, 2, ], }"#, r#"{"a": "x,]}//y/*z*/\"", "b": [1, 2]}"#),
            ("[1, // one\n 2, // two\n]", "[1,2]"),
            ("[1,\n/* , */ ]", "[1]"),
            ("\u{feff}{}", "{}"),
        ] {
            let parsed: Value = serde_json::from_str(&relaxed(text)).unwrap();
            assert_eq!(parsed, serde_json::from_str::<Value>(value).unwrap());
        }
        for broken in ["[1,,]", "/*", "\"", "\"\\", "{\"a\"", "//", "["] {
            assert!(serde_json::from_str::<Value>(&relaxed(broken)).is_err(), "{broken}");
        }
    }
}
