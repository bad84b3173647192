//! What `/2/summary` and `/2/backends` say. Every field may be missing, null, or of another type.

use std::collections::BTreeMap;

use miner_ctrl_protocol::stats::{DeviceStats, MAX_DEVICES};
use miner_ctrl_protocol::{Hashrate, Shares};
use serde_json::Value;

use super::algorithms;
use crate::miners::driver::{Reading, count, measured, rate, word};
use crate::miners::lifecycle::Phase;

/// Most algorithm names taken; XMRig knows some thirty.
const MAX_ALGORITHMS: usize = 128;

/// The worker name that the process answers with.
pub(super) fn worker_id(summary: &Value) -> Option<&str> {
    summary["worker_id"].as_str()
}

/// A reading of a summary (version 1 or 2).
pub(super) fn reading(summary: &Value) -> Reading {
    let connection = &summary["connection"];
    // Null means that the window is not full yet, zero that nothing is hashed.
    let hashrates: [Option<Hashrate>; 3] = std::array::from_fn(|window| rate(&summary["hashrate"]["total"][window]));
    let good = count(&summary["results"]["shares_good"]);
    let pool = connection["pool"].as_str().and_then(word);
    // A benchmark is "connected" without an address.
    let connected = count(&connection["uptime_ms"]) > 0 || connection["ip"].is_string();
    let first = hashrates.iter().flatten().next();
    let phase = match (summary["paused"].as_bool().unwrap_or(false), connected) {
        (true, _) => Phase::Paused,
        // The last pool's name stays after it was lost; before the first success there is none.
        (false, false) if pool.is_some() => Phase::NoPool,
        (false, false) => Phase::Connecting,
        (false, true) if first.is_some_and(|rate| rate.hashes_per_second() > 0.0) => Phase::Mining,
        (false, true) => Phase::Warming,
    };
    let algorithms = summary["algorithms"].as_array().into_iter().flatten();
    Reading {
        phase,
        hashrates,
        shares: Shares { accepted: good, rejected: count(&summary["results"]["shares_total"]).saturating_sub(good) },
        algorithm: summary["algo"].as_str().and_then(named),
        pool,
        version: summary["version"].as_str().and_then(word),
        devices: Vec::new(),
        algorithms: algorithms.take(MAX_ALGORITHMS).filter_map(Value::as_str).filter_map(named).collect(),
    }
}

/// An algorithm by the name that profiles have: another version may report another of its names, as 6.12.1 and those before
/// do with `argon2/wrkz`.
fn named(algorithm: &str) -> Option<String> {
    word(algorithms::algorithm(algorithm).unwrap_or(algorithm))
}

/// Whether there are GPUs to ask for.
pub(super) fn has_gpus(summary: &Value) -> bool {
    let features = summary["features"].as_array().into_iter().flatten();
    features.filter_map(Value::as_str).any(|feature| matches!(feature, "cuda" | "opencl"))
}

/// The GPUs in `/2/backends`: one line per thread there, of which a GPU may have several.
pub(super) fn devices(backends: &Value) -> Vec<DeviceStats> {
    let mut devices: BTreeMap<(String, u64), DeviceStats> = BTreeMap::new();
    for backend in backends.as_array().into_iter().flatten() {
        let kind = backend["type"].as_str().unwrap_or_default();
        if !matches!(kind, "cuda" | "opencl") {
            continue;
        }
        for thread in backend["threads"].as_array().into_iter().flatten() {
            let key = (kind.to_owned(), count(&thread["index"]));
            if devices.len() == MAX_DEVICES && !devices.contains_key(&key) {
                continue;
            }
            let device = devices.entry(key).or_default();
            let health = &thread["health"];
            device.name = thread["name"].as_str().and_then(word);
            let part = thread["hashrate"].as_array().into_iter().flatten().find_map(rate);
            device.hashrate = match (device.hashrate, part) {
                (Some(sum), Some(part)) => Some([sum, part].into_iter().sum()),
                (sum, part) => sum.or(part),
            };
            device.temperature_celsius = measured(&health["temperature"]);
            device.power_watt = measured(&health["power"]);
            device.fan_percent = measured(&health["fan_speed"][0]);
        }
    }
    devices.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fixture(name: &str) -> Value {
        let path = format!("{}/tests/fixtures/xmrig/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn an_algorithm_is_known_whatever_that_version_calls_it() {
        let read = reading(&json!({"algo": "argon2/wrkz", "algorithms": ["argon2/wrkz", "rx/new"]}));
        assert_eq!(
            (read.algorithm.as_deref(), read.algorithms),
            (Some("argon2/ninja"), vec!["argon2/ninja".to_owned(), "rx/new".to_owned()])
        );
    }

    #[test]
    fn every_recorded_summary_is_read_for_what_it_is() {
        for (name, phase, rate, accepted, rejected, pool) in [
            ("summary_v1_no_pool", Phase::Connecting, Some(0.0), 0, 0, None),
            ("summary_v1_rx0_light_60s", Phase::Mining, Some(14.42), 13, 4, Some("127.0.0.1:13333")),
            ("summary_v2_bench_rx0_fast", Phase::Mining, Some(69.39), 0, 0, Some("benchmark:3333")),
            ("summary_v2_daemon_solo_regtest", Phase::Mining, Some(9.02), 23, 0, Some("127.0.0.1:28081")),
            ("summary_v2_hashing_fast_algo", Phase::Mining, Some(220.21), 3, 1, Some("127.0.0.1:13399")),
            ("summary_v2_no_pool", Phase::Connecting, Some(0.0), 0, 0, None),
            ("summary_v2_paused", Phase::Paused, Some(0.0), 13, 4, Some("127.0.0.1:13333")),
            ("summary_v2_pool_dropped", Phase::NoPool, None, 14, 4, Some("127.0.0.1:13333")),
            ("summary_v2_pool_gone", Phase::NoPool, Some(3.88), 14, 4, Some("127.0.0.1:13333")),
            ("summary_v2_rx0_light_60s", Phase::Mining, Some(14.42), 13, 4, Some("127.0.0.1:13333")),
            ("summary_v2_rx0_light_first_10s", Phase::Warming, None, 0, 0, Some("127.0.0.1:13333")),
            ("summary_v2_stopped_by_json_rpc", Phase::Warming, Some(0.0), 14, 4, Some("127.0.0.1:13333")),
        ] {
            let reading = reading(&fixture(name));
            assert_eq!(reading.phase, phase, "{name}");
            assert_eq!(reading.hashrate().map(Hashrate::hashes_per_second), rate, "{name}");
            assert_eq!(reading.shares, Shares { accepted, rejected }, "{name}");
            assert_eq!(reading.pool.as_deref(), pool, "{name}");
            assert_eq!(reading.version.as_deref(), Some("6.26.0"), "{name}");
        }
        assert_eq!(worker_id(&fixture("summary_v2_no_pool")), Some("rig01"));
    }

    #[test]
    fn a_summary_of_any_shape_is_a_reading() {
        for hostile in [
            json!(null),
            json!([]),
            json!("x"),
            json!({"hashrate": {"total": "x"}, "results": [], "connection": 7, "paused": "yes"}),
            json!({"hashrate": {"total": [-1, "NaN", 1e308]}, "uptime": -4, "results": {"shares_good": 9, "shares_total": 1}}),
            json!({"algorithms": vec!["x"; 100_000], "algo": "y".repeat(100_000), "version": "\u{1b}[31m"}),
        ] {
            let reading = reading(&hostile);
            assert!(reading.algorithms.len() <= MAX_ALGORITHMS);
            assert!(reading.algorithm.is_none_or(|algorithm| algorithm.len() <= 300));
            assert_eq!(reading.shares.rejected, 0);
        }
    }

    #[test]
    fn gpus_are_summed_over_their_threads() {
        let thread = |index: u32, rate: f64| {
            json!({"index": index, "name": "RTX", "hashrate": [null, rate, null],
                "health": {"temperature": 61, "power": 118, "fan_speed": [44, 45]}})
        };
        let backends = json!([
            {"type": "cpu", "threads": [{"hashrate": [1.0, null, null]}]},
            {"type": "cuda", "threads": [thread(0, 10.0), thread(0, 5.0), thread(1, 7.0)]},
        ]);
        let devices = devices(&backends);
        assert_eq!(devices.iter().map(|gpu| gpu.hashrate).collect::<Vec<_>>(), [15.0, 7.0].map(Hashrate::per_second));
        assert_eq!((devices[0].temperature_celsius, devices[0].fan_percent), (Some(61.0), Some(44.0)));
        let many: Vec<_> = (0..5000).map(|index| thread(index, 1.0)).collect();
        assert_eq!(super::devices(&json!([{"type": "opencl", "threads": many}])).len(), MAX_DEVICES);
        assert!(super::devices(&fixture("backends_rx0_light_60s")).is_empty());
    }
}
