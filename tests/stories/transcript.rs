//! What an operator types, line by line, against the built program: two nodes, then six.

use std::os::unix::fs::PermissionsExt;

use miner_ctrl_tests::{DEADLINE, Farm, Home, wait_for};
use serde_json::Value;

/// The words of a table's row that begins with `first`, without the dot before a name.
fn row(table: &str, first: &str) -> Vec<String> {
    let rows = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let found = rows.into_iter().find(|row| row.iter().take(2).any(|word| word == first));
    found.unwrap_or_else(|| panic!("no row of {first} in:\n{table}"))
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|entry| entry["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn two_nodes_do_the_main_job_as_the_transcript_says() {
    let (controller, rig) = (Home::empty(), Home::empty());

    let said = controller.run("node init --name control-center --role controller").await.done();
    assert!(said.contains("control-center") && said.contains("controller"), "{said}");
    let _ = rig.run("node init --name rig-alpha --role worker").await.done();
    let key = std::fs::metadata(rig.node_dir().join("private.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let public: Value = serde_json::from_slice(&std::fs::read(rig.config_dir().join("node.json")).unwrap()).unwrap();
    assert_eq!((&public["name"], &public["role"]), (&"rig-alpha".into(), &"worker".into()));

    let (control, worker) = (controller.serve().await, rig.serve().await);
    assert_eq!(worker.line("node id"), public["id"].as_str().unwrap());
    assert_eq!(worker.line("fingerprint").split('-').count(), 6, "{}", worker.said());
    let listening = worker.line("listening");
    assert_eq!(listening, format!("/ip4/127.0.0.1/tcp/{}/ws/p2p/{}", rig.port(), worker.line("peer id")));
    let info = rig.json("node info").await;
    assert_eq!((info["pairing_code"].as_str(), info["serving"].as_bool()), (Some(worker.code()), Some(true)));
    assert_eq!(info["addresses"][0], listening);

    let (address, code) = (rig.address(), worker.code());
    let added = controller.run(&format!("peer add --address {address} --name rig-alpha --code {code}")).await.done();
    assert!(added.starts_with("paired with rig-alpha\n"), "{added}");
    Farm::online(&controller, "rig-alpha").await;
    Farm::online(&rig, "control-center").await;

    let table = controller.run("peer list").await.done();
    let head: Vec<&str> = table.lines().next().unwrap().split("  ").map(str::trim).filter(|w| !w.is_empty()).collect();
    assert_eq!(head, ["Peer", "Address", "Role", "Ping", "Score", "Last seen"]);
    assert_eq!(row(&table, "rig-alpha")[..2], ["●", "rig-alpha"]);
    let peers = controller.json("peer list").await;
    let peer = &peers[0];
    assert_eq!((peer["id"].as_str(), peer["role"].as_str()), (Some(worker.line("node id")), Some("worker")));
    assert!(peer["score"].as_u64().is_some_and(|score| (50..=100).contains(&score)), "{peer}");

    let pinged = controller.run("peer ping rig-alpha").await.done();
    assert!(pinged.starts_with("rig-alpha (") && pinged.trim().ends_with(" ms"), "{pinged}");
    assert_eq!(controller.run("peer ping rig-alpha --count 2").await.done().lines().count(), 3);

    let add = "profile add my-profile --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet WALLET";
    assert_eq!(controller.run(add).await.done(), "stored my-profile\n");
    assert_eq!(names(&controller.json("profile list").await), ["my-profile"]);
    let deployed = controller.run("remote deploy rig-alpha --profile my-profile").await.done();
    assert_eq!(deployed, "rig-alpha: profile my-profile stored\n");
    assert!(controller.run("remote deploy rig-alpha --profile my-profile").await.done().contains("already"));
    assert_eq!(names(&rig.json("profile list").await), ["my-profile"]);

    let started = controller.run("remote start rig-alpha --profile my-profile").await.done();
    assert!(started.starts_with("rig-alpha: xmrig-1 is "), "{started}");
    let miner = miner_with_a_rate(&controller).await;
    assert_eq!((&miner["name"], &miner["profile"]), (&"xmrig-1".into(), &"my-profile".into()));
    assert_eq!(rig.miners().len(), 1);
    let again = controller.run("remote start rig-alpha --profile my-profile").await.done();
    assert!(again.contains("xmrig-1 is mining already"), "{again}");
    let table = controller.run("remote status").await.done();
    let row = row(&table, "rig-alpha");
    assert_eq!(row[..5], ["●", "rig-alpha", "mining", "xmrig-1", "rx/0"], "{table}");
    assert!(row[6].ends_with("H/s"), "{table}");

    let logs = controller.run("remote logs rig-alpha xmrig-1 --lines 100").await.done();
    assert!(logs.contains("use pool pool.example:3333") && !logs.contains("WALLET"), "{logs}");
    let last = controller.run("remote logs rig-alpha --lines 1").await.done();
    assert_eq!(last.lines().count(), 1, "the miner may be left out");

    let stopped = controller.run("remote stop rig-alpha xmrig-1").await.done();
    assert_eq!(stopped, "rig-alpha: xmrig-1 is stopped\n");
    assert_eq!(rig.miners(), [0_i32; 0]);
    let again = controller.run("remote stop rig-alpha").await.done();
    assert_eq!(again, "rig-alpha: xmrig-1 is stopped already\n", "the miner may be left out");

    assert!(controller.run("peer remove rig-alpha").await.done().starts_with("removed rig-alpha"));
    assert_eq!(controller.json("peer list").await, Value::Array(vec![]));
    controller.run("remote status rig-alpha").await.fails(3, &["no peer `rig-alpha`", "hint: "]);

    assert!(control.terminate().await.success());
    assert!(worker.terminate().await.success());
}

async fn miner_with_a_rate(controller: &Home) -> Value {
    wait_for("the hashrate is known", DEADLINE, async || {
        let status = controller.json("remote status rig-alpha").await;
        let miner = status["stats"]["miners"][0].clone();
        (miner["state"] == "mining" && status["hashrate"].as_f64().is_some_and(|rate| rate > 0.0)).then_some(miner)
    })
    .await
}

#[tokio::test]
async fn six_nodes_do_the_main_job_each_for_itself_and_all_together() {
    let rigs = ["rig-alpha", "rig-beta", "rig-gamma", "rig-delta", "barn-1"];
    let farm = Farm::paired(&rigs).await;
    let controller = &farm.controller.home;
    for rig in rigs {
        Farm::online(controller, rig).await;
    }
    farm.add_profile("my-profile").await;
    let all = rigs.join(",");
    let deployed = controller.run(&format!("remote deploy {all} --profile my-profile")).await.done();
    assert_eq!(deployed.matches("✓ ").count(), 5, "{deployed}");
    let _ = controller.run(&format!("remote start {all} --profile my-profile")).await.done();
    for rig in rigs {
        farm.miner(rig, "each mines", |miner| miner["state"] == "mining").await;
    }
    let status = controller.json("remote status").await;
    assert!(status.as_array().unwrap().iter().all(|rig| rig["hashrate"].as_f64() > Some(0.0)), "{status:#}");
    assert_eq!(status.as_array().unwrap().len(), 5);

    // The beginning of a name names nobody, and those that are called so are told; the half of an id does.
    let unknown = controller.run("remote stop rig-").await.fails(3, &["no peer `rig-`", "hint: "]);
    assert!(rigs[..4].iter().all(|rig| unknown.contains(rig)) && !unknown.contains("barn-1"), "{unknown}");
    let id = farm.rigs[2].node.line("node id");
    let by_id = controller.run(&format!("peer ping {}", &id[..8])).await.done();
    assert!(by_id.starts_with("rig-gamma ("), "{by_id}");

    // One of several fails: the others are done, and the exit code says so.
    let some = controller.run("remote stop rig-alpha,nobody,barn-1").await;
    assert_eq!(some.code, Some(7), "{some:#?}");
    assert!(some.stdout.contains("✓ rig-alpha: xmrig-1 is stopped") && some.stdout.contains("✗ nobody"), "{some:#?}");
    let stopped: Vec<usize> = farm.rigs.iter().map(|rig| rig.home.miners().len()).collect();
    assert_eq!(stopped, [0, 1, 1, 1, 0]);
    let documents: Value =
        serde_json::from_str(&controller.run("remote stop rig-beta,nobody -o json").await.stdout).unwrap();
    assert_eq!((&documents[0]["done"], &documents[1]["done"]), (&true.into(), &false.into()));
    assert_eq!(documents[1]["problem"]["exit_code"], 3);
    let all_fail = controller.run("remote stop nobody,nobody-else").await;
    assert_eq!(all_fail.code, Some(3), "{all_fail:#?}");

    // A rig that is away shows as that, and costs the others nothing.
    let Farm { controller: station, mut rigs } = farm;
    rigs.swap_remove(3).node.kill();
    let controller = &station.home;
    wait_for("rig-delta is offline", DEADLINE, async || {
        let peers = controller.json("peer list").await;
        peers.as_array()?.iter().any(|peer| peer["name"] == "rig-delta" && peer["online"] == false).then_some(())
    })
    .await;
    let away = controller.run("remote stop rig-delta,rig-gamma").await;
    assert_eq!(away.code, Some(7), "{away:#?}");
    controller.run("remote stop rig-delta").await.fails(6, &["rig-delta is not connected", "hint: "]);
    let table = controller.run("remote status").await.done();
    assert_eq!(row(&table, "rig-delta")[..3], ["○", "rig-delta", "offline"], "{table}");
}

#[tokio::test]
async fn a_rig_is_added_by_every_form_of_address() {
    let farm = Farm::strangers(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    let peer_id = farm.rig().node.line("peer id");
    let port = rig.port();
    let mut code = farm.rig().node.code().to_owned();
    for address in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}/p2p/{peer_id}"),
        format!("/ip4/127.0.0.1/tcp/{port}/ws"),
        format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{peer_id}"),
        format!("/dns4/localhost/tcp/{port}/ws/p2p/{peer_id}"),
    ] {
        // A code may be typed in small letters and without its hyphen.
        let typed = code.to_lowercase().replace('-', "");
        let added = controller.run(&format!("peer add --address {address} --code {typed} -o json")).await.json();
        assert_eq!((&added["peer"]["name"], &added["peer"]["peer_id"]), (&"rig-alpha".into(), &peer_id.into()));
        let pinged = controller.run("peer ping rig-alpha").await.done();
        assert!(pinged.contains(" ms"), "{address}: {pinged}");
        let _ = controller.run("peer remove rig-alpha").await.done();
        let shown = rig.json("pair").await;
        shown["code"].as_str().unwrap().clone_into(&mut code);
    }
}

/// As a terminal sends them: to the editor and to the program that waits for it.
#[tokio::test]
async fn the_keys_that_interrupt_are_the_editors() {
    let press = "trap : INT QUIT; kill -INT $PPID $$; kill -QUIT $PPID $$; sed -i s/wallet-a/wallet-b/";
    let home = Home::init("control-center", "controller").await.with_variable("VISUAL", press);
    let _ = home.run("profile add p --program xmrig --coin monero --pool a.example:1 --wallet wallet-a").await.done();
    let _ = home.run("profile edit p").await.done();
    assert!(home.run("profile show p").await.done().contains("wallet-b"));
}

#[tokio::test]
async fn profiles_are_added_shown_edited_imported_and_removed() {
    let home = Home::init("control-center", "controller").await.with_variable("VISUAL", "sed -i s/wallet-a/wallet-b/");
    let add = "profile add p --program xmrig --coin monero --pool a.example:1 --pool b.example:2 --wallet wallet-a \
               --password secret-word --rig-name farm-{name} --threads 3 --huge-pages false --argument=--randomx-mode=light";
    let _ = home.run(add).await.done();
    home.run(add).await.fails(5, &["`p`", "hint: "]);
    let shown = home.run("profile show p").await.done();
    assert!(!shown.contains("secret-word"), "{shown}");
    let profile: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&profile["coin"], &profile["pools"][1]["url"]), (&"monero".into(), &"b.example:2".into()));
    assert_eq!((profile["threads"].as_u64(), profile["huge_pages"].as_bool()), (Some(3), Some(false)));

    let _ = home.run("profile edit p").await.done();
    assert!(home.run("profile show p").await.done().contains("wallet-b"));
    let file = home.config_dir().join("profiles/p.json");
    let stored = std::fs::read_to_string(&file).unwrap();
    assert!(stored.contains("secret-word"), "an edit keeps the password that it does not show: {stored}");

    let config = home.write(
        "config.json",
        r#"{ "pools": [ { "url": "pool.example:443", "user": "wallet-c", "pass": "x", "coin": "monero", "tls": true, }, ], // mine
        }"#,
    );
    let _ = home.run_words(&["profile", "import", config.to_str().unwrap(), "--name", "imported"]).await.done();
    assert_eq!(names(&home.json("profile list").await), ["imported", "p"]);
    let table = home.run("profile list").await.done();
    assert_eq!(row(&table, "imported")[..2], ["imported", "xmrig"], "{table}");

    let _ = home.run("profile remove p").await.done();
    assert_eq!(names(&home.json("profile list").await), ["imported"]);
    home.run("profile remove p").await.fails(3, &["no profile `p`", "hint: "]);
    home.run("profile show p").await.fails(3, &["no profile `p`"]);
}

#[tokio::test]
async fn an_edit_does_not_replace_what_was_changed_while_the_editor_was_open() {
    let home = Home::init("control-center", "controller").await;
    let file = home.config_dir().join("profiles/p.json");
    let meanwhile = format!("sed -i s/wallet-a/wallet-c/ {}; sed -i s/wallet-a/wallet-b/", file.display());
    let home = home.with_variable("VISUAL", &meanwhile);
    let _ = home.run("profile add p --program xmrig --coin monero --pool a.example:1 --wallet wallet-a").await.done();
    home.run("profile edit p").await.fails(5, &["it was changed", "hint: ", "profile show p", "is kept in "]);
    assert!(home.run("profile show p").await.done().contains("wallet-c"));
    // Who was told may go on.
    let again = home.run("profile edit p").await;
    assert!(again.stderr.contains("going on with what was kept"), "{again:?}");
    assert!(home.run("profile show p").await.done().contains("wallet-b"));
    assert_eq!(std::fs::read_dir(home.node_dir().with_file_name("edit")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_wrong_profile_is_refused_by_the_flag_that_was_typed() {
    let home = Home::init("control-center", "controller").await;
    let add = "profile add p --program xmrig --algorithm rx/0 --pool pool.example:1 --wallet W";
    for (line, words) in [
        (format!("{add} --threads 0"), "--threads is"),
        (format!("{add} --argument=--http-port=1"), "--argument `--http-port`"),
        (add.replace("pool.example:1", "pool.example:0"), "--pool "),
        (add.replace("rx/0", "no-such-algorithm"), "--algorithm "),
        (format!("{add} --rig-name {{nam}}"), "--rig-name "),
        (format!("{add} --tls --fingerprint abc"), "--fingerprint is"),
        (add.replace("xmrig", "excel"), "--program"),
    ] {
        home.run(&line).await.fails(2, &[words]);
    }
    assert_eq!(home.json("profile list").await, Value::Array(vec![]));
}

#[tokio::test]
async fn every_class_of_failure_has_its_exit_code_and_says_what_now() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    farm.add_profile("my-profile").await;

    let damaged = Home::init("damaged", "dual").await;
    let key = std::fs::File::options().write(true).open(damaged.node_dir().join("private.key")).unwrap();
    key.set_len(7).unwrap();
    damaged.run("node info").await.fails(1, &["error: ", "private.key"]);
    damaged.run("node init --name other").await.fails(1, &["private.key"]);
    assert_eq!(key.metadata().unwrap().len(), 7, "a damaged key is never replaced");

    for line in [
        "",
        "fly",
        "peer add",
        "peer ping",
        "peer list --output xml",
        "node init --name bad/name",
        "remote start rig-alpha",
        "remote logs rig-alpha --lines 0",
    ] {
        controller.run(line).await.fails(2, &["--help"]);
    }
    for (address, word) in [("no#host:1", "host name"), ("/ip4/1.2.3.4/udp/1", "WebSocket"), ("a:70000", "port")] {
        controller.run(&format!("peer add --address {address}")).await.fails(2, &["address", word, "hint: "]);
    }
    let address = rig.address();
    controller.run(&format!("peer add --address {address} --code 12")).await.fails(2, &["code", "7KQ2-M9XD"]);

    Home::empty().run("node info").await.fails(3, &["no identity", "hint: ", "miner-ctrl node init"]);
    controller.run("peer ping nobody").await.fails(3, &["no peer `nobody`", "hint: ", "miner-ctrl peer list"]);
    controller.run("remote stop rig-alpha xmrig-9").await.fails(3, &["xmrig-9", "hint: "]);
    controller.run("remote start rig-alpha --profile my-profile").await.fails(3, &["my-profile", "remote deploy"]);
    controller.run("peer approve no-such-words").await.fails(3, &["no pairing request", "hint: "]);

    rig.run("remote stop control-center").await.fails(4, &["not allowed", "hint: "]);

    controller.run("node init --name again").await.fails(5, &["control-center", "--home"]);
    controller.run("remote start control-center --profile my-profile").await.fails(5, &["runs no miner", "hint: "]);
    controller.run("node serve --listen 127.0.0.1:0").await.fails(5, &["hint: "]);

    Home::init("alone", "dual").await.run("pair").await.fails(6, &["no node is running here", "node serve"]);
    let nobody = Home::empty().address();
    controller.run(&format!("peer add --address {nobody}")).await.fails(6, &["onnection refused", "hint: "]);

    let problem = controller.run("peer ping nobody -o json").await;
    let document: Value = serde_json::from_str(&problem.stderr).unwrap();
    assert_eq!((problem.stdout.as_str(), document["exit_code"].as_u64()), ("", Some(3)));
    assert_eq!(document["code"], "unknown-peer");
    assert!(controller.run("--help").await.done().contains("Exit codes:"));
}

#[tokio::test]
async fn nothing_but_plain_text_goes_to_what_is_no_terminal() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, &farm.rig().home);
    for line in
        ["peer list", "remote status", "node info", "doctor", "profile list", "peer ping nobody", "fly", "--help"]
    {
        let ran = controller.run(line).await;
        assert!(!ran.stdout.contains('\x1b') && !ran.stderr.contains('\x1b'), "{ran:#?}");
        assert!(!ran.stdout.is_empty() || !ran.stderr.is_empty(), "{ran:#?}");
    }
    assert!(!rig.run("doctor").await.stdout.contains('\x1b'));
    assert!(!farm.rig().node.log().contains('\x1b') && !farm.rig().node.said().contains('\x1b'));
    let completions = controller.run("completions bash").await.done();
    assert!(completions.contains("miner-ctrl") && completions.contains("deploy"));
}

#[tokio::test]
async fn the_command_line_works_without_a_node_that_serves() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    let Farm { controller, rigs } = farm;
    assert!(controller.node.terminate().await.success());
    let controller = controller.home;
    let pinged = controller.run("peer ping rig-alpha").await.done();
    assert!(pinged.starts_with("rig-alpha ("), "{pinged}");
    let add = "profile add p --program xmrig --algorithm rx/0 --pool pool.example:1 --wallet W";
    let _ = controller.run(add).await.done();
    let _ = controller.run("remote start rig-alpha --profile p --from here").await.done();
    assert_eq!(rigs[0].home.miners().len(), 1);
    let status = controller.json("remote status rig-alpha").await;
    assert_eq!(status["stats"]["miners"][0]["name"], "xmrig-1", "{status:#}");
    let _ = controller.run("remote stop rig-alpha").await.done();
    assert_eq!(rigs[0].home.miners(), [0_i32; 0]);
}
