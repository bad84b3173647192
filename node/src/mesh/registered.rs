//! A libp2p behaviour that only registered peers ever meet.
//!
//! identify and ping answer whoever connects. Wrapped in this, they are not there for a stranger: its connection gets
//! an empty handler, and the wrapped behaviour never hears of it. They answer at once, and ask 10 s later.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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
use tokio::time::Sleep;

/// From a connection's beginning until what is wrapped may open substreams of its own. Where a hall has its power back, and
/// thousands of rigs connect, what identify and ping ask, both ways, is a fifth of all the work, and is left until most have
/// their links; and a round trip that is measured meanwhile tells how busy this node was. It is a time, and no state is waited
/// for, since a rig cannot see how many others connect where it does.
const QUIET: Duration = Duration::from_secs(10);

/// A handler that answers from the beginning, and asks after [`QUIET`].
///
/// It is on the heap: a connection's task holds its handler three times over while it moves it into place, for as long as
/// the connection lives; identify's has 3.4 KB.
pub(crate) struct AsksLater<H: ConnectionHandler>(Box<Handler<H>>);

struct Handler<H: ConnectionHandler> {
    inner: H,
    quiet: Option<Pin<Box<Sleep>>>,
    /// The substream that it wants to open; ping and identify want one at a time.
    wants: Option<SubstreamProtocol<H::OutboundProtocol, H::OutboundOpenInfo>>,
}

impl<H: ConnectionHandler> AsksLater<H> {
    fn new(inner: H) -> Self {
        let quiet = Some(Box::pin(tokio::time::sleep(QUIET)));
        Self(Box::new(Handler { inner, quiet, wants: None }))
    }
}

impl<H: ConnectionHandler> Handler<H> {
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let quiet = self.quiet.as_mut().is_some_and(|quiet| quiet.as_mut().poll(cx).is_pending());
        if !quiet {
            self.quiet = None;
        }
        quiet
    }
}

impl<H: ConnectionHandler> ConnectionHandler for AsksLater<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.0.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.0.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        let handler = &mut *self.0;
        let quiet = handler.is_quiet(cx);
        if !quiet && let Some(protocol) = handler.wants.take() {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        loop {
            match handler.inner.poll(cx) {
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
                    if quiet && handler.wants.is_none() =>
                {
                    handler.wants = Some(protocol);
                }
                other => return other,
            }
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.0.inner.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.0.inner.on_behaviour_event(event);
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
        self.0.inner.on_connection_event(event);
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
    type ConnectionHandler = Either<AsksLater<THandler<B>>, dummy::ConnectionHandler>;
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
            Ok(handler) => Ok(Either::Left(AsksLater::new(handler))),
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
            Ok(handler) => Ok(Either::Left(AsksLater::new(handler))),
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use futures::FutureExt;
    use libp2p::core::upgrade::DeniedUpgrade;
    use tokio::time::Instant;

    use super::*;

    /// Wants a substream from its beginning, and has answered something.
    struct Eager {
        wants: usize,
        answered: usize,
    }

    impl ConnectionHandler for Eager {
        type FromBehaviour = Infallible;
        type ToBehaviour = ();
        type InboundProtocol = DeniedUpgrade;
        type OutboundProtocol = DeniedUpgrade;
        type InboundOpenInfo = ();
        type OutboundOpenInfo = ();

        fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
            SubstreamProtocol::new(DeniedUpgrade, ())
        }

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), ()>> {
            if self.wants > 0 {
                self.wants -= 1;
                let protocol = SubstreamProtocol::new(DeniedUpgrade, ());
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            } else if self.answered > 0 {
                self.answered -= 1;
                Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(()))
            } else {
                Poll::Pending
            }
        }

        fn on_behaviour_event(&mut self, never: Infallible) {
            libp2p::core::util::unreachable(never);
        }

        fn on_connection_event(&mut self, _: ConnectionEvent<'_, DeniedUpgrade, DeniedUpgrade>) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_answers_from_the_beginning_and_asks_later() {
        let begun = Instant::now();
        let mut handler = AsksLater::new(Eager { wants: 1, answered: 1 });
        let said = poll_fn(|cx| handler.poll(cx)).await;
        assert!(matches!(said, ConnectionHandlerEvent::NotifyBehaviour(())));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let asked = poll_fn(|cx| handler.poll(cx)).await;
        assert!(matches!(asked, ConnectionHandlerEvent::OutboundSubstreamRequest { .. }));
        assert_eq!(begun.elapsed().as_secs(), QUIET.as_secs());
        assert!(poll_fn(|cx| handler.poll(cx)).now_or_never().is_none(), "it asks once");
        handler.0.inner.wants = 1;
        assert!(poll_fn(|cx| handler.poll(cx)).now_or_never().is_some(), "and at once from then on");
    }
}
