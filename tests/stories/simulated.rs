//! `miner-ctrl simulate fleet`: many rigs in one process, commanded like real ones.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};

use miner_ctrl_tests::processes::{is_alive, terminate};
use miner_ctrl_tests::{DEADLINE, Home, wait_for};
use serde_json::Value;

/// A fleet that runs; killed and reaped when dropped.
struct Fleet(Child);

impl Fleet {
    /// Starts it and waits until it says how many rigs are online; gives all that it said.
    async fn start(home: &Home, words: &str) -> (Self, Vec<Value>) {
        let said = home.path().join("fleet.out");
        let line: Vec<&str> = ["-o", "json", "simulate", "fleet"].into_iter().chain(words.split_whitespace()).collect();
        let out = File::create(&said).expect("the home can be written to");
        let child = home.command(&line).stdout(out).stdin(Stdio::null()).spawn().expect("the program starts");
        let mut this = Self(child);
        let documents = wait_for("the rigs are online", DEADLINE, async || {
            assert!(this.ended().is_none(), "the fleet ended: {:?}", documents(&said));
            Some(documents(&said)).filter(|documents| documents.last().is_some_and(|last| last["online"].is_u64()))
        })
        .await;
        (this, documents)
    }

    async fn stop(mut self) -> ExitStatus {
        terminate(i32::try_from(self.0.id()).expect("a process number"));
        wait_for("the fleet ends", DEADLINE, async || self.ended()).await
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn a_fleet_with_its_own_controller_obeys_and_ends_clean_and_is_the_same_again() {
    let home = Home::empty();
    let fleet = "--rigs 20 --fail-starts 5 --dashboard 127.0.0.1:0";
    let (running, said) = Fleet::start(&home, fleet).await;
    assert_eq!((&said[1]["rigs"], &said[1]["online"]), (&20.into(), &20.into()), "{said:?}");
    let rigs = wait_for("every rig has a rate", DEADLINE, async || {
        let rigs = home.json("remote status").await;
        let all = rigs.as_array()?.iter().all(|rig| rig["hashrate"].as_f64().is_some_and(|rate| rate > 1000.0));
        (all && rigs.as_array()?.len() == 20).then_some(rigs)
    })
    .await;
    let first = rigs[0]["stats"]["revision"].as_u64().unwrap();
    wait_for("its rate drifts", DEADLINE, async || {
        let rig = home.json("remote status rig-00001").await;
        (rig["stats"]["revision"].as_u64()? > first && rig["hashrate"] != rigs[0]["hashrate"]).then_some(())
    })
    .await;

    let stopped = home.run("remote stop rig-00001").await.done();
    assert_eq!(stopped, "rig-00001: xmrig-1 is stopped\n");
    let add = "profile add other --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet WALLET";
    let _ = home.run(add).await.done();
    let _ = home.run("remote deploy rig-00001 --profile other").await.done();
    let started = home.run("remote start rig-00001 --profile other").await.done();
    assert_eq!(started, "rig-00001: xmrig-1 is connecting\n");
    assert!(home.run("remote logs rig-00002").await.done().contains("[simulated]"));
    // One of twenty, the last, cannot start.
    let _ = home.run("remote stop rig-00020").await.done();
    let _ = home.run("remote start rig-00020 --profile simulated").await.fails(1, &["rig-00020", "--fail-starts"]);

    assert!(running.stop().await.success());
    let (again, _) = Fleet::start(&home, fleet).await;
    assert_eq!(home.json("peer list").await.as_array().unwrap().len(), 20, "the same rigs");
    assert!(again.stop().await.success());
}

#[tokio::test]
async fn a_fleet_without_a_home_leaves_nothing_behind() {
    let home = Home::empty();
    let temporary = home.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let home = home.with_variable("TMPDIR", &temporary);
    let said = temporary.with_extension("out");
    let program = miner_ctrl_tests::home::program();
    let child = std::process::Command::new(program)
        .env_clear()
        .env("TMPDIR", &temporary)
        .env("HOME", home.path())
        .args(["-o", "json", "simulate", "fleet", "--rigs", "3", "--dashboard", "127.0.0.1:0"])
        .stdout(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let fleet = Fleet(child);
    wait_for("the rigs are online", DEADLINE, async || {
        documents(&said).last().is_some_and(|last| last["online"] == 3).then_some(())
    })
    .await;
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 1, "its home");
    assert!(fleet.stop().await.success());
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

#[tokio::test]
async fn rigs_join_a_controller_by_codes_and_come_back_as_the_same() {
    let home = Home::init("control-center", "controller").await;
    let node = home.serve().await;
    for _ in 0..2 {
        let (fleet, _) = Fleet::start(&home, "--join --rigs 3").await;
        assert_eq!(home.json("peer list").await.as_array().unwrap().len(), 3);
        assert!(fleet.stop().await.success());
    }
    let code = home.json("pair").await["code"].as_str().unwrap().to_owned();
    let one = format!("--controller {} --code {code}", home.address());
    let (fleet, _) = Fleet::start(&home, &one).await;
    assert_eq!(home.json("peer list").await.as_array().unwrap().len(), 4);
    assert!(fleet.stop().await.success());
    // The code is used up.
    let ran = home.run(&format!("simulate fleet {one}")).await;
    let _ = ran.fails(5, &["cannot pair rig-00001"]);
    assert!(node.terminate().await.success());
}

#[tokio::test]
async fn a_home_of_another_node_and_more_rigs_than_files_are_refused() {
    let home = Home::init("control-center", "controller").await;
    let _ = home.run("simulate fleet --rigs 3").await.fails(5, &["was not made for this", "--join"]);
    let _ = home.run("simulate fleet --rigs 10001").await.fails(2, &["10001"]);
    assert_eq!(home.json("peer list").await.as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn with_too_few_files_for_both_ends_the_rigs_run_apart_and_end_with_their_controller() {
    let home = Home::empty();
    let said = home.path().join("fleet.out");
    // 512 and one file for each rig are enough for one end, not for both.
    let line = "ulimit -n 540; exec \"$0\" \"$@\"";
    let words = ["-o", "json", "simulate", "fleet", "--rigs", "20", "--dashboard", "127.0.0.1:0"];
    let plain = home.command(&words);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", line]).arg(plain.get_program()).args(plain.get_args()).env_clear();
    limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let fleet = Fleet(limited.stdout(File::create(&said).unwrap()).spawn().unwrap());
    wait_for("the rigs are online", DEADLINE, async || {
        documents(&said).last().is_some_and(|last| last["online"] == 20).then_some(())
    })
    .await;
    let rigs = children_of(fleet.0.id());
    assert_eq!(rigs.len(), 1, "the rigs");
    drop(fleet);
    wait_for("the rigs end, though their controller was killed", DEADLINE, async || (!is_alive(rigs[0])).then_some(()))
        .await;
}

fn children_of(pid: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children.flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}
