//! Nodes that never answer, that flood, that stand still, that are plugged in elsewhere, and controllers that contradict
//! each other.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use futures::future::join_all;
use miner_ctrl_protocol::codec::{self, MAX_BODY};
use miner_ctrl_protocol::{Refusal, Request, Role};
use miner_ctrl_tests::caller::sealed;
use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::processes::{kill, proceed, stand_still};
use miner_ctrl_tests::{Caller, DEADLINE, Farm, Lan, Ran, wait_for};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    AT_ONCE, CUT, HEALED, Held, Kept, MINUTE, NOTICED, UNKNOWN, agreed, hashes, is_online, left_nothing_behind, mines,
    starts,
};

/// Requests that a rig which floods says in one breath.
const BURST: u64 = 256;

/// So often it is told to come later before a flood was one.
const ENOUGH: usize = 10_000;

/// Its link is up and its heart beats; a program that is stuck, or means ill, does no more.
#[tokio::test]
#[ignore = "takes half a minute; `.ci/run faults` runs it"]
async fn a_rig_that_never_answers_holds_up_nobody_and_is_not_said_to_have_obeyed() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller.home, farm.rig());
    let _ = controller.run("remote start rig-alpha --profile p --from here --miner xmrig-1").await.done();
    hashes(controller, "rig-alpha", DEADLINE).await;
    let silent = Caller::admitted(&farm.controller, "rig-silent", Role::Worker).await;
    // The order to both comes to the one.
    let _ = controller.run("remote deploy rig-alpha --profile p").await.done();
    let miner = rig.home.miners();
    let kept = Kept::by(&farm).await;
    let held = Held::in_all(&farm).await;

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
    assert_eq!(rig.home.miners(), miner, "the first was not touched");
    kept.is_whole(&farm).await;
    left_nothing_behind(held).await;
}

/// Every request is valid, and asked as fast as it can be: by one rig that counts how often it is told to come later, and by
/// one that reads no answer.
#[tokio::test]
async fn a_rig_that_floods_its_controller_holds_up_nobody_else() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller.home, farm.rig());
    let _ = controller.run("remote start rig-alpha --profile p --from here --miner xmrig-1").await.done();
    hashes(controller, "rig-alpha", DEADLINE).await;
    let miner = rig.home.miners();
    let names = ["rig-flood", "rig-deaf"];
    let [flood, deaf] = [
        Caller::admitted(&farm.controller, names[0], Role::Worker).await,
        Caller::admitted(&farm.controller, names[1], Role::Worker).await,
    ];
    let kept = Kept::by(&farm).await;
    let held = Held::in_all(&farm).await;

    // Who is given up comes again.
    let flooding = async |caller: &Caller, name: &str, busy: Option<&Cell<usize>>| -> Infallible {
        loop {
            let connection = caller.again(&farm.controller).await;
            let mut link = connection.link(&connection.hello(name, Role::Worker)).await;
            if link.hello.is_none() {
                continue;
            }
            let mut sender = connection.sender(&farm.controller, &link);
            while !connection.seen().closed {
                for id in 0..BURST {
                    let (bytes, _) = sealed(&mut sender, &Request::Ping { sent_at: 0 });
                    link.say(1, id, &bytes).await;
                }
                let Some(busy) = busy else { continue };
                for _ in 0..BURST {
                    let Some((kind, _, payload)) = link.hear_answer().await else { break };
                    let refused = kind == 3 && matches!(codec::decode(&payload, MAX_BODY), Ok(Refusal::Busy { .. }));
                    busy.set(busy.get() + usize::from(refused));
                }
            }
        }
    };
    let busy = Cell::new(0);
    let work = async {
        let mut rounds = 0;
        while rounds < 3 || busy.get() < ENOUGH {
            for order in [
                "start rig-alpha --profile p --from here --miner xmrig-2",
                "status rig-alpha",
                "stop rig-alpha xmrig-2",
            ] {
                let asked = Instant::now();
                let _ = controller.run(&format!("remote {order}")).await.done();
                assert!(asked.elapsed() < Duration::from_secs(5), "{order} took {:?}", asked.elapsed());
            }
            assert_eq!(rig.home.miners(), miner, "it mines on");
            rounds += 1;
        }
        rounds
    };
    let rounds = tokio::select! {
        never = flooding(&flood, names[0], Some(&busy)) => match never {},
        never = flooding(&deaf, names[1], None) => match never {},
        rounds = timeout(DEADLINE, work) => rounds.expect("a flood that is refused"),
    };
    drop((flood, deaf));
    let ended = Instant::now();
    assert_eq!(agreed(controller, rig, HEALED).await, 1);
    hashes(controller, "rig-alpha", HEALED).await;
    assert!(ended.elapsed() < HEALED, "it took {:?}", ended.elapsed());
    for name in names {
        wait_for("it is gone", NOTICED, async || (!is_online(controller, name).await).then_some(())).await;
    }
    assert_eq!(starts(controller, "rig-alpha xmrig-2").await, rounds);
    assert_eq!(rig.home.miners(), miner);
    kept.is_whole(&farm).await;
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
    let kept = Kept::by(&farm).await;
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
    assert_eq!(starts(controller, "rig-alpha xmrig-2").await, 1);
    kept.is_whole(&farm).await;
    left_nothing_behind(held).await;
}

#[tokio::test]
async fn a_controller_that_stands_still_costs_its_rigs_nothing() {
    controller_stands_still_for(Duration::from_secs(1)).await;
}

#[tokio::test]
#[ignore = "takes more than a minute; `.ci/run faults` runs it"]
async fn a_controller_that_stands_still_for_a_minute_costs_its_rigs_nothing() {
    controller_stands_still_for(MINUTE).await;
}

async fn controller_stands_still_for(at_least: Duration) {
    let farm = Farm::paired(&["rig-alpha"]).await;
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller, farm.rig());
    let _ = controller.home.run("remote start rig-alpha --profile p --from here").await.done();
    let miner = rig.home.miners();
    let kept = Kept::by(&farm).await;
    let held = Held::in_all(&farm).await;
    stand_still(controller.node.pid());
    let still = Instant::now();
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
    wait_for("the time is over", at_least + DEADLINE, async || (still.elapsed() >= at_least).then_some(())).await;
    assert_eq!(rig.home.miners(), miner, "the miner needs no controller to mine");
    proceed(controller.node.pid());
    let back = Instant::now();
    assert_eq!(agreed(&controller.home, rig, HEALED).await, 1);
    assert!(back.elapsed() < HEALED, "it took {:?}", back.elapsed());
    assert_eq!(rig.home.miners(), miner);
    hashes(&controller.home, "rig-alpha", HEALED).await;
    assert_eq!(starts(&controller.home, "rig-alpha").await, 1);
    kept.is_whole(&farm).await;
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
    let farm = Farm { controller, rigs: vec![rig] };
    let miner = mines(&farm).await;
    let kept = Kept::by(&farm).await;
    let held = Held::by(&farm.controller).await;
    let Farm { controller, mut rigs } = farm;
    // It says no goodbye, and its miner goes with it.
    host.wire(CUT);
    let cut = Instant::now();
    let Station { name, node, home } = rigs.remove(0);
    node.kill();
    miner.into_iter().for_each(kill);
    let home = home.on(elsewhere);
    let node = home.serve().await;
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
    let farm = Farm { controller, rigs: vec![Station { name, node, home }] };
    assert_eq!(agreed(&farm.controller.home, farm.rig(), HEALED).await, 1, "it mines again");
    kept.is_whole(&farm).await;
    held.no_more().await;
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
    farm.add_profile("q").await;
    let kept = Kept::by(&farm).await;
    let book = other.book().await;
    let held = join_all([&farm.controller, &other, rig].map(Held::by)).await;
    // Starts that somebody was told of, and those of which nobody can say more than that they were begun.
    let (mut begun, mut perhaps) = (0, 0);
    let start = "start rig-alpha --profile p --miner xmrig-1";
    let stop = "stop rig-alpha --all";
    let (deploy, undeploy) = ("deploy rig-alpha --profile q", "undeploy rig-alpha --profile q");
    let mut rounds = Vec::new();
    for _ in 0..4 {
        rounds.extend([(start, stop), (start, "status rig-alpha"), ("restart rig-alpha", stop), (deploy, undeploy)]);
    }
    for (round, (ours, theirs)) in rounds.into_iter().enumerate() {
        let (ours, theirs) = (format!("remote {ours} -o json"), format!("remote {theirs} -o json"));
        let ran: [Ran; 2] = tokio::join!(one.run(&ours), other.home.run(&theirs)).into();
        for ran in &ran {
            // A stop may find nothing; that is said, with a reason.
            assert!(ran.code == Some(0) || ran.stderr.contains("\"hint\""), "round {round}: {ran:#?}");
        }
        if ours.contains("start") {
            let told: Value = serde_json::from_str(&ran[0].stdout).unwrap_or_default();
            // One that the stop overtook was answered with that, and may have been begun before.
            let miner = &told["miners"][0];
            let overtaken = miner["state"] == "stopped";
            assert!(!overtaken || miner["problem"] == "it was stopped meanwhile", "round {round}: {told}");
            begun += usize::from(told["changed"] == true && !overtaken);
            perhaps += usize::from(ran[0].code != Some(0) || overtaken);
        }
        let running = agreed(one, rig, HEALED).await;
        assert_eq!(agreed(&other.home, rig, HEALED).await, running, "round {round}: both are told the same");
        assert!(running <= 1, "round {round}");
        let stored = "remote profiles rig-alpha";
        assert_eq!(one.json(stored).await, other.home.json(stored).await, "round {round}");
        let starts = starts(one, "rig-alpha").await;
        assert!(
            (begun..=begun + perhaps).contains(&starts),
            "round {round}: {starts} of {begun} and {perhaps} perhaps"
        );
    }
    let _ = other.home.run("remote stop rig-alpha --all").await.done();
    let _ = other.home.run("remote undeploy rig-alpha --profile q").await.done();
    assert_eq!(agreed(one, rig, HEALED).await, 0);
    kept.is_whole(&farm).await;
    assert_eq!(other.book().await, book);
    left_nothing_behind(held).await;
}
