//! Registered peers, and strangers that wait to become one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use miner_ctrl_protocol::Permission;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::activity::About;
use crate::contract::{Operation, RIG, Routes, shape};
use crate::error::{ApiError, Code};
use crate::extract::{self, MaybeJson, Path, Query};
use crate::node::{AddPeer, Added, Node, PeerChange, PeerView, PendingView, Pinged};
use crate::paging::{Listed, Part};

/// How a stranger is admitted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    /// What it may ask of us; left out, by the roles.
    #[schemars(with = "Option<shape::Permission>")]
    permission: Option<Permission>,
}

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<N> {
    let unknown = &[Code::AmbiguousPeer, Code::UnknownPeer];
    Routes::of("peers")
        .get(
            "/peers",
            list::<N>,
            Operation::new("listPeers", "All registered peers")
                .query::<Part>()
                .answers::<Vec<PeerView>>(StatusCode::OK, "The peers, by name.")
                .counted(),
        )
        .post(
            "/peers",
            add::<N>,
            Operation::new("addPeer", "Pairs with the node at an address")
                .notes("Without a code the other side's operator approves: asking again with the same address tells.")
                .takes::<AddPeer>(json!({ "address": "192.168.1.100:9091", "name": "rig-alpha", "code": "7KQ2-M9XD" }))
                .answers::<Added>(StatusCode::OK, "Paired.")
                .answers::<Added>(StatusCode::ACCEPTED, "The other side's operator has not decided yet.")
                .fails(&[Code::Conflict, Code::PairingFailed, Code::Unreachable]),
        )
        .get(
            "/peers/pending",
            pending::<N>,
            Operation::new("listPending", "Strangers that wait for approval")
                .answers::<Vec<PendingView>>(StatusCode::OK, "Who waits; compare the words before approving."),
        )
        .post(
            "/peers/pending/{request}/approve",
            approve::<N>,
            Operation::new("approve", "Admits a stranger")
                .may_take::<Approval>(json!({ "permission": "view" }))
                .answers::<PeerView>(StatusCode::OK, "The new peer.")
                .fails(&[Code::Conflict, Code::UnknownPairingRequest]),
        )
        .post(
            "/peers/pending/{request}/deny",
            deny::<N>,
            Operation::new("deny", "Turns a stranger away")
                .answers::<PendingView>(StatusCode::OK, "Who was turned away.")
                .fails(&[Code::Conflict, Code::UnknownPairingRequest]),
        )
        .get(
            "/peers/{peer}",
            show::<N>,
            Operation::new("showPeer", "One registered peer")
                .answers::<PeerView>(StatusCode::OK, "The peer.")
                .fails(unknown),
        )
        .patch(
            "/peers/{peer}",
            change::<N>,
            Operation::new("changePeer", "Calls a peer something else, or grants it something else")
                .takes::<PeerChange>(json!({ "name": "cellar", "permission": "view" }))
                .answers::<PeerView>(StatusCode::OK, "The peer as it is now.")
                .fails(unknown)
                .fails(&[Code::Conflict]),
        )
        .delete(
            "/peers/{peer}",
            remove::<N>,
            Operation::new("removePeer", "Forgets a peer and cuts it off")
                .answers::<PeerView>(StatusCode::OK, "The peer that was removed.")
                .fails(unknown),
        )
        .post(
            "/peers/{peer}/ping",
            ping::<N>,
            Operation::new("pingPeer", "Measures a round trip through every layer to a peer and back")
                .answers::<Pinged>(StatusCode::OK, "The round trip.")
                .fails(RIG),
        )
}

async fn list<N: Node>(State(node): State<N>, Query(part): Query<Part>) -> Result<Listed<PeerView>, ApiError> {
    part.of("/peers", node.peers().await, |peer| peer.name.as_str())
}

/// 202 while the other side's operator has not decided: asking again with the same address tells.
async fn add<N: Node>(
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

async fn show<N: Node>(State(node): State<N>, Path(peer): Path<String>) -> Result<Json<PeerView>, ApiError> {
    Ok(Json(node.peer(&peer).await?))
}

async fn change<N: Node>(
    State(node): State<N>,
    Path(peer): Path<String>,
    extract::Json(change): extract::Json<PeerChange>,
) -> Result<(About, Json<PeerView>), ApiError> {
    let before = node.peer(&peer).await?;
    let after = node.change_peer(&peer, change).await?;
    let detail = [
        (before.name != after.name).then(|| format!("was called {}", before.name)),
        (before.permission != after.permission).then(|| format!("{}, was {}", after.permission, before.permission)),
    ];
    let detail = detail.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let about = About { target: Some(after.name.to_string()), detail: (!detail.is_empty()).then_some(detail) };
    Ok((about, Json(after)))
}

async fn remove<N: Node>(State(node): State<N>, Path(peer): Path<String>) -> Result<(About, Json<PeerView>), ApiError> {
    Ok(named(node.remove_peer(&peer).await?))
}

async fn ping<N: Node>(State(node): State<N>, Path(peer): Path<String>) -> Result<Json<Pinged>, ApiError> {
    Ok(Json(node.ping_peer(&peer).await?))
}

async fn pending<N: Node>(State(node): State<N>) -> Json<Vec<PendingView>> {
    Json(node.pending().await)
}

async fn approve<N: Node>(
    State(node): State<N>,
    Path(request): Path<String>,
    MaybeJson(approval): MaybeJson<Approval>,
) -> Result<(About, Json<PeerView>), ApiError> {
    let (mut about, peer) = named(node.approve(&request, approval.permission).await?);
    about.detail = Some(peer.permission.to_string());
    Ok((about, peer))
}

async fn deny<N: Node>(
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
