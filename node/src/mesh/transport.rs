//! TCP, names, WebSocket, Noise, Yamux, with the limits that libp2p's own builder does not let one set.

use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::{PeerId, Transport, identity, noise};

use super::gate::Known;
use super::muxer::Yamux;
use super::names::Named;
use super::tcp::Tcp;
use super::websocket::WebSocket;

/// TCP, WebSocket, Noise and Yamux together. 5 000 rigs that connect at once on two cores need 8 s.
const HANDSHAKE: Duration = Duration::from_secs(20);

pub(crate) fn build(
    keypair: &identity::Keypair,
    known: Known,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    Ok(WebSocket::new(Named::new(Tcp::new))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex_ext(move |peer, _| if known.has(peer) { Yamux::OF_A_PEER } else { Yamux::OF_A_STRANGER })
        .timeout(HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
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
        let mut transport = build(&identity::Keypair::generate_ed25519(), Known::default()).unwrap();
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
