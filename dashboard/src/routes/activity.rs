//! Who did what.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{Operation, Routes};
use crate::error::ApiError;
use crate::extract::{Query, invalid};
use crate::gateway::Gateway;
use crate::node::Node;
use crate::records::{Activity, ActivityQuery};

/// Entries in a page when nobody says how many.
const DEFAULT_ENTRIES: u32 = 100;

/// Entries in a page.
const MAX_ENTRIES: u32 = 1000;

/// Which entries.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// At most so many, the newest; 100 when left out.
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
    let limit = limit.unwrap_or(DEFAULT_ENTRIES);
    if !(1..=MAX_ENTRIES).contains(&limit) {
        return Err(invalid("", "limit", format!("is 1 to {MAX_ENTRIES}")));
    }
    // One more than asked for tells whether there are more.
    let query = ActivityQuery { limit: limit + 1, before, target, who, action, result };
    let mut entries = gateway.node().activity(query).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|last| last.id);
    Ok(match format {
        Format::Json => Json(ActivityPage { entries, next }).into_response(),
        Format::Csv => {
            let headers = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"activity.csv\""),
            ];
            (headers, csv(&entries)).into_response()
        }
    })
}

fn csv(entries: &[Activity]) -> String {
    let mut text = String::from("id,at,by,who,from,action,target,detail,result\r\n");
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
