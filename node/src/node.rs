//! The wiring: opens the rooms, starts the tasks, and ends them in order.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::OptionFuture;
use miner_ctrl_protocol::{Policy, Program, Refusal, Role};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{self, ConfigError, NodeConfig};
use crate::fleet::{self, FleetSettings};
use crate::handle::{Inner, NodeHandle};
use crate::house::{House, dialable};
use crate::identity::{self, Identity, IdentityError, NodeRecord};
use crate::mesh::{self, AddressError, Household, MeshConfig, REQUEST_RATE, listen_addresses};
use crate::miners::profiles::ProfileStore;
use crate::miners::{MinersConfig, MinersError, MinersHandle, ProgramPath, supervisor};
use crate::recorded::Recorded;
use crate::recorder;
use crate::store::activity::Journal;
use crate::store::clock::unix_now;
use crate::store::{Database, DatabaseError, Lock, LockError, Places, PlacesError};
use crate::watchers;
use crate::worker::{CONSOLE_WAITS, Worker};

/// News of rigs that came up and wait for their watchers: every rig of a large fleet at once.
const UPS: usize = 16 * 1024;

/// How long a stop waits for the last numbers to be stored: as long as for another program's lock on the database.
const LAST_NUMBERS: Duration = Duration::from_secs(5);

/// How a node is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For the length of one command: it listens nowhere, dials only whom the command needs, and runs no miner.
    Command,
    /// `node serve`.
    Serve,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address to listen on that is none.
    #[error("cannot listen on `{text}`")]
    Address {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        #[source]
        source: AddressError,
    },
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The registry.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The key or node.json.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Another node runs on this data.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The mesh.
    #[error(transparent)]
    Mesh(#[from] mesh::StartError),
    /// The miners.
    #[error(transparent)]
    Miners(#[from] MinersError),
    /// There is no identity yet.
    #[error("this node has no identity yet")]
    NoIdentity,
    /// The directories.
    #[error(transparent)]
    Places(#[from] PlacesError),
}

/// A node that runs.
#[derive(Debug)]
pub struct Node {
    /// All one can ask of it.
    pub handle: NodeHandle,
    mode: Mode,
    /// Until they are started.
    to_mine: Option<MinersConfig>,
    miners: Option<MinersHandle>,
    stop_mesh: CancellationToken,
    stop_fleet: CancellationToken,
    mesh: JoinHandle<()>,
    fleet: JoinHandle<()>,
    watchers: Option<JoinHandle<()>>,
    recorder: Option<JoinHandle<()>>,
    /// Released last.
    _lock: Lock,
}

/// Starts a node on the data at `places`, which `lock` is of; its miners wait for [`Node::begin`].
///
/// # Errors
/// [`StartError`]; then nothing is left running.
pub async fn start(places: Places, lock: Lock, config: NodeConfig, mode: Mode) -> Result<Node, StartError> {
    let Identity { secret, record } = identity::finish(&places)?.ok_or(StartError::NoIdentity)?;
    let policy = config::load_policy(&places)?;
    let listen = match mode {
        Mode::Command => vec![],
        Mode::Serve => listen_on(&config.listen)?,
    };
    let database = Database::open(&places.database_file())?;
    let (stop_mesh, stop_fleet) = (CancellationToken::new(), CancellationToken::new());
    let key = secret.public();
    let settings = FleetSettings {
        own_key: key,
        own_name: record.name.clone(),
        own_role: record.role,
        pairing: config.pairing,
        clock: unix_now,
    };
    let (fleet, fleet_task) = fleet::spawn(database.clone(), settings, stop_fleet.clone())?;

    let without_miners = match (record.role, mode) {
        (Role::Controller, _) => Refusal::RunsNoMiner,
        // They come up a moment after the mesh.
        (_, Mode::Serve) => Refusal::Busy { retry_after_ms: 1000 },
        (_, Mode::Command) => {
            Refusal::Conflict { why: "its node is not running; start it with `miner-ctrl node serve`".into() }
        }
    };
    let worker = Arc::new(Worker {
        name: record.name.clone(),
        miners: OnceLock::new(),
        profiles: ProfileStore::new(&places.config_dir),
        policy,
        without_miners,
        recorded: Recorded { database: database.clone(), id: record.id },
        console_waits: Semaphore::new(CONSOLE_WAITS),
    });
    let (ups, came_up) = mpsc::channel(UPS);
    let house = Arc::new(House {
        own_key: key,
        own_role: record.role,
        fleet: fleet.clone(),
        worker: Arc::clone(&worker),
        mesh: OnceLock::new(),
        ups,
        orders: Arc::default(),
    });
    let (peers, last_ips) = match mode {
        // Registered when the command needs them.
        Mode::Command => (vec![], vec![]),
        Mode::Serve => {
            let fleet = fleet.now();
            let peers = || fleet.peers.iter().map(|peer| &peer.peer);
            (
                peers().map(|peer| (peer.key, dialable(&peer.addresses))).collect(),
                peers().filter_map(|peer| Some((peer.key, peer.ip?))).collect(),
            )
        }
    };
    let mesh_config = MeshConfig {
        secret,
        name: record.name.clone(),
        role: record.role,
        listen,
        peers,
        last_ips,
        rate: REQUEST_RATE,
    };
    let household: Arc<dyn Household> = Arc::clone(&house) as Arc<dyn Household>;
    let started = mesh::start(mesh_config, household, stop_mesh.clone()).await;
    let (mesh, mesh_task) = match started {
        Ok(started) => started,
        Err(error) => {
            stop_fleet.cancel();
            let _ = fleet_task.await;
            return Err(error.into());
        }
    };
    // Set once, here.
    let _ = house.mesh.set(mesh.clone());
    let watchers = (mode == Mode::Serve && record.role.commands())
        .then(|| tokio::spawn(watchers::run(mesh.clone(), fleet.clone(), came_up, stop_mesh.clone())));
    let mines = mode == Mode::Serve && record.role.mines();
    let to_mine = mines.then(|| miners_config(&config, &places, &record, &worker.policy));
    let inner = Inner {
        key,
        record,
        places,
        pairing: config.pairing,
        fleet,
        mesh,
        worker,
        journal: Journal::new(database.clone()),
        database,
        naming: tokio::sync::Mutex::default(),
        serving: mode == Mode::Serve,
    };
    let handle = NodeHandle { inner: Arc::new(inner) };
    Ok(Node {
        handle,
        mode,
        to_mine,
        miners: None,
        stop_mesh,
        stop_fleet,
        mesh: mesh_task,
        fleet: fleet_task,
        watchers,
        recorder: None,
        _lock: lock,
    })
}

impl Node {
    /// Starts or takes over the miners of a node that serves, and records what they do. The last step of a start: what
    /// can go wrong before, a port that is taken or a file that is damaged, must not cost a miner that runs on from
    /// before.
    ///
    /// # Errors
    /// [`StartError::Miners`]; then no miner was touched.
    pub async fn begin(&mut self) -> Result<(), StartError> {
        if let Some(config) = self.to_mine.take() {
            let miners = supervisor::spawn(config).await?;
            // Set once, here.
            let _ = self.handle.inner.worker.miners.set(miners.clone());
            self.miners = Some(miners);
        }
        if self.mode == Mode::Serve && self.recorder.is_none() {
            self.recorder = Some(tokio::spawn(recorder::run(self.handle.clone(), self.stop_mesh.clone())));
        }
        Ok(())
    }

    /// Stops the miners, or leaves them, as configured. It may begin while the last requests are answered: one that does not
    /// hear takes 7 s.
    pub async fn stop_miners(&self) {
        if let Some(miners) = &self.miners {
            miners.shutdown().await;
        }
    }

    /// Takes no more requests of peers, which then find a link gone and wait for the next start.
    pub fn stop_mesh(&self) {
        self.stop_mesh.cancel();
    }

    /// Stops in order: no more requests, then the miners that run yet, then what is known is written.
    pub async fn shutdown(self) {
        self.stop_mesh();
        // A task that panicked has said so already.
        let _ = self.mesh.await;
        if let Some(watchers) = self.watchers {
            let _ = watchers.await;
        }
        // The disk may take its time over the last numbers; the miners do not wait for it.
        let recorded = OptionFuture::from(self.recorder.map(|recorder| timeout(LAST_NUMBERS, recorder)));
        let stopped = OptionFuture::from(self.miners.as_ref().map(MinersHandle::shutdown));
        if let (Some(Err(_)), _) = tokio::join!(recorded, stopped) {
            tracing::error!("the disk takes too long: the last minute of the history is not stored");
        }
        self.stop_fleet.cancel();
        let _ = self.fleet.await;
    }
}

/// Where mining programs lie, for those that are not looked for; with `simulate`, the stand-ins.
pub(crate) fn program_paths(config: &NodeConfig) -> BTreeMap<Program, ProgramPath> {
    let mut programs: BTreeMap<Program, ProgramPath> = config
        .programs
        .iter()
        .map(|(program, path)| (*program, ProgramPath { path: path.clone(), prefix_args: vec![] }))
        .collect();
    if config.simulate
        && let Ok(ourselves) = std::env::current_exe()
    {
        for program in Program::ALL {
            let prefix_args = vec!["simulate".to_owned(), program.to_string()];
            programs.insert(program, ProgramPath { path: ourselves.clone(), prefix_args });
        }
    }
    programs
}

fn miners_config(config: &NodeConfig, places: &Places, record: &NodeRecord, policy: &Policy) -> MinersConfig {
    MinersConfig {
        node_name: record.name.clone(),
        data_dir: places.data_dir.clone(),
        programs: program_paths(config),
        policy: policy.clone(),
        on_shutdown: config.on_shutdown,
    }
}

pub(crate) fn listen_on(texts: &[String]) -> Result<Vec<mesh::Address>, StartError> {
    let mut addresses = Vec::new();
    for text in texts {
        let these = listen_addresses(text).map_err(|source| StartError::Address { text: text.clone(), source })?;
        addresses.extend(these);
    }
    Ok(addresses)
}
