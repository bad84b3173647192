//! S: libp2p's stock request-response over the same WebSocket, Noise and Yamux, unsealed.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::core::upgrade::Version;
use libp2p::request_response::{self, Codec, Message, ProtocolSupport};
use libp2p::swarm::{self, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, Swarm, Transport, dns, identity, noise, tcp, websocket, yamux};
use miner_ctrl_protocol::codec::{self as cbor, MAX_BODY};
use miner_ctrl_protocol::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use crate::bench::stats;

/// `length u32 | CBOR`, as plain as can be.
#[derive(Debug, Clone, Default)]
pub struct Plain;

async fn read(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let mut bytes = vec![0; (u32::from_be_bytes(length) as usize).min(MAX_BODY)];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write(io: &mut (impl AsyncWrite + Unpin + Send), bytes: Vec<u8>) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?.to_be_bytes();
    io.write_all(&[&length[..], &bytes].concat()).await
}

impl Codec for Plain {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
    ) -> io::Result<Request> {
        cbor::decode(&read(io).await?, MAX_BODY).map_err(io::Error::other)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
    ) -> io::Result<Response> {
        cbor::decode(&read(io).await?, MAX_BODY).map_err(io::Error::other)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        request: Request,
    ) -> io::Result<()> {
        write(io, cbor::encode(&request, MAX_BODY).map_err(io::Error::other)?).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()> {
        write(io, cbor::encode(&response, MAX_BODY).map_err(io::Error::other)?).await
    }
}

fn swarm() -> Swarm<request_response::Behaviour<Plain>> {
    let keypair = identity::Keypair::generate_ed25519();
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let transport = websocket::Config::new(dns::tokio::Transport::system(tcp).expect("a DNS configuration"))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&keypair).expect("a key"))
        .multiplex(yamux::Config::default())
        .timeout(Duration::from_secs(20))
        .boxed();
    let protocol = (StreamProtocol::new("/bench/stock/1"), ProtocolSupport::Full);
    let behaviour = request_response::Behaviour::<Plain>::new([protocol], request_response::Config::default());
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(3600));
    Swarm::new(transport, behaviour, keypair.public().to_peer_id(), config)
}

/// A swarm connected to another in this process.
#[derive(Debug, Clone)]
pub struct Stock {
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

impl Stock {
    /// One round trip.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn ask(&self) {
        let (reply, answer) = oneshot::channel();
        self.requests.send(reply).await.expect("the swarm runs");
        answer.await.expect("an answer comes");
    }
}

/// Two swarms; the second answers `Stats`.
///
/// # Panics
/// When loopback cannot be used.
pub async fn pair() -> Stock {
    let mut server = swarm();
    server.listen_on("/ip4/127.0.0.1/tcp/0/ws".parse().expect("an address")).expect("a port is free");
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = server.select_next_some().await {
            break address;
        }
    };
    let server_id: PeerId = *server.local_peer_id();
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(request_response::Event::Message {
                message: Message::Request { channel, .. },
                ..
            }) = server.select_next_some().await
            {
                // A client that is gone does not wait for its answer.
                let _ = server.behaviour_mut().send_response(channel, Response::Stats(Box::new(stats())));
            }
        }
    });
    let mut client = swarm();
    client.dial(address).expect("an address");
    loop {
        if let SwarmEvent::ConnectionEstablished { .. } = client.select_next_some().await {
            break;
        }
    }
    let (requests, mut asked) = mpsc::channel::<oneshot::Sender<()>>(256);
    tokio::spawn(async move {
        let mut waiting = HashMap::new();
        loop {
            tokio::select! {
                Some(reply) = asked.recv() => {
                    waiting.insert(client.behaviour_mut().send_request(&server_id, Request::Stats), reply);
                }
                event = client.select_next_some() => if let SwarmEvent::Behaviour(event) = event {
                    match event {
                        request_response::Event::Message { message: Message::Response { request_id, .. }, .. } => {
                            if let Some(reply) = waiting.remove(&request_id) {
                                let _ = reply.send(());
                            }
                        }
                        request_response::Event::OutboundFailure { error, .. } => panic!("a request failed: {error}"),
                        _ => {}
                    }
                }
            }
        }
    });
    Stock { requests }
}
