//! The listener over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::door::{Door, knock, settings};
use crate::{Place, ServeError, WebSettings, bind, serve};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) async fn start(door: &Door) -> (SocketAddr, JoinHandle<()>) {
    start_with(door, settings()).await
}

pub(super) async fn start_with(door: &Door, settings: WebSettings) -> (SocketAddr, JoinHandle<()>) {
    let place = Place::find("127.0.0.1:0").await.unwrap();
    let listener = bind(&door.gateway, &place, &settings).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(listener, door.gateway.clone(), settings, door.stop.clone())))
}

/// Sends bytes, reads until the other side closes.
pub(super) async fn exchange(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}

#[tokio::test]
async fn it_serves_over_tcp_until_it_stops() {
    let door = Door::new();
    let (address, task) = start(&door).await;
    assert_eq!(door.gateway.page(), Some(format!("http://{address}")));
    let get = format!("GET /api/v1/mining/peers HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let answer = exchange(address, &get).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("x-frame-options: DENY"), "{answer}");
    let token = door.token("read").await;
    let signed = get.replacen("connection", &format!("authorization: Bearer {token}\r\nconnection"), 1);
    assert!(exchange(address, &signed).await.starts_with("HTTP/1.1 200 "));
    door.stop.cancel();
    tokio::time::timeout(DEADLINE, task).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_clients_address_is_the_connections_own() {
    let door = Door::new();
    let (address, _task) = start(&door).await;
    let token = door.token("control").await;
    let post = format!(
        "POST /api/v1/mining/remote/rig-alpha/stop HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         x-forwarded-for: 203.0.113.7\r\nforwarded: for=203.0.113.7\r\nconnection: close\r\n\r\n"
    );
    assert!(exchange(address, &post).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(door.node.recorded().pop().unwrap().from, Some([127, 0, 0, 1].into()));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_given_up() {
    let door = Door::new();
    let (address, _task) = start(&door).await;
    let answer = exchange(address, "GET / HTTP/1.1\r\nhost: x\r\n").await;
    assert!(!answer.contains("200 OK"), "{answer}");
    assert_eq!(exchange(address, "").await, "", "nor is a connection without a request kept");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let door = Door::new();
    let (address, _task) = start(&door).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let huge = format!("GET / HTTP/1.1\r\nhost: {address}\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    // It may close before all is sent.
    let _ = stream.write_all(huge.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it closes");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn an_open_stream_does_not_hold_up_the_stop() {
    let door = Door::new();
    let (address, task) = start(&door).await;
    let token = door.token("read").await;
    let get = format!("GET /api/v1/mining/events HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(get.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains("event: snapshot") {
        let read = tokio::time::timeout(DEADLINE, stream.read(&mut buffer)).await.expect("events").unwrap();
        heard += std::str::from_utf8(&buffer[..read]).unwrap();
    }
    door.stop.cancel();
    tokio::time::timeout(DEADLINE, task).await.expect("it ends").unwrap();
    stream.read_to_string(&mut heard).await.unwrap();
    assert!(heard.contains("event: bye"), "{heard}");
}

#[tokio::test]
async fn other_machines_are_served_only_when_somebody_can_sign_in() {
    let door = Door::new();
    let opened = |settings: WebSettings| {
        let gateway = door.gateway.clone();
        async move { bind(&gateway, &Place::find("0.0.0.0:0").await?, &settings).await.map(drop) }
    };
    assert!(matches!(opened(settings()).await, Err(ServeError::NotProtected { .. })));
    assert!(opened(WebSettings { link: true, ..settings() }).await.is_ok());
    door.local(knock("PUT", "/access/password").json(&json!({"password": "long enough to be"}))).await;
    assert!(opened(settings()).await.is_ok());
}

#[tokio::test]
async fn a_place_knows_whether_other_machines_reach_it() {
    for (address, exposed) in
        [("127.0.0.1:1", false), ("[::1]:1", false), ("0.0.0.0:1", true), ("[::]:1", true), ("192.0.2.1:1", true)]
    {
        assert_eq!(Place::find(address).await.unwrap().exposed().is_some(), exposed, "{address}");
    }
}

#[tokio::test]
async fn what_is_no_address_and_what_is_taken_is_told() {
    let door = Door::new();
    assert!(matches!(Place::find("9090").await, Err(ServeError::Address { .. })));
    let (address, _task) = start(&door).await;
    let place = Place::find(&address.to_string()).await.unwrap();
    let taken = bind(&door.gateway, &place, &settings()).await;
    assert!(matches!(taken, Err(ServeError::Listen { .. })), "{taken:?}");
}
