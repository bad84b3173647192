//! A libp2p behaviour that only registered peers ever meet.
//!
//! identify and ping answer whoever connects. Wrapped in this, they are not there for a stranger: its connection gets
//! an empty handler, and the wrapped behaviour never hears of it.

use std::collections::{HashMap, HashSet};
use std::task::{Context, Poll};

use either::Either;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{AddressChange, ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::handler::{ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// A handler on the heap. A connection's task holds its handler three times over while it moves it into place, for as
/// long as the connection lives; identify's has 3.4 KB.
#[derive(Debug)]
pub(crate) struct Boxed<H>(Box<H>);

impl<H: ConnectionHandler> ConnectionHandler for Boxed<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.0.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.0.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        self.0.poll(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.0.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.0.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        self.0.on_connection_event(event);
    }
}

/// Wraps `B`; the mesh tells it who is registered.
#[derive(Debug)]
pub(crate) struct Registered<B> {
    inner: B,
    registered: HashSet<PeerId>,
    /// Connections that `inner` knows, by peer: strangers' connections have no place in its counts.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
}

impl<B> Registered<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, registered: HashSet::new(), connections: HashMap::new() }
    }

    /// From the next connection on, the peer meets the behaviour.
    pub(crate) fn register(&mut self, peer: PeerId) {
        self.registered.insert(peer);
    }

    /// From the next connection on, it does not; the mesh closes the present ones.
    pub(crate) fn remove(&mut self, peer: &PeerId) {
        self.registered.remove(peer);
    }

    fn knows(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        self.connections.get(peer).is_some_and(|known| known.contains(&connection))
    }

    fn admit(&mut self, peer: PeerId, connection: ConnectionId) -> bool {
        let admitted = self.registered.contains(&peer);
        if admitted {
            self.connections.entry(peer).or_default().push(connection);
        }
        admitted
    }

    /// Forgets a connection; how many the inner behaviour has left with this peer.
    fn forget(&mut self, peer: &PeerId, connection: ConnectionId) -> usize {
        let Some(known) = self.connections.get_mut(peer) else { return 0 };
        known.retain(|id| *id != connection);
        let left = known.len();
        if left == 0 {
            self.connections.remove(peer);
        }
        left
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Registered<B> {
    type ConnectionHandler = Either<Boxed<THandler<B>>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.admit(peer, id) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        match self.inner.handle_established_inbound_connection(id, peer, local, remote) {
            Ok(handler) => Ok(Either::Left(Boxed(Box::new(handler)))),
            Err(denied) => {
                self.forget(&peer, id);
                Err(denied)
            }
        }
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.admit(peer, id) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        match self.inner.handle_established_outbound_connection(id, peer, address, role, port) {
            Ok(handler) => Ok(Either::Left(Boxed(Box::new(handler)))),
            Err(denied) => {
                self.forget(&peer, id);
                Err(denied)
            }
        }
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                if !self.knows(&event.peer_id, event.connection_id) {
                    return;
                }
                let other_established = self.connections.get(&event.peer_id).map_or(0, |known| known.len() - 1);
                self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                    other_established,
                    ..event
                }));
            }
            FromSwarm::ConnectionClosed(event) => {
                if !self.knows(&event.peer_id, event.connection_id) {
                    return;
                }
                let remaining_established = self.forget(&event.peer_id, event.connection_id);
                self.inner
                    .on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed { remaining_established, ..event }));
            }
            FromSwarm::AddressChange(AddressChange { peer_id, connection_id, .. })
                if !self.knows(&peer_id, connection_id) => {}
            // A connection that a later behaviour refused was admitted above and never established.
            FromSwarm::DialFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.forget(&peer, failure.connection_id);
                }
                self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
            }
            FromSwarm::ListenFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.forget(&peer, failure.connection_id);
                }
                self.inner.on_swarm_event(FromSwarm::ListenFailure(failure));
            }
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, id, event),
            Either::Right(never) => libp2p::core::util::unreachable(never),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            let Poll::Ready(event) = self.inner.poll(cx) else { return Poll::Pending };
            // `Any` could pick a connection that the peer made while it was a stranger, whose handler has no such event.
            let event = match event {
                ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event } => {
                    let Some(id) = self.connections.get(&peer_id).and_then(|known| known.first()) else { continue };
                    ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(*id), event }
                }
                other => other,
            };
            return Poll::Ready(event.map_in(Either::Left));
        }
    }
}
