//! Which path leads where.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};

use crate::node::Node;
use crate::routes::{health, node as this_node, peers, profiles, remote};
use crate::surround;

/// What every path of the API begins with.
pub const API: &str = "/api/v1/mining";

/// Largest body: names, addresses and one profile written inline stay far below.
const BODY_LIMIT: usize = 64 * 1024;

/// Largest profile: the most pools and arguments that a profile may have, every character escaped.
const PROFILE_LIMIT: usize = 256 * 1024;

/// The whole API over one node.
pub fn router<N: Node>(node: N) -> Router {
    let profiles = Router::new()
        .route("/profiles", get(profiles::list::<N>).post(profiles::add::<N>))
        .route("/profiles/{name}", get(profiles::show::<N>).put(profiles::replace::<N>).delete(profiles::remove::<N>))
        .layer(DefaultBodyLimit::max(PROFILE_LIMIT));
    let api = Router::new()
        .route("/health", get(health::alive))
        .route("/ready", get(health::ready::<N>))
        .route("/node/info", get(this_node::info::<N>))
        .route("/node/pairing-code", post(this_node::pairing_code::<N>))
        .route("/peers", get(peers::list::<N>).post(peers::add::<N>))
        .route("/peers/pending", get(peers::pending::<N>).delete(peers::remove_called_pending::<N>))
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
        .merge(profiles);
    // Outermost, so that what axum itself answers (404, 405) is a problem document with the headers, too.
    Router::new().nest(API, api).with_state(node).layer(axum::middleware::from_fn(surround::surround))
}
