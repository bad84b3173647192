//! An XMRig configuration, as people have it, becomes a profile. What XMRig does anyhow is taken out of it, then what a
//! profile can say; what is left is told.

use miner_ctrl_protocol::profile::{Invalid, MAX_THREADS, Pool};
use miner_ctrl_protocol::{ProfileDraft, ProfileName, Program};
use serde_json::{Value, json};

use super::drivers::{driver, is_xmrig_coin, suggest_xmrig_algorithm, take_xmrig_arguments, xmrig_algorithm};
use super::json;

/// Largest file taken. XMRig's own, with thread lists for hundreds of threads, stay below.
const MAX_FILE: usize = 256 * 1024;

/// A profile from XMRig's configuration, and what the operator should know of it, in words.
///
/// # Errors
/// The first value that a profile cannot carry and that matters for what is mined where, by its place in the configuration.
pub fn import_xmrig(config: &[u8], name: ProfileName) -> Result<(ProfileDraft, Vec<String>), Invalid> {
    let bad = |why: String| Invalid::new("config", why);
    if config.len() > MAX_FILE {
        return Err(bad(format!("has more than {MAX_FILE} bytes")));
    }
    // XMRig does not mind how its comments are encoded.
    let text = relaxed(&String::from_utf8_lossy(config));
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(bad("is not UTF-8: only its comments may be anything else".to_owned()));
    }
    let config = json::read(&text).map_err(|error| bad(format!("is not JSON as one can rely on: {error}")))?;
    let mut import = Import::default();
    let mut draft = import.draft(config, name)?;
    if let Err(odd) = rig_name(&draft) {
        import.note(format!("left out: {}: it {}; the rig's own name is used", import.place("rig_name"), odd.why));
        draft.rig_name = None;
    }
    let taken = draft.clone().check().and_then(|profile| driver(profile.program).check(&profile));
    taken.map_err(|Invalid { field, why }| Invalid { field: import.place(&field), why })?;
    Ok((draft, import.told()))
}

/// Whether the name at the pool is one that a profile may have.
fn rig_name(draft: &ProfileDraft) -> Result<(), Invalid> {
    match draft.clone().check() {
        Err(invalid) if invalid.field == "rig_name" => Err(invalid),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[derive(Default)]
struct Import {
    notes: Vec<String>,
    /// Where the pools stand that are taken: not all need be enabled.
    pools: Vec<usize>,
    /// Keys that list threads.
    lists: Vec<String>,
    /// Keys that nothing in a profile stands for.
    left: Vec<String>,
}

impl Import {
    fn draft(&mut self, mut config: Value, name: ProfileName) -> Result<ProfileDraft, Invalid> {
        let listed = config.get_mut("pools").map(Value::take);
        let Some(Value::Array(listed)) = listed else { return Err(Invalid::new("pools", "is missing")) };
        let mut pools = Vec::new();
        for (index, mut pool) in listed.into_iter().enumerate().filter(|(_, pool)| pool["enabled"] != json!(false)) {
            strip(&mut pool, &usual_pool());
            // What it calls the pool's choice; it stands where nothing does.
            let algorithm = text(&mut pool, "algo").filter(|name| !name.eq_ignore_ascii_case("auto"));
            let algorithm = algorithm.map(|name| xmrig_algorithm(&name).map_or(name, str::to_owned));
            let mined = [("algo", algorithm), ("coin", text(&mut pool, "coin")), ("rig-id", text(&mut pool, "rig-id"))];
            pools.push((index, mined, self.pool(index, pool)?));
        }
        self.pools = pools.iter().map(|(index, ..)| *index).collect();
        let Some((first, mined, shared)) = pools.first().cloned() else {
            return Err(Invalid::new("pools", "has no enabled pool"));
        };
        for (index, own, _) in &pools {
            for ((key, own), (_, shared)) in own.iter().zip(&mined) {
                if own.is_some() && own != shared {
                    self.note(format!("pools[{index}].{key} differs from pools[{first}]'s, which is taken for all"));
                }
            }
        }
        let field = |key: &str| format!("pools[{first}].{key}");
        let [(_, algorithm), (_, mut coin), (_, rig_name)] = mined;
        if let Some(unknown) = algorithm.as_deref().filter(|name| xmrig_algorithm(name).is_none()) {
            let near = suggest_xmrig_algorithm(unknown);
            return Err(Invalid::new(field("algo"), format!("`{unknown}` is not known to xmrig: it knows {near}")));
        }
        if let Some(unknown) = coin.as_deref().filter(|coin| !is_xmrig_coin(coin)) {
            return Err(Invalid::new(field("coin"), format!("`{unknown}` is not known: give algo instead")));
        }
        if algorithm.is_some() && coin.take().is_some() {
            self.note(format!("left out: {}: algo says it already", field("coin")));
        }
        let wallet = shared.wallet.ok_or_else(|| Invalid::new(field("user"), "is missing"))?;
        let pools = pools.into_iter().map(|(_, _, pool)| Pool {
            wallet: pool.wallet.filter(|own| *own != wallet),
            // XMRig sends `x` where there is none; the first pool's must not go to another.
            password: match (pool.password, &shared.password) {
                (Some(own), shared) => (Some(&own) != shared.as_ref()).then_some(own),
                (None, Some(_)) => Some("x".to_owned()),
                (None, None) => None,
            },
            ..pool
        });
        let pools = pools.collect();
        self.stripped(&mut config);
        let threads = take(&mut config, &["cpu", "*", "threads"], |threads| {
            u32::try_from(threads.as_u64()?).ok().filter(|threads| (1..=MAX_THREADS).contains(threads))
        });
        let threads_hint = take(&mut config, &["cpu", "max-threads-hint"], |hint| {
            u8::try_from(hint.as_u64()?).ok().filter(|hint| (1..100).contains(hint))
        });
        let draft = ProfileDraft {
            name,
            program: Program::Xmrig,
            algorithm,
            coin,
            pools,
            wallet,
            password: shared.password,
            rig_name,
            threads,
            // A number of threads counts more, in XMRig too.
            threads_hint: threads_hint.filter(|_| threads.is_none()),
            huge_pages: take(&mut config, &["cpu", "huge-pages"], Value::as_bool),
            arguments: take_xmrig_arguments(&mut config),
        };
        self.leave(&config, &usual(), "");
        Ok(draft)
    }

    /// Where a profile's field came from, as the configuration calls it.
    fn place(&self, field: &str) -> String {
        let (pool, field) = match field.split_once("].") {
            Some((pool, field)) => (pool.strip_prefix("pools[").and_then(|number| number.parse().ok()), field),
            None => (Some(0), field),
        };
        let key = match field {
            "algorithm" => "algo",
            "coin" => "coin",
            "fingerprint" => "tls-fingerprint",
            "password" => "pass",
            "rig_name" => "rig-id",
            "url" => "url",
            "wallet" => "user",
            // Of what is not a pool's the words are the same, or the value was made here.
            other => return other.to_owned(),
        };
        match pool.and_then(|pool: usize| self.pools.get(pool)) {
            Some(index) => format!("pools[{index}].{key}"),
            None => key.to_owned(),
        }
    }

    /// A pool, with its own login.
    fn pool(&mut self, index: usize, mut pool: Value) -> Result<Pool, Invalid> {
        let field = |key: &str| format!("pools[{index}].{key}");
        let mut url = text(&mut pool, "url").ok_or_else(|| Invalid::new(field("url"), "is missing"))?;
        let (scheme, bare) = url.split_once("://").map_or((None, url.as_str()), |(scheme, bare)| (Some(scheme), bare));
        // It does not mind the scheme's case, nor what follows the port.
        let scheme = scheme.map(str::to_ascii_lowercase);
        let bare = bare.trim_end_matches('/');
        // XMRig's own default port.
        let port = if bare.contains(':') { "" } else { ":3333" };
        if !port.is_empty() {
            self.note(format!("{} has no port: XMRig's 3333 is written", field("url")));
        }
        let scheme = match (flag(&mut pool, "daemon"), scheme.as_deref()) {
            (true, None | Some("stratum+tcp")) => Some("daemon+http"),
            (true, Some("stratum+ssl")) => Some("daemon+https"),
            (_, scheme) => scheme,
        };
        url = scheme.map_or_else(|| format!("{bare}{port}"), |scheme| format!("{scheme}://{bare}{port}"));
        // Ours are kept alive in any case.
        flag(&mut pool, "keepalive");
        // These say where the hashes go; left out they would go elsewhere.
        for key in ["socks5", "self-select"] {
            if matches!(pool[key], Value::Number(_) | Value::String(_)) {
                return Err(Invalid::new(field(key), "is nothing that a profile carries: take it out first"));
            }
        }
        let fingerprint = text(&mut pool, "tls-fingerprint");
        let read = Pool {
            url,
            wallet: text(&mut pool, "user"),
            password: text(&mut pool, "pass"),
            tls: flag(&mut pool, "tls") || fingerprint.is_some(),
            fingerprint,
        };
        self.leave(&pool, &Value::Null, &format!("pools[{index}]."));
        Ok(read)
    }

    /// Takes out what XMRig does anyhow, and what means nothing for a profile.
    fn stripped(&mut self, config: &mut Value) {
        let Some(keys) = config.as_object_mut() else { return };
        // Of its console and of its file, which are ours.
        for key in ["autosave", "colors", "title", "verbose", "watch"] {
            keys.remove(key);
        }
        for key in ["api", "http"] {
            let asked = keys.remove(key).unwrap_or_default();
            if asked["enabled"] == json!(true) || asked["access-token"].is_string() {
                self.note(format!("left out: {key}: each start gets an API of its own"));
            }
        }
        for key in ["cpu", "cuda", "opencl"] {
            if let Some(enabled @ Value::Bool(_)) = keys.get_mut(key) {
                *enabled = json!({ "enabled": enabled });
            }
        }
        // What is off does nothing, however it is set.
        for key in ["cuda", "opencl"] {
            if keys.get(key).is_some_and(|backend| backend["enabled"] != json!(true)) {
                keys.remove(key);
            }
        }
        strip(config, &usual());
        if take(config, &["randomx", "wrmsr"], |wrmsr| Some(wrmsr.clone())).is_some() {
            self.note("left out: randomx.wrmsr: a profile asks for it with --randomx-wrmsr".to_owned());
        }
    }

    /// Keeps the names of what was not taken.
    fn leave(&mut self, rest: &Value, usual: &Value, path: &str) {
        let Some(rest) = rest.as_object() else { return };
        for (key, value) in rest.iter().filter(|(_, value)| !is_blank(value)) {
            let name = format!("{path}{key}");
            match value {
                Value::Object(_) if usual[key].is_object() => self.leave(value, &usual[key], &format!("{name}.")),
                Value::Array(_) | Value::Object(_) if matches!(path, "cpu." | "cuda." | "opencl.") => {
                    self.lists.push(name);
                }
                _ => self.left.push(name),
            }
        }
    }

    fn told(mut self) -> Vec<String> {
        for (keys, why) in [
            (self.lists, "XMRig makes its lists of threads itself"),
            (self.left, "nothing in a profile stands for that"),
        ] {
            if !keys.is_empty() {
                self.notes.push(format!("left out: {}: {why}", keys.join(", ")));
            }
        }
        self.notes
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

/// What XMRig does where a key is not there. Huge pages are not among it: a profile can ask for them.
fn usual() -> Value {
    json!({
        "background": false,
        "cpu": {
            "*": {"affinity": -1, "intensity": 1},
            "asm": true, "cn-lite/0": false, "cn/0": false, "enabled": true, "huge-pages-jit": false, "kawpow": false,
            "max-threads-hint": 100, "memory-pool": false, "priority": -1, "yield": true,
        },
        "cuda": {"cn-lite/0": false, "cn/0": false, "nvml": true},
        "dmi": true,
        "dns": {"ip_version": 0, "ttl": 30},
        "donate-level": 1,
        "donate-over-proxy": 1,
        "dry-run": false,
        "health-print-time": 60,
        "opencl": {"adl": true, "cache": true, "cn-lite/0": false, "cn/0": false, "platform": "AMD"},
        "pause-on-active": false,
        "pause-on-battery": false,
        "print-time": 60,
        "randomx": {
            "1gb-pages": false, "cache_qos": false, "init": -1, "init-avx2": -1, "mode": "auto", "numa": true,
            "rdmsr": true, "scratchpad_prefetch_mode": 1, "wrmsr": false,
        },
        "retries": 5,
        "retry-pause": 5,
        "syslog": false,
        "tls": {"enabled": false},
    })
}

/// The same for a pool.
fn usual_pool() -> Value {
    json!({
        "daemon": false, "daemon-job-timeout": 15000, "daemon-poll-interval": 1000, "daemon-zmq-port": -1,
        "enabled": true, "nicehash": false, "sni": false, "submit-to-origin": false, "tls": false,
    })
}

/// Takes out what says nothing.
fn strip(value: &mut Value, usual: &Value) {
    let Some(keys) = value.as_object_mut() else { return };
    keys.retain(|key, value| {
        if usual[key].is_object() {
            strip(value, &usual[key]);
        }
        !is_blank(value) && *value != usual[key]
    });
}

/// What XMRig reads as nothing.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Null => true,
        Value::Object(keys) => keys.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Takes a value out when it can be read.
fn take<T>(place: &mut Value, path: &[&str], read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let (last, sections) = path.split_last()?;
    let section = sections.iter().try_fold(place, |place, key| place.get_mut(*key))?.as_object_mut()?;
    let value = read(section.get(*last)?)?;
    section.remove(*last);
    Some(value)
}

fn text(pool: &mut Value, key: &str) -> Option<String> {
    take(pool, &[key], |value| value.as_str().map(str::to_owned))
}

fn flag(pool: &mut Value, key: &str) -> bool {
    take(pool, &[key], Value::as_bool) == Some(true)
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
                    // The parser's lines are to be the file's.
                    if c == '\n' {
                        out.push(c);
                    }
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

    fn import(json: &str) -> Result<(ProfileDraft, Vec<String>), Invalid> {
        import_xmrig(json.as_bytes(), "p".parse().unwrap())
    }

    #[test]
    fn what_stands_twice_is_refused_for_it_is_not_plain_which_counts() {
        for (json, key) in [
            (r#"{"pools": [{"url": "a.example:1", "user": "mine",\n "user": "other"}]}"#, "user"),
            (r#"{"pools": [], /*\n*/ "pools": [{"url": "a.example:1", "user": "w"}]}"#, "pools"),
        ] {
            let Invalid { field, why } = import(&json.replace("\\n", "\n")).unwrap_err();
            let begins =
                format!("is not JSON as one can rely on: the key `{key}` stands twice, the second time at line 2 ");
            assert!(field == "config" && why.starts_with(&begins), "{why}");
        }
    }

    #[test]
    fn what_xmrig_does_not_mind_is_taken() {
        let pool = |url: &str, more: &str| {
            let json = format!(r#"{{"pools": [{{"url": "{url}", "user": "w" {more}}}]}}"#);
            import(&json).unwrap()
        };
        for (url, taken) in [
            ("a.example:1/", "a.example:1"),
            ("a.example/", "a.example:3333"),
            ("STRATUM+SSL://a.example:1", "stratum+ssl://a.example:1"),
            ("Stratum+TCP://a.example:1//", "stratum+tcp://a.example:1"),
        ] {
            assert_eq!(pool(url, "").0.pools[0].url, taken);
        }
        assert_eq!(pool("a.example:1", r#", "algo": "Auto""#).0.algorithm, None);
        let (draft, notes) = pool("a.example:1", r#", "rig-id": "my barn""#);
        let why = "it takes letters, digits, `-`, `_`, `.` and {name}; the rig's own name is used";
        assert_eq!((draft.rig_name, notes), (None, vec![format!("left out: pools[0].rig-id: {why}")]));
        let mut config = b"{/* Caf\xe9 */ \"pools\": [{\"url\": \"a.example:1\", \"user\": \"w\"}]} // \xe9".to_vec();
        let name = || "p".parse().unwrap();
        assert_eq!(import_xmrig(&config, name()).unwrap().0.wallet, "w");
        // In a value it is not a matter of taste.
        let user = config.iter().rposition(|byte| *byte == b'w').unwrap();
        config[user] = 0xe9;
        assert!(import_xmrig(&config, name()).unwrap_err().why.starts_with("is not UTF-8"));
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
        assert_eq!(
            warnings,
            [
                "pools[1].url has no port: XMRig's 3333 is written",
                "left out: http: each start gets an API of its own",
                "left out: randomx.wrmsr: a profile asks for it with --randomx-wrmsr",
                "left out: cpu.rx: XMRig makes its lists of threads itself",
            ]
        );
        driver(Program::Xmrig).check(&draft.check().unwrap()).unwrap();
    }

    /// What becomes of one part of a configuration: the draft, and the keys that are told.
    fn import_part(key: &str, value: Value) -> (ProfileDraft, Vec<String>) {
        let mut config = json!({"pools": [{"url": "a.example:1", "user": "w"}]});
        config[key] = value;
        let (draft, notes) = import(&config.to_string()).unwrap();
        driver(Program::Xmrig).check(&draft.clone().check().unwrap()).unwrap();
        let keys = notes.iter().filter_map(|note| note.strip_prefix("left out: ")?.split(": ").next());
        (draft, keys.flat_map(|keys| keys.split(", ")).map(str::to_owned).collect())
    }

    #[test]
    fn a_setting_becomes_an_argument_or_is_told() {
        for (key, value, arguments, told) in [
            (
                "cuda",
                json!({"enabled": true, "loader": "/x.so", "nvml": false, "devices-hint": "0, 2", "bfactor-hint": 8,
                    "kawpow": [{"index": 0}]}),
                "--cuda --cuda-bfactor-hint=8 --cuda-devices=0,2 --no-nvml",
                "cuda.kawpow cuda.loader",
            ),
            (
                "opencl",
                json!({"enabled": true, "platform": "nvidia", "devices-hint": "1", "cache": false, "adl": false}),
                "--opencl --opencl-devices=1 --opencl-no-cache --opencl-platform=NVIDIA",
                "opencl.adl",
            ),
            ("opencl", json!({"enabled": true, "platform": 1}), "--opencl", "opencl.platform"),
            ("opencl", json!({"enabled": false, "platform": "NVIDIA", "rx": [{"index": 0}]}), "", ""),
            ("cuda", json!(true), "--cuda", ""),
            ("opencl", json!(true), "--opencl", ""),
            ("opencl", json!(false), "", ""),
            ("cpu", json!(true), "", ""),
            ("cpu", json!(false), "--no-cpu", ""),
            (
                "cpu",
                json!({"rx": {"threads": 2}, "cn/0": false, "cn/1": false, "rx/wow": "rx"}),
                "",
                "cpu.rx cpu.cn/1 cpu.rx/wow",
            ),
            (
                "cpu",
                json!({"asm": false, "argon2-impl": "avx2", "memory-pool": true, "hw-aes": false, "priority": 9}),
                "--argon2-impl=AVX2 --asm=none --cpu-memory-pool=-1",
                "cpu.hw-aes cpu.priority",
            ),
            ("cpu", json!({"max-threads-hint": 75.5, "priority": null}), "", "cpu.max-threads-hint"),
            (
                "randomx",
                json!({"init": 4, "rdmsr": false, "cache_qos": true, "numa": [0], "scratchpad_prefetch_mode": 2}),
                "--cache-qos --randomx-init=4 --randomx-no-rdmsr",
                "randomx.numa randomx.scratchpad_prefetch_mode",
            ),
            ("algo-perf", json!({"rx/0": 1000}), "", "algo-perf"),
            ("bind", json!(["1.2.3.4:80"]), "", "bind"),
            ("dmi", json!(false), "--no-dmi", ""),
            ("dns", json!({"ip_version": 6, "ttl": 60}), "--dns-ipv6", "dns.ttl"),
            ("donate-level", json!(0), "", "donate-level"),
            ("health-print-time", json!(30), "--health-print-time=30", ""),
            ("pause-on-active", json!(true), "--pause-on-active=60", ""),
            ("tls", json!({"enabled": true, "cert": null}), "", "tls.enabled"),
        ] {
            let (draft, keys) = import_part(key, value.clone());
            let words = (draft.arguments.join(" "), keys.join(" "));
            assert_eq!((words.0.as_str(), words.1.as_str()), (arguments, told), "{key}: {value}");
        }
    }

    #[test]
    fn threads_are_taken_and_what_else_was_said_of_them_is_told() {
        let (draft, told) = import_part("cpu", json!({"*": {"threads": 2, "intensity": 2, "affinity": 3}}));
        assert_eq!((draft.threads, told.join(" ").as_str()), (Some(2), "cpu.*.affinity cpu.*.intensity"));
        let (draft, told) = import_part("cpu", json!({"*": {"threads": 2, "affinity": -1}, "max-threads-hint": 50}));
        assert_eq!((draft.threads, draft.threads_hint, told.len()), (Some(2), None, 0));
        let (draft, told) = import_part("cpu", json!({"*": [0, 1], "max-threads-hint": 50}));
        assert_eq!((draft.threads, draft.threads_hint, told.join(" ").as_str()), (None, Some(50), "cpu.*"));
    }

    #[test]
    fn what_xmrig_does_anyhow_is_not_told() {
        let mut config = usual();
        config["api"] = json!({"id": null, "worker-id": null});
        config["autosave"] = json!(true);
        config["http"] = json!({"enabled": false, "host": "127.0.0.1", "port": 0, "access-token": null});
        config["cpu"]["huge-pages"] = json!(true);
        config["log-file"] = json!(null);
        config["pools"] = json!([usual_pool()]);
        for (key, value) in [("url", json!("a.example:1")), ("user", json!("w")), ("keepalive", json!(false))] {
            config["pools"][0][key] = value;
        }
        let (draft, notes) = import(&config.to_string()).unwrap();
        assert_eq!((draft.arguments.len(), notes.len()), (0, 0), "{notes:?}");
    }

    #[test]
    fn an_algorithm_by_another_name_is_taken_by_that_of_its_readings() {
        let pools = r#"{"pools": [{"url": "a.example:1", "user": "w", "algo": "RandomX"},
            {"url": "b.example:1", "algo": "rx/0"}, {"url": "c.example:1", "algo": "cn"}]}"#;
        let (draft, notes) = import(pools).unwrap();
        assert_eq!(draft.algorithm.as_deref(), Some("rx/0"));
        assert_eq!(notes, ["pools[2].algo differs from pools[0]'s, which is taken for all"]);
    }

    #[test]
    fn a_daemon_is_asked_as_one_whatever_its_scheme() {
        for (url, daemon) in [
            ("a.example:1", "daemon+http://a.example:1"),
            ("stratum+tcp://a.example:1", "daemon+http://a.example:1"),
            ("stratum+ssl://a.example:1", "daemon+https://a.example:1"),
            ("daemon+https://a.example:1", "daemon+https://a.example:1"),
        ] {
            let config = json!({"pools": [{"url": url, "user": "w", "daemon": true, "daemon-zmq-port": 18083}]});
            let (draft, notes) = import(&config.to_string()).unwrap();
            assert_eq!(draft.pools[0].url, daemon);
            assert_eq!(notes, ["left out: pools[0].daemon-zmq-port: nothing in a profile stands for that"]);
        }
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
            (r#"{"pools": [{"enabled": false}, {"url": "a.example:1"}]}"#.to_owned(), "pools[1].user"),
            (r#"{"pools": [{"enabled": false}, {"url": "a.example:1", "algo": "rx/O"}]}"#.to_owned(), "pools[1].algo"),
            (r#"{"pools": [{"enabled": false}, {"url": "a.example:1", "coin": "doge"}]}"#.to_owned(), "pools[1].coin"),
            (r#"{"pools": [{"user": "w"}]}"#.to_owned(), "pools[0].url"),
            (r#"{"pools": []}"#.to_owned(), "pools"),
            (r#"{"pools": [{"enabled": false}, {"url": "a.example:x", "user": "w"}]}"#.to_owned(), "pools[1].url"),
            (r#"{"pools": [{"enabled": false}, {"url": "a.example:1", "user": "a b"}]}"#.to_owned(), "pools[1].user"),
            (pool(r#"}, {"url": "b.example:1", "user": "b c""#), "pools[1].user"),
            (pool(r#", "pass": "${HOME}""#), "pools[0].pass"),
            (pool(r#", "tls-fingerprint": "ab""#), "pools[0].tls-fingerprint"),
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
        let (draft, notes) = import(&json).unwrap();
        assert_eq!((draft.threads, draft.wallet.as_str()), (Some(1), "TESTWALLET"));
        assert_eq!(draft.arguments, ["--no-dmi"]);
        assert_eq!(notes, ["left out: http: each start gets an API of its own"]);
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
