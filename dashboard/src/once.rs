//! A write that is sent twice is done once: `Idempotency-Key`.
//!
//! A script whose connection broke does not know whether its request was carried out. With a key it sends the same
//! request again, and gets the answer of the first. Kept are good answers, and that it is not known whether it was done:
//! after any other failure the same key tries again. Answers with a secret in them are not kept at all, so that their
//! routes take no key.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::access::Caller;
use crate::contract::Contract;
use crate::error::{ApiError, Code};
use crate::extract;
use crate::gateway::Gateway;
use crate::node::Node;
use crate::records::By;
use crate::router::{API, JOB_LIMIT};

/// The header that a request brings.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header of an answer that was given before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Longest key: a UUID has 36 characters, a SHA-256 in hexadecimal 64.
pub(crate) const MAX_KEY: usize = 128;

/// Answers that are kept: two scripts that command 10 000 rigs one by one stay below.
const MAX_KEPT: usize = 20_480;

/// What the kept answers may hold together. One of a command to a rig has about 1 KiB, one of the largest job 1 MiB.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// How long an answer is kept.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// What was answered to keys.
#[derive(Debug, Default)]
pub(crate) struct Once {
    /// Another one in each process: nobody finds two bodies of one fingerprint.
    hasher: RandomState,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    all: HashMap<Asked, Kind>,
    /// Those that are answered, oldest first.
    order: VecDeque<(Instant, Asked)>,
    bytes: usize,
}

/// A caller's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    by: By,
    who: Option<String>,
    key: String,
}

#[derive(Debug)]
struct Kind {
    fingerprint: u64,
    /// None while it is under way.
    answer: Option<Arc<Answer>>,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// Why it is not known whether it was done.
    unknown: Option<Arc<ApiError>>,
}

/// A request under way; forgotten when it ends without an answer, so that the key can be used again.
struct UnderWay<'a> {
    once: &'a Once,
    asked: Option<Asked>,
}

/// Whether a route takes a key: those that write, but for what one signs in with and what answers with a secret.
pub(crate) fn takes_key(method: &Method, path: &str) -> bool {
    let secret = ["/access", "/session", "/node/pairing-code"];
    !is_safe(method) && !secret.iter().any(|one| path.starts_with(one))
}

pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Carries a request out, or gives the answer that its key had before.
pub(crate) async fn once<N: Node>(State(gateway): State<Gateway<N>>, request: Request, next: Next) -> Response {
    match gateway.once().carried_out(request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

impl Once {
    async fn carried_out(&self, request: Request, next: Next) -> Result<Response, ApiError> {
        let path = request.uri().path().strip_prefix(API).unwrap_or_else(|| request.uri().path()).to_owned();
        let Some(key) = key(request.headers())? else { return Ok(next.run(request).await) };
        let Some(Caller { by, who, .. }) = request.extensions().get::<Caller>().cloned() else {
            return Ok(next.run(request).await);
        };
        // What no route takes is refused as if it had no key.
        let extensions = request.extensions();
        let template = extensions.get::<MatchedPath>().and_then(|path| path.as_str().strip_prefix(API));
        let known = extensions.get::<Arc<Contract>>().zip(template);
        let writes = !is_safe(request.method());
        if !writes || !known.is_some_and(|(contract, path)| contract.describes(request.method(), path)) {
            return Ok(next.run(request).await);
        }
        if !takes_key(request.method(), &path) {
            return Err(ApiError::new(Code::BadRequest, "this path takes no Idempotency-Key: its answer is not kept"));
        }
        let (parts, body) = request.into_parts();
        // A body beyond the limit of any route; each route has its own below.
        let body = extract::in_time(axum::body::to_bytes(body, JOB_LIMIT))
            .await?
            .map_err(|_| ApiError::new(Code::BodyTooLarge, Code::BodyTooLarge.title()))?;
        // Not the host: over HTTP/2 it stands in the address, over HTTP/1 it does not, and it is the same request.
        let path = parts.uri.path_and_query().map(PathAndQuery::as_str);
        let fingerprint = self.hasher.hash_one((parts.method.as_str(), path, &body));
        let asked = Asked { by, who, key };
        let mut under_way = match self.begin(&asked, fingerprint)? {
            Some(answer) => return Ok(answer.again()),
            None => UnderWay { once: self, asked: Some(asked) },
        };
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        // Fewer than leave it unknown: what broke in this node did so at its own disk as a rule, which is tried again by the same
        // key, and with a node that ends goes what it keeps.
        let unknown = ApiError::of(&response).filter(|error| matches!(error.code, Code::BadAnswer | Code::Timeout));
        if !response.status().is_success() && unknown.is_none() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        // Answers of writes are whole when they begin: nothing streams.
        let body = axum::body::to_bytes(body, MAX_BYTES)
            .await
            .map_err(|_| ApiError::new(Code::Internal, "the answer broke off: whether it was done is not known"))?;
        let answer = Answer { status: parts.status, headers: parts.headers.clone(), body: body.clone(), unknown };
        if let Some(asked) = under_way.asked.take() {
            self.kept().keep(asked, answer);
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    /// The answer that was given before; none when the request is to be carried out now.
    fn begin(&self, asked: &Asked, fingerprint: u64) -> Result<Option<Arc<Answer>>, ApiError> {
        let mut kept = self.kept();
        kept.forget(Instant::now());
        let full = kept.all.len() >= 2 * MAX_KEPT;
        match kept.all.entry(asked.clone()) {
            Entry::Occupied(known) if known.get().fingerprint != fingerprint => {
                Err(ApiError::new(Code::KeyReused, format!("the key `{}` was sent with another request", asked.key)))
            }
            Entry::Occupied(known) => match &known.get().answer {
                Some(answer) => Ok(Some(Arc::clone(answer))),
                None => {
                    Err(ApiError::new(Code::KeyInUse, format!("the request with the key `{}` is under way", asked.key)))
                }
            },
            // Only requests under way can fill it that far.
            Entry::Vacant(_) if full => Err(ApiError::new(Code::Busy, "too many requests with a key are under way")),
            Entry::Vacant(free) => {
                free.insert(Kind { fingerprint, answer: None });
                Ok(None)
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, asked: Asked, answer: Answer) {
        let now = Instant::now();
        if let Some(kind) = self.all.get_mut(&asked) {
            self.bytes += answer.body.len();
            kind.answer = Some(Arc::new(answer));
            self.order.push_back((now, asked));
        }
        self.forget(now);
    }

    /// Forgets the oldest answers, until what is kept is within its bounds.
    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front() {
            if now.duration_since(*at) < LIFE && self.order.len() <= MAX_KEPT && self.bytes <= MAX_BYTES {
                return;
            }
            let Some((_, asked)) = self.order.pop_front() else { return };
            let gone = self.all.remove(&asked).and_then(|kind| kind.answer);
            self.bytes -= gone.map_or(0, |answer| answer.body.len());
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.once.kept().all.remove(&asked);
        }
    }
}

impl Answer {
    fn again(&self) -> Response {
        let mut response = match &self.unknown {
            // Its document is written anew, for this request.
            Some(error) => error.as_ref().clone().into_response(),
            None => Response::new(Body::from(self.body.clone())),
        };
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(KEY).iter();
    let (Some(value), second) = (values.next(), values.next()) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| second.is_none() && text.bytes().all(|b| b.is_ascii_graphic()));
    match text {
        Some(text) if (1..=MAX_KEY).contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => Err(ApiError::new(
            Code::BadRequest,
            format!("an Idempotency-Key has 1 to {MAX_KEY} ASCII characters, no spaces"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: &str) -> Asked {
        Asked { by: By::Local, who: None, key: key.into() }
    }

    fn answer(bytes: usize) -> Answer {
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: vec![0; bytes].into(), unknown: None }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_a_day() {
        let once = Once::default();
        assert!(once.begin(&asked("a"), 1).unwrap().is_none());
        once.kept().keep(asked("a"), answer(1));
        assert!(once.begin(&asked("a"), 1).unwrap().is_some());
        tokio::time::advance(LIFE).await;
        assert!(once.begin(&asked("a"), 1).unwrap().is_none(), "it would be carried out again");
    }

    #[test]
    fn a_request_under_way_is_not_begun_again_and_its_key_is_free_when_it_ends_badly() {
        let once = Once::default();
        assert!(once.begin(&asked("a"), 1).unwrap().is_none());
        let under_way = UnderWay { once: &once, asked: Some(asked("a")) };
        assert_eq!(once.begin(&asked("a"), 1).unwrap_err().code, Code::KeyInUse);
        drop(under_way);
        assert!(once.begin(&asked("a"), 2).unwrap().is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_in_bytes() {
        let once = Once::default();
        let keep = |key: &str, bytes| {
            once.begin(&asked(key), 1).unwrap();
            once.kept().keep(asked(key), answer(bytes));
        };
        (0..=MAX_KEPT).for_each(|n| keep(&n.to_string(), 1));
        let held = || {
            let kept = once.kept();
            (kept.all.len(), kept.bytes)
        };
        assert_eq!(held(), (MAX_KEPT, MAX_KEPT));
        keep("large", MAX_BYTES);
        assert_eq!(held(), (1, MAX_BYTES));
    }
}
