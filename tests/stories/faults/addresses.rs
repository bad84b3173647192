//! Controllers whose address changes, or that have no IPv6.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::{DEADLINE, Farm, Host, Lan, wait_for};
use serde_json::Value;

use crate::{CUT, HEALED, Held, Kept, is_online, mines};

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
    let farm = Farm { controller, rigs: vec![rig] };
    let miner = mines(&farm).await;
    let kept = Kept::by(&farm).await;
    let held = Held::by(farm.rig()).await;

    let Farm { controller: Station { name, node, home }, rigs } = farm;
    node.kill();
    at_first.wire(CUT);
    let rig = &rigs[0];
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
    assert_eq!(Farm::agreed(&controller.home, &rigs[0], HEALED).await, miner);
    let farm = Farm { controller, rigs };
    kept.is_whole(&farm).await;
    held.no_more().await;
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
    let farm = Farm { controller, rigs: vec![rig] };
    let miner = mines(&farm).await;
    let kept = Kept::by(&farm).await;
    let held = Held::by(farm.rig()).await;
    let Farm { controller: Station { name, node, home }, rigs } = farm;
    node.kill();
    let killed = Instant::now();
    let controller = Station { name, node: home.serve().await, home };
    let served = killed.elapsed();
    wait_for("the rig is back", HEALED, async || is_online(&controller.home, "rig-alpha").await.then_some(())).await;
    let peers = rigs[0].home.json("peer list").await;
    assert_eq!(peers[0]["problem"], Value::Null, "it was never turned away");
    // libp2p waits 5 s for what never comes.
    assert!(served < Duration::from_secs(5), "{served:?}");
    assert_eq!(Farm::agreed(&controller.home, &rigs[0], HEALED).await, miner);
    let farm = Farm { controller, rigs };
    kept.is_whole(&farm).await;
    held.no_more().await;
}
