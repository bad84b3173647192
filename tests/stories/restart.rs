//! Nodes that are killed at any moment, stopped and started again: nothing is lost, and nothing runs twice.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::home::program;
use miner_ctrl_tests::processes::{group_of, hang_up, kill, terminate};
use miner_ctrl_tests::{DEADLINE, Farm, Home, for_a_while, wait_for};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

/// Kills of each node in each story.
const ROUNDS: usize = 12;

/// Latest moment of a kill, counted from the command that it meets: every command is over by then.
const LATEST: Duration = Duration::from_millis(250);

/// Early ones are likelier: most commands take far less than the longest.
fn moment(rng: &mut StdRng) -> Duration {
    LATEST.mul_f64(rng.random::<f64>().powi(2))
}

async fn reaches(controller: &Home, rig: &str) {
    Farm::online(controller, rig).await;
    let pinged = controller.run(&format!("peer ping {rig}")).await.done();
    assert!(pinged.starts_with(rig), "{pinged}");
}

#[tokio::test]
async fn a_controller_that_is_killed_at_any_moment_knows_its_rigs_and_profiles() {
    let mut rng = StdRng::seed_from_u64(1);
    let Farm { mut controller, rigs } = Farm::paired(&["rig-alpha", "rig-beta"]).await;
    let mut profiles: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let home = &controller.home;
        let moment = moment(&mut rng);
        match round % 4 {
            // A pairing, with the rig's side of it done or not.
            0 => {
                if home.names("peer list").await.contains(&"rig-beta".to_owned()) {
                    let _ = home.run("peer remove rig-beta").await.done();
                }
                let code = rigs[1].home.json("pair").await["code"].as_str().unwrap().to_owned();
                let add = format!("peer add --address {} --name rig-beta --code {code}", rigs[1].home.address());
                for_a_while(moment, home.run(&add)).await;
            }
            1 => {
                let name = format!("p-{round}");
                let add = format!("profile add {name} --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W");
                if for_a_while(moment, home.run(&add)).await.is_some_and(|ran| ran.code == Some(0)) {
                    profiles.push(name);
                }
            }
            2 => {
                let add = "profile add p --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W";
                if home.run(add).await.code == Some(0) {
                    profiles.push("p".to_owned());
                }
                for_a_while(moment, home.run("remote deploy rig-alpha --profile p")).await;
            }
            _ => {
                for_a_while(moment, home.run("remote start rig-alpha --profile p --from here")).await;
            }
        }
        controller = controller.killed_and_back().await;
        let home = &controller.home;
        let peers = home.names("peer list").await;
        assert!(peers == ["rig-alpha"] || peers == ["rig-alpha", "rig-beta"], "round {round}: {peers:?}");
        let stored = home.names("profile list").await;
        assert!(profiles.iter().all(|name| stored.contains(name)), "round {round}: {profiles:?} of {stored:?}");
        reaches(home, "rig-alpha").await;
        assert!(rigs[0].home.miners().len() <= 1, "round {round}");
    }
    // The last pairing may have been cut; it is done again with a code, and nothing else is in its way.
    if !controller.home.names("peer list").await.contains(&"rig-beta".to_owned()) {
        let code = rigs[1].home.json("pair").await["code"].as_str().unwrap().to_owned();
        let add = format!("peer add --address {} --name rig-beta --code {code}", rigs[1].home.address());
        let _ = controller.home.run(&add).await.done();
    }
    reaches(&controller.home, "rig-beta").await;
}

#[tokio::test]
async fn a_rig_that_is_killed_at_any_moment_is_found_again_and_never_mines_twice() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut farm = Farm::paired(&["rig-alpha"]).await;
    farm.add_profile("p").await;
    let controller = &farm.controller.home;
    for round in 0..ROUNDS {
        let mut rig = farm.rigs.pop().expect("the only rig");
        let moment = moment(&mut rng);
        match round % 4 {
            0 => {
                let _ = controller.run("peer remove rig-alpha").await.done();
                let code = rig.home.json("pair").await["code"].as_str().unwrap().to_owned();
                let add = format!("peer add --address {} --name rig-alpha --code {code}", rig.home.address());
                for_a_while(moment, controller.run(&add)).await;
            }
            1 => drop(for_a_while(moment, controller.run("remote deploy rig-alpha --profile p")).await),
            2 => drop(for_a_while(moment, controller.run("remote start rig-alpha --profile p --from here")).await),
            _ => drop(for_a_while(moment, controller.run("remote stop rig-alpha --all")).await),
        }
        rig = rig.killed_and_back().await;
        let peers = rig.home.names("peer list").await;
        assert!(peers.is_empty() && round == 0 || peers == ["control-center"], "round {round}: {peers:?}");
        let profiles = rig.home.names("profile list").await;
        assert!(profiles.is_empty() || profiles == ["p"], "round {round}: {profiles:?}");
        if controller.names("peer list").await.is_empty() || peers.is_empty() {
            if peers.is_empty() && !controller.names("peer list").await.is_empty() {
                let _ = controller.run("peer remove rig-alpha").await.done();
            }
            let (address, code) = (rig.home.address(), rig.node.code());
            let add = format!("peer add --address {address} --name rig-alpha --code {code}");
            let _ = controller.run(&add).await.done();
        }
        reaches(controller, "rig-alpha").await;
        one_miner_or_none(&rig, round).await;
        farm.rigs.push(rig);
    }
}

/// What runs is what the rig says that runs: nothing unknown, nothing twice.
async fn one_miner_or_none(rig: &Station, round: usize) {
    let (told, running) = wait_for("the rig's word and its processes agree", DEADLINE, async || {
        let status = rig.home.json(&format!("remote status {}", rig.name)).await;
        let miners = status["stats"]["miners"].as_array()?;
        let settled = |miner: &Value| !matches!(miner["state"].as_str(), Some("starting" | "stopping"));
        let runs = |miner: &&Value| !matches!(miner["state"].as_str(), Some("stopped" | "failed"));
        let (told, running) = (miners.iter().filter(runs).count(), rig.home.miners().len());
        (miners.iter().all(settled) && told == running).then_some((told, running))
    })
    .await;
    assert!(told <= 1 && running <= 1, "round {round}: {told} told, {running} running");
}

#[tokio::test]
async fn a_miner_mines_on_while_its_node_is_killed_again_and_again() {
    let mut rng = StdRng::seed_from_u64(3);
    let Farm { controller, mut rigs } = Farm::paired(&["rig-alpha"]).await;
    let mut rig = rigs.remove(0);
    let add = "profile add p --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W";
    let _ = controller.home.run(add).await.done();
    let _ = controller.home.run("remote start rig-alpha --profile p --from here").await.done();
    let miner = rig.home.miners();
    assert_eq!(miner.len(), 1);
    for round in 0..10 {
        for_a_while(moment(&mut rng) / 4, std::future::pending::<()>()).await;
        rig = rig.killed_and_back().await;
        assert_eq!(rig.home.miners(), miner, "round {round}");
    }
    let taken_over = wait_for("the miner is known again", DEADLINE, async || {
        let status = controller.home.json("remote status rig-alpha").await;
        let miner = status["stats"]["miners"][0].clone();
        (status["peer"]["online"] == true && miner["state"] == "mining").then_some(miner)
    })
    .await;
    assert_eq!((taken_over["name"].as_str(), taken_over["restarts"].as_u64()), (Some("xmrig-1"), Some(0)));
    // Taken over, it is also started again when it dies.
    kill(miner[0]);
    wait_for("it is started again", DEADLINE, async || {
        let now = rig.home.miners();
        (now.len() == 1 && now != miner).then_some(())
    })
    .await;
    let _ = controller.home.run("remote stop rig-alpha").await.done();
    assert_eq!(rig.home.miners(), [0_i32; 0]);
}

#[tokio::test]
async fn a_node_that_stops_takes_its_miners_along_and_starts_what_ran_again() {
    let rig = Home::init("rig-alpha", "dual").await;
    let node = rig.serve().await;
    for (name, program) in
        [("p", "xmrig --algorithm rx/0"), ("t", "tt-miner --algorithm kawpow"), ("off", "xmrig --coin monero")]
    {
        let add = format!("profile add {name} --program {program} --pool a.example:1 --wallet W");
        let _ = rig.run(&add).await.done();
        let _ = rig.run(&format!("remote start rig-alpha --profile {name}")).await.done();
    }
    let _ = rig.run("remote stop rig-alpha xmrig-2").await.done();
    assert_eq!(rig.miners().len(), 2);
    assert!(node.terminate().await.success());
    assert_eq!(rig.miners(), [0_i32; 0], "nothing outlives an intended stop");

    let node = rig.serve().await;
    wait_for("what ran runs again, and no more", DEADLINE, async || {
        let status = rig.json("remote status rig-alpha").await;
        let miners = status["stats"]["miners"].as_array()?.clone();
        let mining: Vec<&str> = miners
            .iter()
            .filter(|miner| miner["state"] == "mining")
            .filter_map(|miner| miner["name"].as_str())
            .collect();
        (mining == ["tt-miner-1", "xmrig-1"]).then_some(())
    })
    .await;
    assert_eq!(rig.miners().len(), 2);
    assert!(node.terminate().await.success());
    assert_eq!(rig.miners(), [0_i32; 0]);
}

/// Starts the only miner of `rig-alpha`.
async fn starts_mining(rig: &Home) {
    let add = "profile add p --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W";
    let _ = rig.run(add).await.done();
    let _ = rig.run("remote start rig-alpha --profile p").await.done();
}

#[tokio::test]
async fn a_closed_terminal_is_a_stop_and_under_nohup_it_is_none() {
    let rig = Home::init("rig-alpha", "dual").await;
    let node = rig.serve().await;
    starts_mining(&rig).await;
    hang_up(node.pid());
    assert!(node.ended().await.success());
    assert_eq!(rig.miners(), [0_i32; 0], "nothing outlives it");

    let words = ["node", "serve", "--simulate", "--listen", &rig.address()];
    let plain = rig.command(&words);
    let mut nohup = tokio::process::Command::from(std::process::Command::new("nohup"));
    nohup.arg(plain.get_program()).args(plain.get_args()).kill_on_drop(true);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => nohup.env(name, value),
            None => nohup.env_remove(name),
        };
    }
    let said = std::fs::File::create(rig.write("nohup.out", "")).unwrap();
    let mut node =
        nohup.stdin(std::process::Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
    wait_for("what ran runs again", DEADLINE, async || {
        (rig.run("node health").await.code == Some(0) && rig.miners().len() == 1).then_some(())
    })
    .await;
    let pid = i32::try_from(node.id().unwrap()).unwrap();
    hang_up(pid);
    hang_up(pid);
    let _ = rig.run("node health").await.done();
    assert!(node.try_wait().unwrap().is_none());
    terminate(pid);
    assert!(node.wait().await.unwrap().success());
    assert_eq!(rig.miners(), [0_i32; 0]);
}

#[tokio::test]
async fn a_start_that_fails_costs_no_miner_that_runs_on_from_before() {
    let rig = Home::init("rig-alpha", "dual").await;
    let node = rig.serve().await;
    starts_mining(&rig).await;
    let miner = rig.miners();
    node.kill();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let serve = format!("node serve --simulate --listen {}", rig.address());
    let page = format!("{serve} --dashboard {}", taken.local_addr().unwrap());
    rig.run(&page).await.fails(1, &["cannot serve the dashboard"]);
    assert_eq!(rig.miners(), miner);
    rig.run(&format!("{serve} --dashboard 192.0.2.1:1")).await.fails(5, &["cannot serve the dashboard"]);
    assert_eq!(rig.miners(), miner);
    let _node = rig.serve().await;
    assert_eq!(rig.miners(), miner, "it is taken over");
}

#[tokio::test]
async fn a_miner_that_leaves_its_process_group_is_stopped_all_the_same() {
    let rig = Home::init("rig-alpha", "dual").await;
    let leaves = format!(
        "#!/usr/bin/perl\nsetpgrp(0, getpgrp(getppid())) or die $!; exec('{}', 'simulate', 'xmrig', @ARGV);\n",
        program().display()
    );
    let script = rig.write("xmrig", &leaves);
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let rig = rig.with_variable("MINER_CTRL_XMRIG", script);
    let node = rig.serve_with(&[]).await;
    starts_mining(&rig).await;
    let [miner] = rig.miners()[..] else { panic!("{:?}", rig.miners()) };
    assert_eq!(group_of(miner), group_of(node.pid()), "it has left the group that it was given");
    let _ = rig.run("remote stop rig-alpha").await.done();
    assert_eq!(rig.miners(), [0_i32; 0]);
    let _ = rig.run("remote start rig-alpha --profile p").await.done();
    assert!(node.terminate().await.success());
    assert_eq!(rig.miners(), [0_i32; 0]);
}

#[tokio::test]
async fn after_a_restart_of_either_side_the_next_command_just_works() {
    let Farm { mut controller, mut rigs } = Farm::paired(&["rig-alpha"]).await;
    let mut rig = rigs.remove(0);
    let _ = controller.home.run("peer ping rig-alpha").await.done();
    for _ in 0..3 {
        rig = rig.killed_and_back().await;
        let _ = controller.home.run("peer ping rig-alpha").await.done();
        let _ = controller.home.run("remote stop rig-alpha --all").await.done();
        controller = controller.killed_and_back().await;
        let _ = controller.home.run("remote stop rig-alpha --all").await.done();
        let _ = controller.home.run("peer ping rig-alpha").await.done();
    }
}

#[tokio::test]
async fn a_miner_that_does_not_hear_and_a_follower_do_not_keep_a_node_for_10_s() {
    let rig = Home::empty().with_faults("ignore-term").initialised("rig-alpha", "dual").await;
    let node = rig.serve().await;
    let add = "profile add p --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W";
    let _ = rig.run(add).await.done();
    let _ = rig.run("remote start rig-alpha --profile p").await.done();
    let shown = rig.write("follower.out", "");
    let _follower = tokio::process::Command::from(rig.command(&["remote", "logs", "rig-alpha", "--follow"]))
        .stdout(std::fs::File::create(&shown).unwrap())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let reads = async || std::fs::read_to_string(&shown).is_ok_and(|text| !text.is_empty()).then_some(());
    wait_for("it follows", DEADLINE, reads).await;
    let told = std::time::Instant::now();
    assert!(node.terminate().await.success());
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert_eq!(rig.miners(), [0_i32; 0]);
}

#[tokio::test]
async fn a_console_that_is_followed_shows_each_line_once_through_a_restart_of_the_rig() {
    let mut farm = Farm::paired(&["rig-alpha"]).await;
    farm.add_profile("p").await;
    let controller = &farm.controller.home;
    let _ = controller.run("remote start rig-alpha --profile p --from here").await.done();
    let shown = controller.write("follower.out", "");
    let words = ["remote", "logs", "rig-alpha", "--follow", "-o", "json"];
    let _follower = tokio::process::Command::from(controller.command(&words))
        .stdout(std::fs::File::create(&shown).unwrap())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let numbers = || -> Vec<u64> {
        let text = std::fs::read_to_string(&shown).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line["number"].as_u64()).collect()
    };
    wait_for("it follows", DEADLINE, async || (!numbers().is_empty()).then_some(())).await;
    let Station { name, node, home } = farm.rigs.remove(0);
    assert!(node.terminate().await.success());
    let before = numbers().len();
    let _rig = Station { name, node: home.serve().await, home };
    // The line of a stop is the last: what came twice would be there before it.
    Farm::online(controller, "rig-alpha").await;
    let _ = controller.run("remote stop rig-alpha --all").await.done();
    let page = controller.json("remote logs rig-alpha --lines 1000").await;
    let newest = page["newest"].as_u64().unwrap();
    let lines = page["lines"].as_array().unwrap();
    let all: Vec<_> = lines.iter().filter_map(|line| line["number"].as_u64()).collect();
    wait_for("it shows all of the new console", DEADLINE, async || {
        (numbers().len() > before && numbers().last() == Some(&newest)).then_some(())
    })
    .await;
    assert_eq!(numbers()[before..], all);
    let last = lines.last().unwrap()["text"].as_str().unwrap();
    assert!(last.contains("it ended as asked"), "{last}");
}

#[tokio::test]
async fn who_watches_goes_on_watching_through_a_restart_of_the_node() {
    let Farm { mut controller, rigs: _rigs } = Farm::paired(&["rig-alpha"]).await;
    let (shown, complained) = (controller.home.write("watcher.out", ""), controller.home.write("watcher.err", ""));
    let mut watcher =
        tokio::process::Command::from(controller.home.command(&["peer", "list", "--watch", "-o", "json"]))
            .stdout(std::fs::File::create(&shown).unwrap())
            .stderr(std::fs::File::create(&complained).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
    let reads = |file: &std::path::Path| std::fs::read_to_string(file).unwrap();
    wait_for("it watches", DEADLINE, async || (!reads(&shown).is_empty()).then_some(())).await;
    controller.node.kill();
    wait_for("it says that it waits", DEADLINE, async || {
        reads(&complained).contains("trying again until it answers").then_some(())
    })
    .await;
    controller.node = controller.home.serve().await;
    let _ = controller.home.run("peer remove rig-alpha").await.done();
    wait_for("it shows what came after", DEADLINE, async || {
        reads(&shown).lines().last().is_some_and(|line| line == "[]").then_some(())
    })
    .await;
    assert_eq!(reads(&complained).lines().count(), 1, "{}", reads(&complained));
    assert!(watcher.try_wait().unwrap().is_none(), "it watches until it is told to stop");
}

#[tokio::test]
async fn a_node_that_is_killed_while_it_starts_starts_all_the_same() {
    let mut rng = StdRng::seed_from_u64(4);
    let home = Home::empty();
    for _ in 0..ROUNDS {
        // The first of them make the identity, too.
        let mut node = tokio::process::Command::from(home.command(&["node", "serve", "--listen", &home.address()]))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        for_a_while(moment(&mut rng) / 4, node.wait()).await;
        node.kill().await.unwrap();
    }
    let node = home.serve().await;
    assert_eq!(home.json("node info").await["id"], node.line("node id"));
    assert_eq!(home.names("peer list").await, [""; 0]);
}
