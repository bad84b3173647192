//! Nodes that never answer, that stand still, that are plugged in elsewhere, and controllers that contradict each other.

use std::time::{Duration, Instant};

use futures::future::join_all;
use miner_ctrl_protocol::Role;
use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::history::Past;
use miner_ctrl_tests::processes::{proceed, stand_still};
use miner_ctrl_tests::{Caller, DEADLINE, Farm, Lan, wait_for};
use serde_json::Value;

use crate::{CUT, HEALED, Held, MINUTE, NOTICED, UNKNOWN, agreed, hashes, is_online, left_nothing_behind};

/// Who waits no longer did not wait for a rig that is silent: nothing gives one up before 10 s.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Its link is up and its heart beats; a program that is stuck, or means ill, does no more.
#[tokio::test]
#[ignore = "takes half a minute; `.ci/run faults` runs it"]
async fn a_rig_that_never_answers_holds_up_nobody_and_is_not_said_to_have_obeyed() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller.home, farm.rig());
    let _ = controller.run("remote start rig-alpha --profile p --from here --miner xmrig-1").await.done();
    hashes(controller, "rig-alpha", DEADLINE).await;
    let held = Held::in_all(&farm).await;

    let silent = Caller::admitted(&farm.controller, "rig-silent", Role::Worker).await;
    let mut link = silent.link(&silent.hello("rig-silent", Role::Worker)).await;
    assert!(link.hello.is_some(), "it is greeted");
    let work = async {
        Farm::online(controller, "rig-silent").await;
        let orders = [
            "start rig-silent --profile p --from here",
            "stop rig-silent --all",
            "restart rig-silent",
            "deploy rig-silent --profile p",
            "logs rig-silent",
        ];
        let told = join_all(orders.map(async |order| controller.run(&format!("remote {order}")).await));
        let both = async {
            let ran = controller.run("remote deploy rig-alpha,rig-silent --profile p -o json").await;
            let documents: Value = serde_json::from_str(&ran.stdout).unwrap();
            let done = [&documents[0]["done"], &documents[1]["done"]];
            let as_known = *done[0] == true && done[1].is_null() && ran.code == Some(7);
            assert!(as_known, "each by itself, and a timeout is no failure: {ran:#?}");
        };
        // Until the last of those above is given up.
        let others = async {
            loop {
                for order in ["start rig-alpha --profile p --from here --miner xmrig-2", "stop rig-alpha xmrig-2"] {
                    let asked = Instant::now();
                    let _ = controller.run(&format!("remote {order}")).await.done();
                    assert!(asked.elapsed() < AT_ONCE, "{order} took {:?}", asked.elapsed());
                }
                // By another hand, so that only who watches learns of it.
                for (order, running) in
                    [("start rig-alpha --profile p --miner xmrig-2", 2), ("stop rig-alpha xmrig-2", 1)]
                {
                    let _ = rig.home.run(&format!("remote {order}")).await.done();
                    assert_eq!(agreed(controller, rig, AT_ONCE).await, running);
                }
                assert!(is_online(controller, "rig-silent").await, "it lives");
            }
        };
        let told = async { tokio::join!(told, both).0 };
        let told = tokio::select! { told = told => told, () = others => unreachable!("it goes on") };
        for ran in told {
            let unanswered = ran.stderr.contains("no answer from rig-silent");
            assert!(ran.code == UNKNOWN && unanswered, "{ran:#?}");
        }
    };
    tokio::select! {
        left = link.keep_silent() => panic!("the controller gave it up, and it left {left} requests"),
        () = work => {}
    }
    drop((link, silent));
    wait_for("it is gone", NOTICED, async || (!is_online(controller, "rig-silent").await).then_some(())).await;
    let _ = controller.run("remote stop rig-alpha xmrig-2").await;
    assert_eq!(agreed(controller, rig, HEALED).await, 1);
    left_nothing_behind(held).await;
}

#[tokio::test]
async fn a_rig_that_stands_still_is_offline_and_does_what_it_was_told_at_most_once() {
    stand_still_for(Duration::from_secs(1)).await;
}

#[tokio::test]
#[ignore = "takes more than a minute; `.ci/run faults` runs it"]
async fn a_rig_that_stands_still_for_a_minute_comes_back() {
    stand_still_for(MINUTE).await;
}

async fn stand_still_for(at_least: Duration) {
    let farm = Farm::paired(&["rig-alpha"]).await;
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller.home, farm.rig());
    let _ = controller.run("remote start rig-alpha --profile p --from here").await.done();
    let miner = rig.home.miners();
    let past = Past::of(controller, rig.node.line("node id")).await;
    let held = Held::in_all(&farm).await;
    stand_still(rig.node.pid());
    let still = Instant::now();
    let second = "remote start rig-alpha --profile p --from here --miner xmrig-2";
    let offline =
        wait_for("it shows as offline", NOTICED, async || (!is_online(controller, "rig-alpha").await).then_some(()));
    let (told, ()) = tokio::join!(controller.run(second), offline);
    assert_eq!(told.code, UNKNOWN, "{told:#?}");
    wait_for("the time is over", at_least + DEADLINE, async || (still.elapsed() >= at_least).then_some(())).await;
    assert_eq!(rig.home.miners(), miner, "the miner needs no node to mine");
    proceed(rig.node.pid());
    let back = Instant::now();
    let running = agreed(controller, rig, HEALED).await;
    assert!(back.elapsed() < HEALED, "it took {:?}", back.elapsed());
    assert!(running == 1 || running == 2, "{running}");
    assert!(rig.home.miners().contains(&miner[0]), "the first was not touched");
    let _ = controller.run(second).await.done();
    assert_eq!(agreed(controller, rig, HEALED).await, 2, "asked again it is done, once");
    let _ = controller.run("remote stop rig-alpha xmrig-2").await.done();
    assert_eq!(agreed(controller, rig, HEALED).await, 1);
    past.is_whole(controller, "rig-alpha").await;
    left_nothing_behind(held).await;
}

#[tokio::test]
async fn a_controller_that_stands_still_costs_its_rigs_nothing() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller, farm.rig());
    let _ = controller.home.run("remote start rig-alpha --profile p --from here").await.done();
    let miner = rig.home.miners();
    let past = Past::of(&controller.home, rig.node.line("node id")).await;
    let held = Held::in_all(&farm).await;
    stand_still(controller.node.pid());
    let noticed = wait_for("the rig sees it offline", NOTICED, async || {
        (!is_online(&rig.home, "control-center").await).then_some(())
    });
    let asked = Instant::now();
    let (controllers, asks) = (&controller.home, ["node health", "doctor"]);
    let told = join_all(asks.map(async |line| (controllers.run(line).await, asked.elapsed())));
    let ((), told) = tokio::join!(noticed, told);
    for (ran, took) in &told {
        assert!(
            format!("{}{}", ran.stdout, ran.stderr).contains("within 10 s") && *took < NOTICED,
            "{took:?} {ran:#?}"
        );
    }
    assert!(told[0].0.stderr.contains("nothing was asked of it yet"), "{told:#?}");
    assert_eq!((told[0].0.code, told[1].0.code), (Some(6), Some(1)), "{told:#?}");
    proceed(controller.node.pid());
    let back = Instant::now();
    assert_eq!(agreed(&controller.home, rig, HEALED).await, 1);
    assert!(back.elapsed() < HEALED, "it took {:?}", back.elapsed());
    assert_eq!(rig.home.miners(), miner);
    past.is_whole(&controller.home, "rig-alpha").await;
    left_nothing_behind(held).await;
}

/// A rig that loses its power is plugged in elsewhere, within the time in which its link is given up.
#[tokio::test]
#[ignore = "needs root for network namespaces; `.ci/run faults` runs it"]
async fn a_rig_that_comes_back_before_it_was_missed_is_one_rig() {
    let lan = Lan::new(3);
    let [first, host, elsewhere] = lan.hosts() else { unreachable!("three hosts") };
    let controller = Station::start_on(first, "control-center", "controller").await;
    let rig = Station::start_on(host, "rig-alpha", "worker").await;
    rig.home.add(&controller.home).await;
    Farm::online(&controller.home, "rig-alpha").await;
    // It says no goodbye.
    host.wire(CUT);
    let cut = Instant::now();
    let Station { node, home, .. } = rig;
    node.kill();
    let home = home.on(elsewhere);
    let _node = home.serve().await;
    let sees_it = async || {
        let peers = home.json("peer list").await;
        (peers[0]["online"] == true).then_some(())
    };
    wait_for("it has a new link", HEALED, sees_it).await;
    assert!(cut.elapsed() < Duration::from_secs(13), "the old one was not given up before: {:?}", cut.elapsed());
    assert!(is_online(&controller.home, "rig-alpha").await);
    let _ = controller.home.run("peer ping rig-alpha").await.done();
    // By then nobody can have answered on the old one.
    wait_for("the old one is over", DEADLINE, async || (cut.elapsed() > NOTICED).then_some(())).await;
    assert_eq!(controller.home.json("peer list").await[0]["problem"], Value::Null);
}

#[tokio::test]
async fn of_two_controllers_with_opposite_orders_each_is_told_the_truth() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    let rig = farm.rig();
    let other = Station::start("other-center", "controller").await;
    let code = rig.home.json("pair").await["code"].as_str().unwrap().to_owned();
    let add = format!("peer add --address {} --name rig-alpha --code {code}", rig.home.address());
    let _ = other.home.run(&add).await.done();
    let one = &farm.controller.home;
    farm.add_profile("p").await;
    let _ = one.run("remote deploy rig-alpha --profile p").await.done();
    let held = join_all([&farm.controller, &other, rig].map(Held::by)).await;
    for round in 0..6 {
        let (start, stop) = tokio::join!(
            one.run("remote start rig-alpha --profile p --miner xmrig-1"),
            other.home.run("remote stop rig-alpha --all"),
        );
        // A stop may find nothing, or a start that another stop overtook; either is said, with a reason.
        for ran in [&start, &stop] {
            assert!(ran.code == Some(0) || ran.stderr.contains("hint: "), "round {round}: {ran:#?}");
        }
        let running = agreed(one, rig, HEALED).await;
        assert_eq!(agreed(&other.home, rig, HEALED).await, running, "round {round}: both are told the same");
        assert!(running <= 1, "round {round}");
    }
    let _ = other.home.run("remote stop rig-alpha --all").await.done();
    assert_eq!(agreed(one, rig, HEALED).await, 0);
    left_nothing_behind(held).await;
}
