//! The shapes of live events. They are written column by column, and so are no types of their own elsewhere;
//! `crate::tests::contract` holds them against a real stream.
#![expect(dead_code, reason = "only the shapes count: nothing is ever made of these types")]

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::operation::Shape;
use super::shape::{NodeId, NodeName, Role};
use crate::jobs::JobChange;
use crate::records::Activity;

/// What the data of events is.
pub(super) const ALL: [Shape; 9] = [
    SchemaGenerator::subschema_for::<Activity>,
    SchemaGenerator::subschema_for::<Bye>,
    SchemaGenerator::subschema_for::<Delta>,
    SchemaGenerator::subschema_for::<Heartbeat>,
    SchemaGenerator::subschema_for::<Hello>,
    SchemaGenerator::subschema_for::<JobChange>,
    SchemaGenerator::subschema_for::<Pairing>,
    SchemaGenerator::subschema_for::<PeersChange>,
    SchemaGenerator::subschema_for::<Snapshot>,
];

/// One event of the stream: which it is, and what its one line of data holds.
pub(super) fn one() -> Value {
    let one = |(name, schema): (&str, &str)| {
        json!({
            "type": "object",
            "properties": {
                "id": { "type": "string" },
                "event": { "const": name },
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": { "$ref": format!("#/components/schemas/{schema}") },
                },
            },
            "required": ["id", "event", "data"],
        })
    };
    let all = [
        ("activity", "Activity"),
        ("bye", "Bye"),
        ("delta", "Delta"),
        ("hb", "Heartbeat"),
        ("hello", "Hello"),
        ("job", "JobChange"),
        ("pairing", "Pairing"),
        ("peers", "PeersChange"),
        ("snapshot", "Snapshot"),
    ];
    json!({ "oneOf": all.map(one) })
}

/// The first event of a stream.
#[derive(JsonSchema)]
struct Hello {
    /// Another one after a restart of the node.
    boot: String,
    /// Version of the node.
    version: String,
    /// How often rows are looked at, per second.
    hz: u32,
}

/// Each 15 s: 35 s without any event mean that nobody is there.
#[derive(JsonSchema)]
struct Heartbeat {
    /// Unix time, seconds.
    at: u64,
}

/// The last event of a stream.
#[derive(JsonSchema)]
struct Bye {
    /// Why it ends.
    why: Why,
}

/// Why a stream ends.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Why {
    /// The node stops.
    Shutdown,
    /// Its session or token is gone.
    SignedOut,
}

/// Strangers that wait for a person.
#[derive(JsonSchema)]
struct Pairing {
    /// All of them.
    pending: Vec<Pending>,
}

/// A stranger that wants to pair.
#[derive(JsonSchema)]
struct Pending {
    id: NodeId,
    name: NodeName,
    role: Role,
    /// Where it comes from.
    address: String,
    /// Words to compare.
    words: String,
    /// Unix time when it first asked, seconds.
    since: u64,
}

/// All rows, as columns of the same length as `i`.
#[derive(JsonSchema)]
struct Snapshot {
    /// Grows by one each time rows change.
    v: u64,
    /// Unix time, seconds.
    at: u64,
    /// The index of each row; it holds until the next snapshot.
    i: Vec<u32>,
    #[serde(flatten)]
    fixed: Fixed,
    #[serde(flatten)]
    live: Live,
}

/// What changed since the `v` before: columns that are there have one value for each row in `i`.
#[derive(JsonSchema)]
struct Delta {
    /// Grows by one each time rows change.
    v: u64,
    /// Unix time, seconds.
    at: u64,
    /// Indexes of rows.
    i: Vec<u32>,
    #[serde(flatten)]
    live: LiveChanges,
}

/// Rows that came, went or were renamed.
#[derive(JsonSchema)]
struct PeersChange {
    /// Grows by one each time rows change.
    v: u64,
    /// Unix time, seconds.
    at: u64,
    /// Indexes of rows that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    removed: Vec<u32>,
    /// Rows with another name, role or address.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Renamed>,
    /// New rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<Rows>,
}

/// Rows with what changes by a person's hand.
#[derive(JsonSchema)]
struct Renamed {
    /// Indexes of rows.
    i: Vec<u32>,
    #[serde(flatten)]
    fixed: Fixed,
}

/// Whole rows.
#[derive(JsonSchema)]
struct Rows {
    /// Indexes of rows.
    i: Vec<u32>,
    #[serde(flatten)]
    fixed: Fixed,
    #[serde(flatten)]
    live: Live,
}

/// What changes by a person's hand.
#[derive(JsonSchema)]
struct Fixed {
    /// Handles.
    id: Vec<NodeId>,
    /// Names.
    name: Vec<NodeName>,
    /// Roles.
    role: Vec<Role>,
    /// Addresses without `/p2p/`.
    address: Vec<Option<String>>,
    /// 1 for this node itself.
    here: Vec<u8>,
}

/// The word to show for a rig.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum RigState {
    /// A miner lost its pool or is paused.
    Degraded,
    /// A miner failed.
    Fault,
    /// No miner has a process, and none failed.
    Idle,
    /// It mines.
    Mining,
    /// Not connected.
    Offline,
    /// Connected, no statistics.
    Unknown,
    /// A miner starts or stops.
    Wait,
}

macro_rules! live {
    ($($(#[$doc:meta])* $column:ident: $value:ty,)+) => {
        /// What changes by itself.
        #[derive(JsonSchema)]
        struct Live {
            $($(#[$doc])* $column: Vec<$value>,)+
        }

        /// What changed by itself.
        #[derive(JsonSchema)]
        struct LiveChanges {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Vec::is_empty")] $column: Vec<$value>,)+
        }
    };
}

live! {
    /// 1 online, 0 not.
    on: u8,
    /// Whole milliseconds.
    ping: Option<u32>,
    /// 0 to 100.
    score: u8,
    /// Unix time of the last sign of life, seconds.
    seen: Option<u64>,
    /// Hashes per second of the miners of `algo`, to four digits; without `algo`, of all.
    hash: Option<f64>,
    /// The algorithm with the highest rate.
    algo: Option<String>,
    /// The further algorithms, and their hashes per second; null when there are none.
    also: Option<Vec<(String, f64)>>,
    /// Miners known.
    miners: Option<u32>,
    /// Of these, with a process.
    run: Option<u32>,
    /// The word to show.
    state: RigState,
    /// Hottest device, whole degrees Celsius.
    temp: Option<i32>,
    /// Power of all devices that tell theirs, whole watts.
    watt: Option<u32>,
    /// Accepted shares.
    acc: Option<u64>,
    /// Rejected shares.
    rej: Option<u64>,
    /// What is wrong, in words.
    problem: Option<String>,
}
