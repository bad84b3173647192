//! TCP in segments that pass everywhere.
//!
//! Behind PPPoE, a tunnel or a phone the way is narrower than the card. A router says so by ICMP, and many a firewall drops
//! that: then all that is small passes, every sign of life too, and nothing that is large ever does. Such a rig would be
//! online and answer no command.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::tcp::{self, tokio::TcpStream};
use libp2p::{Multiaddr, Transport};
use socket2::SockRef;
use tokio::net::TcpSocket;

use super::convert::{ip_of, port_of};

/// What each link of the way carries by IPv6 (1280 bytes, RFC 8200, section 5), less the headers of IPv6 and TCP. On an
/// Ethernet the same takes about 1 % more bytes. Who dials says so in its first segment (RFC 9293, section 3.7.1), and
/// both sides keep to it.
const SEGMENT: u32 = 1280 - 40 - 20;

/// What is asked for is asked for again after 1 s and 3 s. Waiting for more would be worse than to dial again: a network
/// that comes back in the meantime would not be seen for as long as TCP doubles its pauses.
pub(super) const CONNECT: Duration = Duration::from_secs(4);

/// libp2p's where it listens.
pub(super) struct Tcp {
    listens: tcp::tokio::Transport,
}

impl Tcp {
    pub(super) fn new() -> Self {
        Self { listens: tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)) }
    }
}

impl Transport for Tcp {
    type Output = TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = <tcp::tokio::Transport as Transport>::ListenerUpgrade;
    type Dial = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.listens.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.listens.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let found = ip_of(&address).zip(port_of(&address)).map(SocketAddr::from);
        match found.filter(|to| to.port() != 0 && !to.ip().is_unspecified()) {
            Some(to) => Ok(Box::pin(dial(to))),
            None => Err(TransportError::MultiaddrNotSupported(address)),
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.listens).poll(cx)
    }
}

async fn dial(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    // Where the system does not take it, all is as it was: most ways are wide, and most routers are heard.
    if let Err(error) = SockRef::from(&socket).set_tcp_mss(SEGMENT) {
        tracing::debug!(%error, "the size of segments cannot be set");
    }
    match tokio::time::timeout(CONNECT, socket.connect(to)).await {
        Ok(connected) => connected.map(TcpStream),
        Err(_) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("nobody answered within {} s", CONNECT.as_secs())))
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;

    use super::*;

    const OPTIONS: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };

    /// Loopback would carry 64 KB.
    #[tokio::test]
    async fn whoever_dials_both_sides_send_segments_that_pass_everywhere() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = tokio::net::TcpListener::bind((host, 0)).await else { continue };
            let to = listener.local_addr().unwrap();
            let address = Multiaddr::from(to.ip()).with(libp2p::multiaddr::Protocol::Tcp(to.port()));
            let dial = Tcp::new().dial(address, OPTIONS).unwrap();
            let (dialled, accepted) = tokio::join!(dial, listener.accept());
            for stream in [dialled.unwrap().0, accepted.unwrap().0] {
                let size = SockRef::from(&stream).tcp_mss().unwrap();
                assert!((SEGMENT - 40..=SEGMENT).contains(&size), "{host}: {size}");
            }
        }
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_not_dialled() {
        for address in ["/ip4/127.0.0.1/tcp/0", "/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1", "/ip4/127.0.0.1", "/tcp/1"] {
            let dial = Tcp::new().dial(address.parse().unwrap(), OPTIONS);
            assert!(matches!(dial, Err(TransportError::MultiaddrNotSupported(_))), "{address}");
        }
    }

    /// Linux lets one connection wait at a socket that listens for none, and does not answer the next.
    #[tokio::test]
    async fn a_dial_that_tcp_does_not_answer_is_given_up_before_tcp_gives_up() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let to = socket.local_addr().unwrap();
        let _full = socket.listen(0).unwrap();
        let _waits = tokio::net::TcpStream::connect(to).await.unwrap();
        let dialled = std::time::Instant::now();
        let error = dial(to).await.unwrap_err();
        assert_eq!(error.to_string(), "nobody answered within 4 s");
        let (took, soon) = (dialled.elapsed(), CONNECT * 2);
        assert!(CONNECT <= took && took < soon, "{took:?}");
    }
}
