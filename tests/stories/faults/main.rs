//! Faults of the world around the nodes: wires that are cut, slow or lossy, nodes that stand still, orders that
//! contradict each other, disks that are full, clocks that are years off. Whatever happens: no command is done twice,
//! none is reported done that was not, mining goes on, and everything is as it was soon after the fault is over.
//!
//! Those that need root and namespaces are run by `.ci/run faults`.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on says where")]

mod addresses;
mod clocks;
mod disks;
mod nodes;
mod wires;

use std::time::Duration;

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::history::Past;
use miner_ctrl_tests::{Cut, Farm, Held, Home, Wire, wait_for};
use serde_json::Value;

/// Within this a rig that says nothing shows as offline.
const NOTICED: Duration = Duration::from_secs(15);

/// Within this after a fault everything is as it should be.
const HEALED: Duration = Duration::from_secs(10);

/// Who waits no longer did not wait for a rig that is silent: nothing gives one up before 10 s.
const AT_ONCE: Duration = Duration::from_secs(8);

const MINUTE: Duration = Duration::from_secs(60);

/// The exit code of a command whose rig did not answer: whether it was done is not known.
const UNKNOWN: Option<i32> = Some(6);

const CUT: Wire = Wire::cut(Cut::BothWays);

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

/// What a miner's console says once for each start.
const BANNER: &str = "ABOUT";

/// How often a miner was started. `miner` is its rig, and its name where there are more.
async fn starts(controller: &Home, miner: &str) -> usize {
    let console = controller.run(&format!("remote logs {miner} --lines 1000")).await.done();
    console.lines().filter(|line| line.contains(BANNER)).count()
}

/// Has the farm's one rig mine, and gives its miner.
async fn mines(farm: &Farm) -> Vec<i32> {
    farm.add_profile("p").await;
    let _ = farm.controller.home.run("remote start rig-alpha --profile p --from here").await.done();
    farm.rig().home.miners()
}

/// What a farm has to keep through whatever happens: registry, profiles and history.
struct Kept {
    books: Vec<Value>,
    past: Past,
}

impl Kept {
    async fn by(farm: &Farm) -> Self {
        Self { books: farm.books().await, past: farm.past().await }
    }

    async fn is_whole(&self, farm: &Farm) {
        assert_eq!(farm.books().await, self.books);
        farm.past_is_whole(self.past).await;
    }
}

/// Nothing is left of what happened at any of these.
async fn left_nothing_behind(before: Vec<Held>) {
    for held in before {
        held.no_more().await;
    }
}
