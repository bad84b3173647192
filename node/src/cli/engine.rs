//! What the command line needs of the rest of the program.

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use axum::Router;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use futures::future::BoxFuture;
use miner_ctrl_dashboard::node::NodeInfo;
use miner_ctrl_protocol::{NodeName, PeerKey, Program, Role};
use tokio_util::sync::CancellationToken;

use crate::cli::Failure;
use crate::fleet::PairingMode;
use crate::mesh::DEFAULT_PORT;
use crate::miners::ProgramFound;

/// A node that was started for one command, under the data directory's lock.
pub struct Local {
    /// Its API.
    pub router: Router,
    /// Ends it, and with it the lock.
    pub close: BoxFuture<'static, ()>,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

/// What came of making a node.
#[derive(Debug, Clone)]
pub struct Made {
    /// The node.
    pub info: NodeInfo,
    /// Whether it was there as it was asked for, and nothing was done.
    pub already: bool,
}

/// Where the dashboard would be served.
#[derive(Debug, Clone)]
pub enum Page {
    /// The settings want none.
    Nowhere,
    /// There.
    At(String),
    /// A start may well go without it, or end for it: that depends on how it is started.
    Doubtful(Failure),
}

/// A node that serves.
pub struct Serving {
    /// What it is, and the addresses it really listens on.
    pub info: NodeInfo,
    /// Signs one browser in, once, when that was asked for.
    pub link: Option<String>,
    /// Ends when the node has ended: in order after a stop, or with the reason.
    pub ended: BoxFuture<'static, Result<(), Failure>>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What `node serve` was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct ServeOptions {
    /// Where to listen: `:9091`, `host:port` or a multiaddr; repeatable. `off`: the node only dials. Left out: as
    /// configured, else `:9091`.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// How strangers may pair. Left out: as configured.
    #[arg(long, value_parser = pairing_modes())]
    pub pairing: Option<PairingMode>,
    /// Run stand-ins in place of mining programs.
    #[arg(long)]
    pub simulate: bool,
    /// Where to serve the web page. Left out: as configured, else 127.0.0.1:9090 unless this node is a worker.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "no_dashboard")]
    pub dashboard: Option<String>,
    /// Serve no web page.
    #[arg(long)]
    pub no_dashboard: bool,
    /// Serve the web page without TLS, to other machines too: nothing on the way is encrypted then.
    #[arg(long)]
    pub insecure_http: bool,
    /// Print a link that signs one browser in, once, within ten minutes. On a terminal it is printed anyway.
    #[arg(long)]
    pub link: bool,
}

fn pairing_modes() -> impl TypedValueParser<Value = PairingMode> {
    let words = [
        PossibleValue::new("ask").help("They wait until the operator approves"),
        PossibleValue::new("code").help("Only with the code that is showing"),
        PossibleValue::new("off").help("Not at all"),
    ];
    PossibleValuesParser::new(words).try_map(|word| word.parse::<PairingMode>())
}

/// The node and its places, as the command line sees them.
pub trait Engine: Sized + Send + Sync + 'static {
    /// Finds the directories; touches nothing.
    ///
    /// # Errors
    /// When there is no home to find them in.
    fn open(home: Option<&Path>) -> Result<Self, Failure>;
    /// Where the configuration lies.
    fn config_dir(&self) -> &Path;
    /// Where data and the identity lie.
    fn data_dir(&self) -> &Path;
    /// Where a running node answers.
    fn socket(&self) -> PathBuf;
    /// Whether this home, where there is one, is this user's.
    ///
    /// # Errors
    /// Whose it is.
    fn check_home(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Whether the socket lies where only this user, or root, can have put it: what is sent there may be secret.
    ///
    /// # Errors
    /// When somebody else could answer there.
    fn check_socket(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Whether this machine's settings and policy can be understood, and its addresses to listen on.
    ///
    /// # Errors
    /// What a node would not start for.
    fn check_settings(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Whether this user alone may change what decides here.
    ///
    /// # Errors
    /// What others may change. A node starts all the same: a rig must come back.
    fn check_permissions(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Whether this machine's identity, where it has one, can be used.
    ///
    /// # Errors
    /// What a node would not start for, or not by the name that it had.
    fn check_identity(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Whether it can be understood which miners are to run.
    ///
    /// # Errors
    /// What a node would not start for.
    fn check_wanted(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Whether a node can use the database that lies here; nothing is changed in it.
    ///
    /// # Errors
    /// What a node would not start for.
    fn check_database(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Whether a start can take its lock and its socket's place.
    ///
    /// # Errors
    /// What a node would not start for.
    fn check_files(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Where the dashboard would be served, while no node has its place.
    ///
    /// # Errors
    /// What a node would not start for.
    fn check_page(&self) -> impl Future<Output = Result<Page, Failure>> + Send {
        async { Ok(Page::Nowhere) }
    }
    /// Whether every profile of this machine can be read.
    ///
    /// # Errors
    /// One that is left out of all lists.
    fn check_profiles(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Whether the node of this machine runs miners; one that is yet to be made may.
    fn mines(&self) -> bool {
        true
    }
    /// Where the mesh must listen by the settings; nowhere where it only dials.
    fn listens(&self) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([0; 4], DEFAULT_PORT))]
    }
    /// The secret key's file.
    fn key_file(&self) -> PathBuf;
    /// Makes this machine a node, or names one that goes by the name of the machine. Left out, the role is what it is
    /// already, or dual.
    fn init(&self, name: NodeName, role: Option<Role>) -> impl Future<Output = Result<Made, Failure>> + Send;
    /// Registers rigs while no node runs: all or none. Those that are registered already stay as they are.
    fn enrol(&self, rigs: Vec<(PeerKey, NodeName)>) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Starts the node for one command.
    fn start_for_command(&self) -> impl Future<Output = Result<Local, Failure>> + Send;
    /// Starts the node with its socket, until `stop`.
    fn serve(
        &self,
        options: ServeOptions,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<Serving, Failure>> + Send;
    /// Looks for mining programs.
    fn programs(&self) -> impl Future<Output = Vec<ProgramFound>> + Send;
    /// Runs the stand-in for a mining program in place of everything else.
    fn simulate(program: Program, arguments: &[OsString]) -> ExitCode;
    /// Runs the stand-in for a mining pool until it is stopped.
    ///
    /// # Errors
    /// When it cannot listen at `listen`.
    fn simulate_pool(listen: &str, algorithm: &str, difficulty: u32) -> io::Result<()>;
}
