//! Each side of each command, killed before each of its steps in turn and started again at once: no command is done twice, none
//! is reported done that was not, nothing that was stored is lost, and asked again everything is done.
//!
//! Minutes long; `.ci/run faults` runs them.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on says where")]

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_protocol::Role;
use miner_ctrl_protocol::pair::{PairRefusal, Reply};
use miner_ctrl_protocol::smsg::NodeSecret;
use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::steps::Trap;
use miner_ctrl_tests::{Caller, Farm, Held, Home, Ran, wait_for};
use serde_json::{Value, json};

/// Within this after a restart everything is as it should be.
const HEALED: Duration = Duration::from_secs(10);

/// No command takes longer, whoever dies.
const LONGEST: Duration = Duration::from_secs(90);

/// Every command of these has so many steps, and none as many as [`MOST`]: to take a profile back a rig removes a file, has
/// that written down, and answers.
const FEWEST: usize = 3;
const MOST: usize = 1000;

const START: &str = "remote start rig-alpha --profile p --from here --miner xmrig-1";
const STOP: &str = "remote stop rig-alpha --all";
const BOTH: [&str; 2] = ["rig-alpha", "rig-beta"];
const START_BOTH: &str = "remote start rig-alpha,rig-beta --profile p --from here --miner xmrig-1";
const STOP_BOTH: &str = "remote stop rig-alpha,rig-beta --all";

/// What an operator does.
#[derive(Debug)]
enum Order {
    /// Begins a job over the API, and looks at it until it is over or forgotten.
    Job(Value),
    /// Types a command.
    Line(String),
}

impl From<String> for Order {
    fn from(line: String) -> Self {
        Self::Line(line)
    }
}

impl Order {
    /// Gives it to the node of this home, and says how it ended. A job is said as a command to many is.
    async fn give(&self, home: &Home) -> Ran {
        let job = match self {
            Self::Job(job) => job,
            Self::Line(line) => return home.run(line).await,
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
#[expect(clippy::print_stderr, reason = "whoever reads that a story failed wants to know at which step")]
async fn at_each_step_among<O: Into<Order>>(
    names: &[&str],
    given_at: Side,
    side: Side,
    prepare: impl AsyncFn(&Farm) -> O,
    hold: impl AsyncFn(&Farm, Outcome),
) {
    let mut farm = Farm::paired(names).await;
    farm.add_profile("p").await;
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
        let converges = !matches!(&order, Order::Line(line) if line.starts_with("peer "));
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
                Farm::agreed_on(controller, names[0], rig, HEALED).await;
            }
            node
        };
        let (ran, node) = tokio::join!(command, back);
        let sprung = trap.is_sprung();
        trap.gone();
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
            assert!(step > FEWEST, "fewer than {FEWEST} steps, so that nobody was killed where it matters");
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

async fn starts(side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, STOP).await;
        START.to_owned()
    };
    at_each_step(side, prepare, async |farm, Outcome { books, done, said, before, at }| {
        let miners = agreed(farm).await;
        assert!(before.is_empty() && miners.len() <= 1 && (!done || miners.len() == 1), "{miners:?}: {at}");
        assert!(!done || !said.contains("already"), "this command did it: {at}");
        run(farm, START).await;
        let now = agreed(farm).await;
        assert!(now.len() == 1 && (miners.is_empty() || now == miners), "{miners:?}, then {now:?}: {at}");
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

async fn stops(side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, START).await;
        STOP.to_owned()
    };
    at_each_step(side, prepare, async |farm, Outcome { books, done, said, before, at }| {
        let miners = agreed(farm).await;
        assert!(before.len() == 1 && (miners.is_empty() || !done && miners.len() == 1), "{miners:?}: {at}");
        assert!(!done || !said.contains("already"), "this command did it: {at}");
        run(farm, STOP).await;
        assert_eq!(agreed(farm).await, [0_i32; 0], "{at}");
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

/// What a controller does with its own files and its registry.
#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_keeping_its_book_has_the_old_page_or_the_new() {
    let add = "profile add q --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W";
    let prepare = async |farm: &Farm| {
        if farm.controller.home.names("profile list").await.contains(&"q".to_owned()) {
            run(farm, "profile remove q").await;
        }
        add.to_owned()
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { done, at, .. }| {
        let there = farm.controller.home.names("profile list").await;
        assert!(there == ["p", "q"] || !done && there == ["p"], "{there:?}: {at}");
    })
    .await;
    let prepare = async |farm: &Farm| {
        if !farm.controller.home.names("profile list").await.contains(&"q".to_owned()) {
            run(farm, add).await;
        }
        "profile remove q".to_owned()
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { done, at, .. }| {
        let there = farm.controller.home.names("profile list").await;
        assert!(there == ["p"] || !done && there == ["p", "q"], "{there:?}: {at}");
    })
    .await;
    let tokens = async |farm: &Farm| farm.controller.home.names("token list").await;
    let add = "token add t --scope read";
    let prepare = async |farm: &Farm| {
        if !tokens(farm).await.is_empty() {
            run(farm, "token remove t").await;
        }
        add.to_owned()
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { done, at, .. }| {
        let there = tokens(farm).await;
        assert!(there == ["t"] || !done && there.is_empty(), "{there:?}: {at}");
    })
    .await;
    let prepare = async |farm: &Farm| {
        if tokens(farm).await.is_empty() {
            run(farm, add).await;
        }
        "token remove t".to_owned()
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { done, at, .. }| {
        let there = tokens(farm).await;
        assert!(there.is_empty() || !done && there == ["t"], "{there:?}: {at}");
    })
    .await;
    let permission =
        async |farm: &Farm| farm.controller.home.json("peer list").await[0]["permission"].as_str().unwrap().to_owned();
    let prepare = async |farm: &Farm| {
        run(farm, "peer permit rig-alpha none").await;
        "peer permit rig-alpha view".to_owned()
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, done, at, .. }| {
        let granted = permission(farm).await;
        assert!(granted == "view" || !done && granted == "none", "{granted}: {at}");
        run(farm, "peer permit rig-alpha none").await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_renaming_or_removing_a_rig_did_it_or_did_not() {
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
    let pair = async |farm: &Farm| {
        let rig = farm.rig();
        let (address, code) = (rig.home.address(), code_of(rig).await);
        run(farm, &format!("peer add --address {address} --name rig-alpha --code {code}")).await;
    };
    let remove = "peer remove rig-alpha";
    let prepare = async |farm: &Farm| {
        run(farm, START).await;
        remove.to_owned()
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, done, before, at, .. }| {
        let names = farm.controller.home.names("peer list").await;
        assert!(names.is_empty() || !done && names == ["rig-alpha"], "{names:?}: {at}");
        if !names.is_empty() {
            run(farm, remove).await;
            assert_eq!(farm.controller.home.names("peer list").await, [""; 0], "{at}");
        }
        assert_eq!(farm.rig().home.miners(), before, "who is forgotten mines on: {at}");
        pair(farm).await;
        Farm::online(&farm.controller.home, "rig-alpha").await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
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
    starts(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_start_whose_rig_is_killed_at_any_step_is_done_once_or_not() {
    starts(Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stop_whose_controller_is_killed_at_any_step_leaves_nothing_half_stopped() {
    stops(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stop_whose_rig_is_killed_at_any_step_leaves_nothing_half_stopped() {
    stops(Side::Rig).await;
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
