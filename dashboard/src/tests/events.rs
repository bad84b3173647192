//! Live events as a page hears them.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{StatusCode, header};
use flate2::read::GzDecoder;
use futures::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::door::{Door, Knock, knock};
use super::refusals::assert_problem;
use crate::Code;

/// An open stream.
pub(super) struct Heard {
    body: BodyDataStream,
    text: String,
    last: u64,
}

impl Heard {
    /// The next event: its name and its data.
    pub(super) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
                let id: u64 = field("id: ").split_once('-').unwrap().1.parse().unwrap();
                assert!(id > self.last, "{id} after {}: {event}", self.last);
                self.last = id;
                let heard = (field("event: "), serde_json::from_str(&field("data: ")).unwrap());
                self.text = rest.to_owned();
                return Some(heard);
            }
            let bytes = self.body.next().await?.unwrap();
            self.text += std::str::from_utf8(&bytes).unwrap();
        }
    }

    /// The next event of this name.
    pub(super) async fn until(&mut self, name: &str) -> Value {
        let deadline = Duration::from_secs(120);
        let found = async {
            loop {
                let (event, data) = self.next().await.expect("the stream goes on");
                if event == name {
                    return data;
                }
            }
        };
        tokio::time::timeout(deadline, found).await.unwrap_or_else(|_| panic!("no {name}"))
    }
}

pub(super) async fn listen(door: &Door, knock: Knock) -> Heard {
    let answer = door.web.clone().oneshot(knock.build()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    Heard { body: Body::into_data_stream(answer.into_body()), text: String::new(), last: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_page_hears_hello_everything_and_then_what_changes() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let mut heard = listen(&door, knock("GET", "/events").cookie(&cookie)).await;
    let (name, hello) = heard.next().await.unwrap();
    assert_eq!((name.as_str(), &hello["hz"]), ("hello", &json!(1)));
    let (name, snapshot) = heard.next().await.unwrap();
    assert_eq!((name.as_str(), &snapshot["name"], &snapshot["ping"]), ("snapshot", &json!(["rig-alpha"]), &json!([2])));
    let (name, pairing) = heard.next().await.unwrap();
    assert_eq!((name.as_str(), &pairing["pending"][0]["name"]), ("pairing", &json!("rig-beta")));
    door.node.set_ping(Some(40.0));
    let delta = heard.until("delta").await;
    assert_eq!((&delta["i"], &delta["ping"]), (&json!([0]), &json!([40])));
    assert!(delta["v"].as_u64() > snapshot["v"].as_u64());
    door.node.register(crate::memory::peer(9, "rig-new"));
    assert_eq!(heard.until("peers").await["added"]["name"], json!(["rig-new"]));
    door.ask(knock("POST", "/remote/rig-alpha/stop").page().cookie(&cookie)).await;
    assert_eq!(heard.until("activity").await["action"], "stop");
    assert_eq!(heard.until("delta").await["state"], json!(["idle", "idle"]));
    assert!(heard.until("hb").await["at"].is_u64());
}

#[tokio::test(start_paused = true)]
async fn a_stream_carries_what_was_asked_for() {
    let door = Door::new();
    let token = door.token("read").await;
    let mut heard = listen(&door, knock("GET", "/events?topics=activity").token(&token)).await;
    assert_eq!(heard.next().await.unwrap().0, "hello");
    door.node.set_ping(Some(40.0));
    door.local(knock("POST", "/remote/rig-alpha/stop")).await;
    assert_eq!(heard.next().await.unwrap().0, "activity");
    assert_eq!(heard.next().await.unwrap().0, "hb");
    assert_problem(&door.ask(knock("GET", "/events?topics=weather").token(&token)).await, Code::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_compressed_piece_by_piece_for_who_reads_that() {
    let door = Door::new();
    let token = door.token("read").await;
    let ask = |path: &str| knock("GET", path).token(&token).header("accept-encoding", "br, gzip").build();
    let plain = door.web.clone().oneshot(ask("/events?plain=true")).await.unwrap();
    assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
    let answer = door.web.clone().oneshot(ask("/events")).await.unwrap();
    assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
    assert_eq!(answer.headers()[header::VARY], "accept-encoding");
    let mut body = Body::into_data_stream(answer.into_body());
    let (mut wire, mut text) = (Vec::new(), Vec::new());
    for (changes, expected) in [(false, "event: pairing"), (true, "event: delta")] {
        if changes {
            door.node.set_ping(Some(40.0));
        }
        while !String::from_utf8_lossy(&text).contains(expected) {
            wire.extend(body.next().await.unwrap().unwrap());
            text.clear();
            // Fails at the end of what has come, having given all of it.
            assert!(GzDecoder::new(&wire[..]).read_to_end(&mut text).is_err());
        }
    }
    door.stop.cancel();
    while let Some(bytes) = body.next().await {
        wire.extend(bytes.unwrap());
    }
    text.clear();
    GzDecoder::new(&wire[..]).read_to_end(&mut text).expect("a whole gzip file");
    assert!(String::from_utf8(text).unwrap().contains("shutdown"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_session() {
    let door = Door::new();
    let (cookie, token) = (door.sign_in().await, door.token("read").await);
    let mut session = listen(&door, knock("GET", "/events").cookie(&cookie)).await;
    let mut script = listen(&door, knock("GET", "/events").token(&token)).await;
    session.until("snapshot").await;
    door.ask(knock("DELETE", "/session").page().cookie(&cookie)).await;
    assert_eq!(session.until("bye").await, json!({"why": "signed-out"}));
    assert_eq!(session.next().await, None);
    script.until("snapshot").await;
    let id = token.split('_').nth(1).unwrap();
    door.local(knock("DELETE", &format!("/access/tokens/{id}"))).await;
    assert_eq!(script.until("bye").await, json!({"why": "signed-out"}));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_says_so() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let mut heard = listen(&door, knock("GET", "/events").cookie(&cookie)).await;
    heard.until("pairing").await;
    door.stop.cancel();
    assert_eq!(heard.until("bye").await, json!({"why": "shutdown"}));
    assert_eq!(heard.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_lags_gets_everything_anew() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let mut slow = listen(&door, knock("GET", "/events?topics=fleet").cookie(&cookie)).await;
    let mut quick = listen(&door, knock("GET", "/events?topics=fleet").cookie(&cookie)).await;
    slow.until("snapshot").await;
    let mut last = Value::Null;
    // More frames than are kept for a slow reader.
    for ping in 10..210 {
        door.node.set_ping(Some(f64::from(ping)));
        last = quick.until("delta").await;
    }
    assert_eq!(slow.next().await.unwrap().0, "hello");
    let (name, snapshot) = slow.next().await.unwrap();
    assert_eq!((name.as_str(), &snapshot["ping"]), ("snapshot", &json!([209])));
    assert_eq!(snapshot["v"], last["v"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_has_more_streams_than_pages() {
    let door = Door::new();
    let (cookie, token) = (door.sign_in().await, door.token("read").await);
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(listen(&door, knock("GET", "/events").cookie(&cookie)).await);
    }
    let refused = door.ask(knock("GET", "/events").cookie(&cookie)).await;
    assert_problem(&refused, Code::TooManyStreams);
    assert!(refused.headers.contains_key(header::RETRY_AFTER));
    open.push(listen(&door, knock("GET", "/events").token(&token)).await);
    open.remove(0);
    listen(&door, knock("GET", "/events").cookie(&cookie)).await.until("snapshot").await;
}

#[tokio::test(start_paused = true)]
async fn the_node_is_looked_at_only_while_somebody_listens() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    for _ in 0..2 {
        let mut heard = listen(&door, knock("GET", "/events").cookie(&cookie)).await;
        assert_eq!(heard.until("snapshot").await["name"], json!(["rig-alpha"]));
        drop(heard);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = door.node.looks();
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(door.node.looks(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn no_activity_is_lost_however_many_come_at_once() {
    let door = Door::new();
    let token = door.token("read").await;
    let mut heard = listen(&door, knock("GET", "/events?topics=activity").token(&token)).await;
    assert_eq!(heard.next().await.unwrap().0, "hello");
    let caller = crate::access::Caller::local();
    for _ in 0..1500 {
        door.gateway.record(&caller, "restart", None, None, "ok").await;
    }
    let first = heard.until("activity").await["id"].as_u64().unwrap();
    for id in first + 1..first + 1500 {
        assert_eq!(heard.until("activity").await["id"], id);
    }
}
