//! What surrounds every route: the request's id, the deadline, panics, headers, and problem documents.

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use crate::error::{ApiError, Code};
use crate::extract::is_json;

/// After this a request is given up. Starting and stopping take up to 30 s at the rig, pairing and following a log
/// about as long; twice that leaves room for one retry inside the node.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(65);

/// On every answer. The page runs nothing but its own files, talks to nobody but this node, and stands in no frame;
/// texts of rigs cannot become markup even by a mistake of ours (Trusted Types).
pub(crate) const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), display-capture=(), encrypted-media=(), \
         fullscreen=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), payment=(), \
         publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// Runs a request and makes its answer fit to leave, whatever became of it.
pub(crate) async fn surround(request: Request, next: Next) -> Response {
    let id = request_id();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = if declares_something_else(request.headers()) {
        ApiError::new(Code::UnsupportedMediaType, "the body is not declared as JSON").into_response()
    } else {
        let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
        match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => {
                tracing::error!(request_id = id, %method, path, panic = panic_text(&*panic), "a request panicked");
                ApiError::new(Code::Internal, "the request broke something").into_response()
            }
            Err(_) => {
                let seconds = REQUEST_TIMEOUT.as_secs();
                ApiError::new(Code::Timeout, format!("no answer within {seconds} s: whether it was done is not known"))
                    .into_response()
            }
        }
    };
    finish(response, &id, &format!("{method} {path}"))
}

/// A form can be sent by any page; JSON with its content type cannot.
fn declares_something_else(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_TYPE) && !is_json(headers)
}

fn finish(mut response: Response, id: &str, asked: &str) -> Response {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed {
        let error = ApiError::taken_from(&mut response)
            .map_or_else(|| ApiError::of_status(response.status()), |error| (*error).clone());
        let document = error.document(id);
        if error.code == Code::Internal {
            tracing::error!(request_id = id, asked, detail = document.detail, "a request failed");
        } else {
            tracing::debug!(request_id = id, asked, code = document.code, detail = document.detail, "refused");
        }
        // A document of texts and numbers always has a JSON form.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        *response.status_mut() = error.code.status();
        *response.body_mut() = Body::from(body);
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    let headers = response.headers_mut();
    if failed || !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// Random for each process, then counted: unique in a log over restarts, and no secret.
fn request_id() -> String {
    static BOOT: LazyLock<u32> = LazyLock::new(|| {
        let hash = RandomState::new().hash_one(std::process::id()).to_le_bytes();
        u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
    });
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("{:08x}-{}", *BOOT, COUNT.fetch_add(1, Ordering::Relaxed))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
