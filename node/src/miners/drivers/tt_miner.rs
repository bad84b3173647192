//! TT-Miner: options on the command line, statistics over Claymore's "EthMan" protocol (one line of JSON each way over
//! TCP, everything in strings). Closed source: what is not documented here was not seen, and is not used.
//!
//! Its port is the default of several other programs and knows no password worth the name, so the port proves
//! nothing: the answer must begin with the program's name. Its `-P` option carries wallet and password, which thereby
//! stand in the machine's process list; there is no other documented way.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::stats::{DeviceStats, MAX_DEVICES};
use miner_ctrl_protocol::{Hashrate, Profile, Program, Shares};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::miners::driver::{Driver, Endpoint, LaunchPlan, Order, PollError, Reading, count, measured, rate, word};
use crate::miners::lifecycle::{Phase, StartLimits};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest answer: sixty-four GPUs in ten entries of a few digits each stay far below.
const MAX_ANSWER: usize = 64 * 1024;
/// Bytes read at once: a whole answer, as a rule.
const PIECE: usize = 4096;
/// Most times that what came so far is tried as a whole answer. An honest one has its one closing brace at its end; a
/// stranger's, with braces in each of ten thousand pieces, would be read from its beginning as often.
const MOST_TRIES: u32 = 8;
/// The only request that all public clients agree on.
const REQUEST: &[u8] = b"{\"id\":0,\"jsonrpc\":\"2.0\",\"method\":\"miner_getstat1\"}\n";
/// How the first entry of every answer begins.
const NAME: &str = "TT-Miner";

/// Schemes of pool addresses that TT-Miner knows.
const SCHEMES: [&str; 7] = ["epic", "http", "ssl", "stratum+ssl", "stratum+tcp", "stratum1+ssl", "zmp"];

/// Algorithms of TT-Miner 2024.3, in capitals; it does not mind the case.
const ALGORITHMS: [&str; 24] = [
    "BLAKE3",
    "ETCHASH",
    "ETHASH",
    "ETHASHB3",
    "EVRPROGPOW",
    "FIROPOW",
    "FIROPOWSCC",
    "FISHHASH",
    "FLEX",
    "GHOSTRIDER",
    "KAWPOW",
    "MEOWPOW",
    "MIKE",
    "PROGPOW",
    "PROGPOWSERO",
    "PROGPOWZ",
    "SHA256D",
    "SHA256DT",
    "SHA3D",
    "SHA3SOLIDITY",
    "SHA512256D",
    "UBQHASH",
    "VPROGPOW",
    "XELIS",
];

/// Options that a profile may carry, and how many plain numbers follow each.
///
/// Not on it: pools (`-o`, `-P`, past the rig's policy), files (`-log`), overclocking (`-oc-*`, which can damage
/// hardware from afar), the API, and benchmarks.
const OPTIONS: [(&str, std::ops::RangeInclusive<usize>); 12] = [
    ("-cpu", 0..=1),
    ("-cuda-order", 0..=0),
    ("-d", 1..=MAX_DEVICES),
    ("-daginfo", 0..=0),
    ("-i", 1..=MAX_DEVICES),
    ("-igpu", 0..=0),
    ("-luck", 0..=0),
    ("-no-ctrlc", 0..=0),
    ("-rep-i", 1..=1),
    ("-rep-s", 1..=1),
    ("-tstart", 1..=1),
    ("-tstop", 1..=1),
];

/// The driver of TT-Miner.
#[derive(Debug)]
pub(super) struct TtMiner;

impl Driver for TtMiner {
    fn program(&self) -> Program {
        Program::TtMiner
    }

    fn file_names(&self) -> &'static [&'static str] {
        &["TT-Miner", "tt-miner"]
    }

    fn directories(&self) -> &'static [&'static str] {
        &["/usr/local/bin", "/usr/bin", "/opt/tt-miner", "/opt/TT-Miner"]
    }

    fn variable(&self) -> &'static str {
        "MINER_CTRL_TT_MINER"
    }

    fn limits(&self) -> StartLimits {
        // Public clients leave it alone for 15 s, then ask up to 15 times.
        StartLimits { patience: Duration::from_secs(30), ports: 3 }
    }

    fn check(&self, profile: &Profile) -> Result<(), Invalid> {
        if let Some(algorithm) = &profile.algorithm
            && !ALGORITHMS.iter().any(|known| known.eq_ignore_ascii_case(algorithm))
        {
            let why = format!("`{algorithm}` is not known to tt-miner: it knows {}", ALGORITHMS.join(", "));
            return Err(Invalid::new("algorithm", why));
        }
        if let Some(coin) = &profile.coin
            && !(coin.len() <= 12 && coin.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            return Err(Invalid::new("coin", "is a ticker for tt-miner, e.g. RVN"));
        }
        for (field, given) in [
            ("threads", profile.threads.is_some()),
            ("threads_hint", profile.threads_hint.is_some()),
            ("huge_pages", profile.huge_pages.is_some()),
        ] {
            if given {
                return Err(Invalid::new(field, "is nothing that tt-miner can do"));
            }
        }
        for (index, pool) in profile.pools.iter().enumerate() {
            let field = |name: &str| format!("pools[{index}].{name}");
            if let Some((scheme, _)) = pool.url.split_once("://") {
                if !SCHEMES.contains(&scheme) {
                    let why = format!("has the scheme `{scheme}`, and tt-miner knows {}", SCHEMES.join(", "));
                    return Err(Invalid::new(field("url"), why));
                }
                if pool.tls && !scheme.contains("ssl") {
                    return Err(Invalid::new(field("tls"), format!("contradicts the scheme `{scheme}`")));
                }
            }
            if pool.fingerprint.is_some() {
                return Err(Invalid::new(field("fingerprint"), "is nothing that tt-miner can check"));
            }
            // `-P user:password@host:port` knows no escapes.
            if profile.wallet_at(pool).contains([':', '@', '/']) {
                return Err(Invalid::new("wallet", "has a `:`, `@` or `/`, which tt-miner cannot be given"));
            }
            if profile.password_at(pool).is_some_and(|password| password.contains(['@', ' ', '/'])) {
                return Err(Invalid::new("password", "has a `@`, `/` or space, which tt-miner cannot be given"));
            }
        }
        check_arguments(&profile.arguments)
    }

    fn plan(&self, order: &Order<'_>) -> Result<LaunchPlan, Invalid> {
        self.check(order.profile)?;
        let profile = order.profile;
        let mut args = vec!["-b".to_owned(), format!("127.0.0.1:{}", order.endpoint.port), "-nocolor".to_owned()];
        if let Some(coin) = &profile.coin {
            args.extend(["-c".to_owned(), coin.clone()]);
        } else if let Some(algorithm) = &profile.algorithm {
            args.extend(["-a".to_owned(), algorithm.clone()]);
        }
        for pool in &profile.pools {
            let (scheme, address) = match pool.url.split_once("://") {
                Some((scheme, address)) => (format!("{scheme}://"), address),
                None if pool.tls => ("ssl://".to_owned(), pool.url.as_str()),
                None => (String::new(), pool.url.as_str()),
            };
            let wallet = profile.wallet_at(pool);
            // A login with a dot names its worker itself.
            let worker = match wallet.contains('.') {
                true => String::new(),
                false => format!(".{}", profile.rig_name_for(order.node)),
            };
            let password = profile.password_at(pool).map(|password| format!(":{password}")).unwrap_or_default();
            args.extend(["-P".to_owned(), format!("{scheme}{wallet}{worker}{password}@{address}")]);
        }
        args.extend(profile.arguments.iter().cloned());
        // Nothing is known of what it does when nobody reads its console.
        Ok(LaunchPlan {
            args: args.into_iter().map(Into::into).collect(),
            files: Vec::new(),
            shield_from_broken_pipe: true,
        })
    }

    fn poll<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Reading, PollError>> {
        async move {
            let port = endpoint.port;
            match tokio::time::timeout(TIMEOUT, ask(port)).await {
                Ok(Ok(line)) => judged(&line, port),
                Ok(Err(error)) => Err(PollError::Silent { port, why: error.to_string() }),
                Err(_) => Err(PollError::Silent { port, why: format!("no answer within {} s", TIMEOUT.as_secs()) }),
            }
        }
        .boxed()
    }
}

/// What an answer says. Right after its start it has nothing to tell yet, or is cut off; who it is shows in a later one.
fn judged(line: &[u8], port: u16) -> Result<Reading, PollError> {
    let silent = |why: &str| Err(PollError::Silent { port, why: why.to_owned() });
    let answer: Value = match serde_json::from_str(&String::from_utf8_lossy(line)) {
        Ok(answer) => answer,
        Err(_) if line.is_empty() => return silent("an empty answer"),
        Err(error) if error.is_eof() && line.len() < MAX_ANSWER => return silent("an answer that is cut off"),
        Err(_) => Value::Null,
    };
    let first = &answer["result"][0];
    if answer.is_object() && (first.is_null() || first == "") {
        return silent("an answer without a result");
    }
    reading(&answer).ok_or_else(|| PollError::NotOurs { port, why: format!("the answer does not begin with {NAME}") })
}

fn check_arguments(arguments: &[String]) -> Result<(), Invalid> {
    let is_number = |text: &String| {
        !text.is_empty()
            && text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'.'))
    };
    let mut seen = Vec::new();
    let mut index = 0;
    while let Some(name) = arguments.get(index) {
        let refuse = |why: String| Err(Invalid::new(format!("arguments[{index}]"), why));
        let Some((_, values)) = OPTIONS.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = OPTIONS.iter().map(|(known, _)| *known).collect();
            return refuse(format!("`{name}` is not one of the arguments a profile may carry: {}", known.join(" ")));
        };
        if seen.contains(&name) {
            return refuse(format!("`{name}` is given twice"));
        }
        seen.push(name);
        let given = arguments[index + 1..].iter().take_while(|text| is_number(text)).count();
        if !values.contains(&given) {
            return refuse(match values.end() {
                0 => format!("`{name}` takes no value"),
                _ => format!(
                    "`{name}` takes {} to {} numbers, each an argument of its own",
                    values.start(),
                    values.end()
                ),
            });
        }
        index += 1 + given;
    }
    Ok(())
}

async fn ask(port: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(REQUEST).await?;
    let (mut heard, mut piece) = (Heard::default(), Vec::with_capacity(PIECE));
    while stream.read_buf(&mut piece).await? > 0 && !heard.takes(&piece) {
        piece.clear();
    }
    Ok(heard.answer)
}

/// What has come of an answer so far.
#[derive(Default)]
struct Heard {
    answer: Vec<u8>,
    tries: u32,
}

impl Heard {
    /// Takes what came; says whether the answer ends there: with its line, or where it is whole, since some end neither
    /// line nor connection. Some begin with an empty line.
    fn takes(&mut self, piece: &[u8]) -> bool {
        let piece = if self.answer.is_empty() { piece.trim_ascii_start() } else { piece };
        let line = piece.split(|byte| *byte == b'\n').next().unwrap_or_default();
        self.answer.extend_from_slice(&line[..line.len().min(MAX_ANSWER - self.answer.len())]);
        if line.len() < piece.len() || self.answer.len() == MAX_ANSWER {
            return true;
        }
        let may_end = line.contains(&b'}') && self.tries < MOST_TRIES;
        self.tries += u32::from(may_end);
        may_end && serde_json::from_slice::<IgnoredAny>(&self.answer).is_ok()
    }
}

/// A reading of an answer; nothing when it is not TT-Miner's.
fn reading(answer: &Value) -> Option<Reading> {
    let result = answer["result"].as_array()?;
    let text = |index: usize| match result.get(index) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let name = text(0);
    let version = name.strip_prefix(NAME)?;
    let parts = |index: usize| -> Vec<Value> {
        text(index).split(';').take(2 * MAX_DEVICES).map(|part| Value::String(part.trim().to_owned())).collect()
    };
    let totals = parts(2);
    let total = totals.first().and_then(rate);
    let (rates, health, power) = (parts(3), parts(6), parts(9));
    // An empty entry is no device; `off` is a device without a value.
    let devices = rates.iter().take(MAX_DEVICES).filter(|part| **part != "").enumerate().map(|(index, part)| {
        let known = |value: Option<&Value>| value.and_then(measured);
        DeviceStats {
            name: None,
            hashrate: rate(part),
            temperature_celsius: known(health.get(2 * index)),
            fan_percent: known(health.get(2 * index + 1)),
            power_watt: known(power.get(index)),
        }
    });
    let pool = word(&text(7));
    let phase = match total {
        Some(total) if total > Hashrate::ZERO => Phase::Mining,
        _ if pool.is_none() => Phase::Connecting,
        _ => Phase::Warming,
    };
    Some(Reading {
        phase,
        // One rate without a window; it is shown as the shortest.
        hashrates: [total, None, None],
        shares: Shares {
            accepted: totals.get(1).map(count).unwrap_or_default(),
            rejected: totals.get(2).map(count).unwrap_or_default(),
        },
        algorithm: None,
        pool,
        version: word(version.trim_start_matches('/')),
        devices: devices.collect(),
        algorithms: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_protocol::ProfileDraft;
    use serde_json::json;

    fn profile(extra: &Value) -> Profile {
        let mut draft = json!({
            "name": "p", "program": "tt-miner", "coin": "RVN", "wallet": "RWallet", "pools": [{"url": "a.example:1"}],
        });
        draft.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value::<ProfileDraft>(draft).unwrap().check().unwrap()
    }

    /// What is taken of an answer, from a program that keeps the connection open.
    async fn taken(answer: &'static [u8]) -> Vec<u8> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, _open) = tokio::join!(ask(port), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream
        });
        taken.unwrap()
    }

    #[tokio::test]
    async fn an_answer_ends_with_its_line_or_where_it_is_whole() {
        assert_eq!(taken(b"{\"a\":1}\n").await, b"{\"a\":1}");
        assert_eq!(taken(b"{\"a\":1}\n{\"b\"").await, b"{\"a\":1}");
        assert_eq!(taken(b"\r\n{\"a\":1}\n").await, b"{\"a\":1}");
        assert_eq!(taken(b"{\"a\":{\"b\":1}}").await, b"{\"a\":{\"b\":1}}");
    }

    #[test]
    fn an_answer_that_does_not_end_is_not_read_anew_with_each_piece() {
        let mut heard = Heard::default();
        assert!(!heard.takes(b"{\"a\":[0"));
        while !heard.takes(b",{}") {}
        assert_eq!((heard.answer.len(), heard.tries), (MAX_ANSWER, MOST_TRIES));
    }

    #[test]
    fn a_captured_answer_is_read_in_hashes() {
        let answer = json!({"id":0,"jsonrpc":"2.0","result":["TT-Miner/2.1.11-beta","3","4003571;13;1",
            "1959526;2044045","0;0;0","off;off","68;52;58;39","mtp.eu.nicehash.com:3374","0;0;0;0"]});
        let reading = reading(&answer).unwrap();
        assert_eq!(reading.phase, Phase::Mining);
        assert_eq!(reading.hashrate(), Hashrate::per_second(4_003_571.0));
        assert_eq!(reading.shares, Shares { accepted: 13, rejected: 1 });
        assert_eq!(reading.pool.as_deref(), Some("mtp.eu.nicehash.com:3374"));
        assert_eq!(reading.version.as_deref(), Some("2.1.11-beta"));
        let gpus: Vec<_> = reading.devices.iter().map(|gpu| (gpu.temperature_celsius, gpu.fan_percent)).collect();
        assert_eq!(gpus, [(Some(68.0), Some(52.0)), (Some(58.0), Some(39.0))]);
    }

    #[test]
    fn an_answer_that_says_nothing_yet_is_told_from_a_strangers() {
        let is_silent = |line: &[u8]| match judged(line, 1) {
            Ok(reading) => panic!("{reading:?}"),
            Err(error) => matches!(error, PollError::Silent { .. }),
        };
        for early in [
            "",
            r#"{"id":0,"jsonrpc":"2.0","result":["TT-Mi"#,
            r#"{"id":0,"jsonrpc":"2.0","result":null}"#,
            r#"{"id":0,"jsonrpc":"2.0","result":[]}"#,
            r#"{"id":0,"jsonrpc":"2.0","result":[""]}"#,
            r#"{"id":0,"jsonrpc":"2.0","error":{"code":-1}}"#,
        ] {
            assert!(is_silent(early.as_bytes()), "{early}");
        }
        let endless = format!(r#"{{"result":["{}"#, "x".repeat(MAX_ANSWER));
        for stranger in [
            "HTTP/1.1 400 Bad Request",
            "SSH-2.0-OpenSSH",
            "[]",
            r#"{"result":["ethminer-0.18"]}"#,
            r#"{"result":[7]}"#,
            &endless,
        ] {
            assert!(!is_silent(stranger.as_bytes()), "{stranger}");
        }
    }

    #[test]
    fn off_is_unknown_and_numbers_may_come_as_numbers() {
        let answer =
            json!({"result": ["TT-Miner/2024.3.2", 1, "0;0;0", "off;5", "", "", "0;0;61;40", "p:1", "", "90;100"]});
        let reading = reading(&answer).unwrap();
        assert_eq!(reading.phase, Phase::Warming);
        assert_eq!(reading.devices[0].hashrate, None);
        assert_eq!(reading.devices[0].temperature_celsius, None);
        assert_eq!(
            (reading.devices[1].hashrate, reading.devices[1].power_watt),
            (Hashrate::per_second(5.0), Some(100.0))
        );
    }

    #[test]
    fn another_program_on_the_port_is_not_taken_for_it() {
        for stranger in [
            json!({"result": ["ethminer-0.18", "1", "1;0;0", "1"]}),
            json!({"result": [7]}),
            json!({"result": {}}),
            json!([]),
            json!(null),
        ] {
            assert_eq!(reading(&stranger), None);
        }
        let long = "1;".repeat(100_000);
        assert_eq!(reading(&json!({"result": ["TT-Miner", long, long, long]})).unwrap().devices.len(), MAX_DEVICES);
    }

    #[test]
    fn every_token_is_an_argument_of_its_own() {
        let profile = profile(&json!({
            "pools": [{"url": "a.example:1", "tls": true}, {"url": "stratum+tcp://b.example:2", "wallet": "W.own", "password": "d=1"}],
            "arguments": ["-d", "0", "1", "-cuda-order"],
        }));
        let endpoint = Endpoint { port: 4068, token: "t".into(), worker_id: "w".into() };
        let node = "rig-alpha".parse().unwrap();
        let order = Order { profile: &profile, node: &node, directory: "/d".as_ref(), endpoint: &endpoint };
        assert_eq!(
            TtMiner.plan(&order).unwrap().args.join(std::ffi::OsStr::new(" ")),
            "-b 127.0.0.1:4068 -nocolor -c RVN -P ssl://RWallet.rig-alpha@a.example:1 \
             -P stratum+tcp://W.own:d=1@b.example:2 -d 0 1 -cuda-order"
        );
    }

    #[test]
    fn what_it_cannot_do_is_refused_by_field() {
        for (bad, field) in [
            (json!({"coin": null, "algorithm": "rx/0"}), "algorithm"),
            (json!({"coin": "RVN/X"}), "coin"),
            (json!({"threads": 2}), "threads"),
            (json!({"huge_pages": true}), "huge_pages"),
            (json!({"wallet": "kaspa:qq"}), "wallet"),
            (json!({"password": "a@b"}), "password"),
            (json!({"pools": [{"url": "daemon+http://a.example:1"}]}), "pools[0].url"),
            (json!({"pools": [{"url": "stratum+tcp://a.example:1", "tls": true}]}), "pools[0].tls"),
            (
                json!({"pools": [{"url": "a.example:1", "tls": true, "fingerprint": "ab".repeat(32)}]}),
                "pools[0].fingerprint",
            ),
            (json!({"arguments": ["-o", "evil.example:1"]}), "arguments[0]"),
            (json!({"arguments": ["-d", "0", "-P", "x@evil.example:1"]}), "arguments[2]"),
            (json!({"arguments": ["-d"]}), "arguments[0]"),
            (json!({"arguments": ["-luck", "1"]}), "arguments[0]"),
            (json!({"arguments": ["-oc-mem", "810"]}), "arguments[0]"),
            (json!({"arguments": ["-log"]}), "arguments[0]"),
            (json!({"arguments": ["-luck", "-luck"]}), "arguments[1]"),
        ] {
            assert_eq!(TtMiner.check(&profile(&bad)).unwrap_err().field, field);
        }
        assert_eq!(TtMiner.check(&profile(&json!({"coin": null, "algorithm": "KawPow"}))), Ok(()));
    }
}
