//! TCP, names, WebSocket, Noise, Yamux, with the limits that libp2p's own builder does not let one set.

use std::io;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::{TransportTimeout, TransportTimeoutError};
use libp2p::core::upgrade::Version;
use libp2p::{PeerId, Transport, identity, noise, tcp};

use super::muxer::Yamux;
use super::names::Named;
use super::websocket::WebSocket;

/// TCP, WebSocket, Noise and Yamux together. 5 000 rigs that connect at once on two cores need 8 s.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// TCP alone: what is asked for is asked for again after 1 s and 3 s. Waiting for more would be worse than to dial again:
/// a network that comes back in the meantime would not be seen for as long as TCP doubles its pauses.
pub(super) const CONNECT: Duration = Duration::from_secs(4);

pub(crate) fn build(keypair: &identity::Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    Ok(WebSocket::new(Named::new(tcp))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(Yamux)
        .timeout(HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
}

fn tcp()
-> impl Transport<Output = tcp::tokio::TcpStream, Error = io::Error, Dial: Send + 'static, ListenerUpgrade: Send + 'static>
+ Send
+ Unpin
+ 'static {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    TransportTimeout::with_outgoing_timeout(tcp, CONNECT).map_err(tcp_error)
}

/// In words for an operator, where the library's say only that there was a timeout.
fn tcp_error(error: TransportTimeoutError<io::Error>) -> io::Error {
    match error {
        TransportTimeoutError::Timeout => {
            io::Error::new(io::ErrorKind::TimedOut, format!("nobody answered within {} s", CONNECT.as_secs()))
        }
        TransportTimeoutError::TimerError(error) | TransportTimeoutError::Other(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;
    use libp2p::core::transport::{DialOpts, PortUse};

    use super::*;

    /// It announces 256 MiB where it was dialled, as an old address of a rig may.
    #[tokio::test]
    async fn a_frame_that_is_too_large_is_refused_by_the_dialer_at_its_header() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut transport = build(&identity::Keypair::generate_ed25519()).unwrap();
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

    /// Linux lets one connection wait at a socket that listens for none, and does not answer the next.
    #[tokio::test]
    async fn a_dial_that_tcp_does_not_answer_is_given_up_before_tcp_gives_up() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let _full = socket.listen(0).unwrap();
        let _waits = tokio::net::TcpStream::connect(address).await.unwrap();

        let mut transport = build(&identity::Keypair::generate_ed25519()).unwrap();
        let dialled = std::time::Instant::now();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
        let dial = transport.dial(format!("/ip4/127.0.0.1/tcp/{}/ws", address.port()).parse().unwrap(), options);
        let error = dial.unwrap().await.err().unwrap();
        assert!(format!("{error:?}").contains("nobody answered within 4 s"), "{error:?}");
        let (took, soon) = (dialled.elapsed(), HANDSHAKE / 2);
        assert!(CONNECT <= took && took < soon, "{took:?}");
    }
}
