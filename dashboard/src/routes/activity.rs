//! Who did what.

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use futures::{StreamExt, future, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{Operation, Routes};
use crate::error::ApiError;
use crate::extract::{Query, invalid};
use crate::gateway::Gateway;
use crate::node::{Node, NodeError};
use crate::records::{Activity, ActivityQuery};

/// Entries in a page when nobody says how many.
const DEFAULT_ENTRIES: u32 = 100;

/// Entries in a page.
const MAX_ENTRIES: u32 = 1000;

/// Which entries.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// At most so many, the newest; left out, 100, and as a table all.
    #[schemars(range(min = 1, max = MAX_ENTRIES))]
    limit: Option<u32>,
    /// Only entries below this id.
    before: Option<u64>,
    /// Only of this rig, peer, profile or token.
    target: Option<String>,
    /// Only by this session or token.
    who: Option<String>,
    /// Only this action, e.g. `start`.
    action: Option<String>,
    /// Only with this result: `ok`, or a problem's code.
    result: Option<String>,
    /// As JSON, or as a table for spreadsheets.
    #[serde(default)]
    format: Format,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Csv,
    #[default]
    Json,
}

/// Entries, newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ActivityPage {
    /// Newest first.
    pub entries: Vec<Activity>,
    /// Ask with `before` this for older ones; none when there are none.
    pub next: Option<u64>,
}

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<Gateway<N>> {
    Routes::of("activity").get(
        "/activity",
        list::<N>,
        Operation::new("listActivity", "Who did what to which rig, with what result")
            .query::<Which>()
            .answers::<ActivityPage>(StatusCode::OK, "The entries, newest first.")
            .answers_text("text/csv", "The entries, newest first."),
    )
}

async fn list<N: Node>(State(gateway): State<Gateway<N>>, Query(which): Query<Which>) -> Result<Response, ApiError> {
    let Which { limit, before, target, who, action, result, format } = which;
    let whole = limit.is_none() && format == Format::Csv;
    let limit = limit.unwrap_or(if whole { MAX_ENTRIES } else { DEFAULT_ENTRIES });
    if !(1..=MAX_ENTRIES).contains(&limit) {
        return Err(invalid("", "limit", format!("is 1 to {MAX_ENTRIES}")));
    }
    let query = ActivityQuery { limit, before, target, who, action, result };
    let ActivityPage { entries, next } = page(gateway.node(), query.clone()).await?;
    Ok(match format {
        Format::Json => Json(ActivityPage { entries, next }).into_response(),
        Format::Csv => {
            let headers = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"activity.csv\""),
            ];
            let first = HEAD.to_owned() + &csv(&entries);
            // Page by page: all that are kept would be tens of megabytes at once.
            let rest = stream::try_unfold(next.filter(|_| whole), move |before| {
                let (gateway, query) = (gateway.clone(), ActivityQuery { before, ..query.clone() });
                async move {
                    if before.is_none() {
                        return Ok(None);
                    }
                    let ActivityPage { entries, next } = page(gateway.node(), query).await?;
                    Ok::<_, NodeError>(Some((csv(&entries), next)))
                }
            });
            let body = Body::from_stream(stream::once(future::ready(Ok(first))).chain(rest));
            (headers, body).into_response()
        }
    })
}

async fn page<N: Node>(node: &N, query: ActivityQuery) -> Result<ActivityPage, NodeError> {
    let limit = query.limit as usize;
    // One more than asked for tells whether there are more.
    let mut entries = node.activity(ActivityQuery { limit: query.limit + 1, ..query }).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| last.id);
    Ok(ActivityPage { entries, next })
}

/// What the columns are.
const HEAD: &str = "id,at,by,who,from,action,target,detail,result\r\n";

fn csv(entries: &[Activity]) -> String {
    let mut text = String::new();
    for entry in entries {
        let from = entry.from.map(|from| from.to_string());
        let optional = |value: &Option<String>| cell(value.as_deref().unwrap_or_default());
        text += &format!(
            "{},{},{},{},{},{},{},{},{}\r\n",
            entry.id,
            entry.at,
            entry.by.as_str(),
            optional(&entry.who),
            optional(&from),
            cell(&entry.action),
            optional(&entry.target),
            optional(&entry.detail),
            cell(&entry.result),
        );
    }
    text
}

/// A cell by RFC 4180. A spreadsheet takes what begins like a formula for one, and texts come from other machines.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guarded = if formula { format!("'{text}") } else { text.to_owned() };
    if guarded.contains(['"', ',', '\n', '\r', '\'']) {
        return format!("\"{}\"", guarded.replace('"', "\"\""));
    }
    guarded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_and_is_no_formula() {
        assert_eq!(cell("rig-alpha"), "rig-alpha");
        assert_eq!(cell("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        assert_eq!(cell("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
    }
}
