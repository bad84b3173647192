//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post, put};
use tokio_util::sync::CancellationToken;

use crate::access::guard::{self, Guard, Rules};
use crate::activity::recorded;
use crate::gateway::Gateway;
use crate::node::Node;
use crate::routes::{
    access, activity, events, health, history, metrics, node as this_node, peers, profiles, remote, session,
};
use crate::surround;

/// What every path of the API begins with.
pub const API: &str = "/api/v1/mining";

/// Largest body: names, addresses and one profile written inline stay far below.
const BODY_LIMIT: usize = 64 * 1024;

/// Largest profile: the most pools and arguments that a profile may have, every character escaped.
const PROFILE_LIMIT: usize = 256 * 1024;

/// The whole API over one node, for this machine's own user.
///
/// It knows no login: whoever serves it lets in nobody else. Streams of it end with their readers; a gateway with more
/// doors than this one is a [`Gateway`].
pub fn router<N: Node>(node: N) -> Router {
    Gateway::new(node, CancellationToken::new()).local()
}

/// For the local socket.
pub(crate) fn local<N: Node>(gateway: &Gateway<N>) -> Router {
    let links = Router::new().route("/access/links", post(access::make_link::<N>)).with_state(gateway.clone());
    let api = api(gateway).merge(links.route_layer(from_fn_with_state(gateway.clone(), recorded::<N>)));
    // Outermost, so that what axum itself answers (404, 405) is a problem document with the headers, too.
    Router::new().nest(API, api).layer(from_fn(guard::local)).layer(from_fn(surround::surround))
}

/// For TCP: nothing passes the guard that brings no credential, but the page and what one signs in with.
pub(crate) fn web<N: Node>(gateway: &Gateway<N>, rules: Arc<Rules>, page: Router) -> Router {
    let session = Router::new()
        .route("/session", post(session::sign_in::<N>).delete(session::sign_out::<N>))
        .with_state(gateway.clone())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .route_layer(from_fn_with_state(gateway.clone(), recorded::<N>));
    let guarding = Guard { gateway: gateway.clone(), rules };
    Router::new()
        .nest(API, api(gateway).merge(session))
        .merge(page)
        .layer(from_fn_with_state(guarding, guard::guard::<N>))
        .layer(from_fn(surround::surround))
}

fn api<N: Node>(gateway: &Gateway<N>) -> Router {
    let profiles = Router::new()
        .route("/profiles", get(profiles::list::<N>).post(profiles::add::<N>))
        .route("/profiles/{name}", get(profiles::show::<N>).put(profiles::replace::<N>).delete(profiles::remove::<N>))
        .layer(DefaultBodyLimit::max(PROFILE_LIMIT));
    let of_node = Router::new()
        .route("/health", get(health::alive))
        .route("/ready", get(health::ready::<N>))
        .route("/node/pairing-code", post(this_node::pairing_code::<N>))
        .route("/history", get(history::fleet::<N>))
        .route("/history/{peer}", get(history::show::<N>))
        .route("/peers", get(peers::list::<N>).post(peers::add::<N>))
        .route("/peers/pending", get(peers::pending::<N>))
        .route("/peers/pending/{request}/approve", post(peers::approve::<N>))
        .route("/peers/pending/{request}/deny", post(peers::deny::<N>))
        .route("/peers/{peer}", get(peers::show::<N>).merge(delete(peers::remove::<N>)).patch(peers::change::<N>))
        .route("/peers/{peer}/ping", post(peers::ping::<N>))
        .route("/remote/stats", get(remote::rigs::<N>))
        .route("/remote/{peer}/stats", get(remote::rig::<N>))
        .route("/remote/{peer}/start", post(remote::start::<N>))
        .route("/remote/{peer}/stop", post(remote::stop::<N>))
        .route("/remote/{peer}/restart", post(remote::restart::<N>))
        .route("/remote/{peer}/deploy", post(remote::deploy::<N>))
        .route("/remote/{peer}/logs", get(remote::logs::<N>))
        .route("/remote/{peer}/logs/{miner}", get(remote::logs_of::<N>))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .merge(profiles)
        .with_state(gateway.node().clone());
    let of_gateway = Router::new()
        .route("/access", get(access::show::<N>))
        .route("/access/password", put(access::set_password::<N>))
        .route("/access/sessions/{session}", delete(access::end_session::<N>))
        .route("/access/tokens", post(access::add_token::<N>))
        .route("/access/tokens/{token}", delete(access::remove_token::<N>))
        .route("/activity", get(activity::list::<N>))
        .route("/events", get(events::listen::<N>))
        .route("/metrics", get(metrics::all::<N>))
        .route("/node/info", get(this_node::info::<N>))
        .route("/session", get(session::show::<N>))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(gateway.clone());
    of_node.merge(of_gateway).route_layer(from_fn_with_state(gateway.clone(), recorded::<N>))
}
