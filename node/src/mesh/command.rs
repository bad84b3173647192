//! The handle on the mesh, and what the mesh needs of the node around it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use libp2p::Multiaddr;
use miner_ctrl_protocol::message::{Hello, MinerChoice};
use miner_ctrl_protocol::pair::PairRefusal;
use miner_ctrl_protocol::smsg::{OpenError, PairingCode};
use miner_ctrl_protocol::{NodeName, PeerKey, Permission, Refusal, Request, Response, Role};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::link::{Answer, AskError, Link};

/// Commands to the swarm's loop that wait; callers wait for their turn.
pub(crate) const COMMANDS: usize = 256;

/// How long a request waits for a link that is being dialled.
const WAIT_FOR_LINK: Duration = Duration::from_secs(5);

/// What happened to a registered peer.
#[derive(Debug, Clone)]
pub enum Event {
    /// A dial failed, or the connection ended before its link was up.
    DialFailed {
        /// In words, for people.
        why: String,
    },
    /// Two machines use its key, and both answer.
    Copied {
        /// Where they are.
        hosts: [String; 2],
    },
    /// Its link is gone.
    Down,
    /// identify told what it runs.
    Identified {
        /// Program and version, by its own word.
        agent: String,
    },
    /// libp2p's ping measured a round trip.
    Pinged(Duration),
    /// Its link is up.
    Up {
        /// Where it is.
        address: String,
        /// The IP address in it, if it has one.
        ip: Option<IpAddr>,
        /// Whether it dialled us.
        inbound: bool,
        /// What it said of itself.
        hello: Arc<Hello>,
    },
}

/// What became of a knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knocked {
    /// It is registered already, or was approved.
    Admitted,
    /// A person has been asked.
    Pending,
    /// No.
    Refused(PairRefusal),
}

/// A stranger at the door.
#[derive(Debug, Clone)]
pub struct Stranger {
    /// Its key, from the connection.
    pub key: PeerKey,
    /// The name it gives.
    pub name: NodeName,
    /// The role it gives.
    pub role: Role,
    /// Where it is.
    pub address: String,
}

/// A future of the household's.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The node around the mesh: it knows who is registered and answers requests. Left as it is, it pairs with nobody.
pub trait Household: Answer {
    /// Whether a stranger may knock at all.
    fn pairing_possible(&self) -> bool {
        false
    }
    /// The code showing, for one try, and the number of that try.
    fn code_for_try(&self, _key: PeerKey) -> Later<Result<(u64, PairingCode), PairRefusal>> {
        Box::pin(async { Err(PairRefusal::Off) })
    }
    /// The try of this number was wrong.
    fn wrong_code(&self, _key: PeerKey, _number: u64) -> Later<()> {
        Box::pin(async {})
    }
    /// The try of this number was right: registers the stranger for good, in the registry and the mesh.
    fn admit(&self, _stranger: Stranger, _number: u64) -> Later<Result<(), PairRefusal>> {
        Box::pin(async { Err(PairRefusal::Off) })
    }
    /// Asks a person about the stranger.
    fn knock(&self, _stranger: Stranger) -> Later<Knocked> {
        Box::pin(async { Knocked::Refused(PairRefusal::Off) })
    }
    /// Takes note. Never waits.
    fn observe(&self, _key: PeerKey, _event: Event) {}
}

/// How to ask to be admitted somewhere.
#[derive(Debug)]
pub enum PairBy {
    /// By its operator's approval.
    Approval,
    /// By the code it shows.
    Code(PairingCode),
}

/// What pairing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paired {
    /// It holds our key; register its.
    Done {
        /// Its key, from the connection.
        key: PeerKey,
        /// What it calls itself.
        name: NodeName,
        /// What it is for.
        role: Role,
        /// Drawn at the start of the program that answered, when it says so.
        boot: Option<u64>,
    },
    /// Its operator has been asked; ask again.
    Pending {
        /// Its key, from the connection.
        key: PeerKey,
    },
}

/// Why pairing failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// Nobody there, or nobody of ours.
    #[error("{0}")]
    Connect(String),
    /// It closed the connection: it takes no strangers now.
    #[error("it closed the connection: it does not take new peers now")]
    NotPairing,
    /// It said no.
    #[error("the other side refused: {0}")]
    Refused(PairRefusal),
    /// Another node than the one named in the address.
    #[error("another node is at that address: its peer id is {found}")]
    OtherNode {
        /// Who is there.
        found: String,
    },
    /// Our own address.
    #[error("that is this node's own address")]
    Ourselves,
    /// The exchange broke off.
    #[error("the conversation broke off: {0}")]
    Broken(String),
    /// It does not know the code, though it asked us to prove that we do.
    #[error("the code is wrong, or another node answers at that address")]
    FalseProof,
    /// No answer.
    #[error("no answer in time")]
    Timeout,
    /// Too many at once here, or the node is stopping.
    #[error("this node is busy or stopping")]
    Unavailable,
}

pub(crate) enum Command {
    Pair {
        address: Multiaddr,
        expected: Option<PeerKey>,
        by: PairBy,
        reply: oneshot::Sender<Result<Paired, PairError>>,
    },
    Register {
        key: PeerKey,
        addresses: Vec<Multiaddr>,
        done: oneshot::Sender<()>,
    },
    Remove {
        key: PeerKey,
        done: oneshot::Sender<()>,
    },
}

/// What the mesh refused since it started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections turned away at the door.
    pub turned_away: AtomicU64,
    /// Sealed messages that were refused, by cause.
    pub messages_refused: RefusedMessages,
}

/// Sealed messages that were refused since the mesh started.
#[derive(Debug, Default)]
pub struct RefusedMessages {
    bad_signature: AtomicU64,
    no_session: AtomicU64,
    replayed: AtomicU64,
    stale: AtomicU64,
    too_large: AtomicU64,
    unknown_version: AtomicU64,
    unreadable: AtomicU64,
}

impl RefusedMessages {
    pub(crate) fn record(&self, error: &OpenError) {
        let count = match error {
            OpenError::BadSignature => &self.bad_signature,
            OpenError::NoSession => &self.no_session,
            OpenError::Replayed => &self.replayed,
            OpenError::Stale => &self.stale,
            OpenError::TooLarge { .. } => &self.too_large,
            OpenError::UnknownVersion(_) => &self.unknown_version,
            OpenError::Unreadable => &self.unreadable,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many, by the word for the cause.
    #[must_use]
    pub fn by_cause(&self) -> [(&'static str, u64); 7] {
        [
            ("bad-signature", &self.bad_signature),
            ("no-session", &self.no_session),
            ("replayed", &self.replayed),
            ("stale", &self.stale),
            ("too-large", &self.too_large),
            ("unknown-version", &self.unknown_version),
            ("unreadable", &self.unreadable),
        ]
        .map(|(cause, count)| (cause, count.load(Ordering::Relaxed)))
    }
}

/// Links that are up, by peer. Written by the mesh loop alone; a caller takes a clone and is off.
#[derive(Debug)]
pub(crate) struct Links {
    up: RwLock<HashMap<PeerKey, Link>>,
    changes: watch::Sender<u64>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self { up: RwLock::default(), changes: watch::Sender::new(0) }
    }

    pub(crate) fn get(&self, key: &PeerKey) -> Option<Link> {
        self.up.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(crate) fn put(&self, key: PeerKey, link: Link) {
        self.up.write().unwrap_or_else(PoisonError::into_inner).insert(key, link);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn take(&self, key: &PeerKey) {
        self.up.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.changes.send_modify(|count| *count += 1);
    }
}

/// All one can ask of the mesh.
#[derive(Clone)]
pub struct MeshHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) links: Arc<Links>,
    pub(crate) listening: watch::Receiver<Vec<Multiaddr>>,
    pub(crate) counts: Arc<Counts>,
}

impl fmt::Debug for MeshHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshHandle").finish_non_exhaustive()
    }
}

impl MeshHandle {
    /// Admits a peer and keeps a connection to it, when it has an address.
    pub async fn register(&self, key: PeerKey, addresses: Vec<Multiaddr>) {
        let (done, wait) = oneshot::channel();
        // When the mesh is gone the node is stopping; the registry has the peer.
        if self.commands.send(Command::Register { key, addresses, done }).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Cuts a peer off: its connections are closed and its requests ended when this returns.
    pub async fn remove(&self, key: PeerKey) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Remove { key, done }).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Asks the node at an address to pair.
    ///
    /// # Errors
    /// [`PairError`], in words for the person who asked.
    pub async fn pair(
        &self,
        address: Multiaddr,
        expected: Option<PeerKey>,
        by: PairBy,
        limit: Duration,
    ) -> Result<Paired, PairError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Pair { address, expected, by, reply };
        self.commands.try_send(command).map_err(|_| PairError::Unavailable)?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(PairError::Unavailable),
            Err(_) => Err(PairError::Timeout),
        }
    }

    /// Whether the peer's link leads to another program than the one that was started so, and both live.
    pub async fn is_elsewhere(&self, key: &PeerKey, boot: Option<u64>) -> bool {
        match self.links.get(key) {
            Some(link) if boot.is_some() && link.hello.boot.is_some() && link.hello.boot != boot => {
                link.is_answered().await
            }
            _ => false,
        }
    }

    /// The peer's link, if it is up.
    #[must_use]
    pub fn link(&self, key: &PeerKey) -> Option<Link> {
        self.links.get(key)
    }

    /// The peer's link, waiting for it until `deadline`.
    pub async fn wait_for_link(&self, key: &PeerKey, deadline: Instant) -> Option<Link> {
        let mut changes = self.links.changes.subscribe();
        loop {
            if let Some(link) = self.links.get(key) {
                return Some(link);
            }
            match tokio::time::timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                _ => return self.links.get(key),
            }
        }
    }

    /// Asks a peer, waiting a moment for its link when it is just coming up.
    ///
    /// A request that can safely be made twice is made again when the connection ends under it. Whatever refuses it then
    /// refuses the second: of the first it says nothing. Nor does it when the second finds all done: the first may have
    /// done it, also when the peer was killed and started again in between, so that it counts as done by this request.
    ///
    /// # Errors
    /// [`AskError`]; after [`AskError::Lost`] and [`AskError::Timeout`] it is not known whether it was carried out.
    pub async fn ask(&self, key: &PeerKey, request: &Request, limit: Duration) -> Result<Response, AskError> {
        let deadline = Instant::now() + limit;
        let mut lost = false;
        loop {
            let link = self.wait_for_link(key, deadline.min(Instant::now() + WAIT_FOR_LINK)).await;
            let Some(link) = link else {
                return Err(if lost { AskError::Lost } else { AskError::Unreachable });
            };
            let answer = link.ask(request, deadline.saturating_duration_since(Instant::now())).await;
            let answer = match answer {
                Ok(Response::Refused(refusal)) => Err(AskError::Refused(refusal)),
                other => other,
            };
            let in_time = Instant::now() < deadline;
            // What is only read has no outcome that could be unknown.
            let in_doubt = lost && request.needs() == Permission::Control;
            match answer {
                // Nothing was sent; the link that just ended may still be in the table for an instant.
                Err(AskError::Unreachable) if in_time => self.wait_for_other_link(key, &link, deadline).await,
                Err(AskError::Lost) if in_time && may_repeat(request) => {
                    lost = true;
                    self.wait_for_other_link(key, &link, deadline).await;
                }
                // A rig that was started again first looks after what ran before.
                Err(AskError::Refused(Refusal::Busy { retry_after_ms })) if in_doubt && in_time => {
                    let again = Instant::now() + Duration::from_millis(retry_after_ms.clamp(100, 5000).into());
                    tokio::time::sleep_until(again.min(deadline)).await;
                }
                Err(AskError::Busy | AskError::Refused(_) | AskError::Unreachable) if in_doubt => {
                    return Err(AskError::Lost);
                }
                Ok(response) if in_doubt => return Ok(response.as_changed()),
                answer => return answer,
            }
        }
    }

    async fn wait_for_other_link(&self, key: &PeerKey, gone: &Link, deadline: Instant) {
        let mut changes = self.links.changes.subscribe();
        while self.links.get(key).is_some_and(|link| link.same_as(gone)) {
            if !matches!(tokio::time::timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Multiaddrs that the node listens on.
    #[must_use]
    pub fn listening(&self) -> Vec<Multiaddr> {
        self.listening.borrow().clone()
    }

    /// What was refused since the mesh started.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Peers whose links are up.
    #[must_use]
    pub fn connected(&self) -> Vec<(PeerKey, Link)> {
        let up = self.links.up.read().unwrap_or_else(PoisonError::into_inner);
        up.iter().map(|(key, link)| (*key, link.clone())).collect()
    }
}

/// Nearly everything finds or reaches a state. A restart done twice is a second interruption, and "the only one" may
/// be another one the second time.
const fn may_repeat(request: &Request) -> bool {
    !matches!(request, Request::RestartMiner { .. } | Request::StopMiner { miner: MinerChoice::Only })
}

#[cfg(test)]
mod tests {
    use miner_ctrl_protocol::smsg::NodeSecret;

    use super::*;
    use crate::mesh::link::Order;

    const LIMIT: Duration = Duration::from_secs(35);

    /// What comes of a request on the links that come up one after the other. Each link says what is listed for it, and
    /// ends: without an answer where there is none, and before its turn comes where nothing is listed.
    async fn outcome(request: Request, links: Vec<Vec<Option<Response>>>) -> Result<Response, AskError> {
        let key = NodeSecret::from_seed(&[1; 32]).unwrap().public();
        let table = Arc::new(Links::new());
        let (commands, _) = mpsc::channel(1);
        let (_listening, listening) = watch::channel(vec![]);
        let handle = MeshHandle { commands, links: Arc::clone(&table), listening, counts: Arc::default() };
        let plays = async {
            for answers in links {
                let (link, mut orders) = Link::played();
                table.put(key, link);
                while answers.is_empty() && orders.queue.is_empty() {
                    tokio::task::yield_now().await;
                }
                for answer in answers {
                    let Some(Order::Ask(ask)) = orders.queue.recv().await else { panic!("nobody asks") };
                    match answer {
                        Some(answer) => ask.reply.send(Ok(answer)).unwrap(),
                        None => drop(ask),
                    }
                }
                drop(orders);
            }
            std::future::pending().await
        };
        tokio::select! {
            outcome = handle.ask(&key, &request, LIMIT) => outcome,
            () = plays => unreachable!("it never ends"),
        }
    }

    fn stop() -> Request {
        Request::StopMiner { miner: MinerChoice::All }
    }

    fn busy() -> Option<Response> {
        Some(Response::Refused(Refusal::Busy { retry_after_ms: 1000 }))
    }

    fn done() -> Option<Response> {
        Some(Response::Pong { sent_at: 1 })
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_of_a_command_that_was_repeated_does_not_say_that_nothing_was_done() {
        let unknown = || Response::Refused(Refusal::UnknownMiner { miner: "xmrig-1".into(), miners: vec![] });
        assert_eq!(outcome(stop(), vec![vec![None], vec![Some(unknown())]]).await, Err(AskError::Lost));
        let begun = Instant::now();
        assert_eq!(outcome(stop(), vec![vec![None], vec![busy(), busy(), done()]]).await, Ok(done().unwrap()));
        assert_eq!(begun.elapsed().as_secs(), 2, "it asks again when it was told to");
        let always = std::iter::repeat_with(busy).take(100).collect();
        assert_eq!(outcome(stop(), vec![vec![None], always]).await, Err(AskError::Timeout));
        let removed = |changed| Response::Removed { changed };
        let remove = || Request::RemoveProfile { name: "p".parse().unwrap() };
        assert_eq!(outcome(remove(), vec![vec![None], vec![Some(removed(false))]]).await, Ok(removed(true)));
        // Of the first, and of what is only read, it is the truth.
        assert_eq!(outcome(remove(), vec![vec![Some(removed(false))]]).await, Ok(removed(false)));
        assert_eq!(outcome(remove(), vec![vec![], vec![Some(removed(false))]]).await, Ok(removed(false)), "sent once");
        let refused = |refusal| Err(AskError::Refused(refusal));
        assert_eq!(outcome(stop(), vec![vec![busy()]]).await, refused(Refusal::Busy { retry_after_ms: 1000 }));
        assert_eq!(
            outcome(Request::Stats, vec![vec![None], vec![busy()]]).await,
            refused(Refusal::Busy { retry_after_ms: 1000 })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_sent_is_asked_on_the_other_link_and_never_in_doubt() {
        let restart = || Request::RestartMiner { miner: None };
        assert_eq!(outcome(restart(), vec![vec![], vec![done()]]).await, Ok(done().unwrap()));
        assert_eq!(outcome(restart(), vec![vec![], vec![None]]).await, Err(AskError::Lost));
        assert_eq!(outcome(restart(), vec![]).await, Err(AskError::Unreachable));
        assert_eq!(outcome(restart(), vec![vec![]]).await, Err(AskError::Unreachable));
    }
}
