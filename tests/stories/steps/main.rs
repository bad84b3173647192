//! Each side of each command, killed before each of its steps in turn and started again at once: no command is done twice, none
//! is reported done that was not, nothing that was stored is lost, and asked again everything is done.
//!
//! Minutes long; `.ci/run faults` runs them.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on says where")]

mod book;
mod mining;
mod order;
mod peers;

use std::cell::Cell;
use std::time::Duration;

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::steps::Trap;
use miner_ctrl_tests::{Farm, Held, wait_for};
use serde_json::Value;

use order::Order;

/// Within this after a restart everything is as it should be.
const HEALED: Duration = Duration::from_secs(10);

/// No command takes longer, whoever dies.
const LONGEST: Duration = Duration::from_secs(90);

/// Every command of these has so many steps, and none as many as [`MOST`]: to take a profile back a rig removes a file, has
/// that written down, and answers.
const FEWEST: usize = 3;
const MOST: usize = 1000;

/// Sets the rig mining.
const START: &str = "remote start rig-alpha --profile p --from here --miner xmrig-1";

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
        let converges = order.leaves_peers_alone();
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
            let is_forgotten = given_at != side && matches!(order, Order::Forget(_));
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
