//! Wires that are cut, slow, lossy, narrow, or deaf in one way.

use std::time::{Duration, Instant};

use futures::future::join_all;
use miner_ctrl_tests::history::{now, told};
use miner_ctrl_tests::{Cut, DEADLINE, Farm, Home, Host, Lan, Wire, wait_for};
use serde_json::Value;

use crate::{
    AT_ONCE, CUT, HEALED, Held, Kept, MINUTE, NOTICED, UNKNOWN, agreed, hashes, is_online, left_nothing_behind, starts,
};

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
    let (controller, all) = (&farm.controller.home, names.join(","));
    let _ = controller.run(&format!("remote deploy {all} --profile p")).await.done();
    let kept = Kept::by(&farm).await;
    let before = Held::in_all(&farm).await;
    for (host, wire) in lan.hosts()[1..].iter().zip([slow, lossy, narrow, awful]) {
        host.wire(wire);
    }
    for order in ["undeploy", "deploy", "start"] {
        let _ = controller.run(&format!("remote {order} {all} --profile p")).await.done();
    }
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
    lan.hosts()[1..].iter().for_each(|host| host.wire(Wire::default()));
    let good = Instant::now();
    join_all(farm.rigs.iter().map(async |rig| {
        assert_eq!(agreed(controller, rig, HEALED).await, 1, "{}", rig.name);
        hashes(controller, &rig.name, HEALED).await;
    }))
    .await;
    assert!(good.elapsed() < HEALED, "it took {:?}", good.elapsed());
    assert_eq!(farm.rigs.iter().map(|rig| rig.home.miners()).collect::<Vec<_>>(), miners, "everybody mined on");
    let _ = controller.run(&format!("remote stop {all} --all")).await.done();
    for rig in &farm.rigs {
        assert_eq!(agreed(controller, rig, HEALED).await, 0, "{}", rig.name);
    }
    kept.is_whole(&farm).await;
    left_nothing_behind(before).await;
}

/// As over a tunnel, with a firewall that drops what routers say of it. Whatever fits one packet passes, signs of life
/// among it. The controller dials the one rig, and the other dials it.
#[tokio::test]
#[ignore = "needs root for network namespaces; `.ci/run faults` runs it"]
async fn on_a_way_that_is_narrower_than_anybody_is_told_large_messages_pass() {
    let lan = Lan::new(3);
    let names = ["rig-alpha", "rig-beta"];
    let farm = Farm::strangers_on(&lan, &names).await;
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
    let kept = Kept::by(&farm).await;
    let held = Held::in_all(&farm).await;
    for _ in 0..10 {
        let _ = controller.run(&format!("remote restart {all}")).await.done();
    }
    for rig in names {
        let told = controller.run(&format!("remote logs {rig} --lines 1000")).await.done();
        assert!(told.len() > 2 * 1500, "more than a packet: {told}");
        hashes(controller, rig, DEADLINE).await;
    }
    kept.is_whole(&farm).await;
    left_nothing_behind(held).await;
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
    let all = "rig-alpha,rig-beta,rig-gamma,rig-delta";
    let _ = controller.run(&format!("remote start {all} --profile p --from here --miner xmrig-1")).await.done();
    let miners = || rigs.iter().map(|rig| rig.home.miners()).collect::<Vec<_>>();
    let before = miners();
    let kept = Kept::by(&farm).await;
    let held = Held::in_all(&farm).await;

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
        let stop = controller.run("remote stop rig-beta xmrig-1").await;
        assert_eq!(stop.code, UNKNOWN, "{stop:#?}");
        assert_eq!(rigs[1].home.miners(), before[1], "it was not done, and not reported done");
    };
    // Those that are reached do it at once, and of the others nothing is claimed.
    let second = format!("remote start {all} --profile p --from here --miner xmrig-2");
    let fleet = async {
        let ran = controller.run(&format!("{second} -o json")).await;
        let told: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
        let done: Vec<&Value> = told.iter().map(|rig| &rig["done"]).collect();
        assert!(ran.code == Some(7) && *done[0] != false && done[1].is_null(), "{ran:#?}");
        assert!(*done[2] == true && *done[3] == true, "{ran:#?}");
    };
    let others = async {
        for rig in ["rig-gamma", "rig-delta"] {
            assert!(is_online(controller, rig).await);
            let _ = controller.run(&format!("remote start {rig} --profile p --from here --miner xmrig-1")).await.done();
        }
    };
    let ((), noticed, (), (), ()) = tokio::join!(alpha_back, beta_gone, unheard, fleet, others);
    assert_eq!(rigs[1].home.miners(), before[1]);
    for (now, before) in miners().iter().zip(&before) {
        assert!(now.contains(&before[0]), "everybody mines on");
    }
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
    assert!(running <= 2);
    let _ = controller.run("remote start rig-beta --profile p --from here --miner xmrig-1").await.done();
    let _ = controller.run(&second).await.done();
    for rig in rigs {
        let name = &rig.name;
        assert_eq!(agreed(controller, rig, HEALED).await, 2, "{name}");
        assert_eq!(starts(controller, &format!("{name} xmrig-2")).await, 1, "{name}: asked twice it is done once");
    }
    for rig in ["rig-alpha", "rig-gamma", "rig-delta"] {
        assert_eq!(starts(controller, &format!("{rig} xmrig-1")).await, 1, "{rig}");
    }
    if let Some(its_own) = its_own {
        wait_for("what rig-beta did meanwhile is known", DEADLINE, async || {
            let known = told(controller, "rig-beta", "hashrate", 10, missed.clone()).await;
            its_own.iter().zip(&known).all(|(own, known)| own.is_none() || known.is_some()).then_some(())
        })
        .await;
    }
    kept.is_whole(&farm).await;
    let _ = controller.run(&format!("remote stop {all} xmrig-2")).await.done();
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
    let farm = Farm::strangers_on(&lan, &names).await;
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
    let kept = Kept::by(&farm).await;
    let held = Held::in_all(&farm).await;

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
    kept.is_whole(&farm).await;
    left_nothing_behind(held).await;
}

/// Pulled out, a host knows of it and its controller hears nothing; reset, both know at once; turned away, both are told so
/// whatever they send, for as long as it lasts. The last one dials, the others are dialled.
#[tokio::test]
#[ignore = "needs root for network namespaces; `.ci/run faults` runs it"]
async fn a_rig_that_is_unplugged_reset_or_turned_away_mines_on_and_does_what_it_was_told_once() {
    // What begins, what ends it, and within which time it shows.
    type Fault = (&'static str, fn(&Host), fn(&Host), Duration);
    let cuts: [Fault; 4] = [
        ("rig-unplugged", Host::unplug, Host::plug_in, NOTICED),
        (
            "rig-reset",
            |host| {
                host.reset_connections();
                host.unplug();
            },
            Host::plug_in,
            AT_ONCE,
        ),
        ("rig-turned-away", Host::turn_away, Host::let_pass, AT_ONCE),
        ("rig-turned-away-caller", Host::turn_away, Host::let_pass, AT_ONCE),
    ];
    let names = cuts.map(|(name, ..)| name);
    let lan = Lan::new(5);
    let farm = Farm::strangers_on(&lan, &names).await;
    let (controller, hosts) = (&farm.controller.home, &lan.hosts()[1..]);
    for rig in &farm.rigs[..3] {
        farm.controller.pair_with(rig).await;
    }
    farm.rigs[3].home.add(controller).await;
    Farm::online(controller, names[3]).await;
    farm.add_profile("p").await;
    let all = names.join(",");
    let _ = controller.run(&format!("remote start {all} --profile p --from here --miner xmrig-1")).await.done();
    let miners: Vec<Vec<i32>> = farm.rigs.iter().map(|rig| rig.home.miners()).collect();
    let kept = Kept::by(&farm).await;
    let held = Held::in_all(&farm).await;

    for (host, (_, begin, ..)) in hosts.iter().zip(cuts) {
        begin(host);
    }
    let second = |rig: &str| format!("remote start {rig} --profile p --from here --miner xmrig-2");
    let told = join_all(names.map(async |rig| controller.run(&second(rig)).await));
    let gone = join_all(cuts.map(async |(rig, .., within)| {
        wait_for(&format!("{rig} shows as offline"), within, async || {
            (!is_online(controller, rig).await).then_some(())
        })
        .await;
    }));
    let (told, _) = tokio::join!(told, gone);
    for ran in told {
        assert_eq!(ran.code, UNKNOWN, "{ran:#?}");
    }
    for (rig, miners) in farm.rigs.iter().zip(&miners) {
        assert_eq!(rig.home.miners(), *miners, "{} mines on, and was not reached", rig.name);
    }

    for (host, (_, _, end, _)) in hosts.iter().zip(cuts) {
        end(host);
    }
    let back = Instant::now();
    let running = join_all(farm.rigs.iter().map(|rig| agreed(controller, rig, HEALED))).await;
    assert!(back.elapsed() < HEALED, "it took {:?}", back.elapsed());
    assert!(running.iter().all(|running| (1..=2).contains(running)), "{running:?}");
    let _ = controller.run(&second(&all)).await.done();
    for (rig, miners) in farm.rigs.iter().zip(&miners) {
        assert_eq!(agreed(controller, rig, HEALED).await, 2, "{}", rig.name);
        assert!(rig.home.miners().contains(&miners[0]), "{}: the first was not touched", rig.name);
        assert_eq!(starts(controller, &format!("{} xmrig-2", rig.name)).await, 1, "{}", rig.name);
    }
    let _ = controller.run(&format!("remote stop {all} xmrig-2")).await.done();
    kept.is_whole(&farm).await;
    left_nothing_behind(held).await;
}
