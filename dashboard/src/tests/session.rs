//! Signing in and out, and the password.

use std::time::Duration;

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::ask::Answer;
use super::door::{Door, Knock, cookie_of, knock};
use super::refusals::assert_problem;
use crate::Code;

const PASSWORD: &str = "correct horse battery";

fn with_link(link: &str) -> Knock {
    knock("POST", "/session").page().json(&json!({ "link": link }))
}

fn with_password(password: &str) -> Knock {
    knock("POST", "/session").page().json(&json!({ "password": password }))
}

async fn set_password(door: &Door, password: &str) -> Answer {
    door.local(knock("PUT", "/access/password").json(&json!({ "password": password }))).await
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let door = Door::new();
    let link = door.link();
    assert_eq!(link.len(), 43);
    let signed_in = door.ask(with_link(&link).header("user-agent", "Browser 1.0")).await;
    assert_eq!((signed_in.status, &signed_in.body["scope"]), (StatusCode::OK, &json!("admin")));
    let set = signed_in.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.starts_with("mc_0000000000000000="), "{set}");
    assert!(set.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"), "{set}");
    let cookie = cookie_of(&signed_in.headers);
    assert_eq!(door.ask(knock("GET", "/peers").cookie(&cookie)).await.status, StatusCode::OK);
    assert_problem(&door.ask(with_link(&link)).await, Code::WrongCredentials);
    let stored = door.node.stored_access();
    let value = cookie.split_once('=').unwrap().1;
    assert_eq!(stored.sessions.len(), 1);
    assert!(!format!("{stored:?}").contains(value), "only a hash is stored");
}

#[tokio::test(start_paused = true)]
async fn a_link_ends_by_itself_and_the_newest_eight_work() {
    let door = Door::new();
    let link = door.link();
    tokio::time::advance(Duration::from_secs(601)).await;
    assert_problem(&door.ask(with_link(&link)).await, Code::WrongCredentials);
    let links: Vec<_> = (0..9).map(|_| door.link()).collect();
    assert_problem(&door.ask(with_link(&links[0])).await, Code::WrongCredentials);
    assert_eq!(door.ask(with_link(&links[1])).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_names_a_link_or_a_password() {
    let door = Door::new();
    for body in [json!({}), json!({"link": "x", "password": "y"}), json!({"pin": "1"}), json!({"link": 7})] {
        let answer = door.ask(knock("POST", "/session").page().json(&body)).await;
        assert_problem(&answer, Code::Invalid);
    }
}

#[tokio::test]
async fn a_password_signs_in_and_a_wrong_one_does_not() {
    let door = Door::new();
    let hint = assert_problem(&door.ask(with_password(PASSWORD)).await, Code::WrongCredentials).hint;
    assert!(hint.contains("--set-password"), "{hint}");
    assert_eq!(
        door.ask(knock("GET", "/session")).await.body,
        json!({"signed_in": false, "password_set": false, "secure": true})
    );
    assert_eq!(set_password(&door, PASSWORD).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        door.ask(knock("GET", "/session")).await.body,
        json!({"signed_in": false, "password_set": true, "secure": true})
    );
    assert_problem(&door.ask(with_password("correct horse batterx")).await, Code::WrongCredentials);
    let signed_in = door.ask(with_password(PASSWORD)).await;
    assert_eq!((signed_in.status, &signed_in.body["by"]), (StatusCode::OK, &json!("session")));
    assert!(signed_in.body["expires_at"].is_u64());
    assert!(!format!("{:?}", door.node.stored_access()).contains(PASSWORD));
}

#[tokio::test]
async fn a_short_password_is_not_taken() {
    let door = Door::new();
    let problem = assert_problem(&set_password(&door, "short").await, Code::Invalid);
    assert_eq!(problem.errors[0].pointer, "#/password");
}

#[tokio::test]
async fn guessing_ends_soon_and_locks_nobody_out() {
    let door = Door::new();
    set_password(&door, PASSWORD).await;
    let guesser = std::net::Ipv4Addr::new(192, 0, 2, 66);
    let mut codes = Vec::new();
    for _ in 0..7 {
        let answer = door.ask(with_password("wrong password").from(guesser)).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            let seconds: u64 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=6).contains(&seconds), "{seconds}");
        }
        codes.push(answer.body["code"].as_str().unwrap().to_owned());
    }
    assert_eq!(codes[..5], vec!["wrong-credentials"; 5]);
    assert_eq!(codes[5..], vec!["too-many-tries"; 2]);
    let right = door.ask(with_password(PASSWORD).from(guesser)).await;
    assert_problem(&right, Code::TooManyTries);
    assert_eq!(door.ask(with_password(PASSWORD)).await.status, StatusCode::OK, "from elsewhere it works");
    let link = door.link();
    assert_eq!(door.ask(with_link(&link).from(guesser)).await.status, StatusCode::OK, "and a link always does");
}

#[tokio::test]
async fn who_signs_out_is_out() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let out = door.ask(knock("DELETE", "/session").page().cookie(&cookie)).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.headers[header::SET_COOKIE].to_str().unwrap().contains("=; Path=/; Max-Age=0"));
    assert_problem(&door.ask(knock("GET", "/peers").cookie(&cookie)).await, Code::SignInNeeded);
    assert!(door.node.stored_access().sessions.is_empty());
}

#[tokio::test]
async fn a_session_is_ended_from_another_one() {
    let door = Door::new();
    let (mine, theirs) = (door.sign_in().await, door.sign_in().await);
    let shown = door.ask(knock("GET", "/access").cookie(&mine)).await.body;
    let sessions: Vec<&Value> = shown["sessions"].as_array().unwrap().iter().collect();
    let other = sessions.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/access/sessions/{}", other["id"].as_str().unwrap());
    assert_eq!(door.ask(knock("DELETE", &path).page().cookie(&mine)).await.status, StatusCode::NO_CONTENT);
    assert_problem(&door.ask(knock("GET", "/peers").cookie(&theirs)).await, Code::SignInNeeded);
    assert_eq!(door.ask(knock("GET", "/peers").cookie(&mine)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_stolen_cookie_cannot_change_the_password() {
    let door = Door::new();
    set_password(&door, PASSWORD).await;
    let (owner, thief) = (door.sign_in().await, door.sign_in().await);
    let change = |cookie: &str, body: Value| knock("PUT", "/access/password").page().cookie(cookie).json(&body);
    for body in [json!({"password": "another password"}), json!({"password": "another password", "current": "wrong"})] {
        let problem = assert_problem(&door.ask(change(&thief, body)).await, Code::Invalid);
        assert_eq!(problem.errors[0].pointer, "#/current");
    }
    let body = json!({"password": "another password", "current": PASSWORD});
    assert_eq!(door.ask(change(&owner, body)).await.status, StatusCode::NO_CONTENT);
    assert_problem(&door.ask(knock("GET", "/peers").cookie(&thief)).await, Code::SignInNeeded);
    assert_eq!(door.ask(knock("GET", "/peers").cookie(&owner)).await.status, StatusCode::OK, "its own session goes on");
}

#[tokio::test]
async fn sessions_and_tokens_outlive_the_process() {
    let door = Door::new();
    let (cookie, token) = (door.sign_in().await, door.token("read").await);
    let restarted = Door::over(door.node.clone());
    assert_eq!(restarted.ask(knock("GET", "/peers").cookie(&cookie)).await.status, StatusCode::OK);
    assert_eq!(restarted.ask(knock("GET", "/peers").token(&token)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_slides_while_it_is_used_and_ends_when_it_is_not() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let mut stored = door.node.stored_access();
    let created = stored.sessions[0].last_used;
    stored.sessions[0].last_used = created - 7200;
    door.node.store_access(stored.clone());
    let restarted = Door::over(door.node.clone());
    let slid = restarted.ask(knock("GET", "/peers").cookie(&cookie)).await;
    assert_eq!(cookie_of(&slid.headers), cookie, "the cookie's time begins anew");
    assert!(door.node.stored_access().sessions[0].last_used >= created);
    let again = restarted.ask(knock("GET", "/peers").cookie(&cookie)).await;
    assert!(!again.headers.contains_key(header::SET_COOKIE), "and not with each request");
    stored.sessions[0].last_used = created - 31 * 24 * 3600;
    door.node.store_access(stored);
    let restarted = Door::over(door.node.clone());
    assert_problem(&restarted.ask(knock("GET", "/peers").cookie(&cookie)).await, Code::SignInNeeded);
}

#[tokio::test]
async fn another_services_cookie_of_our_name_does_not_hide_ours() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let tossed = format!("mc_0000000000000000=tossed; theme=dark; {cookie}");
    assert_eq!(door.ask(knock("GET", "/peers").cookie(&tossed)).await.status, StatusCode::OK);
    let renamed = cookie.replacen("mc_0000000000000000", "mc_1111111111111111", 1);
    assert_problem(&door.ask(knock("GET", "/peers").cookie(&renamed)).await, Code::SignInNeeded);
}

#[tokio::test]
async fn there_is_an_end_to_sessions_and_tokens() {
    let door = Door::new();
    for _ in 0..66 {
        door.sign_in().await;
    }
    assert_eq!(door.node.stored_access().sessions.len(), 64);
    let token = |name: String| knock("POST", "/access/tokens").json(&json!({"name": name, "scope": "read"}));
    for number in 0..64 {
        assert_eq!(door.local(token(format!("script {number}"))).await.status, StatusCode::CREATED);
    }
    assert_problem(&door.local(token("one more".into())).await, Code::Conflict);
    assert_problem(&door.local(token(String::new())).await, Code::Invalid);
}
