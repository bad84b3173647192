//! The door of the fleet task: every caller has a clone of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_dashboard::NodeError;
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{NodeName, PeerKey, Permission, RigStats, Role};
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot, watch};

use super::Code;
use super::admission::{AdmissionRefusal, Knock, PendingError, PendingRequest, Stranger};
use super::mailbox::{Mailbox, Presence};
use super::registry::{NewPeer, Peer, RegistryError};
use super::snapshot::FleetSnapshot;
use crate::causes::chain;
use crate::store::DatabaseError;

/// Something seen of a registered peer. Of others it is ignored: tell of a new peer's link after it was registered.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// It answered a request; a refusal is an answer.
    Answered,
    /// Its link is up: the first connection of a peer, not a second one beside it.
    Connected {
        /// Where we dialled it; none when it dialled us.
        dialled: Option<String>,
    },
    /// It could not be dialled.
    DialFailed {
        /// Why, for people.
        why: String,
    },
    /// Its link is down: the last connection of the peer.
    Disconnected,
    /// Two machines use its key, each with a program of its own.
    Copied {
        /// Where they are.
        hosts: [String; 2],
    },
    /// The link broke in the middle of a request, or what came was no answer.
    Failed,
    /// It said Hello. What it calls itself is not taken: people and scripts go by our name for it.
    Greeted {
        /// The address of its link; none when it was dialled by a name.
        ip: Option<IpAddr>,
        /// What it is for.
        role: Role,
        /// Program and version.
        agent: String,
    },
    /// libp2p's identify told its program.
    Identified {
        /// Program and version.
        agent: String,
    },
    /// A round trip of libp2p's ping.
    Pinged(Duration),
    /// Its statistics.
    Stats(Arc<RigStats>),
    /// No answer came in time.
    TimedOut,
    /// It does not give its statistics.
    Unreadable {
        /// Why, for people.
        why: String,
    },
}

/// Why the fleet did not do it; then nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Admission does not allow it.
    #[error(transparent)]
    Admission(#[from] AdmissionRefusal),
    /// It could not be stored.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It is this node itself.
    #[error("this is the node itself")]
    OwnKey,
    /// No pairing request, or several.
    #[error(transparent)]
    Pending(#[from] PendingError),
    /// The registry does not allow it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The node is stopping.
    #[error("this node is shutting down")]
    ShuttingDown,
}

/// What to do about pairing that is off.
const TURN_ON: &str = "set `pairing = \"code\"` or \"ask\" in its config.toml, or start it with `--pairing code`: \
                       it counts from the next start on";

impl From<FleetError> for NodeError {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Admission(refusal) => Self::PairingFailed {
                why: refusal.to_string(),
                hint: match refusal {
                    AdmissionRefusal::Off => TURN_ON.to_owned(),
                    AdmissionRefusal::Busy | AdmissionRefusal::NoCode => "try again in a moment".to_owned(),
                },
            },
            FleetError::Pending(PendingError::Unknown(asked)) => Self::UnknownPending(asked),
            FleetError::Registry(RegistryError::Addresses(why)) => Self::Invalid(Invalid::new("address", why)),
            FleetError::Registry(RegistryError::Unknown(id)) => Self::unknown_peer(id.to_string()),
            FleetError::ShuttingDown => Self::ShuttingDown,
            FleetError::OwnKey | FleetError::Pending(_) | FleetError::Registry(_) => Self::Conflict(error.to_string()),
            FleetError::Database(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the fleet failed");
                Self::Internal(chain(&error))
            }
        }
    }
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, FleetError>>;

/// What changes who is registered. It is answered once it is on the disk, and the next one waits until then.
#[derive(Debug)]
pub(super) enum Change {
    Admit {
        number: u64,
        new: NewPeer,
        reply: Reply<Peer>,
    },
    Approve {
        text: String,
        permission: Option<Permission>,
        reply: Reply<Peer>,
    },
    /// It is stored nowhere. It waits for an approval of the same stranger that came before it.
    Deny {
        text: String,
        reply: Reply<PendingRequest>,
    },
    Register {
        new: NewPeer,
        reply: Reply<Peer>,
    },
    Remove {
        key: PeerKey,
        reply: Reply<Peer>,
    },
    Alter {
        key: PeerKey,
        name: Option<NodeName>,
        permission: Option<Permission>,
        reply: Reply<Peer>,
    },
}

/// What needs no disk. It is answered at once, however long the disk takes over a change.
#[derive(Debug)]
pub(super) enum Command {
    CodeForTry { key: PeerKey, reply: Reply<Result<(u64, Code), AdmissionRefusal>> },
    CurrentCode { reply: Reply<Option<Code>> },
    Knock { stranger: Stranger, reply: Reply<Knock> },
    ShowCode { reply: Reply<Code> },
    WrongCode { key: PeerKey, number: u64, reply: Reply<()> },
}

/// All that one can ask of the fleet. What changes the registry is on the disk, and in the snapshot, when the call
/// returns; it is done even if the caller stops waiting.
#[derive(Debug, Clone)]
pub struct FleetHandle {
    pub(super) changes: mpsc::Sender<Change>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) observations: mpsc::Sender<(PeerKey, Observation)>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) snapshot: watch::Receiver<Arc<FleetSnapshot>>,
    pub(super) turns: Arc<Mutex<()>>,
}

impl FleetHandle {
    /// The fleet as it is, and as it becomes.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Arc<FleetSnapshot>> {
        self.snapshot.clone()
    }

    /// The fleet as it is.
    #[must_use]
    pub fn now(&self) -> Arc<FleetSnapshot> {
        self.snapshot.borrow().clone()
    }

    /// The turn to tell another room what the snapshot says. Who looks and tells without it may be overtaken by one who
    /// looked later.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turns.lock().await
    }

    /// Tells what was seen of a peer; never waits. Links coming up and going down are never lost; of the rest, what
    /// finds the queue full is dropped.
    pub fn observe(&self, key: PeerKey, observation: Observation) {
        let _ = self.try_observe(key, observation);
    }

    /// [`FleetHandle::observe`] for who can ask again: whether there was a place.
    pub(crate) fn try_observe(&self, key: PeerKey, observation: Observation) -> bool {
        match observation {
            Observation::Connected { dialled } => self.mailbox.leave(key, Presence::Connected(dialled)),
            Observation::Disconnected => self.mailbox.leave(key, Presence::Disconnected),
            other => return self.observations.try_send((key, other)).is_ok(),
        }
        true
    }

    /// Registers a peer, or brings what is known of its key up to date.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn register(&self, new: NewPeer) -> Result<Peer, FleetError> {
        self.change(|reply| Change::Register { new, reply }).await
    }

    /// Forgets a peer.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn remove(&self, key: PeerKey) -> Result<Peer, FleetError> {
        self.change(|reply| Change::Remove { key, reply }).await
    }

    /// Calls a peer something else, grants it another permission, or both at once.
    ///
    /// # Errors
    /// [`FleetError`]; then nothing has changed.
    pub async fn alter(
        &self,
        key: PeerKey,
        name: Option<NodeName>,
        permission: Option<Permission>,
    ) -> Result<Peer, FleetError> {
        self.change(|reply| Change::Alter { key, name, permission, reply }).await
    }

    /// Shows a new pairing code in place of the one before.
    ///
    /// # Errors
    /// [`FleetError`]; with pairing off there is none.
    pub async fn show_code(&self) -> Result<Code, FleetError> {
        self.ask(|reply| Command::ShowCode { reply }).await
    }

    /// The pairing code that is showing.
    ///
    /// # Errors
    /// [`FleetError::ShuttingDown`].
    pub async fn current_code(&self) -> Result<Option<Code>, FleetError> {
        self.ask(|reply| Command::CurrentCode { reply }).await
    }

    /// The number of a stranger's try and the code for it. Tell [`FleetHandle::admit`] or [`FleetHandle::wrong_code`] as
    /// soon as its confirmation was looked at, and before it learns anything.
    ///
    /// # Errors
    /// [`AdmissionRefusal`]; `NoCode` too when the node is stopping.
    pub async fn code_for_try(&self, key: PeerKey) -> Result<(u64, Code), AdmissionRefusal> {
        self.ask(|reply| Command::CodeForTry { key, reply }).await.unwrap_or(Err(AdmissionRefusal::NoCode))
    }

    /// The confirmation of the try of this number was wrong.
    pub async fn wrong_code(&self, key: PeerKey, number: u64) {
        // A node that is stopping forgets its code anyway.
        let _ = self.ask(|reply| Command::WrongCode { key, number, reply }).await;
    }

    /// The confirmation of the try of this number was right: registers the peer, if the code is still the one that it
    /// tried. One that is registered already keeps what it was granted.
    ///
    /// # Errors
    /// [`FleetError::Admission`], after which it is to be answered as if its confirmation had been wrong; another
    /// [`FleetError`] when it could not be registered.
    pub async fn admit(&self, number: u64, new: NewPeer) -> Result<Peer, FleetError> {
        self.change(|reply| Change::Admit { number, new, reply }).await
    }

    /// A stranger asks to be approved by a person.
    pub async fn knock(&self, stranger: Stranger) -> Knock {
        self.ask(|reply| Command::Knock { stranger, reply }).await.unwrap_or(Knock::Busy)
    }

    /// Registers the waiting stranger named by its words or id; left out, the permission follows from the roles.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn approve(&self, text: &str, permission: Option<Permission>) -> Result<Peer, FleetError> {
        let text = text.to_owned();
        self.change(|reply| Change::Approve { text, permission, reply }).await
    }

    /// Turns the waiting stranger named by its words or id away.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn deny(&self, text: &str) -> Result<PendingRequest, FleetError> {
        let text = text.to_owned();
        self.change(|reply| Change::Deny { text, reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, FleetError> {
        sent(&self.commands, command).await
    }

    async fn change<T>(&self, change: impl FnOnce(Reply<T>) -> Change) -> Result<T, FleetError> {
        sent(&self.changes, change).await
    }
}

async fn sent<Q, T>(queue: &mpsc::Sender<Q>, asked: impl FnOnce(Reply<T>) -> Q) -> Result<T, FleetError> {
    let (reply, answer) = oneshot::channel();
    queue.send(asked(reply)).await.map_err(|_| FleetError::ShuttingDown)?;
    answer.await.map_err(|_| FleetError::ShuttingDown)?
}
