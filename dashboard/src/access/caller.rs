//! Who asks: decided once, at the door, and carried along with the request.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::error::{ApiError, Code};
use crate::records::{By, Scope};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// By which way.
    pub(crate) by: By,
    /// Handle of the session or token.
    pub(crate) who: Option<String>,
    /// The client's address.
    pub(crate) from: Option<IpAddr>,
    /// What it may do.
    pub(crate) scope: Scope,
}

impl Caller {
    /// This machine's own user: the socket lets in nobody else.
    pub(crate) const fn local() -> Self {
        Self { by: By::Local, who: None, from: None, scope: Scope::Admin }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // A route that asks who calls is never reached without a guard; if it were, it would answer nobody.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::new(Code::SignInNeeded, "nobody is signed in"))
    }
}
