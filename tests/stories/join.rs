//! How nodes come together and part: by code, by approval, from either side; and what each may ask of the other.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::{DEADLINE, Farm, Home, wait_for};
use serde_json::Value;

/// The words of the only request that waits at `home`.
async fn waiting(home: &Home) -> Value {
    wait_for("somebody waits for approval", DEADLINE, async || {
        let pending = home.json("peer pending").await;
        pending.as_array()?.first().cloned()
    })
    .await
}

#[tokio::test]
async fn a_rig_that_is_called_as_the_beginning_of_its_controllers_id_is_not_taken_for_it() {
    let controller = Station::start("control-center", "controller").await;
    let id = async |home: &Home| home.json("node info").await["id"].as_str().unwrap().to_owned();
    let ours = id(&controller.home).await;
    let rig = Station::start(&ours[..8], "worker").await;
    controller.pair_with(&rig).await;
    controller.home.run(&format!("remote status {}", &ours[..8])).await.fails(5, &[&ours[..8], "control-center"]);
    let named = controller.home.run(&format!("peer rename {} barn", id(&rig.home).await)).await.done();
    assert!(named.contains("barn"), "{named}");
}

#[tokio::test]
async fn an_operator_admits_by_the_words_that_show_on_both_sides() {
    let farm = Farm::strangers(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    let add = format!("peer add --address {} --name alpha", rig.address());
    let approve = async {
        let request = waiting(rig).await;
        assert_eq!((&request["name"], &request["role"]), (&"control-center".into(), &"controller".into()));
        let words = request["words"].as_str().unwrap().to_owned();
        let table = rig.run("peer pending").await.done();
        assert!(table.contains(&words) && table.contains("control-center") && table.contains("127.0.0.1"), "{table}");
        // As they are read out over the telephone.
        let spoken = format!("peer approve {}", words.replace('-', " ").to_uppercase());
        let approved = rig.run(&spoken).await.done();
        assert!(approved.contains("control-center"), "{approved}");
        words
    };
    let (added, words) = tokio::join!(controller.run(&add), approve);
    assert!(added.stderr.contains(&words) && added.stderr.contains("waiting for approval"), "{added:#?}");
    assert!(added.done().contains("paired with alpha"));
    assert_eq!(rig.json("peer pending").await, Value::Array(vec![]));
    let _ = controller.run("peer ping alpha").await.done();
}

#[tokio::test]
async fn an_operator_admits_or_turns_away_by_id() {
    let farm = Farm::strangers(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    let id = farm.controller.node.line("node id");
    let asked = controller.json(&format!("peer add --address {} --wait 0", rig.address())).await;
    assert_eq!((&asked["state"], &asked["id"]), (&"pending".into(), &farm.rig().node.line("node id").into()));
    assert_eq!(rig.json("peer pending").await[0]["words"], asked["words"], "seen there before it is said here");
    let _ = rig.run(&format!("peer deny {id}")).await.done();
    let add = format!("peer add --address {}", rig.address());
    controller.run(&add).await.fails(5, &["denied", "hint: "]);
    assert_eq!(controller.json("peer list").await, Value::Array(vec![]));

    // A second controller, admitted by its id.
    let other = Station::start("other-center", "controller").await;
    let id = other.node.line("node id");
    let approve = async {
        waiting(rig).await;
        rig.run(&format!("peer approve {id}")).await.done()
    };
    let (added, _) = tokio::join!(other.home.run(&add), approve);
    assert!(added.done().starts_with("paired with rig-alpha"));
    let _ = other.home.run("remote stop rig-alpha --all").await.done();
    // The rig has its own record of it.
    wait_for("the rig's log tells who ordered what", DEADLINE, async || {
        farm.rig().node.log().contains("ordered: stop all miners peer=\"other-center\"").then_some(())
    })
    .await;
}

/// An address of a list may be another rig's by now.
#[tokio::test]
async fn pairing_again_renames_no_rig_and_pairs_one_that_forgot() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    let add = format!("peer add --address {}", rig.address());
    let told = [
        "that is rig-alpha, which is paired already",
        "leave the name out",
        "`miner-ctrl peer rename rig-alpha other`",
    ];
    let before = controller.json("peer list").await;
    controller.run(&format!("{add} --name other")).await.fails(5, &told);
    let body = serde_json::json!({ "address": rig.address(), "name": "other" });
    let answer = controller.call("POST", "/api/v1/mining/peers", Some(&body)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 409") && answer.contains(told[0]), "{answer}");
    for again in [add.clone(), format!("{add} --name rig-alpha"), format!("{add} --name RIG-alpha")] {
        assert!(controller.run(&again).await.done().starts_with("paired with rig-alpha\n"), "{again}");
    }
    let after = controller.json("peer list").await;
    for field in ["permission", "addresses", "paired_at"] {
        assert_eq!(after[0][field], before[0][field], "{field}");
    }
    let _ = controller.run("peer ping rig-alpha").await.done();

    let _ = rig.run("peer remove control-center").await.done();
    controller.run(&format!("{add} --name other --wait 0")).await.fails(5, &told);
    let code = rig.json("pair").await["code"].as_str().unwrap().to_owned();
    controller.run(&format!("{add} --name other --code {code}")).await.fails(5, &told);
    let paired = controller.run(&format!("{add} --name rig-alpha --code {code}")).await.done();
    assert!(paired.starts_with("paired with rig-alpha\n"), "{paired}");
    let _ = controller.run("peer ping rig-alpha").await.done();
}

/// The words that were compared are those of the node that answered first.
#[tokio::test]
async fn another_node_that_answers_later_is_not_taken_for_the_one_whose_words_were_shown() {
    let farm = Farm::strangers(&["rig-alpha"]).await;
    let Farm { controller, mut rigs } = farm;
    let rig = rigs.pop().unwrap();
    let address = rig.home.address();
    let add = format!("peer add --address {address} --name alpha --permission control");
    let swap = async {
        waiting(&rig.home).await;
        rig.node.kill();
        let other = Home::init("rig-alpha", "worker").await;
        let node = other.serve_with(&["--listen", &address]).await;
        (other, node)
    };
    let (added, _other) = tokio::join!(controller.home.run(&add), swap);
    added.fails(5, &["another node", "hint: "]);
    assert_eq!(controller.home.json("peer list").await, Value::Array(vec![]));
}

/// Who waits for a person keeps nobody from starting the node, which then does the rest.
#[tokio::test]
async fn a_node_is_started_while_a_command_waits_for_approval_and_between_two_pings() {
    let rig = Station::start("rig-alpha", "worker").await;
    let controller = Home::init("control-center", "controller").await;
    let add = format!("peer add --address {} --name alpha", rig.home.address());
    let serve = async {
        let words = waiting(&rig.home).await["words"].as_str().unwrap().to_owned();
        let node = controller.serve_beside_a_command().await;
        let _ = rig.home.run(&format!("peer approve {words}")).await.done();
        node
    };
    let (added, node) = tokio::join!(controller.run(&add), serve);
    assert!(added.done().contains("paired with alpha"));
    Farm::online(&controller, "alpha").await;
    let held_before = node.pid();
    drop(node);

    let begun = Instant::now();
    // As many as take longer than anybody would wait for the lock.
    let pings = controller.run("peer ping alpha --count 60");
    let serve = async {
        wait_for("the first ping has begun", DEADLINE, async || {
            let held = std::fs::read_to_string(controller.node_dir().join("lock")).ok()?;
            held.trim().parse::<i32>().is_ok_and(|pid| pid != held_before).then_some(())
        })
        .await;
        let node = controller.serve_beside_a_command().await;
        (begun.elapsed(), node)
    };
    tokio::select! {
        pings = pings => panic!("they take a minute: {pings:#?}"),
        (took, _node) = serve => assert!(took < Duration::from_secs(30), "{took:?}"),
    }
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let farm = Farm::strangers(&["rig-alpha"]).await;
    let add = format!("peer add --address {} --wait 1", farm.rig().home.address());
    farm.controller.home.run(&add).await.fails(6, &["nobody approved within 1 s", "hint: ", "peer approve"]);
}

#[tokio::test]
async fn three_wrong_tries_burn_a_code() {
    let farm = Farm::strangers(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    let right = farm.rig().node.code();
    let wrong = if right == "2222-2222" { "3333-3333" } else { "2222-2222" };
    let add = |code: &str| format!("peer add --address {} --code {code}", rig.address());
    for _ in 0..3 {
        controller.run(&add(wrong)).await.fails(5, &["the code is wrong", "hint: "]);
    }
    controller.run(&add(right)).await.fails(5, &["no code", "miner-ctrl pair"]);
    assert!(rig.json("node info").await["pairing_code"].is_null());
    let fresh = rig.json("pair").await["code"].as_str().unwrap().to_owned();
    assert_ne!(fresh, right);
    let _ = controller.run(&add(&fresh)).await.done();
}

#[tokio::test]
async fn a_code_is_good_for_one_controller() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    let rig = farm.rig();
    let (address, code) = (rig.home.address(), rig.node.code());
    let add = format!("peer add --address {address} --code {code}");
    let other = Station::start("other-center", "controller").await;
    other.home.run(&add).await.fails(5, &["no code", "miner-ctrl pair"]);
    // Who used it may use it again: it may never have heard that it was admitted.
    let _ = farm.controller.home.run(&add).await.done();
    let peers = rig.home.json("peer list").await;
    assert_eq!(peers.as_array().unwrap().len(), 1, "{peers:#}");
}

#[tokio::test]
async fn where_pairing_is_off_nobody_gets_in() {
    let (controller, rig) = (Home::init("control-center", "controller").await, Home::init("rig-alpha", "worker").await);
    let (_control, worker) = (controller.serve().await, rig.serve_with(&["--pairing", "off"]).await);
    assert!(!worker.said().contains("pairing code"), "{}", worker.said());
    rig.run("pair").await.fails(5, &["pairing is off", "hint: set `pairing = \"code\"`"]);
    for code in ["", " --code 2222-2222"] {
        let add = format!("peer add --address {}{code}", rig.address());
        controller.run(&add).await.fails(5, &["does not take new peers", "hint: "]);
    }
    let codes_only = Home::init("rig-beta", "worker").await;
    let _worker = codes_only.serve_with(&["--pairing", "code"]).await;
    let add = format!("peer add --address {}", codes_only.address());
    controller.run(&add).await.fails(5, &["hint: ", "--pairing ask"]);
}

#[tokio::test]
async fn a_rig_that_adds_its_controller_is_commanded_by_it() {
    let farm = Farm::strangers(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    let (address, code) = (controller.address(), farm.controller.node.code());
    let _ = rig.run(&format!("peer add --address {address} --name center --code {code}")).await.done();
    Farm::online(controller, "rig-alpha").await;
    let peers = controller.json("peer list").await;
    assert_eq!(peers[0]["addresses"], Value::Array(vec![]), "the rig dials: {peers:#}");
    farm.add_profile("p").await;
    let _ = controller.run("remote deploy rig-alpha --profile p").await.done();
    let _ = controller.run("remote start rig-alpha --profile p").await.done();
    farm.miner("rig-alpha", "it mines", |miner| miner["state"] == "mining").await;
    rig.run("remote stop center").await.fails(4, &["not allowed"]);
    // The rig's node comes back and dials again; the controller has nowhere to dial.
    let Farm { controller, mut rigs } = farm;
    let rig = rigs.remove(0).killed_and_back().await;
    Farm::online(&controller.home, "rig-alpha").await;
    let stopped = controller.home.run("remote stop rig-alpha").await.done();
    assert_eq!(stopped, "rig-alpha: xmrig-1 is stopped\n");
    assert_eq!(rig.home.miners(), [0_i32; 0]);
}

#[tokio::test]
async fn what_a_rig_has_stored_is_listed_and_taken_back_and_what_runs_of_it_runs_on() {
    let farm = Farm::paired(&["rig-alpha", "rig-beta"]).await;
    let controller = &farm.controller.home;
    farm.add_profile("p").await;
    assert!(controller.run("remote profiles rig-alpha").await.done().contains("no profiles there"));
    let _ = controller.run("remote deploy rig-alpha,rig-beta --profile p").await.done();
    let _ = controller.run("remote start rig-alpha --profile p").await.done();
    let stored = controller.run("remote profiles rig-alpha").await.done();
    assert!(stored.contains("pool.example:3333") && !stored.contains("WALLET"), "{stored}");
    let taken = controller.run("remote undeploy rig-alpha,rig-beta --profile p").await.done();
    // Whichever answers first.
    let mut taken: Vec<_> = taken.lines().collect();
    taken.sort_unstable();
    assert_eq!(taken, ["✓ rig-alpha: profile p removed", "✓ rig-beta: profile p removed"]);
    // Again it is so already.
    let taken = controller.run("remote undeploy rig-alpha --profile p").await.done();
    assert_eq!(taken, "rig-alpha: profile p not there\n");
    assert_eq!(controller.json("remote profiles rig-alpha").await, Value::Array(vec![]));
    controller.run("remote start rig-beta --profile p").await.fails(3, &["remote deploy"]);
    let _ = controller.run("remote restart rig-alpha").await.done();
    farm.miner("rig-alpha", "it mines as before", |miner| miner["state"] == "mining").await;
}

#[tokio::test]
async fn a_miner_that_goes_on_with_an_earlier_profile_is_told_of_by_deploy_and_restart() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    let controller = &farm.controller.home;
    farm.add_profile("p").await;
    let _ = controller.run("remote start rig-alpha --profile p --from here").await.done();
    farm.miner("rig-alpha", "it mines", |miner| miner["state"] == "mining").await;
    // What is stored now is what runs.
    let deploy = "remote deploy rig-alpha --profile p";
    assert_eq!(controller.run(deploy).await.done(), "rig-alpha: profile p stored\n");
    let restarted = controller.run("remote restart rig-alpha").await.done();
    assert!(!restarted.contains("another"), "{restarted}");

    let _ = controller.run("profile remove p").await.done();
    let add = "profile add p --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet OTHER";
    let _ = controller.run(add).await.done();
    let goes_on = "; xmrig-1 goes on with the one it was started with: stop it, then start it\n";
    for found in ["stored", "there already"] {
        assert_eq!(controller.run(deploy).await.done(), format!("rig-alpha: profile p {found}{goes_on}"));
    }
    assert_eq!(controller.json(deploy).await["others"], serde_json::json!(["xmrig-1"]));
    let restarted = controller.run("remote restart rig-alpha").await.done();
    assert!(restarted.contains("runs the `p` that it was started with; another is stored on its rig"), "{restarted}");
    farm.miner("rig-alpha", "it mines, and nothing is wrong with it", |miner| {
        miner["state"] == "mining" && miner["problem"].is_null()
    })
    .await;

    let _ = controller.run("remote stop rig-alpha").await.done();
    assert_eq!(controller.run(deploy).await.done(), "rig-alpha: profile p there already\n");
    let _ = controller.run("remote start rig-alpha --profile p").await.done();
    assert_eq!(controller.run(deploy).await.done(), "rig-alpha: profile p there already\n");
}

#[tokio::test]
async fn who_may_only_look_cannot_act() {
    let farm = Farm::strangers(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    let (address, code) = (controller.address(), farm.controller.node.code());
    let add = format!("peer add --address {address} --code {code} --permission view");
    let _ = rig.run(&add).await.done();
    Farm::online(controller, "rig-alpha").await;
    farm.add_profile("p").await;
    let _ = rig.run("profile add own --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W").await.done();
    let _ = rig.run("remote start rig-alpha --profile own").await.done();
    farm.miner("rig-alpha", "it may look", |miner| miner["state"] == "mining").await;
    let _ = controller.run("remote logs rig-alpha").await.done();
    for line in [
        "remote stop rig-alpha",
        "remote restart rig-alpha",
        "remote start rig-alpha --profile own",
        "remote start rig-alpha --profile p --from here",
        "remote deploy rig-alpha --profile p",
    ] {
        controller.run(line).await.fails(4, &["not allowed", "`control`", "`view`", "hint: "]);
    }
    assert_eq!(rig.miners().len(), 1);

    let none = Station::start("rig-beta", "worker").await;
    let _ = none.home.run(&add.replace("view", "none").replace(code, &new_code(controller).await)).await.done();
    Farm::online(controller, "rig-beta").await;
    controller.run("remote logs rig-beta").await.fails(4, &["not allowed"]);
    let _ = controller.run("peer ping rig-beta").await.done();
}

async fn new_code(home: &Home) -> String {
    home.json("pair").await["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_rigs_own_policy_decides_whoever_asks() {
    let (controller, rig) = (Home::init("control-center", "controller").await, Home::init("rig-alpha", "worker").await);
    let policy = rig.write(".config/lethean-desktop/policy.json", r#"{"wallets": ["WALLET"]}"#);
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o666)).expect("it is ours");
    let (_control, worker) = (controller.serve().await, rig.serve().await);
    let remedy = format!("chmod go-w {}", policy.display());
    assert!(worker.log().contains(&remedy) && rig.run("doctor").await.stdout.contains(&remedy), "{}", worker.log());
    let (address, code) = (rig.address(), worker.code());
    let _ = controller.run(&format!("peer add --address {address} --code {code}")).await.done();
    for (name, wallet) in [("good", "WALLET"), ("thief", "ANOTHER")] {
        let add = format!("profile add {name} --program xmrig --algorithm rx/0 --pool a.example:1 --wallet {wallet}");
        let _ = controller.run(&add).await.done();
    }
    for line in ["remote deploy rig-alpha --profile thief", "remote start rig-alpha --profile thief --from here"] {
        controller.run(line).await.fails(5, &["wallet", "hint: "]);
    }
    assert_eq!(rig.miners(), [0_i32; 0]);
    let _ = controller.run("remote start rig-alpha --profile good --from here").await.done();
    assert_eq!(rig.miners().len(), 1);
}

#[tokio::test]
async fn a_removed_peer_is_cut_off_within_a_second() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    farm.add_profile("p").await;
    let _ = controller.run("remote start rig-alpha --profile p --from here").await.done();
    Farm::online(rig, "control-center").await;
    let (shown, complained) = (controller.write("follower.out", ""), controller.write("follower.err", ""));
    let mut follower = tokio::process::Command::from(controller.command(&["remote", "logs", "rig-alpha", "--follow"]))
        .stdout(File::create(&shown).unwrap())
        .stderr(File::create(&complained).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let reads = |file: &Path| std::fs::read_to_string(file).unwrap();
    wait_for("it follows", DEADLINE, async || (!reads(&shown).is_empty()).then_some(())).await;
    let _ = rig.run("peer remove control-center").await.done();
    let removed = Instant::now();
    wait_for("it is cut off", DEADLINE, async || {
        (controller.json("peer list").await[0]["online"] == false).then_some(())
    })
    .await;
    let took = removed.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    wait_for("the follower says that it waits", DEADLINE, async || {
        reads(&complained).contains("trying again until it answers").then_some(())
    })
    .await;
    controller.run("remote stop rig-alpha").await.fails(6, &["may not be registered there any more", "hint: "]);
    assert_eq!(rig.miners().len(), 1, "it commands nothing any more");

    // Paired anew, all is as it was.
    let code = new_code(rig).await;
    let _ = controller.run(&format!("peer add --address {} --code {code}", rig.address())).await.done();
    let _ = controller.run("remote stop rig-alpha").await.done();
    assert_eq!(rig.miners(), [0_i32; 0]);
    let before = reads(&shown).len();
    let _ = controller.run("remote start rig-alpha --profile p --from here").await.done();
    wait_for("the follower shows what came after", DEADLINE, async || (reads(&shown).len() > before).then_some(()))
        .await;
    assert!(follower.try_wait().unwrap().is_none(), "it follows until it is told to stop");
}

#[tokio::test]
async fn of_two_dual_nodes_the_one_that_added_commands() {
    let (one, other) = tokio::join!(Station::start("one", "dual"), Station::start("other", "dual"));
    let (address, code) = (other.home.address(), other.node.code());
    let _ = one.home.run(&format!("peer add --address {address} --code {code}")).await.done();
    let _ = one.home.run("remote stop other --all").await.done();
    other.home.run("remote stop one --all").await.fails(4, &["not allowed"]);
    let rigs = one.home.json("remote status").await;
    let mut names: Vec<&str> = rigs.as_array().unwrap().iter().filter_map(|rig| rig["peer"]["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["one", "other"], "a dual node is a rig, too");
}
