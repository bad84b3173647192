//! What each route does when it goes well.

use axum::http::StatusCode;
use miner_ctrl_protocol::message::{MinerChoice, ProfileChoice};
use serde_json::{Value, json};

use super::ask::ask;
use crate::memory::{Memory, peer};
use crate::node::MinerCommand;

pub(super) fn monero() -> Value {
    json!({
        "name": "monero", "program": "xmrig", "algorithm": "rx/0", "wallet": "44AFFq5kSiGBoZ", "password": "hunter2",
        "pools": [{"url": "pool.example:3333", "password": "hunter3"}],
    })
}

#[tokio::test]
async fn the_node_tells_who_it_is() {
    let node = Memory::default();
    let info = ask(&node, "GET", "/node/info", None).await;
    assert_eq!((info.status, &info.body["name"]), (StatusCode::OK, &json!("desk")));
    assert_eq!(ask(&node, "POST", "/node/pairing-code", None).await.body, json!({"code": "7KQ2-M9XD"}));
}

#[tokio::test]
async fn a_node_is_named_once() {
    let node = Memory::default();
    let init = |name: &str| json!({ "name": name, "role": "dual" });
    let named = ask(&node, "POST", "/node/init", Some(init("barn"))).await;
    assert_eq!(named.body, json!({ "name": "barn", "role": "dual", "restart_needed": true }));
    assert_eq!(ask(&node, "POST", "/node/init", Some(init("barn"))).await.body, named.body);
    assert_eq!(ask(&node, "POST", "/node/init", Some(init("cellar"))).await.body["code"], "conflict");
    assert_eq!(ask(&node, "POST", "/node/init", Some(init("a b"))).await.body["code"], "invalid");
}

#[tokio::test]
async fn a_node_that_lives_is_not_always_one_that_serves() {
    let node = Memory::default();
    assert_eq!(ask(&node, "GET", "/ready", None).await.status, StatusCode::OK);
    node.set_serving(false);
    assert_eq!(ask(&node, "GET", "/health", None).await.status, StatusCode::OK);
    let ready = ask(&node, "GET", "/ready", None).await;
    assert_eq!((ready.status, &ready.body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("not-ready")));
}

#[tokio::test]
async fn peers_are_listed_shown_pinged_and_removed() {
    let node = Memory::default();
    assert_eq!(ask(&node, "GET", "/peers", None).await.body.as_array().unwrap().len(), 1);
    assert_eq!(ask(&node, "GET", "/peers/rig-alpha", None).await.body["role"], "worker");
    assert_eq!(ask(&node, "POST", "/peers/rig-alpha/ping", None).await.body["round_trip_ms"], 1.5);
    assert_eq!(ask(&node, "DELETE", "/peers/rig-alpha", None).await.status, StatusCode::OK);
    assert_eq!(ask(&node, "GET", "/peers", None).await.body, json!([]));
}

#[tokio::test]
async fn adding_a_peer_says_whether_it_is_paired_or_waits() {
    let node = Memory::default();
    let added = ask(&node, "POST", "/peers", Some(json!({"address": "192.0.2.3", "name": "cellar"}))).await;
    assert_eq!((added.status, &added.body["state"]), (StatusCode::OK, &json!("paired")));
    assert_eq!(added.body["peer"]["name"], "cellar");
    let waits = ask(&node, "POST", "/peers", Some(json!({"address": "pending.example"}))).await;
    assert_eq!((waits.status, &waits.body["state"]), (StatusCode::ACCEPTED, &json!("pending")));
}

#[tokio::test]
async fn a_stranger_is_approved_or_denied() {
    let node = Memory::default();
    let pending = ask(&node, "GET", "/peers/pending", None).await;
    let words = pending.body[0]["words"].as_str().unwrap().to_owned();
    let path = format!("/peers/pending/{words}/approve");
    let approved = ask(&node, "POST", &path, Some(json!({"permission": "view"}))).await;
    assert_eq!((approved.status, &approved.body["permission"]), (StatusCode::OK, &json!("view")));
    let node = Memory::default();
    assert_eq!(ask(&node, "POST", &format!("/peers/pending/{words}/deny"), None).await.status, StatusCode::OK);
    assert_eq!(ask(&node, "GET", "/peers/pending", None).await.body, json!([]));
}

#[tokio::test]
async fn rigs_are_read_one_by_one_or_all_at_once() {
    let node = Memory::default();
    let all = ask(&node, "GET", "/remote/stats", None).await;
    let one = ask(&node, "GET", "/remote/rig-alpha/stats", None).await;
    assert_eq!(all.body[0], one.body);
    assert_eq!(one.body["hashrate"], 2500.0);
}

#[tokio::test]
async fn history_comes_in_columns() {
    let node = Memory::default();
    let history = ask(&node, "GET", "/history/rig-alpha?miner=xmrig-1&since=1700000000&step=10", None).await;
    let series = json!([{"id": "xmrig-1", "v": [2500.5, null]}]);
    let measures = json!(["hashrate", "temperature"]);
    let columns = |measure: &str| json!({"t0": 1_700_000_000, "step": 10, "measure": measure, "measures": measures, "series": series});
    assert_eq!(history.body, columns("hashrate"));
    let path = "/history/rig-alpha?miner=xmrig-1&since=1700000000&step=10&measure=temperature";
    assert_eq!(ask(&node, "GET", path, None).await.body, columns("temperature"));
    assert_eq!(ask(&node, "GET", "/history/rig-alpha?measure=speed", None).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&node, "GET", "/history/rig-alpha?step=7", None).await.body["code"], "invalid");
    assert_eq!(ask(&node, "GET", "/history/nobody", None).await.body["code"], "unknown-peer");
}

#[tokio::test]
async fn the_history_of_the_fleet_is_a_sum_for_each_algorithm() {
    let node = Memory::default();
    let history = ask(&node, "GET", "/history?since=1700000000&step=900", None).await;
    let series = json!([{"id": "rx/0", "v": [2500.5]}]);
    let measures = json!(["hashrate", "temperature"]);
    let columns =
        json!({"t0": 1_700_000_000, "step": 900, "measure": "hashrate", "measures": measures, "series": series});
    assert_eq!(history.body, columns);
    assert_eq!(ask(&node, "GET", "/history?step=7", None).await.body["code"], "invalid");
    assert_eq!(ask(&node, "GET", "/history?miner=xmrig-1", None).await.body["code"], "bad-request");
}

#[tokio::test]
async fn the_name_of_a_profile_means_the_rigs_own() {
    let node = Memory::default();
    let outcome = ask(&node, "POST", "/remote/rig-alpha/start", Some(json!({"profile": "monero"}))).await;
    assert_eq!((outcome.status, &outcome.body["changed"]), (StatusCode::OK, &json!(false)));
    let profile = ProfileChoice::Stored("monero".parse().unwrap());
    assert_eq!(node.commands(), [("rig-alpha".to_owned(), MinerCommand::Start { profile, miner: None })]);
}

#[tokio::test]
async fn a_profile_from_here_goes_along_with_its_passwords() {
    let node = Memory::default();
    ask(&node, "POST", "/profiles", Some(monero())).await;
    let body = json!({"profile": "monero", "from": "here", "miner": "xmrig-2"});
    ask(&node, "POST", "/remote/rig-alpha/start", Some(body)).await;
    let commands = node.commands();
    let MinerCommand::Start { profile: ProfileChoice::Inline(draft), miner } = &commands[0].1 else {
        panic!("not inline: {commands:?}")
    };
    assert_eq!(draft.password.as_deref(), Some("hunter2"));
    assert_eq!(*miner, "xmrig-2".parse().ok());
}

#[tokio::test]
async fn a_profile_written_inline_is_started_as_written() {
    let node = Memory::default();
    let started = ask(&node, "POST", "/remote/rig-alpha/start", Some(json!({"profile": monero()}))).await;
    assert_eq!(started.status, StatusCode::OK);
    assert!(matches!(&node.commands()[0].1, MinerCommand::Start { profile: ProfileChoice::Inline(_), .. }));
}

#[tokio::test]
async fn a_profile_written_inline_is_checked_before_a_rig_is_asked() {
    let node = Memory::default();
    for (field, value) in [("threads", json!(4097)), ("pools", json!([])), ("wallet", json!(""))] {
        let mut profile = monero();
        profile[field] = value;
        let refused = ask(&node, "POST", "/remote/rig-alpha/start", Some(json!({"profile": profile}))).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(refused.body["errors"][0]["pointer"], format!("#/profile/{field}"));
    }
    assert!(node.commands().is_empty());
}

#[tokio::test]
async fn stop_means_the_only_one_a_named_one_or_all() {
    let node = Memory::default();
    for (body, choice) in [
        (None, MinerChoice::Only),
        (Some(json!({})), MinerChoice::Only),
        (Some(json!({"miner": "xmrig-1"})), MinerChoice::Named("xmrig-1".parse().unwrap())),
        (Some(json!({"all": true})), MinerChoice::All),
    ] {
        assert_eq!(ask(&node, "POST", "/remote/rig-alpha/stop", body).await.status, StatusCode::OK);
        assert_eq!(node.commands().pop().unwrap().1, MinerCommand::Stop(choice));
    }
}

#[tokio::test]
async fn a_miner_is_restarted_by_name_or_as_the_only_one() {
    let node = Memory::default();
    ask(&node, "POST", "/remote/rig-alpha/restart", None).await;
    ask(&node, "POST", "/remote/rig-alpha/restart", Some(json!({"miner": "xmrig-1"}))).await;
    let told: Vec<_> = node.commands().into_iter().map(|(_, command)| command).collect();
    assert_eq!(told, [MinerCommand::Restart(None), MinerCommand::Restart("xmrig-1".parse().ok())]);
}

#[tokio::test]
async fn a_profile_is_deployed_by_name() {
    let node = Memory::default();
    ask(&node, "POST", "/profiles", Some(monero())).await;
    let deployed = ask(&node, "POST", "/remote/rig-alpha/deploy", Some(json!({"profile": "monero"}))).await;
    assert_eq!(deployed.body, json!({"rig": "rig-alpha", "profile": "monero", "changed": true, "others": []}));
}

#[tokio::test]
async fn what_a_rig_has_stored_is_listed_and_taken_back_by_name() {
    let node = Memory::default();
    ask(&node, "POST", "/profiles", Some(monero())).await;
    let stored = ask(&node, "GET", "/remote/rig-alpha/profiles", None).await.body;
    assert_eq!(stored[0]["name"], "monero");
    assert!(stored[0]["pools"][0].is_string(), "{stored}");
    for (name, changed) in [("monero", true), ("monero", false)] {
        let taken = ask(&node, "POST", "/remote/rig-alpha/undeploy", Some(json!({ "profile": name }))).await;
        let told = json!({"rig": "rig-alpha", "profile": name, "changed": changed, "others": []});
        assert_eq!(taken.body, told);
    }
}

#[tokio::test]
async fn console_lines_come_in_pages() {
    let node = Memory::default();
    let page = ask(&node, "GET", "/remote/rig-alpha/logs?lines=2", None).await;
    assert_eq!(page.body["lines"][0]["text"], "line 4");
    let page = ask(&node, "GET", "/remote/rig-alpha/logs/xmrig-1?after=4&wait=30", None).await;
    assert_eq!(page.body["lines"], json!([{"number": 5, "text": "line 5"}]));
}

#[tokio::test]
async fn a_password_goes_in_and_never_comes_out() {
    let node = Memory::default();
    let added = ask(&node, "POST", "/profiles", Some(monero())).await;
    assert_eq!(added.status, StatusCode::CREATED);
    assert_eq!(added.headers["location"], "/api/v1/mining/profiles/monero");
    let listed = ask(&node, "GET", "/profiles", None).await;
    let shown = ask(&node, "GET", "/profiles/monero", None).await;
    let replaced = ask(&node, "PUT", "/profiles/monero", Some(shown.body.clone())).await;
    for body in [&added.body, &listed.body, &shown.body, &replaced.body] {
        assert!(!body.to_string().contains("hunter"), "{body}");
    }
    assert_eq!(shown.body["password"], "********");
    let stored = node.stored("monero").unwrap();
    assert_eq!(stored.password.as_deref(), Some("hunter2"), "the placeholder keeps it");
    assert_eq!(stored.pools[0].password.as_deref(), Some("hunter3"), "and the pool's");
}

#[tokio::test]
async fn each_of_two_pools_at_one_address_keeps_its_own_password() {
    let node = Memory::default();
    let pool = |wallet: &str, password: &str| json!({"url": "pool.example:1", "wallet": wallet, "password": password});
    let with = |pools: Value| {
        let mut body = monero();
        body["pools"] = pools;
        body
    };
    let kept = || -> Vec<_> {
        let stored = node.stored("monero").unwrap();
        stored.pools.iter().map(|pool| pool.password.clone().unwrap()).collect()
    };
    ask(&node, "POST", "/profiles", Some(with(json!([pool("one", "a"), pool("two", "b")])))).await;
    let mut shown = ask(&node, "GET", "/profiles/monero", None).await.body;
    shown["algorithm"] = json!("rx/wow");
    assert_eq!(ask(&node, "PUT", "/profiles/monero", Some(shown)).await.status, StatusCode::OK);
    assert_eq!(kept(), ["a", "b"]);
    let turned = with(json!([pool("two", "********"), pool("one", "********")]));
    assert_eq!(ask(&node, "PUT", "/profiles/monero", Some(turned)).await.status, StatusCode::OK);
    assert_eq!(kept(), ["b", "a"]);
    let unclear = ask(&node, "PUT", "/profiles/monero", Some(with(json!([pool("three", "********")])))).await;
    assert_eq!((unclear.status, kept()), (StatusCode::UNPROCESSABLE_ENTITY, vec!["b".to_owned(), "a".to_owned()]));
}

#[tokio::test]
async fn a_profile_is_put_without_its_name_and_forgotten() {
    let node = Memory::default();
    let mut body = monero();
    body.as_object_mut().unwrap().remove("name");
    for status in [StatusCode::CREATED, StatusCode::OK] {
        assert_eq!(ask(&node, "PUT", "/profiles/monero", Some(body.clone())).await.status, status);
    }
    let removed = ask(&node, "DELETE", "/profiles/monero", None).await;
    assert_eq!((removed.status, removed.body), (StatusCode::NO_CONTENT, Value::Null));
    assert_eq!(ask(&node, "DELETE", "/profiles/monero", None).await.body["code"], "unknown-profile");
}

#[tokio::test]
async fn a_rig_is_heard_anew_after_a_command_that_may_have_changed_it() {
    let node = Memory::default();
    node.register(peer(9, "broken-9"));
    let start = || Some(json!({ "profile": monero() }));
    for (rig, path, body, heard) in [
        ("rig-alpha", "start", start(), 1),
        ("broken-9", "start", start(), 2),
        ("broken-9", "restart", None, 3),
        ("rig-alpha", "restart", Some(json!({ "miner": "unknown-1" })), 3),
        ("rig-beta", "restart", None, 3),
    ] {
        let answer = ask(&node, "POST", &format!("/remote/{rig}/{path}"), body).await;
        assert_eq!(node.heard(), heard, "{rig} {path}: {}", answer.body);
    }
}
