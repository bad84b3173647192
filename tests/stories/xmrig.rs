//! The main road with a real XMRig, from pairing to the last share.

use std::path::{Path, PathBuf};

use miner_ctrl_tests::stratum::StubPool;
use miner_ctrl_tests::{DEADLINE, Home, wait_for};

/// Difficulty at which `cn-pico` finds a share every few seconds on any machine.
const DIFFICULTY: u32 = 500;

/// XMRig as `MINER_CTRL_XMRIG` names it, or on the path.
fn real_xmrig() -> Option<PathBuf> {
    let named = std::env::var_os("MINER_CTRL_XMRIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| std::env::split_paths(&path).map(|dir| dir.join("xmrig")).find(|file| file.is_file()))
}

/// The same with a reason for whoever reads the test's output.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn real_xmrig_or_reason() -> Option<PathBuf> {
    let found = real_xmrig();
    if found.is_none() {
        eprintln!("skipped: no XMRig on the path, and MINER_CTRL_XMRIG does not name one (`.ci/run xmrig` gets one)");
    }
    found
}

async fn rig_with(xmrig: &Path) -> Home {
    Home::init("rig-alpha", "worker").await.with_variable("MINER_CTRL_XMRIG", xmrig)
}

#[tokio::test]
async fn a_real_xmrig_is_started_watched_and_stopped_from_another_machine() {
    let Some(xmrig) = real_xmrig_or_reason() else { return };
    let pool = StubPool::start("cn-pico", DIFFICULTY).await.unwrap();
    let (controller, rig) = (Home::init("control-center", "controller").await, rig_with(&xmrig).await);
    let (_control, worker) = (controller.serve_with(&[]).await, rig.serve_with(&[]).await);
    let (address, code) = (rig.address(), worker.code());
    let _ = controller.run(&format!("peer add --address {address} --name rig-alpha --code {code}")).await.done();
    let url = pool.url();
    let add = "profile add my-profile --program xmrig --algorithm cn-pico --threads 1 --huge-pages false";
    let _ = controller.run(&format!("{add} --pool {url} --wallet WALLET --rig-name farm-{{name}}")).await.done();
    let _ = controller.run("remote deploy rig-alpha --profile my-profile").await.done();

    let started = controller.run("remote start rig-alpha --profile my-profile").await.done();
    assert!(started.starts_with("rig-alpha: xmrig-1 is "), "{started}");
    assert_eq!(rig.miners().len(), 1);
    let status = wait_for("it hashes, and a share is accepted", DEADLINE, async || {
        let status = controller.json("remote status rig-alpha").await;
        let miner = &status["stats"]["miners"][0];
        let hashes = status["hashrate"].as_f64().is_some_and(|rate| rate > 0.0);
        let accepted = miner["shares"]["accepted"].as_u64().is_some_and(|shares| shares > 0);
        (hashes && accepted && miner["state"] == "mining").then_some(status)
    })
    .await;
    let miner = &status["stats"]["miners"][0];
    assert_eq!((&miner["algorithm"], &miner["pool"]), (&"cn-pico".into(), &url.as_str().into()), "{miner:#}");
    assert_eq!(miner["shares"]["rejected"], 0, "{miner:#}");
    let seen = pool.seen().borrow().clone();
    assert!(seen.shares.get("WALLET").is_some_and(|shares| *shares > 0), "{seen:?}");
    assert_eq!(seen.logins[0]["rigid"], "farm-rig-alpha", "{seen:?}");

    let logs = controller.run("remote logs rig-alpha xmrig-1 --lines 100").await.done();
    assert!(logs.contains("accepted (") && logs.contains("READY threads 1/1"), "{logs}");
    assert!(!logs.contains('\x1b') && !logs.contains("WALLET"), "{logs}");

    let stopped = controller.run("remote stop rig-alpha xmrig-1").await.done();
    assert_eq!(stopped, "rig-alpha: xmrig-1 is stopped\n");
    assert_eq!(rig.miners(), [0_i32; 0], "no process is left");
}

#[tokio::test]
async fn a_real_xmrig_mines_on_when_its_node_is_killed_and_stops_with_it_when_asked() {
    let Some(xmrig) = real_xmrig_or_reason() else { return };
    let pool = StubPool::start("cn-pico", DIFFICULTY).await.unwrap();
    let rig = rig_with(&xmrig).await;
    let worker = rig.serve_with(&[]).await;
    let add = "profile add p --program xmrig --algorithm cn-pico --threads 1 --huge-pages false --wallet WALLET";
    let _ = rig.run(&format!("{add} --pool {}", pool.url())).await.done();
    let _ = rig.run("remote start rig-alpha --profile p").await.done();
    let before = rig.miners();
    assert_eq!(before.len(), 1);
    worker.kill();
    let mut seen = pool.seen();
    let shares = |seen: &miner_ctrl_tests::stratum::Seen| seen.shares.get("WALLET").copied().unwrap_or_default();
    let so_far = shares(&seen.borrow());
    // Not kept: what a watch lends stops the pool.
    let more = tokio::time::timeout(DEADLINE, seen.wait_for(|seen| shares(seen) > so_far)).await.is_ok();
    assert!(more, "it mines on without its node");

    let worker = rig.serve_with(&[]).await;
    wait_for("it is known again", DEADLINE, async || {
        let status = rig.json("remote status rig-alpha").await;
        (status["stats"]["miners"][0]["state"] == "mining").then_some(())
    })
    .await;
    assert_eq!(rig.miners(), before, "the same process, and never two");
    assert!(worker.terminate().await.success());
    assert_eq!(rig.miners(), [0_i32; 0]);
}
