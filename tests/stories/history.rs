//! What a controller missed while it was away comes from its rigs.

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::history::{minutes, now, record, told};
use miner_ctrl_tests::{DEADLINE, Farm, wait_for};

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
    record(&home, &id, minutes(start, 3), 1000.0).await;
    record(&rig_home, &id, minutes(start, 90), 2500.0).await;
    let controller = home.serve().await;
    let rig = rig_home.serve().await;
    let known = async |measure| told(&home, "rig-alpha", measure, 60, start..start + 100 * 60).await;
    let filled = wait_for("the gap is filled", DEADLINE, async || {
        let numbers = known("hashrate").await;
        numbers[89].is_some().then_some(numbers)
    })
    .await;
    assert_eq!(filled[..3], [Some(1000.0); 3], "what it knew itself stays");
    assert_eq!(filled[3..90], [Some(2500.0); 87]);
    assert_eq!(filled[90..], [None; 10], "and nobody knows more");
    let warm = known("temperature").await;
    assert_eq!(warm[..90], [Some(65.0); 90]);
    // On the disk: killed again, it knows the same.
    controller.kill();
    drop(rig);
    let controller = home.serve().await;
    assert_eq!(known("hashrate").await[..90], filled[..90]);
    drop(controller);
}
