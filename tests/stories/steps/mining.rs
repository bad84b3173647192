//! Miners and profiles of rigs, of one and of many.

use std::cell::{Cell, RefCell};

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::processes::miners_under;
use miner_ctrl_tests::{Farm, wait_for};
use serde_json::{Value, json};

use crate::order::Order;
use crate::{HEALED, Outcome, START, Side, agreed, all_is_whole, at_each_step, at_each_step_among, run};

const START_ITS_OWN: &str = "remote start rig-alpha --profile p --from rig --miner xmrig-1";
const START_ANOTHER: &str = "remote start rig-alpha --profile p --from here --miner xmrig-2";
const STOP: &str = "remote stop rig-alpha --all";
const BOTH: [&str; 2] = ["rig-alpha", "rig-beta"];
const START_BOTH: &str = "remote start rig-alpha,rig-beta --profile p --from here --miner xmrig-1";
const STOP_BOTH: &str = "remote stop rig-alpha,rig-beta --all";

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
