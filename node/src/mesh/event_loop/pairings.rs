//! Pairing, at both ends.

use std::sync::Arc;

use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, Stream};
use miner_ctrl_protocol::PeerKey;
use tokio::sync::oneshot;

use super::swarm::{Connection, EventLoop};
use crate::mesh::command::{PairBy, PairError, Paired};
use crate::mesh::convert::peer_id;
use crate::mesh::pairing;
use crate::mesh::words::pair_error;

/// Pairings that we ask for at once; each is a person at a terminal.
const MAX_PAIRINGS: usize = 32;
/// Pairings that we serve at once: one on each connection of a stranger, of which there are 16, …
const MAX_SERVED: usize = 32;
/// … and of these to registered peers, which have lost their registration of us.
const MAX_SERVED_PEERS: usize = 16;

pub(super) struct PairingAsked {
    by: PairBy,
    pub(super) reply: oneshot::Sender<Result<Paired, PairError>>,
}

pub(super) type PairingDone = (ConnectionId, oneshot::Sender<Result<Paired, PairError>>, Result<Paired, PairError>);

impl EventLoop {
    pub(super) fn on_pair(
        &mut self,
        address: Multiaddr,
        expected: Option<PeerKey>,
        by: PairBy,
        reply: oneshot::Sender<Result<Paired, PairError>>,
    ) {
        if self.pairings.len() + self.asked.len() >= MAX_PAIRINGS {
            // The caller may have given up.
            let _ = reply.send(Err(PairError::Unavailable));
            return;
        }
        if self.swarm.listeners().any(|own| *own == address) {
            // The caller may have given up.
            let _ = reply.send(Err(PairError::Ourselves));
            return;
        }
        let options = match expected {
            Some(key) => DialOpts::peer_id(peer_id(&key))
                .condition(PeerCondition::Always)
                .addresses(vec![address])
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
        };
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.watchful = true;
                self.pairings.insert(connection, PairingAsked { by, reply });
            }
            Err(error) => drop(reply.send(Err(pair_error(&error)))),
        }
    }

    pub(super) fn serve_pairing(&mut self, id: ConnectionId, stream: Stream) {
        let door = &self.swarm.behaviour().door;
        let Some(connection) = self.connections.get(&id) else { return };
        // One after the other. A stream that is dropped here is reset.
        if connection.pairs() || self.served.len() >= MAX_SERVED {
            return;
        }
        let pair = |other: &&Connection| other.pairs() && door.is_registered(&other.peer);
        if door.is_registered(&connection.peer) && self.connections.values().filter(pair).count() >= MAX_SERVED_PEERS {
            return;
        }
        let (key, address) = (connection.key, connection.address.to_string());
        let household = Arc::clone(&self.household);
        let served = self.served.spawn(pairing::serve(stream, self.us.clone(), key, address, household));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.served = Some(served);
        }
    }

    pub(super) fn ask_pairing(&mut self, id: ConnectionId, stream: Stream) {
        let (Some(asked), Some(connection)) = (self.pairings.remove(&id), self.connections.get(&id)) else { return };
        let (us, them) = (self.us.clone(), connection.key);
        self.asked.spawn(async move { (id, asked.reply, pairing::ask(stream, us, them, asked.by).await) });
    }

    pub(super) fn on_paired(&mut self, done: Option<PairingDone>) {
        let Some((id, reply, result)) = done else { return };
        // The link is dialled anew once the peer is registered.
        self.connections.remove(&id);
        self.swarm.close_connection(id);
        // The caller may have given up.
        let _ = reply.send(result);
    }
}
