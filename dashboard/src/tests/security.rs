//! The gateway's rules, and the tests that show each.
//!
//! 1. A name that is not ours reaches nothing (DNS rebinding): `a_host_that_is_not_ours_is_refused_whatever_is_asked`,
//!    `hosts_are_addresses_localhost_and_names_of_ours`, `http_2_is_spoken_and_guarded_alike`.
//! 2. Only this page acts with a cookie (cross-site form, cross-origin fetch): `only_this_page_may_act_with_a_cookie`,
//!    `signing_in_from_another_page_is_refused_too`, `a_form_cannot_post`, `a_preflight_is_granted_nothing`,
//!    `reading_changes_nothing`.
//! 3. A link signs in once: `a_link_signs_in_once`, `a_link_ends_by_itself_and_the_newest_eight_work`,
//!    `links_are_made_on_the_machine_itself_alone`.
//! 4. A password is kept as argon2id: `a_password_is_known_again_and_another_is_not`, `a_password_has_bounds`,
//!    `a_short_password_is_not_taken`.
//! 5. A session is its cookie, here and as long as it is wanted (missing and stolen cookies):
//!    `without_a_credential_nothing_is_served_but_health_and_the_way_in`, `a_session_is_ended_from_another_one`,
//!    `who_signs_out_is_out`, `a_stolen_cookie_cannot_change_the_password`, `a_cookie_of_another_node_is_worth_nothing`,
//!    `another_services_cookie_of_our_name_does_not_hide_ours`,
//!    `a_browser_signs_in_over_tls_with_a_cookie_that_is_its_own`,
//!    `a_session_slides_while_it_is_used_and_ends_when_it_is_not`, `a_stream_ends_with_its_session`.
//! 6. A token does what its scope says: `a_token_may_do_what_its_scope_says_and_needs_no_origin`,
//!    `every_route_asks_for_the_scope_of_its_kind`, `what_is_not_known_to_need_less_needs_everything`,
//!    `a_wrong_token_is_refused_and_no_cookie_makes_up_for_it`, `a_token_that_was_removed_is_worth_nothing`.
//! 7. Everything has an end (guessing, floods, large and slow requests): `guessing_ends_soon_and_locks_nobody_out`,
//!    `a_credential_that_asks_too_often_is_told_when_to_come_back`, `a_body_that_is_too_large_is_refused`,
//!    `a_large_body_of_nobody_is_not_read`, `a_body_that_comes_slowly_is_given_up`, `a_head_that_never_ends_is_given_up`,
//!    `a_head_that_is_too_large_is_refused`, `a_handshake_that_never_ends_is_given_up`,
//!    `one_address_has_its_share_and_gets_it_back`, `nobody_has_more_streams_than_pages`.
//! 8. Every answer of ours has the headers: `Door::ask` looks at each, `plain_http_is_sent_to_the_same_page_with_tls` at
//!    those before TLS. What hyper itself answers to bytes that are no request has no body at all.
//! 9. Proxies are believed when they are ours: `a_proxy_of_ours_is_believed_about_the_last_hop_alone`,
//!    `nobody_else_is_believed`, `the_clients_address_is_the_connections_own`. What rigs say is text:
//!    `markup_of_a_rig_stays_text`, `text_of_strangers_stays_inside_its_label`.
//! 10. Who acts is written down: `every_write_is_kept_with_its_actor_and_its_result`, `a_failure_is_kept_too`.

use axum::http::{StatusCode, header};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::door::{Door, knock};
use super::guard::ROUTES;
use super::refusals::assert_problem;
use super::serve::{DEADLINE, start};
use crate::{Code, NodeError};

/// What a hostile rig, miner or pool would have a browser run.
const MARKUP: &str = "<img src=x onerror=alert(1)>\"'><script>alert(1)</script>";

#[test]
fn every_test_that_is_named_above_is_there() {
    let files = [
        include_str!("security.rs"),
        include_str!("activity.rs"),
        include_str!("events.rs"),
        include_str!("guard.rs"),
        include_str!("serve.rs"),
        include_str!("session.rs"),
        include_str!("tls.rs"),
        include_str!("../access/client.rs"),
        include_str!("../access/guard.rs"),
        include_str!("../access/password.rs"),
        include_str!("../crowd.rs"),
        include_str!("../routes/metrics.rs"),
    ];
    let rules: Vec<&str> = files[0].lines().take_while(|line| line.starts_with("//!")).collect();
    let rules = rules.join(" ");
    let named: Vec<&str> = rules.split('`').skip(1).step_by(2).filter(|name| !name.contains("::")).collect();
    assert!(named.len() > 40, "{named:?}");
    for name in named {
        assert!(files.iter().any(|file| file.contains(&format!("fn {name}("))), "{name}");
    }
}

#[tokio::test]
async fn a_preflight_is_granted_nothing() {
    let door = Door::new();
    let preflight = knock("OPTIONS", "/remote/rig-alpha/stop")
        .header("origin", "http://evil.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    // The door looks for grants in every answer; there are none.
    let answer = door.ask(preflight).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
}

#[tokio::test]
async fn reading_changes_nothing() {
    let door = Door::new();
    let token = door.token("admin").await;
    let before = (door.node.recorded().len(), door.node.commands().len());
    // The stream of events does not end by itself; what it tells is looked up as the routes do.
    for (_, path) in ROUTES.iter().filter(|(method, path)| ["GET", "POST"].contains(method) && *path != "/events") {
        let answer = door.ask(knock("GET", path).token(&token)).await;
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!((door.node.recorded().len(), door.node.commands().len()), before);
}

#[tokio::test]
async fn every_route_asks_for_the_scope_of_its_kind() {
    let door = Door::new();
    let (read, control) = (door.token("read").await, door.token("control").await);
    for (method, path) in ROUTES.iter().filter(|(_, path)| !["/events", "/session"].contains(path)) {
        let (least, is_read) = (door.ask(knock(method, path).token(&read)).await, *method == "GET");
        let admin_alone = path.starts_with("/access");
        assert_eq!(least.body["code"] == "scope-too-small", !is_read || admin_alone, "{method} {path}");
        let more = door.ask(knock(method, path).token(&control)).await;
        let commands = ["/jobs", "/profiles", "/remote"].iter().any(|noun| path.starts_with(noun));
        let commands = commands || path.ends_with("/ping");
        if !is_read {
            assert_eq!(more.body["code"] == "scope-too-small", !commands, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_cookie_of_another_node_is_worth_nothing() {
    let (ours, theirs) = (Door::new(), Door::new());
    let cookie = theirs.sign_in().await;
    assert_eq!(theirs.ask(knock("GET", "/peers").cookie(&cookie)).await.status, StatusCode::OK);
    assert_problem(&ours.ask(knock("GET", "/peers").cookie(&cookie)).await, Code::SignInNeeded);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let door = Door::new();
    let token = door.token("admin").await;
    let body = |bytes: usize| json!({ "profile": "x".repeat(bytes) });
    for (path, bytes) in [("/remote/rig-alpha/start", 64 * 1024), ("/peers", 64 * 1024), ("/profiles", 256 * 1024)] {
        let answer = door.ask(knock("POST", path).token(&token).json(&body(bytes))).await;
        assert_problem(&answer, Code::BodyTooLarge);
    }
    let link = json!({ "link": "x".repeat(64 * 1024) });
    assert_problem(&door.ask(knock("POST", "/session").page().json(&link)).await, Code::BodyTooLarge);
}

#[tokio::test]
async fn a_large_body_of_nobody_is_not_read() {
    let door = Door::new();
    let (address, _task) = start(&door).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/mining/profiles HTTP/1.1\r\nhost: {address}\r\nsec-fetch-site: same-origin\r\n\
         content-type: application/json\r\ncontent-length: 1000000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // It closes with the rest unread.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_slowly_is_given_up() {
    let door = Door::new();
    let (address, _task) = start(&door).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/mining/session HTTP/1.1\r\nhost: {address}\r\nsec-fetch-site: same-origin\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let begun = tokio::time::Instant::now();
    // A byte now and then, as if it were on its way.
    let trickle = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(3 * DEADLINE, reader.read_to_end(&mut answer)).await.expect("it closes");
    trickle.abort();
    assert!(begun.elapsed() < 2 * DEADLINE, "{:?}", begun.elapsed());
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("nothing was done"), "{text}");
}

#[tokio::test]
async fn markup_of_a_rig_stays_text() {
    let door = Door::new();
    let token = door.token("admin").await;
    door.node.write_line(MARKUP);
    let logs = door.ask(knock("GET", "/remote/rig-alpha/logs/xmrig-1").token(&token)).await;
    let lines = logs.body["lines"].as_array().unwrap();
    assert_eq!(lines.last().unwrap()["text"], MARKUP, "as it was written, for the page to show as text");
    assert_eq!(logs.headers[header::CONTENT_TYPE], "application/json");
    let stop = knock("POST", "/remote/rig-alpha/stop").token(&token);
    door.node.fail_with(Some(NodeError::Conflict(MARKUP.into())));
    let refused = door.ask(stop).await;
    assert_problem(&refused, Code::Conflict);
    assert_eq!(refused.headers[header::CONTENT_TYPE], "application/problem+json");
    door.node.fail_with(None);
    let path = "/remote/%3Cscript%3Ealert(1)%3C%2Fscript%3E/stats";
    assert_problem(&door.ask(knock("GET", path).token(&token)).await, Code::UnknownPeer);
    // What a browser is given to draw is never guessed at: each answer says its type, and `nosniff` holds it to that.
    let table = door.ask(knock("GET", "/activity?format=csv").token(&token)).await;
    assert_eq!(table.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    let metrics = door.ask(knock("GET", "/metrics").token(&token)).await;
    assert!(metrics.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
}
