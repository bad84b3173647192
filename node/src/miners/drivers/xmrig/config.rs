//! The generated configuration file.

use miner_ctrl_protocol::Profile;
use miner_ctrl_protocol::profile::Invalid;
use serde_json::{Value, json};

use super::arguments;
use crate::miners::driver::Order;

/// Tries at a pool before the next one. XMRig's own default; with the pause, half a minute.
const RETRIES: u32 = 5;
/// Seconds between tries.
const RETRY_PAUSE: u32 = 5;
/// Percent of the time given to XMRig's authors: its own least.
const DONATE_LEVEL: u32 = 1;
/// Seconds between speed lines on the console.
const PRINT_TIME: u32 = 60;

/// The whole file for an order.
pub(super) fn config(order: &Order<'_>) -> Result<Value, Invalid> {
    let profile = order.profile;
    let pools: Vec<Value> = profile
        .pools
        .iter()
        .map(|pool| {
            json!({
                "url": pool.url,
                "user": profile.wallet_at(pool),
                "pass": profile.password_at(pool),
                "rig-id": profile.rig_name_for(order.node),
                "algo": profile.algorithm,
                "coin": profile.coin,
                "tls": pool.tls || pool.url.starts_with("stratum+ssl://") || pool.url.starts_with("daemon+https://"),
                "tls-fingerprint": pool.fingerprint,
                "daemon": pool.url.starts_with("daemon+http"),
                "keepalive": true,
                "enabled": true,
            })
        })
        .collect();
    let mut config = json!({
        "api": {"id": null, "worker-id": order.endpoint.worker_id},
        "http": {
            "enabled": true,
            "host": "127.0.0.1",
            "port": order.endpoint.port,
            "access-token": order.endpoint.token,
            // Nobody writes through the API; stopping and starting is ours.
            "restricted": true,
        },
        // It would rewrite this file and add to it.
        "autosave": false,
        "watch": false,
        // It would fork, and leave its parent.
        "background": false,
        "colors": false,
        "title": false,
        "log-file": null,
        "syslog": false,
        // Written as root these would change the machine beyond the miner's life; a profile must ask for it.
        "randomx": {"wrmsr": false},
        "cpu": cpu(profile),
        "opencl": {"enabled": false},
        "cuda": {"enabled": false},
        "donate-level": DONATE_LEVEL,
        "pools": pools,
        "retries": RETRIES,
        "retry-pause": RETRY_PAUSE,
        "print-time": PRINT_TIME,
        "user-agent": null,
        "verbose": 0,
    });
    arguments::apply(&profile.arguments, &mut config)?;
    Ok(config)
}

fn cpu(profile: &Profile) -> Value {
    let mut cpu = json!({"enabled": true});
    if let Some(huge_pages) = profile.huge_pages {
        cpu["huge-pages"] = json!(huge_pages);
    }
    if let Some(hint) = profile.threads_hint {
        cpu["max-threads-hint"] = json!(hint);
    }
    if let Some(threads) = profile.threads {
        // `threads` is no key of `cpu`; a thread count goes into the profile of all algorithms.
        cpu["*"] = json!({"threads": threads, "intensity": 1, "affinity": -1});
    }
    cpu
}
