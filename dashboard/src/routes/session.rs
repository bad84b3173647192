//! Signing in and out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::Caller;
use crate::access::Secret;
use crate::access::book::{Proof, expires_at};
use crate::access::client::Client;
use crate::access::guard::{Rules, caller_of};
use crate::contract::{Operation, Routes};
use crate::error::{ApiError, Code};
use crate::extract::{self, invalid};
use crate::gateway::Gateway;
use crate::node::Node;
use crate::records::{By, Scope};

/// Who is signed in.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Session {
    /// Whether anybody is.
    signed_in: bool,
    /// Whether a password is set.
    password_set: bool,
    /// Whether nobody on the way can read along; if not, the page says so.
    secure: bool,
    /// SHA-256 of the certificate, where there is TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(flatten)]
    caller: Option<Signed>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Signed {
    /// By which way.
    by: By,
    /// What this credential may do.
    scope: Scope,
    /// Unix time, seconds; null for a token.
    #[schemars(extend("x-null" = true))]
    expires_at: Option<u64>,
}

/// What one signs in with: one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// What stands behind `#/link/` in a one-time link.
    #[schemars(with = "Option<String>")]
    link: Option<Secret>,
    /// The password.
    #[schemars(with = "Option<String>")]
    password: Option<Secret>,
}

/// The route of every door.
pub(crate) fn routes<N: Node>() -> Routes<Gateway<N>> {
    Routes::of("access").get(
        "/session",
        show::<N>,
        Operation::new("session", "Whether this browser is signed in")
            .answers::<Session>(StatusCode::OK, "Whether, and as what."),
    )
}

/// The routes of the TCP gateway alone.
pub(crate) fn web_routes<N: Node>() -> Routes<Gateway<N>> {
    Routes::of("access")
        .post(
            "/session",
            sign_in::<N>,
            Operation::new("signIn", "Signs a browser in, by a one-time link or by the password")
                .notes("The cookie comes with the answer. Not on the local socket.")
                .takes::<SignIn>(json!({ "password": "correct horse battery" }))
                .answers::<Session>(StatusCode::OK, "Signed in.")
                .fails(&[Code::WrongCredentials]),
        )
        .delete(
            "/session",
            sign_out::<N>,
            Operation::new("signOut", "Signs this browser out").answers_nothing("The cookie is gone."),
        )
}

async fn show<N: Node>(State(gateway): State<Gateway<N>>, request: Request) -> Result<Json<Session>, ApiError> {
    let caller = caller_of(request.extensions()).cloned();
    // The local socket's requests have no client: they do not leave the machine.
    let secure = request.extensions().get::<Client>().is_none_or(|client| client.secure);
    Ok(Json(session(&gateway, caller.as_ref(), secure).await?))
}

async fn sign_in<N: Node>(
    State(gateway): State<Gateway<N>>,
    Extension(rules): Extension<Arc<Rules>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    extract::Json(body): extract::Json<SignIn>,
) -> Result<Response, ApiError> {
    let proof = match (body.link, body.password) {
        (Some(link), None) => Proof::Link(link),
        (None, Some(password)) => Proof::Password(password),
        _ => return Err(invalid("", "link", "or password is given, and not both")),
    };
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let (cookie, caller) = gateway.access().sign_in(gateway.node(), proof, agent, client.address).await?;
    gateway.record(&caller, "sign-in", None, None, "ok").await;
    let document = session(&gateway, Some(&caller), client.secure).await?;
    Ok(([(header::SET_COOKIE, rules.set_cookie(&cookie, client))], Json(document)).into_response())
}

async fn sign_out<N: Node>(
    State(gateway): State<Gateway<N>>,
    Extension(rules): Extension<Arc<Rules>>,
    Extension(client): Extension<Client>,
    caller: Caller,
) -> Result<Response, ApiError> {
    if let (By::Session, Some(id)) = (caller.by, caller.who) {
        gateway.access().end_session(gateway.node(), id).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, rules.clear_cookie(client))]).into_response())
}

async fn session<N: Node>(gateway: &Gateway<N>, caller: Option<&Caller>, secure: bool) -> Result<Session, ApiError> {
    let record = gateway.access().record(gateway.node()).await?;
    let signed = caller.map(|caller| {
        let own = record.sessions.iter().find(|one| caller.by == By::Session && caller.who.as_ref() == Some(&one.id));
        Signed { by: caller.by, scope: caller.scope, expires_at: own.map(expires_at) }
    });
    Ok(Session {
        signed_in: signed.is_some(),
        password_set: record.password.is_some(),
        secure,
        certificate: gateway.certificate(),
        caller: signed,
    })
}
