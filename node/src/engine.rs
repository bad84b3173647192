//! The command line's engine on this machine: identity, settings and node behind it.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use miner_ctrl_dashboard::{Gateway, Node as _};
use miner_ctrl_protocol::{NodeName, PeerKey, Permission, Program, Role};
use tokio_util::sync::CancellationToken;

use crate::cli::{Engine, Exit, Failure, Local, Made, Page, ServeOptions, Serving};
use crate::config::{self, DashboardChoice, NodeConfig, Settings, TlsMode};
use crate::control;
use crate::door::Door;
use crate::files;
use crate::fleet::{self, NewPeer, PairingMode};
use crate::identity::{self, IdentityError};
use crate::mesh;
use crate::miners::profiles::ProfileStore;
use crate::miners::{ProgramFound, check_wanted, look_for, wrongly_named};
use crate::node::{self, Mode, Node, StartError};
use crate::simulate;
use crate::store::clock::unix_now;
use crate::store::permissions::OpenToOthers;
use crate::store::{Database, Lock, LockError, Places, PlacesError};

/// Open files that a serving node asks for: as many peers as may be registered, each with a connection that takes over from
/// another, the handshakes under way, and its own.
const FILES: u64 = 32 * 1024;

/// This machine's node.
#[derive(Debug)]
pub(crate) struct ThisMachine {
    places: Places,
}

fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl ThisMachine {
    fn check_directories(&self) -> Result<(), Failure> {
        self.places.check_directories().map_err(|error| {
            Failure::new(Exit::Usage, "no-home", "cannot use this home").caused_by(&error).hint(error.hint())
        })
    }

    fn config(&self, flags: Settings) -> Result<NodeConfig, Failure> {
        NodeConfig::load(&self.places, env, flags).map_err(|error| {
            Failure::new(Exit::Usage, "bad-settings", "cannot start the node")
                .caused_by(&error)
                .hint("mend the setting that is named above; `miner-ctrl node serve --help` lists what can be set")
        })
    }

    async fn lock(&self) -> Result<Lock, Failure> {
        Lock::after_commands(&self.places).await.map_err(|error| not_started(&error.into()))
    }

    async fn start(&self, lock: Lock, config: NodeConfig, mode: Mode) -> Result<Node, Failure> {
        node::start(self.places.clone(), lock, config, mode).await.map_err(|error| not_started(&error))
    }
}

impl Engine for ThisMachine {
    fn open(home: Option<&Path>) -> Result<Self, Failure> {
        let places = Places::resolve(home, env).map_err(|error| {
            Failure::new(Exit::Usage, "no-home", "cannot find where data lies")
                .caused_by(&error)
                .hint("set HOME, or name a directory with --home")
        })?;
        Ok(Self { places })
    }

    fn config_dir(&self) -> &Path {
        &self.places.config_dir
    }

    fn data_dir(&self) -> &Path {
        &self.places.data_dir
    }

    fn socket(&self) -> PathBuf {
        self.places.socket()
    }

    fn check_home(&self) -> Result<(), Failure> {
        self.check_directories()?;
        self.places.check_owner().map_err(|error| not_started(&error.into()))
    }

    fn check_socket(&self) -> Result<(), Failure> {
        self.check_directories()?;
        // Root may ask any user's node.
        let owned = if rustix::process::geteuid().is_root() { Ok(()) } else { self.places.check_owner() };
        owned.and_then(|()| self.places.check_socket_dir()).map_err(|error| {
            Failure::new(Exit::NotAllowed, "socket-unsafe", "cannot ask the node").caused_by(&error).hint(error.hint())
        })
    }

    fn check_settings(&self) -> Result<(), Failure> {
        let config = self.config(Settings::default())?;
        node::listen_on(&config.listen).map_err(|error| not_started(&error))?;
        config::load_policy(&self.places).map(drop).map_err(|error| not_started(&error.into()))
    }

    fn check_permissions(&self) -> Result<(), Failure> {
        OpenToOthers::find(&self.places).map_or(Ok(()), |open| {
            let what = "others may change what decides here";
            Err(Failure::new(Exit::NotAllowed, "open-to-others", what).because(open.found()).hint(open.remedy()))
        })
    }

    fn check_identity(&self) -> Result<(), Failure> {
        let found = identity::load(&self.places).and_then(|_| identity::is_without_record(&self.places));
        if found.map_err(|error| bad_identity(&error))? {
            let file = self.places.node_file().display().to_string();
            return Err(Failure::new(Exit::Error, "bad-identity", "this node has no name of its own")
                .because(format!("`{file}` is missing: the next start names the node after its machine"))
                .hint("restore it, or run `miner-ctrl node init --name NAME --role ROLE`, which keeps the key"));
        }
        Ok(())
    }

    fn mines(&self) -> bool {
        let identity = identity::load(&self.places).ok().flatten();
        identity.is_none_or(|identity| identity.record.role.mines())
    }

    fn check_wanted(&self) -> Result<(), Failure> {
        check_wanted(&self.places.data_dir)
            .map_err(|error| not_started(&error.into()).hint("`wanted.json` holds what ran when the node stopped"))
    }

    fn check_database(&self) -> Result<(), Failure> {
        Database::look(&self.places.database_file()).map(drop).map_err(|error| not_started(&error.into()))
    }

    fn check_files(&self) -> Result<(), Failure> {
        Lock::check(&self.places).map_err(|error| not_started(&error.into()))?;
        control::check(&self.places.socket()).map_err(|error| no_socket(&error))
    }

    async fn check_page(&self) -> Result<Page, Failure> {
        // Settings and database have findings of their own.
        let Ok(config) = self.config(Settings::default()) else { return Ok(Page::Nowhere) };
        let role =
            identity::load(&self.places).ok().flatten().map_or_else(Role::default, |identity| identity.record.role);
        let database = Database::look(&self.places.database_file()).ok().flatten();
        Door::check(&config, &self.places, role, database.as_ref()).await
    }

    fn check_profiles(&self) -> Result<(), Failure> {
        ProfileStore::new(&self.places.config_dir).list().map(drop).map_err(|error| {
            Failure::new(Exit::Error, "bad-profile", "cannot read a profile")
                .caused_by(&error)
                .hint("mend the file or remove it; all others can be used")
        })
    }

    fn listens(&self) -> Vec<SocketAddr> {
        let listen = NodeConfig::load(&self.places, env, Settings::default()).map(|config| config.listen);
        let addresses = listen.unwrap_or_default().into_iter().filter_map(|text| mesh::listen_addresses(&text).ok());
        let places = addresses.flatten().filter_map(|address| {
            let place = SocketAddr::new(mesh::ip_of(&address)?, mesh::port_of(&address)?);
            // A start goes on without the IPv6 twin of a bare port.
            (place.is_ipv4() || !place.ip().is_unspecified()).then_some(place)
        });
        places.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn key_file(&self) -> PathBuf {
        self.places.key_file()
    }

    async fn init(&self, name: NodeName, role: Option<Role>) -> Result<Made, Failure> {
        self.check_home()?;
        // What would keep the node from starting keeps it from being made: it cannot be made twice.
        self.check_settings()?;
        // Two at once must not make two keys.
        let lock = self.lock().await?;
        let before = identity::load(&self.places).map_err(|error| bad_identity(&error))?;
        let made = identity::init(&self.places, Some(name), role).map_err(|error| bad_identity(&error))?;
        let node = self.start(lock, self.config(Settings::default())?, Mode::Command).await?;
        let info = node.handle.info().await;
        node.shutdown().await;
        Ok(Made { info, already: before.is_some_and(|before| before.record == made.record) })
    }

    async fn enrol(&self, rigs: Vec<(PeerKey, NodeName)>) -> Result<(), Failure> {
        let _lock = Lock::acquire(&self.places).map_err(|error| not_started(&error.into()))?;
        let database = Database::open(&self.places.database_file()).map_err(|error| not_started(&error.into()))?;
        let now = unix_now();
        let new = rigs.into_iter().map(|(key, name)| NewPeer {
            key,
            name: None,
            own_name: name,
            role: Role::Worker,
            // They dial this node.
            addresses: vec![],
            permission: Permission::None,
            now,
        });
        let enrolled = fleet::enrol(&database, new).await;
        enrolled
            .map_err(|error| Failure::new(Exit::Error, "not-enrolled", "cannot register the rigs").caused_by(&error))
    }

    async fn start_for_command(&self) -> Result<Local, Failure> {
        self.check_home()?;
        let config = self.config(Settings::default())?;
        let node = self.start(self.lock().await?, config, Mode::Command).await?;
        let router = miner_ctrl_dashboard::router(node.handle.clone());
        Ok(Local { router, close: Box::pin(node.shutdown()) })
    }

    async fn serve(&self, options: ServeOptions, stop: CancellationToken) -> Result<Serving, Failure> {
        let print_link = options.link;
        self.check_home()?;
        let config = self.config(settings(options))?;
        if let Some(open) = OpenToOthers::find(&self.places) {
            // Not refused: a rig must come back.
            tracing::warn!("{}: {}", open.found(), open.remedy());
        }
        let dashboard = config.clone();
        let files = files::raise(FILES);
        // Nothing was touched yet: a stop need not wait for whatever command holds the lock.
        let Some(lock) = stop.run_until_cancelled(Lock::after_commands(&self.places)).await else {
            return Err(Failure::stopped());
        };
        let lock = lock.map_err(|error| not_started(&error.into()))?;
        if identity::load(&self.places).map_err(|error| bad_identity(&error))?.is_none() {
            // The first start: a first rig is under control in a minute, and `node init` names it afterwards, too.
            let made = identity::init(&self.places, None, None).map_err(|error| bad_identity(&error))?;
            tracing::info!(name = %made.record.name, role = %made.record.role, "made a new identity");
        }
        let programs = node::program_paths(&config);
        let mut node = self.start(lock, config, Mode::Serve).await?;
        if self.mines() {
            for why in wrongly_named(&programs) {
                // Not refused: the rig's other program may mine.
                tracing::warn!("{why}");
            }
        }
        let socket = match self.places.make_socket_dir() {
            Ok(()) => control::bind(&self.places.socket()).await.map_err(|error| no_socket(&error)),
            Err(error) => Err(no_socket(&error).hint(error.hint())),
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(failure) => {
                node.shutdown().await;
                return Err(failure);
            }
        };
        let pairs = node.handle.info().await.pairing != PairingMode::Off.to_string();
        if pairs && let Err(error) = node.handle.pairing_code().await {
            tracing::warn!(%error, "no pairing code is shown");
        }
        let info = node.handle.info().await;
        // Half of them are for connections that are coming up.
        if files / 2 < u64::try_from(info.peers).unwrap_or(u64::MAX) {
            let peers = info.peers;
            tracing::warn!(files, peers, "too few open files for so many peers: raise the limit (`ulimit -Hn`)");
        }
        let gateway = Gateway::new(node.handle.clone(), stop.clone());
        let door = Door::open(&gateway, &dashboard, &self.places, &info, print_link).await;
        let begun = match door {
            Ok(door) => node.begin().await.map(|()| door).map_err(|error| not_started(&error)),
            Err(failure) => Err(failure),
        };
        let door = match begun {
            Ok(door) => door,
            Err(failure) => {
                // Nobody was served yet; it goes with its file.
                stop.cancel();
                let _ = socket.serve(gateway.local(), stop).await;
                node.shutdown().await;
                return Err(failure);
            }
        };
        let info = gateway.complete(info);
        let link =
            info.dashboard.as_ref().filter(|_| print_link).map(|page| format!("{page}/{}", gateway.link().fragment));
        let failed = |error: &dyn Error| Failure::new(Exit::Error, "socket-ended", "the node stopped").caused_by(error);
        // A task of its own: it answers whether anybody waits for its end or not.
        let serving = tokio::spawn(async move {
            let router = gateway.local();
            // Beside what is still under way, so that all of it is done within 10 s.
            let miners = async {
                stop.cancelled().await;
                node.stop_miners().await;
            };
            let doors = async {
                let page = Door::serve(door, gateway, stop.clone());
                let (ended, ()) = tokio::join!(socket.serve(router, stop.clone()), page);
                node.stop_mesh();
                ended
            };
            let (ended, ()) = tokio::join!(doors, miners);
            node.shutdown().await;
            ended
        });
        let ended = async move {
            match serving.await {
                Ok(ended) => ended.map_err(|error| failed(&error)),
                Err(error) => Err(failed(&error)),
            }
        };
        Ok(Serving { info, link, ended: Box::pin(ended) })
    }

    async fn programs(&self) -> Vec<ProgramFound> {
        match NodeConfig::load(&self.places, env, Settings::default()) {
            Ok(config) => {
                let programs = node::program_paths(&config);
                futures::future::join_all(Program::ALL.map(|program| look_for(program, &programs))).await
            }
            Err(_) => Vec::new(),
        }
    }

    fn simulate(program: Program, arguments: &[OsString]) -> ExitCode {
        simulate::run(program, arguments)
    }

    fn simulate_pool(listen: &str, algorithm: &str, difficulty: u32) -> io::Result<()> {
        simulate::pool(listen, algorithm, difficulty)
    }
}

fn settings(options: ServeOptions) -> Settings {
    let ServeOptions { listen, pairing, simulate, dashboard, no_dashboard, insecure_http, link: _ } = options;
    Settings {
        listen: (!listen.is_empty()).then(|| config::places_of(listen)),
        dashboard: if no_dashboard {
            Some(DashboardChoice::Off)
        } else {
            dashboard.as_deref().map(DashboardChoice::parse)
        },
        pairing,
        simulate: simulate.then_some(true),
        tls: insecure_http.then_some(TlsMode::Off),
        ..Settings::default()
    }
}

fn bad_identity(error: &IdentityError) -> Failure {
    let failure = |exit, code| Failure::new(exit, code, "cannot use this node's identity").caused_by(error);
    match error {
        IdentityError::Exists { .. } => failure(Exit::Refused, "identity-exists"),
        IdentityError::Contradicts { .. } | IdentityError::DamagedRecord { .. } => {
            failure(Exit::Error, "bad-identity").hint("restore `node.json` and the key from one copy")
        }
        IdentityError::Places(why) => failure(Exit::Error, "bad-identity").hint(why.hint()),
        IdentityError::Read(_) => failure(Exit::Error, "bad-identity")
            .hint("mend it, or restore it from a copy: a new key would make this node a stranger to its peers"),
        _ => failure(Exit::Error, "bad-identity"),
    }
}

fn no_socket(error: &dyn Error) -> Failure {
    Failure::new(Exit::Error, "no-socket", "cannot serve the command line").caused_by(error)
}

fn not_started(error: &StartError) -> Failure {
    let failure = |exit, code| Failure::new(exit, code, "cannot start the node").caused_by(error);
    match error {
        StartError::Places(why @ PlacesError::AnothersHome { .. }) => {
            failure(Exit::NotAllowed, "anothers-home").hint(why.hint())
        }
        StartError::Places(why) | StartError::Lock(LockError::Places(why)) => {
            failure(Exit::Error, "not-started").hint(why.hint())
        }
        StartError::Database(why) => failure(Exit::Error, "not-started").hint(why.hint()),
        StartError::Address { .. } => {
            failure(Exit::Usage, "bad-address").hint("write `:9091`, `host:port` or a multiaddr like /ip4/…/tcp/…/ws")
        }
        StartError::Identity(why) => bad_identity(why),
        StartError::Lock(why @ LockError::Held { .. }) => failure(Exit::Refused, "locked").hint(why.hint()),
        StartError::Lock(why) => failure(Exit::Error, "not-started").hint(why.hint()),
        StartError::Mesh(mesh::StartError::Listen { .. }) => failure(Exit::Error, "cannot-listen").hint(
            "another node or program listens there, or the address is not this machine's: choose another with --listen",
        ),
        // The policy alone is read by a start: the settings are given to it.
        StartError::Config(why) => Failure::new(Exit::Usage, "bad-policy", "cannot start the node")
            .caused_by(why)
            .hint("mend `policy.json`; without the file everything is allowed"),
        StartError::NoIdentity => {
            failure(Exit::NotFound, "no-identity").hint("make one with `miner-ctrl node init --name NAME --role ROLE`")
        }
        _ => failure(Exit::Error, "not-started").hint("`miner-ctrl doctor` looks for what is wrong"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::atomic;
    use serde_json::json;

    fn machine() -> (tempfile::TempDir, ThisMachine) {
        let home = tempfile::tempdir().unwrap();
        let places = Places::resolve(Some(home.path()), |_| None).unwrap();
        places.make_directories().unwrap();
        (home, ThisMachine { places })
    }

    fn make(machine: &ThisMachine, name: Option<&str>) -> identity::Identity {
        identity::init(&machine.places, name.map(|name| name.parse().unwrap()), None).unwrap()
    }

    async fn start(machine: &ThisMachine) -> Node {
        let lock = Lock::acquire(&machine.places).unwrap();
        machine.start(lock, machine.config(Settings::default()).unwrap(), Mode::Command).await.unwrap()
    }

    #[tokio::test]
    async fn a_node_that_could_not_start_is_not_made() {
        let (_home, machine) = machine();
        for (file, text) in [(machine.places.config_file(), "lisen = []"), (machine.places.policy_file(), "{")] {
            atomic::write(&file, text.as_bytes()).unwrap();
            assert_eq!(machine.init("x".parse().unwrap(), None).await.unwrap_err().exit, Exit::Usage);
            std::fs::remove_file(file).unwrap();
        }
        let made = machine.init("x".parse().unwrap(), None).await.unwrap();
        assert_eq!((made.info.name.as_str(), made.info.role, made.already), ("x", Role::Dual, false));
    }

    #[tokio::test]
    async fn a_node_is_made_once_and_asked_for_again_is_there() {
        let (_home, machine) = machine();
        let init = async |name: &str, role| machine.init(name.parse().unwrap(), role).await;
        let made = init("rig-alpha", Some(Role::Worker)).await.unwrap();
        for role in [None, Some(Role::Worker)] {
            let again = init("rig-alpha", role).await.unwrap();
            assert_eq!((again.info.id, again.already), (made.info.id, true));
        }
        assert_eq!(init("rig-beta", None).await.unwrap_err().exit, Exit::Refused);
        assert_eq!(init("rig-alpha", Some(Role::Dual)).await.unwrap_err().exit, Exit::Refused);
    }

    #[test]
    fn all_but_a_controller_mine() {
        for (role, mines) in [(None, true), (Some(Role::Worker), true), (Some(Role::Controller), false)] {
            let (_home, machine) = machine();
            if let Some(role) = role {
                identity::init(&machine.places, "x".parse().ok(), Some(role)).unwrap();
            }
            assert_eq!(machine.mines(), mines, "{role:?}");
        }
    }

    #[tokio::test]
    async fn who_looks_beside_a_making_that_is_under_way_writes_nothing() {
        let (_home, machine) = machine();
        make(&machine, None);
        std::fs::remove_file(machine.places.node_file()).unwrap();
        let told = machine.check_identity().unwrap_err();
        assert!(told.hint.unwrap().contains("node init --name NAME --role ROLE"));
        // A node that waits for the lock that `node init` has, too.
        let making = Lock::acquire(&machine.places).unwrap();
        let stop = CancellationToken::new();
        let mut serving = Box::pin(machine.serve(ServeOptions::default(), stop.clone()));
        assert!(futures::poll!(&mut serving).is_pending());
        assert!(!machine.places.node_file().exists());
        stop.cancel();
        assert!(serving.await.unwrap_err().is_quiet());
        drop(making);
        let named = machine.init("rig-alpha".parse().unwrap(), Some(Role::Worker)).await.unwrap();
        assert_eq!((named.info.name.as_str(), named.info.role), ("rig-alpha", Role::Worker));
    }

    #[tokio::test]
    async fn a_node_finds_itself_as_it_finds_a_peer() {
        let (_home, machine) = machine();
        let made = make(&machine, Some("desk"));
        let node = start(&machine).await;
        let id = made.record.id.to_string();
        for asked in ["desk", "DESK", " desk ", id.as_str(), &id[..8], made.record.peer_id.as_str()] {
            assert_eq!(node.handle.named(asked).await.unwrap().0, made.record.id, "{asked}");
        }
        assert!(node.handle.named(&id[..7]).await.is_err());
        node.shutdown().await;
    }

    #[tokio::test]
    async fn a_policy_that_others_may_change_is_told_and_hinders_no_start() {
        use std::os::unix::fs::PermissionsExt;
        let (_home, machine) = machine();
        make(&machine, None);
        assert!(machine.check_permissions().is_ok());
        let policy = machine.places.policy_file();
        atomic::write(&policy, b"{}").unwrap();
        std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o666)).unwrap();
        let told = machine.check_permissions().unwrap_err().hint;
        assert_eq!(told, Some(format!("chmod go-w {}", policy.display())));
        start(&machine).await.shutdown().await;
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait_for_a_command() {
        let (_home, machine) = machine();
        make(&machine, None);
        let _command = Lock::acquire(&machine.places).unwrap();
        let stop = CancellationToken::new();
        let mut serving = Box::pin(machine.serve(ServeOptions::default(), stop.clone()));
        assert!(futures::poll!(&mut serving).is_pending());
        stop.cancel();
        let ended = serving.await.unwrap_err();
        assert!(ended.is_quiet() && ended.exit == Exit::Done, "{ended:?}");
    }

    #[tokio::test]
    async fn a_damaged_profile_hides_no_other_and_the_doctor_names_it() {
        let (_home, machine) = machine();
        make(&machine, None);
        assert!(machine.check_profiles().is_ok());
        let draft = json!({"name": "good", "program": "xmrig", "wallet": "w", "pools": [{"url": "a.example:1"}]});
        atomic::make_directory(&machine.places.profiles_dir()).unwrap();
        for (name, text) in [("good", draft.to_string()), ("bad", "{".to_owned())] {
            let file = machine.places.profiles_dir().join(format!("{name}.json"));
            atomic::write(&file, text.as_bytes()).unwrap();
        }
        let node = start(&machine).await;
        let names: Vec<_> = node.handle.profiles().await.unwrap().into_iter().map(|profile| profile.name).collect();
        node.shutdown().await;
        assert_eq!(names, ["good".parse().unwrap()]);
        assert!(machine.check_profiles().unwrap_err().causes.join(" ").contains("bad.json"));
    }

    #[test]
    fn off_is_no_address() {
        let off = || "off".to_owned();
        let options = ServeOptions { listen: vec![off()], dashboard: Some(off()), ..ServeOptions::default() };
        let settings = settings(options);
        assert_eq!((settings.listen, settings.dashboard), (Some(vec![]), Some(DashboardChoice::Off)));
    }
}
