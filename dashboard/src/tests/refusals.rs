//! Every way to be refused, and that each is a problem document.

use std::collections::HashSet;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::smsg::LinkNonce;
use miner_ctrl_protocol::{Permission, Refusal};
use serde_json::{Value, json};

use super::ask::{Answer, ask, send};
use super::routes::monero;
use crate::memory::Memory;
use crate::node::NodeError;
use crate::{API, Code, ProblemDetails};

/// The answer is a whole problem document of this code.
#[track_caller]
pub(super) fn assert_problem(answer: &Answer, code: Code) -> ProblemDetails {
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{}", answer.body);
    let problem: ProblemDetails = serde_json::from_value(answer.body.clone()).unwrap();
    assert_eq!(problem.code, code.as_str(), "{problem:?}");
    assert_eq!(problem.type_, format!("urn:miner-ctrl:problem:{}", code.as_str()));
    assert_eq!((answer.status, problem.status), (code.status(), code.status().as_u16()));
    assert!(!problem.title.is_empty() && !problem.detail.is_empty() && !problem.hint.is_empty());
    assert_eq!(answer.headers["x-request-id"], problem.request_id.as_str());
    problem
}

fn refusals() -> Vec<(Refusal, Code)> {
    let miners = vec!["xmrig-1".parse().unwrap()];
    vec![
        (Refusal::AmbiguousMiner { miners: miners.clone() }, Code::AmbiguousMiner),
        (Refusal::Busy { retry_after_ms: 1500 }, Code::Busy),
        (Refusal::Conflict { why: "it is updating".into() }, Code::Conflict),
        (Refusal::Internal { id: 7, why: None }, Code::RigInternal),
        (Refusal::Invalid(Invalid::new("pools[0].url", "has no port")), Code::Invalid),
        (Refusal::MinerUnavailable { why: "xmrig was not found".into() }, Code::MinerUnavailable),
        (Refusal::NotAllowed { needs: Permission::Control, granted: Permission::View }, Code::NotAllowed),
        (Refusal::NotRegistered, Code::NotRegistered),
        (Refusal::PolicyForbids { rule: "wallets does not list x".into() }, Code::PolicyForbids),
        (Refusal::Replayed, Code::Replayed),
        (Refusal::RunsNoMiner, Code::RunsNoMiner),
        (Refusal::Stale { nonce: serde_json::from_value::<LinkNonce>(nonce()).unwrap() }, Code::Stale),
        (Refusal::TooLarge { limit: 1 }, Code::TooLarge),
        (Refusal::UnknownMiner { miner: "x".into(), miners }, Code::UnknownMiner),
        (Refusal::UnknownProfile { name: "x".parse().unwrap() }, Code::UnknownRigProfile),
        (Refusal::Unreadable, Code::Unreadable),
        (Refusal::Unsupported, Code::Unsupported),
    ]
}

/// A nonce in whichever form it has in JSON.
fn nonce() -> Value {
    json!(vec![0; 16])
}

fn errors() -> Vec<(NodeError, Code)> {
    let peer = || "rig-alpha".parse().unwrap();
    vec![
        (NodeError::AmbiguousPeer { asked: "rig".into(), candidates: vec!["rig-a".into()] }, Code::AmbiguousPeer),
        (NodeError::BadAnswer { peer: peer() }, Code::BadAnswer),
        (NodeError::Conflict("there is one".into()), Code::Conflict),
        (NodeError::Internal("disk full".into()), Code::Internal),
        (NodeError::Invalid(Invalid::new("address", "has no host")), Code::Invalid),
        (NodeError::NobodyToPair { why: "nobody".into(), hint: "look again".into() }, Code::Unreachable),
        (NodeError::PairingFailed { why: "wrong code".into(), hint: "look again".into() }, Code::PairingFailed),
        (NodeError::ShuttingDown, Code::ShuttingDown),
        (NodeError::Timeout { peer: peer(), seconds: 10 }, Code::Timeout),
        (NodeError::UnknownPending("x".into()), Code::UnknownPairingRequest),
        (NodeError::unknown_peer("x"), Code::UnknownPeer),
        (NodeError::UnknownProfile("x".parse().unwrap()), Code::UnknownProfile),
        (NodeError::Unreachable { peer: "rig-alpha".into(), why: Some("refused".into()) }, Code::Unreachable),
    ]
}

#[tokio::test]
async fn every_refusal_of_a_node_or_a_rig_has_its_code_and_status() {
    let node = Memory::default();
    let mut all = errors();
    for (refusal, code) in refusals() {
        all.push((NodeError::RefusedHere(refusal.clone()), code));
        all.push((NodeError::Refused { peer: "rig-alpha".parse().unwrap(), refusal }, code));
    }
    for (error, code) in all {
        node.fail_with(Some(error));
        let (method, path, body) = match code {
            Code::PairingFailed => ("POST", "/peers", Some(json!({"address": "192.0.2.3"}))),
            Code::UnknownPairingRequest => ("POST", "/peers/pending/x/deny", None),
            Code::UnknownProfile => ("GET", "/profiles/x", None),
            Code::UnknownRigProfile => ("POST", "/remote/rig-alpha/start", Some(json!({"profile": "x"}))),
            _ => ("POST", "/remote/rig-alpha/stop", None),
        };
        assert_problem(&ask(&node, method, path, body).await, code);
    }
}

#[tokio::test]
async fn every_code_is_reached_by_some_refusal() {
    let from_nodes = errors().into_iter().map(|(_, code)| code).chain(refusals().into_iter().map(|(_, code)| code));
    let from_http = [
        Code::BadRequest,
        Code::BodyTooLarge,
        Code::MethodNotAllowed,
        Code::NotFound,
        Code::NotReady,
        Code::UnsupportedMediaType,
    ];
    // Each in the tests of the door: guard, security, session, events, jobs, once.
    let at_the_door = [
        Code::BodyTooSlow,
        Code::CrossOrigin,
        Code::KeyInUse,
        Code::KeyReused,
        Code::Misdirected,
        Code::ScopeTooSmall,
        Code::SignInNeeded,
        Code::TooManyRequests,
        Code::TooManyStreams,
        Code::TooManyTries,
        Code::UnknownCredential,
        Code::UnknownJob,
        Code::WrongCredentials,
    ];
    let reached: HashSet<_> = from_nodes.chain(from_http).chain(at_the_door).collect();
    assert_eq!(reached, Code::ALL.iter().copied().collect());
}

#[tokio::test]
async fn every_route_that_asks_the_node_passes_its_refusal_on() {
    let node = Memory::default();
    node.fail_with(Some(NodeError::ShuttingDown));
    let profile = || Some(json!({"profile": "monero"}));
    for (method, path, body) in [
        ("POST", "/node/pairing-code", None),
        ("POST", "/peers", Some(json!({"address": "192.0.2.3"}))),
        ("GET", "/peers/rig-alpha", None),
        ("DELETE", "/peers/rig-alpha", None),
        ("POST", "/peers/rig-alpha/ping", None),
        ("POST", "/peers/pending/words/approve", None),
        ("POST", "/peers/pending/words/deny", None),
        ("GET", "/remote/rig-alpha/stats", None),
        ("POST", "/remote/rig-alpha/start", profile()),
        ("POST", "/remote/rig-alpha/stop", None),
        ("POST", "/remote/rig-alpha/restart", None),
        ("POST", "/remote/rig-alpha/deploy", profile()),
        ("POST", "/remote/rig-alpha/undeploy", profile()),
        ("GET", "/remote/rig-alpha/profiles", None),
        ("GET", "/remote/rig-alpha/logs", None),
        ("GET", "/remote/rig-alpha/logs/xmrig-1", None),
        ("GET", "/profiles", None),
        ("POST", "/profiles", Some(monero())),
        ("GET", "/profiles/monero", None),
        ("PUT", "/profiles/monero", Some(monero())),
        ("DELETE", "/profiles/monero", None),
    ] {
        assert_problem(&ask(&node, method, path, body).await, Code::ShuttingDown);
    }
}

#[tokio::test]
async fn a_busy_rig_says_when_to_try_again() {
    let node = Memory::default();
    let refusal = Refusal::Busy { retry_after_ms: 1500 };
    node.fail_with(Some(NodeError::Refused { peer: "rig-alpha".parse().unwrap(), refusal }));
    let answer = ask(&node, "POST", "/remote/rig-alpha/stop", None).await;
    assert_eq!(answer.headers[header::RETRY_AFTER], "2");
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_its_name() {
    let node = Memory::default();
    let mut misspelt = monero();
    misspelt["walet"] = json!("x");
    let mut pool = monero();
    pool["pools"][0]["pasword"] = json!("x");
    for (method, path, body, pointer) in [
        ("POST", "/peers", json!({"address": "a", "adress": 1}), "#/adress"),
        ("POST", "/remote/rig-alpha/start", json!({"profile": "p", "mine": "x"}), "#/mine"),
        ("POST", "/remote/rig-alpha/start", json!({"profile": misspelt}), "#/profile/walet"),
        ("POST", "/remote/rig-alpha/stop", json!({"every": true}), "#/every"),
        ("POST", "/remote/rig-alpha/restart", json!({"x": true}), "#/x"),
        ("POST", "/remote/rig-alpha/deploy", json!({"profile": "p", "x": 1}), "#/x"),
        ("POST", "/remote/rig-alpha/undeploy", json!({"profile": "p", "x": 1}), "#/x"),
        ("POST", "/peers/pending/w/approve", json!({"x": 1}), "#/x"),
        ("POST", "/profiles", misspelt.clone(), "#/walet"),
        ("PUT", "/profiles/monero", pool, "#/pools/0/pasword"),
    ] {
        let problem = assert_problem(&ask(&node, method, path, Some(body)).await, Code::Invalid);
        assert_eq!(problem.errors[0].pointer, pointer, "{problem:?}");
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_taken_is_named() {
    let node = Memory::default();
    let with = |key: &str, value: Value| {
        let mut profile = monero();
        profile[key] = value;
        profile
    };
    for (method, path, body, pointer) in [
        ("POST", "/peers", json!({}), "#/address"),
        ("POST", "/peers", json!({"address": "a", "name": "no name"}), "#/name"),
        ("POST", "/peers", json!({"address": "a", "permission": "all"}), "#/permission"),
        ("POST", "/remote/rig-alpha/start", json!({}), "#/profile"),
        ("POST", "/remote/rig-alpha/start", json!({"profile": "../x"}), "#/profile"),
        ("POST", "/remote/rig-alpha/start", json!({"profile": 7}), "#/profile"),
        ("POST", "/remote/rig-alpha/start", json!({"profile": monero(), "from": "here"}), "#/from"),
        (
            "POST",
            "/remote/rig-alpha/start",
            json!({"profile": with("password", json!("********"))}),
            "#/profile/password",
        ),
        ("POST", "/remote/rig-alpha/stop", json!({"miner": "xmrig-1", "all": true}), "#/all"),
        ("POST", "/profiles", with("wallet", json!("")), "#/wallet"),
        ("POST", "/profiles", with("pools", json!([{"url": "x:1", "tls": 1}])), "#/pools/0/tls"),
        ("POST", "/profiles", with("password", json!("********")), "#/password"),
        ("PUT", "/profiles/monero", with("name", json!("other")), "#/name"),
        ("PUT", "/profiles/monero", with("password", json!("********")), "#/password"),
        ("PUT", "/profiles/..%2Fx", monero(), "#/name"),
    ] {
        let problem = assert_problem(&ask(&node, method, path, Some(body.clone())).await, Code::Invalid);
        assert_eq!(problem.errors.first().map(|error| error.pointer.as_str()), Some(pointer), "{body} {problem:?}");
    }
}

#[tokio::test]
async fn a_stored_password_does_not_follow_to_another_pool() {
    let node = Memory::default();
    ask(&node, "POST", "/profiles", Some(monero())).await;
    let mut moved = ask(&node, "GET", "/profiles/monero", None).await.body;
    moved["pools"][0]["url"] = json!("evil.example:3333");
    let problem = assert_problem(&ask(&node, "PUT", "/profiles/monero", Some(moved)).await, Code::Invalid);
    assert_eq!(problem.errors[0].pointer, "#/pools/0/password");
}

#[tokio::test]
async fn a_query_outside_its_bounds_is_refused() {
    let node = Memory::default();
    for (query, code) in [
        ("lines=0", Code::Invalid),
        ("lines=1001", Code::Invalid),
        ("wait=31", Code::Invalid),
        ("lines=many", Code::BadRequest),
        ("line=1", Code::BadRequest),
        ("after=-1", Code::BadRequest),
    ] {
        assert_problem(&ask(&node, "GET", &format!("/remote/rig-alpha/logs?{query}"), None).await, code);
    }
    assert_problem(&ask(&node, "GET", "/remote/rig-alpha/logs/a%20b", None).await, Code::Invalid);
    assert_problem(&ask(&node, "GET", "/peers/%ff", None).await, Code::BadRequest);
}

#[tokio::test]
async fn what_the_router_itself_refuses_is_a_problem_too() {
    let node = Memory::default();
    assert_problem(&ask(&node, "GET", "/nothing", None).await, Code::NotFound);
    let outside = Request::builder().uri("/").body(Body::empty()).unwrap();
    assert_problem(&send(&node, outside).await, Code::NotFound);
    let answer = ask(&node, "PATCH", "/peers", None).await;
    assert_problem(&answer, Code::MethodNotAllowed);
    assert_eq!(answer.headers[header::ALLOW], "GET,HEAD,POST");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let node = Memory::default();
    let request = |content_type: Option<&str>, body: &str, path: &str| {
        let mut request = Request::builder().method("POST").uri(format!("{API}{path}"));
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let json = Some("application/json; charset=utf-8");
    let form = Some("application/x-www-form-urlencoded");
    let nested = "[".repeat(100_000);
    for (request, code) in [
        (request(None, "{}", "/peers"), Code::UnsupportedMediaType),
        (request(Some("text/plain"), "{}", "/peers"), Code::UnsupportedMediaType),
        (request(form, "", "/peers/rig-alpha/ping"), Code::UnsupportedMediaType),
        (request(form, "", "/node/pairing-code"), Code::UnsupportedMediaType),
        (request(None, "{}", "/remote/rig-alpha/stop"), Code::UnsupportedMediaType),
        (request(json, "{", "/peers"), Code::BadRequest),
        (request(json, "", "/peers"), Code::BadRequest),
        (request(json, r#"["192.0.2.3", null, null, null]"#, "/peers"), Code::BadRequest),
        (request(json, &nested[..1000], "/peers"), Code::BadRequest),
        (request(json, &nested, "/peers"), Code::BodyTooLarge),
        (request(json, &nested, "/remote/rig-alpha/stop"), Code::BodyTooLarge),
        (request(json, &nested, "/profiles"), Code::BadRequest),
        (request(json, &nested.repeat(3), "/profiles"), Code::BodyTooLarge),
    ] {
        assert_problem(&send(&node, request).await, code);
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_without_its_text() {
    let node = Memory::default();
    node.panic_from_now_on();
    let problem = assert_problem(&ask(&node, "GET", "/peers/rig-alpha", None).await, Code::Internal);
    assert!(!problem.detail.contains("told"), "{problem:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_given_up() {
    use tower::ServiceExt;
    let stuck = axum::Router::new()
        .route("/", axum::routing::get(std::future::pending::<StatusCode>))
        .layer(axum::middleware::from_fn(crate::surround::surround));
    let started = tokio::time::Instant::now();
    let answer = stuck.oneshot(Request::builder().uri("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(started.elapsed().as_secs(), crate::REQUEST_TIMEOUT.as_secs());
}
