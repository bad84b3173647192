//! The one task that looks at the node, and what it tells.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use miner_ctrl_protocol::NodeId;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::columns::Row;
use super::places::Places;
use super::table::{Change, Table};
use crate::access::book::unix_now;
use crate::gzip;
use crate::jobs::Jobs;
use crate::node::{Node, PendingView};
use crate::records::Activity;

/// How often the node is looked at while anybody listens.
const TICK: Duration = Duration::from_secs(1);

/// How often everybody hears something, so that a page knows a dead stream from a quiet fleet.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Frames that a slow reader may lag behind: a look at the node makes a handful, so that it is half a minute and more.
/// Beyond, it gets `hello` and a snapshot, and asks anew for what neither holds: jobs that ended, and activities.
const RING: usize = 128;

/// Activities that wait for the next look at the node; more go at once, all in one frame. Jobs over thousands of rigs
/// that answer at once must not fill [`RING`], and a frame of these has some 100 KiB.
const GATHERED: usize = 256;

/// Which events a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topics {
    pub(crate) activity: bool,
    pub(crate) fleet: bool,
    pub(crate) jobs: bool,
    pub(crate) pairing: bool,
}

/// Text for the wire, shared by all streams: an event, several, or a part of one.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) topic: Topic,
    text: Arc<Text>,
}

#[derive(Debug)]
struct Text {
    plain: Bytes,
    /// When somebody wants it so.
    gzip: OnceLock<gzip::Piece>,
}

impl Frame {
    fn new(topic: Topic, text: impl Into<Bytes>) -> Self {
        Self { topic, text: Arc::new(Text { plain: text.into(), gzip: OnceLock::new() }) }
    }

    pub(super) fn plain(&self) -> &Bytes {
        &self.text.plain
    }

    /// Compressed by whoever is first.
    pub(super) fn gzip(&self) -> &gzip::Piece {
        self.text.gzip.get_or_init(|| gzip::Piece::of(&self.text.plain))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Activity,
    All,
    Fleet,
    Jobs,
    Pairing,
}

/// The live events of one gateway.
#[derive(Debug)]
pub(crate) struct Live<N>(Arc<Shared<N>>);

#[derive(Debug)]
pub(super) struct Shared<N> {
    node: N,
    jobs: Jobs,
    /// Ends every stream.
    pub(super) stop: CancellationToken,
    pub(super) places: Places,
    boot: String,
    frames: broadcast::Sender<Frame>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    sequence: u64,
    table: Table,
    /// The snapshot of the table's version, when somebody has asked for it, without its id.
    snapshot: Option<(u64, Frame)>,
    pending: Vec<PendingView>,
    /// Events of activities that wait to be sent, and how many.
    activities: (Vec<u8>, usize),
}

/// What a stream begins with: everything up to here, and a receiver of what comes after.
pub(super) struct Beginning {
    pub(super) frames: Vec<Frame>,
    pub(super) later: broadcast::Receiver<Frame>,
}

impl<N> Clone for Live<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N: Node> Live<N> {
    pub(crate) fn new(node: N, jobs: Jobs, stop: CancellationToken) -> Self {
        let boot = format!("{:08x}", rand::random::<u32>());
        let (frames, _) = broadcast::channel(RING);
        Self(Arc::new(Shared { node, jobs, stop, places: Places::default(), boot, frames, state: Mutex::default() }))
    }

    pub(super) fn shared(&self) -> &Shared<N> {
        &self.0
    }

    /// Streams that are open.
    pub(crate) fn streams(&self) -> usize {
        self.0.places.taken()
    }

    /// Tells what somebody did.
    pub(crate) fn tell(&self, activity: &Activity) {
        let mut state = self.0.state();
        if state.running
            && let Ok(data) = serde_json::to_vec(activity)
        {
            let event = self.0.event(&mut state, "activity", &data);
            state.activities.0.extend_from_slice(&event);
            state.activities.1 += 1;
            if state.activities.1 >= GATHERED {
                self.0.tell_activities(&mut state);
            }
        }
    }

    /// Listens from now on; the first listener sets the task going.
    pub(super) async fn listen(&self) -> Beginning {
        loop {
            {
                let mut state = self.0.state();
                if state.running {
                    return self.0.beginning(&mut state);
                }
            }
            let (rows, pending) = self.0.look().await;
            let mut state = self.0.state();
            if !state.running {
                state.running = true;
                // What changed while nobody listened stands in the jobs themselves.
                drop(self.0.jobs.take_changes());
                state.table.update(rows, unix_now());
                state.pending = pending;
                // Listens before the task looks whether anybody does.
                let beginning = self.0.beginning(&mut state);
                let this = self.clone();
                tokio::spawn(async move { this.run().await });
                return beginning;
            }
        }
    }

    /// What a reader that lagged goes on from.
    pub(super) fn listen_again(&self) -> Beginning {
        self.0.beginning(&mut self.0.state())
    }

    async fn run(self) {
        let shared = &self.0;
        let _rest = RestWhenBroken(shared);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let (rows, pending) = shared.look().await;
            let mut state = shared.state();
            // Under the lock: whoever begins to listen either is seen here or finds the task ended and starts another.
            if shared.frames.receiver_count() == 0 {
                break state.rest();
            }
            shared.tell_activities(&mut state);
            shared.tell_changes(&mut state, rows, pending);
            shared.tell_jobs(&mut state);
            if heard.elapsed() >= HEARTBEAT {
                heard = Instant::now();
                let data = json!({ "at": unix_now() }).to_string();
                shared.send(&mut state, Topic::All, "hb", data.as_bytes());
            }
        }
    }
}

/// A task that breaks off is over: whoever listens next starts another.
struct RestWhenBroken<'a, N: Node>(&'a Shared<N>);

impl<N: Node> Drop for RestWhenBroken<'_, N> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().rest();
        }
    }
}

impl State {
    /// Forgets everything but how far the events are counted.
    fn rest(&mut self) {
        *self = Self { sequence: self.sequence, ..Self::default() };
    }
}

impl<N: Node> Shared<N> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self) -> (Vec<Row>, Vec<PendingView>) {
        let own: NodeId = self.node.info().await.id;
        let rows = self.node.fleet().await.iter().map(|view| Row::new(view, own)).collect();
        (rows, self.node.pending().await)
    }

    fn tell_activities(&self, state: &mut State) {
        let (events, count) = std::mem::take(&mut state.activities);
        if count > 0 {
            // Nobody listening is fine.
            let _ = self.frames.send(Frame::new(Topic::Activity, events));
        }
    }

    fn tell_changes(&self, state: &mut State, rows: Vec<Row>, pending: Vec<PendingView>) {
        for change in state.table.update(rows, unix_now()) {
            match change {
                Change::Anew => {
                    for frame in self.snapshot(state) {
                        // Nobody listening is fine.
                        let _ = self.frames.send(frame);
                    }
                }
                Change::Delta(data) => self.send(state, Topic::Fleet, "delta", &data),
                Change::Peers(data) => self.send(state, Topic::Fleet, "peers", &data),
            }
        }
        let same = |one: &PendingView, other: &PendingView| one.id == other.id && one.words == other.words;
        if pending.len() != state.pending.len() || !pending.iter().zip(&state.pending).all(|(a, b)| same(a, b)) {
            state.pending = pending;
            let data = pending_document(&state.pending);
            self.send(state, Topic::Pairing, "pairing", data.as_bytes());
        }
    }

    fn tell_jobs(&self, state: &mut State) {
        for change in self.jobs.take_changes() {
            if let Ok(data) = serde_json::to_vec(&change) {
                self.send(state, Topic::Jobs, "job", &data);
            }
        }
    }

    fn beginning(&self, state: &mut State) -> Beginning {
        // Those that wait have an id already: they came before.
        self.tell_activities(state);
        let later = self.frames.subscribe();
        let data = json!({ "boot": self.boot, "version": env!("CARGO_PKG_VERSION"), "hz": 1 }).to_string();
        let hello = self.frame(state, Topic::All, "hello", data.as_bytes());
        let [id, snapshot] = self.snapshot(state);
        let pairing = self.frame(state, Topic::Pairing, "pairing", pending_document(&state.pending).as_bytes());
        let mut frames = vec![hello, id, snapshot, pairing];
        for job in self.jobs.beginnings() {
            frames.extend(serde_json::to_vec(&job).map(|data| self.frame(state, Topic::Jobs, "job", &data)));
        }
        Beginning { frames, later }
    }

    /// An id of its own each time, and what follows it: large, and the same for all while nothing changes.
    fn snapshot(&self, state: &mut State) -> [Frame; 2] {
        let version = state.table.version();
        let snapshot = match &state.snapshot {
            Some((of, snapshot)) if *of == version => snapshot.clone(),
            _ => Frame::new(Topic::Fleet, encode("snapshot", &state.table.snapshot())),
        };
        state.snapshot = Some((version, snapshot.clone()));
        [Frame::new(Topic::Fleet, self.next_id(state)), snapshot]
    }

    fn send(&self, state: &mut State, topic: Topic, name: &str, data: &[u8]) {
        let frame = self.frame(state, topic, name, data);
        // Nobody listening is fine.
        let _ = self.frames.send(frame);
    }

    fn frame(&self, state: &mut State, topic: Topic, name: &str, data: &[u8]) -> Frame {
        Frame::new(topic, self.event(state, name, data))
    }

    fn event(&self, state: &mut State, name: &str, data: &[u8]) -> Vec<u8> {
        [self.next_id(state).into_bytes(), encode(name, data)].concat()
    }

    fn next_id(&self, state: &mut State) -> String {
        state.sequence += 1;
        format!("id: {}-{}\n", self.boot, state.sequence)
    }

    /// The last event of a stream.
    pub(super) fn bye(&self, why: &str) -> Frame {
        self.frame(&mut self.state(), Topic::All, "bye", json!({ "why": why }).to_string().as_bytes())
    }
}

/// An event without its id.
fn encode(name: &str, data: &[u8]) -> Vec<u8> {
    [format!("event: {name}\ndata: ").as_bytes(), data, b"\n\n"].concat()
}

fn pending_document(pending: &[PendingView]) -> String {
    let now = unix_now();
    let shown = pending.iter().map(|one| {
        json!({
            "id": one.id, "name": one.name, "role": one.role, "address": one.address, "words": one.words,
            "since": now.saturating_sub(one.age_seconds),
        })
    });
    json!({ "pending": shown.collect::<Vec<_>>() }).to_string()
}
