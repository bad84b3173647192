//! What comes in, parsed once, at the door. Every refusal names the field.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use miner_ctrl_protocol::ProfileDraft;
use miner_ctrl_protocol::profile::{Invalid, Pool};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ApiError, Code};

/// How long a body may take. The largest comes within it on a line of 15 kB/s; what comes slower holds a place.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::new(Code::UnsupportedMediaType, "the body is not declared as JSON"));
        }
        let bytes = whole(request, state).await?;
        Ok(Self(body(&bytes)?))
    }
}

/// A JSON body that may be left out whole.
#[derive(Debug)]
pub(crate) struct MaybeJson<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let declared = is_json(request.headers());
        let bytes = whole(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        if !declared {
            return Err(ApiError::new(Code::UnsupportedMediaType, "the body is not declared as JSON"));
        }
        Ok(Self(body(&bytes)?))
    }
}

async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Ok(in_time(Bytes::from_request(request, state)).await??)
}

/// Reading a body, as long as it may take.
pub(crate) async fn in_time<T>(reading: impl Future<Output = T>) -> Result<T, ApiError> {
    tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        ApiError::new(Code::BodyTooSlow, format!("the body was not there within {seconds} s"))
    })
}

/// The variable parts of a path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// The query behind a path.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// Whether the content is declared as JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

/// Every body is an object. Serde would take an array for a struct, field by field.
fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::new(Code::BadRequest, format!("the body is not JSON: {error}")))?;
    if !value.is_object() {
        return Err(ApiError::new(Code::BadRequest, "the body is not a JSON object"));
    }
    parse("", value)
}

/// A value of the expected shape; a refusal names the field below `at`.
pub(crate) fn parse<T: DeserializeOwned>(at: &str, value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let why = error.into_inner().to_string();
        // An unknown or a missing field is told by its name, which stands in the text, not in the path.
        let inner = if path == "." { quoted(&why).unwrap_or_default() } else { path };
        invalid(at, &inner, why)
    })
}

/// A profile, every key of which is known.
pub(crate) fn profile(at: &str, value: Value) -> Result<ProfileDraft, ApiError> {
    let Some(fields) = value.as_object() else {
        return Err(invalid(at, "", "is not an object"));
    };
    known(at, fields.keys(), &ProfileDraft::FIELDS)?;
    for (index, pool) in fields.get("pools").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if let Some(pool) = pool.as_object() {
            known(&join(at, &format!("pools[{index}]")), pool.keys(), &Pool::FIELDS)?;
        }
    }
    parse(at, value)
}

fn known<'a>(at: &str, keys: impl Iterator<Item = &'a String>, fields: &[&str]) -> Result<(), ApiError> {
    for key in keys {
        if !fields.contains(&key.as_str()) {
            return Err(invalid(at, key, format!("is not known here; known are {}", fields.join(", "))));
        }
    }
    Ok(())
}

/// A refusal of the field `inner` below `at`.
pub(crate) fn invalid(at: &str, inner: &str, why: impl Into<String>) -> ApiError {
    let field = join(at, inner);
    Invalid::new(if field.is_empty() { "body".to_owned() } else { field }, why).into()
}

fn join(at: &str, inner: &str) -> String {
    match (at, inner) {
        ("", inner) => inner.to_owned(),
        (at, "") => at.to_owned(),
        (at, inner) => format!("{at}.{inner}"),
    }
}

/// The first word between backquotes.
fn quoted(text: &str) -> Option<String> {
    text.split('`').nth(1).map(str::to_owned)
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        Self::of_status(rejection.into_response().status())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Code::BadRequest, rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Code::BadRequest, rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_pool_are_all_known() {
        let pool = Pool {
            url: "pool.example:1".into(),
            wallet: Some("w".into()),
            password: Some("p".into()),
            tls: true,
            fingerprint: Some("f".into()),
        };
        let value = serde_json::to_value(pool).unwrap();
        let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let mut fields = Pool::FIELDS;
        fields.sort_unstable();
        assert_eq!(keys, fields);
    }
}
