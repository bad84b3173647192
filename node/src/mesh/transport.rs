//! TCP, names, WebSocket, Noise, Yamux, with the limits that libp2p's own builder does not let one set.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::{AbortHandle, Abortable, Aborted};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::{Multiaddr, PeerId, Transport, identity, noise};

use super::gate::Known;
use super::handshakes::Latest;
use super::muxer::Yamux;
use super::names::Named;
use super::tcp::Tcp;
use super::websocket::{HANDSHAKE_READS, WebSocket};

/// TCP, WebSocket, Noise and Yamux together. 5 000 rigs that connect at once on two cores need 8 s.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Bytes that are read of whoever dials us, once it is a WebSocket, before its handshake is done. One of a node's takes 300;
/// other libraries may add to what they say of their key, for which 8 KiB are plenty, and 8 KiB more may be read ahead.
/// Noise would wait for a message of 64 KiB, and keep what came of it: 78 KiB for each handshake were measured, in place
/// of 31.
const MOST_READ: usize = 16 * 1024;

type Connected = (PeerId, StreamMuxerBox);

pub(crate) fn build(
    keypair: &identity::Keypair,
    known: Known,
    latest: Latest,
) -> Result<Boxed<Connected>, noise::Error> {
    let transport = WebSocket::new(Named::new(Tcp::new))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex_ext(move |peer, _| if known.has(peer) { Yamux::OF_A_PEER } else { Yamux::OF_A_STRANGER })
        .timeout(HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    Ok(Bounded { transport, latest }.boxed())
}

/// Gives each handshake that others begin what stops it ([`Latest`]), and an end to what it reads ([`MOST_READ`]).
struct Bounded {
    transport: Boxed<Connected>,
    latest: Latest,
}

impl Transport for Bounded {
    type Output = Connected;
    type Error = io::Error;
    type ListenerUpgrade = Pin<Box<dyn Future<Output = io::Result<Connected>> + Send>>;
    type Dial = <Boxed<Connected> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.transport.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.transport.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        self.transport.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let event = ready!(Pin::new(&mut self.transport).poll(cx));
        Poll::Ready(event.map_upgrade(|upgrade| -> Self::ListenerUpgrade {
            let (stop, stopped) = AbortHandle::new_pair();
            self.latest.put(stop);
            let upgrade = HANDSHAKE_READS.scope(Cell::new(MOST_READ), Abortable::new(upgrade, stopped));
            Box::pin(async move {
                upgrade.await.unwrap_or_else(|Aborted| Err(io::Error::other("it made room for another handshake")))
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt, StreamExt};
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use tokio_tungstenite::tungstenite::Message;

    use super::*;

    fn built(latest: Latest) -> Boxed<Connected> {
        build(&identity::Keypair::generate_ed25519(), Known::default(), latest).unwrap()
    }

    /// Why a handshake failed that somebody began who sends this, and then waits to be told.
    async fn failed(sent: Vec<Message>, stop: bool) -> String {
        let latest = Latest::default();
        let mut transport = built(latest.clone());
        transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0/ws".parse().unwrap()).unwrap();
        let Some(TransportEvent::NewAddress { listen_addr, .. }) = transport.next().await else { panic!("it listens") };
        let port = crate::mesh::port_of(&listen_addr).unwrap();
        let heard = async {
            let Some(TransportEvent::Incoming { upgrade, .. }) = transport.next().await else { panic!("it comes") };
            if stop {
                latest.stop().abort();
            }
            format!("{:?}", upgrade.await.err().unwrap())
        };
        let told = async {
            // It may be closed at any moment.
            if let Ok((mut client, _)) = tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/")).await {
                for message in sent {
                    let _ = client.send(message).await;
                }
                while let Some(Ok(_)) = client.next().await {}
            }
        };
        tokio::join!(heard, told).0
    }

    /// multistream, and a message of Noise of 64 KiB.
    fn long_handshake(length: usize) -> Vec<Message> {
        let mut bytes = b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff".to_vec();
        bytes.resize(length, 0);
        bytes.chunks(4096).map(|part| Message::Binary(part.to_vec().into())).collect()
    }

    #[tokio::test]
    async fn a_handshake_that_sends_without_end_is_given_up() {
        let pings = vec![Message::Ping(vec![0; 125].into()); MOST_READ / 125 + 1];
        for sent in [long_handshake(MOST_READ + 1), pings] {
            let error = failed(sent, false).await;
            assert!(error.contains("more than a handshake takes"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_handshake_that_is_stopped_closes_its_connection() {
        let error = failed(long_handshake(100), true).await;
        assert!(error.contains("it made room"), "{error}");
    }

    /// It announces 256 MiB where it was dialled, as an old address of a rig may.
    #[tokio::test]
    async fn a_frame_that_is_too_large_is_refused_by_the_dialer_at_its_header() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut transport = built(Latest::default());
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(format!("/ip4/127.0.0.1/tcp/{}/ws", address.port()).parse().unwrap(), options);
        let (error, ()) = tokio::join!(async { dial.unwrap().await.err().unwrap() }, async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut server = tokio_tungstenite::accept_async(stream).await.unwrap();
            let announced = [&[0x82, 127][..], &(256_u64 << 20).to_be_bytes()].concat();
            tokio::io::AsyncWriteExt::write_all(server.get_mut(), &announced).await.unwrap();
            // Kept open: only the announcement may end it.
            tokio::io::AsyncReadExt::read_to_end(server.get_mut(), &mut Vec::new()).await.ok();
        });
        assert!(format!("{error:?}").contains("more than 262144 bytes"), "{error:?}");
    }
}
