//! Who did what, with what result.

use axum::http::{StatusCode, header};
use serde_json::json;

use super::door::{Door, knock};
use super::refusals::assert_problem;
use crate::Code;
use crate::records::By;

#[tokio::test]
async fn every_write_is_kept_with_its_actor_and_its_result() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let token = door.token("control").await;
    let id = token.split('_').nth(1).unwrap().to_owned();
    let start = json!({"profile": "monero"});
    door.ask(knock("POST", "/remote/rig-alpha/start").token(&token).json(&start).from([192, 0, 2, 9])).await;
    door.ask(knock("POST", "/remote/nobody/stop").page().cookie(&cookie)).await;
    door.local(knock("DELETE", "/peers/0000000000000001")).await;
    door.local(knock("POST", "/peers").json(&json!({"address": "192.0.2.3"}))).await;
    door.ask(knock("GET", "/peers").page().cookie(&cookie)).await;
    door.ask(knock("POST", "/peers/rig-gamma/ping").page().cookie(&cookie)).await;
    let kept = door.node.recorded();
    let told: Vec<_> = kept
        .iter()
        .map(|entry| (entry.by, entry.action.as_str(), entry.target.as_deref().unwrap_or("-"), entry.result.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (By::Session, "sign-in", "-", "ok"),
            (By::Local, "add-token", "a control token", "ok"),
            (By::Token, "start", "rig-alpha", "ok"),
            (By::Session, "stop", "nobody", "unknown-peer"),
            (By::Local, "remove-peer", "rig-alpha", "ok"),
            (By::Local, "add-peer", "rig-gamma", "ok"),
        ]
    );
    assert_eq!(kept[2].who.as_deref(), Some(id.as_str()));
    assert_eq!(kept[2].from, Some([192, 0, 2, 9].into()));
    assert_eq!(kept[2].detail.as_deref(), Some("profile monero, xmrig-1 (was so already)"));
    assert!(kept.iter().all(|entry| entry.at > 1_600_000_000));
}

#[tokio::test]
async fn a_failure_is_kept_too() {
    let door = Door::new();
    door.node.fail_with(Some(crate::NodeError::Timeout { peer: "rig-alpha".parse().unwrap(), seconds: 30 }));
    door.local(knock("POST", "/peers").json(&json!({"address": "192.0.2.3"}))).await;
    let entry = door.node.recorded().pop().unwrap();
    assert_eq!((entry.target.as_deref(), entry.result.as_str()), (Some("192.0.2.3"), "timeout"));
}

#[tokio::test]
async fn a_rig_is_kept_under_its_name_however_it_was_named() {
    let door = Door::new();
    let answer = door.local(knock("POST", "/remote/0000000000000001/start").json(&json!({"profile": 7}))).await;
    assert_problem(&answer, Code::Invalid);
    let entry = door.node.recorded().pop().unwrap();
    assert_eq!((entry.target.as_deref(), entry.result.as_str()), (Some("rig-alpha"), "invalid"));
}

#[tokio::test]
async fn what_was_granted_is_kept_and_what_it_was_before() {
    let door = Door::new();
    let change = json!({"permission": "view", "name": "barn"});
    let answer = door.local(knock("PATCH", "/peers/rig-alpha").json(&change)).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let entry = door.node.recorded().pop().unwrap();
    assert_eq!(entry.target.as_deref(), Some("barn"));
    assert_eq!(entry.detail.as_deref(), Some("was called rig-alpha; view, was none"));
}

#[tokio::test]
async fn a_token_is_not_signed_out_and_nothing_is_kept_of_it() {
    let door = Door::new();
    let token = door.token("read").await;
    let before = door.node.recorded().len();
    door.ask(knock("DELETE", "/session").token(&token)).await;
    assert_eq!(door.node.recorded().len(), before);
}

#[tokio::test]
async fn entries_come_in_pages_newest_first() {
    let door = Door::new();
    for _ in 0..5 {
        door.local(knock("POST", "/remote/rig-alpha/stop")).await;
    }
    let page = door.local(knock("GET", "/activity?limit=2")).await.body;
    assert_eq!((&page["entries"][0]["id"], &page["next"]), (&json!(5), &json!(4)));
    let last = door.local(knock("GET", "/activity?limit=2&before=2&target=rig-alpha")).await.body;
    assert_eq!((last["entries"].as_array().unwrap().len(), &last["next"]), (1, &json!(null)));
    for bad in ["limit=0", "limit=1001"] {
        assert_problem(&door.local(knock("GET", &format!("/activity?{bad}"))).await, Code::Invalid);
    }
}

#[tokio::test]
async fn entries_come_as_a_table_for_spreadsheets() {
    let door = Door::new();
    door.local(knock("POST", "/remote/rig-alpha/stop")).await;
    let answer = door.local(knock("GET", "/activity?format=csv")).await;
    assert_eq!(
        (answer.status, &answer.headers[header::CONTENT_TYPE]),
        (StatusCode::OK, &"text/csv; charset=utf-8".parse().unwrap())
    );
    let text = answer.body.as_str().unwrap();
    assert!(text.starts_with("id,at,by,who,from,action,target,detail,result\r\n1,"), "{text}");
    assert!(text.ends_with(",local,,,stop,rig-alpha,xmrig-1,ok\r\n"), "{text}");
}

#[tokio::test]
async fn what_was_so_already_is_kept_as_that() {
    let door = Door::new();
    let answer = door.local(knock("POST", "/remote/rig-alpha/undeploy").json(&json!({"profile": "nope"}))).await;
    assert_eq!(answer.body["changed"], false);
    let entry = door.node.recorded().pop().unwrap();
    assert_eq!(entry.detail.as_deref(), Some("profile nope (was so already)"));
}

#[tokio::test]
async fn what_was_refused_is_kept_with_what_was_asked_for() {
    let door = Door::new();
    for (action, asked) in [
        ("deploy", json!({"profile": "monero"})),
        ("undeploy", json!({"profile": "monero"})),
        ("start", json!({"profile": "monero"})),
    ] {
        door.local(knock("POST", &format!("/remote/nobody/{action}")).json(&asked)).await;
        let entry = door.node.recorded().pop().unwrap();
        assert_eq!(
            (entry.result.as_str(), entry.detail.as_deref()),
            ("unknown-peer", Some("profile monero")),
            "{action}"
        );
    }
}

#[tokio::test]
async fn who_waits_for_approval_is_kept_once_it_is_decided() {
    let door = Door::new();
    let add = || door.local(knock("POST", "/peers").json(&json!({"address": "pending.example"})));
    assert_eq!(add().await.status, StatusCode::ACCEPTED);
    assert!(door.node.recorded().is_empty());
    assert_eq!(add().await.status, StatusCode::OK);
    assert_eq!(door.node.recorded().len(), 1);
}

#[tokio::test]
async fn a_table_has_every_entry_unless_fewer_are_asked_for() {
    let door = Door::new();
    for _ in 0..2500 {
        door.gateway.record(&crate::access::Caller::local(), "stop", None, None, "ok").await;
    }
    let lines = async |path: &str| door.local(knock("GET", path)).await.body.as_str().unwrap().lines().count();
    assert_eq!(lines("/activity?format=csv").await, 2501);
    assert_eq!(lines("/activity?format=csv&before=1501").await, 1501);
    assert_eq!(lines("/activity?format=csv&limit=7").await, 8);
}
