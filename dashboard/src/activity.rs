//! Every write through any gateway is kept: who, what, to which rig, with what result.

use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use miner_ctrl_protocol::message::ProfileChoice;

use crate::access::Caller;
use crate::access::book::unix_now;
use crate::error::{ApiError, Code};
use crate::gateway::Gateway;
use crate::node::{MinerCommand, Node};
use crate::once::REPLAYED;
use crate::records::{Activity, By};
use crate::router::API;

/// Longest text kept of what a request named: names are shorter, and an address is not much longer.
const MAX_TEXT: usize = 200;

/// What a route tells about itself, besides its path.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) target: Option<String>,
    pub(crate) detail: Option<String>,
}

impl IntoResponseParts for About {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// Runs a request; keeps what it did when it was one that does something.
pub(crate) async fn recorded<N: Node>(
    State(gateway): State<Gateway<N>>,
    parameters: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(((action, path), caller)) = matched
        .and_then(|path| Some((action(request.method(), path.strip_prefix(API)?)?, path)))
        .zip(request.extensions().get::<Caller>().cloned())
    else {
        return next.run(request).await;
    };
    if action == "sign-out" && caller.by != By::Session {
        // Nobody is signed in, so nobody is signed out.
        return next.run(request).await;
    }
    let named = parameters.iter().next().map(|(_, value)| value.to_owned());
    // In a task of its own: an asker that goes away must not keep what was done from being written.
    let done = tokio::spawn(async move {
        let mut response = next.run(request).await;
        let About { target, detail } = response.extensions_mut().remove().unwrap_or_default();
        let failed = ApiError::of(&response);
        let code = match &failed {
            Some(error) => Some(error.code),
            None if response.status().is_success() => None,
            None => Some(ApiError::of_status(response.status()).code),
        };
        // What was done before is written already.
        let replayed = response.headers().contains_key(REPLAYED);
        // Nothing was done yet: who waits for approval asks again every few seconds, until it is or is not.
        let undecided = response.status() == StatusCode::ACCEPTED;
        if code != Some(Code::MethodNotAllowed) && !replayed && !undecided {
            let target = match (target, named) {
                (None, Some(named)) if names_a_peer(&path) => Some(gateway.name_of(named).await),
                (target, named) => target.or(named).or_else(|| failed.and_then(|error| error.target.clone())),
            };
            gateway.record(&caller, action, target, detail, code.map_or("ok", Code::as_str)).await;
        }
        response
    });
    match done.await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => ApiError::new(Code::ShuttingDown, "this node is shutting down").into_response(),
        },
    }
}

/// What is said of a start before its miners, and when it failed. A profile that came with its start is none that is
/// stored, whatever it is called.
pub(crate) fn profile_told(command: &MinerCommand) -> String {
    match command {
        MinerCommand::Start { profile: ProfileChoice::Inline(draft), .. } => {
            let pools: Vec<_> = draft.pools.iter().map(|pool| pool.url.as_str()).collect();
            format!("profile {} at {}", draft.name, pools.join(" "))
        }
        MinerCommand::Start { profile: ProfileChoice::Stored(name), .. } => format!("profile {name}"),
        MinerCommand::Restart(_) | MinerCommand::Stop(_) => String::new(),
    }
}

/// What is said of a write that found done what it asked for.
pub(crate) const fn so_already(changed: bool) -> &'static str {
    if changed { "" } else { " (was so already)" }
}

fn names_a_peer(path: &str) -> bool {
    path.contains("/remote/{peer}") || path.contains("/peers/{peer}")
}

/// The word for what a request does; none for one that does nothing.
pub(crate) fn action(method: &Method, path: &str) -> Option<&'static str> {
    Some(match (method.as_str(), path) {
        ("POST", "/node/init") => "init",
        ("POST", "/node/pairing-code") => "show-pairing-code",
        ("POST", "/peers") => "add-peer",
        ("PATCH", "/peers/{peer}") => "change-peer",
        ("DELETE", "/peers/{peer}" | "/peers/pending") => "remove-peer",
        ("POST", "/peers/pending/{request}/approve") => "approve",
        ("POST", "/peers/pending/{request}/deny") => "deny",
        ("POST", "/remote/{peer}/start") => "start",
        ("POST", "/remote/{peer}/stop") => "stop",
        ("POST", "/remote/{peer}/restart") => "restart",
        ("POST", "/remote/{peer}/deploy") => "deploy",
        ("POST", "/remote/{peer}/undeploy") => "undeploy",
        ("POST", "/profiles") => "add-profile",
        ("PUT", "/profiles/{name}") => "change-profile",
        ("DELETE", "/profiles/{name}") => "remove-profile",
        ("PUT", "/access/password") => "set-password",
        ("POST", "/access/tokens") => "add-token",
        ("DELETE", "/access/tokens/{token}") => "remove-token",
        ("DELETE", "/access/sessions/{session}") => "end-session",
        ("POST", "/access/links") => "make-link",
        ("DELETE", "/session") => "sign-out",
        // Written by its route, since nobody is signed in before.
        ("POST", "/session") => return None,
        // Each rig of it is written by itself, as it ends.
        ("POST", "/jobs" | "/jobs/{job}/retry") => return None,
        // It changes nothing, and a script does it every few seconds.
        ("POST", "/peers/{peer}/ping") => return None,
        ("GET" | "HEAD" | "OPTIONS", _) => return None,
        // A route that somebody added and forgot here is kept all the same.
        _ => "other",
    })
}

impl<N: Node> Gateway<N> {
    /// A peer's name, where somebody named it otherwise: what happened to a rig is looked for by that.
    async fn name_of(&self, named: String) -> String {
        self.node().peer(&named).await.map_or(named, |peer| peer.name.to_string())
    }

    /// Keeps what was done, and tells open pages. A full disk must not undo what is done already, so that a failure is
    /// logged and no more.
    pub(crate) async fn record(
        &self,
        caller: &Caller,
        action: &str,
        target: Option<String>,
        detail: Option<String>,
        result: &str,
    ) {
        let short = |text: String| text.chars().take(MAX_TEXT).collect();
        let entry = Activity {
            id: 0,
            at: unix_now(),
            by: caller.by,
            who: caller.who.clone(),
            from: caller.from,
            action: action.to_owned(),
            target: target.map(short),
            detail: detail.map(short),
            result: result.to_owned(),
        };
        match self.node().put_activity(entry).await {
            Ok(kept) => self.live().tell(&kept),
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, action, "an activity is not kept"),
        }
    }
}
