//! Links: one for each peer at last, whoever dialled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::abortable;
use libp2p::Stream;
use libp2p::swarm::ConnectionId;
use miner_ctrl_protocol::message::Hello;
use miner_ctrl_protocol::smsg::LinkNonce;
use miner_ctrl_protocol::{PeerKey, VERSION};
use tokio::time::Instant;

use super::swarm::{Connection, EventLoop, LinkState, Unlinked};
use crate::mesh::allowance::Allowance;
use crate::mesh::behaviour::agent;
use crate::mesh::command::Event;
use crate::mesh::convert::{host_of, ip_of};
use crate::mesh::link::{Answer, Greeting, Link, LinkEnd, LinkTask};
use crate::mesh::turns::Seat;

/// Two links made within this time are a simultaneous dial; later, the newer one is the peer coming back.
const SIMULTANEOUS: Duration = Duration::from_secs(5);
/// A connection that was told to close and has not said that it did by then never will: closing takes 2 s at most.
const CLOSED: Duration = Duration::from_secs(5);

impl EventLoop {
    pub(super) fn open_link(&mut self, id: ConnectionId, stream: Stream, seat: &Seat) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        // A second link on one connection is no honest peer's; dropping the stream resets it.
        if connection.to_pair
            || connection.link.is_some()
            || !self.swarm.behaviour().door.is_registered(&connection.peer)
        {
            return;
        }
        let hello = Hello {
            versions: vec![VERSION],
            node_id: self.us.node_id,
            name: self.us.name.clone(),
            role: self.us.role,
            nonce: LinkNonce::generate(&mut rand::rng()),
            agent: agent(),
            features: vec![],
            boot: Some(self.us.boot),
        };
        let rate = self.rate;
        let whole = || Arc::new(Mutex::new(Allowance::new(rate, Instant::now())));
        let allowance = Arc::clone(self.allowances.entry(connection.key).or_insert_with(whole));
        let answer: Arc<dyn Answer> = Arc::clone(&self.household) as Arc<dyn Answer>;
        let task = LinkTask {
            peer: connection.key,
            stream,
            dialer: connection.dialer,
            greeting: Greeting { hello, secret: Arc::clone(&self.secret), signer: self.signer.clone() },
            answer,
            counts: Arc::clone(&self.counts),
            allowance,
        };
        let ups = self.ups_sender.clone();
        // The loop always drains this queue; a full one only means that it is busy with as many others.
        let up = move |link| ups.try_send((id, link)).is_ok();
        let (link, task) = abortable(task.run(up));
        let ends = self.ends_sender.clone();
        seat.take(Box::pin(async move {
            // One that is aborted with its peer's removal, or breaks off, ends by its connection, which closes then.
            if let Ok(end) = link.await {
                // Nobody listens any more when the node stops.
                let _ = ends.send((id, end)).await;
            }
        }));
        connection.link = Some(LinkState { task, up: None });
    }

    pub(super) fn on_link_up(&mut self, id: ConnectionId, link: Link) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        self.dialer.on_ended(id);
        let (peer, key, dialer) = (connection.peer, connection.key, connection.dialer);
        let (address, host) = (connection.address.to_string(), host_of(&connection.address));
        let ip = ip_of(&connection.address);
        let now = Instant::now();
        if let Some(state) = &mut connection.link {
            state.up = Some((link.clone(), now));
        }
        if let Some(present) = self.links.get(&key) {
            let other = self.connections.values().find_map(|other| {
                let (up, since) = other.link.as_ref()?.up.as_ref()?;
                up.same_as(&present).then(|| (other.dialer, *since, host_of(&other.address)))
            });
            let same_program = present.hello.boot == link.hello.boot;
            // Both sides keep the one that the smaller peer id dialled.
            let ours_wins = *self.swarm.local_peer_id() < peer;
            let keep_present = other.as_ref().is_some_and(|(present_dialer, since, _)| {
                let at_once = now.duration_since(*since) < SIMULTANEOUS;
                same_program && at_once && *present_dialer != dialer && *present_dialer == ours_wins
            });
            if keep_present {
                link.retire();
                return;
            }
            match other {
                Some((_, _, other)) if !same_program => self.look_for_copy(key, present, [other, host]),
                _ => present.retire(),
            }
        }
        let hello = Arc::clone(&link.hello);
        self.links.put(key, link);
        self.dialer.on_up(&peer, now, &mut rand::rng());
        self.household.observe(key, Event::Up { address, ip, inbound: !dialer, hello });
        self.dial_more();
    }

    /// Another program with the same key has come, where a link is up. That is over when a rig was started again; when it
    /// still answers, there are two machines, as a disk and its copy are.
    fn look_for_copy(&mut self, key: PeerKey, present: Link, hosts: [String; 2]) {
        let household = Arc::clone(&self.household);
        self.checks.spawn(async move {
            let answers = present.is_answered().await;
            present.retire();
            if answers {
                household.observe(key, Event::Copied { hosts });
            }
        });
    }

    pub(super) fn on_link_ended(&mut self, id: ConnectionId, end: &LinkEnd) {
        tracing::debug!(%end, "a link ended");
        if matches!(end, LinkEnd::Closed) && self.connections.get(&id).is_some_and(Connection::comes_up) {
            // Whether the peer closed it or the wire broke is told when the connection has closed; one whose task broke off
            // says nothing any more.
            self.swarm.close_connection(id);
            self.closing.push((id, Instant::now() + CLOSED));
            self.watchful = true;
            return;
        }
        let why = match end {
            LinkEnd::Closed => Unlinked::Closed,
            LinkEnd::FalseHello | LinkEnd::Unintelligible | LinkEnd::Version => Unlinked::Refused(end.to_string()),
            other => Unlinked::Broke(other.to_string()),
        };
        self.end_link(id, &why);
        // What is to be said of this connection has been said; its closing is no failed dial.
        self.connections.remove(&id);
        self.swarm.close_connection(id);
    }

    /// Takes the connection's link out of the table, once.
    pub(super) fn end_link(&mut self, id: ConnectionId, end: &Unlinked) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (peer, key, dialer) = (connection.peer, connection.key, connection.dialer);
        match connection.link.take().and_then(|state| state.up) {
            Some((link, _)) if self.links.get(&key).is_some_and(|present| present.same_as(&link)) => {
                self.links.take(&key);
                self.dialer.on_down(&peer, Instant::now(), &mut rand::rng());
                self.watchful = true;
                self.household.observe(key, Event::Down);
            }
            None if dialer => self.on_unlinked(peer, id, end),
            // One that lost to another, or that never came up and was not ours to bring up.
            Some(_) | None => {}
        }
    }
}
