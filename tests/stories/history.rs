//! What a controller missed while it was away comes from its rigs.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use miner_ctrl::store::Database;
use miner_ctrl::store::history::{self, Minute};
use miner_ctrl_protocol::Measure;
use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::{DEADLINE, Farm, Home, wait_for};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Writes minutes of a rig into a node's own database, as its recorder would have.
async fn record(node_dir: &Path, rig: &str, minutes: impl Iterator<Item = u64>, number: f32) {
    let database = Database::open(&node_dir.join("miner-ctrl.db")).expect("the node is not running");
    for at in minutes {
        let measured = |measure, number| Minute {
            rig: rig.to_owned(),
            miner: "xmrig-1".to_owned(),
            measure,
            numbers: [Some(number); 6],
        };
        let both = vec![measured(Measure::Hashrate, number), measured(Measure::Temperature, 65.0)];
        history::write(&database, at, both).await.expect("it is written");
    }
}

/// What a node knows of a rig's miner, by minutes.
async fn known(home: &Home, measure: &str, since: u64) -> Vec<Option<f64>> {
    let path = format!("/api/v1/mining/history/rig-alpha?miner=xmrig-1&step=60&measure={measure}&since={since}");
    let mut socket = UnixStream::connect(home.node_dir().join("control.sock")).await.expect("it listens");
    let get = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(get.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    let numbers = body["series"][0]["v"].as_array().cloned().unwrap_or_default();
    numbers.iter().map(Value::as_f64).collect()
}

#[tokio::test]
async fn a_controller_that_was_killed_learns_from_its_rig_what_it_missed() {
    let Farm { controller, mut rigs } = Farm::paired(&["rig-alpha"]).await;
    let Station { node: rig, home: rig_home, .. } = rigs.remove(0);
    let id = rig.line("node id").to_owned();
    let Station { node, home, .. } = controller;
    // Both are away, and what they will say they recorded is written meanwhile: the controller saw three minutes, two
    // hours ago, the rig saw all of it, and something else in those three.
    node.kill();
    assert!(rig.terminate().await.success());
    let start = now() / 3600 * 3600 - 2 * 3600;
    record(&home.node_dir(), &id, (0..3).map(|minute| start + 60 * minute), 1000.0).await;
    record(&rig_home.node_dir(), &id, (0..90).map(|minute| start + 60 * minute), 2500.0).await;
    let controller = home.serve().await;
    let rig = rig_home.serve().await;
    let filled = wait_for("the gap is filled", DEADLINE, async || {
        let numbers = known(&home, "hashrate", start).await;
        (numbers.len() > 89 && numbers[89].is_some()).then_some(numbers)
    })
    .await;
    assert_eq!(filled[..3], [Some(1000.0); 3], "what it knew itself stays");
    assert_eq!(filled[3..90], [Some(2500.0); 87]);
    assert_eq!(filled[90..], vec![None; filled.len() - 90], "and nobody knows more");
    let warm = known(&home, "temperature", start).await;
    assert_eq!(warm[..90], [Some(65.0); 90]);
    // On the disk: killed again, it knows the same.
    controller.kill();
    drop(rig);
    let controller = home.serve().await;
    assert_eq!(known(&home, "hashrate", start).await[..90], filled[..90]);
    drop(controller);
}
