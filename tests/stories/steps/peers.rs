//! The registry: nodes pair, are renamed, are forgotten, and ask to be let in.

use std::cell::RefCell;
use std::sync::Arc;

use miner_ctrl_protocol::Role;
use miner_ctrl_protocol::pair::{PairRefusal, Reply};
use miner_ctrl_protocol::smsg::NodeSecret;
use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::{Caller, Farm, wait_for};

use crate::order::Order;
use crate::{HEALED, Outcome, START, Side, all_is_whole, at_each_step, at_each_step_among, run};

async fn code_of(rig: &Station) -> String {
    rig.home.json("pair").await["code"].as_str().unwrap().to_owned()
}

/// The rig adds its controller.
async fn joins(side: Side) {
    let prepare = async |farm: &Farm| {
        let (rig, controller) = (farm.rig(), &farm.controller);
        if !controller.home.names("peer list").await.is_empty() {
            run(farm, "peer remove rig-alpha").await;
        }
        let _ = rig.home.run("peer remove control-center").await.done();
        Order::Peer(add_controller(controller).await)
    };
    at_each_step_among(&["rig-alpha"], Side::Rig, side, prepare, async |farm, Outcome { books, done, at, .. }| {
        let rig = farm.rig();
        let (ours, theirs) = tokio::join!(farm.controller.home.names("peer list"), rig.home.names("peer list"));
        assert!(theirs == ["control-center"] || !done && theirs.is_empty(), "{theirs:?}: {at}");
        // The controller, whose code it is, stores first.
        assert!(ours == ["rig-alpha"] || theirs.is_empty() && ours.is_empty(), "{ours:?}, {theirs:?}: {at}");
        if theirs.is_empty() {
            let _ = rig.home.run(&add_controller(&farm.controller).await).await.done();
        }
        Farm::online(&farm.controller.home, "rig-alpha").await;
        run(farm, "peer ping rig-alpha").await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

async fn add_controller(controller: &Station) -> String {
    format!("peer add --address {} --code {}", controller.home.address(), code_of(controller).await)
}

async fn pairs(side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, "peer remove rig-alpha").await;
        let rig = farm.rig();
        if !rig.home.names("peer list").await.is_empty() {
            let _ = rig.home.run("peer remove control-center").await.done();
        }
        let (address, code) = (rig.home.address(), code_of(rig).await);
        Order::Peer(format!("peer add --address {address} --name rig-alpha --code {code}"))
    };
    at_each_step(side, prepare, async |farm, Outcome { books, done, at, .. }| {
        let rig = farm.rig();
        let (ours, theirs) = tokio::join!(farm.controller.home.names("peer list"), rig.home.names("peer list"));
        assert!(ours == ["rig-alpha"] || !done && ours.is_empty(), "{ours:?}: {at}");
        // The rig stores first: whom the controller knows, knows the controller.
        assert!(theirs == ["control-center"] || ours.is_empty() && theirs.is_empty(), "{ours:?}, {theirs:?}: {at}");
        if ours.is_empty() {
            let (address, code) = (rig.home.address(), code_of(rig).await);
            run(farm, &format!("peer add --address {address} --name rig-alpha --code {code}")).await;
        }
        Farm::online(&farm.controller.home, "rig-alpha").await;
        run(farm, "peer ping rig-alpha").await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

/// The key of a new node that waits at the controller for its operator's word.
async fn stranger(farm: &Farm) -> Arc<NodeSecret> {
    let stranger = Caller::dial(farm.controller.home.port()).await.expect("a stranger is let as far as pairing");
    assert_eq!(stranger.knock("rig-new", Role::Worker).await, Reply::Pending);
    Arc::clone(stranger.secret())
}

/// What it is told when it asks again.
async fn asks_again(farm: &Farm, secret: &Arc<NodeSecret>) -> Reply {
    let stranger = Caller::dial_as(farm.controller.home.port(), Arc::clone(secret)).await.expect("it is let in");
    stranger.knock("rig-new", Role::Worker).await
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_renaming_a_rig_did_it_or_did_not() {
    let prepare = async |_: &Farm| Order::Peer("peer rename rig-alpha rig-other".to_owned());
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, done, at, .. }| {
        let names = farm.controller.home.names("peer list").await;
        assert!(names == ["rig-other"] || !done && names == ["rig-alpha"], "{names:?}: {at}");
        Farm::online(&farm.controller.home, &names[0]).await;
        run(farm, &format!("peer ping {}", names[0])).await;
        run(farm, &format!("peer rename {} rig-alpha", names[0])).await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

/// One forgets the other, and one of the two is killed.
async fn forgets(given_at: Side, side: Side) {
    let prepare = async |farm: &Farm| {
        run(farm, START).await;
        Order::Forget(given_at.and_other(farm)[1].name.clone())
    };
    let hold = async |farm: &Farm, Outcome { books, done, before, at, .. }| {
        let [forgetful, other] = given_at.and_other(farm);
        let (ours, theirs) = tokio::join!(forgetful.home.names("peer list"), other.home.names("peer list"));
        assert!(ours.is_empty() || !done && ours == [other.name.as_str()], "{ours:?}: {at}");
        assert_eq!(theirs, [forgetful.name.as_str()], "who is forgotten forgets nobody: {at}");
        if !ours.is_empty() {
            let _ = forgetful.home.run(&format!("peer remove {}", other.name)).await.done();
            assert_eq!(forgetful.home.names("peer list").await, [""; 0], "{at}");
        }
        assert_eq!(farm.rig().home.miners(), before, "it mines on: {at}");
        let (address, code) = (farm.rig().home.address(), code_of(farm.rig()).await);
        run(farm, &format!("peer add --address {address} --name rig-alpha --code {code}")).await;
        Farm::online(&farm.controller.home, "rig-alpha").await;
        all_is_whole(farm, &books, &at).await;
    };
    at_each_step_among(&["rig-alpha"], given_at, side, prepare, hold).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_node_that_is_killed_at_any_step_of_forgetting_a_peer_or_being_forgotten_knows_it_or_does_not() {
    for given_at in [Side::Controller, Side::Rig] {
        for side in [Side::Controller, Side::Rig] {
            forgets(given_at, side).await;
        }
    }
}

/// Whether a rig that has no code is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Approve,
    Deny,
}

/// A rig without a code asks its controller, and its operator says so much of it, or nothing yet.
async fn asks(word: Option<Word>, side: Side) {
    let ask =
        |farm: &Farm| format!("peer add --address {} --permission control --wait 0", farm.controller.home.address());
    let say = async |farm: &Farm, word: Word| {
        let id = farm.rig().node.line("node id");
        let line = match word {
            Word::Approve => format!("peer approve {id}"),
            Word::Deny => format!("peer deny {id}"),
        };
        run(farm, &line).await;
    };
    let names =
        async |farm: &Farm| tokio::join!(farm.controller.home.names("peer list"), farm.rig().home.names("peer list"));
    let prepare = async |farm: &Farm| {
        let (ours, theirs) = names(farm).await;
        if !ours.is_empty() {
            run(farm, "peer remove rig-alpha").await;
        }
        if !theirs.is_empty() {
            let _ = farm.rig().home.run("peer remove control-center").await.done();
        }
        let Some(word) = word else { return Order::Peer(ask(farm)) };
        // Who was turned away is not asked about again.
        if farm.rig().home.run(&ask(farm)).await.code == Some(0) {
            say(farm, word).await;
        }
        match word {
            Word::Approve => Order::Peer(ask(farm)),
            Word::Deny => Order::Refused(ask(farm)),
        }
    };
    let hold = async |farm: &Farm, Outcome { books, done, at, .. }| {
        let (ours, theirs) = names(farm).await;
        let wait = async || farm.controller.home.names("peer pending").await;
        if word == Some(Word::Approve) {
            assert!(ours == ["rig-alpha"] && wait().await.is_empty(), "{ours:?}: {at}");
            assert!(theirs == ["control-center"] || !done && theirs.is_empty(), "{theirs:?}: {at}");
        } else {
            assert!(ours.is_empty() && theirs.is_empty(), "{ours:?}, {theirs:?}: {at}");
        }
        if word == Some(Word::Deny) {
            assert_eq!(wait().await, [""; 0], "{at}");
            let _ = farm.rig().home.run(&add_controller(&farm.controller).await).await.done();
        } else if word.is_none() {
            let _ = farm.rig().home.run(&ask(farm)).await.done();
            let once = async || (wait().await == ["rig-alpha"]).then_some(());
            wait_for(&format!("it waits, once: {at}"), HEALED, once).await;
            say(farm, Word::Approve).await;
        }
        let _ = farm.rig().home.run(&ask(farm)).await.done();
        Farm::online(&farm.controller.home, "rig-alpha").await;
        run(farm, "peer ping rig-alpha").await;
        all_is_whole(farm, &books, &at).await;
    };
    at_each_step_among(&["rig-alpha"], Side::Rig, side, prepare, hold).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_stranger_that_is_killed_at_any_step_of_asking_is_let_in_by_its_operators_word_alone() {
    for word in [None, Some(Word::Approve), Some(Word::Deny)] {
        asks(word, Side::Rig).await;
    }
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_being_asked_by_a_stranger_lets_it_in_by_its_operators_word_alone() {
    for word in [None, Some(Word::Approve)] {
        asks(word, Side::Controller).await;
    }
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_node_that_is_killed_at_any_step_of_its_operators_word_on_a_stranger_admits_by_that_word_alone() {
    let waits = RefCell::new(None);
    let secret = || waits.borrow().clone().expect("a stranger waits");
    let prepare = async |farm: &Farm| {
        let secret = stranger(farm).await;
        waits.replace(Some(Arc::clone(&secret)));
        Order::Peer(format!("peer approve {} --permission view", secret.public().node_id()))
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, done, at, .. }| {
        let controller = &farm.controller.home;
        let names = controller.names("peer list").await;
        assert!(names == ["rig-alpha", "rig-new"] || !done && names == ["rig-alpha"], "{names:?}: {at}");
        let reply = asks_again(farm, &secret()).await;
        if names.len() == 1 {
            assert_eq!(reply, Reply::Pending, "it asks anew: {at}");
            run(farm, &format!("peer approve {} --permission view", secret().public().node_id())).await;
        } else {
            assert!(matches!(reply, Reply::Paired { .. }), "{reply:?}: {at}");
        }
        let peers = controller.json("peer list").await;
        let new = peers.as_array().unwrap().iter().find(|peer| peer["name"] == "rig-new").unwrap();
        assert_eq!(new["permission"], "view", "{at}");
        run(farm, "peer remove rig-new").await;
        all_is_whole(farm, &books, &at).await;
    })
    .await;
    let prepare = async |farm: &Farm| {
        let secret = stranger(farm).await;
        waits.replace(Some(Arc::clone(&secret)));
        Order::Peer(format!("peer deny {}", secret.public().node_id()))
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, at, .. }| {
        // Who was turned away is not remembered over a restart; it waits again.
        assert_eq!(asks_again(farm, &secret()).await, Reply::Pending, "{at}");
        run(farm, &format!("peer deny {}", secret().public().node_id())).await;
        assert_eq!(asks_again(farm, &secret()).await, Reply::Refused(PairRefusal::Denied), "{at}");
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_rig_that_adds_its_controller_which_is_killed_at_any_step_has_it_or_asks_again() {
    joins(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_rig_that_is_killed_at_any_step_of_adding_its_controller_has_it_or_asks_again() {
    joins(Side::Rig).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_pairing_whose_controller_is_killed_at_any_step_is_whole_or_done_again() {
    pairs(Side::Controller).await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_pairing_whose_rig_is_killed_at_any_step_is_whole_or_done_again() {
    pairs(Side::Rig).await;
}
