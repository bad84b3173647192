//! `miner-ctrl simulate fleet`: thousands of rigs in this process, for a controller of their own or for a real one.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, value_parser};
use miner_ctrl_dashboard::node::{NodeInfo, PeerView};
use miner_ctrl_protocol::smsg::PairingCode;
use miner_ctrl_protocol::{PeerKey, Role};
use serde_json::{Value, json};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cli::engine::{Engine, ServeOptions, Serving};
use crate::cli::render::Output;
use crate::cli::stops::Stops;
use crate::cli::{Exit, Failure, view};
use crate::control::Client;
use crate::fleet::PairingMode;
use crate::identity;
use crate::mesh::{Address, PairError, StartError, dial_address};
use crate::simulate::fleet::{Faults, FleetKey, Hall, make_room};
use crate::store::{atomic, file};

/// Most rigs: a controller registers no more peers.
const MAX_RIGS: u32 = 10_000;
/// Says that a home was made for a fleet with a controller of its own, and may be used for it again.
const MARK: &str = "simulated-fleet";
/// The secret of the rigs that belong to the controller of this home.
const SECRET: &str = "simulated-rigs.key";
/// Open files besides the rigs' connections: the database, sockets, browsers.
const OTHER_FILES: u64 = 512;
/// How long a second process may take to end.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// How long a rig waits for its turn to pair.
const TURN: Duration = Duration::from_secs(20);
/// Pause between two looks at how many rigs are online, and between two tries to pair.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(crate) struct Fleet {
    /// How many rigs.
    #[arg(long, default_value_t = MAX_RIGS, value_parser = value_parser!(u32).range(1..=i64::from(MAX_RIGS)))]
    rigs: u32,
    /// Join the controller that runs here (at this --home): each rig is paired by a code of its own, then dials it.
    #[arg(long, conflicts_with_all = ["controller", "dashboard"])]
    join: bool,
    /// Join the controller at this address instead of starting one, with a code for each rig.
    #[arg(long, value_name = "ADDRESS", requires = "code", conflicts_with_all = ["rigs", "dashboard"])]
    controller: Option<String>,
    /// A code that the controller shows, once for each rig.
    #[arg(long, value_name = "CODE", requires = "controller")]
    code: Vec<PairingCode>,
    /// Where to serve the web page of the fleet's own controller. Left out: 127.0.0.1:9090.
    #[arg(long, value_name = "HOST:PORT")]
    dashboard: Option<String>,
    /// How far rates wander, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = percent)]
    drift: f64,
    /// Rigs that cannot start a miner, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    fail_starts: f64,
    /// Rigs that are away at any moment, each for 30 s, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    offline: f64,
    /// End when standard input does.
    #[arg(long, hide = true)]
    until_eof: bool,
}

/// What was started; ended in order, then what is temporary is removed.
#[derive(Default)]
struct Stage {
    directory: Option<PathBuf>,
    controller: Option<Serving>,
    rigs: Option<JoinHandle<Result<(), StartError>>>,
    /// The rigs, when this process may not have enough files for both ends of their connections.
    apart: Option<(Child, ChildStdin)>,
    stop: CancellationToken,
}

/// Whom the rigs obey, and where it is.
struct Controller {
    key: PeerKey,
    address: Address,
}

pub(crate) async fn fleet<E: Engine>(fleet: Fleet, home: Option<&Path>, output: &mut Output) -> Result<Exit, Failure> {
    let mut stops = Stops::new()?;
    let mut stage = Stage::default();
    let lived = tokio::select! {
        lived = stage.live::<E>(&fleet, home, output) => lived,
        () = stops.next() => Ok(()),
        () = end_of_input(), if fleet.until_eof => Ok(()),
    };
    let ended = stage.end().await;
    lived.and(ended).map(|()| Exit::Done)
}

impl Stage {
    /// Until it is stopped from outside, or something breaks.
    async fn live<E: Engine>(
        &mut self,
        fleet: &Fleet,
        home: Option<&Path>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let count = if fleet.controller.is_some() { fleet.code.len() as u64 } else { fleet.rigs.into() };
        let alone = fleet.controller.is_none() && !fleet.join;
        // With a controller here, both ends of each connection are open files of this process.
        let apart = alone && make_room(2 * count + OTHER_FILES).is_err();
        if apart || !alone {
            make_room(count + OTHER_FILES).map_err(|error| {
                let hint = format!("raise the limit (`ulimit -n {}`), or run fewer rigs with --rigs", error.needed);
                failure("too-few-files").caused_by(&error).hint(hint)
            })?;
        }
        let temporary = if alone && home.is_none() { Some(self.temporary_home()?) } else { None };
        let home = temporary.as_deref().or(home);
        let (hall, controller) = match &fleet.controller {
            Some(address) => self.by_codes(fleet, address).await?,
            None if fleet.join => self.join::<E>(fleet, home, output).await?,
            None => self.alone::<E>(fleet, home, output).await?,
        };
        if apart {
            return self.run_apart(fleet, home, output).await;
        }
        let begun = Instant::now();
        let running = (Arc::clone(&hall), self.stop.clone());
        let rigs = self.rigs.insert(tokio::spawn(async move {
            let (hall, stop) = running;
            hall.run(controller.key, &controller.address, &stop).await
        }));
        // Of those that are to be away now and then, some are away from the start.
        let enough = (count as f64 * (1.0 - fleet.offline)) as usize;
        let up = async {
            while hall.online() < enough {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            () = output.waiting("the rigs connect", up) => {}
            ended = &mut *rigs => {
                self.rigs = None;
                return said(ended);
            }
        }
        let (online, seconds) = (hall.online(), begun.elapsed().as_secs_f64());
        output.item(&json!({ "rigs": count, "online": online, "seconds": seconds }), || {
            format!("{online} of {count} simulated rigs are online after {seconds:.1} s. Ctrl-C ends them.\n")
        })?;
        let ended = rigs.await;
        self.rigs = None;
        said(ended)
    }

    /// A controller of their own, in which they are registered before it starts.
    async fn alone<E: Engine>(
        &mut self,
        fleet: &Fleet,
        home: Option<&Path>,
        output: &mut Output,
    ) -> Result<(Arc<Hall>, Controller), Failure> {
        let engine = E::open(home)?;
        let mark = engine.data_dir().join(MARK);
        if engine.key_file().exists() && !mark.exists() {
            return Err(Failure::new(Exit::Refused, "other-node", "cannot simulate a fleet there")
                .because(format!("{} holds a node that was not made for this", engine.data_dir().display()))
                .hint("choose another --home, leave it out, or let the rigs join that node with --join"));
        }
        let made = atomic::make_directory(engine.data_dir()).and_then(|()| atomic::write(&mark, b""));
        made.map_err(|error| failure("no-directories").caused_by(&error))?;
        let hall = Arc::new(fleet.hall(&key_at(&engine.data_dir().join(SECRET))?, fleet.rigs));
        if !engine.key_file().exists() {
            let name = "control-center".parse().map_err(|_| failure("bad-name"))?;
            engine.init(name, Some(Role::Controller)).await?;
        }
        engine.enrol(hall.members().map(|(key, name)| (key, name.clone())).collect()).await?;
        let options = ServeOptions {
            listen: vec!["127.0.0.1:0".to_owned()],
            pairing: Some(PairingMode::Code),
            simulate: true,
            dashboard: fleet.dashboard.clone(),
            link: true,
            ..ServeOptions::default()
        };
        let serving = self.controller.insert(engine.serve(options, self.stop.clone()).await?);
        let controller = at(&serving.info)?;
        let document = json!({ "home": home, "dashboard": serving.info.dashboard, "link": serving.link });
        output.item(&document, || {
            let shown = [
                ("dashboard", serving.info.dashboard.clone()),
                ("sign in once", serving.link.clone()),
                ("command line", home.map(|home| format!("miner-ctrl --home {} remote status", home.display()))),
            ];
            let shown: Vec<_> = shown.into_iter().filter_map(|(label, value)| Some((label, value?))).collect();
            let kept = if self.directory.is_some() { " Their home is removed at the end." } else { "" };
            format!(
                "A controller and {} SIMULATED rigs in this process.{kept}\n\n{}\n",
                fleet.rigs,
                view::labelled(&shown)
            )
        })?;
        Ok((hall, controller))
    }

    /// The controller that runs here shows a code for each rig that it does not know yet.
    async fn join<E: Engine>(
        &self,
        fleet: &Fleet,
        home: Option<&Path>,
        output: &Output,
    ) -> Result<(Arc<Hall>, Controller), Failure> {
        let engine = E::open(home)?;
        engine.check_socket()?;
        let client = Client::Socket(engine.socket());
        let asking = |error| Failure::asking("cannot join the controller", error);
        let info: NodeInfo = client.fetch("/node/info").await.map_err(asking)?;
        let known: Vec<PeerView> = client.fetch("/peers").await.map_err(asking)?;
        let known: HashSet<String> = known.into_iter().map(|peer| peer.peer_id).collect();
        let hall = Arc::new(fleet.hall(&key_at(&engine.data_dir().join(SECRET))?, fleet.rigs));
        let controller = at(&info)?;
        let pairing = async {
            for (place, (key, name)) in hall.members().enumerate() {
                if !known.contains(&identity::peer_id(&key)) {
                    let shown: Value = client.send("POST", "/node/pairing-code", None).await.map_err(asking)?;
                    let code = shown["code"].as_str().and_then(|code| code.parse().ok());
                    let code = code.ok_or_else(|| failure("no-code").because("the controller shows no code"))?;
                    let paired = pair(&hall, place, &controller.address, Some(controller.key), &code).await;
                    paired.map_err(|error| not_paired(name.as_str(), &error))?;
                }
            }
            Ok(())
        };
        output.waiting("the rigs are paired", pairing).await?;
        Ok((hall, controller))
    }

    /// The controller at an address, with a code for each rig. They are new ones each time: a code pairs once.
    async fn by_codes(&self, fleet: &Fleet, address: &str) -> Result<(Arc<Hall>, Controller), Failure> {
        let (address, mut key) = dial_address(address).map_err(|error| {
            Failure::new(Exit::Usage, "bad-address", "cannot join the controller").caused_by(&error)
        })?;
        let count = u32::try_from(fleet.code.len()).unwrap_or(MAX_RIGS).min(MAX_RIGS);
        let hall = Arc::new(fleet.hall(&FleetKey::generate(&mut rand::rng()), count));
        for (place, ((_, name), code)) in hall.members().zip(&fleet.code).enumerate() {
            let paired = pair(&hall, place, &address, key, code).await;
            key = Some(paired.map_err(|error| not_paired(name.as_str(), &error))?);
        }
        let key = key.ok_or_else(|| failure("no-code"))?;
        Ok((hall, Controller { key, address }))
    }

    /// The rigs in a second process of this program, which ends with this one.
    async fn run_apart(&mut self, fleet: &Fleet, home: Option<&Path>, output: &Output) -> Result<(), Failure> {
        let broken = |error: io::Error| failure("no-second-process").caused_by(&error);
        let mut command = Command::new(std::env::current_exe().map_err(broken)?);
        if let Some(home) = home {
            command.arg("--home").arg(home);
        }
        if output.is_json() {
            command.args(["--output", "json"]);
        }
        command.args(["simulate", "fleet", "--join", "--until-eof", "--rigs", &fleet.rigs.to_string()]);
        for (option, part) in
            [("--drift", fleet.drift), ("--fail-starts", fleet.fail_starts), ("--offline", fleet.offline)]
        {
            command.arg(option).arg((part * 100.0).to_string());
        }
        let mut child = command.stdin(Stdio::piped()).kill_on_drop(true).spawn().map_err(broken)?;
        let input = child.stdin.take().ok_or_else(|| failure("no-second-process"))?;
        let (child, _) = self.apart.insert((child, input));
        let ended = child.wait().await.map_err(broken)?;
        self.apart = None;
        let why = || failure("broke-off").because(format!("the process of the rigs ended: {ended}"));
        ended.success().then_some(()).ok_or_else(why)
    }

    fn temporary_home(&mut self) -> Result<PathBuf, Failure> {
        let directory = atomic::temporary_directory("miner-ctrl-fleet")
            .map_err(|error| failure("no-directories").caused_by(&error))?;
        Ok(self.directory.insert(directory).clone())
    }

    async fn end(self) -> Result<(), Failure> {
        self.stop.cancel();
        if let Some(rigs) = self.rigs
            && let Err(error) = rigs.await
        {
            tracing::error!(%error, "the simulated rigs broke off");
        }
        if let Some((mut child, input)) = self.apart {
            drop(input);
            // What does not end in time is killed when it is dropped.
            let _ = timeout(LAST_WAIT, child.wait()).await;
        }
        let ended = match self.controller {
            Some(controller) => controller.ended.await,
            None => Ok(()),
        };
        if let Some(directory) = &self.directory
            && let Err(error) = fs::remove_dir_all(directory)
        {
            tracing::warn!(path = %directory.display(), %error, "the fleet's directory is left behind");
        }
        ended
    }
}

impl Fleet {
    fn hall(&self, key: &FleetKey, count: u32) -> Hall {
        Hall::new(key, count, self.drift, Faults { fail_starts: self.fail_starts, offline: self.offline })
    }
}

/// Pairs one rig; waits for its turn where a controller lets strangers in four a second.
async fn pair(
    hall: &Hall,
    place: usize,
    address: &Address,
    expected: Option<PeerKey>,
    code: &PairingCode,
) -> Result<PeerKey, PairError> {
    let until = Instant::now() + TURN;
    loop {
        match hall.pair(place, address, expected, code.clone()).await {
            // Turned away before the code was tried.
            Err(PairError::Connect(_)) if Instant::now() < until => tokio::time::sleep(LOOK_AGAIN).await,
            paired => return paired,
        }
    }
}

/// Until standard input ends.
async fn end_of_input() {
    // An error is an end, too.
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
}

/// A part of the whole, 0 to 1, from percent.
fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    if (0.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { Err("is not between 0 and 100".to_owned()) }
}

fn failure(code: &str) -> Failure {
    Failure::new(Exit::Error, code, "cannot simulate a fleet")
}

fn not_paired(rig: &str, error: &PairError) -> Failure {
    Failure::new(Exit::Refused, "not-paired", format!("cannot pair {rig} with the controller"))
        .caused_by(error)
        .hint("check the address and the codes: each code is for one rig, once; rigs that were paired stay so")
}

/// How the rigs ended, when nobody stopped them.
fn said(ended: Result<Result<(), StartError>, JoinError>) -> Result<(), Failure> {
    ended
        .map_err(|error| failure("broke-off").caused_by(&error))?
        .map_err(|error| failure("not-started").caused_by(&error))
}

/// The secret in this file, made when there is none.
fn key_at(path: &Path) -> Result<FleetKey, Failure> {
    let bad = |error: &dyn Error| failure("bad-key").caused_by(error);
    if let Some(secret) = file::read_secret(path, FleetKey::BYTES as u64).map_err(|error| bad(&error))? {
        return FleetKey::from_bytes(&secret.bytes)
            .ok_or_else(|| failure("bad-key").because(format!("{} is damaged: remove it", path.display())));
    }
    let key = FleetKey::generate(&mut rand::rng());
    file::create_secret(path, key.as_bytes()).map_err(|error| bad(&error))?;
    Ok(key)
}

/// Where a controller on this machine is dialled: loopback if it listens there.
fn at(info: &NodeInfo) -> Result<Controller, Failure> {
    let loopback = info.addresses.iter().find(|address| address.starts_with("/ip4/127."));
    let address = loopback.or_else(|| info.addresses.first()).ok_or_else(|| {
        Failure::new(Exit::Refused, "not-listening", "cannot join the controller")
            .because("it listens nowhere")
            .hint("start it with --listen 127.0.0.1:9091")
    })?;
    match dial_address(address) {
        Ok((address, Some(key))) => Ok(Controller { key, address }),
        _ => Err(failure("bad-address").because(format!("the controller names no address to dial but `{address}`"))),
    }
}
