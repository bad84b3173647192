//! What the gateway asks a node to keep: who may come in, and who did what.
//!
//! Plain records. What they mean is decided here in the gateway; the node stores them and gives them back.

use std::future::Future;
use std::net::IpAddr;

use miner_ctrl_protocol::words;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::NodeError;

/// What a credential may do. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Look, and command rigs.
    Control,
    /// Everything: peers, pairing, access.
    Admin,
}

words!(Scope: Read = "read", Control = "control", Admin = "admin");

/// Everything about who may come in. Small: it is stored whole, so that no half of a change is ever there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessRecord {
    /// The password as a PHC string (argon2id); none while none is set.
    pub password: Option<String>,
    /// Who is signed in.
    pub sessions: Vec<SessionRecord>,
    /// Tokens for scripts.
    pub tokens: Vec<TokenRecord>,
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Handle for people, not secret.
    pub id: String,
    /// SHA-256 of the cookie's value.
    pub hash: [u8; 32],
    /// Unix time, seconds.
    pub created_at: u64,
    /// Unix time, seconds; to the hour.
    pub last_used: u64,
    /// What the browser calls itself.
    pub agent: String,
}

/// A token for scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Handle, part of the token, not secret.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// What it may do.
    pub scope: Scope,
    /// Unix time, seconds.
    pub created_at: u64,
    /// Unix time, seconds, to the hour; none means never.
    pub last_used: Option<u64>,
}

/// By which way somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// This machine's own user, over the local socket.
    Local,
    /// A signed-in browser.
    Session,
    /// A token.
    Token,
}

words!(By: Local = "local", Session = "session", Token = "token");

/// Something that somebody did through a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Activity {
    /// Grows; never used twice.
    pub id: u64,
    /// Unix time when it ended, seconds.
    pub at: u64,
    /// By which way the actor came in.
    pub by: By,
    /// The session's or token's handle; none for the local user.
    pub who: Option<String>,
    /// The client's address; none for the local user.
    pub from: Option<IpAddr>,
    /// What was done, e.g. `start`.
    pub action: String,
    /// To which rig, peer, profile or token.
    pub target: Option<String>,
    /// With what, e.g. which profile.
    pub detail: Option<String>,
    /// `ok`, or the problem's code.
    pub result: String,
}

/// Which entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActivityQuery {
    /// At most this many, the newest.
    pub limit: u32,
    /// Only entries below this id.
    pub before: Option<u64>,
    /// Only of this target.
    pub target: Option<String>,
    /// Only by this session or token.
    pub who: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only with this result.
    pub result: Option<String>,
}

/// What the gateway asks a node to keep. What a call returned is on the disk.
pub trait Records: Send + Sync + 'static {
    /// Who may come in.
    fn access(&self) -> impl Future<Output = Result<AccessRecord, NodeError>> + Send;
    /// Replaces what [`Records::access`] answers.
    fn put_access(&self, access: AccessRecord) -> impl Future<Output = Result<(), NodeError>> + Send;
    /// Keeps an entry; its `id` is given here, whatever it was.
    fn put_activity(&self, entry: Activity) -> impl Future<Output = Result<Activity, NodeError>> + Send;
    /// Kept entries, newest first.
    fn activity(&self, query: ActivityQuery) -> impl Future<Output = Result<Vec<Activity>, NodeError>> + Send;
}
