//! Who may come in: sessions, tokens, the password, links.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};

use crate::access::book::{LINK_LIFE, expires_at, unix_now};
use crate::access::{Caller, Secret};
use crate::activity::About;
use crate::error::{ApiError, ProblemDetails};
use crate::extract::{self, Path};
use crate::gateway::Gateway;
use crate::node::Node;
use crate::records::{By, Scope, SessionRecord, TokenRecord};

/// All of it, without anything secret.
#[derive(Debug, Serialize)]
pub(crate) struct AccessView {
    password_set: bool,
    sessions: Vec<SessionView>,
    tokens: Vec<TokenView>,
}

#[derive(Debug, Serialize)]
struct SessionView {
    id: String,
    created_at: u64,
    last_used: u64,
    expires_at: u64,
    agent: String,
    /// The one that asks.
    current: bool,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Its handle.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Unix time, seconds.
    pub created_at: u64,
    /// Unix time, seconds, to the hour; none means never.
    pub last_used: Option<u64>,
}

/// A new token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewToken {
    /// What is kept.
    #[serde(flatten)]
    pub view: TokenView,
    /// The token itself. It is shown this once.
    pub token: String,
}

/// Which token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddToken {
    name: String,
    scope: Scope,
}

/// Which password.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPassword {
    password: Secret,
    current: Option<Secret>,
}

/// A new link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewLink {
    /// What stands behind the page's address: `#/link/…`.
    pub fragment: String,
    /// Unix time, seconds.
    pub expires_at: u64,
    /// Where the page is served, when it is.
    pub page: Option<String>,
    /// SHA-256 of the certificate that it is served with, where there is TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

pub(crate) async fn show<N: Node>(
    State(gateway): State<Gateway<N>>,
    caller: Caller,
) -> Result<Json<AccessView>, ApiError> {
    let record = gateway.access().record(gateway.node()).await?;
    let session = |session: SessionRecord| SessionView {
        expires_at: expires_at(&session),
        current: caller.by == By::Session && caller.who.as_ref() == Some(&session.id),
        id: session.id,
        created_at: session.created_at,
        last_used: session.last_used,
        agent: session.agent,
    };
    Ok(Json(AccessView {
        password_set: record.password.is_some(),
        sessions: record.sessions.into_iter().map(session).collect(),
        tokens: record.tokens.into_iter().map(TokenView::from).collect(),
    }))
}

pub(crate) async fn set_password<N: Node>(
    State(gateway): State<Gateway<N>>,
    caller: Caller,
    extract::Json(body): extract::Json<SetPassword>,
) -> Result<StatusCode, ApiError> {
    gateway.access().set_password(gateway.node(), &caller, body.password, body.current).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn add_token<N: Node>(
    State(gateway): State<Gateway<N>>,
    extract::Json(body): extract::Json<AddToken>,
) -> Result<(StatusCode, About, Json<NewToken>), ApiError> {
    let (kept, token) = gateway.access().add_token(gateway.node(), body.name, body.scope).await?;
    let about = About { target: Some(kept.name.clone()), detail: Some(format!("scope {}", kept.scope.as_str())) };
    Ok((StatusCode::CREATED, about, Json(NewToken { view: kept.into(), token: token.as_str().to_owned() })))
}

pub(crate) async fn remove_token<N: Node>(
    State(gateway): State<Gateway<N>>,
    Path(token): Path<String>,
) -> Result<StatusCode, ApiError> {
    gateway.access().remove_token(gateway.node(), token).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn end_session<N: Node>(
    State(gateway): State<Gateway<N>>,
    Path(session): Path<String>,
) -> Result<StatusCode, ApiError> {
    gateway.access().end_session(gateway.node(), session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// On the local socket alone: whoever can ask here is this machine's own user.
pub(crate) async fn make_link<N: Node>(State(gateway): State<Gateway<N>>) -> Json<NewLink> {
    Json(gateway.link())
}

impl From<TokenRecord> for TokenView {
    fn from(TokenRecord { id, name, scope, created_at, last_used, .. }: TokenRecord) -> Self {
        Self { id, name, scope, created_at, last_used }
    }
}

impl<N: Node> Gateway<N> {
    /// Sets the password, as this machine's own user, unless it is set already: then it stays, and with it who is
    /// signed in.
    ///
    /// # Errors
    /// The problem that the API would answer.
    pub async fn ensure_password(&self, password: &str) -> Result<(), Box<ProblemDetails>> {
        let caller = Caller::local();
        let set = self.access().ensure_password(self.node(), &caller, Secret::new(password)).await;
        if set.map_err(|error| Box::new(error.document("")))? {
            self.record(&caller, "set-password", None, Some("from a file".to_owned()), "ok").await;
        }
        Ok(())
    }

    /// A new link that signs one browser in, once, within ten minutes.
    #[must_use]
    pub fn link(&self) -> NewLink {
        let link = self.access().make_link();
        NewLink {
            fragment: format!("#/link/{}", link.as_str()),
            expires_at: unix_now() + LINK_LIFE.as_secs(),
            page: self.page(),
            certificate: self.certificate(),
        }
    }
}
