//! `miner-ctrl demo`: a controller and two rigs on this machine, with stand-ins for mining programs.
//!
//! Every step is the command line that a person would type, run in this process; the nodes are real ones, on real
//! sockets, in a directory of their own that is removed at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser};
use miner_ctrl_dashboard::node::RigView;
use miner_ctrl_protocol::{MinerState, Role};
use tokio_util::sync::CancellationToken;

use crate::cli::app::{Cli, run};
use crate::cli::engine::{Engine, ServeOptions, Serving};
use crate::cli::render::Output;
use crate::cli::stops::Stops;
use crate::cli::{Exit, Failure};
use crate::control::Client;
use crate::fleet::PairingMode;
use crate::store::atomic;

/// Pause between two looks at the rigs.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The stand-ins have a rate after 10 s, as the real programs do.
const WARM_UP: Duration = Duration::from_secs(25);

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End after the last step instead of waiting for Ctrl-C.
    #[arg(long)]
    once: bool,
}

/// The demo's nodes; ended in order, then their directory is removed.
struct Stage {
    directory: PathBuf,
    stop: CancellationToken,
    nodes: Vec<Serving>,
}

pub(crate) async fn demo<E: Engine>(demo: Demo, output: &mut Output) -> Result<Exit, Failure> {
    let mut stops = Stops::new()?;
    let mut stage = Stage::make()?;
    let played = tokio::select! {
        played = stage.play::<E>(output) => Some(played),
        () = stops.next() => None,
    };
    let failed = match played {
        Some(Ok(())) if !demo.once => {
            let control = stage.home("control");
            let told = output.print(&format!(
                "\nThe fleet goes on. In another terminal:\n\n    miner-ctrl --home {} remote status --watch\n\n\
                 Ctrl-C stops everything and removes {}.\n",
                control.display(),
                stage.directory.display(),
            ));
            if told.is_ok() {
                stops.next().await;
            }
            told.err()
        }
        Some(played) => played.err(),
        None => None,
    };
    stage.end().await;
    failed.map_or(Ok(Exit::Done), Err)
}

impl Stage {
    fn make() -> Result<Self, Failure> {
        let directory = atomic::temporary_directory("miner-ctrl-demo")
            .map_err(|error| Failure::new(Exit::Error, "no-directories", "cannot start the demo").caused_by(&error))?;
        Ok(Self { directory, stop: CancellationToken::new(), nodes: Vec::new() })
    }

    fn home(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    async fn play<E: Engine>(&mut self, output: &mut Output) -> Result<(), Failure> {
        output.print("A controller and two rigs on this machine; their mining programs are SIMULATED.\n")?;
        self.serve::<E>("control", Role::Controller).await?;
        let control = self.home("control");
        for rig in ["rig-alpha", "rig-beta"] {
            let (address, code) = self.serve::<E>(rig, Role::Worker).await?;
            let add = ["peer", "add", "--address", &address, "--name", rig, "--code", &code];
            step::<E>(&control, &add, output).await?;
        }
        step::<E>(&control, &["peer", "list"], output).await?;
        for (profile, program, algorithm) in [("monero", "xmrig", "rx/0"), ("ravencoin", "tt-miner", "kawpow")] {
            let add = ["profile", "add", profile, "--program", program, "--algorithm", algorithm];
            step::<E>(&control, &[&add[..], &["--pool", "pool.example:3333", "--wallet", "WALLET"]].concat(), output)
                .await?;
        }
        for (rig, profile) in [("rig-alpha", "monero"), ("rig-beta", "ravencoin")] {
            step::<E>(&control, &["remote", "deploy", rig, "--profile", profile], output).await?;
            step::<E>(&control, &["remote", "start", rig, "--profile", profile], output).await?;
        }
        step::<E>(&control, &["remote", "logs", "rig-alpha", "--lines", "5"], output).await?;
        let client = Client::Socket(E::open(Some(&control))?.socket());
        output.waiting("the stand-ins warm up as real miners do, about 10 s", all_mine(&client)).await;
        step::<E>(&control, &["remote", "status"], output).await
    }

    /// Starts a node; gives where it listens and the code that it shows.
    async fn serve<E: Engine>(&mut self, name: &str, role: Role) -> Result<(String, String), Failure> {
        let engine = E::open(Some(&self.home(name)))?;
        let named = name.parse().map_err(|_| Failure::new(Exit::Error, "bad-name", "cannot name a node"))?;
        engine.init(named, Some(role)).await?;
        let options = ServeOptions {
            listen: vec!["127.0.0.1:0".to_owned()],
            pairing: Some(PairingMode::Code),
            simulate: true,
            no_dashboard: true,
            ..ServeOptions::default()
        };
        let serving = engine.serve(options, self.stop.clone()).await?;
        let address = serving.info.addresses.first().map(|address| host_and_port(address)).unwrap_or_default();
        let code = serving.info.pairing_code.clone().unwrap_or_default();
        self.nodes.push(serving);
        Ok((address, code))
    }

    async fn end(self) {
        self.stop.cancel();
        for node in self.nodes {
            // Its reason was told when it ended.
            let _ = node.ended.await;
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::warn!(path = %self.directory.display(), %error, "the demo's directory is left behind");
        }
    }
}

/// `/ip4/127.0.0.1/tcp/9091/ws/…` as a person would write it.
fn host_and_port(address: &str) -> String {
    let parts: Vec<&str> = address.split('/').collect();
    match parts[..] {
        ["", _, host, _, port, ..] => format!("{host}:{port}"),
        _ => address.to_owned(),
    }
}

/// Waits until every rig mines, or for as long as a warm-up may take; the status shows which.
async fn all_mine(client: &Client) {
    let mining = async {
        loop {
            let rigs: Vec<RigView> = client.fetch("/remote/stats").await.unwrap_or_default();
            let mines = |rig: &RigView| {
                rig.stats.iter().flat_map(|stats| &stats.miners).any(|miner| miner.state == MinerState::Mining)
            };
            if !rigs.is_empty() && rigs.iter().all(mines) {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    // What does not mine by then is seen as it is.
    let _ = tokio::time::timeout(WARM_UP, mining).await;
}

/// Shows a command line and runs it.
async fn step<E: Engine>(home: &Path, words: &[&str], output: &mut Output) -> Result<(), Failure> {
    output.print(&format!("\n$ miner-ctrl {}\n", words.join(" ")))?;
    let line = ["miner-ctrl", "--home"].into_iter().map(Into::into).chain([home.as_os_str().to_owned()]);
    let parsed = Cli::try_parse_from(line.chain(words.iter().map(Into::into)));
    let cli = parsed.map_err(|error| Failure::new(Exit::Error, "bad-step", "the demo is broken").caused_by(&error))?;
    match Box::pin(run::<E>(cli, output)).await {
        Exit::Done => Ok(()),
        exit => Err(Failure::new(exit, "demo-step", "the demo stopped at the step above")),
    }
}
