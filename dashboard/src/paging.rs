//! A part of a list. The list stays a list: how long the whole is and where it goes on stand in headers.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Json, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::extract::invalid;
use crate::router::API;

/// How long the whole list is.
pub(crate) const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

/// Most entries of a part: some hundred KiB. Whoever wants more asks for the whole, or again.
pub(crate) const MAX_PART: u32 = 1000;

/// Which part.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// At most so many; all when left out.
    #[schemars(range(min = 1, max = MAX_PART))]
    limit: Option<u32>,
    /// Only those behind this name.
    after: Option<String>,
}

/// A part of a list, on its way out.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    items: Vec<T>,
    total: usize,
    next: Option<String>,
}

/// A number of entries that may be asked for.
pub(crate) fn limit(asked: Option<u32>, default: u32) -> Result<u32, ApiError> {
    let limit = asked.unwrap_or(default);
    if (1..=MAX_PART).contains(&limit) { Ok(limit) } else { Err(invalid("", "limit", format!("is 1 to {MAX_PART}"))) }
}

impl Part {
    /// Takes it from a list; `name` is what the list is ordered by.
    pub(crate) fn of<T>(self, path: &str, mut items: Vec<T>, name: fn(&T) -> &str) -> Result<Listed<T>, ApiError> {
        let total = items.len();
        items.sort_by(|one, other| name(one).cmp(name(other)));
        if let Some(after) = &self.after {
            items.retain(|item| name(item) > after.as_str());
        }
        let mut next = None;
        if let Some(asked) = self.limit {
            let limit = limit(Some(asked), asked)? as usize;
            if items.len() > limit {
                items.truncate(limit);
                // Names need no escaping in an address.
                next =
                    items.last().map(|last| format!("<{API}{path}?limit={limit}&after={}>; rel=\"next\"", name(last)));
            }
        }
        Ok(Listed { items, total, next })
    }
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.items).into_response();
        response.headers_mut().insert(TOTAL, HeaderValue::from(self.total));
        if let Some(link) = self.next.and_then(|next| HeaderValue::from_str(&next).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}
