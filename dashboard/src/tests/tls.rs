//! TLS over real sockets, with a client that trusts this one certificate and checks its names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::door::{Door, knock, settings};
use super::serve::{DEADLINE, exchange, start_with};
use crate::surround::HEADERS;
use crate::tls::{Served, Tls, self_signed};
use crate::{API, WebSettings};

/// A certificate for `desk` and loopback, as PEM with its key.
fn made() -> String {
    let made = self_signed(&["desk".into(), "localhost".into()], &["127.0.0.1".parse().unwrap()], SystemTime::now());
    made.unwrap().to_string()
}

fn served(pem: &str) -> Served {
    Served::from_pem(pem.as_bytes(), pem.as_bytes()).unwrap()
}

struct Home {
    door: Door,
    address: SocketAddr,
    tls: Tls,
    pem: String,
}

impl Home {
    async fn start() -> Self {
        let (door, pem) = (Door::new(), made());
        let tls = Tls::new(served(&pem)).unwrap();
        let (address, _) = start_with(&door, WebSettings { tls: Some(tls.clone()), ..settings() }).await;
        Self { door, address, tls, pem }
    }

    async fn connect(&self, name: &str, protocols: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        connector(&self.pem, protocols).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
    }

    /// Asks over HTTP/1 and TLS, and reads until the other side closes.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect("127.0.0.1", &[b"http/1.1"]).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
        String::from_utf8(answer).unwrap()
    }
}

fn connector(pem: &str, protocols: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {API}{path} HTTP/1.1\r\nhost: desk\r\nconnection: close\r\n{more}\r\n")
}

fn document(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[tokio::test]
async fn a_browser_signs_in_over_tls_with_a_cookie_that_is_its_own() {
    let home = Home::start().await;
    assert_eq!(home.door.gateway.page(), Some(format!("https://{}", home.address)));
    let shown = document(&home.ask(&head("GET", "/session", "")).await);
    let fingerprint = home.tls.served().fingerprint().to_owned();
    assert_eq!((&shown["secure"], &shown["certificate"]), (&json!(true), &json!(fingerprint)));
    assert_eq!(home.door.gateway.link().certificate, Some(fingerprint));
    let body = json!({ "link": home.door.link() }).to_string();
    let more =
        format!("sec-fetch-site: same-origin\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let signed_in = home.ask(&(head("POST", "/session", &more) + &body)).await;
    let cookie = signed_in.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect(&signed_in);
    assert!(cookie.starts_with("__Host-mc_0000000000000000="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let value = cookie.split(';').next().unwrap();
    let peers = |cookie: &str| head("GET", "/peers", &format!("cookie: {cookie}\r\n"));
    assert!(home.ask(&peers(value)).await.starts_with("HTTP/1.1 200 "));
    // Another service on this host can set one without the prefix; the browser vouches for the other alone.
    let unmarked = value.strip_prefix("__Host-").unwrap();
    assert!(home.ask(&peers(unmarked)).await.starts_with("HTTP/1.1 401 "));
    let plain_page = format!("cookie: {value}\r\norigin: http://desk\r\n");
    assert!(home.ask(&head("GET", "/peers", &plain_page)).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn a_cookie_of_plain_http_is_worth_nothing_over_tls_nor_the_other_way_round() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    assert_eq!(door.ask(knock("GET", "/peers").cookie(&cookie).tls()).await.status, StatusCode::UNAUTHORIZED);
    let marked = format!("__Host-{cookie}");
    assert_eq!(door.ask(knock("GET", "/peers").cookie(&marked)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(door.ask(knock("GET", "/peers").cookie(&marked).tls()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn plain_http_is_sent_to_the_same_page_with_tls() {
    let home = Home::start().await;
    let get = |host: &str| format!("GET /?a=b HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let answer = exchange(home.address, &get("desk:9090")).await;
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(answer.contains("\r\nlocation: https://desk:9090/?a=b\r\n"), "{answer}");
    for (name, value) in HEADERS {
        assert!(answer.contains(&format!("\r\n{name}: {value}\r\n")), "{name}: {answer}");
    }
    assert!(exchange(home.address, &get("evil.example")).await.starts_with("HTTP/1.1 421 "));
    let post = head("POST", "/session", "content-type: text/plain\r\ncontent-length: 9999999\r\n");
    assert!(exchange(home.address, &post).await.starts_with("HTTP/1.1 415 "));
}

#[tokio::test]
async fn http_2_is_spoken_and_guarded_alike() {
    let home = Home::start().await;
    let token = home.door.token("read").await;
    let stream = home.connect("localhost", &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut requests, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut ask = async |host: &str, token: Option<&str>, path: &str| {
        let mut request = Request::get(format!("https://{host}{API}{path}"));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        requests.send_request(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let answer = ask("desk:9090", Some(&token), "/peers").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()[0]["name"], "rig-alpha");
    assert_eq!(ask("desk", None, "/peers").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask("evil.example", Some(&token), "/peers").await.status().as_u16(), 421);
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_served_to_who_comes_next() {
    let mut home = Home::start().await;
    let next = made();
    home.tls.replace(served(&next));
    assert!(home.connect("desk", &[]).await.is_err(), "the old one is not served any more");
    home.pem = next;
    assert!(home.connect("desk", &[]).await.is_ok());
    assert!(home.connect("other.example", &[]).await.is_err(), "it is good for its names alone");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_given_up() {
    let home = Home::start().await;
    for begun in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1]] {
        let mut stream = TcpStream::connect(home.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it is closed");
        assert!(read.is_err() || answer.is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_proxy_of_ours_says_that_its_client_came_by_tls() {
    let door = Door::new();
    let shown = |from: [u8; 4], proto: &str| {
        knock("GET", "/session").header("host", "desk").header("x-forwarded-proto", proto).from(from)
    };
    assert_eq!(door.ask(shown([192, 0, 2, 8], "https")).await.body["secure"], true);
    assert_eq!(door.ask(shown([192, 0, 2, 8], "http")).await.body["secure"], false);
    assert_eq!(door.ask(shown([192, 0, 2, 9], "https")).await.body["secure"], false, "not one of ours");
    assert_eq!(door.ask(knock("GET", "/session").header("host", "desk").tls()).await.body["secure"], true);
}
