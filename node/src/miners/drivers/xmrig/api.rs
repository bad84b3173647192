//! One HTTP request to 127.0.0.1, under a time and a size limit.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::driver::OLDEST;
use crate::miners::driver::{Endpoint, PollError};

/// Longest wait for an answer. XMRig answers in a millisecond; a machine under full load in tens.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Largest answer. A summary has 3 KiB, backends with hundreds of threads some 100.
const MAX_BODY: usize = 1024 * 1024;

/// The JSON at a path.
///
/// # Errors
/// [`PollError::Silent`] when nobody answers in time, [`PollError::NotOurs`] when the answer is not the one of a
/// process that holds our token.
pub(super) async fn get(endpoint: &Endpoint, path: &str) -> Result<Value, PollError> {
    match tokio::time::timeout(TIMEOUT, ask(endpoint, path)).await {
        Ok(answer) => answer,
        Err(_) => Err(silent(endpoint, format!("no answer within {} s", TIMEOUT.as_secs()))),
    }
}

async fn ask(endpoint: &Endpoint, path: &str) -> Result<Value, PollError> {
    let lost = |error: hyper::Error| silent(endpoint, error.to_string());
    let stream =
        TcpStream::connect(("127.0.0.1", endpoint.port)).await.map_err(|error| silent(endpoint, error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(lost)?;
    let request = Request::get(path)
        .header(HOST, format!("127.0.0.1:{}", endpoint.port))
        .header(AUTHORIZATION, format!("Bearer {}", endpoint.token))
        .body(Empty::<Bytes>::new())
        .map_err(|error| silent(endpoint, error.to_string()))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(not_http(endpoint))?;
        match response.status() {
            StatusCode::OK => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(not_ours(endpoint, format!("it refuses our token with status {}", status.as_u16())));
            }
            StatusCode::NOT_FOUND => {
                return Err(not_ours(endpoint, format!("it has no {path}, as XMRig {OLDEST} has")));
            }
            // Busy, perhaps; who it is shows in a later answer.
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(silent(endpoint, format!("it answers with status {}", status.as_u16())));
            }
            status => return Err(not_ours(endpoint, format!("it answers with status {}", status.as_u16()))),
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        body.map_err(|error| match error.is::<LengthLimitError>() {
            true => not_ours(endpoint, format!("more than {MAX_BODY} bytes")),
            false => silent(endpoint, format!("no body to read: {error}")),
        })
    };
    // The connection has to be driven while the exchange goes on; what goes wrong in it reaches the exchange, too.
    let driven = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    let body = tokio::select! {
        body = exchange => body?,
        never = driven => match never {},
    };
    // A name in another encoding is no reason not to know the rest.
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    serde_json::from_str(&text).map_err(|error| not_ours(endpoint, format!("no JSON: {error}")))
}

fn not_http(endpoint: &Endpoint) -> impl Fn(hyper::Error) -> PollError {
    move |error| match error.is_parse() {
        true => not_ours(endpoint, format!("no HTTP: {error}")),
        false => silent(endpoint, error.to_string()),
    }
}

fn silent(endpoint: &Endpoint, why: String) -> PollError {
    PollError::Silent { port: endpoint.port, why }
}

pub(super) fn not_ours(endpoint: &Endpoint, why: String) -> PollError {
    PollError::NotOurs { port: endpoint.port, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn against(answer: Vec<u8>) -> Result<Value, PollError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint { port, token: "t".into(), worker_id: "w".into() };
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&answer).await;
            stream
        });
        let result = get(&endpoint, "/2/summary").await;
        drop(server.await);
        result
    }

    fn ok(body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    }

    #[tokio::test]
    async fn an_answer_is_taken_and_a_stranger_is_told_from_silence() {
        assert_eq!(against(ok(b"{\"a\":1}")).await, Ok(serde_json::json!({"a": 1})));
        assert_eq!(against(ok(b"{\"a\":\"Intel\xae\"}")).await, Ok(serde_json::json!({"a": "Intel\u{fffd}"})));
        for later in ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable"] {
            let answer = format!("HTTP/1.1 {later}\r\nContent-Length: 0\r\n\r\n").into_bytes();
            assert!(matches!(against(answer).await, Err(PollError::Silent { .. })), "{later}");
        }
        for stranger in [
            b"HTTP/1.1 403 FORBIDDEN\r\nContent-Length: 0\r\n\r\n".to_vec(),
            b"HTTP/1.1 404 NOT FOUND\r\nContent-Length: 0\r\n\r\n".to_vec(),
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec(),
            b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
            ok(b"<html>"),
            ok(b"{\"a\": 1e999}"),
            ok(&vec![b'['; 100_000]),
            ok(&vec![b' '; MAX_BODY + 1]),
        ] {
            assert!(matches!(against(stranger).await, Err(PollError::NotOurs { .. })));
        }
    }

    #[tokio::test]
    async fn a_program_without_the_path_is_told_as_too_old() {
        let answer = against(b"HTTP/1.1 404 NOT FOUND\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
        assert!(answer.unwrap_err().to_string().ends_with("it has no /2/summary, as XMRig 6 has"));
    }

    #[tokio::test]
    async fn nobody_there_is_silence() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let endpoint = Endpoint { port, token: "t".into(), worker_id: "w".into() };
        assert!(matches!(get(&endpoint, "/").await, Err(PollError::Silent { .. })));
    }

    #[tokio::test]
    async fn who_never_answers_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint { port, token: "t".into(), worker_id: "w".into() };
        assert!(matches!(get(&endpoint, "/").await, Err(PollError::Silent { .. })));
    }
}
