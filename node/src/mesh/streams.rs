//! One connection's substreams of our own protocols: opened on demand, accepted where served, handed to the mesh loop.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::StreamUpgradeError;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedInbound,
    FullyNegotiatedOutbound, SubstreamProtocol,
};
use libp2p::{Stream, StreamProtocol};
use miner_ctrl_protocol::{PAIR_PROTOCOL, RPC_PROTOCOL};

use super::turns::Seat;
use super::words::{is_closing, root_cause};

/// Substreams that a peer may open on one connection in all: a link and a pairing, each perhaps twice after a mishap.
const MAX_INBOUND: usize = 4;

/// Our own protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Pairing.
    Pair,
    /// The link.
    Rpc,
}

impl Protocol {
    const fn name(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Pair => PAIR_PROTOCOL,
            Self::Rpc => RPC_PROTOCOL,
        })
    }
}

/// What became of a substream.
pub(crate) enum Opened {
    Stream { protocol: Protocol, stream: Stream, inbound: bool, seat: Option<Seat> },
    NotServed { protocol: Protocol, broke: Option<String> },
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream { protocol, inbound, .. } => write!(f, "Stream({protocol:?}, inbound: {inbound})"),
            Self::NotServed { protocol, .. } => write!(f, "NotServed({protocol:?})"),
        }
    }
}

/// The connection handler.
#[derive(Debug)]
pub(crate) struct Streams {
    serves: &'static [Protocol],
    accepted: usize,
    to_open: VecDeque<Protocol>,
    events: VecDeque<Opened>,
}

impl Streams {
    pub(crate) const fn serving(serves: &'static [Protocol]) -> Self {
        Self { serves, accepted: 0, to_open: VecDeque::new(), events: VecDeque::new() }
    }
}

/// A negotiation that ends with the bare substream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer(&'static [Protocol]);

impl UpgradeInfo for Offer {
    type Info = NamedProtocol;
    type InfoIter = std::vec::IntoIter<NamedProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|protocol| NamedProtocol(*protocol, protocol.name())).collect::<Vec<_>>().into_iter()
    }
}

/// A protocol with the name it is negotiated under.
#[derive(Debug, Clone)]
pub(crate) struct NamedProtocol(Protocol, StreamProtocol);

impl AsRef<str> for NamedProtocol {
    fn as_ref(&self) -> &str {
        self.1.as_ref()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, info: NamedProtocol) -> Self::Future {
        ready(Ok((info.0, stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, info: NamedProtocol) -> Self::Future {
        ready(Ok((info.0, stream)))
    }
}

impl ConnectionHandler for Streams {
    type FromBehaviour = Protocol;
    type ToBehaviour = Opened;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Protocol;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(self.serves), ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Offer, Protocol, Opened>> {
        if let Some(event) = self.events.pop_front() {
            if self.events.is_empty() {
                // Given back: four places of it have half a KB, on each of thousands of connections.
                self.events = VecDeque::new();
            }
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(protocol) = self.to_open.pop_front() {
            let offer = Offer(match protocol {
                Protocol::Pair => &[Protocol::Pair],
                Protocol::Rpc => &[Protocol::Rpc],
            });
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(offer, protocol),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, protocol: Protocol) {
        self.to_open.push_back(protocol);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Protocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream), ..
            }) if self.accepted < MAX_INBOUND => {
                self.accepted += 1;
                self.events.push_back(Opened::Stream { protocol, stream, inbound: true, seat: Seat::here() });
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (protocol, stream), ..
            }) => self.events.push_back(Opened::Stream { protocol, stream, inbound: false, seat: Seat::here() }),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: protocol, error }) => {
                let broke = match error {
                    StreamUpgradeError::Timeout => Some("it did not answer in time".to_owned()),
                    StreamUpgradeError::Io(error) if !is_closing(&error) => Some(root_cause(&error)),
                    _ => None,
                };
                self.events.push_back(Opened::NotServed { protocol, broke });
            }
            // An inbound substream over the count is dropped here, which resets it.
            _ => {}
        }
    }
}
