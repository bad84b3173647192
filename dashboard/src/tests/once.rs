//! Writes that are sent twice, and lists in parts.

use axum::http::StatusCode;
use serde_json::json;
use tower::ServiceExt;

use super::door::{Door, HOST, Knock, knock};
use super::refusals::assert_problem;
use super::routes::monero;
use crate::Code;
use crate::memory::peer;
use crate::node::NodeError;

fn add_monero(key: &str) -> Knock {
    knock("POST", "/profiles").json(&monero()).header("idempotency-key", key)
}

#[tokio::test]
async fn the_same_request_with_the_same_key_is_done_once() {
    let door = Door::new();
    let first = door.local(add_monero("k1")).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let second = door.local(add_monero("k1")).await;
    assert_eq!((second.status, &second.body), (StatusCode::CREATED, &first.body));
    assert_eq!(second.headers["location"], first.headers["location"]);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_ne!(second.headers["x-request-id"], first.headers["x-request-id"]);
    assert_eq!(door.node.recorded().len(), 1, "what was not done again is not written again");
    assert_problem(&door.local(add_monero("k2")).await, Code::Conflict);
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_caller() {
    let door = Door::new();
    let token = door.token("control").await;
    let stop = |path: &str| knock("POST", path).header("idempotency-key", "k");
    assert_eq!(door.local(stop("/remote/rig-alpha/stop")).await.status, StatusCode::OK);
    assert_problem(&door.local(stop("/remote/rig-beta/stop")).await, Code::KeyReused);
    assert_problem(&door.local(stop("/remote/rig-alpha/stop").json(&json!({"all": true}))).await, Code::KeyReused);
    let other = door.ask(stop("/remote/rig-alpha/stop").token(&token)).await;
    assert_eq!((other.status, other.headers.get("idempotency-replayed")), (StatusCode::OK, None));
}

#[tokio::test]
async fn a_request_is_the_same_over_another_version_of_http() {
    let door = Door::new();
    let token = door.token("control").await;
    assert_eq!(door.ask(add_monero("k").token(&token)).await.status, StatusCode::CREATED);
    let mut over_http2 = add_monero("k").token(&token).build();
    *over_http2.uri_mut() = format!("http://{HOST}{}", over_http2.uri()).parse().unwrap();
    let answer = door.web.clone().oneshot(over_http2).await.unwrap();
    assert_eq!(answer.headers()["idempotency-replayed"], "true");
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let door = Door::new();
    let stop = || knock("POST", "/remote/rig-new/stop").header("idempotency-key", "k");
    assert_problem(&door.local(stop()).await, Code::UnknownPeer);
    door.node.register(peer(9, "rig-new"));
    assert_eq!(door.local(stop()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn that_the_outcome_is_not_known_is_kept_for_it_may_have_been_done() {
    let door = Door::new();
    let restart = || knock("POST", "/remote/rig-alpha/restart").header("idempotency-key", "k");
    door.node.fail_with(Some(NodeError::Timeout { peer: "rig-alpha".parse().unwrap(), seconds: 30 }));
    let first = door.local(restart()).await;
    assert_problem(&first, Code::Timeout);
    door.node.fail_with(None);
    let second = door.local(restart()).await;
    assert_problem(&second, Code::Timeout);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_ne!(second.headers["x-request-id"], first.headers["x-request-id"]);
    let anew = knock("POST", "/remote/rig-alpha/restart").header("idempotency-key", "another");
    assert_eq!(door.local(anew).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_bad_key_and_one_where_answers_are_secret_are_refused() {
    let door = Door::new();
    for bad in ["", "a b", &"x".repeat(129)] {
        assert_problem(&door.local(add_monero(bad)).await, Code::BadRequest);
    }
    let token = json!({"name": "t", "scope": "read"});
    let asked = knock("POST", "/access/tokens").json(&token).header("idempotency-key", "k");
    assert_problem(&door.local(asked).await, Code::BadRequest);
    assert!(door.node.recorded().iter().all(|entry| entry.result == "bad-request"));
    let nothing = door.local(knock("TRACE", "/profiles").header("idempotency-key", "k")).await;
    assert_problem(&nothing, Code::MethodNotAllowed);
    let read = door.local(knock("GET", "/peers").header("idempotency-key", "k")).await;
    assert_eq!(read.status, StatusCode::OK);
}

#[tokio::test]
async fn a_list_comes_in_parts_by_name() {
    let door = Door::new();
    for (number, name) in [(4, "rig-d"), (2, "rig-b"), (3, "rig-c")] {
        door.node.register(peer(number, name));
    }
    let names = |body: &serde_json::Value| {
        body.as_array().unwrap().iter().map(|peer| peer["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = door.local(knock("GET", "/peers?limit=3")).await;
    assert_eq!(names(&first.body), ["rig-alpha", "rig-b", "rig-c"]);
    assert_eq!(first.headers["x-total-count"], "4");
    assert_eq!(first.headers["link"], "</api/v1/mining/peers?limit=3&after=rig-c>; rel=\"next\"");
    let last = door.local(knock("GET", "/peers?limit=3&after=rig-c")).await;
    assert_eq!((names(&last.body), last.headers.get("link")), (vec!["rig-d".to_owned()], None));
    assert_eq!(names(&door.local(knock("GET", "/peers")).await.body).len(), 4);
    for bad in ["limit=0", "limit=1001"] {
        assert_problem(&door.local(knock("GET", &format!("/profiles?{bad}"))).await, Code::Invalid);
    }
}
