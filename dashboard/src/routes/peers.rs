//! Registered peers, and strangers that wait to become one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use miner_ctrl_protocol::Permission;
use serde::Deserialize;

use crate::activity::About;
use crate::error::ApiError;
use crate::extract::{self, MaybeJson, Path};
use crate::node::{AddPeer, Added, Node, PeerChange, PeerView, PendingView, Pinged};

/// How a stranger is admitted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    permission: Option<Permission>,
}

pub(crate) async fn list<N: Node>(State(node): State<N>) -> Json<Vec<PeerView>> {
    Json(node.peers().await)
}

/// 202 while the other side's operator has not decided: asking again with the same address tells.
pub(crate) async fn add<N: Node>(
    State(node): State<N>,
    extract::Json(add): extract::Json<AddPeer>,
) -> Result<(StatusCode, About, Json<Added>), ApiError> {
    let address = add.address.clone();
    let added = node.add_peer(add).await.map_err(|error| ApiError::from(error).about(&address))?;
    let (status, target, detail) = match &added {
        Added::Paired { peer } => (StatusCode::OK, peer.name.to_string(), address),
        Added::Pending { .. } => (StatusCode::ACCEPTED, address, "waits for approval".to_owned()),
    };
    Ok((status, About { target: Some(target), detail: Some(detail) }, Json(added)))
}

pub(crate) async fn show<N: Node>(State(node): State<N>, Path(peer): Path<String>) -> Result<Json<PeerView>, ApiError> {
    Ok(Json(node.peer(&peer).await?))
}

pub(crate) async fn change<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    extract::Json(change): extract::Json<PeerChange>,
) -> Result<(About, Json<PeerView>), ApiError> {
    Ok(named(node.change_peer(&peer, change).await?))
}

pub(crate) async fn remove<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
) -> Result<(About, Json<PeerView>), ApiError> {
    Ok(named(node.remove_peer(&peer).await?))
}

pub(crate) async fn ping<N: Node>(State(node): State<N>, Path(peer): Path<String>) -> Result<Json<Pinged>, ApiError> {
    Ok(Json(node.ping_peer(&peer).await?))
}

pub(crate) async fn pending<N: Node>(State(node): State<N>) -> Json<Vec<PendingView>> {
    Json(node.pending().await)
}

pub(crate) async fn approve<N: Node>(
    State(node): State<N>,
    Path(request): Path<String>,
    MaybeJson(approval): MaybeJson<Approval>,
) -> Result<(About, Json<PeerView>), ApiError> {
    Ok(named(node.approve(&request, approval.permission).await?))
}

pub(crate) async fn deny<N: Node>(
    State(node): State<N>,
    Path(request): Path<String>,
) -> Result<(About, Json<PendingView>), ApiError> {
    let denied = node.deny(&request).await?;
    Ok((About { target: Some(denied.name.to_string()), detail: Some(denied.address.clone()) }, Json(denied)))
}

/// A person may name a peer by a part of its id; the log names it by its name.
fn named(peer: PeerView) -> (About, Json<PeerView>) {
    (About { target: Some(peer.name.to_string()), detail: None }, Json(peer))
}
