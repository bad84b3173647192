//! Profiles of this node. A password goes in and never comes out.

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Json;
use miner_ctrl_protocol::{ProfileDraft, ProfileName};
use serde_json::Value;

use crate::activity::About;
use crate::error::ApiError;
use crate::extract::{self, Path, invalid};
use crate::node::{Node, NodeError};
use crate::router::API;

/// What an answer shows instead of a password; sent back, it means the stored one.
pub(crate) const PLACEHOLDER: &str = "********";

pub(crate) async fn list<N: Node>(State(node): State<N>) -> Result<Json<Vec<ProfileDraft>>, ApiError> {
    Ok(Json(node.profiles().await?.into_iter().map(masked).collect()))
}

pub(crate) async fn add<N: Node>(
    State(node): State<N>,
    extract::Json(body): extract::Json<Value>,
) -> Result<(StatusCode, [(HeaderName, String); 1], About, Json<ProfileDraft>), ApiError> {
    let draft = extract::profile("", body)?;
    refuse_placeholder("", &draft)?;
    let name = draft.name.to_string();
    let stored = node.put_profile(draft, false).await.map_err(|error| ApiError::from(error).about(&name))?;
    let location = [(header::LOCATION, format!("{API}/profiles/{name}"))];
    Ok((StatusCode::CREATED, location, About { target: Some(name), detail: None }, Json(masked(stored))))
}

pub(crate) async fn show<N: Node>(
    State(node): State<N>,
    Path(name): Path<String>,
) -> Result<Json<ProfileDraft>, ApiError> {
    Ok(Json(masked(node.profile(&parsed(&name)?).await?)))
}

pub(crate) async fn replace<N: Node>(
    State(node): State<N>,
    Path(name): Path<String>,
    extract::Json(mut body): extract::Json<Value>,
) -> Result<Json<ProfileDraft>, ApiError> {
    let name = parsed(&name)?;
    if let Some(fields) = body.as_object_mut() {
        fields.entry("name").or_insert_with(|| name.as_str().into());
    }
    let mut draft = extract::profile("", body)?;
    if draft.name != name {
        return Err(invalid("", "name", format!("is not `{name}`, which the path names; a profile is not renamed")));
    }
    if has_placeholder(&draft) {
        match node.profile(&name).await {
            Ok(stored) => keep_passwords(&mut draft, &stored),
            Err(NodeError::UnknownProfile(_)) => {}
            Err(error) => return Err(error.into()),
        }
        refuse_placeholder("", &draft)?;
    }
    Ok(Json(masked(node.put_profile(draft, true).await?)))
}

pub(crate) async fn remove<N: Node>(State(node): State<N>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    node.remove_profile(&parsed(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses a placeholder that stands for no stored password: it would become the password.
pub(crate) fn refuse_placeholder(at: &str, draft: &ProfileDraft) -> Result<(), ApiError> {
    let why = "is the placeholder, and no password is stored for it: write the password itself";
    if draft.password.as_deref() == Some(PLACEHOLDER) {
        return Err(invalid(at, "password", why));
    }
    match draft.pools.iter().position(|pool| pool.password.as_deref() == Some(PLACEHOLDER)) {
        Some(index) => Err(invalid(at, &format!("pools[{index}].password"), why)),
        None => Ok(()),
    }
}

fn parsed(name: &str) -> Result<ProfileName, ApiError> {
    name.parse().map_err(|error| invalid("", "name", format!("is no profile name: {error}")))
}

fn masked(mut draft: ProfileDraft) -> ProfileDraft {
    let mask = |password: &mut Option<String>| {
        if password.is_some() {
            *password = Some(PLACEHOLDER.to_owned());
        }
    };
    mask(&mut draft.password);
    draft.pools.iter_mut().for_each(|pool| mask(&mut pool.password));
    draft
}

fn has_placeholder(draft: &ProfileDraft) -> bool {
    refuse_placeholder("", draft).is_err()
}

/// Puts stored passwords in place of placeholders. A pool's password stays with the pool's address: it never goes
/// to another pool by an edit that did not name it.
fn keep_passwords(draft: &mut ProfileDraft, stored: &ProfileDraft) {
    if draft.password.as_deref() == Some(PLACEHOLDER)
        && let Some(password) = &stored.password
    {
        draft.password = Some(password.clone());
    }
    for pool in &mut draft.pools {
        if pool.password.as_deref() == Some(PLACEHOLDER)
            && let Some(same) = stored.pools.iter().find(|same| same.url == pool.url && same.password.is_some())
        {
            pool.password.clone_from(&same.password);
        }
    }
}
