//! Faults of the world around the nodes: wires that are cut, slow or lossy, nodes that stand still, orders that
//! contradict each other, disks that are full, clocks that are years off. Whatever happens: no command is done twice,
//! none is reported done that was not, mining goes on, and everything is as it was soon after the fault is over.
//!
//! Those that need root and namespaces are run by `.ci/run faults`.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on says where")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::join_all;
use miner_ctrl::store::atomic;
use miner_ctrl_protocol::Role;
use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::history::{Past, minutes, now, record, told};
use miner_ctrl_tests::processes::{children_of, descriptors_of, proceed, resident_bytes_of, stand_still};
use miner_ctrl_tests::{Caller, Cut, DEADLINE, Farm, Home, Host, Lan, Wire, wait_for};
use serde_json::Value;

/// Within this a rig that says nothing shows as offline.
const NOTICED: Duration = Duration::from_secs(15);

/// Within this after a fault everything is as it should be.
const HEALED: Duration = Duration::from_secs(10);

const MINUTE: Duration = Duration::from_secs(60);

/// The exit code of a command whose rig did not answer: whether it was done is not known.
const UNKNOWN: Option<i32> = Some(6);

const CUT: Wire = Wire::cut(Cut::BothWays);

/// Who waits no longer did not wait for a rig that is silent: nothing gives one up before 10 s.
const AT_ONCE: Duration = Duration::from_secs(8);

/// What a node may hold more of than before. A rig may be between two connections, and a command that just ended may still
/// hold its own.
const DESCRIPTORS: usize = 2;
const MEMORY: u64 = 16 * 1024 * 1024;

/// What a miner's console says once for each start.
const BANNER: &str = "ABOUT";

/// How often the rig's miner was started.
async fn starts(controller: &Home, rig: &str) -> usize {
    let console = controller.run(&format!("remote logs {rig} --lines 1000")).await.done();
    console.lines().filter(|line| line.contains(BANNER)).count()
}

async fn is_online(controller: &Home, rig: &str) -> bool {
    let peers = controller.json("peer list").await;
    peers.as_array().expect("a list").iter().any(|peer| peer["name"] == rig && peer["online"] == true)
}

/// How many miners the rig runs, once the controller knows it.
async fn agreed(controller: &Home, rig: &Station, within: Duration) -> usize {
    Farm::agreed(controller, rig, within).await.len()
}

/// Waits until the rig is online and its miner hashes.
async fn hashes(controller: &Home, rig: &str, within: Duration) {
    wait_for(&format!("{rig} hashes"), within, async || {
        let ran = controller.run(&format!("remote status {rig} -o json")).await;
        let status: Value = serde_json::from_str(&ran.stdout).ok()?;
        let hashrate = status["stats"]["miners"][0]["hashrate"].as_f64();
        (status["peer"]["online"] == true && hashrate.is_some_and(|rate| rate > 0.0)).then_some(())
    })
    .await;
}

/// What a node holds while nothing is wrong.
struct Held {
    name: String,
    pid: i32,
    descriptors: usize,
    memory: u64,
}

impl Held {
    fn by(station: &Station) -> Self {
        let pid = station.node.pid();
        Self { name: station.name.clone(), pid, descriptors: descriptors_of(pid), memory: resident_bytes_of(pid) }
    }

    /// By everybody.
    fn in_all(farm: &Farm) -> Vec<Self> {
        std::iter::once(&farm.controller).chain(&farm.rigs).map(Self::by).collect()
    }
}

/// No descriptor, no memory worth speaking of, and no dead child is left of what happened, on either side.
async fn left_nothing_behind(before: Vec<Held>) {
    for Held { name, pid, descriptors, memory } in before {
        wait_for(&format!("what the fault opened at {name} is closed"), DEADLINE, async || {
            (1..=descriptors + DESCRIPTORS).contains(&descriptors_of(pid)).then_some(())
        })
        .await;
        wait_for(&format!("{name} has buried its dead"), DEADLINE, async || {
            children_of(pid).iter().all(|(_, state)| *state != 'Z').then_some(())
        })
        .await;
        let now = resident_bytes_of(pid);
        assert!(now < memory + MEMORY, "{name} grew from {memory} to {now} bytes");
    }
}

#[tokio::test]
#[ignore = "needs root for network namespaces; `.ci/run faults` runs it"]
async fn over_slow_lossy_and_narrow_wires_every_command_is_done_once() {
    let names = ["rig-slow", "rig-lossy", "rig-narrow", "rig-awful"];
    let lan = Lan::new(5);
    let farm = Farm::paired_on(&lan, &names).await;
    farm.add_profile("p").await;
    let slow = Wire { delay: Duration::from_millis(200), ..Wire::default() };
    let lossy = Wire { loss: 0.05, ..Wire::default() };
    let narrow = Wire { rate: Some(125_000), ..Wire::default() };
    let awful = Wire { delay: Duration::from_millis(200), loss: 0.05, rate: Some(125_000), ..Wire::default() };
    let before = Held::in_all(&farm);
    for (host, wire) in lan.hosts()[1..].iter().zip([slow, lossy, narrow, awful]) {
        host.wire(wire);
    }
    let (controller, all) = (&farm.controller.home, names.join(","));
    let _ = controller.run(&format!("remote deploy {all} --profile p")).await.done();
    let _ = controller.run(&format!("remote start {all} --profile p")).await.done();
    let miners: Vec<Vec<i32>> = farm.rigs.iter().map(|rig| rig.home.miners()).collect();
    assert!(miners.iter().all(|miners| miners.len() == 1), "{miners:?}");
    for rig in names {
        hashes(controller, rig, DEADLINE).await;
    }
    // The same again finds it done.
    let _ = controller.run(&format!("remote start {all} --profile p")).await.done();
    assert_eq!(farm.rigs.iter().map(|rig| rig.home.miners()).collect::<Vec<_>>(), miners);
    for rig in names {
        assert_eq!(starts(controller, rig).await, 1, "{rig}");
        assert!(is_online(controller, rig).await, "{rig}: a bad wire is no reason to give it up");
    }
    let _ = controller.run(&format!("remote stop {all} --all")).await.done();
    for rig in &farm.rigs {
        assert_eq!(rig.home.miners(), [0_i32; 0], "{}", rig.name);
    }
    left_nothing_behind(before).await;
}

/// As over a tunnel, with a firewall that drops what routers say of it. Whatever fits one packet passes, signs of life
/// among it. The controller dials the one rig, and the other dials it.
#[tokio::test]
#[ignore = "needs root for network namespaces; `.ci/run faults` runs it"]
async fn on_a_way_that_is_narrower_than_anybody_is_told_large_messages_pass() {
    let lan = Lan::new(3);
    let names = ["rig-alpha", "rig-beta"];
    let farm = {
        let [first, hosts @ ..] = lan.hosts() else { unreachable!("three hosts") };
        let rigs = join_all(names.iter().zip(hosts).map(|(rig, host)| Station::start_on(host, rig, "worker")));
        let (controller, rigs) = tokio::join!(Station::start_on(first, "control-center", "controller"), rigs);
        Farm { controller, rigs }
    };
    for host in &lan.hosts()[1..] {
        // What IPv6 takes for granted, and what a mesh of WireGuard offers by default.
        host.wire(Wire { largest: Some(1280), ..Wire::default() });
    }
    let controller = &farm.controller.home;
    farm.controller.pair_with(&farm.rigs[0]).await;
    farm.rigs[1].home.add(controller).await;
    for rig in names {
        Farm::online(controller, rig).await;
    }
    let pools: String = (0..8).map(|pool| format!(" --pool {}.example:{}", "p".repeat(60), 4444 + pool)).collect();
    let wallet = "W".repeat(256);
    let add = format!("profile add p --program xmrig --algorithm rx/0 --wallet {wallet} --password {wallet}{pools}");
    let _ = controller.run(&add).await.done();
    let all = names.join(",");
    let _ = controller.run(&format!("remote deploy {all} --profile p")).await.done();
    let _ = controller.run(&format!("remote start {all} --profile p")).await.done();
    for _ in 0..10 {
        let _ = controller.run(&format!("remote restart {all}")).await.done();
    }
    for rig in names {
        let told = controller.run(&format!("remote logs {rig} --lines 1000")).await.done();
        assert!(told.len() > 2 * 1500, "more than a packet: {told}");
        hashes(controller, rig, DEADLINE).await;
    }
}

#[tokio::test]
#[ignore = "needs root for network namespaces; `.ci/run faults` runs it"]
async fn half_a_fleet_that_is_cut_off_mines_on_and_is_found_again() {
    cut_half_the_fleet(Duration::from_secs(3)).await;
}

#[tokio::test]
#[ignore = "takes a minute and a half, and root; `.ci/run faults` runs it"]
async fn half_a_fleet_that_is_cut_off_for_a_minute_is_found_again() {
    cut_half_the_fleet(MINUTE).await;
}

/// One rig for `short`, another until it shows as offline and at least as long; the other half never.
async fn cut_half_the_fleet(short: Duration) {
    let lan = Lan::new(5);
    let farm = Farm::paired_on(&lan, &["rig-alpha", "rig-beta", "rig-gamma", "rig-delta"]).await;
    farm.add_profile("p").await;
    let (controller, rigs) = (&farm.controller.home, &farm.rigs);
    let _ = controller.run("remote start rig-alpha,rig-beta,rig-gamma,rig-delta --profile p --from here").await.done();
    let miners = || rigs.iter().map(|rig| rig.home.miners()).collect::<Vec<_>>();
    let before = miners();
    let profiles = controller.json("profile list").await;
    let past = Past::of(controller, rigs[1].node.line("node id")).await;
    let held = Held::in_all(&farm);

    let cut = Instant::now();
    // By then rig-beta shows as offline, and no number of it comes any more.
    let missed = (now() + NOTICED.as_secs() + 5) / 60 * 60;
    let missed = missed..missed + 60;
    lan.hosts()[1].wire(CUT);
    lan.hosts()[2].wire(CUT);
    let alpha_back = async {
        wait_for("the short cut is over", short + DEADLINE, async || (cut.elapsed() >= short).then_some(())).await;
        lan.hosts()[1].wire(Wire::default());
        let back = Instant::now();
        Farm::online(controller, "rig-alpha").await;
        hashes(controller, "rig-alpha", HEALED).await;
        assert!(back.elapsed() < HEALED, "rig-alpha took {:?}", back.elapsed());
    };
    let beta_gone = async {
        wait_for("the black-holed rig shows as offline", NOTICED, async || {
            (!is_online(controller, "rig-beta").await).then_some(())
        })
        .await;
        let noticed = cut.elapsed();
        assert!(noticed < NOTICED, "it took {noticed:?}");
        noticed
    };
    // Given while nobody there can hear it.
    let unheard = async {
        let stop = controller.run("remote stop rig-beta --all").await;
        assert_eq!(stop.code, UNKNOWN, "{stop:#?}");
        assert_eq!(rigs[1].home.miners(), before[1], "it was not done, and not reported done");
    };
    let others = async {
        for rig in ["rig-gamma", "rig-delta"] {
            assert!(is_online(controller, rig).await);
            let _ = controller.run(&format!("remote start {rig} --profile p --from here")).await.done();
        }
    };
    let ((), noticed, (), ()) = tokio::join!(alpha_back, beta_gone, unheard, others);
    assert_eq!(miners(), before, "everybody mines on");
    assert!(noticed > Duration::ZERO);

    let its_own = if short >= MINUTE {
        let its_own = wait_for("rig-beta has written a minute that nobody saw", DEADLINE, async || {
            let numbers = told(&rigs[1].home, "rig-beta", "hashrate", 10, missed.clone()).await;
            numbers.iter().any(Option::is_some).then_some(numbers)
        })
        .await;
        let gap = told(controller, "rig-beta", "hashrate", 10, missed.clone()).await;
        assert!(
            its_own.iter().zip(&gap).any(|(own, known)| own.is_some() && known.is_none()),
            "a gap is a gap: {gap:?}"
        );
        Some(its_own)
    } else {
        None
    };
    lan.hosts()[2].wire(Wire::default());
    let back = Instant::now();
    let running = agreed(controller, &rigs[1], HEALED).await;
    assert!(back.elapsed() < HEALED, "rig-beta took {:?}", back.elapsed());
    // What its connection still held may have arrived; then it is seen to have been done.
    assert!(running <= 1);
    let _ = controller.run("remote start rig-beta --profile p --from here").await.done();
    for rig in rigs {
        assert_eq!(agreed(controller, rig, HEALED).await, 1, "{}", rig.name);
    }
    assert_eq!(starts(controller, "rig-alpha").await, 1);
    assert_eq!(controller.json("profile list").await, profiles);
    let names: Vec<Value> =
        controller.json("peer list").await.as_array().unwrap().iter().map(|peer| peer["name"].clone()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    if let Some(its_own) = its_own {
        wait_for("what rig-beta did meanwhile is known", DEADLINE, async || {
            let known = told(controller, "rig-beta", "hashrate", 10, missed.clone()).await;
            its_own.iter().zip(&known).all(|(own, known)| own.is_none() || known.is_some()).then_some(())
        })
        .await;
    }
    past.is_whole(controller, "rig-beta").await;
    left_nothing_behind(held).await;
}

/// As behind a firewall that forgets one direction. Two rigs are dialled and two dial; of either pair one is deaf and one
/// is not heard.
#[tokio::test]
#[ignore = "needs root for network namespaces; `.ci/run faults` runs it"]
async fn a_hole_in_one_way_alone_is_noticed_at_both_ends_whoever_dialled_and_heals() {
    let names = ["rig-deaf", "rig-mute", "rig-deaf-caller", "rig-mute-caller"];
    let holes = [Cut::ToHost, Cut::FromHost, Cut::ToHost, Cut::FromHost];
    let lan = Lan::new(5);
    let farm = {
        let [first, hosts @ ..] = lan.hosts() else { unreachable!("five hosts") };
        let rigs = join_all(names.iter().zip(hosts).map(|(rig, host)| Station::start_on(host, rig, "worker")));
        let (controller, rigs) = tokio::join!(Station::start_on(first, "control-center", "controller"), rigs);
        Farm { controller, rigs }
    };
    let (controller, rigs) = (&farm.controller.home, &farm.rigs);
    for rig in &rigs[..2] {
        farm.controller.pair_with(rig).await;
    }
    for rig in &rigs[2..] {
        rig.home.add(controller).await;
    }
    farm.add_profile("p").await;
    for rig in names {
        Farm::online(controller, rig).await;
    }
    let all = names.join(",");
    let _ = controller.run(&format!("remote start {all} --profile p --from here --miner xmrig-1")).await.done();
    let miners: Vec<Vec<i32>> = rigs.iter().map(|rig| rig.home.miners()).collect();
    let held = Held::in_all(&farm);

    let states = async |home: &Home| -> Vec<bool> {
        let peers = home.json("peer list").await;
        peers.as_array().expect("a list").iter().map(|peer| peer["online"] == true).collect()
    };
    for (host, way) in lan.hosts()[1..].iter().zip(holes) {
        host.wire(Wire::cut(way));
    }
    let cut = Instant::now();
    let ours = async {
        wait_for("all show as offline", NOTICED, async || {
            states(controller).await.iter().all(|online| !online).then_some(())
        })
        .await;
        assert!(cut.elapsed() < NOTICED, "it took {:?}", cut.elapsed());
    };
    let theirs = async {
        for rig in rigs {
            wait_for("each sees its controller offline", NOTICED, async || {
                (!is_online(&rig.home, "control-center").await).then_some(())
            })
            .await;
        }
        assert!(cut.elapsed() < NOTICED, "it took {:?}", cut.elapsed());
    };
    // Some of them hear it, and none can say so.
    let second = |rig: &str| format!("remote start {rig} --profile p --from here --miner xmrig-2");
    let told = join_all(names.map(async |rig| controller.run(&second(rig)).await));
    let (told, (), ()) = tokio::join!(told, ours, theirs);
    for ran in told {
        assert_eq!(ran.code, UNKNOWN, "{ran:#?}");
    }
    for (rig, miners) in rigs.iter().zip(&miners) {
        assert!(rig.home.miners().contains(&miners[0]), "{} mines on", rig.name);
    }

    for host in &lan.hosts()[1..] {
        host.wire(Wire::default());
    }
    let back = Instant::now();
    wait_for("all are back", HEALED, async || states(controller).await.iter().all(|online| *online).then_some(()))
        .await;
    assert!(back.elapsed() < HEALED, "it took {:?}", back.elapsed());
    for rig in rigs {
        let running = agreed(controller, rig, HEALED).await;
        assert!(running == 1 || running == 2, "{}: {running}", rig.name);
    }
    let _ = controller.run(&second(&all)).await.done();
    for rig in rigs {
        assert_eq!(agreed(controller, rig, HEALED).await, 2, "{}: asked again it is done, once", rig.name);
    }
    let _ = controller.run(&format!("remote stop {all} xmrig-2")).await.done();
    for (rig, miners) in rigs.iter().zip(&miners) {
        assert_eq!(agreed(controller, rig, HEALED).await, 1, "{}", rig.name);
        assert_eq!(rig.home.miners(), *miners, "{}: the first was not touched", rig.name);
    }
    left_nothing_behind(held).await;
}

/// Its link is up and its heart beats; a program that is stuck, or means ill, does no more.
#[tokio::test]
#[ignore = "takes half a minute; `.ci/run faults` runs it"]
async fn a_rig_that_never_answers_holds_up_nobody_and_is_not_said_to_have_obeyed() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller.home, farm.rig());
    let _ = controller.run("remote start rig-alpha --profile p --from here --miner xmrig-1").await.done();
    hashes(controller, "rig-alpha", DEADLINE).await;
    let held = Held::in_all(&farm);

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
            assert!(done == [true, false], "each by itself: {ran:#?}");
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
    let held = Held::in_all(&farm);
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
    let held = Held::in_all(&farm);
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
    let held = [&farm.controller, &other, rig].map(Held::by).into();
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

/// A file system of its own, with little room.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(directory: &Path, megabytes: u32) -> Self {
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory).status();
        assert!(mounted.unwrap().success(), "root may mount");
        Self(directory.to_owned())
    }

    /// Leaves no byte free.
    fn fill(&self) -> PathBuf {
        let file = self.0.join("filler");
        let mut chunk = 1 << 20;
        let mut filler = fs::File::create(&file).unwrap();
        while chunk > 0 {
            if filler.write_all(&vec![b'x'; chunk]).is_err() {
                chunk /= 2;
            }
        }
        file
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still runs there has it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
#[ignore = "needs root for a disk of its own; `.ci/run faults` runs it"]
async fn on_a_full_disk_nothing_is_lost_and_nothing_is_claimed() {
    let (rig_home, home) = (Home::empty(), Home::empty());
    let (rig_disk, disk) = (SmallDisk::over(rig_home.path(), 24), SmallDisk::over(home.path(), 24));
    let rig_home = rig_home.initialised("rig-alpha", "worker").await;
    let home = home.initialised("control-center", "controller").await;
    let rig = Station { name: "rig-alpha".into(), node: rig_home.serve().await, home: rig_home };
    let controller = Station { name: "control-center".into(), node: home.serve().await, home };
    controller.pair_with(&rig).await;
    let farm = Farm { controller, rigs: vec![rig] };
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller.home, farm.rig());
    let _ = controller.run("remote start rig-alpha --profile p --from here").await.done();
    let miner = rig.home.miners();
    let id = rig.node.line("node id").to_owned();
    let (past, rig_past) = tokio::join!(Past::of(controller, &id), Past::of(&rig.home, &id));
    let held = Held::in_all(&farm);

    let (filler, rig_filler) = (disk.fill(), rig_disk.fill());
    let add = "profile add q --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet W";
    let refused = controller.run(add).await;
    assert!(refused.code != Some(0) && refused.stderr.contains("hint: "), "{refused:#?}");
    let refused = controller.run("remote deploy rig-alpha --profile p").await;
    assert!(refused.code != Some(0) && refused.stderr.contains("hint: "), "{refused:#?}");
    // Mining, looking and stopping need no disk.
    hashes(controller, "rig-alpha", HEALED).await;
    assert_eq!(rig.home.miners(), miner);
    let _ = controller.run("peer ping rig-alpha").await.done();

    fs::remove_file(filler).unwrap();
    fs::remove_file(rig_filler).unwrap();
    let names = |list: Value| {
        list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(controller.json("profile list").await), ["p"]);
    let _ = controller.run(add).await.done();
    let _ = controller.run("remote deploy rig-alpha --profile q").await.done();
    assert_eq!(names(controller.json("profile list").await), ["p", "q"]);
    left_nothing_behind(held).await;
    let Farm { controller, mut rigs } = farm;
    // Who stops writes what it has of the minute. There is no room for it, and what was there before is worth more.
    let filler = disk.fill();
    let Station { name, node, home } = controller;
    let _ = node.terminate().await;
    fs::remove_file(filler).unwrap();
    let back = async { Station { name, node: home.serve().await, home } };
    let (controller, rig) = tokio::join!(back, rigs.remove(0).killed_and_back());
    assert_eq!(agreed(&controller.home, &rig, DEADLINE).await, 1);
    assert_eq!(rig.home.miners(), miner);
    past.is_whole(&controller.home, "rig-alpha").await;
    rig_past.is_whole(&rig.home, "rig-alpha").await;
    assert_eq!(names(rig.home.json("profile list").await), ["q"]);
    // Before the homes, which cannot be removed from under them.
    drop((disk, rig_disk));
}

/// libfaketime, by which a process is told another time than it is. What it waits for takes as long as ever.
fn other_time(home: Home, library: &str) -> Home {
    let library = fs::read_dir("/usr/lib")
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("faketime").join(library))
        .find(|path| path.is_file())
        .expect("libfaketime is installed");
    home.with_variable("LD_PRELOAD", library).with_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// A year as libfaketime has it, seconds.
const YEAR: i64 = 365 * 24 * 3600;

/// Now, by a clock that is so many years off.
fn now_by(years: i64) -> u64 {
    now().saturating_add_signed(years * YEAR)
}

#[tokio::test]
#[ignore = "needs libfaketime; `.ci/run faults` runs it"]
async fn clocks_that_are_years_off_change_nothing() {
    join_all([(-12, 0), (0, -12), (30, -12)].map(|(rig, controller)| clocks_are_off(rig, controller))).await;
}

/// By so many years.
async fn clocks_are_off(rig_clock: i64, controller_clock: i64) {
    let home =
        |years: i64| other_time(Home::empty(), "libfaketime.so.1").with_variable("FAKETIME", format!("{years:+}y"));
    let rig_home = home(rig_clock).initialised("rig-alpha", "worker").await;
    let home = home(controller_clock).initialised("control-center", "controller").await;
    let rig = Station { name: "rig-alpha".into(), node: rig_home.serve().await, home: rig_home };
    let controller = Station { name: "control-center".into(), node: home.serve().await, home };
    controller.pair_with(&rig).await;
    let farm = Farm { controller, rigs: vec![rig] };
    farm.add_profile("p").await;
    let held = Held::in_all(&farm);
    let _ = farm.controller.home.run("remote start rig-alpha --profile p --from here").await.done();
    hashes(&farm.controller.home, "rig-alpha", DEADLINE).await;
    assert!(is_online(&farm.controller.home, "rig-alpha").await);
    let _ = farm.controller.home.run("remote stop rig-alpha --all").await.done();
    assert_eq!(agreed(&farm.controller.home, farm.rig(), HEALED).await, 0);
    left_nothing_behind(held).await;
    let _ = farm.controller.home.run("remote start rig-alpha --profile p --from here").await.done();
    let Farm { controller, mut rigs } = farm;
    let Station { name: rig_name, node: rig, home: rig_home } = rigs.remove(0);
    let Station { name, node, home } = controller;
    // Each has a past of its own time, in which the controller saw three minutes of ninety.
    let id = rig.line("node id").to_owned();
    node.kill();
    rig.kill();
    let start = |years| now_by(years) / 3600 * 3600 - 2 * 3600;
    let (ours, theirs) = (start(controller_clock), start(rig_clock));
    tokio::join!(record(&home, &id, minutes(ours, 3), 1000.0), record(&rig_home, &id, minutes(theirs, 90), 2500.0));
    // What was stored under the wrong clock is read again under it.
    let (node, rig) = tokio::join!(home.serve(), rig_home.serve());
    let (controller, rig) = (Station { name, node, home }, Station { name: rig_name, node: rig, home: rig_home });
    let at = format!("{rig_clock} {controller_clock}");
    assert_eq!(agreed(&controller.home, &rig, DEADLINE).await, 1, "{at}");
    let known = wait_for("what the controller missed is filled in", DEADLINE, async || {
        let known = told(&controller.home, "rig-alpha", "hashrate", 60, ours..ours + 90 * 60).await;
        known[89].is_some().then_some(known)
    })
    .await;
    assert_eq!(known[..3], [Some(1000.0); 3], "what it knew itself stays: {at}");
    assert_eq!(known[3..], [Some(2500.0); 87], "each at its time by the controller's own clock: {at}");
    let _ = controller.home.run("remote stop rig-alpha --all").await.done();
}

/// A clock of a node's own, which a story sets while it runs.
struct Clock(PathBuf);

impl Clock {
    /// Of a node of this home, right for now.
    fn of(home: Home) -> (Self, Home) {
        let clock = Self(home.path().join("clock"));
        clock.set(0);
        // The one for programs of many threads, which looks at the file once in a second.
        let home = other_time(home, "libfaketimeMT.so.1")
            .with_variable("FAKETIME_TIMESTAMP_FILE", &clock.0)
            .with_variable("FAKETIME_CACHE_DURATION", "1");
        (clock, home)
    }

    /// So many seconds ahead.
    fn set(&self, ahead: i64) {
        // Whole: somebody may be reading.
        atomic::write(&self.0, format!("{ahead:+}\n").as_bytes()).unwrap();
    }
}

/// Whether a node's clock is so many years off: it tells of nothing that is yet to come.
async fn is_off_by(years: i64, home: &Home) -> bool {
    let path = |since: u64| format!("/api/v1/mining/history/rig-alpha?since={since}");
    let (before, after) = (path(now_by(years) - 3600), path(now_by(years) + 3600));
    home.get(&before).await.starts_with("HTTP/1.1 200 ") && home.get(&after).await.starts_with("HTTP/1.1 422 ")
}

/// As when a battery is flat, or a time server is wrong, or is right again.
#[tokio::test]
#[ignore = "needs libfaketime; `.ci/run faults` runs it"]
async fn a_clock_that_jumps_by_years_costs_no_command_and_no_history() {
    let (rig_clock, rig_home) = Clock::of(Home::empty());
    let (clock, home) = Clock::of(Home::empty());
    let rig_home = rig_home.initialised("rig-alpha", "worker").await;
    let home = home.initialised("control-center", "controller").await;
    let rig = Station { name: "rig-alpha".into(), node: rig_home.serve().await, home: rig_home };
    let controller = Station { name: "control-center".into(), node: home.serve().await, home };
    controller.pair_with(&rig).await;
    let mut farm = Farm { controller, rigs: vec![rig] };
    farm.add_profile("p").await;
    let id = farm.rig().node.line("node id").to_owned();
    let past = Past::of(&farm.controller.home, &id).await;
    let rig_past = Past::of(&farm.rig().home, &id).await;
    let first = "remote start rig-alpha --profile p --from here --miner xmrig-1";
    let second = "remote start rig-alpha --profile p --from here --miner xmrig-2";
    let _ = farm.controller.home.run(first).await.done();
    hashes(&farm.controller.home, "rig-alpha", DEADLINE).await;
    let miner = farm.rig().home.miners();
    let held = Held::in_all(&farm);
    let jump = async |farm: &Farm, rig_years: i64, years: i64| {
        rig_clock.set(rig_years * YEAR);
        clock.set(years * YEAR);
        for (home, years) in [(&farm.rig().home, rig_years), (&farm.controller.home, years)] {
            wait_for("the clock is another one", DEADLINE, async || is_off_by(years, home).await.then_some(())).await;
        }
    };
    for (rig_years, years) in [(30, 0), (-12, 30), (0, -12), (0, 0)] {
        jump(&farm, rig_years, years).await;
        let (controller, rig) = (&farm.controller.home, farm.rig());
        let at = format!("{rig_years} {years}");
        Farm::online(controller, "rig-alpha").await;
        let _ = controller.run("peer ping rig-alpha").await.done();
        // The same again finds it done; another one is done once.
        let _ = controller.run(first).await.done();
        assert_eq!(rig.home.miners(), miner, "{at}");
        let _ = controller.run(second).await.done();
        let both = rig.home.miners();
        assert!(both.len() == 2 && both.contains(&miner[0]), "{at}: {both:?}");
        let _ = controller.run(second).await.done();
        assert_eq!(rig.home.miners(), both, "{at}");
        let _ = controller.run("remote stop rig-alpha xmrig-2").await.done();
        assert_eq!(agreed(controller, rig, HEALED).await, 1, "{at}");
        assert_eq!(rig.home.miners(), miner, "{at}");
        hashes(controller, "rig-alpha", HEALED).await;
    }
    left_nothing_behind(held).await;
    past.is_whole(&farm.controller.home, "rig-alpha").await;
    rig_past.is_whole(&farm.rig().home, "rig-alpha").await;
    // What is too old is let go of when a node starts: it must not go by a clock that is wrong then.
    for years in [30, 0] {
        jump(&farm, years, years).await;
        let Farm { controller, mut rigs } = farm;
        let (controller, rig) = tokio::join!(controller.killed_and_back(), rigs.remove(0).killed_and_back());
        farm = Farm { controller, rigs: vec![rig] };
        assert_eq!(agreed(&farm.controller.home, farm.rig(), DEADLINE).await, 1);
        hashes(&farm.controller.home, "rig-alpha", DEADLINE).await;
    }
    assert_eq!(farm.rig().home.miners(), miner);
    past.is_whole(&farm.controller.home, "rig-alpha").await;
    rig_past.is_whole(&farm.rig().home, "rig-alpha").await;
}

/// A controller whose disk is full for long writes a minute of numbers each minute, in vain.
#[tokio::test]
#[ignore = "needs root for a disk of its own, and libfaketime; `.ci/run faults` runs it"]
async fn a_minute_that_finds_no_room_is_lost_alone() {
    let (clock, home) = Clock::of(Home::empty());
    // Its log has another disk, so that it can say what happened.
    let data = home.path().join(".local");
    fs::create_dir(&data).unwrap();
    let disk = SmallDisk::over(&data, 24);
    let home = home.initialised("control-center", "controller").await;
    let controller = Station { name: "control-center".into(), node: home.serve().await, home };
    let rig = Station::start("rig-alpha", "worker").await;
    controller.pair_with(&rig).await;
    let farm = Farm { controller, rigs: vec![rig] };
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller, farm.rig());
    let past = Past::of(&controller.home, rig.node.line("node id")).await;
    let _ = controller.home.run("remote start rig-alpha --profile p --from here").await.done();
    hashes(&controller.home, "rig-alpha", DEADLINE).await;
    let held = Held::in_all(&farm);

    // A minute passes as soon as the recorder may have taken its look, which it does each ten seconds.
    let mut looks = tokio::time::interval(Duration::from_secs(12));
    let mut ahead: i64 = 0;
    let filler = disk.fill();
    while !controller.node.log().contains("a minute of history is lost") {
        assert!(ahead < 600, "ten minutes that nobody missed: {}", controller.node.log());
        looks.tick().await;
        ahead += 60;
        clock.set(ahead);
    }
    hashes(&controller.home, "rig-alpha", HEALED).await;
    fs::remove_file(filler).unwrap();
    // Nothing of this minute and the one before was written so far.
    let since = (now() + ahead.unsigned_abs()) / 60 * 60 - 60;
    while told(&controller.home, "rig-alpha", "hashrate", 60, since..since + 600).await.iter().all(Option::is_none) {
        assert!(ahead < 1200, "ten minutes that nobody kept: {}", controller.node.log());
        looks.tick().await;
        ahead += 60;
        clock.set(ahead);
    }
    past.is_whole(&controller.home, "rig-alpha").await;
    left_nothing_behind(held).await;
    // Before the home, which cannot be removed from under it.
    drop(disk);
}

/// `/etc/hosts` as what runs on this host sees it.
fn hosts_file(host: &Host) -> PathBuf {
    Path::new("/etc/netns").join(&host.namespace).join("hosts")
}

/// A directory of a namespace's own `/etc`, which goes with it.
struct Etc(PathBuf);

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// As a controller in a container that is made anew, or at home behind an address that changes.
#[tokio::test]
#[ignore = "needs root for network namespaces; `.ci/run faults` runs it"]
async fn a_controller_that_is_known_by_name_is_found_at_another_address() {
    let lan = Lan::new(3);
    let [at_first, later, there] = lan.hosts() else { unreachable!("three hosts") };
    let hosts = hosts_file(there);
    fs::create_dir_all(hosts.parent().unwrap()).unwrap();
    let _etc = Etc(hosts.parent().unwrap().to_owned());
    // In place: what runs on the host has this very file mounted over its own, and would not see another one.
    let point_to = |host: &Host| {
        writeln!(fs::File::create(&hosts).unwrap(), "{} control-center.hall", host.address).unwrap();
    };
    point_to(at_first);

    let (controller, rig) = tokio::join!(
        Station::start_on(at_first, "control-center", "controller"),
        Station::start_on(there, "rig-alpha", "worker")
    );
    let (port, code) = (controller.home.port(), controller.node.code().to_owned());
    let _ = rig.home.run(&format!("peer add --address control-center.hall:{port} --code {code}")).await.done();
    Farm::online(&rig.home, "control-center").await;

    let Station { name, node, home } = controller;
    node.kill();
    at_first.wire(CUT);
    wait_for("the rig looks for it where it was", DEADLINE, async || {
        let peers = rig.home.json("peer list").await;
        (peers[0]["online"] == false && peers[0]["problem"].is_string()).then_some(())
    })
    .await;

    let home = home.on(later);
    let controller = Station { name, node: home.serve().await, home };
    point_to(later);
    let moved = Instant::now();
    wait_for("the rig has found it", HEALED, async || is_online(&controller.home, "rig-alpha").await.then_some(()))
        .await;
    assert!(moved.elapsed() < HEALED, "it took {:?}", moved.elapsed());
}

/// There `[::]` can be bound, and nothing ever says where it listens.
#[tokio::test]
#[ignore = "needs root for network namespaces; `.ci/run faults` runs it"]
async fn a_controller_without_ipv6_listens_at_once_and_has_its_rig_back() {
    let lan = Lan::new(2);
    let [here, there] = lan.hosts() else { unreachable!("two hosts") };
    here.without_ipv6();
    let (controller, rig) = tokio::join!(
        Station::start_on(here, "control-center", "controller"),
        Station::start_on(there, "rig-alpha", "worker")
    );
    rig.pair_with(&controller).await;
    Farm::online(&rig.home, "control-center").await;
    let Station { name, node, home } = controller;
    node.kill();
    let killed = Instant::now();
    let controller = Station { name, node: home.serve().await, home };
    let served = killed.elapsed();
    wait_for("the rig is back", HEALED, async || is_online(&controller.home, "rig-alpha").await.then_some(())).await;
    let peers = rig.home.json("peer list").await;
    assert_eq!(peers[0]["problem"], Value::Null, "it was never turned away");
    // libp2p waits 5 s for what never comes.
    assert!(served < Duration::from_secs(5), "{served:?}");
}
