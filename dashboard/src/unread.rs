//! Answers that nobody has read yet.
//!
//! Over HTTP/2 a client may ask for much and take nothing of it, for as long as it likes, and each answer stays in memory.
//! So of one credential no more is answered than fits, until it has read some. What writes is always answered: it was done.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as _, Frame, SizeHint};

use crate::access::Caller;
use crate::error::{ApiError, Code};
use crate::once::is_safe;
use crate::records::By;

/// Bytes of one credential's answers: what all rigs of the largest fleet say, and more. One answer alone always fits.
const OF_ONE: u64 = 64 * 1024 * 1024;

/// When to ask again that found no room: what is read at all is read by then.
const TRY_AGAIN: Duration = Duration::from_secs(2);

type Key = (By, String);

/// What of whose waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unread(Arc<Mutex<HashMap<Key, u64>>>);

/// An answer's bytes, until it is dropped.
#[derive(Debug)]
struct Part {
    unread: Unread,
    key: Key,
    bytes: u64,
}

/// A body that counts until the connection has taken the last of it.
struct Waiting {
    body: Body,
    _part: Part,
}

/// Refuses an answer that finds no room. What streams has no length, and places of its own; this machine's user has no bound.
pub(crate) async fn unread(State(unread): State<Unread>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    let key = caller.and_then(|caller| Some((caller.by, caller.who.clone()?))).filter(|_| is_safe(request.method()));
    let response = next.run(request).await;
    let Some((key, bytes)) = key.zip(response.body().size_hint().exact()) else { return response };
    match unread.take(key, bytes) {
        Ok(part) => response.map(|body| Body::new(Waiting { body, _part: part })),
        Err(full) => full.into_response(),
    }
}

impl Unread {
    fn take(&self, key: Key, bytes: u64) -> Result<Part, ApiError> {
        let mut waiting = self.waiting();
        let own = waiting.entry(key.clone()).or_default();
        if *own > 0 && *own + bytes > OF_ONE {
            let why = format!("answers of {OF_ONE} bytes wait to be read by this credential");
            return Err(ApiError::new(Code::TooManyRequests, why).retry_after(TRY_AGAIN));
        }
        *own += bytes;
        drop(waiting);
        Ok(Part { unread: self.clone(), key, bytes })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut waiting = self.unread.waiting();
        if let Some(own) = waiting.get_mut(&self.key) {
            *own -= self.bytes;
            if *own == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}

impl hyper::body::Body for Waiting {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, StatusCode};
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use axum::{Extension, Router};
    use tower::ServiceExt;

    use super::*;
    use crate::records::Scope;

    #[tokio::test]
    async fn who_reads_nothing_gets_no_more_and_who_does_is_answered() {
        let large = || async { vec![0; 24 * 1024 * 1024] };
        let unread_by = Unread::default();
        let router = Router::new().route("/", get(large).post(large));
        let router = router.route_layer(from_fn_with_state(unread_by.clone(), unread));
        let ask = async |method: Method, who: Option<&str>| {
            let by = if who.is_some() { By::Token } else { By::Local };
            let caller = Caller { by, who: who.map(str::to_owned), from: None, scope: Scope::Read };
            let request = Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
            router.clone().layer(Extension(caller)).oneshot(request).await.unwrap()
        };
        let mut answers = vec![ask(Method::GET, Some("a")).await, ask(Method::GET, Some("a")).await];
        assert_eq!(answers[1].body().size_hint().exact(), Some(24 * 1024 * 1024));
        let refused = ask(Method::GET, Some("a")).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key("retry-after"));
        for (method, who) in [(Method::POST, Some("a")), (Method::GET, Some("b")), (Method::GET, None)] {
            assert_eq!(ask(method.clone(), who).await.status(), StatusCode::OK, "{method} {who:?}");
        }
        axum::body::to_bytes(answers.remove(0).into_body(), usize::MAX).await.unwrap();
        assert_eq!(ask(Method::GET, Some("a")).await.status(), StatusCode::OK);
        drop(answers);
        assert!(unread_by.waiting().is_empty(), "nothing is remembered of who is gone");
    }
}
