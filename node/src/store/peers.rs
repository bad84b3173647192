//! The table of registered peers, as plain rows. What they mean is the fleet's.

use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::database::{Database, DatabaseError};

/// A registered peer as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerRow {
    /// Ed25519 public key.
    pub key: [u8; 32],
    /// Handle, from the key.
    pub node_id: String,
    /// What we call it.
    pub name: String,
    /// Its role, as a word.
    pub role: String,
    /// What it may ask of us, as a word.
    pub permission: String,
    /// Where to dial it, as a JSON list.
    pub addresses: String,
    /// Unix time, seconds.
    pub paired_at: u64,
    /// What changes without anybody's decision.
    pub life: PeerLife,
}

/// What changes about a peer while it lives; written now and then, not at once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PeerLife {
    /// Unix time of the last sign of life, seconds.
    pub last_seen: Option<u64>,
    /// The IP address at which it was last.
    pub ip: Option<String>,
    /// Program and version.
    pub agent: Option<String>,
    /// 0.0 to 1.0.
    pub score: f64,
    /// Answers.
    pub successes: u64,
    /// Failures.
    pub failures: u64,
    /// Answers that did not come.
    pub timeouts: u64,
}

/// SQLite's integers end at 2^63 - 1; no count and no clock gets there.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// A word that we wrote, of `what`; another one is damage.
pub(super) fn word<T: FromStr<Err = &'static str>>(row: &Row<'_>, column: &str, what: &str) -> rusqlite::Result<T> {
    let word: String = row.get(column)?;
    let odd = |why| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, format!("{what} {why}").into());
    word.parse().map_err(odd)
}

/// Every registered peer.
///
/// # Errors
/// [`DatabaseError`].
pub fn load(database: &Database) -> Result<Vec<PeerRow>, DatabaseError> {
    database.run_blocking(|connection| {
        let mut statement = connection.prepare("SELECT * FROM peers")?;
        let rows = statement.query_map([], |row| {
            Ok(PeerRow {
                key: row.get("key")?,
                node_id: row.get("node_id")?,
                name: row.get("name")?,
                role: row.get("role")?,
                permission: row.get("permission")?,
                addresses: row.get("addresses")?,
                paired_at: number(row, "paired_at")?,
                life: PeerLife {
                    last_seen: row.get::<_, Option<i64>>("last_seen")?.map(|at| u64::try_from(at).unwrap_or(0)),
                    ip: row.get("ip")?,
                    agent: row.get("agent")?,
                    score: row.get("score")?,
                    successes: number(row, "successes")?,
                    failures: number(row, "failures")?,
                    timeouts: number(row, "timeouts")?,
                },
            })
        })?;
        rows.collect()
    })
}

/// Stores a peer, in place of what was known of its key. On the disk when it returns.
///
/// # Errors
/// [`DatabaseError`]; then nothing was changed.
pub async fn put(database: &Database, peer: PeerRow) -> Result<(), DatabaseError> {
    database.run(move |connection| insert(connection, &peer)).await
}

/// Stores many peers in one transaction. On the disk when it returns.
///
/// # Errors
/// [`DatabaseError`]; then nothing was changed.
pub async fn put_all(database: &Database, peers: Vec<PeerRow>) -> Result<(), DatabaseError> {
    database
        .run(move |connection| {
            let transaction = connection.transaction()?;
            peers.iter().try_for_each(|peer| insert(&transaction, peer))?;
            transaction.commit()
        })
        .await
}

fn insert(connection: &Connection, peer: &PeerRow) -> rusqlite::Result<()> {
    // Not INSERT OR REPLACE: that would remove another peer of the same name instead of refusing.
    let mut statement = connection.prepare_cached(
        "INSERT INTO peers (key, name, role, permission, addresses, paired_at, last_seen, agent, score, successes,
             failures, timeouts, node_id, ip)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (key) DO UPDATE SET name = ?2, role = ?3, permission = ?4, addresses = ?5, paired_at = ?6,
             last_seen = ?7, agent = ?8, score = ?9, successes = ?10, failures = ?11, timeouts = ?12,
             ip = ?14",
    )?;
    statement.execute(params![
        peer.key,
        peer.name,
        peer.role,
        peer.permission,
        peer.addresses,
        integer(peer.paired_at),
        peer.life.last_seen.map(integer),
        peer.life.agent,
        peer.life.score,
        integer(peer.life.successes),
        integer(peer.life.failures),
        integer(peer.life.timeouts),
        peer.node_id,
        peer.life.ip,
    ])?;
    Ok(())
}

/// Forgets a peer. On the disk when it returns.
///
/// # Errors
/// [`DatabaseError`]; then nothing was changed.
pub async fn remove(database: &Database, key: [u8; 32]) -> Result<(), DatabaseError> {
    database.run(move |connection| connection.execute("DELETE FROM peers WHERE key = ?1", [key]).map(|_| ())).await
}

/// Stores many peers in one transaction. Peers that are no longer there stay away.
///
/// # Errors
/// [`DatabaseError`]; then nothing was changed.
pub async fn update(database: &Database, peers: Vec<PeerRow>) -> Result<(), DatabaseError> {
    database
        .run(move |connection| {
            let transaction = connection.transaction()?;
            {
                let mut statement = transaction.prepare_cached(
                    "UPDATE peers SET role = ?2, addresses = ?3, last_seen = ?4, agent = ?5, score = ?6,
                         successes = ?7, failures = ?8, timeouts = ?9, ip = ?10
                     WHERE key = ?1",
                )?;
                for peer in &peers {
                    statement.execute(params![
                        peer.key,
                        peer.role,
                        peer.addresses,
                        peer.life.last_seen.map(integer),
                        peer.life.agent,
                        peer.life.score,
                        integer(peer.life.successes),
                        integer(peer.life.failures),
                        integer(peer.life.timeouts),
                        peer.life.ip,
                    ])?;
                }
            }
            transaction.commit()
        })
        .await
}
