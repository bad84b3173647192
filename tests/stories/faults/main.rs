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
use miner_ctrl_tests::processes::{children_of, descriptors_of, resident_bytes_of};
use miner_ctrl_tests::{Cut, DEADLINE, Farm, Home, Wire, wait_for};
use serde_json::Value;

/// Within this a rig that says nothing shows as offline.
const NOTICED: Duration = Duration::from_secs(15);

/// Within this after a fault everything is as it should be.
const HEALED: Duration = Duration::from_secs(10);

const MINUTE: Duration = Duration::from_secs(60);

/// The exit code of a command whose rig did not answer: whether it was done is not known.
const UNKNOWN: Option<i32> = Some(6);

const CUT: Wire = Wire::cut(Cut::BothWays);

/// What a node may hold more of than before. A rig may be between two connections, and a command that just ended may still
/// hold its own.
const DESCRIPTORS: usize = 2;
const MEMORY: u64 = 16 * 1024 * 1024;

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
