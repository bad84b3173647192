//! Profiles of this node. A password goes in and never comes out.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Json;
use miner_ctrl_protocol::{ProfileDraft, ProfileName};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::activity::About;
use crate::contract::{Operation, Routes, shape};
use crate::error::{ApiError, Code};
use crate::extract::{self, Path, Query, invalid};
use crate::node::{Node, NodeError};
use crate::paging::{Listed, Part};
use crate::router::API;

/// What an answer shows instead of a password; sent back, it means the stored one.
pub(crate) const PLACEHOLDER: &str = "********";

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<N> {
    let example = json!({
        "name": "monero", "program": "xmrig", "algorithm": "rx/0", "wallet": "YOUR_WALLET",
        "pools": [{ "url": "pool.example:3333", "tls": false }],
    });
    Routes::of("profiles")
        .get(
            "/profiles",
            list::<N>,
            Operation::new("listProfiles", "Profiles of this node")
                .notes("A password goes in and never comes out: answers show `********`.")
                .query::<Part>()
                .answers::<Vec<shape::Profile>>(StatusCode::OK, "The profiles, by name.")
                .counted(),
        )
        .post(
            "/profiles",
            add::<N>,
            Operation::new("addProfile", "Stores a new profile on this node")
                .takes::<shape::Profile>(example.clone())
                .answers::<shape::Profile>(StatusCode::CREATED, "The profile as it is stored.")
                .located()
                .fails(&[Code::Conflict]),
        )
        .get(
            "/profiles/{name}",
            show::<N>,
            Operation::new("showProfile", "One profile of this node")
                .answers::<shape::Profile>(StatusCode::OK, "The profile.")
                .fails(&[Code::Invalid, Code::UnknownProfile]),
        )
        .put(
            "/profiles/{name}",
            replace::<N>,
            Operation::new("putProfile", "Stores a profile on this node, in place of one of that name")
                .notes("`********` in place of a password keeps the stored one.")
                .takes::<NamedByPath>(example)
                .answers::<shape::Profile>(StatusCode::OK, "The profile as it is stored.")
                .answers::<shape::Profile>(StatusCode::CREATED, "The same, where there was none of that name.")
                .fails(&[Code::Conflict]),
        )
        .delete(
            "/profiles/{name}",
            remove::<N>,
            Operation::new("removeProfile", "Forgets a profile of this node; rigs keep theirs")
                .answers_nothing("It is forgotten.")
                .fails(&[Code::Invalid, Code::UnknownProfile]),
        )
}

/// A profile of which the path tells the name.
struct NamedByPath;

impl JsonSchema for NamedByPath {
    fn schema_name() -> Cow<'static, str> {
        "ProfileAtPath".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = shape::Profile::json_schema(generator);
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|field| field != "name");
        }
        schema
    }
}

async fn list<N: Node>(State(node): State<N>, Query(part): Query<Part>) -> Result<Listed<ProfileDraft>, ApiError> {
    let all = node.profiles().await?.into_iter().map(masked).collect();
    part.of("/profiles", all, |draft| draft.name.as_str())
}

async fn add<N: Node>(
    State(node): State<N>,
    extract::Json(body): extract::Json<Value>,
) -> Result<(StatusCode, [(HeaderName, String); 1], About, Json<ProfileDraft>), ApiError> {
    let draft = extract::profile("", body)?;
    refuse_placeholder("", &draft)?;
    let name = draft.name.to_string();
    let stored = node.put_profile(draft, false).await.map_err(|error| ApiError::from(error).about(&name))?;
    let location = [(header::LOCATION, format!("{API}/profiles/{name}"))];
    Ok((StatusCode::CREATED, location, About { target: Some(name), detail: None }, Json(masked(stored.profile))))
}

async fn show<N: Node>(State(node): State<N>, Path(name): Path<String>) -> Result<Json<ProfileDraft>, ApiError> {
    Ok(Json(masked(node.profile(&parsed(&name)?).await?)))
}

async fn replace<N: Node>(
    State(node): State<N>,
    Path(name): Path<String>,
    extract::Json(mut body): extract::Json<Value>,
) -> Result<(StatusCode, Json<ProfileDraft>), ApiError> {
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
    let stored = node.put_profile(draft, true).await?;
    // RFC 9110, section 9.3.4.
    let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(masked(stored.profile))))
}

async fn remove<N: Node>(State(node): State<N>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
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

/// Puts stored passwords in place of placeholders. A pool's password stays with the pool's address, and with its wallet
/// where several have that address: it never goes to another pool by an edit that did not name it.
fn keep_passwords(draft: &mut ProfileDraft, stored: &ProfileDraft) {
    if draft.password.as_deref() == Some(PLACEHOLDER)
        && let Some(password) = &stored.password
    {
        draft.password = Some(password.clone());
    }
    for (index, pool) in draft.pools.iter_mut().enumerate() {
        if pool.password.as_deref() != Some(PLACEHOLDER) {
            continue;
        }
        let of_url =
            || stored.pools.iter().enumerate().filter(|(_, same)| same.url == pool.url && same.password.is_some());
        let of_wallet = || of_url().filter(|(_, same)| same.wallet == pool.wallet);
        // Which of several is meant is not guessed.
        let here = of_wallet().find(|(at, _)| *at == index);
        let same = here.or_else(|| only(of_wallet())).or_else(|| only(of_url()));
        if let Some((_, same)) = same {
            pool.password.clone_from(&same.password);
        }
    }
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next();
    if all.next().is_some() { None } else { first }
}
