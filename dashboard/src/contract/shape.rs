//! The shapes of what the protocol crate defines: it stays free of schemas. `crate::tests::contract` holds each
//! against what serde really writes.
#![expect(dead_code, reason = "only the shapes count: nothing is ever made of these types")]

use std::borrow::Cow;

use miner_ctrl_protocol::name::MAX_NAME;
use miner_ctrl_protocol::profile::{
    MAX_ARGUMENT, MAX_ARGUMENTS, MAX_PASSWORD, MAX_POOL_URL, MAX_POOLS, MAX_THREADS, MAX_WALLET,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident { $($key:literal: $value:expr),* };)+) => {
        $(
            $(#[doc = $doc])+
            pub(crate) struct $name;

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    let doc = concat!($($doc),+).trim();
                    json_schema!({ "type": "string", "description": doc $(, $key: $value)* })
                }
            }
        )+
    };
}

/// A letter or a digit, then also `.`, `_` and `-`.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";

texts! {
    /// The name of a miner on a rig, e.g. `xmrig-1`.
    MinerName { "pattern": NAME, "maxLength": MAX_NAME };
    /// The handle of a node: 16 hexadecimal digits.
    NodeId { "pattern": "^[0-9a-f]{16}$" };
    /// What a node is called. `pending` and 16 hexadecimal digits are no names.
    NodeName { "pattern": "^(?!pending$)(?![0-9A-Fa-f]{16}$)[A-Za-z0-9][A-Za-z0-9._-]*$", "maxLength": MAX_NAME };
    /// The name of a profile.
    ProfileName { "pattern": NAME, "maxLength": MAX_NAME };
}

/// What a node does in the fleet.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Commands others, runs no miner.
    Controller,
    /// Both.
    Dual,
    /// Runs mining programs, commands nobody.
    Worker,
}

/// What a registered peer may ask of this node. Each includes the ones before it.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(crate) enum Permission {
    /// Nothing but a ping.
    None,
    /// Read: statistics, logs, profiles.
    View,
    /// Act: start, stop, deploy.
    Control,
}

/// A mining program.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(crate) enum Program {
    /// TT-Miner: NVIDIA and AMD GPUs.
    TtMiner,
    /// XMRig: CPU, CUDA, OpenCL.
    Xmrig,
}

/// What is measured over time.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(crate) enum Measure {
    /// Hashes per second.
    Hashrate,
    /// Watts of all devices.
    Power,
    /// Accepted shares in a minute.
    Shares,
    /// Degrees Celsius of the hottest device.
    Temperature,
}

/// Where a mining program stands.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(crate) enum MinerState {
    /// The process runs and has no job from a pool yet.
    Connecting,
    /// It ended by itself; it is started again after a pause, or given up.
    Failed,
    /// It hashes.
    Mining,
    /// It lost its pool.
    NoPool,
    /// Paused by hand, by battery or by user activity.
    Paused,
    /// The process was spawned and its API has not answered yet.
    Starting,
    /// Stopped on purpose.
    Stopped,
    /// A stop is under way.
    Stopping,
    /// It has a job and no rate yet.
    Warming,
}

/// Hashes per second.
pub(crate) struct Hashrate;

impl JsonSchema for Hashrate {
    fn schema_name() -> Cow<'static, str> {
        "Hashrate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "description": "Hashes per second." })
    }
}

/// Shares sent to the pool since the mining program started.
#[derive(JsonSchema)]
pub(crate) struct Shares {
    /// Taken by the pool.
    accepted: u64,
    /// Refused by the pool.
    rejected: u64,
}

/// One GPU or other device of a mining program, as far as the program tells.
#[derive(JsonSchema)]
pub(crate) struct DeviceStats {
    /// Name, when the program gives one.
    name: Option<String>,
    /// Its part of the rate.
    hashrate: Option<Hashrate>,
    /// Degrees Celsius.
    temperature_celsius: Option<f32>,
    /// Fan speed, percent.
    fan_percent: Option<f32>,
    /// Watt.
    power_watt: Option<f32>,
}

/// One mining program on a rig.
#[derive(JsonSchema)]
pub(crate) struct MinerStatus {
    name: MinerName,
    program: Program,
    /// What it was told to mine.
    profile: Option<ProfileName>,
    state: MinerState,
    /// How long it has been in this state, seconds.
    state_seconds: u64,
    /// How long the process has been running, seconds; 0 without a process.
    uptime_seconds: u64,
    /// The rate to show: the shortest window that has a value; null means not known, which is not zero.
    hashrate: Option<Hashrate>,
    /// Over 10 s, 60 s and 15 min, as far as the program has them.
    hashrates: [Option<Hashrate>; 3],
    shares: Shares,
    /// What it is hashing.
    algorithm: Option<String>,
    /// `host:port` of the pool it is connected to.
    pool: Option<String>,
    /// Version of the mining program.
    version: Option<String>,
    /// GPUs, where the program reports them.
    devices: Vec<DeviceStats>,
    /// How often it was started again by itself since it was last started on purpose.
    restarts: u32,
    /// What went wrong, in words.
    problem: Option<String>,
}

/// The machine under the miners.
#[derive(JsonSchema)]
pub(crate) struct HostStats {
    /// Operating system and kernel.
    os: String,
    /// Processor, by its own name.
    cpu: String,
    /// Logical processors.
    threads: u32,
    /// Load average over 1 min.
    load: Option<f32>,
    /// Bytes.
    memory_total: u64,
    /// Bytes.
    memory_available: u64,
    /// Seconds since boot.
    uptime_seconds: u64,
}

/// What a rig tells of itself.
#[derive(JsonSchema)]
pub(crate) struct RigStats {
    /// Grows with each change.
    revision: u64,
    /// The rig's own name.
    name: NodeName,
    /// Version of miner-ctrl on the rig.
    version: String,
    host: HostStats,
    /// Its mining programs, by name.
    miners: Vec<MinerStatus>,
}

/// A piece of a miner's console.
#[derive(JsonSchema)]
pub(crate) struct LogPage {
    /// Whose console.
    miner: MinerName,
    /// Lines in order.
    lines: Vec<LogLine>,
    /// Number of the newest line there is; ask with `after` set to it for what follows.
    newest: u64,
    /// Lines after `after` that had left the rig's memory before they could be given.
    lost: u64,
}

/// One line of a console.
#[derive(JsonSchema)]
pub(crate) struct LogLine {
    /// Goes up by one. A console that begins anew, with the rig's node, goes on above the one before.
    number: u64,
    /// Without colours and control characters.
    text: String,
}

/// One pool of a profile.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Pool {
    /// `host:port`, or with a scheme that the program knows, e.g. `stratum+ssl://host:port`.
    #[schemars(length(min = 1, max = MAX_POOL_URL))]
    url: String,
    /// Wallet or login at this pool, where it differs from the profile's.
    #[schemars(length(max = MAX_WALLET))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wallet: Option<String>,
    /// Password at this pool, where it differs from the profile's. Answers show `********`.
    #[schemars(length(max = MAX_PASSWORD))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    /// TLS to the pool. Mining programs check no certificate, only the fingerprint below.
    #[serde(default)]
    tls: bool,
    /// SHA-256 of the pool's certificate.
    #[schemars(regex(pattern = "^[0-9A-Fa-f]{64}$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

/// What to mine, where, and with which program.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Profile {
    name: ProfileName,
    program: Program,
    /// Algorithm by the program's own name, e.g. `rx/0`. For XMRig it may be left to the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    /// Coin by the program's own name, instead of the algorithm, e.g. `monero`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coin: Option<String>,
    /// Pools in order of priority.
    #[schemars(length(min = 1, max = MAX_POOLS))]
    pools: Vec<Pool>,
    /// Wallet or pool login.
    #[schemars(length(min = 1, max = MAX_WALLET))]
    wallet: String,
    /// Pool password; most pools take anything. Answers show `********`, which sent back means the stored one.
    #[schemars(length(max = MAX_PASSWORD))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    /// Worker name at the pool; `{name}` becomes the rig's name.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rig_name: Option<String>,
    /// CPU threads; left out, the program decides.
    #[schemars(range(min = 1, max = MAX_THREADS))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threads: Option<u32>,
    /// Percent of the CPU's threads, instead of a number.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threads_hint: Option<u8>,
    /// Huge pages; left out, the program decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    huge_pages: Option<bool>,
    /// Extra arguments, each from the program's allow-list.
    #[schemars(length(max = MAX_ARGUMENTS), inner(length(min = 1, max = MAX_ARGUMENT)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<String>,
}
