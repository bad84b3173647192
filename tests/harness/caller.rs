//! A peer of the wire without a node behind it: dials, opens substreams, and says whatever a test wants said.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use libp2p::{identity, noise, tcp, yamux};
use libp2p_websocket as websocket;
use miner_ctrl_protocol::codec::{self, MAX_BODY};
use miner_ctrl_protocol::message::Hello;
use miner_ctrl_protocol::pair::{Door, Knock, MAX_PAIR_MESSAGE, Reply};
use miner_ctrl_protocol::smsg::{LinkNonce, NodeSecret, PendingAnswer, Sender};
use miner_ctrl_protocol::{PAIR_PROTOCOL, RPC_PROTOCOL, Request, Response, Role, VERSION};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{interval, timeout};

use crate::farm::Station;
use crate::wait::DEADLINE;

/// Kind and id of a frame, which its length counts.
const FRAME_HEADER: usize = 9;

/// Kinds of frames.
const REQUEST: u8 = 1;
const BEAT: u8 = 4;

/// Ids of a Beat: the dialer asks, the other side answers, the dialer says that the answer came.
const ASKS: u64 = 0;
const CAME: u64 = 2;

/// More often than a node asks, so that a slow day is no silence.
const BEATS: Duration = Duration::from_secs(3);

/// What a connection has seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Whether it is over.
    pub closed: bool,
    /// Substreams that the node opened to us.
    pub opened: usize,
}

/// A connection to a node, under a key of the test's own.
#[derive(Debug)]
pub struct Caller {
    secret: Arc<NodeSecret>,
    orders: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
    seen: watch::Receiver<Seen>,
}

impl Caller {
    /// Dials the node that listens on this port, with a new key.
    ///
    /// # Errors
    /// When the connection does not come up.
    pub async fn dial(port: u16) -> Result<Self, String> {
        Self::dial_as(port, Arc::new(NodeSecret::generate(&mut rand::rng()))).await
    }

    /// Dials the node that listens on this port.
    ///
    /// # Errors
    /// When the connection does not come up.
    ///
    /// # Panics
    /// When it neither comes up nor fails.
    pub async fn dial_as(port: u16, secret: Arc<NodeSecret>) -> Result<Self, String> {
        let keypair = identity::Keypair::ed25519_from_bytes(secret.seed().as_mut_slice()).expect("a seed");
        let mut transport = websocket::Config::new(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)))
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&keypair).expect("a key"))
            .multiplex(yamux::Config::default())
            .boxed();
        let address = format!("/ip4/127.0.0.1/tcp/{port}/ws").parse().expect("an address");
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(address, options).map_err(|error| error.to_string())?;
        let dialled = timeout(DEADLINE, dial).await.expect("a dial ends");
        let (_, muxer) = dialled.map_err(|error| error.to_string())?;
        let (orders, ordered) = mpsc::channel(8);
        let (news, seen) = watch::channel(Seen::default());
        tokio::spawn(drive(muxer, ordered, news));
        Ok(Self { secret, orders, seen })
    }

    /// Dials a node and is admitted by its operator.
    ///
    /// # Panics
    /// When it is not.
    pub async fn admitted(to: &Station, name: &str, role: Role) -> Self {
        let stranger = Self::dial(to.home.port()).await.expect("a stranger is let as far as pairing");
        assert_eq!(stranger.knock(name, role).await, Reply::Pending);
        let id = stranger.secret().public().node_id();
        let _ = to.home.run(&format!("peer approve {id}")).await.done();
        stranger.again(to).await
    }

    /// The same key on a new connection.
    ///
    /// # Panics
    /// When it is not let in.
    pub async fn again(&self, to: &Station) -> Self {
        Self::dial_as(to.home.port(), Arc::clone(&self.secret)).await.expect("a peer is let in")
    }

    /// Its key.
    #[must_use]
    pub const fn secret(&self) -> &Arc<NodeSecret> {
        &self.secret
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Waits until the node closes the connection; false when it does not within this time.
    pub async fn is_closed_within(&self, limit: Duration) -> bool {
        let mut seen = self.seen.clone();
        timeout(limit, seen.wait_for(|seen| seen.closed)).await.is_ok()
    }

    /// A substream on which nothing is said yet; none when the connection is over.
    pub async fn substream(&self) -> Option<SubstreamBox> {
        let (reply, stream) = oneshot::channel();
        self.orders.send(reply).await.ok()?;
        stream.await.ok()
    }

    /// A substream of this protocol; none when the node does not serve it, or has closed the connection.
    ///
    /// # Panics
    /// When the node leaves it open.
    pub async fn open(&self, protocol: &str) -> Option<SubstreamBox> {
        let negotiation = async {
            let mut stream = self.substream().await?;
            let proposal = [line("/multistream/1.0.0"), line(protocol)].concat();
            stream.write_all(&proposal).await.ok()?;
            stream.flush().await.ok()?;
            let (greeting, answer) = (read_line(&mut stream).await.ok()?, read_line(&mut stream).await.ok()?);
            (greeting == line("/multistream/1.0.0")[1..] && answer == line(protocol)[1..]).then_some(stream)
        };
        timeout(DEADLINE, negotiation).await.expect("a negotiation ends")
    }

    /// Asks to be admitted by the node's operator.
    ///
    /// # Panics
    /// When the node does not serve pairing.
    pub async fn knock(&self, name: &str, role: Role) -> Reply {
        Self::knock_on(self.open(PAIR_PROTOCOL).await.expect("pairing is served"), name, role).await
    }

    /// The same on a substream that was opened for it.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn knock_on(mut stream: SubstreamBox, name: &str, role: Role) -> Reply {
        let name = name.parse().expect("a name");
        let knock = Knock { versions: vec![VERSION], name, role, door: Door::Approval };
        let bytes = codec::encode(&knock, MAX_PAIR_MESSAGE).expect("it fits");
        let length = u16::try_from(bytes.len()).expect("it fits").to_be_bytes();
        let conversation = async {
            stream.write_all(&[&length[..], &bytes].concat()).await?;
            stream.flush().await?;
            let mut length = [0; 2];
            stream.read_exact(&mut length).await?;
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut bytes).await?;
            codec::decode(&bytes, MAX_PAIR_MESSAGE).map_err(io::Error::other)
        };
        timeout(DEADLINE, conversation).await.expect("an answer comes").expect("an answer")
    }

    /// An honest greeting.
    #[must_use]
    pub fn hello(&self, name: &str, role: Role) -> Hello {
        Hello {
            versions: vec![VERSION],
            node_id: self.secret.public().node_id(),
            name: name.parse().expect("a name"),
            role,
            nonce: LinkNonce::generate(&mut rand::rng()),
            agent: "caller/1".into(),
            features: vec![],
            boot: None,
        }
    }

    /// Opens the link and greets; gives the node's greeting.
    ///
    /// # Panics
    /// When the node does not serve the link.
    pub async fn link(&self, hello: &Hello) -> Link {
        let stream = self.open(RPC_PROTOCOL).await.expect("the link is served");
        let mut link = Link { stream, hello: None };
        link.say(0, 0, &codec::encode(hello, MAX_BODY).expect("it fits")).await;
        link.hello = match link.hear().await {
            Some((0, _, payload)) => Some(codec::decode(&payload, MAX_BODY).expect("a greeting")),
            _ => None,
        };
        link
    }

    /// What seals requests on a link to this node.
    ///
    /// # Panics
    /// When the node did not greet.
    #[must_use]
    pub fn sender(&self, to: &Station, link: &Link) -> Sender {
        let nonce = link.hello.as_ref().expect("the node greets").nonce;
        Sender::new(Arc::clone(&self.secret), to.home.key(), nonce)
    }
}

/// A request, sealed; and what opens its answer.
///
/// # Panics
/// When it is larger than any may be.
pub fn sealed(sender: &mut Sender, request: &Request) -> (Vec<u8>, PendingAnswer) {
    let body = codec::encode(request, MAX_BODY).expect("it fits");
    sender.seal(&body, Duration::ZERO, &mut rand::rng()).expect("it can be sealed")
}

/// The answer that was sealed.
///
/// # Panics
/// When it is none to this request.
#[must_use]
pub fn opened(answer: PendingAnswer, payload: &[u8]) -> Response {
    let body = answer.open(payload).expect("an answer to this request");
    codec::decode(&body, MAX_BODY).expect("an answer")
}

/// The link's substream, frame by frame.
#[derive(Debug)]
pub struct Link {
    stream: SubstreamBox,
    /// What the node said of itself.
    pub hello: Option<Hello>,
}

impl Link {
    /// Sends bytes as they are; a node that has closed the stream hears nothing, which is no failure here.
    pub async fn say_bytes(&mut self, bytes: &[u8]) {
        // What became of it shows in what the node answers.
        let _ = timeout(DEADLINE, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await;
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When the payload is larger than any frame can say.
    pub async fn say(&mut self, kind: u8, id: u64, payload: &[u8]) {
        let length = u32::try_from(FRAME_HEADER + payload.len()).expect("it fits").to_be_bytes();
        self.say_bytes(&[&length[..], &[kind], &id.to_be_bytes(), payload].concat()).await;
    }

    /// The next frame: kind, id and payload; none when the node has ended the link.
    ///
    /// # Panics
    /// When nothing comes at all.
    pub async fn hear(&mut self) -> Option<(u8, u64, Vec<u8>)> {
        let frame = async {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await.ok()?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut frame).await.ok()?;
            let id = u64::from_be_bytes(frame.get(1..FRAME_HEADER)?.try_into().ok()?);
            Some((frame[0], id, frame[FRAME_HEADER..].to_vec()))
        };
        timeout(DEADLINE, frame).await.expect("a frame or the end comes")
    }

    /// The next answer or refusal to a request of ours; what the node itself asks meanwhile is left unanswered.
    pub async fn hear_answer(&mut self) -> Option<(u8, u64, Vec<u8>)> {
        loop {
            let frame = self.hear().await?;
            if matches!(frame.0, 2 | 3) {
                return Some(frame);
            }
        }
    }

    /// Keeps the heartbeat as the dialer does, reads everything, and answers no request: until the node ends the link.
    /// Gives how many requests it left.
    pub async fn keep_silent(&mut self) -> usize {
        let mut beats = interval(BEATS);
        let mut left = 0;
        loop {
            beats.tick().await;
            self.say(BEAT, ASKS, &[]).await;
            loop {
                match self.hear().await {
                    Some((BEAT, ..)) => break,
                    Some((REQUEST, ..)) => left += 1,
                    Some(_) => {}
                    None => return left,
                }
            }
            self.say(BEAT, CAME, &[]).await;
        }
    }

    /// Whether the node ends the link, whatever it says before.
    pub async fn ends(&mut self) -> bool {
        while self.hear().await.is_some() {}
        true
    }
}

/// A line of multistream-select; ours are shorter than 128 bytes, so that their length is one byte.
fn line(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).expect("a short line");
    [&[length], text.as_bytes(), b"\n"].concat()
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut length = [0];
    stream.read_exact(&mut length).await?;
    let mut line = vec![0; usize::from(length[0])];
    stream.read_exact(&mut line).await?;
    Ok(line)
}

/// Keeps the connection going until either side ends it.
async fn drive(
    mut muxer: StreamMuxerBox,
    mut orders: mpsc::Receiver<oneshot::Sender<SubstreamBox>>,
    news: watch::Sender<Seen>,
) {
    let mut asked: Option<oneshot::Sender<SubstreamBox>> = None;
    let mut kept = Vec::new();
    poll_fn(|cx| {
        loop {
            if asked.is_none() {
                match orders.poll_recv(cx) {
                    Poll::Ready(Some(order)) => asked = Some(order),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            if asked.is_some()
                && let Poll::Ready(opened) = muxer.poll_outbound_unpin(cx)
            {
                let Ok(stream) = opened else { return Poll::Ready(()) };
                // The test may have given up.
                let _ = asked.take().map(|reply| reply.send(stream));
                continue;
            }
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    news.send_modify(|seen| seen.opened += 1);
                    kept.push(stream);
                    continue;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            match muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    news.send_modify(|seen| seen.closed = true);
}
