//! Each side of each command, killed before each of its steps in turn and started again at once: no command is done twice, none
//! is reported done that was not, nothing that was stored is lost, and asked again everything is done.
//!
//! Minutes long; `.ci/run faults` runs them.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on says where")]

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_protocol::Role;
use miner_ctrl_protocol::pair::{PairRefusal, Reply};
use miner_ctrl_protocol::smsg::NodeSecret;
use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::home::free_port;
use miner_ctrl_tests::processes::miners_under;
use miner_ctrl_tests::steps::Trap;
use miner_ctrl_tests::{Caller, Farm, Held, Home, Ran, wait_for};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Within this after a restart everything is as it should be.
const HEALED: Duration = Duration::from_secs(10);

/// No command takes longer, whoever dies.
const LONGEST: Duration = Duration::from_secs(90);

/// Every command of these has so many steps, and none as many as [`MOST`]: to take a profile back a rig removes a file, has
/// that written down, and answers.
const FEWEST: usize = 3;
const MOST: usize = 1000;

const START: &str = "remote start rig-alpha --profile p --from here --miner xmrig-1";
const START_ITS_OWN: &str = "remote start rig-alpha --profile p --from rig --miner xmrig-1";
const START_ANOTHER: &str = "remote start rig-alpha --profile p --from here --miner xmrig-2";
const STOP: &str = "remote stop rig-alpha --all";
const BOTH: [&str; 2] = ["rig-alpha", "rig-beta"];
const START_BOTH: &str = "remote start rig-alpha,rig-beta --profile p --from here --miner xmrig-1";
const STOP_BOTH: &str = "remote stop rig-alpha,rig-beta --all";

/// What an operator does.
#[derive(Debug, Clone)]
enum Order {
    /// Begins a job over the API, and looks at it until it is over or forgotten.
    Job(Value),
    /// Types a command.
    Line(String),
    /// Asks as one whom the other side's operator denied: it is done when that is told.
    Refused(String),
    /// Types a command and what it reads, or what its editor saves.
    Typed(&'static str, &'static str),
}

impl From<String> for Order {
    fn from(line: String) -> Self {
        Self::Line(line)
    }
}

impl Order {
    /// The command of one that is typed.
    fn command(&self, home: &Home) -> Command {
        match self {
            Self::Job(job) => panic!("nobody types {job}"),
            Self::Line(line) | Self::Refused(line) => home.command(&line.split_whitespace().collect::<Vec<_>>()),
            Self::Typed(line, typed) => home.typing(line, typed),
        }
    }

    /// Gives it to the node of this home, and says how it ended. A job is said as a command to many is.
    async fn give(&self, home: &Home) -> Ran {
        let job = match self {
            Self::Job(job) => job,
            Self::Line(line) => return home.run(line).await,
            Self::Refused(line) => {
                let ran = home.run(line).await;
                let is_told = ran.stderr.contains("its operator denied it");
                return Ran { code: Some(i32::from(!is_told)), ..ran };
            }
            Self::Typed(line, typed) => return home.run_typing(line, typed).await,
        };
        let seen = RefCell::new(document(home.call("POST", "/api/v1/mining/jobs", Some(job)).await));
        wait_for("the job is over or forgotten", LONGEST, async || {
            let id = match seen.borrow().as_ref() {
                Some(job) if job["ended"].is_null() => job["id"].as_str()?.to_owned(),
                _ => return Some(()),
            };
            match document(home.call("GET", &format!("/api/v1/mining/jobs/{id}"), None).await) {
                Some(now) => drop(seen.replace(Some(now))),
                None => return Some(()),
            }
            None
        })
        .await;
        let job_seen = seen.take().unwrap_or_default();
        let rigs = job_seen["rigs"].as_array().cloned().unwrap_or_default();
        let is_done = |rig: &&Value| rig["state"] == "done";
        let line = |rig: &Value| {
            let sign = if is_done(&rig) { '✓' } else { '✗' };
            let [name, detail] = ["name", "detail"].map(|field| rig[field].as_str().unwrap_or_default());
            format!("{sign} {name}: {detail}\n")
        };
        let all = !rigs.is_empty() && rigs.iter().filter(is_done).count() == rigs.len();
        Ran {
            line: format!("POST /jobs {job}"),
            code: Some(i32::from(!all)),
            stdout: rigs.iter().map(line).collect(),
            // Whoever asks for a job that nobody knows is told to look for himself.
            stderr: if all { String::new() } else { "hint: look at the rigs".to_owned() },
        }
    }
}

/// The job of an answer; none when there was no answer, or it is no job.
fn document(answer: std::io::Result<String>) -> Option<Value> {
    let answer = answer.ok().filter(|answer| answer.starts_with("HTTP/1.1 20"))?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Controller,
    Rig,
}

impl Side {
    /// The node of this side, and that of the other.
    fn and_other(self, farm: &Farm) -> [&Station; 2] {
        match self {
            Self::Controller => [&farm.controller, farm.rig()],
            Self::Rig => [farm.rig(), &farm.controller],
        }
    }
}

/// What became of a command whose controller or rig was killed.
struct Outcome {
    /// What all nodes kept before anything was killed.
    books: Vec<Value>,
    /// Whether it was reported done.
    done: bool,
    /// What it printed.
    said: String,
    /// The rig's miners before it.
    before: Vec<i32>,
    /// Where that was, for the reader of a failure.
    at: String,
}

/// Goes through the steps of one side of a controller's command, until it is over before its next one.
///
/// `prepare` makes things as they were before it and gives the order; `hold` looks at what a kill left behind.
async fn at_each_step<O: Into<Order>>(
    side: Side,
    prepare: impl AsyncFn(&Farm) -> O,
    hold: impl AsyncFn(&Farm, Outcome),
) {
    at_each_step_among(&["rig-alpha"], Side::Controller, side, prepare, hold).await;
}

/// The same of a command that is given at the one side or the other, in a farm of more rigs than one; of those the first is
/// killed.
async fn at_each_step_among<O: Into<Order>>(
    names: &[&str],
    given_at: Side,
    side: Side,
    prepare: impl AsyncFn(&Farm) -> O,
    hold: impl AsyncFn(&Farm, Outcome),
) {
    at_each_step_in(Farm::paired(names).await, given_at, side, prepare, hold).await;
}

/// The same in this farm.
#[expect(clippy::print_stderr, reason = "whoever reads that a story failed wants to know at which step")]
async fn at_each_step_in<O: Into<Order>>(
    mut farm: Farm,
    given_at: Side,
    side: Side,
    prepare: impl AsyncFn(&Farm) -> O,
    hold: impl AsyncFn(&Farm, Outcome),
) {
    farm.add_profile("p").await;
    let first = farm.rig().name.clone();
    let (books, past) = (farm.books().await, farm.past().await);
    let mut held = None;
    for step in 1..MOST {
        let order: Order = prepare(&farm).await.into();
        let before = farm.rig().home.miners();
        if held.is_none() {
            // By who is not killed, as often as the other is.
            let survivor = if side == Side::Controller { farm.rig() } else { &farm.controller };
            held = Some(Held::by(survivor).await);
        }
        let Farm { controller, mut rigs } = farm;
        let rig = rigs.remove(0);
        let (Station { name, node, home }, other) = match side {
            Side::Controller => (controller, rig),
            Side::Rig => (rig, controller),
        };
        let operator = if side == given_at { &home } else { &other.home };
        // What is said of peers may change what the other side is called, or whether it is known at all.
        let converges = !matches!(&order, Order::Line(line) | Order::Refused(line) if line.starts_with("peer "));
        let trap = Trap::set(node.pid(), step);
        let is_over = Cell::new(false);
        let command = async {
            let ran = order.give(operator).await;
            is_over.set(true);
            ran
        };
        // Started again at once, so that whoever asks again or waits meets it.
        let back = async {
            wait_for("it is killed, or not", LONGEST, async || (trap.is_sprung() || is_over.get()).then_some(())).await;
            node.kill();
            let node = home.serve_beside_a_command().await;
            if converges {
                // From now on, whatever the command still waits for.
                let (controller, rig) =
                    if side == Side::Controller { (&home, &other.home) } else { (&other.home, &home) };
                Farm::agreed_on(controller, &first, rig, HEALED).await;
            }
            node
        };
        let (ran, node) = tokio::join!(command, back);
        let sprung = trap.gone();
        let at = format!("{side:?}, `{}`, killed before step {step}: {ran:#?}", ran.line);
        assert!(ran.code == Some(0) || sprung, "not killed, and not done: {at}");
        // Of many rigs each has its reason in its own line.
        let with_a_reason = ran.stderr.contains("hint: ") || !rigs.is_empty() && ran.stdout.contains("✗ ");
        assert!(ran.code == Some(0) || with_a_reason, "{at}");
        let killed = Station { name, node, home };
        let (controller, rig) = match side {
            Side::Controller => (killed, other),
            Side::Rig => (other, killed),
        };
        rigs.insert(0, rig);
        farm = Farm { controller, rigs };
        eprintln!("{at}");
        let (done, said, books) = (ran.code == Some(0), ran.stdout, books.clone());
        hold(&farm, Outcome { books, done, said, before, at }).await;
        if !sprung {
            // Who is but forgotten has nothing to do, and was killed once all the same.
            let is_forgotten =
                given_at != side && matches!(&order, Order::Line(line) if line.starts_with("peer remove "));
            assert!(
                step > FEWEST || is_forgotten,
                "fewer than {FEWEST} steps, so that nobody was killed where it matters"
            );
            farm.past_is_whole(past).await;
            // As it was then.
            let _: O = prepare(&farm).await;
            held.expect("the first step was one").no_more().await;
            return;
        }
    }
    panic!("{MOST} steps and no end")
}

/// The miners of the rig, once the controller knows them.
async fn agreed(farm: &Farm) -> Vec<i32> {
    Farm::agreed(&farm.controller.home, farm.rig(), HEALED).await
}

async fn run(farm: &Farm, line: &str) {
    let _ = farm.controller.home.run(line).await.done();
}

/// Everybody keeps what was kept before, to the letter; a rig may have been given the controller's profile.
async fn all_is_whole(farm: &Farm, books: &[Value], at: &str) {
    let now = farm.books().await;
    assert_eq!(now[0], books[0], "the controller: {at}");
    for (now, before) in now.iter().zip(books).skip(1) {
        assert_eq!(now["peers"], before["peers"], "{at}");
        let profiles = &now["profiles"];
        assert!(*profiles == before["profiles"] || *profiles == books[0]["profiles"], "{profiles}: {at}");
    }
}

/// Waits until the rig's one miner runs, which is wanted whatever was killed.
async fn runs_one(farm: &Farm, rig: &Station, at: &str) -> i32 {
    wait_for(&format!("its miner runs: {at}"), HEALED, async || {
        let miners = Farm::agreed(&farm.controller.home, rig, HEALED).await;
        (miners.len() == 1).then_some(miners[0])
    })
    .await
}

async fn starts(order: &str, given_at: Side, side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, STOP).await;
        if order == START_ITS_OWN {
            run(farm, "remote deploy rig-alpha --profile p").await;
        }
        order.to_owned()
    };
    let hold = async |farm: &Farm, Outcome { books, done, said, before, at }| {
        let miners = agreed(farm).await;
        assert!(before.is_empty() && miners.len() <= 1 && (!done || miners.len() == 1), "{miners:?}: {at}");
        assert!(!done || !said.contains("already"), "this command did it: {at}");
        run(farm, order).await;
        let now = agreed(farm).await;
        assert!(now.len() == 1 && (miners.is_empty() || now == miners), "{miners:?}, then {now:?}: {at}");
        all_is_whole(farm, &books, &at).await;
    };
    at_each_step_among(&["rig-alpha"], given_at, side, prepare, hold).await;
}

async fn stops(given_at: Side, side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, START).await;
        STOP.to_owned()
    };
    let hold = async |farm: &Farm, Outcome { books, done, said, before, at }| {
        let miners = agreed(farm).await;
        assert!(before.len() == 1 && (miners.is_empty() || !done && miners.len() == 1), "{miners:?}: {at}");
        assert!(!done || !said.contains("already"), "this command did it: {at}");
        run(farm, STOP).await;
        assert_eq!(agreed(farm).await, [0_i32; 0], "{at}");
        all_is_whole(farm, &books, &at).await;
    };
    at_each_step_among(&["rig-alpha"], given_at, side, prepare, hold).await;
}

/// Of two miners of a rig one is to stop.
async fn stops_one(side: Side) {
    let stop = "remote stop rig-alpha xmrig-2";
    let stays = |farm: &Farm| {
        let miners = miners_under(farm.rig().home.path());
        miners.iter().find(|miner| miner.directory.ends_with("xmrig-1")).map(|miner| miner.pid)
    };
    let first = Cell::new(None);
    let prepare = async |farm: &Farm| {
        run(farm, START).await;
        run(farm, START_ANOTHER).await;
        first.set(stays(farm));
        stop.to_owned()
    };
    at_each_step(side, prepare, async |farm, Outcome { books, done, said, before, at }| {
        let miners = agreed(farm).await;
        assert!(before.len() == 2 && (miners.len() == 1 || !done && miners.len() == 2), "{miners:?}: {at}");
        assert!(!done || !said.contains("already"), "this command did it: {at}");
        // A rig that was started again knows none of that name.
        if miners.len() == 2 {
            run(farm, stop).await;
        }
        assert_eq!(agreed(farm).await, [first.get().unwrap()], "the other one mines on: {at}");
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

async fn restarts(side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, START).await;
        "remote restart rig-alpha xmrig-1".to_owned()
    };
    at_each_step(side, prepare, async |farm, Outcome { books, done, before, at, .. }| {
        let miner = runs_one(farm, farm.rig(), &at).await;
        assert!(before.len() == 1 && (miner != before[0] || !done), "{before:?}, then {miner}: {at}");
        run(farm, START).await;
        assert_eq!(agreed(farm).await, [miner], "it was found running: {at}");
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

async fn deploys(side: Side) {
    let line = "remote deploy rig-alpha --profile p";
    let prepare = async |farm: &Farm| {
        run(farm, START).await;
        if !farm.rig().home.names("profile list").await.is_empty() {
            let _ = farm.rig().home.run("profile remove p").await.done();
        }
        line.to_owned()
    };
    at_each_step(side, prepare, async |farm, Outcome { books, done, before, at, .. }| {
        let there = farm.rig().home.names("profile list").await;
        assert!(there == ["p"] || !done && there.is_empty(), "{there:?}: {at}");
        let miners = agreed(farm).await;
        assert!(miners.len() == 1 && miners == before, "mining went on: {before:?}, then {miners:?}: {at}");
        run(farm, line).await;
        assert_eq!(farm.rig().home.names("profile list").await, ["p"], "{at}");
        assert_eq!(farm.rig().home.miners(), miners, "{at}");
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

async fn takes_back(side: Side) {
    let line = "remote undeploy rig-alpha --profile p";
    let prepare = async |farm: &Farm| {
        run(farm, START).await;
        run(farm, "remote deploy rig-alpha --profile p").await;
        line.to_owned()
    };
    at_each_step(side, prepare, async |farm, Outcome { books, done, said, before, at }| {
        let there = farm.rig().home.names("profile list").await;
        assert!(there.is_empty() || !done && there == ["p"], "{there:?}: {at}");
        assert!(!done || said.contains("profile p removed"), "this command did it: {at}");
        let miners = agreed(farm).await;
        assert!(miners.len() == 1 && miners == before, "mining went on: {before:?}, then {miners:?}: {at}");
        run(farm, line).await;
        assert_eq!(farm.rig().home.names("profile list").await, [""; 0], "{at}");
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

async fn code_of(rig: &Station) -> String {
    rig.home.json("pair").await["code"].as_str().unwrap().to_owned()
}

/// The rig adds its controller.
async fn joins(side: Side) {
    let prepare = async |farm: &Farm| {
        let (rig, controller) = (farm.rig(), &farm.controller);
        if !controller.home.names("peer list").await.is_empty() {
            run(farm, "peer remove rig-alpha").await;
        }
        let _ = rig.home.run("peer remove control-center").await.done();
        add_controller(controller).await
    };
    at_each_step_among(&["rig-alpha"], Side::Rig, side, prepare, async |farm, Outcome { books, done, at, .. }| {
        let rig = farm.rig();
        let (ours, theirs) = tokio::join!(farm.controller.home.names("peer list"), rig.home.names("peer list"));
        assert!(theirs == ["control-center"] || !done && theirs.is_empty(), "{theirs:?}: {at}");
        // The controller, whose code it is, stores first.
        assert!(ours == ["rig-alpha"] || theirs.is_empty() && ours.is_empty(), "{ours:?}, {theirs:?}: {at}");
        if theirs.is_empty() {
            let _ = rig.home.run(&add_controller(&farm.controller).await).await.done();
        }
        Farm::online(&farm.controller.home, "rig-alpha").await;
        run(farm, "peer ping rig-alpha").await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

async fn add_controller(controller: &Station) -> String {
    format!("peer add --address {} --code {}", controller.home.address(), code_of(controller).await)
}

async fn pairs(side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, "peer remove rig-alpha").await;
        let rig = farm.rig();
        if !rig.home.names("peer list").await.is_empty() {
            let _ = rig.home.run("peer remove control-center").await.done();
        }
        format!("peer add --address {} --name rig-alpha --code {}", rig.home.address(), code_of(rig).await)
    };
    at_each_step(side, prepare, async |farm, Outcome { books, done, at, .. }| {
        let rig = farm.rig();
        let (ours, theirs) = tokio::join!(farm.controller.home.names("peer list"), rig.home.names("peer list"));
        assert!(ours == ["rig-alpha"] || !done && ours.is_empty(), "{ours:?}: {at}");
        // The rig stores first: whom the controller knows, knows the controller.
        assert!(theirs == ["control-center"] || ours.is_empty() && theirs.is_empty(), "{ours:?}, {theirs:?}: {at}");
        if ours.is_empty() {
            let (address, code) = (rig.home.address(), code_of(rig).await);
            run(farm, &format!("peer add --address {address} --name rig-alpha --code {code}")).await;
        }
        Farm::online(&farm.controller.home, "rig-alpha").await;
        run(farm, "peer ping rig-alpha").await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

/// One command to many rigs, of which one is killed, or their controller.
async fn starts_of_many(side: Side, order: impl Fn() -> Order) {
    let prepare = async |farm: &Farm| {
        run(farm, STOP_BOTH).await;
        order()
    };
    at_each_step_among(&BOTH, Side::Controller, side, prepare, async |farm, Outcome { books, done, said, at, .. }| {
        let mut before = Vec::new();
        for rig in &farm.rigs {
            let miners = Farm::agreed(&farm.controller.home, rig, HEALED).await;
            let told = said.contains(&format!("✓ {}", rig.name));
            assert!(miners.len() <= 1 && (!told || miners.len() == 1), "{}: {miners:?}: {at}", rig.name);
            assert!(told || !done, "done is what every one has done: {at}");
            assert!(told || side == Side::Controller || rig.name == BOTH[0], "who lives does it: {at}");
            before.push(miners);
        }
        run(farm, START_BOTH).await;
        for (rig, before) in farm.rigs.iter().zip(before) {
            let now = Farm::agreed(&farm.controller.home, rig, HEALED).await;
            assert!(now.len() == 1 && (before.is_empty() || now == before), "{before:?}, then {now:?}: {at}");
        }
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

fn start_both() -> Value {
    json!({ "verb": "start", "rigs": BOTH, "profile": "p", "from": "here", "miner": "xmrig-1" })
}

async fn stops_of_many(side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, START_BOTH).await;
        STOP_BOTH.to_owned()
    };
    at_each_step_among(&BOTH, Side::Controller, side, prepare, async |farm, Outcome { books, done, said, at, .. }| {
        for rig in &farm.rigs {
            let miners = Farm::agreed(&farm.controller.home, rig, HEALED).await;
            let told = said.contains(&format!("✓ {}", rig.name));
            assert!(miners.is_empty() || !told && miners.len() == 1, "{}: {miners:?}: {at}", rig.name);
            assert!(told || !done, "done is what every one has done: {at}");
            assert!(told || side == Side::Controller || rig.name == BOTH[0], "who lives does it: {at}");
        }
        run(farm, STOP_BOTH).await;
        for rig in &farm.rigs {
            assert_eq!(Farm::agreed(&farm.controller.home, rig, HEALED).await, [0_i32; 0], "{at}");
        }
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

async fn restarts_of_many(side: Side) {
    let ran = RefCell::new(Vec::new());
    let prepare = async |farm: &Farm| {
        run(farm, START_BOTH).await;
        ran.replace(farm.rigs.iter().map(|rig| rig.home.miners()).collect::<Vec<_>>());
        "remote restart rig-alpha,rig-beta xmrig-1".to_owned()
    };
    at_each_step_among(&BOTH, Side::Controller, side, prepare, async |farm, Outcome { books, done, said, at, .. }| {
        for (rig, before) in farm.rigs.iter().zip(ran.take()) {
            let miner = runs_one(farm, rig, &at).await;
            let told = said.contains(&format!("✓ {}", rig.name));
            assert!(before.len() == 1 && (!told || miner != before[0]), "{before:?}, then {miner}: {at}");
            assert!(told || !done, "done is what every one has done: {at}");
            assert!(told || side == Side::Controller || rig.name == BOTH[0], "who lives does it: {at}");
        }
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

/// The key of a new node that waits at the controller for its operator's word.
async fn stranger(farm: &Farm) -> Arc<NodeSecret> {
    let stranger = Caller::dial(farm.controller.home.port()).await.expect("a stranger is let as far as pairing");
    assert_eq!(stranger.knock("rig-new", Role::Worker).await, Reply::Pending);
    Arc::clone(stranger.secret())
}

/// What it is told when it asks again.
async fn asks_again(farm: &Farm, secret: &Arc<NodeSecret>) -> Reply {
    let stranger = Caller::dial_as(farm.controller.home.port(), Arc::clone(secret)).await.expect("it is let in");
    stranger.knock("rig-new", Role::Worker).await
}

/// Two commands of a controller about its own files and its registry: by the one a word stands in a list, by the other it is
/// gone.
type Page = (Order, Order, &'static str, &'static str);

fn pages() -> Vec<Page> {
    let as_it_was = r#"{ "name": "p", "program": "xmrig", "algorithm": "rx/0", "wallet": "WALLET",
        "pools": [{ "url": "pool.example:3333" }] }"#;
    let edited = r#"{ "name": "p", "program": "xmrig", "algorithm": "rx/0", "wallet": "ANOTHER",
        "pools": [{ "url": "pool.example:3333" }] }"#;
    let config = r#"{ "pools": [{ "url": "a.example:1", "user": "W", "algo": "rx/0" }] }"#;
    let add = "profile add q --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W";
    let line = |line: &str| Order::Line(line.to_owned());
    vec![
        (line(add), line("profile remove q"), "profile list", "\"q\""),
        (Order::Typed("profile import - --name q", config), line("profile remove q"), "profile list", "\"q\""),
        (Order::Typed("profile edit p", edited), Order::Typed("profile edit p", as_it_was), "profile list", "ANOTHER"),
        (line("token add t --scope read"), line("token remove t"), "token list", "\"t\""),
        (line("peer permit rig-alpha view"), line("peer permit rig-alpha none"), "peer list", "\"view\""),
    ]
}

/// Kills the controller at each step of the one command or of the other.
async fn turns((there, gone, list, word): &Page, wanted: bool) {
    let order = |wanted: bool| if wanted { there } else { gone };
    let stands = async |farm: &Farm| farm.controller.home.json(list).await.to_string().contains(word);
    let prepare = async |farm: &Farm| {
        if stands(farm).await == wanted {
            let _ = order(!wanted).give(&farm.controller.home).await.done();
        }
        order(wanted).clone()
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, done, at, .. }| {
        let stands = stands(farm).await;
        assert!(stands == wanted || !done, "{at}");
        if stands {
            let _ = gone.give(&farm.controller.home).await.done();
        }
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_keeping_its_book_has_the_old_page_or_the_new() {
    for page in &pages() {
        for wanted in [true, false] {
            turns(page, wanted).await;
        }
    }
}

/// Begins a command that finds no node and does all of it itself, and kills it before this step. Says whether that came, and
/// what was told of its work.
fn kill_at(step: usize, mut command: Command) -> (bool, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let is_killed = Trap::set(i32::try_from(child.id()).unwrap(), step).gone();
    let mut told = String::new();
    child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    // The watch may have reaped it already.
    let _ = child.wait();
    assert!(is_killed || !told.is_empty(), "not killed before step {step}, and not done: {command:?}");
    assert!(is_killed || step > FEWEST, "fewer than {FEWEST} steps, so that nobody was killed where it matters");
    (is_killed, told)
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_command_without_a_node_that_is_killed_at_any_step_leaves_the_old_page_or_the_new() {
    for (there, gone, list, word) in pages().into_iter().filter(|(_, _, list, _)| *list != "peer list") {
        for wanted in [true, false] {
            let home = Home::init("control-center", "controller").await;
            let _ = home
                .run("profile add p --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet W")
                .await
                .done();
            let [order, back] = if wanted { [&there, &gone] } else { [&gone, &there] };
            let stands = async || home.json(list).await.to_string().contains(word);
            for step in 1.. {
                assert!(step < MOST, "{MOST} steps and no end");
                if stands().await == wanted {
                    let _ = back.give(&home).await.done();
                }
                let (is_killed, told) = kill_at(step, order.command(&home));
                let at = format!("{order:?}, killed before step {step}: {told}");
                assert!(stands().await == wanted || told.is_empty(), "{at}");
                assert_eq!(home.names("profile list").await[0], "p", "{at}");
                if !is_killed {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_node_whose_making_is_killed_at_any_step_is_made_by_the_next_and_keeps_the_key_it_has() {
    let init = "node init --name rig-alpha --role worker";
    for step in 1..MOST {
        let home = Home::empty();
        let (is_killed, told) = kill_at(step, Order::Line(init.to_owned()).command(&home));
        let at = format!("killed before step {step}: {told}");
        let key = fs::read(home.node_dir().join("private.key")).ok();
        // It only looks: what is half made is not finished under another name.
        let _ = home.run("doctor").await;
        let again = home.run(init).await;
        assert_eq!(again.code, Some(0), "{again:#?}: {at}");
        let node = home.json("node info").await;
        assert_eq!([&node["name"], &node["role"]], ["rig-alpha", "worker"], "{at}");
        assert!(told.is_empty() || told.contains(node["id"].as_str().unwrap()), "it is who it was told to be: {at}");
        assert!(key.is_none_or(|key| key == fs::read(home.node_dir().join("private.key")).unwrap()), "{at}");
        if !is_killed {
            return;
        }
    }
    panic!("{MOST} steps and no end")
}

/// One request to a dashboard, as a browser on its page makes it; gives the answer, head and all.
async fn browse(page: &str, method: &str, cookie: &str, body: &str) -> String {
    let request = format!(
        "{method} /api/v1/mining/session HTTP/1.1\r\nhost: {page}\r\norigin: http://{page}\r\nconnection: close\r\n\
         cookie: {cookie}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(page).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The cookie of a browser that signs in; none when the password is wrong.
async fn sign_in(page: &str, password: &str) -> Option<String> {
    let answer = browse(page, "POST", "", &json!({ "password": password }).to_string()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 401 "), "{answer}");
    Some(answer.split_once("set-cookie: ")?.1.split_once(';')?.0.to_owned())
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_setting_its_password_has_the_old_one_with_its_browsers_or_the_new()
{
    let page = format!("127.0.0.1:{}", free_port());
    let home = Home::empty().with_variable("MINER_CTRL_DASHBOARD", &page).initialised("control-center", "controller");
    let home = home.await;
    let controller = Station { name: "control-center".into(), node: home.serve().await, home };
    let rig = Station::start("rig-alpha", "worker").await;
    controller.pair_with(&rig).await;
    let farm = Farm { controller, rigs: vec![rig] };
    let (old, new) = ("correct horse battery", "battery staple horse");
    let browser = RefCell::new(String::new());
    let prepare = async |farm: &Farm| {
        let _ = farm.controller.home.run_typing("ui --set-password", old).await.done();
        browser.replace(sign_in(&page, old).await.expect("it is the password"));
        Order::Typed("ui --set-password", new)
    };
    let hold = async |farm: &Farm, Outcome { books, done, at, .. }| {
        let cookie = browser.take();
        let is_signed_in = browse(&page, "GET", &cookie, "").await.contains("\"signed_in\":true");
        let (by_old, by_new) = (sign_in(&page, old).await, sign_in(&page, new).await);
        assert!(by_old.is_some() != by_new.is_some(), "it is one of the two: {at}");
        assert!(by_new.is_some() || !done, "{at}");
        assert_eq!(is_signed_in, by_old.is_some(), "with the password goes who came by it: {at}");
        all_is_whole(farm, &books, &at).await;
    };
    at_each_step_in(farm, Side::Controller, Side::Controller, prepare, hold).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_renaming_a_rig_did_it_or_did_not() {
    let prepare = async |_: &Farm| "peer rename rig-alpha rig-other".to_owned();
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, done, at, .. }| {
        let names = farm.controller.home.names("peer list").await;
        assert!(names == ["rig-other"] || !done && names == ["rig-alpha"], "{names:?}: {at}");
        Farm::online(&farm.controller.home, &names[0]).await;
        run(farm, &format!("peer ping {}", names[0])).await;
        run(farm, &format!("peer rename {} rig-alpha", names[0])).await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

/// One forgets the other, and one of the two is killed.
async fn forgets(given_at: Side, side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, START).await;
        format!("peer remove {}", given_at.and_other(farm)[1].name)
    };
    let hold = async |farm: &Farm, Outcome { books, done, before, at, .. }| {
        let [forgetful, other] = given_at.and_other(farm);
        let (ours, theirs) = tokio::join!(forgetful.home.names("peer list"), other.home.names("peer list"));
        assert!(ours.is_empty() || !done && ours == [other.name.as_str()], "{ours:?}: {at}");
        assert_eq!(theirs, [forgetful.name.as_str()], "who is forgotten forgets nobody: {at}");
        if !ours.is_empty() {
            let _ = forgetful.home.run(&format!("peer remove {}", other.name)).await.done();
            assert_eq!(forgetful.home.names("peer list").await, [""; 0], "{at}");
        }
        assert_eq!(farm.rig().home.miners(), before, "it mines on: {at}");
        let (address, code) = (farm.rig().home.address(), code_of(farm.rig()).await);
        run(farm, &format!("peer add --address {address} --name rig-alpha --code {code}")).await;
        Farm::online(&farm.controller.home, "rig-alpha").await;
        all_is_whole(farm, &books, &at).await;
    };
    at_each_step_among(&["rig-alpha"], given_at, side, prepare, hold).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_node_that_is_killed_at_any_step_of_forgetting_a_peer_or_being_forgotten_knows_it_or_does_not() {
    for given_at in [Side::Controller, Side::Rig] {
        for side in [Side::Controller, Side::Rig] {
            forgets(given_at, side).await;
        }
    }
}

/// Whether a rig that has no code is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Approve,
    Deny,
}

/// A rig without a code asks its controller, and its operator says so much of it, or nothing yet.
async fn asks(word: Option<Word>, side: Side) {
    let ask =
        |farm: &Farm| format!("peer add --address {} --permission control --wait 0", farm.controller.home.address());
    let say = async |farm: &Farm, word: Word| {
        let id = farm.rig().node.line("node id");
        let line = match word {
            Word::Approve => format!("peer approve {id}"),
            Word::Deny => format!("peer deny {id}"),
        };
        run(farm, &line).await;
    };
    let names =
        async |farm: &Farm| tokio::join!(farm.controller.home.names("peer list"), farm.rig().home.names("peer list"));
    let prepare = async |farm: &Farm| {
        let (ours, theirs) = names(farm).await;
        if !ours.is_empty() {
            run(farm, "peer remove rig-alpha").await;
        }
        if !theirs.is_empty() {
            let _ = farm.rig().home.run("peer remove control-center").await.done();
        }
        let Some(word) = word else { return Order::Line(ask(farm)) };
        // Who was turned away is not asked about again.
        if farm.rig().home.run(&ask(farm)).await.code == Some(0) {
            say(farm, word).await;
        }
        match word {
            Word::Approve => Order::Line(ask(farm)),
            Word::Deny => Order::Refused(ask(farm)),
        }
    };
    let hold = async |farm: &Farm, Outcome { books, done, at, .. }| {
        let (ours, theirs) = names(farm).await;
        let wait = async || farm.controller.home.names("peer pending").await;
        if word == Some(Word::Approve) {
            assert!(ours == ["rig-alpha"] && wait().await.is_empty(), "{ours:?}: {at}");
            assert!(theirs == ["control-center"] || !done && theirs.is_empty(), "{theirs:?}: {at}");
        } else {
            assert!(ours.is_empty() && theirs.is_empty(), "{ours:?}, {theirs:?}: {at}");
        }
        if word == Some(Word::Deny) {
            assert_eq!(wait().await, [""; 0], "{at}");
            let _ = farm.rig().home.run(&add_controller(&farm.controller).await).await.done();
        } else if word.is_none() {
            let _ = farm.rig().home.run(&ask(farm)).await.done();
            let once = async || (wait().await == ["rig-alpha"]).then_some(());
            wait_for(&format!("it waits, once: {at}"), HEALED, once).await;
            say(farm, Word::Approve).await;
        }
        let _ = farm.rig().home.run(&ask(farm)).await.done();
        Farm::online(&farm.controller.home, "rig-alpha").await;
        run(farm, "peer ping rig-alpha").await;
        all_is_whole(farm, &books, &at).await;
    };
    at_each_step_among(&["rig-alpha"], Side::Rig, side, prepare, hold).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stranger_that_is_killed_at_any_step_of_asking_is_let_in_by_its_operators_word_alone() {
    for word in [None, Some(Word::Approve), Some(Word::Deny)] {
        asks(word, Side::Rig).await;
    }
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_being_asked_by_a_stranger_lets_it_in_by_its_operators_word_alone() {
    for word in [None, Some(Word::Approve)] {
        asks(word, Side::Controller).await;
    }
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_node_that_is_killed_at_any_step_of_its_operators_word_on_a_stranger_admits_by_that_word_alone() {
    let waits = RefCell::new(None);
    let secret = || waits.borrow().clone().expect("a stranger waits");
    let prepare = async |farm: &Farm| {
        let secret = stranger(farm).await;
        waits.replace(Some(Arc::clone(&secret)));
        format!("peer approve {} --permission view", secret.public().node_id())
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, done, at, .. }| {
        let controller = &farm.controller.home;
        let names = controller.names("peer list").await;
        assert!(names == ["rig-alpha", "rig-new"] || !done && names == ["rig-alpha"], "{names:?}: {at}");
        let reply = asks_again(farm, &secret()).await;
        if names.len() == 1 {
            assert_eq!(reply, Reply::Pending, "it asks anew: {at}");
            run(farm, &format!("peer approve {} --permission view", secret().public().node_id())).await;
        } else {
            assert!(matches!(reply, Reply::Paired { .. }), "{reply:?}: {at}");
        }
        let peers = controller.json("peer list").await;
        let new = peers.as_array().unwrap().iter().find(|peer| peer["name"] == "rig-new").unwrap();
        assert_eq!(new["permission"], "view", "{at}");
        run(farm, "peer remove rig-new").await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
    let prepare = async |farm: &Farm| {
        let secret = stranger(farm).await;
        waits.replace(Some(Arc::clone(&secret)));
        format!("peer deny {}", secret.public().node_id())
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, at, .. }| {
        // Who was turned away is not remembered over a restart; it waits again.
        assert_eq!(asks_again(farm, &secret()).await, Reply::Pending, "{at}");
        run(farm, &format!("peer deny {}", secret().public().node_id())).await;
        assert_eq!(asks_again(farm, &secret()).await, Reply::Refused(PairRefusal::Denied), "{at}");
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_rig_that_is_killed_at_any_step_of_forgetting_a_profile_mines_on() {
    let remove = "profile remove p";
    let prepare = async |farm: &Farm| {
        run(farm, "remote deploy rig-alpha --profile p").await;
        run(farm, START).await;
        remove.to_owned()
    };
    at_each_step_among(
        &["rig-alpha"],
        Side::Rig,
        Side::Rig,
        prepare,
        async |farm, Outcome { books, done, before, at, .. }| {
            let there = farm.rig().home.names("profile list").await;
            assert!(there.is_empty() || !done && there == ["p"], "{there:?}: {at}");
            let miners = agreed(farm).await;
            assert!(miners.len() == 1 && miners == before, "mining went on: {before:?}, then {miners:?}: {at}");
            if !there.is_empty() {
                let _ = farm.rig().home.run(remove).await.done();
                assert_eq!(farm.rig().home.names("profile list").await, [""; 0], "{at}");
            }
            all_is_whole(farm, &books, &at).await;
        },
    )
    .await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_start_on_many_rigs_whose_controller_is_killed_at_any_step_is_done_once_or_not_on_each() {
    starts_of_many(Side::Controller, || START_BOTH.to_owned().into()).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_job_whose_controller_is_killed_at_any_step_is_done_once_or_not_on_each_rig() {
    starts_of_many(Side::Controller, || Order::Job(start_both())).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_start_on_many_rigs_of_which_one_is_killed_at_any_step_is_done_by_the_others() {
    starts_of_many(Side::Rig, || START_BOTH.to_owned().into()).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_job_of_whose_rigs_one_is_killed_at_any_step_is_done_by_the_others() {
    starts_of_many(Side::Rig, || Order::Job(start_both())).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stop_on_many_rigs_whose_controller_is_killed_at_any_step_is_told_of_each_as_it_is() {
    stops_of_many(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stop_on_many_rigs_of_which_one_is_killed_at_any_step_is_done_by_the_others() {
    stops_of_many(Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_restart_on_many_rigs_whose_controller_is_killed_at_any_step_ends_with_one_miner_on_each() {
    restarts_of_many(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_restart_on_many_rigs_of_which_one_is_killed_at_any_step_ends_with_one_miner_on_each() {
    restarts_of_many(Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_rig_that_adds_its_controller_which_is_killed_at_any_step_has_it_or_asks_again() {
    joins(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_rig_that_is_killed_at_any_step_of_adding_its_controller_has_it_or_asks_again() {
    joins(Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_start_whose_controller_is_killed_at_any_step_is_done_once_or_not() {
    starts(START, Side::Controller, Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_start_whose_rig_is_killed_at_any_step_is_done_once_or_not() {
    starts(START, Side::Controller, Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_start_of_the_rigs_own_profile_is_done_once_or_not_whoever_is_killed_at_any_step_and_whoever_gives_it() {
    for (given_at, side) in
        [(Side::Controller, Side::Controller), (Side::Controller, Side::Rig), (Side::Rig, Side::Rig)]
    {
        starts(START_ITS_OWN, given_at, side).await;
    }
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stop_whose_controller_is_killed_at_any_step_leaves_nothing_half_stopped() {
    stops(Side::Controller, Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stop_whose_rig_is_killed_at_any_step_leaves_nothing_half_stopped() {
    stops(Side::Controller, Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stop_that_a_rig_is_given_on_its_own_machine_leaves_nothing_half_stopped() {
    stops(Side::Rig, Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stop_of_one_miner_of_two_leaves_the_other_alone_whoever_is_killed_at_any_step() {
    for side in [Side::Controller, Side::Rig] {
        stops_one(side).await;
    }
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_restart_whose_controller_is_killed_at_any_step_ends_with_one_miner() {
    restarts(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_restart_whose_rig_is_killed_at_any_step_ends_with_one_miner() {
    restarts(Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_deployment_whose_controller_is_killed_at_any_step_costs_no_hash() {
    deploys(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_deployment_whose_rig_is_killed_at_any_step_costs_no_hash() {
    deploys(Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_profile_that_is_taken_back_is_told_so_whenever_its_controller_is_killed() {
    takes_back(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_profile_that_is_taken_back_is_told_so_whenever_its_rig_is_killed() {
    takes_back(Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_pairing_whose_controller_is_killed_at_any_step_is_whole_or_done_again() {
    pairs(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_pairing_whose_rig_is_killed_at_any_step_is_whole_or_done_again() {
    pairs(Side::Rig).await;
}
