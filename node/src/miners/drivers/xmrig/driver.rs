use std::path::Path;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{Profile, ProfileDraft, Program};

use super::{algorithms, api, arguments, config, summary};
use crate::miners::driver::{Driver, Endpoint, LaunchPlan, Order, PollError, Reading};
use crate::miners::lifecycle::StartLimits;

/// Schemes of pool addresses that XMRig knows.
const SCHEMES: [&str; 4] = ["daemon+http", "daemon+https", "stratum+ssl", "stratum+tcp"];

/// The first version whose API has `/2/summary`, and whose configuration is ours.
pub(super) const OLDEST: u32 = 6;

/// The file that XMRig takes beside its executable when it does not like the one it was given.
const STRAY_CONFIG: &str = "config.json";

/// How lines of its network begin that name no cause.
const NO_TROUBLE: [&str; 5] = ["dev donate", "new job", "no active pools", "use daemon", "use pool"];

/// The driver of XMRig.
#[derive(Debug)]
pub(in crate::miners) struct Xmrig;

impl Driver for Xmrig {
    fn program(&self) -> Program {
        Program::Xmrig
    }

    fn file_names(&self) -> &'static [&'static str] {
        &["xmrig"]
    }

    fn directories(&self) -> &'static [&'static str] {
        &["/usr/local/bin", "/usr/bin", "/opt/xmrig", "/opt/xmrig/bin", "/usr/local/xmrig"]
    }

    fn variable(&self) -> &'static str {
        "MINER_CTRL_XMRIG"
    }

    fn limits(&self) -> StartLimits {
        // Without GPUs its API answers within 0.1 s of the spawn, before any pool. Those are set up before it answers,
        // which takes seconds for each, and more under full load.
        StartLimits { patience: Duration::from_secs(30), ports: 3 }
    }

    fn named(&self, draft: ProfileDraft) -> ProfileDraft {
        let named = |name: String| algorithms::algorithm(&name).map_or(name, str::to_owned);
        ProfileDraft { algorithm: draft.algorithm.map(named), ..draft }
    }

    fn check(&self, profile: &Profile) -> Result<(), Invalid> {
        if let Some(algorithm) = &profile.algorithm
            && algorithms::algorithm(algorithm).is_none()
        {
            let near = algorithms::suggest(algorithm);
            return Err(Invalid::new("algorithm", format!("`{algorithm}` is not known to xmrig: it knows {near}")));
        }
        if let Some(coin) = &profile.coin
            && !algorithms::is_coin(coin)
        {
            return Err(Invalid::new("coin", format!("`{coin}` is not known to xmrig: give the algorithm instead")));
        }
        for (index, pool) in profile.pools.iter().enumerate() {
            if let Some((scheme, _)) = pool.url.split_once("://")
                && !SCHEMES.contains(&scheme)
            {
                let why = format!("has the scheme `{scheme}`, and xmrig knows {}", SCHEMES.join(", "));
                return Err(Invalid::new(format!("pools[{index}].url"), why));
            }
            let own = |name: &str, given: bool| if given { format!("pools[{index}].{name}") } else { name.to_owned() };
            for (field, text) in [
                (own("wallet", pool.wallet.is_some()), Some(profile.wallet_at(pool))),
                (own("password", pool.password.is_some()), profile.password_at(pool)),
            ] {
                // It puts variables of its environment in their place, and the pool would be told what they hold.
                if text.is_some_and(|text| text.contains("${")) {
                    return Err(Invalid::new(field, "has `${`, which xmrig would replace by what a variable holds"));
                }
            }
        }
        if profile.huge_pages.is_some() && arguments::has(&profile.arguments, "--no-huge-pages") {
            return Err(Invalid::new("huge_pages", "and --no-huge-pages are both given: keep one"));
        }
        arguments::apply(&profile.arguments, &mut serde_json::json!({}))
    }

    fn check_place(&self, executable: &Path) -> Result<(), String> {
        // XMRig looks beside the file that a link points to.
        let real = executable.canonicalize().unwrap_or_else(|_| executable.to_owned());
        for place in [executable, &real] {
            let stray = place.with_file_name(STRAY_CONFIG);
            if stray.symlink_metadata().is_ok() {
                return Err(format!(
                    "`{}` lies beside xmrig, which would mine for whoever stands in it when the profile fails: move it away",
                    stray.display()
                ));
            }
        }
        Ok(())
    }

    fn check_version(&self, line: &str) -> Result<(), String> {
        let major = line.split_whitespace().nth(1).and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        match major {
            Some(major) if major < OLDEST => Err(format!("it is XMRig {major}, and XMRig {OLDEST} is needed")),
            // One that counts differently shows what it is when it is started.
            _ => Ok(()),
        }
    }

    fn pool_trouble<'a>(&self, line: &'a str) -> Option<&'a str> {
        // `[2026-11-22 11:39:55.722]  net      127.0.0.1:13399 read error: "end of file"`, without colours.
        let told = line.strip_prefix('[')?.split_once(']')?.1.trim_start().strip_prefix("net ")?.trim();
        (!told.is_empty() && !NO_TROUBLE.iter().any(|begins| told.starts_with(begins))).then_some(told)
    }

    fn plan(&self, order: &Order<'_>) -> Result<LaunchPlan, Invalid> {
        self.check(order.profile)?;
        let path = order.directory.join("xmrig.json");
        let config = format!("{:#}\n", config::config(order)?);
        Ok(LaunchPlan {
            args: vec!["-c".into(), path.clone().into()],
            files: vec![(path, config.into_bytes())],
            // It ignores SIGPIPE itself.
            shield_from_broken_pipe: false,
        })
    }

    fn poll<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Reading, PollError>> {
        async move {
            let answer = api::get(endpoint, "/2/summary").await?;
            if summary::worker_id(&answer) != Some(&endpoint.worker_id) {
                return Err(api::not_ours(endpoint, "it has another worker id".to_owned()));
            }
            let mut reading = summary::reading(&answer);
            if summary::has_gpus(&answer) {
                // GPUs are an extra; without them the reading still stands.
                reading.devices =
                    api::get(endpoint, "/2/backends").await.map(|b| summary::devices(&b)).unwrap_or_default();
            }
            Ok(reading)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_protocol::ProfileDraft;
    use serde_json::{Value, json};

    fn profile(extra: &Value) -> Profile {
        let mut draft = json!({
            "name": "p", "program": "xmrig", "algorithm": "rx/0", "wallet": "44AFFq5kSiGBoZ",
            "pools": [{"url": "a.example:1"}],
        });
        draft.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value::<ProfileDraft>(draft).unwrap().check().unwrap()
    }

    fn endpoint() -> Endpoint {
        Endpoint { port: 18_111, token: "secret-token".into(), worker_id: "xmrig-1-abcd".into() }
    }

    #[test]
    fn everything_goes_into_the_file_and_only_its_name_on_the_command_line() {
        let profile = profile(&json!({
            "pools": [
                {"url": "stratum+ssl://a.example:443", "tls": true, "fingerprint": "ab".repeat(32)},
                {"url": "b.example:3333", "wallet": "other", "password": "hunter2"},
            ],
            "password": "x", "rig_name": "barn.{name}", "threads": 2, "huge_pages": false,
            "arguments": ["--donate-level=2", "--cpu-priority=1"],
        }));
        let order = Order {
            profile: &profile,
            node: &"rig-alpha".parse().unwrap(),
            directory: Path::new("/data/miners/xmrig-1"),
            endpoint: &endpoint(),
        };
        let plan = Xmrig.plan(&order).unwrap();
        assert_eq!(plan.args, ["-c", "/data/miners/xmrig-1/xmrig.json"]);
        let config: Value = serde_json::from_slice(&plan.files[0].1).unwrap();
        assert_eq!(
            config["http"],
            json!({"enabled": true, "host": "127.0.0.1", "port": 18111, "access-token": "secret-token", "restricted": true})
        );
        assert_eq!(config["api"]["worker-id"], "xmrig-1-abcd");
        assert_eq!(
            config["cpu"],
            json!({"enabled": true, "huge-pages": false, "priority": 1, "*": {"threads": 2, "intensity": 1, "affinity": -1}})
        );
        let pools = config["pools"].as_array().unwrap();
        assert_eq!((&pools[0]["user"], &pools[0]["pass"]), (&json!("44AFFq5kSiGBoZ"), &json!("x")));
        assert_eq!((&pools[0]["tls"], &pools[0]["tls-fingerprint"]), (&json!(true), &json!("ab".repeat(32))));
        assert_eq!((&pools[1]["user"], &pools[1]["pass"]), (&json!("other"), &json!("hunter2")));
        assert!(pools.iter().all(|pool| pool["rig-id"] == "barn.rig-alpha" && pool["keepalive"] == true));
        for (key, value) in [("autosave", false), ("watch", false), ("background", false), ("colors", false)] {
            assert_eq!(config[key], json!(value), "{key}");
        }
        assert_eq!((&config["donate-level"], &config["randomx"]["wrmsr"]), (&json!(2), &json!(false)));
    }

    #[test]
    fn a_directory_whose_name_is_no_text_is_named_as_it_is() {
        use std::os::unix::ffi::OsStrExt;
        let directory = Path::new(std::ffi::OsStr::from_bytes(b"/data/caf\xe9"));
        let profile = profile(&json!({}));
        let order = Order { profile: &profile, node: &"rig-alpha".parse().unwrap(), directory, endpoint: &endpoint() };
        let plan = Xmrig.plan(&order).unwrap();
        assert_eq!(plan.args[1].as_os_str(), plan.files[0].0.as_os_str());
        assert_eq!(plan.args[1].as_bytes(), b"/data/caf\xe9/xmrig.json");
    }

    #[test]
    fn a_name_that_xmrig_would_take_for_auto_is_refused() {
        for (bad, field) in [
            (json!({"algorithm": "rx/O"}), "algorithm"),
            (json!({"algorithm": null, "coin": "dogecoin"}), "coin"),
            (json!({"pools": [{"url": "epic://a.example:1"}]}), "pools[0].url"),
            (json!({"wallet": "44${HOME}"}), "wallet"),
            (json!({"password": "${PATH}"}), "password"),
            (json!({"arguments": ["--http-port=1"]}), "arguments[0]"),
            (json!({"arguments": ["--no-huge-pages"], "huge_pages": true}), "huge_pages"),
        ] {
            assert_eq!(Xmrig.check(&profile(&bad)).unwrap_err().field, field);
        }
        assert_eq!(Xmrig.check(&profile(&json!({"algorithm": null, "coin": "Monero"}))), Ok(()));
        assert_eq!(Xmrig.check(&profile(&json!({"algorithm": null}))), Ok(()));
    }

    #[test]
    fn an_algorithm_has_the_name_of_its_readings() {
        let named = |name: &str| Xmrig.named(profile(&json!({"algorithm": name})).into_draft()).algorithm.unwrap();
        assert_eq!(
            (named("RandomX").as_str(), named("rx/0").as_str(), named("rx/O").as_str()),
            ("rx/0", "rx/0", "rx/O")
        );
    }

    #[test]
    fn what_went_wrong_with_a_pool_is_found_in_the_recorded_console() {
        let path = format!("{}/tests/fixtures/xmrig/console_lines_session.json", env!("CARGO_MANIFEST_DIR"));
        let lines: Vec<String> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let told: Vec<_> = lines.iter().filter_map(|line| Xmrig.pool_trouble(line)).collect();
        assert_eq!(told, ["127.0.0.1:13399 read error: \"end of file\""]);
    }

    #[test]
    fn a_configuration_beside_the_executable_is_a_trap() {
        let directory = tempfile::tempdir().unwrap();
        let executable = directory.path().join("xmrig");
        std::fs::File::create(&executable).unwrap();
        assert_eq!(Xmrig.check_place(&executable), Ok(()));
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("xmrig");
        std::os::unix::fs::symlink(&executable, &link).unwrap();
        std::fs::File::create(directory.path().join("config.json")).unwrap();
        assert!(Xmrig.check_place(&executable).unwrap_err().contains("config.json"));
        assert!(Xmrig.check_place(&link).is_err());
    }
}
