//! Who gets in over TCP: every rule, and that it holds on every path.

use axum::http::{StatusCode, header};
use serde_json::json;
use tower::ServiceExt;

use super::door::{Door, HOST, Knock, knock};
use super::refusals::assert_problem;
use crate::Code;
use crate::memory::Memory;

/// Every route there is, by method and path.
pub(super) const ROUTES: &[(&str, &str)] = &[
    ("GET", "/node/info"),
    ("POST", "/node/pairing-code"),
    ("GET", "/peers"),
    ("POST", "/peers"),
    ("GET", "/peers/pending"),
    ("DELETE", "/peers/pending"),
    ("POST", "/peers/pending/words/approve"),
    ("POST", "/peers/pending/words/deny"),
    ("GET", "/peers/rig-alpha"),
    ("DELETE", "/peers/rig-alpha"),
    ("PATCH", "/peers/rig-alpha"),
    ("POST", "/peers/rig-alpha/ping"),
    ("GET", "/remote/stats"),
    ("GET", "/remote/rig-alpha/stats"),
    ("POST", "/remote/rig-alpha/start"),
    ("POST", "/remote/rig-alpha/stop"),
    ("POST", "/remote/rig-alpha/restart"),
    ("POST", "/remote/rig-alpha/deploy"),
    ("POST", "/remote/rig-alpha/undeploy"),
    ("GET", "/remote/rig-alpha/profiles"),
    ("GET", "/remote/rig-alpha/logs"),
    ("GET", "/remote/rig-alpha/logs/xmrig-1"),
    ("GET", "/profiles"),
    ("POST", "/profiles"),
    ("GET", "/profiles/monero"),
    ("PUT", "/profiles/monero"),
    ("DELETE", "/profiles/monero"),
    ("GET", "/access"),
    ("PUT", "/access/password"),
    ("DELETE", "/access/sessions/x"),
    ("POST", "/access/tokens"),
    ("DELETE", "/access/tokens/x"),
    ("POST", "/access/links"),
    ("GET", "/activity"),
    ("GET", "/history"),
    ("GET", "/history/rig-alpha"),
    ("GET", "/metrics"),
    ("GET", "/events"),
    ("DELETE", "/session"),
    ("GET", "/nothing"),
    ("PATCH", "/peers"),
];

#[tokio::test]
async fn without_a_credential_nothing_is_served_but_health_and_the_way_in() {
    let door = Door::new();
    for (method, path) in ROUTES {
        let answer = door.ask(knock(method, path).page()).await;
        assert_problem(&answer, Code::SignInNeeded);
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    for path in ["/health", "/ready", "/session"] {
        assert_eq!(door.ask(knock("GET", path)).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(door.ask(knock("GET", "").outside("/")).await.status, StatusCode::OK);
    assert_problem(&door.ask(knock("GET", "").outside("/nothing")).await, Code::NotFound);
    assert_problem(&door.ask(knock("POST", "").outside("/")).await, Code::MethodNotAllowed);
    assert!(door.node.commands().is_empty() && door.node.recorded().is_empty());
}

#[tokio::test]
async fn a_request_that_names_no_host_or_two_is_no_request() {
    let door = Door::new();
    for hosts in [vec![], vec![HOST, "evil.example"]] {
        let mut request = knock("GET", "/health").build();
        request.headers_mut().remove(header::HOST);
        for host in hosts {
            request.headers_mut().append(header::HOST, host.parse().unwrap());
        }
        let answer = door.web.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused_whatever_is_asked() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    for host in ["evil.example", "evil.example:9090", "127.0.0.1.evil.example", ""] {
        for knock in [knock("GET", "/peers"), knock("GET", "/health"), knock("GET", "").outside("/")] {
            let answer = door.ask(knock.cookie(&cookie).header("host", host)).await;
            assert_problem(&answer, Code::Misdirected);
            assert_eq!(answer.status.as_u16(), 421);
        }
    }
    for host in ["localhost:9090", "192.168.1.5", "[::1]:9090", "desk", "DESK.local:80"] {
        let answer = door.ask(knock("GET", "/peers").cookie(&cookie).header("host", host)).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn only_this_page_may_act_with_a_cookie() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let act = || knock("POST", "/remote/rig-alpha/stop").cookie(&cookie);
    for refused in [
        act(),
        act().header("sec-fetch-site", "cross-site"),
        act().header("sec-fetch-site", "same-site"),
        act().header("sec-fetch-site", "none"),
        act().header("sec-fetch-site", "cross-site").header("origin", &format!("http://{HOST}")),
        act().header("origin", "http://evil.example"),
        act().header("origin", "http://127.0.0.1:3000"),
        act().header("origin", "null"),
        act().header("origin", HOST),
        // Cookies come along from other ports of this machine.
        knock("GET", "/remote/stats").cookie(&cookie).header("sec-fetch-site", "same-site"),
        knock("GET", "/events").cookie(&cookie).header("origin", "http://127.0.0.1:3000"),
    ] {
        assert_problem(&door.ask(refused).await, Code::CrossOrigin);
    }
    assert!(door.node.commands().is_empty());
    for taken in [act().page(), act().header("origin", &format!("http://{HOST}"))] {
        assert_eq!(door.ask(taken).await.status, StatusCode::OK);
    }
    let typed = knock("GET", "/peers").cookie(&cookie).header("sec-fetch-site", "none");
    assert_eq!(door.ask(typed).await.status, StatusCode::OK);
}

#[tokio::test]
async fn signing_in_from_another_page_is_refused_too() {
    let door = Door::new();
    let link = door.link();
    let sign_in = || knock("POST", "/session").json(&json!({ "link": link }));
    assert_problem(&door.ask(sign_in()).await, Code::CrossOrigin);
    assert_problem(&door.ask(sign_in().header("origin", "http://evil.example")).await, Code::CrossOrigin);
    assert_eq!(door.ask(sign_in().page()).await.status, StatusCode::OK, "the link was not used up");
}

#[tokio::test]
async fn a_form_cannot_post() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"] {
        let form = knock("POST", "/remote/rig-alpha/stop").page().cookie(&cookie).header("content-type", kind);
        assert_problem(&door.ask(form).await, Code::UnsupportedMediaType);
    }
}

#[tokio::test]
async fn a_token_may_do_what_its_scope_says_and_needs_no_origin() {
    let door = Door::new();
    let (read, control, admin) = (door.token("read").await, door.token("control").await, door.token("admin").await);
    let stop = || knock("POST", "/remote/rig-alpha/stop");
    let remove = || knock("DELETE", "/peers/rig-alpha");
    assert_eq!(door.ask(knock("GET", "/remote/stats").token(&read)).await.status, StatusCode::OK);
    for (knock, token) in [
        (stop(), &read),
        (knock("GET", "/access"), &read),
        (knock("GET", "/access"), &control),
        (remove(), &control),
        (knock("POST", "/node/pairing-code"), &control),
        (knock("PUT", "/access/password").json(&json!({"password": "long enough to be"})), &control),
    ] {
        assert_problem(&door.ask(knock.token(token)).await, Code::ScopeTooSmall);
    }
    assert_eq!(door.ask(stop().token(&control)).await.status, StatusCode::OK);
    assert_eq!(door.ask(knock("GET", "/access").token(&admin)).await.status, StatusCode::OK);
    assert_eq!(door.ask(remove().token(&admin)).await.status, StatusCode::OK);
    let used = door.ask(knock("GET", "/access").token(&admin)).await;
    assert!(used.body["tokens"].as_array().unwrap().iter().all(|token| token["last_used"].is_u64()), "{}", used.body);
    assert!(!used.body.to_string().contains(read.splitn(3, '_').nth(2).unwrap()), "no secret comes out");
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_no_cookie_makes_up_for_it() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let token = door.token("admin").await;
    let mut other = token.clone();
    other.replace_range(other.len() - 1.., if token.ends_with('A') { "B" } else { "A" });
    for bad in [&other, "mc_", "mc_00000000_", "", &token[..token.len() - 1], &format!("{token}x")] {
        let answer = door.ask(knock("GET", "/peers").token(bad).cookie(&cookie)).await;
        let hint = assert_problem(&answer, Code::SignInNeeded).hint;
        assert!(hint.contains("`miner-ctrl token add`"), "a script needs no link: {hint}");
    }
    let basic = knock("GET", "/peers").header("authorization", "Basic YTpi").cookie(&cookie);
    assert_problem(&door.ask(basic).await, Code::SignInNeeded);
}

#[tokio::test]
async fn a_token_that_was_removed_is_worth_nothing() {
    let door = Door::new();
    let token = door.token("admin").await;
    let id = token.split('_').nth(1).unwrap().to_owned();
    let remove = |id: &str| knock("DELETE", &format!("/access/tokens/{id}"));
    assert_eq!(door.local(remove(&id)).await.status, StatusCode::NO_CONTENT);
    assert_problem(&door.ask(knock("GET", "/peers").token(&token)).await, Code::SignInNeeded);
    assert_problem(&door.local(remove(&id)).await, Code::UnknownCredential);
}

#[tokio::test]
async fn who_may_only_look_does_not_see_the_pairing_code() {
    let node = Memory::default();
    node.show_pairing_code();
    let door = Door::over(node);
    let (read, admin) = (door.token("read").await, door.token("admin").await);
    let info = |token: &str| knock("GET", "/node/info").token(token);
    assert!(door.ask(info(&read)).await.body.get("pairing_code").is_none());
    assert_eq!(door.ask(info(&admin)).await.body["pairing_code"], "7KQ2-M9XD");
}

#[tokio::test]
async fn links_are_made_on_the_machine_itself_alone() {
    let door = Door::new();
    let token = door.token("admin").await;
    assert_problem(&door.ask(knock("POST", "/access/links").token(&token)).await, Code::NotFound);
    let made = door.local(knock("POST", "/access/links")).await;
    assert_eq!(made.body["fragment"].as_str().unwrap().len(), "#/link/".len() + 43);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_asks_too_often_is_told_when_to_come_back() {
    let door = Door::new();
    let (token, other) = (door.token("read").await, door.token("admin").await);
    let ask = |token: &str| -> Knock { knock("GET", "/peers").token(token) };
    let mut refused = None;
    for _ in 0..200 {
        let answer = door.ask(ask(&token)).await;
        if answer.status != StatusCode::OK {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("there is an end");
    assert_problem(&refused, Code::TooManyRequests);
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    assert_eq!(door.ask(ask(&other)).await.status, StatusCode::OK, "others are not held up");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(door.ask(ask(&token)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_node_that_cannot_read_its_book_lets_nobody_in() {
    let door = Door::new();
    door.node.fail_with(Some(crate::NodeError::Internal("disk".into())));
    let answer = door.ask(knock("GET", "/peers").token("mc_00000000_x")).await;
    assert_problem(&answer, Code::Internal);
}
