//! What runs on a link that is up: its open requests both ways, its SMSG sessions, its heartbeat.
//!
//! Sealing and opening happen in the connection's task (see `turns`), off the swarm's.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::future::OptionFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt, StreamExt};
use miner_ctrl_protocol::codec::{self, CodecError, MAX_BODY};
use miner_ctrl_protocol::smsg::{Answerer, LinkNonce, OpenError, PendingAnswer, Proof, Receiver, Sender, Unsigned};
use miner_ctrl_protocol::{PeerKey, Refusal, Response};
use tokio::io::{AsyncWrite as _, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_util::codec::{Encoder, FramedRead};
use tokio_util::compat::Compat;

use super::allowance::Allowance;
use super::command::Counts;
use super::frame::{self, Frame, FrameError, Frames, Kind};
use super::heartbeat::{self, BEAT, DEAD, Heartbeat};
use super::link::{Answer, AskError, Greeting, LinkEnd, Order, Orders};
use super::signer::{AT_ONCE, Signer};

/// Open requests each way. A rig has a handful of operators.
const MAX_OPEN: usize = 32;
/// Bytes waiting to be sent above which no further request is taken up, ours or theirs: a peer that does not read its
/// answers is not given more. Answers are read all the same: of two that ask each other for much, each would wait for
/// the other to read.
const HIGH_WATER: usize = 2 * codec::MAX_MESSAGE;
/// Messages that wait for a signature above which no further one is taken up. Those that were taken up before may still
/// bring an answer each, and a stale refusal a request.
const LINK_BATCH: usize = 64;
const _: () = assert!(LINK_BATCH + 2 * MAX_OPEN <= AT_ONCE);
/// Refusals and Beats waiting to be sent above which nothing is read: an honest peer has fewer requests open.
const MAX_SHORT: usize = 2 * MAX_OPEN;
/// A clock that is later than this says that the whole process, or machine, stood still.
const LATE: Duration = Duration::from_secs(1);

/// Between two answers to Beats that go before what waits: an honest peer asks once in six seconds.
const BEATS_APART: Duration = Duration::from_secs(1);

/// How long a link that lost to another one may finish what is open.
const RETIRE: Duration = Duration::from_secs(30);
/// Requests that arrive and cannot be opened before the link is given up: one in a session's life is an accident.
const MAX_UNREADABLE: u32 = 64;

/// Why an answer that can be read is not taken.
const TOO_MUCH: &str = "it says more than a rig has to say";

/// The reading half: frames as they come.
pub(super) type Reading<S> = FramedRead<ReadHalf<Compat<S>>, Frames>;

/// An open request of ours.
struct Asked {
    body: Vec<u8>,
    answer: PendingAnswer,
    reply: oneshot::Sender<Result<Response, AskError>>,
    /// Sealed anew once already after a *stale* refusal.
    renewed: bool,
    sent: Instant,
}

/// A request of theirs that came while there was no room for its answer.
struct SetAside {
    id: u64,
    came: Instant,
    sealed: Bytes,
}

/// Its id, when it came, and what is said to it.
type Answered = (u64, Instant, Answerer, Response);

/// A message that is ready but for its signature, and the frame it goes into.
struct Message {
    kind: Kind,
    id: u64,
    unsigned: Unsigned,
}

/// The messages of one batch, with their proofs.
type Signed = (Vec<Message>, Option<Vec<Proof>>);

pub(super) struct Session<S> {
    peer: PeerKey,
    sender: Sender,
    receiver: Receiver,
    nonce: LinkNonce,
    out: Out<S>,
    signer: Signer,
    /// What goes out under the next signature.
    unsigned: Vec<Message>,
    /// Of their bodies, and of those that are being signed.
    unsigned_bytes: usize,
    open: HashMap<u64, Asked>,
    next_id: u64,
    /// [`MAX_OPEN`] at most: an honest peer has no more open.
    set_aside: VecDeque<SetAside>,
    answers: JoinSet<Answered>,
    answer: Arc<dyn Answer>,
    counts: Arc<Counts>,
    allowance: Arc<Mutex<Allowance>>,
    unreadable: u32,
    started: Instant,
    heartbeat: Heartbeat,
}

/// Who is at the other end, and what both ends have said in the greeting.
pub(super) struct Ends {
    pub(super) peer: PeerKey,
    /// Whether it was us who dialled.
    pub(super) dialer: bool,
    pub(super) greeting: Greeting,
    pub(super) theirs: LinkNonce,
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
    pub(super) fn new(
        Ends { peer, dialer, greeting, theirs }: Ends,
        out: Out<S>,
        answer: Arc<dyn Answer>,
        counts: Arc<Counts>,
        allowance: Arc<Mutex<Allowance>>,
    ) -> Self {
        let nonce = greeting.hello.nonce;
        let sender = Sender::new(greeting.secret, peer, theirs);
        Self {
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
            set_aside: VecDeque::new(),
            answers: JoinSet::new(),
            answer,
            counts,
            allowance,
            unreadable: 0,
            started: Instant::now(),
            heartbeat: Heartbeat::new(dialer, Instant::now()),
        }
    }

    /// Serves until the link ends; fine when it was told to.
    pub(super) async fn run(&mut self, mut frames: Reading<S>, mut orders: Orders) -> Result<(), LinkEnd> {
        let clock = tokio::time::sleep(BEAT);
        tokio::pin!(clock);
        self.ask_when_due(Instant::now());
        let mut signing: Option<Pin<Box<dyn Future<Output = Signed> + Send>>> = None;
        let mut retire: Option<Instant> = None;
        let mut closed = false;
        let mut seen = 0;
        loop {
            if retire.is_none() && orders.retired.load(Ordering::Relaxed) {
                // Callers that come now find the queue closed and take the other link.
                orders.queue.close();
                retire = Some(Instant::now() + RETIRE);
            }
            let idle = signing.is_none() && self.is_idle();
            if retire.is_some_and(|until| idle || Instant::now() >= until) {
                return Ok(());
            }
            tokio::select! {
                // What was begun before what is new, and reading before writing, so that what comes together leaves together.
                biased;
                Some(answered) = self.answers.join_next() => self.on_answered(answered),
                order = orders.queue.recv(), if !closed && self.may_ask() => match order {
                    Some(Order::Ask(ask)) => {
                        self.on_ask(ask.body, ask.reply);
                        drop(ask.coming);
                    }
                    Some(Order::Retire) => {}
                    None => {
                        closed = true;
                        retire = retire.or_else(|| Some(Instant::now() + RETIRE));
                    }
                },
                () = std::future::ready(()), if !self.set_aside.is_empty() && self.may_answer() => self.take_up()?,
                frame = frames.next(), if self.out.short < MAX_SHORT => {
                    let now = Instant::now();
                    self.heartbeat.heard(now);
                    self.on_frame(&frame.ok_or(LinkEnd::Closed)?.map_err(LinkEnd::from)?, now)?;
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
                    let partial = frames.read_buffer().len();
                    if partial > 0 && partial != seen {
                        self.heartbeat.crawls(Instant::now());
                    }
                    seen = partial;
                    self.on_clock(clock.as_mut())?;
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

    fn may_answer(&self) -> bool {
        self.answers.len() < MAX_OPEN && self.has_room()
    }

    fn is_idle(&self) -> bool {
        let ours_done = self.open.is_empty() && self.unsigned.is_empty() && !self.out.waits();
        ours_done && self.answers.is_empty() && self.set_aside.is_empty()
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
                self.open.insert(id, Asked { body, answer, reply, renewed, sent: Instant::now() });
            }
            Err(error) => {
                tracing::error!(peer = %self.peer.node_id(), %error, "cannot seal a request");
                // The asker may have given up.
                let _ = reply.send(Err(AskError::TooLarge));
            }
        }
    }

    fn on_frame(&mut self, frame: &Frame, now: Instant) -> Result<(), LinkEnd> {
        match frame.kind {
            Kind::Answer => self.on_answer(frame.id, &frame.payload),
            Kind::Beat => self.on_beat(frame.id, now),
            Kind::Hello => return Err(LinkEnd::Senseless(FrameError::Kind(Kind::Hello as u8))),
            Kind::Refused => self.on_refused(frame.id, &frame.payload),
            Kind::Request => self.on_request(SetAside { id: frame.id, came: now, sealed: frame.payload.clone() })?,
        }
        Ok(())
    }

    fn on_beat(&mut self, id: u64, now: Instant) {
        if let Some(said) = self.heartbeat.on_beat(id, now) {
            self.out.push_beat(said);
        }
        self.ask_when_due(now);
    }

    fn ask_when_due(&mut self, now: Instant) {
        if self.heartbeat.asks(now) {
            self.out.push_beat(heartbeat::ASKS);
        }
    }

    /// Takes a request off the list whose answer or refusal has come. One that nobody waits for any more is not on it.
    fn answered(&mut self, id: u64) -> Option<Asked> {
        let asked = self.open.remove(&id)?;
        self.heartbeat.heard_of(asked.sent);
        Some(asked)
    }

    fn on_answer(&mut self, id: u64, sealed: &[u8]) {
        let Some(asked) = self.answered(id) else { return };
        let opened = asked.answer.open(sealed).map_err(|error| error.to_string());
        let answer =
            opened.and_then(|body| codec::decode::<Response>(&body, MAX_BODY).map_err(|error| format!("{error:?}")));
        let answer =
            answer.and_then(|answer| answer.is_plausible().then_some(answer).ok_or_else(|| TOO_MUCH.to_owned()));
        let answer = answer.map_err(|error| {
            tracing::debug!(peer = %self.peer.node_id(), error, "an answer cannot be read");
            AskError::BadAnswer
        });
        // The asker may have given up.
        let _ = asked.reply.send(answer);
    }

    fn on_refused(&mut self, id: u64, payload: &[u8]) {
        let Some(asked) = self.answered(id) else { return };
        match codec::decode::<Refusal>(payload, MAX_BODY) {
            Ok(Refusal::Stale { nonce }) if !asked.renewed => {
                self.sender.renew(nonce);
                // Nothing was done: for an asker that gave up nothing shall be.
                if !asked.reply.is_closed() {
                    self.send(asked.body, asked.reply, true);
                }
            }
            Ok(refusal) if refusal.is_plausible() => drop(asked.reply.send(Err(AskError::Refused(refusal)))),
            Ok(_) | Err(_) => drop(asked.reply.send(Err(AskError::BadAnswer))),
        }
    }

    fn on_request(&mut self, request: SetAside) -> Result<(), LinkEnd> {
        if !self.within_rate() || self.answers.len() >= MAX_OPEN || self.set_aside.len() >= MAX_OPEN {
            self.refuse(request.id, &Refusal::Busy { retry_after_ms: 1000 });
            return Ok(());
        }
        self.set_aside.push_back(request);
        if self.may_answer() { self.take_up() } else { Ok(()) }
    }

    /// The oldest that was set aside.
    fn take_up(&mut self) -> Result<(), LinkEnd> {
        let Some(SetAside { id, came, sealed }) = self.set_aside.pop_front() else { return Ok(()) };
        let (body, answerer) = match self.receiver.open(&sealed) {
            Ok(opened) => opened,
            Err(error) => return self.on_unopened(id, &error),
        };
        match codec::decode_request(&body, MAX_BODY) {
            Ok(request) => {
                let mut answer = self.answer.answer(self.peer, request);
                match catch_unwind(AssertUnwindSafe(|| (&mut answer).now_or_never())) {
                    // Most are only read from what is known.
                    Ok(Some(response)) => self.push_answer(id, came, answerer, &response),
                    Ok(None) => drop(self.answers.spawn(async move { (id, came, answerer, answer.await) })),
                    // As in a task of its own: it costs its asker an answer, and nobody else the link.
                    Err(_) => tracing::error!("answering a request broke off"),
                }
            }
            Err(error) => {
                let refusal = match error {
                    CodecError::UnknownRequest(_) => Refusal::Unsupported,
                    _ => Refusal::Unreadable,
                };
                self.push_answer(id, came, answerer, &Response::Refused(refusal));
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
            Ok((id, came, answerer, response)) => self.push_answer(id, came, answerer, &response),
            // The asker meets its timeout; the panic hook has printed where it was.
            Err(error) => tracing::error!(%error, "answering a request broke off"),
        }
    }

    fn push_answer(&mut self, id: u64, came: Instant, answerer: Answerer, response: &Response) {
        let body = codec::encode(response, MAX_BODY).or_else(|_| {
            let limit = u32::try_from(MAX_BODY).unwrap_or(u32::MAX);
            codec::encode(&Response::Refused(Refusal::TooLarge { limit }), MAX_BODY)
        });
        match body.map(|body| answerer.prepare(body)) {
            Ok(Ok(unsigned)) => {
                self.heartbeat.answers(came, Instant::now());
                self.push_unsigned(Kind::Answer, id, unsigned);
            }
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

    fn within_rate(&self) -> bool {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }

    /// Woken a few times a minute, not at each frame: thousands of links share two cores.
    fn on_clock(&mut self, clock: Pin<&mut Sleep>) -> Result<(), LinkEnd> {
        let now = Instant::now();
        // We stood still ourselves, as a whole: what came meanwhile is not heard yet.
        let late = now.saturating_duration_since(clock.deadline());
        if late > LATE {
            self.heartbeat.stood_still(late, now);
            self.out.moved = now.min(self.out.moved + late);
        }
        self.ask_when_due(now);
        let end = self.heartbeat.since().max(self.out.moved) + DEAD;
        if now >= end {
            return Err(LinkEnd::Dead);
        }
        // Requests whose asker gave up must not keep the places of others.
        self.open.retain(|_, asked| !asked.reply.is_closed());
        // While a Beat is out the next may be due at any moment.
        let beat = self.heartbeat.due().map_or(now + BEAT, |due| due.max(now + LATE));
        clock.reset(end.min(beat));
        Ok(())
    }
}

/// The writing half: frames gather in one buffer and leave in one write.
pub(super) struct Out<S> {
    write: WriteHalf<Compat<S>>,
    bytes: BytesMut,
    /// Bytes at the front that are the rest of a frame which has left in part.
    begun: usize,
    /// Refusals and Beats that have not begun to leave.
    short: usize,
    /// When an answer to a Beat may go first again.
    first_due: Instant,
    /// Nothing more is taken, and when last something was after that: then the peer has said that it read some, or TCP that
    /// it came. So is a line that is full told from a dead one.
    stuck: bool,
    moved: Instant,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite> Out<S> {
    pub(super) fn new(write: WriteHalf<Compat<S>>) -> Self {
        Self {
            write,
            bytes: BytesMut::new(),
            begun: 0,
            short: 0,
            first_due: Instant::now(),
            stuck: false,
            moved: Instant::now(),
            unflushed: false,
        }
    }

    pub(super) fn push(&mut self, kind: Kind, id: u64, payload: &[u8]) {
        match Frames.encode((kind, id, payload), &mut self.bytes) {
            Ok(()) => self.short += usize::from(kind.is_short()),
            Err(error) => tracing::error!(%error, "a frame does not fit"),
        }
    }

    /// A Beat goes before all that waits: a slow line with much to carry is no dead one. That moves what waits, so that the
    /// answer to one of a flood goes behind it as anything else.
    fn push_beat(&mut self, id: u64) {
        if id == heartbeat::ANSWERS {
            let now = Instant::now();
            if now < self.first_due {
                return self.push(Kind::Beat, id, &[]);
            }
            self.first_due = now + BEATS_APART;
        }
        let waits = self.bytes.split_off(self.begun);
        self.push(Kind::Beat, id, &[]);
        self.bytes.unsplit(waits);
    }

    pub(super) fn waits(&self) -> bool {
        !self.bytes.is_empty() || self.unflushed
    }

    /// Writes some of what waits. Can be dropped at any await without losing or repeating a byte.
    pub(super) async fn drain(&mut self) -> std::io::Result<()> {
        if !self.bytes.is_empty() {
            let count = poll_fn(|cx| {
                let taken = Pin::new(&mut self.write).poll_write(cx, &self.bytes);
                self.stuck |= taken.is_pending();
                taken
            })
            .await?;
            if std::mem::take(&mut self.stuck) {
                self.moved = Instant::now();
            }
            if count == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.has_left(count);
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

    /// Takes off what has left, and finds the end of the frame that it ends in.
    fn has_left(&mut self, count: usize) {
        let mut end = self.begun;
        while end < count {
            // All of a frame is there but of one that has begun to leave: here one begins.
            let (length, short) = frame::at(&self.bytes[end..]);
            end += length;
            self.short -= usize::from(short);
        }
        self.begun = end - count;
        self.bytes.advance(count);
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
