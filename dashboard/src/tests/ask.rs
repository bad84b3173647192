//! Asking the router without a server.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::contract::assert_promised;
use crate::memory::Memory;
use crate::{API, router};

/// An answer as a client reads it.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// Sends JSON, or nothing.
pub(super) async fn ask(node: &Memory, method: &str, path: &str, body: Option<Value>) -> Answer {
    let request = Request::builder().method(method).uri(format!("{API}{path}"));
    let request = match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    send(node, request.unwrap()).await
}

/// Sends anything.
pub(super) async fn send(node: &Memory, request: Request<Body>) -> Answer {
    let asked = (request.method().clone(), request.uri().path().to_owned());
    let response = router(node.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    assert_eq!(parts.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(parts.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let answer = Answer { status: parts.status, headers: parts.headers, body };
    assert_promised(&asked.0, &asked.1, &answer);
    answer
}
