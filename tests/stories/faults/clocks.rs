//! Clocks that are years off, or jump.

use std::fs;
use std::path::PathBuf;

use futures::future::join_all;
use miner_ctrl::store::atomic;
use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::history::{Past, minutes, now, record, told};
use miner_ctrl_tests::{DEADLINE, Farm, Home, wait_for};

use crate::{HEALED, Held, MINUTE, agreed, hashes, is_online, left_nothing_behind};

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
    let books = farm.books().await;
    let held = Held::in_all(&farm).await;
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
    assert_eq!(agreed(&controller.home, &rig, HEALED).await, 1, "{at}");
    // Believed at the second question, after the minute is over.
    let known = wait_for("what the controller missed is filled in", DEADLINE + 2 * MINUTE, async || {
        let known = told(&controller.home, "rig-alpha", "hashrate", 60, ours..ours + 90 * 60).await;
        known[89].is_some().then_some(known)
    })
    .await;
    assert_eq!(known[..3], [Some(1000.0); 3], "what it knew itself stays: {at}");
    assert_eq!(known[3..], [Some(2500.0); 87], "each at its time by the controller's own clock: {at}");
    let _ = controller.home.run("remote stop rig-alpha --all").await.done();
    assert_eq!(Farm { controller, rigs: vec![rig] }.books().await, books, "{at}");
}

/// A clock of a node's own, which a story sets while it runs.
pub(crate) struct Clock(PathBuf);

impl Clock {
    /// Of a node of this home, right for now.
    pub(crate) fn of(home: Home) -> (Self, Home) {
        let clock = Self(home.path().join("clock"));
        clock.set(0);
        // The one for programs of many threads, which looks at the file once in a second.
        let home = other_time(home, "libfaketimeMT.so.1")
            .with_variable("FAKETIME_TIMESTAMP_FILE", &clock.0)
            .with_variable("FAKETIME_CACHE_DURATION", "1");
        (clock, home)
    }

    /// So many seconds ahead.
    pub(crate) fn set(&self, ahead: i64) {
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
    let books = farm.books().await;
    let held = Held::in_all(&farm).await;
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
    assert_eq!(farm.books().await, books);
    past.is_whole(&farm.controller.home, "rig-alpha").await;
    rig_past.is_whole(&farm.rig().home, "rig-alpha").await;
    // What is too old is let go of when a node starts: it must not go by a clock that is wrong then.
    for years in [30, 0] {
        jump(&farm, years, years).await;
        let Farm { controller, mut rigs } = farm;
        let (controller, rig) = tokio::join!(controller.killed_and_back(), rigs.remove(0).killed_and_back());
        farm = Farm { controller, rigs: vec![rig] };
        assert_eq!(agreed(&farm.controller.home, farm.rig(), HEALED).await, 1);
        hashes(&farm.controller.home, "rig-alpha", HEALED).await;
    }
    assert_eq!(farm.rig().home.miners(), miner);
    assert_eq!(farm.books().await, books);
    past.is_whole(&farm.controller.home, "rig-alpha").await;
    rig_past.is_whole(&farm.rig().home, "rig-alpha").await;
}
