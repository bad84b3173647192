//! One for each connected peer. It begins with a greeting; then a [`Session`] runs.
//!
//! Callers take the peer's [`Link`] and talk to what runs there; no request passes through the swarm.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, StreamExt};
use miner_ctrl_protocol::codec::{self, MAX_BODY};
use miner_ctrl_protocol::message::Hello;
use miner_ctrl_protocol::smsg::NodeSecret;
use miner_ctrl_protocol::{PeerKey, Refusal, Request, Response, VERSION};
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::FramedRead;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::allowance::{Allowance, Rate};
use super::command::Counts;
use super::frame::{Frame, FrameError, Frames, Kind};
use super::heartbeat::DEAD;
use super::session::{Ends, Out, Reading, Session};
use super::signer::{Coming, Signer};

/// Requests that wait for their turn; a caller that finds it full is told *Busy*.
const QUEUE: usize = 64;
/// What a link keeps to read into; it grows for a longer frame. Thousands of links would each keep the 8 KB of default.
const READ_BUFFER: usize = 512;
/// How long the first frame may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a peer may ask, on however many links one after the other. A dashboard of one controller needs under 10 a
/// second.
pub const REQUEST_RATE: Rate = Rate { per_second: 200.0, burst: 400.0 };

/// Answers requests of a peer; the worker implements it.
pub trait Answer: Send + Sync + 'static {
    /// What this node does when `peer` asks. It is bounded in time by itself.
    fn answer(&self, peer: PeerKey, request: Request) -> Pin<Box<dyn Future<Output = Response> + Send>>;
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AskError {
    /// Too many requests wait already; nothing was sent.
    #[error("too many requests to this peer wait already")]
    Busy,
    /// The peer answered with bytes that are no answer.
    #[error("an answer that cannot be read")]
    BadAnswer,
    /// The connection ended after the request was sent: it may have been carried out or not.
    #[error("the connection ended before the answer came")]
    Lost,
    /// Refused before it was opened.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The request does not fit one message.
    #[error("the request is too large")]
    TooLarge,
    /// No answer in time: it may have been carried out or not.
    #[error("no answer in time")]
    Timeout,
    /// No connection; nothing was sent.
    #[error("not connected")]
    Unreachable,
}

/// What this node says of itself in Hello.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) hello: Hello,
    pub(crate) secret: Arc<NodeSecret>,
    pub(crate) signer: Signer,
}

/// A way to a peer that is up.
#[derive(Clone)]
pub struct Link {
    requests: mpsc::Sender<Order>,
    retired: Arc<AtomicBool>,
    signer: Signer,
    /// What the peer said of itself.
    pub hello: Arc<Hello>,
}

/// How long one may take to say that it lives, whose key another program uses: most answer in milliseconds.
const LIVES: Duration = Duration::from_secs(5);

impl Link {
    /// Whether somebody answers at its other end.
    pub(super) async fn is_answered(&self) -> bool {
        matches!(self.ask(&Request::Ping { sent_at: 0 }, LIVES).await, Ok(Response::Pong { .. }))
    }
}

/// What a node of this key may say first.
#[cfg(test)]
pub(super) fn greeting_of(key: &PeerKey) -> Hello {
    Hello {
        versions: vec![VERSION],
        node_id: key.node_id(),
        name: "a-node".parse().expect("a name"),
        role: miner_ctrl_protocol::Role::Dual,
        nonce: miner_ctrl_protocol::smsg::LinkNonce::generate(&mut rand::rng()),
        agent: String::new(),
        features: vec![],
        boot: None,
    }
}

#[cfg(test)]
impl Link {
    /// One whose session a test plays.
    pub(super) fn played() -> (Self, Orders) {
        let secret = Arc::new(NodeSecret::from_seed(&[1; 32]).expect("a seed"));
        let hello = greeting_of(&secret.public());
        let (requests, queue) = mpsc::channel(QUEUE);
        let (signer, retired) = (Signer::new(secret), Arc::default());
        let orders = Orders { queue, retired: Arc::clone(&retired) };
        (Self { requests, retired, signer, hello: Arc::new(hello) }, orders)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("peer", &self.hello.node_id).finish_non_exhaustive()
    }
}

pub(super) enum Order {
    /// On the heap: a queue has places for 32 orders from its beginning, on each of thousands of links.
    Ask(Box<Ask>),
    /// Look whether the link is to retire.
    Retire,
}

pub(super) struct Ask {
    pub(super) body: Vec<u8>,
    pub(super) reply: oneshot::Sender<Result<Response, AskError>>,
    pub(super) coming: Coming,
}

impl Link {
    /// Asks the peer and waits for its answer.
    ///
    /// # Errors
    /// [`AskError`]; after [`AskError::Lost`] and [`AskError::Timeout`] it is not known whether the request was
    /// carried out.
    pub async fn ask(&self, request: &Request, limit: Duration) -> Result<Response, AskError> {
        let body = codec::encode(request, MAX_BODY).map_err(|_| AskError::TooLarge)?;
        let (reply, answer) = oneshot::channel();
        let coming = self.signer.announce();
        self.requests.try_send(Order::Ask(Box::new(Ask { body, reply, coming }))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Unreachable,
        })?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(AskError::Lost),
            Err(_) => Err(AskError::Timeout),
        }
    }

    /// Says that something will be asked soon, until what it gives is dropped: who signs something meanwhile first lets
    /// others run, which may want to be signed for too.
    pub(crate) fn announce(&self) -> Coming {
        self.signer.announce()
    }

    /// Finishes what is open, takes nothing new of ours, and ends. What the peer sends meanwhile is answered.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        // A nudge; where the queue is full it is not asleep.
        let _ = self.requests.try_send(Order::Retire);
    }

    /// Whether both are the same link.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.requests.same_channel(&other.requests)
    }
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkEnd {
    #[error("the peer closed the connection")]
    Closed,
    #[error("too many links come up at once")]
    Crowded,
    #[error("no sign of life for {} s", DEAD.as_secs())]
    Dead,
    #[error("it says it is another node than its key")]
    FalseHello,
    #[error("no greeting in time")]
    NoHello,
    #[error("another connection to the same peer took over")]
    Retired,
    #[error("bytes that make no sense")]
    Senseless(#[source] FrameError),
    #[error("its greeting cannot be read: it may be of another version of miner-ctrl")]
    Unintelligible,
    #[error("too many messages that cannot be opened")]
    Unreadable,
    #[error("no common version of the protocol")]
    Version,
}

impl From<FrameError> for LinkEnd {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Stream(_) => Self::Closed,
            other => Self::Senseless(other),
        }
    }
}

/// What a link needs to run on its substream.
pub(crate) struct LinkTask<S> {
    pub(crate) peer: PeerKey,
    pub(crate) stream: S,
    /// The dialer opens the substream and keeps the heartbeat.
    pub(crate) dialer: bool,
    pub(crate) greeting: Greeting,
    pub(crate) answer: Arc<dyn Answer>,
    pub(crate) counts: Arc<Counts>,
    /// Shared with the peer's other links, and with those before: it costs nothing to come anew.
    pub(super) allowance: Arc<Mutex<Allowance>>,
}

/// A link that is up.
struct Greeted<S> {
    session: Box<Session<S>>,
    frames: Reading<S>,
    orders: Orders,
}

/// What a link is told to do.
pub(super) struct Orders {
    pub(super) queue: mpsc::Receiver<Order>,
    /// Set apart from the queue, which may be full.
    pub(super) retired: Arc<AtomicBool>,
}

impl Drop for Orders {
    /// What still waits for its turn was never sent, and is not in doubt.
    fn drop(&mut self) {
        self.queue.close();
        while let Ok(order) = self.queue.try_recv() {
            if let Order::Ask(ask) = order {
                // The asker may have given up.
                let _ = ask.reply.send(Err(AskError::Unreachable));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> LinkTask<S> {
    /// Greets, tells `up`, and serves until the link ends. When `up` says false nobody takes it and it ends.
    ///
    /// What only the greeting needs is on the heap until it is done: this future is as large as the rest, and there are
    /// thousands.
    pub(crate) fn run(self, up: impl FnOnce(Link) -> bool + Send + 'static) -> impl Future<Output = LinkEnd> + Send {
        let greeting = Box::pin(self.greet(up));
        async move {
            let Greeted { mut session, frames, orders } = match greeting.await {
                Ok(greeted) => greeted,
                Err(end) => return end,
            };
            match session.run(frames, orders).await {
                Ok(()) => LinkEnd::Retired,
                Err(end) => end,
            }
        }
    }

    async fn greet(self, up: impl FnOnce(Link) -> bool + Send) -> Result<Greeted<S>, LinkEnd> {
        let Self { peer, stream, dialer, greeting, answer, counts, allowance } = self;
        let (read, write) = tokio::io::split(stream.compat());
        let mut frames = FramedRead::with_capacity(read, Frames, READ_BUFFER);
        let mut out = Out::new(write);

        let hello = codec::encode(&greeting.hello, MAX_BODY).map_err(|_| LinkEnd::Version)?;
        out.push(Kind::Hello, 0, &hello);
        let theirs = tokio::time::timeout(HELLO_TIMEOUT, async {
            while out.waits() {
                out.drain().await.map_err(|_| LinkEnd::Closed)?;
            }
            frames.next().await.ok_or(LinkEnd::Closed)?.map_err(LinkEnd::from)
        })
        .await
        .map_err(|_| LinkEnd::NoHello)??;
        let theirs = read_hello(&theirs, &peer)?;

        let (requests, orders) = mpsc::channel(QUEUE);
        let signer = greeting.signer.clone();
        let ends = Ends { peer, dialer, greeting, theirs: theirs.nonce };
        let session = Box::new(Session::new(ends, out, answer, counts, allowance));
        let retired = Arc::new(AtomicBool::new(false));
        if !up(Link { requests, retired: Arc::clone(&retired), signer, hello: Arc::new(theirs) }) {
            return Err(LinkEnd::Crowded);
        }
        Ok(Greeted { session, frames, orders: Orders { queue: orders, retired } })
    }
}

fn read_hello(frame: &Frame, peer: &PeerKey) -> Result<Hello, LinkEnd> {
    if frame.kind != Kind::Hello {
        return Err(LinkEnd::Unintelligible);
    }
    let hello: Hello = codec::decode(&frame.payload, MAX_BODY).map_err(|_| LinkEnd::Unintelligible)?;
    if !hello.versions.contains(&VERSION) {
        return Err(LinkEnd::Version);
    }
    if hello.node_id != peer.node_id() {
        return Err(LinkEnd::FalseHello);
    }
    Ok(hello)
}
