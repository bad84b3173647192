//! S: libp2p's stock request-response over the same WebSocket, Noise and Yamux, unsealed.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::core::upgrade::Version;
use libp2p::request_response::{self, Codec, Message, ProtocolSupport};
use libp2p::swarm::{self, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, Transport, identity, noise, tcp, yamux};
use libp2p_websocket as websocket;
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

fn swarm() -> Node {
    let keypair = identity::Keypair::generate_ed25519();
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let transport = websocket::Config::new(tcp)
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

type Node = Swarm<request_response::Behaviour<Plain>>;

async fn listen(swarm: &mut Node) -> Multiaddr {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0/ws".parse().expect("an address")).expect("a port is free");
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

/// Answers `Stats` until the process ends.
async fn answer(mut swarm: Node) {
    loop {
        if let SwarmEvent::Behaviour(request_response::Event::Message {
            message: Message::Request { channel, .. },
            ..
        }) = swarm.select_next_some().await
        {
            // A client that is gone does not wait for its answer.
            let _ = swarm.behaviour_mut().send_response(channel, Response::Stats(Box::new(stats())));
        }
    }
}

/// Two swarms; the second answers `Stats`.
///
/// # Panics
/// When loopback cannot be used.
pub async fn pair() -> Stock {
    let mut server = swarm();
    let address = listen(&mut server).await;
    let server_id: PeerId = *server.local_peer_id();
    tokio::spawn(answer(server));
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

/// Set for a process that hosts stock rigs: `address of the controller,count`.
pub const RIGS_OF: &str = "MINER_CTRL_BENCH_STOCK_RIGS";

/// A swarm here, and many that answer `Stats` in another process.
#[derive(Debug)]
pub struct Crowd {
    sweeps: mpsc::Sender<(Range<usize>, oneshot::Sender<()>)>,
    count: usize,
    rigs: Child,
}

impl Crowd {
    /// Asks every rig once, all at the same time, and waits for all answers.
    ///
    /// # Panics
    /// When a connection is gone.
    pub async fn sweep(&self) {
        self.ask(0..self.count).await;
    }

    /// Asks a part of the rigs each `step`, and so all of them once in `steps` of these, until it is dropped.
    ///
    /// # Panics
    /// When a connection is gone.
    pub async fn keep_asking(&self, step: Duration, steps: usize) {
        let mut ticks = tokio::time::interval(step);
        for part in (0..steps).cycle() {
            ticks.tick().await;
            self.ask(part * self.count / steps..(part + 1) * self.count / steps).await;
        }
    }

    async fn ask(&self, rigs: Range<usize>) {
        let (reply, done) = oneshot::channel();
        self.sweeps.send((rigs, reply)).await.expect("the swarm runs");
        done.await.expect("all answer");
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Killed and reaped; it may have ended by itself.
        let _ = self.rigs.kill();
        let _ = self.rigs.wait();
    }
}

/// A swarm to which `count` others have connected.
///
/// # Panics
/// When they do not connect.
pub async fn crowd(count: usize) -> Crowd {
    let mut swarm = swarm();
    let address = listen(&mut swarm).await;
    let rigs = Command::new(std::env::current_exe().expect("this program has a file"))
        .env(RIGS_OF, format!("{address},{count}"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("the rigs' process starts");
    let mut peers = Vec::with_capacity(count);
    let connected = async {
        while peers.len() < count {
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
                peers.push(peer_id);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), connected).await.expect("all rigs connect");
    let (sweeps, mut asked) = mpsc::channel::<(Range<usize>, oneshot::Sender<()>)>(1);
    tokio::spawn(async move {
        let (mut waiting, mut done) = (0, None);
        loop {
            tokio::select! {
                Some((rigs, reply)) = asked.recv(), if done.is_none() => {
                    (waiting, done) = (rigs.len(), Some(reply));
                    for peer in &peers[rigs] {
                        swarm.behaviour_mut().send_request(peer, Request::Stats);
                    }
                }
                event = swarm.select_next_some() => match event {
                    SwarmEvent::Behaviour(request_response::Event::Message { message: Message::Response { .. }, .. }) => {
                        waiting -= 1;
                        if waiting == 0 && let Some(reply) = done.take() {
                            let _ = reply.send(());
                        }
                    }
                    SwarmEvent::Behaviour(request_response::Event::OutboundFailure { error, .. }) => {
                        panic!("a request failed: {error}");
                    }
                    _ => {}
                }
            }
        }
    });
    Crowd { sweeps, count, rigs }
}

/// Hosts stock rigs until the parent closes our standard input.
///
/// # Panics
/// On a malformed [`RIGS_OF`].
pub async fn be_rigs(of: &str) {
    let (address, count) = of.split_once(',').expect("an address and a number");
    let address: Multiaddr = address.parse().expect("an address");
    for _ in 0..count.parse().expect("a number") {
        let mut swarm = swarm();
        swarm.dial(address.clone()).expect("an address");
        tokio::spawn(answer(swarm));
    }
    // The parent holds the other end; when it is gone we go.
    let _ = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await;
}
