//! One for each connected peer: its substream, its open requests both ways, its SMSG sessions, its heartbeat.
//!
//! Callers take the peer's [`Link`] and talk to what runs here; no request passes through the swarm. Sealing and opening
//! happen in the connection's task (see `turns`), off the swarm's.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::future::OptionFuture;
use futures::{FutureExt, StreamExt};
use libp2p::Stream;
use miner_ctrl_protocol::codec::{self, CodecError, MAX_BODY};
use miner_ctrl_protocol::message::Hello;
use miner_ctrl_protocol::smsg::{
    Answerer, LinkNonce, NodeSecret, OpenError, PendingAnswer, Proof, Receiver, Sender, Unsigned,
};
use miner_ctrl_protocol::{PeerKey, Refusal, Request, Response, VERSION};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_util::codec::{Encoder, FramedRead};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use super::command::Counts;
use super::frame::{Frame, FrameError, Frames, Kind};
use super::signer::{AT_ONCE, Coming, Signer};

/// Requests that wait for their turn; a caller that finds it full is told *Busy*.
const QUEUE: usize = 64;
/// Open requests each way. A rig has a handful of operators.
const MAX_OPEN: usize = 32;
/// Bytes waiting to be sent above which no further request is read: a peer that does not read its answers is not
/// given more.
const HIGH_WATER: usize = 2 * codec::MAX_MESSAGE;
/// Messages that wait for a signature above which no further one is taken up. Those that were taken up before may still
/// bring an answer each.
const LINK_BATCH: usize = 64;
const _: () = assert!(LINK_BATCH + 2 * MAX_OPEN <= AT_ONCE);
/// What a link keeps to read into; it grows for a longer frame. Thousands of links would each keep the 8 KB of default.
const READ_BUFFER: usize = 512;
/// How long the first frame may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// The dialer says "are you there?" after this long without a frame, and again; what is not answered by the time below
/// ends the link, so that a black-holed rig shows as offline within 15 s.
const BEAT: Duration = Duration::from_secs(6);
const DEAD: Duration = Duration::from_secs(13);
/// How long a link that lost to another one may finish what is open.
const RETIRE: Duration = Duration::from_secs(30);
/// Requests that arrive and cannot be opened before the link is given up: one in a session's life is an accident.
const MAX_UNREADABLE: u32 = 64;

/// How many requests a peer may make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestRate {
    /// In the long run.
    pub per_second: f64,
    /// At once, after a pause.
    pub burst: f64,
}

impl Default for RequestRate {
    /// A dashboard of one controller needs under 10 a second.
    fn default() -> Self {
        Self { per_second: 200.0, burst: 400.0 }
    }
}

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
    signer: Signer,
    /// What the peer said of itself.
    pub hello: Arc<Hello>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("peer", &self.hello.node_id).finish_non_exhaustive()
    }
}

enum Order {
    /// On the heap: a queue has places for 32 orders from its beginning, on each of thousands of links.
    Ask(Box<Ask>),
    Retire,
}

struct Ask {
    body: Vec<u8>,
    reply: oneshot::Sender<Result<Response, AskError>>,
    coming: Coming,
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

    /// Finishes what is open, takes nothing new, and ends.
    pub(crate) fn retire(&self) {
        // A full queue means that it is about to be noticed closed anyway, or that the peer is gone.
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
    #[error("too many messages that cannot be opened")]
    Unreadable,
    #[error("no common version of the protocol")]
    Version,
}

/// What a link needs to run.
pub(crate) struct LinkTask {
    pub(crate) peer: PeerKey,
    pub(crate) stream: Stream,
    /// The dialer opens the substream and keeps the heartbeat.
    pub(crate) dialer: bool,
    pub(crate) greeting: Greeting,
    pub(crate) answer: Arc<dyn Answer>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) rate: RequestRate,
}

/// A link that is up.
struct Greeted {
    session: Box<Session>,
    frames: FramedRead<ReadHalf<Compat<Stream>>, Frames>,
    orders: mpsc::Receiver<Order>,
    dialer: bool,
}

impl LinkTask {
    /// Greets, tells `up`, and serves until the link ends. When `up` says false nobody takes it and it ends.
    ///
    /// What only the greeting needs is on the heap until it is done: this future is as large as the rest, and there are
    /// thousands.
    pub(crate) fn run(self, up: impl FnOnce(Link) -> bool + Send + 'static) -> impl Future<Output = LinkEnd> + Send {
        let greeting = Box::pin(self.greet(up));
        async move {
            let Greeted { mut session, frames, orders, dialer } = match greeting.await {
                Ok(greeted) => greeted,
                Err(end) => return end,
            };
            match session.run(frames, orders, dialer).await {
                Ok(()) => LinkEnd::Retired,
                Err(end) => end,
            }
        }
    }

    async fn greet(self, up: impl FnOnce(Link) -> bool + Send) -> Result<Greeted, LinkEnd> {
        let Self { peer, stream, dialer, greeting, answer, counts, rate } = self;
        let (read, write) = tokio::io::split(stream.compat());
        let mut frames = FramedRead::with_capacity(read, Frames, READ_BUFFER);
        let mut out = Out { write, bytes: BytesMut::new(), unflushed: false };

        let hello = codec::encode(&greeting.hello, MAX_BODY).map_err(|_| LinkEnd::Version)?;
        out.push(Kind::Hello, 0, &hello);
        let theirs = tokio::time::timeout(HELLO_TIMEOUT, async {
            while out.waits() {
                out.drain().await.map_err(|error| LinkEnd::Senseless(error.into()))?;
            }
            frames.next().await.ok_or(LinkEnd::Closed)?.map_err(end_of)
        })
        .await
        .map_err(|_| LinkEnd::NoHello)??;
        let theirs = read_hello(&theirs, &peer)?;

        let (requests, orders) = mpsc::channel(QUEUE);
        let nonce = greeting.hello.nonce;
        let sender = Sender::new(greeting.secret, peer, theirs.nonce);
        let session = Box::new(Session {
            peer,
            receiver: Receiver::beside(&sender, nonce),
            sender,
            nonce,
            out,
            signer: greeting.signer,
            unsigned: Vec::new(),
            unsigned_bytes: 0,
            open: HashMap::new(),
            next_id: 0,
            answers: JoinSet::new(),
            answer,
            counts,
            rate,
            allowance: rate.burst,
            rated_at: Instant::now(),
            unreadable: 0,
            heard: Instant::now(),
            started: Instant::now(),
        });
        if !up(Link { requests, signer: session.signer.clone(), hello: Arc::new(theirs) }) {
            return Err(LinkEnd::Crowded);
        }
        Ok(Greeted { session, frames, orders, dialer })
    }
}

fn read_hello(frame: &Frame, peer: &PeerKey) -> Result<Hello, LinkEnd> {
    if frame.kind != Kind::Hello {
        return Err(LinkEnd::NoHello);
    }
    let hello: Hello = codec::decode(&frame.payload, MAX_BODY).map_err(|_| LinkEnd::NoHello)?;
    if !hello.versions.contains(&VERSION) {
        return Err(LinkEnd::Version);
    }
    if hello.node_id != peer.node_id() {
        return Err(LinkEnd::FalseHello);
    }
    Ok(hello)
}

fn end_of(error: FrameError) -> LinkEnd {
    match error {
        FrameError::Stream(_) => LinkEnd::Closed,
        other => LinkEnd::Senseless(other),
    }
}

/// An open request of ours.
struct Asked {
    body: Vec<u8>,
    answer: PendingAnswer,
    reply: oneshot::Sender<Result<Response, AskError>>,
    /// Sealed anew once already after a *stale* refusal.
    renewed: bool,
}

type Answered = (u64, Answerer, Response);

/// A message that is ready but for its signature, and the frame it goes into.
struct Message {
    kind: Kind,
    id: u64,
    unsigned: Unsigned,
}

/// The messages of one batch, with their proofs.
type Signed = (Vec<Message>, Option<Vec<Proof>>);

struct Session {
    peer: PeerKey,
    sender: Sender,
    receiver: Receiver,
    nonce: LinkNonce,
    out: Out,
    signer: Signer,
    /// What goes out under the next signature.
    unsigned: Vec<Message>,
    /// Of their bodies, and of those that are being signed.
    unsigned_bytes: usize,
    open: HashMap<u64, Asked>,
    next_id: u64,
    answers: JoinSet<Answered>,
    answer: Arc<dyn Answer>,
    counts: Arc<Counts>,
    rate: RequestRate,
    allowance: f64,
    rated_at: Instant,
    unreadable: u32,
    heard: Instant,
    started: Instant,
}

impl Session {
    async fn run(
        &mut self,
        mut frames: FramedRead<ReadHalf<Compat<Stream>>, Frames>,
        mut orders: mpsc::Receiver<Order>,
        dialer: bool,
    ) -> Result<(), LinkEnd> {
        let clock = tokio::time::sleep(BEAT);
        tokio::pin!(clock);
        let mut signing: Option<Pin<Box<dyn Future<Output = Signed> + Send>>> = None;
        let mut retire: Option<Instant> = None;
        let mut closed = false;
        let mut seen = 0;
        loop {
            let idle = signing.is_none() && self.is_idle();
            if retire.is_some_and(|until| idle || Instant::now() >= until) {
                return Ok(());
            }
            tokio::select! {
                // What was begun before what is new, and reading before writing, so that what comes together leaves together.
                biased;
                Some(answered) = self.answers.join_next() => self.on_answered(answered),
                order = orders.recv(), if !closed && self.may_ask() => match order {
                    Some(Order::Ask(ask)) => {
                        self.on_ask(ask.body, ask.reply);
                        drop(ask.coming);
                    }
                    Some(Order::Retire) => {
                        // Callers that come now find the queue closed and take the other link.
                        orders.close();
                        retire = Some(Instant::now() + RETIRE);
                    }
                    None => {
                        closed = true;
                        retire = retire.or_else(|| Some(Instant::now() + RETIRE));
                    }
                },
                frame = frames.next(), if self.has_room() => {
                    self.heard = Instant::now();
                    self.on_frame(&frame.ok_or(LinkEnd::Closed)?.map_err(end_of)?, dialer)?;
                }
                signed = OptionFuture::from(signing.as_mut()), if signing.is_some() => {
                    signing = None;
                    self.on_signed(signed.unwrap_or_default());
                }
                // All that came together is there by now.
                () = std::future::ready(()), if signing.is_none() && !self.unsigned.is_empty() => {
                    signing = Some(self.sign());
                }
                sent = self.out.drain(), if self.out.waits() => sent.map_err(|_| LinkEnd::Closed)?,
                () = &mut clock => {
                    // A large frame on a slow line is a sign of life while it comes.
                    let partial = frames.read_buffer().len();
                    if partial > 0 && partial != seen {
                        self.heard = Instant::now();
                    }
                    seen = partial;
                    self.on_clock(clock.as_mut(), dialer)?;
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.unsigned.len() < LINK_BATCH && self.out.bytes.len() + self.unsigned_bytes < HIGH_WATER
    }

    fn may_ask(&self) -> bool {
        self.open.len() < MAX_OPEN && self.has_room()
    }

    fn is_idle(&self) -> bool {
        self.open.is_empty() && self.answers.is_empty() && self.unsigned.is_empty() && !self.out.waits()
    }

    fn push_unsigned(&mut self, kind: Kind, id: u64, unsigned: Unsigned) {
        self.unsigned_bytes += unsigned.body_length();
        self.unsigned.push(Message { kind, id, unsigned });
    }

    fn sign(&mut self) -> Pin<Box<dyn Future<Output = Signed> + Send>> {
        let messages = std::mem::take(&mut self.unsigned);
        let leaves = messages.iter().map(|message| message.unsigned.leaf()).collect();
        let proofs = self.signer.clone().sign(leaves);
        Box::pin(async move { (messages, proofs.await) })
    }

    fn on_signed(&mut self, (messages, proofs): Signed) {
        self.unsigned_bytes = self.unsigned.iter().map(|message| message.unsigned.body_length()).sum();
        // Without proofs the node is stopping, and this link with it.
        for (Message { kind, id, unsigned }, proof) in messages.into_iter().zip(proofs.iter().flatten()) {
            match unsigned.seal(proof) {
                Ok(sealed) => self.out.push(kind, id, &sealed),
                Err(error) => tracing::error!(peer = %self.peer.node_id(), %error, "cannot seal a message"),
            }
        }
    }

    fn on_ask(&mut self, body: Vec<u8>, reply: oneshot::Sender<Result<Response, AskError>>) {
        // The asker may have given up while it waited for its turn.
        if !reply.is_closed() {
            self.send(body, reply, false);
        }
    }

    fn send(&mut self, body: Vec<u8>, reply: oneshot::Sender<Result<Response, AskError>>, renewed: bool) {
        match self.sender.prepare(body.clone(), self.started.elapsed(), &mut rand::rng()) {
            Ok((unsigned, answer)) => {
                let id = self.next_id;
                self.next_id += 1;
                self.push_unsigned(Kind::Request, id, unsigned);
                self.open.insert(id, Asked { body, answer, reply, renewed });
            }
            Err(error) => {
                tracing::error!(peer = %self.peer.node_id(), %error, "cannot seal a request");
                // The asker may have given up.
                let _ = reply.send(Err(AskError::TooLarge));
            }
        }
    }

    fn on_frame(&mut self, frame: &Frame, dialer: bool) -> Result<(), LinkEnd> {
        match frame.kind {
            Kind::Answer => self.on_answer(frame.id, &frame.payload),
            Kind::Beat if dialer => {}
            Kind::Beat => self.out.push(Kind::Beat, 1, &[]),
            Kind::Hello => return Err(LinkEnd::NoHello),
            Kind::Refused => self.on_refused(frame.id, &frame.payload),
            Kind::Request => self.on_request(frame.id, &frame.payload)?,
        }
        Ok(())
    }

    fn on_answer(&mut self, id: u64, sealed: &[u8]) {
        // An answer that nobody waits for any more is dropped with the request.
        let Some(asked) = self.open.remove(&id) else { return };
        let opened = asked.answer.open(sealed).map_err(|error| error.to_string());
        let answer =
            opened.and_then(|body| codec::decode::<Response>(&body, MAX_BODY).map_err(|error| error.to_string()));
        let answer = answer.map_err(|error| {
            tracing::debug!(peer = %self.peer.node_id(), error, "an answer cannot be read");
            AskError::BadAnswer
        });
        // The asker may have given up.
        let _ = asked.reply.send(answer);
    }

    fn on_refused(&mut self, id: u64, payload: &[u8]) {
        let Some(asked) = self.open.remove(&id) else { return };
        match codec::decode::<Refusal>(payload, MAX_BODY) {
            Ok(Refusal::Stale { nonce }) if !asked.renewed => {
                self.sender.renew(nonce);
                self.send(asked.body, asked.reply, true);
            }
            Ok(refusal) => drop(asked.reply.send(Err(AskError::Refused(refusal)))),
            Err(_) => drop(asked.reply.send(Err(AskError::BadAnswer))),
        }
    }

    fn on_request(&mut self, id: u64, sealed: &[u8]) -> Result<(), LinkEnd> {
        if !self.within_rate() || self.answers.len() >= MAX_OPEN {
            self.refuse(id, &Refusal::Busy { retry_after_ms: 1000 });
            return Ok(());
        }
        let (body, answerer) = match self.receiver.open(sealed) {
            Ok(opened) => opened,
            Err(error) => return self.on_unopened(id, &error),
        };
        match codec::decode_request(&body, MAX_BODY) {
            Ok(request) => {
                let mut answer = self.answer.answer(self.peer, request);
                match catch_unwind(AssertUnwindSafe(|| (&mut answer).now_or_never())) {
                    // Most are only read from what is known.
                    Ok(Some(response)) => self.push_answer(id, answerer, &response),
                    Ok(None) => drop(self.answers.spawn(async move { (id, answerer, answer.await) })),
                    // As in a task of its own: it costs its asker an answer, and nobody else the link.
                    Err(_) => tracing::error!("answering a request broke off"),
                }
            }
            Err(error) => {
                let refusal = match error {
                    CodecError::UnknownRequest(_) => Refusal::Unsupported,
                    _ => Refusal::Unreadable,
                };
                self.push_answer(id, answerer, &Response::Refused(refusal));
            }
        }
        Ok(())
    }

    fn on_unopened(&mut self, id: u64, error: &OpenError) -> Result<(), LinkEnd> {
        tracing::debug!(peer = %self.peer.node_id(), %error, "a message was refused");
        self.counts.messages_refused.record(error);
        let refusal = error.refusal(self.nonce);
        // Honest peers meet a stale session; nothing else that cannot be opened comes from one.
        if !matches!(refusal, Refusal::Stale { .. }) {
            self.unreadable += 1;
            if self.unreadable > MAX_UNREADABLE {
                return Err(LinkEnd::Unreadable);
            }
        }
        self.refuse(id, &refusal);
        Ok(())
    }

    fn on_answered(&mut self, answered: Result<Answered, tokio::task::JoinError>) {
        match answered {
            Ok((id, answerer, response)) => self.push_answer(id, answerer, &response),
            // The asker meets its timeout; the panic hook has printed where it was.
            Err(error) => tracing::error!(%error, "answering a request broke off"),
        }
    }

    fn push_answer(&mut self, id: u64, answerer: Answerer, response: &Response) {
        let body = codec::encode(response, MAX_BODY).or_else(|_| {
            let limit = u32::try_from(MAX_BODY).unwrap_or(u32::MAX);
            codec::encode(&Response::Refused(Refusal::TooLarge { limit }), MAX_BODY)
        });
        match body.map(|body| answerer.prepare(body)) {
            Ok(Ok(unsigned)) => self.push_unsigned(Kind::Answer, id, unsigned),
            Ok(Err(error)) => tracing::error!(%error, "cannot seal an answer"),
            Err(error) => tracing::error!(%error, "cannot encode an answer"),
        }
    }

    fn refuse(&mut self, id: u64, refusal: &Refusal) {
        match codec::encode(refusal, MAX_BODY) {
            Ok(payload) => self.out.push(Kind::Refused, id, &payload),
            Err(error) => tracing::error!(%error, "cannot encode a refusal"),
        }
    }

    fn within_rate(&mut self) -> bool {
        let now = Instant::now();
        let earned = now.duration_since(self.rated_at).as_secs_f64() * self.rate.per_second;
        self.allowance = (self.allowance + earned).min(self.rate.burst);
        self.rated_at = now;
        let within = self.allowance >= 1.0;
        if within {
            self.allowance -= 1.0;
        }
        within
    }

    /// Woken a few times a minute, not at each frame: thousands of links share two cores.
    fn on_clock(&mut self, clock: Pin<&mut Sleep>, dialer: bool) -> Result<(), LinkEnd> {
        let now = Instant::now();
        let silent = now.duration_since(self.heard);
        if silent >= DEAD {
            return Err(LinkEnd::Dead);
        }
        if dialer && silent >= BEAT {
            self.out.push(Kind::Beat, 0, &[]);
        }
        // Requests whose asker gave up must not keep the places of others.
        self.open.retain(|_, asked| !asked.reply.is_closed());
        let next = if silent < BEAT { BEAT - silent } else { BEAT.min(DEAD - silent) };
        clock.reset(now + next);
        Ok(())
    }
}

/// The writing half: frames gather in one buffer and leave in one write.
struct Out {
    write: WriteHalf<Compat<Stream>>,
    bytes: BytesMut,
    unflushed: bool,
}

impl Out {
    fn push(&mut self, kind: Kind, id: u64, payload: &[u8]) {
        if let Err(error) = Frames.encode((kind, id, payload), &mut self.bytes) {
            tracing::error!(%error, "a frame does not fit");
        }
    }

    fn waits(&self) -> bool {
        !self.bytes.is_empty() || self.unflushed
    }

    /// Writes some of what waits. Can be dropped at any await without losing or repeating a byte.
    async fn drain(&mut self) -> std::io::Result<()> {
        if !self.bytes.is_empty() {
            self.write.write_buf(&mut self.bytes).await?;
            self.unflushed = true;
        }
        if self.bytes.is_empty() {
            // Freed, not cleared: thousands of links would each keep their largest message.
            self.bytes = BytesMut::new();
            self.write.flush().await?;
            self.unflushed = false;
        }
        Ok(())
    }
}
