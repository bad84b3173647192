//! Who may come in: sessions, tokens, the password, links.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::book::{LINK_LIFE, expires_at, unix_now};
use crate::access::{Caller, Secret, password};
use crate::activity::About;
use crate::contract::{Operation, Routes};
use crate::error::{ApiError, Code, ProblemDetails};
use crate::extract::{self, Path};
use crate::gateway::Gateway;
use crate::node::Node;
use crate::records::{By, Scope, SessionRecord, TokenRecord};

/// All of it, without anything secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AccessView {
    /// Whether a password is set.
    password_set: bool,
    /// Signed-in browsers.
    sessions: Vec<SessionView>,
    /// Tokens for scripts.
    tokens: Vec<TokenView>,
}

/// A signed-in browser.
#[derive(Debug, Serialize, JsonSchema)]
struct SessionView {
    /// Its handle.
    id: String,
    /// Unix time, seconds.
    created_at: u64,
    /// Unix time, seconds, to the hour.
    last_used: u64,
    /// Unix time, seconds.
    expires_at: u64,
    /// What the browser calls itself.
    agent: String,
    /// The one that asks.
    current: bool,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// What is kept.
    #[serde(flatten)]
    pub view: TokenView,
    /// The token itself. It is shown this once.
    pub token: String,
}

/// Which token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddToken {
    /// What to call it.
    name: String,
    /// What it may do.
    scope: Scope,
}

/// Which password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPassword {
    /// The new one.
    #[schemars(with = "String")]
    password: Secret,
    /// The one before, when there is one.
    #[schemars(with = "Option<String>")]
    current: Option<Secret>,
}

/// A new link.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<Gateway<N>> {
    Routes::of("access")
        .get(
            "/access",
            show::<N>,
            Operation::new("access", "Who may come in, without anything secret")
                .answers::<AccessView>(StatusCode::OK, "Sessions and tokens."),
        )
        .put(
            "/access/password",
            set_password::<N>,
            Operation::new("setPassword", "Sets the password; every other browser is signed out")
                .takes::<SetPassword>(json!({ "password": "correct horse battery" }))
                .answers_nothing("It is set."),
        )
        .delete(
            "/access/sessions/{session}",
            end_session::<N>,
            Operation::new("endSession", "Signs a browser out")
                .answers_nothing("It is signed out.")
                .fails(&[Code::UnknownCredential]),
        )
        .post(
            "/access/tokens",
            add_token::<N>,
            Operation::new("addToken", "Makes a token for a script")
                .takes::<AddToken>(json!({ "name": "grafana", "scope": "read" }))
                .answers::<NewToken>(StatusCode::CREATED, "The token; it is shown this once.")
                .fails(&[Code::Conflict]),
        )
        .delete(
            "/access/tokens/{token}",
            remove_token::<N>,
            Operation::new("removeToken", "Makes a token worthless")
                .answers_nothing("It is worthless.")
                .fails(&[Code::UnknownCredential]),
        )
}

/// The route that only the local socket has.
pub(crate) fn local_routes<N: Node>() -> Routes<Gateway<N>> {
    Routes::of("access").post(
        "/access/links",
        make_link::<N>,
        Operation::new("makeLink", "Makes a link that signs a browser in, once, within ten minutes")
            .notes("On the local socket alone: elsewhere nothing lives at this path.")
            .answers::<NewLink>(StatusCode::OK, "The link.")
            .fails(&[Code::NotFound]),
    )
}

async fn show<N: Node>(State(gateway): State<Gateway<N>>, caller: Caller) -> Result<Json<AccessView>, ApiError> {
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

async fn set_password<N: Node>(
    State(gateway): State<Gateway<N>>,
    caller: Caller,
    extract::Json(body): extract::Json<SetPassword>,
) -> Result<StatusCode, ApiError> {
    gateway.access().set_password(gateway.node(), &caller, body.password, body.current).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add_token<N: Node>(
    State(gateway): State<Gateway<N>>,
    extract::Json(body): extract::Json<AddToken>,
) -> Result<(StatusCode, About, Json<NewToken>), ApiError> {
    let (kept, token) = gateway.access().add_token(gateway.node(), body.name, body.scope).await?;
    let about =
        About { target: Some(kept.name.clone()), detail: Some(format!("{}, scope {}", kept.id, kept.scope.as_str())) };
    Ok((StatusCode::CREATED, about, Json(NewToken { view: kept.into(), token: token.as_str().to_owned() })))
}

async fn remove_token<N: Node>(
    State(gateway): State<Gateway<N>>,
    Path(token): Path<String>,
) -> Result<StatusCode, ApiError> {
    gateway.access().remove_token(gateway.node(), token).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_session<N: Node>(
    State(gateway): State<Gateway<N>>,
    Path(session): Path<String>,
) -> Result<StatusCode, ApiError> {
    gateway.access().end_session(gateway.node(), session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// On the local socket alone: whoever can ask here is this machine's own user.
async fn make_link<N: Node>(State(gateway): State<Gateway<N>>) -> Json<NewLink> {
    Json(gateway.link())
}

impl From<TokenRecord> for TokenView {
    fn from(TokenRecord { id, name, scope, created_at, last_used, .. }: TokenRecord) -> Self {
        Self { id, name, scope, created_at, last_used }
    }
}

/// Whether this could become the password.
///
/// # Errors
/// The problem that the API would answer.
pub fn check_password(password: &str) -> Result<(), Box<ProblemDetails>> {
    password::check(&Secret::new(password)).map_err(|error| Box::new(error.document("")))
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
