//! Whole commands, from arguments to what is printed, over a node in memory.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{CommandFactory, Parser};
use miner_ctrl_dashboard::Code;
use miner_ctrl_dashboard::memory::{Memory, peer};
use miner_ctrl_dashboard::node::{MinerCommand, Node, NodeError, NodeInfo, PeerView};
use miner_ctrl_protocol::message::ProfileChoice;
use miner_ctrl_protocol::{NodeName, PeerKey, Program, Refusal, Role};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cli::app::{Cli, run};
use crate::cli::render::{Format, Output};
use crate::cli::{Engine, Exit, Failure, Local, Made, ServeOptions, Serving};
use crate::control;
use crate::miners::ProgramFound;

/// The node that every engine of a test opens: one per thread, as each test has its own.
fn shared() -> Memory {
    thread_local! { static NODE: Memory = Memory::default(); }
    NODE.with(Clone::clone)
}

struct InMemory {
    home: PathBuf,
    node: Memory,
}

impl InMemory {
    /// Where a node is just starting, nothing else begins, and then that can be asked.
    async fn begins(&self) -> Result<(), Failure> {
        if self.home.join("starting").exists() {
            let socket = control::bind(&self.socket()).await.unwrap();
            tokio::spawn(socket.serve(miner_ctrl_dashboard::router(self.node.clone()), CancellationToken::new()));
            return Err(Failure::new(Exit::Refused, "locked", "cannot start the node"));
        }
        Ok(())
    }
}

impl Engine for InMemory {
    fn open(home: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self { home: home.unwrap_or_else(|| Path::new("/nonexistent")).to_owned(), node: shared() })
    }

    fn config_dir(&self) -> &Path {
        &self.home
    }

    fn data_dir(&self) -> &Path {
        &self.home
    }

    fn socket(&self) -> PathBuf {
        self.home.join("control.sock")
    }

    fn key_file(&self) -> PathBuf {
        self.home.join("private.key")
    }

    async fn init(&self, name: NodeName, role: Option<Role>) -> Result<Made, Failure> {
        self.begins().await?;
        let info = self.node.info().await;
        let role = role.unwrap_or(info.role);
        let already = info.name == name && info.role == role;
        Ok(Made { info: NodeInfo { name, role, ..info }, already })
    }

    async fn enrol(&self, _: Vec<(PeerKey, NodeName)>) -> Result<(), Failure> {
        Ok(())
    }

    async fn start_for_command(&self) -> Result<Local, Failure> {
        self.begins().await?;
        Ok(Local { router: miner_ctrl_dashboard::router(self.node.clone()), close: Box::pin(async {}) })
    }

    async fn serve(&self, _: ServeOptions, _: CancellationToken) -> Result<Serving, Failure> {
        Ok(Serving { info: self.node.info().await, link: None, ended: Box::pin(async { Ok(()) }) })
    }

    async fn programs(&self) -> Vec<ProgramFound> {
        vec![ProgramFound { program: Program::Xmrig, path: None, version: None, problem: None, named: false }]
    }

    fn simulate(_: Program, _: &[OsString]) -> ExitCode {
        ExitCode::SUCCESS
    }

    fn simulate_pool(_: &str, _: &str, _: u32) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a command line; exit code, stdout, stderr.
async fn command(line: &str) -> (Exit, String, String) {
    let words = format!("miner-ctrl {line}");
    let cli = Cli::try_parse_from(words.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"));
    let (out, err) = (Page::default(), Page::default());
    let format = if line.contains("-o json") { Format::Json } else { Format::Table };
    let mut output = Output::into(format, Box::new(out.clone()), Box::new(err.clone()));
    let exit = run::<InMemory>(cli, &mut output).await;
    (exit, out.text(), err.text())
}

const ADD: &str =
    "profile add monero --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet 44AFFq5kSiGBoZ";

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_documented_is_understood() {
    for line in [
        "node init --name rig-alpha --role worker",
        "node serve --listen :9091 --listen /ip4/0.0.0.0/tcp/9092/ws --pairing code --simulate",
        "node serve --dashboard 127.0.0.1:9090",
        "node serve --dashboard 0.0.0.0:9090 --insecure-http --link",
        "simulate fleet --rigs 100 --drift 3 --fail-starts 1 --offline 2.5 --dashboard 127.0.0.1:0",
        "simulate fleet --rigs 100 --join",
        "simulate fleet --controller 192.0.2.1:9091 --code 7KQ2-M9XD --code 1111-2222",
        "token add grafana --scope read",
        "ui",
        "ui --set-password",
        "node info -o json",
        "node health",
        "simulate pool --listen 0.0.0.0:3333 --algorithm cn-pico --difficulty 1000",
        "--home /tmp/x node info",
        "peer add --address 192.168.1.100:9091 --name rig-alpha --code 7KQ2-M9XD --permission none --wait 0",
        "peer list --watch",
        "peer remove rig-alpha",
        "peer ping rig-alpha --count 3",
        "peer approve amber birch cedar --permission view",
        "peer deny 0123456789abcdef",
        "pair",
        "profile add p --program tt-miner --coin x --pool a:1 --pool b:2 --wallet w --tls --threads-hint 50 --huge-pages true --argument=--cpu-priority=2 --rig-name {name}",
        "profile import - --name p",
        "remote status rig-alpha --watch",
        "remote start a,b --profile p --miner xmrig-1 --from here",
        "remote start a,b xmrig-1 --profile p",
        "remote stop a xmrig-1",
        "remote stop a --miner xmrig-1",
        "remote restart a --miner xmrig-1",
        "remote logs a --miner xmrig-1 -n 1000 -f",
        "remote stop a,b --all",
        "remote restart a",
        "remote logs a xmrig-1 --lines 5 --follow",
        "remote deploy a,b,c --profile p",
        "remote profiles a",
        "remote undeploy a,b,c --profile p",
        "doctor",
        "completions bash",
    ] {
        let words = format!("miner-ctrl {line}");
        Cli::try_parse_from(words.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    for line in [
        "node init --name ../x",
        "node init --name a --role boss",
        "peer approve",
        "peer add --address a --permission all",
        "peer ping a --count 0",
        "profile add p --program nanominer --pool a:1 --wallet w",
        "profile add p --program xmrig --pool a:1 --wallet w --password x --password-file y",
        "profile add p --program xmrig --pool a:1 --wallet w --fingerprint ab",
        "remote stop a xmrig-1 --all",
        "remote stop a --miner xmrig-1 --all",
        "remote start a xmrig-1 --miner xmrig-2 --profile p",
        "remote start a",
        "remote stop a,,b",
        "peer remove a b",
        "remote logs a --lines 1001",
        "remote start a --profile ../x",
    ] {
        let words = format!("miner-ctrl {line}");
        let error = Cli::try_parse_from(words.split_whitespace()).err().unwrap_or_else(|| panic!("{line}"));
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn a_stand_in_gets_its_arguments_as_they_are() {
    let words = ["miner-ctrl", "simulate", "xmrig", "-o", "pool:1", "--home", "x", "--help", "--", "-V"];
    let cli = Cli::try_parse_from(words).unwrap();
    assert!(
        format!("{cli:?}").contains(r#"["xmrig", "-o", "pool:1", "--home", "x", "--help", "--", "-V"]"#),
        "{cli:?}"
    );
}

#[tokio::test]
async fn a_node_in_process_answers_when_none_is_running() {
    let (exit, out, _) = command("node info").await;
    assert_eq!(exit, Exit::Done);
    assert!(out.contains("name:         desk\n"), "{out}");
}

/// `node serve &`, and a command right behind it.
#[tokio::test]
async fn a_node_that_came_up_meanwhile_is_asked() {
    for (line, name) in [("node info", "desk"), ("node init --name barn", "barn")] {
        let home = tempfile::tempdir().unwrap();
        crate::store::atomic::write(&home.path().join("starting"), b"").unwrap();
        let (exit, out, err) = command(&format!("--home {} {line}", home.path().display())).await;
        assert_eq!(exit, Exit::Done, "{err}");
        assert!(out.contains(&format!("name:         {name}\n")), "{out}");
    }
}

#[tokio::test]
async fn strangers_need_a_node_that_stays() {
    for line in ["node health", "pair", "peer pending", "peer approve x", "peer deny x"] {
        let (exit, out, err) = command(line).await;
        assert_eq!((exit, out.as_str()), (Exit::Unreachable, ""), "{line}");
        assert!(err.contains("no node is running here"), "{err}");
        assert!(err.contains("hint: make one with `miner-ctrl node init --name NAME --role ROLE`, then"), "{err}");
    }
    let home = tempfile::tempdir().unwrap();
    crate::store::atomic::write(&home.path().join("private.key"), b"seed").unwrap();
    let at = format!("--home {}", home.path().display());
    let (_, _, err) = command(&format!("{at} pair")).await;
    assert!(err.ends_with("hint: start it with `miner-ctrl node serve`\n"), "{err}");
}

#[tokio::test]
async fn a_node_is_made_or_is_there_already() {
    let (exit, out, err) = command("node init --name barn --role worker").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert!(out.contains("name:         barn\nrole:         worker\n"), "{out}");
    let (exit, out, err) = command("-o json node init --name desk").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, "{\"note\":\"already node desk\"}\n"));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["name"], "desk");
}

#[tokio::test]
async fn a_running_node_is_asked_over_its_socket() {
    let home = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let socket = control::bind(&home.path().join("control.sock")).await.unwrap();
    let serving = tokio::spawn(socket.serve(miner_ctrl_dashboard::router(shared()), stop.clone()));
    let at = format!("--home {}", home.path().display());
    let (exit, out, _) = command(&format!("{at} pair")).await;
    assert_eq!((exit, out.as_str()), (Exit::Done, "pairing code: 7KQ2-M9XD\n"));
    assert_eq!(command(&format!("{at} node health")).await.1, "ready\n");
    let (exit, out, err) = command(&format!("{at} node init --name barn")).await;
    assert!(exit == Exit::Done && out.starts_with("name:         barn\n"), "{out}");
    assert!(err.contains("runs as desk") && err.contains("from its next start on"), "{err}");
    let (_, out, _) = command(&format!("{at} peer pending")).await;
    assert!(out.contains("amber-birch-cedar-delta-ember-fjord  rig-beta"), "{out}");
    let (exit, out, _) =
        command(&format!("{at} peer approve amber-birch-cedar-delta-ember-fjord --permission view")).await;
    assert_eq!(exit, Exit::Done);
    assert!(out.starts_with("paired with rig-beta\n") && out.contains("permission:   view"), "{out}");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn tokens_are_made_listed_and_removed() {
    let (exit, out, _) = command("token list").await;
    assert_eq!((exit, out.as_str()), (Exit::Done, "no tokens yet: make one with `miner-ctrl token add NAME`\n"));
    let (exit, out, err) = command("token add grafana").await;
    assert!(exit == Exit::Done && out.starts_with("mc_") && out.lines().count() == 1, "{out}");
    assert!(err.contains("It may: read."), "{err}");
    let (_, out, _) = command("-o json token add bot --scope control").await;
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["scope"], "control");
    let (exit, _, _) = command("token add bot").await;
    assert_eq!(exit, Exit::Refused);
    let (_, out, _) = command("token list").await;
    assert!(out.contains("grafana") && out.contains("never") && !out.contains("mc_"), "{out}");
    assert_eq!(command("token remove grafana").await.0, Exit::Done);
    assert_eq!(command("token remove grafana").await.0, Exit::NotFound);
}

#[tokio::test]
async fn a_link_needs_a_node_that_serves_a_page() {
    assert_eq!(command("ui").await.0, Exit::Unreachable);
    let home = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let socket = control::bind(&home.path().join("control.sock")).await.unwrap();
    let gateway = miner_ctrl_dashboard::Gateway::new(shared(), stop.clone());
    let serving = tokio::spawn(socket.serve(gateway.local(), stop.clone()));
    let at = format!("--home {}", home.path().display());
    let (exit, _, err) = command(&format!("{at} ui")).await;
    assert!(exit == Exit::Refused && err.contains("serves no dashboard"), "{err}");
    let (exit, out, err) = command(&format!("{at} token add early")).await;
    assert!(exit == Exit::Done && out.starts_with("mc_"), "{out}");
    assert!(err.contains("serves no dashboard") && err.contains("node serve --dashboard"), "{err}");
    let settings = miner_ctrl_dashboard::WebSettings {
        node_id: shared().info().await.id,
        hosts: vec![],
        public_url: Some("http://farm.lan/rigs/".into()),
        tls: None,
        reached_at: None,
        trusted_proxies: vec![],
        link: false,
    };
    let place = miner_ctrl_dashboard::Place::find("127.0.0.1:0").await.unwrap();
    let _listener = miner_ctrl_dashboard::bind(&gateway, &place, &settings).await.unwrap();
    let (exit, out, _) = command(&format!("{at} ui")).await;
    assert!(exit == Exit::Done && out.starts_with("http://farm.lan/rigs/#/link/"), "{out}");
    let (_, _, err) = command(&format!("{at} token add late")).await;
    assert!(!err.contains("no dashboard"), "{err}");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn peers_are_listed_pinged_and_removed() {
    let (_, out, _) = command("peer list").await;
    assert!(out.contains("● rig-alpha  192.0.2.1:9091  worker"), "{out}");
    let (_, out, _) = command("-o json peer list").await;
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()[0]["name"], "rig-alpha");
    let (_, out, _) = command("peer ping rig-alpha").await;
    assert_eq!(out, "rig-alpha (0000000000000001): 1.50 ms\n");
    assert_eq!(command("peer remove rig-alpha").await.0, Exit::Done);
    let (exit, out, err) = command("peer remove rig-alpha").await;
    assert_eq!((exit, out.as_str()), (Exit::NotFound, ""));
    assert_eq!(
        err,
        "error: cannot remove `rig-alpha`: no peer `rig-alpha`\nhint: list peers with `miner-ctrl peer list`\n"
    );
}

#[tokio::test]
async fn with_json_an_error_is_a_problem_document_on_stderr() {
    let (exit, out, err) = command("-o json peer ping nobody").await;
    assert_eq!((exit, out.as_str()), (Exit::NotFound, ""));
    let problem: Value = serde_json::from_str(&err).unwrap();
    assert_eq!(problem["code"], "unknown-peer");
    assert_eq!(problem["exit_code"], 3);
    assert_eq!(problem["failed"], "cannot ping nobody");
}

#[tokio::test]
async fn adding_a_peer_waits_for_approval_or_does_not() {
    let (exit, out, err) = command("peer add --address pending.example --wait 0").await;
    assert_eq!(exit, Exit::Done);
    assert_eq!(err, "there: `miner-ctrl peer approve amber-birch`; then run the same command again\n");
    assert!(out.contains("state:        pending") && out.contains("words:        amber-birch"), "{out}");
    let (exit, out, err) = command("peer add --address pending2.example --name cellar --wait 60").await;
    assert_eq!(exit, Exit::Done, "{err}");
    assert!(err.contains("peer approve amber-birch"), "{err}");
    assert!(out.starts_with("paired with cellar\n"), "{out}");
}

#[tokio::test]
async fn a_profile_lives_from_add_to_remove() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("password");
    crate::store::atomic::write(&file, b"hunter2\nnot this\n").unwrap();
    let (exit, out, _) = command(&format!("{ADD} --password-file {}", file.display())).await;
    assert_eq!((exit, out.as_str()), (Exit::Done, "stored monero\n"));
    assert_eq!(shared().stored("monero").unwrap().password.as_deref(), Some("hunter2"));
    let (_, out, _) = command("profile list").await;
    assert!(out.contains("monero   xmrig    rx/0       pool.example:3333"), "{out}");
    let (_, out, _) = command("profile show monero").await;
    assert!(out.contains("********") && !out.contains("hunter2"), "{out}");
    assert_eq!(command(ADD).await.0, Exit::Refused, "there is one already");
    assert_eq!(command("profile remove monero").await.0, Exit::Done);
    assert_eq!(command("profile show monero").await.0, Exit::NotFound);
}

#[tokio::test]
async fn an_empty_password_file_is_a_mistake() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("password");
    for text in ["", "\nhunter2\n"] {
        crate::store::atomic::write(&file, text.as_bytes()).unwrap();
        let (exit, _, err) = command(&format!("{ADD} --password-file {}", file.display())).await;
        assert!(exit == Exit::Usage && err.contains("its first line is empty"), "{err}");
    }
    assert!(shared().stored("monero").is_none());
}

#[tokio::test]
async fn a_bad_profile_names_the_flag() {
    for (typed, told) in [
        ("--pool nowhere", "--pool (number 2) is not host:port"),
        ("--argument=a --argument=", "--argument (number 2) has"),
        ("--rig-name=-x", "--rig-name starts with"),
        ("--threads-hint 0", "--threads-hint is a percentage"),
        ("--tls --fingerprint ab", "--fingerprint is not a SHA-256"),
    ] {
        let (exit, _, err) = command(&format!("{ADD} {typed}")).await;
        assert!(exit == Exit::Usage && err.contains(told), "{typed}: {err}");
    }
    let (_, _, err) = command("profile add rvn --program tt-miner --pool pool.example:3333 --wallet W").await;
    assert!(err.contains("--algorithm or --coin is missing"), "{err}");
    let (_, _, err) = command(&ADD.replace("pool.example:3333", "pool.example")).await;
    assert!(err.contains("--pool is not host:port"), "{err}");
}

#[tokio::test]
async fn a_configuration_of_xmrig_is_imported() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.json");
    let config = json!({"pools": [{"url": "a.example:1", "user": "w", "pass": "x", "coin": "monero"}]});
    crate::store::atomic::write(&file, config.to_string().as_bytes()).unwrap();
    let (exit, out, _) = command(&format!("profile import {} --name imported", file.display())).await;
    assert_eq!((exit, out.as_str()), (Exit::Done, "stored imported\n"));
}

#[tokio::test]
async fn rigs_are_started_stopped_and_read() {
    let (exit, out, _) = command("remote start rig-alpha --profile monero").await;
    assert_eq!((exit, out.as_str()), (Exit::Done, "rig-alpha: xmrig-1 is mining already\n"));
    let stored = ProfileChoice::Stored("monero".parse().unwrap());
    assert_eq!(shared().commands()[0].1, MinerCommand::Start { profile: stored, miner: None });
    let (_, out, _) = command("remote stop rig-alpha --all").await;
    assert_eq!(out, "rig-alpha: xmrig-1 is stopped\n");
    let (_, out, _) = command("remote status rig-alpha").await;
    assert!(out.contains("● rig-alpha  stopped  xmrig-1  rx/0              –"), "{out}");
    let (_, out, _) = command("remote restart rig-alpha xmrig-1").await;
    assert_eq!(out, "rig-alpha: xmrig-1 is mining\n");
    let (_, out, _) = command("remote logs rig-alpha --lines 2").await;
    assert_eq!(out, "line 4\nline 5\n");
    let (exit, _, err) = command("remote stop rig-alpha xmrig-9").await;
    assert_eq!(exit, Exit::NotFound);
    assert!(err.contains("no miner `xmrig-9` there; there are: xmrig-1"), "{err}");
}

#[tokio::test]
async fn where_several_miners_could_be_meant_the_hint_is_what_the_order_takes() {
    let (peer, miners) = ("rig-alpha".parse().unwrap(), vec!["xmrig-1".parse().unwrap(), "xmrig-2".parse().unwrap()]);
    shared().fail_with(Some(NodeError::Refused { peer, refusal: Refusal::AmbiguousMiner { miners } }));
    for order in ["stop", "restart", "logs"] {
        let (exit, _, err) = command(&format!("remote {order} rig-alpha")).await;
        assert!(exit == Exit::Refused && err.contains("hint: name one of them"), "{err}");
        assert_eq!(err.contains("`--all`"), order == "stop", "{err}");
    }
}

#[tokio::test]
async fn of_many_rigs_each_has_its_line_and_some_failed_is_seven() {
    shared().register(peer(2, "rig-beta"));
    let (exit, out, err) = command("remote stop rig-alpha,nobody,rig-beta,who --all").await;
    assert_eq!(exit, Exit::SomeFailed);
    assert_eq!(
        out,
        "✓ rig-alpha: xmrig-1 is stopped\n✗ nobody: no peer `nobody`\n\
         ✓ rig-beta: xmrig-1 is stopped already\n✗ who: no peer `who`\n"
    );
    let title = Code::UnknownPeer.title();
    assert!(err.starts_with(&format!("2 of 4 not done:\n    2  {title}: nobody, who\n       ")), "{err}");
    let (exit, out, _) = command("-o json remote stop rig-alpha,nobody --all").await;
    let answers: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, Exit::SomeFailed);
    assert_eq!((&answers[0]["done"], &answers[1]["problem"]["code"]), (&json!(true), &json!("unknown-peer")));
}

#[tokio::test]
async fn a_pattern_means_the_paired_rigs_whose_names_fit_and_no_pattern_means_nobody_by_mistake() {
    let node = shared();
    node.register(peer(2, "barn-2"));
    node.register(peer(3, "barn-1"));
    node.register(PeerView { role: Role::Controller, ..peer(4, "barn-office") });
    let (exit, out, _) = command("remote stop BARN-*,barn-1,rig-alpha --all").await;
    assert_eq!(exit, Exit::Done);
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    let ordered: Vec<_> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(ordered, ["✓ barn-1", "✓ barn-2", "✓ rig-alpha"], "a controller is no rig, and each has one order");
    // A list, though it is one rig: who wrote the script did not know how many it would be.
    let (_, out, _) = command("-o json remote stop barn-[2-9] --all").await;
    let answers: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((answers.as_array().unwrap().len(), &answers[0]["peer"]), (1, &json!("barn-2")));

    let (exit, _, err) = command("remote stop rig-alpha,hall-* --all").await;
    assert_eq!(exit, Exit::NotFound);
    assert!(err.contains("cannot stop mining on hall-*: no rig has such a name") && err.contains("peer list"), "{err}");
    assert_eq!(command("remote stop **-[1-9] --all").await.0, Exit::Done);
    let (exit, _, err) = command("remote stop barn-[1 --all").await;
    assert_eq!(exit, Exit::Usage);
    assert!(
        err.contains("cannot stop mining on barn-[1: it is no pattern") && err.contains("`*` is any text"),
        "{err}"
    );
}

#[tokio::test]
async fn the_status_of_some_rigs_shows_these_alone() {
    let node = shared();
    node.register(peer(2, "barn-2"));
    node.register(peer(3, "barn-1"));
    let shown = |out: &str| -> Vec<String> {
        out.lines().filter_map(|line| line.strip_prefix("● ")?.split(' ').next()).map(str::to_owned).collect()
    };
    let (_, out, _) = command("remote status barn-*").await;
    let mut names = shown(&out);
    names.sort_unstable();
    assert_eq!(names, ["barn-1", "barn-2"]);
    let (_, out, _) = command("-o json remote status rig-alpha,barn-1").await;
    let rigs: Value = serde_json::from_str(&out).unwrap();
    let names: Vec<_> = rigs.as_array().unwrap().iter().map(|rig| rig["peer"]["name"].clone()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&json!("rig-alpha")) && names.contains(&json!("barn-1")), "{names:?}");
    let (exit, out, err) = command("remote status rig-alpha,nobody").await;
    assert_eq!((exit, shown(&out)), (Exit::SomeFailed, vec!["rig-alpha".to_owned()]));
    assert!(err.starts_with("1 of 2 not shown: nobody: no peer has that name or id; list peers"), "{err}");
    let (exit, out, err) = command("remote status cellar-*,rig-alpha").await;
    assert_eq!((exit, shown(&out)), (Exit::SomeFailed, vec!["rig-alpha".to_owned()]));
    assert!(err.starts_with("1 of 2 not shown: cellar-*: "), "{err}");
    let (exit, _, err) = command("remote status cellar-*,attic-*").await;
    assert_eq!(exit, Exit::NotFound);
    assert!(err.contains("cannot show cellar-*, attic-*: no rig has such a name"), "{err}");
    let (exit, out, err) = command("remote status nobody,who").await;
    assert_eq!((exit, out.as_str()), (Exit::NotFound, ""));
    assert!(err.contains("cannot show nobody, who: no peer has that name or id"), "{err}");
}

#[tokio::test]
async fn who_thinks_that_all_are_called_all_is_told_how_they_are() {
    for line in ["remote stop all", "remote stop rig-alpha,ALL --all", "remote status all"] {
        let (_, _, err) = command(line).await;
        assert!(err.contains("for all paired rigs write `'*'`, with its quotes"), "{line}: {err}");
    }
    let (_, _, err) = command("-o json remote stop all").await;
    let problem: Value = serde_json::from_str(&err).unwrap();
    assert_eq!(problem["hint"], "for all paired rigs write `'*'`, with its quotes");
}

#[test]
fn what_shows_one_rig_takes_no_list_and_no_pattern() {
    for command in ["logs", "profiles"] {
        for rigs in ["rig-alpha,rig-beta", "rig*", "rig-[12]", ""] {
            let refused = Cli::try_parse_from(["miner-ctrl", "remote", command, rigs]).unwrap_err();
            let why = if rigs.is_empty() {
                "none was supplied".to_owned()
            } else {
                format!("{command} shows one rig at a time")
            };
            assert!(refused.use_stderr() && refused.to_string().contains(&why), "{command} {rigs}: {refused}");
        }
    }
}

#[test]
fn a_value_that_no_command_can_take_is_refused_before_anything_is_begun() {
    for (words, why) in [
        (&["peer", "add", "--address", ""][..], "none was supplied"),
        (&["simulate", "pool", "--algorithm", "nope"], "possible values: cn/0, cn/1"),
    ] {
        let refused = Cli::try_parse_from(["miner-ctrl"].iter().chain(words)).unwrap_err();
        assert!(refused.use_stderr() && refused.to_string().contains(why), "{words:?}: {refused}");
    }
}

#[tokio::test]
async fn a_rig_that_is_named_twice_has_one_order_whatever_it_is_called() {
    let id = shared().peer("rig-alpha").await.unwrap().id;
    for words in [format!("rig-alpha,{id}"), format!("{id},RIG-alpha"), format!("{id},rig-*")] {
        let before = shared().commands().len();
        let (exit, out, err) = command(&format!("remote restart {words}")).await;
        assert_eq!((exit, out.lines().count()), (Exit::Done, 1), "{words}: {out}{err}");
        assert_eq!(shared().commands().len() - before, 1, "{words}");
    }
}

#[tokio::test]
async fn a_silent_rig_is_unreachable_and_says_that_the_outcome_is_unknown() {
    shared().fail_with(Some(NodeError::Timeout { peer: "rig-alpha".parse().unwrap(), seconds: 30 }));
    let (exit, _, err) = command("remote start rig-alpha --profile monero").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(err.contains("whether it was done is not known") && err.contains("can safely be repeated"), "{err}");
}

#[tokio::test]
async fn serving_prints_labelled_lines() {
    let (exit, out, _) = command("--home /tmp/x node serve").await;
    assert_eq!(exit, Exit::Done);
    for line in ["name:         desk", "node id:      0000000000000000", "control:      /tmp/x/control.sock"] {
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
    let (_, out, _) = command("-o json --home /tmp/x node serve").await;
    let document: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(document["control"], "/tmp/x/control.sock");
}

#[tokio::test]
async fn the_doctor_looks_at_everything() {
    let home = tempfile::tempdir().unwrap();
    let (_, out, _) = command(&format!("--home {} -o json doctor", home.path().display())).await;
    let findings: Value = serde_json::from_str(&out).unwrap();
    let checks: Vec<_> =
        findings.as_array().unwrap().iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    assert_eq!(
        checks,
        [
            "configuration",
            "data",
            "identity",
            "settings",
            "node",
            "listening",
            "database",
            "program",
            "huge pages",
            "clock"
        ]
    );
}

#[tokio::test]
async fn a_completion_script_is_printed() {
    let (exit, out, _) = command("completions bash").await;
    assert_eq!(exit, Exit::Done);
    // By bash itself, at every depth.
    for (typed, offered) in
        [("miner-ctrl p", "peer"), ("miner-ctrl remote st", "status"), ("miner-ctrl peer add --", "--code")]
    {
        let words: Vec<_> = typed.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let run = format!(
            "{out}\nCOMP_WORDS=({typed}); COMP_CWORD={}; _miner__ctrl miner-ctrl {last} {before}; echo \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let ran = std::process::Command::new("bash").args(["-c", &run]).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(text.split_whitespace().any(|word| word == offered), "{typed}: {text} {ran:?}");
    }
}
