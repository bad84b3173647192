//! Asks a node: over its socket, or in this process.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use miner_ctrl_dashboard::{API, ProblemDetails, REQUEST_TIMEOUT};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tower::ServiceExt;

/// Largest answer: statistics of ten thousand rigs with two dozen devices each, 4 KB, stay below.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// How long a node may take to accept. It does so in microseconds; a stopped process does not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node may take to say that it lives: it looks at nothing for that. One that is stopped never does.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take: the gateway gives up before and says so.
const ANSWER_TIMEOUT: Duration = REQUEST_TIMEOUT.saturating_add(Duration::from_secs(5));

/// Where the node is.
#[derive(Debug, Clone)]
pub enum Client {
    /// In this process.
    InProcess(Router),
    /// Behind a socket.
    Socket(PathBuf),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection broke; what was asked may have been done.
    #[error("the connection to the node broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The socket is there and may not be used.
    #[error("cannot use the socket {path}")]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nobody listens.
    #[error("no node is running here: nobody answers at {path}")]
    NoNode {
        /// Where a node's socket would be.
        path: PathBuf,
    },
    /// The node said no, and why.
    #[error("{}", .0.detail)]
    Problem(Box<ProblemDetails>),
    /// No answer in time; what was asked may have been done.
    #[error("the node did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Larger than any valid answer, or not what the API says.
    #[error("the node's answer cannot be read: {0}")]
    Unreadable(String),
}

impl Client {
    /// Whether a node answers at all; nothing else is asked of it.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn check(&self) -> Result<(), ClientError> {
        let asked = tokio::time::timeout(ALIVE_TIMEOUT, self.get("/health")).await;
        asked.unwrap_or(Err(ClientError::Timeout(ALIVE_TIMEOUT))).map(drop)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call("GET", path, None).await
    }

    /// Asks for something of a known shape.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        typed(self.get(path).await?)
    }

    /// Asks for an action whose answer has a known shape.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ClientError> {
        typed(self.call(method, path, body).await?)
    }

    /// One request below [`API`], one answer; an answer without a body is null.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let request = request(method, path, body)?;
        let answer = async {
            let response = match self {
                Self::InProcess(router) => {
                    let Ok(response) = router.clone().oneshot(request).await;
                    response
                }
                Self::Socket(path) => over_socket(path, request).await?,
            };
            read(response).await
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(Err(ClientError::Timeout(ANSWER_TIMEOUT)))
    }
}

/// A name as one segment of a path: whatever it is, it stays one segment.
#[must_use]
pub fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            // A dot is harmless inside a name; a segment of dots alone would climb.
            b'.' if text.bytes().any(|other| other != b'.') => ".".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn request(method: &str, path: &str, body: Option<&Value>) -> Result<Request<Body>, ClientError> {
    let bad = |error: &dyn std::error::Error| ClientError::Unreadable(format!("the request cannot be sent: {error}"));
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| bad(&error))?;
    let request = Request::builder().method(method).uri(format!("{API}{path}")).header(header::HOST, "localhost");
    let request = match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    request.map_err(|error| bad(&error))
}

async fn over_socket(path: &PathBuf, request: Request<Body>) -> Result<Response<Body>, ClientError> {
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await {
        Err(_) => return Err(ClientError::Timeout(CONNECT_TIMEOUT)),
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(ClientError::NoNode { path: path.clone() });
        }
        Ok(Err(source)) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Err(ClientError::Forbidden { path: path.clone(), source });
        }
        Ok(Err(error)) => return Err(ClientError::Broken(Box::new(error))),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the sender; what broke it is told to the request, too.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await.map_err(broken)?.map(Body::new))
}

async fn read(response: Response<Body>) -> Result<Value, ClientError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
    let bytes = body.map_err(|error| match error.downcast::<LengthLimitError>() {
        Ok(_) => ClientError::Unreadable(format!("it is larger than {ANSWER_LIMIT} bytes")),
        Err(error) => ClientError::Broken(error),
    })?;
    let bytes = bytes.to_bytes();
    if status.is_success() {
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        return serde_json::from_slice(&bytes).map_err(|error| ClientError::Unreadable(error.to_string()));
    }
    match serde_json::from_slice(&bytes) {
        Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
        Err(_) => Err(ClientError::Unreadable(format!("status {status} without a reason"))),
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|error| ClientError::Unreadable(error.to_string()))
}

fn broken(error: hyper::Error) -> ClientError {
    ClientError::Broken(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_dashboard::memory::Memory;

    #[test]
    fn a_name_stays_one_segment_whatever_it_is() {
        assert_eq!(segment("rig-alpha.barn"), "rig-alpha.barn");
        assert_eq!(segment("../x?y#z"), "..%2Fx%3Fy%23z");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("a b\u{e9}"), "a%20b%C3%A9");
    }

    #[tokio::test]
    async fn a_node_in_this_process_answers_the_same() {
        let client = Client::InProcess(miner_ctrl_dashboard::router(Memory::default()));
        assert_eq!(client.get("/node/info").await.unwrap()["name"], "desk");
        let ClientError::Problem(problem) = client.get("/peers/%2E%2E").await.unwrap_err() else {
            panic!("no problem document")
        };
        assert_eq!((problem.status, problem.code.as_str()), (404, "unknown-peer"));
    }

    #[tokio::test]
    async fn an_answer_beyond_the_limit_is_not_kept() {
        let huge = || async { "x".repeat(ANSWER_LIMIT + 1) };
        let router = Router::new().route(&format!("{API}/huge"), axum::routing::get(huge));
        assert!(matches!(Client::InProcess(router).get("/huge").await, Err(ClientError::Unreadable(_))));
    }
}
