//! Which path leads where.

use std::sync::Arc;

use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};
use tokio_util::sync::CancellationToken;

use crate::access::guard::{self, Guard, Rules};
use crate::activity::recorded;
use crate::contract::{Contract, Routes};
use crate::gateway::Gateway;
use crate::node::Node;
use crate::once::once;
use crate::routes::{
    access, activity, contract, events, health, history, jobs, metrics, node as this_node, peers, profiles, remote,
    session,
};
use crate::surround;
use crate::unread::{Unread, unread};

/// What every path of the API begins with.
pub const API: &str = "/api/v1/mining";

/// Largest body: names, addresses and one profile written inline stay far below.
const BODY_LIMIT: usize = 64 * 1024;

/// Largest job: 10 000 names of 64 characters, and a profile.
pub(crate) const JOB_LIMIT: usize = 1024 * 1024;

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
    let (api, contract) = api(gateway);
    let (links, _) = links(gateway).into_parts();
    let api = api.merge(links.route_layer(from_fn_with_state(gateway.clone(), recorded::<N>)));
    // Outermost, so that what axum itself answers (404, 405) is a problem document with the headers, too.
    let all = Router::new().nest(API, api.layer(Extension(contract)));
    all.layer(from_fn(guard::local)).layer(from_fn(surround::surround))
}

/// For TCP: nothing passes the guard that brings no credential, but the page and what one signs in with.
pub(crate) fn web<N: Node>(gateway: &Gateway<N>, rules: Arc<Rules>, page: Router) -> Router {
    let (api, contract) = api(gateway);
    let (session, _) = sessions(gateway).into_parts();
    let api = api.merge(session.route_layer(from_fn_with_state(gateway.clone(), recorded::<N>)));
    let guarding = Guard { gateway: gateway.clone(), rules };
    Router::new()
        .nest(API, api.layer(Extension(contract)))
        .merge(page)
        .layer(from_fn_with_state(guarding, guard::guard::<N>))
        .layer(from_fn(surround::surround))
}

/// What every door has, and what is promised of all doors.
fn api<N: Node>(gateway: &Gateway<N>) -> (Router, Arc<Contract>) {
    let of_node = health::routes::<N>()
        .and(history::routes())
        .and(peers::routes())
        .and(remote::routes())
        .and(contract::routes())
        .limited(BODY_LIMIT)
        .and(profiles::routes().limited(PROFILE_LIMIT))
        .over(gateway.node().clone());
    let of_gateway = access::routes::<N>()
        .and(activity::routes())
        .and(events::routes())
        .and(metrics::routes())
        .and(session::routes())
        .and(this_node::routes())
        .limited(BODY_LIMIT)
        .and(jobs::routes().limited(JOB_LIMIT))
        .over(gateway.clone());
    let (router, mut operations) = of_node.and(of_gateway).into_parts();
    for elsewhere in [links(gateway), sessions(gateway)] {
        operations.extend(elsewhere.into_parts().1);
    }
    // Inside of what records: what was begun is ended and kept, whether its asker waits or not.
    let router = router.route_layer(from_fn_with_state(gateway.clone(), once::<N>));
    let router = router.route_layer(from_fn_with_state(gateway.clone(), recorded::<N>));
    let router = router.route_layer(from_fn_with_state(Unread::default(), unread));
    (router, Arc::new(Contract::new(operations)))
}

/// What is promised, without a router.
#[cfg(test)]
pub(crate) fn contract<N: Node>(gateway: &Gateway<N>) -> Arc<Contract> {
    api(gateway).1
}

/// On the local socket alone.
fn links<N: Node>(gateway: &Gateway<N>) -> Routes<()> {
    access::local_routes::<N>().limited(BODY_LIMIT).over(gateway.clone())
}

/// Over TCP alone.
fn sessions<N: Node>(gateway: &Gateway<N>) -> Routes<()> {
    session::web_routes::<N>().limited(BODY_LIMIT).over(gateway.clone())
}
