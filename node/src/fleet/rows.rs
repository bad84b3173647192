//! Peers to rows and back. A row that makes no sense stops the start: it was not written by us.

use std::fmt::Display;
use std::net::AddrParseError;
use std::panic::resume_unwind;

use miner_ctrl_protocol::PeerKey;
use miner_ctrl_protocol::id::NodeIdError;
use miner_ctrl_protocol::name::NameError;
use miner_ctrl_protocol::role::UnknownWord;

use super::registry::{MAX_PEERS, Peer, Registry};
use super::reputation::Reputation;
use crate::identity;
use crate::store::peers::{self, PeerLife, PeerRow};
use crate::store::{Database, DatabaseError};

/// From this many rows on, threads save more than starting them costs.
const ROWS_WORTH_THREADS: usize = 256;

/// The registry as it was stored.
pub(super) fn load(database: &Database) -> Result<Registry, DatabaseError> {
    let mut registry = Registry::default();
    let rows = peers::load(database)?;
    if rows.len() > MAX_PEERS {
        return Err(database.damaged(format!("{} peers, at most {MAX_PEERS} were ever allowed", rows.len())));
    }
    for peer in from_rows(&rows) {
        registry.put(peer.map_err(|why| database.damaged(why))?);
    }
    Ok(registry)
}

/// On all processors: checking that a key is one takes arithmetic on the curve, some 30 us.
fn from_rows(rows: &[PeerRow]) -> Vec<Result<Peer, String>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let read = |rows: &[PeerRow]| rows.iter().map(from_row).collect::<Vec<_>>();
    if rows.len() < ROWS_WORTH_THREADS || threads == 1 {
        return read(rows);
    }
    std::thread::scope(|scope| {
        let started: Vec<_> =
            rows.chunks(rows.len().div_ceil(threads)).map(|part| scope.spawn(move || read(part))).collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// A peer as it is stored.
pub(super) fn to_row(peer: &Peer) -> PeerRow {
    PeerRow {
        key: *peer.key.as_bytes(),
        node_id: peer.id.to_string(),
        name: peer.name.to_string(),
        role: peer.role.to_string(),
        permission: peer.permission.to_string(),
        addresses: serde_json::Value::from(peer.addresses.clone()).to_string(),
        paired_at: peer.paired_at,
        life: PeerLife {
            last_seen: peer.last_seen,
            ip: peer.ip.map(|ip| ip.to_string()),
            agent: peer.agent.clone(),
            score: peer.reputation.mean(),
            successes: peer.reputation.successes(),
            failures: peer.reputation.failures(),
            timeouts: peer.reputation.timeouts(),
        },
    }
}

fn from_row(row: &PeerRow) -> Result<Peer, String> {
    let odd = |error: &dyn Display| format!("peer {:?}: {error}", row.name.chars().take(64).collect::<String>());
    let key = PeerKey::from_bytes(&row.key).map_err(|error| odd(&error))?;
    Ok(Peer {
        key,
        // Not computed again: half of the arithmetic at the start.
        id: row.node_id.parse().map_err(|error: NodeIdError| odd(&error))?,
        peer_id: identity::peer_id(&key),
        name: row.name.parse().map_err(|error: NameError| odd(&error))?,
        role: row.role.parse().map_err(|error: UnknownWord| odd(&error))?,
        permission: row.permission.parse().map_err(|error: UnknownWord| odd(&error))?,
        addresses: serde_json::from_str(&row.addresses).map_err(|error| odd(&error))?,
        paired_at: row.paired_at,
        last_seen: row.life.last_seen,
        ip: row.life.ip.as_deref().map(str::parse).transpose().map_err(|error: AddrParseError| odd(&error))?,
        agent: row.life.agent.clone(),
        reputation: Reputation::from_parts(row.life.score, row.life.successes, row.life.failures, row.life.timeouts),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::registry::tests::new_peer;
    use crate::fleet::reputation::Outcome;

    #[test]
    fn a_peer_reads_back_as_it_was_stored() {
        let mut peer = Registry::default().admit(new_peer(1, "alpha")).unwrap();
        peer.addresses = vec!["a\"b".into(), "\u{e9}".into()];
        peer.ip = Some([192, 0, 2, 1].into());
        peer.set_agent("miner-ctrl/0.1.0");
        peer.reputation.record(Outcome::TimedOut);
        assert_eq!(from_row(&to_row(&peer)), Ok(peer));
    }

    #[test]
    fn a_row_that_makes_no_sense_stops_the_start() {
        let peer = Registry::default().admit(new_peer(1, "alpha")).unwrap();
        for damage in [
            |row: &mut PeerRow| row.key = [0; 32],
            |row: &mut PeerRow| row.node_id = "0".into(),
            |row: &mut PeerRow| row.name = "../x".into(),
            |row: &mut PeerRow| row.role = "king".into(),
            |row: &mut PeerRow| row.permission = "all".into(),
            |row: &mut PeerRow| row.addresses = "{}".into(),
            |row: &mut PeerRow| row.life.ip = Some("rig.local".into()),
        ] {
            let database = Database::in_memory().unwrap();
            let mut row = to_row(&peer);
            damage(&mut row);
            tokio::runtime::Runtime::new().unwrap().block_on(peers::put(&database, row)).unwrap();
            assert!(matches!(load(&database), Err(DatabaseError::Damaged { .. })));
        }
    }
}
