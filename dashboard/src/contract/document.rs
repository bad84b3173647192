//! The OpenAPI 3.1 document, made of what the routes say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use axum::http::{Method, StatusCode};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::events;
use super::operation::{Content, Operation, Placed, Shape};
use super::schemas::{Renamed, Schemas, bound, without_null};
use crate::access::guard::{is_open, needed};
use crate::error::{Code, ProblemDetails};
use crate::once::{MAX_KEY, takes_key};
use crate::router::API;

/// The ways in which any request can end badly.
const ANY: &[Code] = &[
    Code::BadRequest,
    Code::CrossOrigin,
    Code::Internal,
    Code::Misdirected,
    Code::ScopeTooSmall,
    Code::ShuttingDown,
    Code::SignInNeeded,
    Code::Timeout,
    Code::TooManyRequests,
    Code::TooManyTries,
    Code::UnsupportedMediaType,
];

/// What the whole is about, above all routes.
const ABOUT: &str = "Every operation of a miner-ctrl node: one API for the page, for scripts and for the command line. \
    Peers and rigs are named by their whole name, their node id, or its first 8 digits or more. Times are Unix seconds, \
    rates hashes per second; a value that is not known is null, never zero. Every failure is a problem document (RFC \
    9457): go by its `code`. 504 means that no answer came in time and that it is not known whether it was done: start, \
    stop, deploy and undeploy can safely be repeated. A write takes an `Idempotency-Key`. Live data comes with `GET \
    /events`.";

/// What routes are about, in the order in which they are shown.
#[derive(Debug)]
pub(crate) struct Noun;

impl Noun {
    pub(super) const ALL: [(&'static str, &'static str); 9] = [
        ("node", "This node, and whether it serves"),
        ("peers", "Registered peers, and strangers that wait to become one"),
        ("remote", "Rigs and their miners"),
        ("jobs", "One command to many rigs"),
        ("profiles", "What to mine, stored on this node"),
        ("history", "Hashrates over time, and numbers for Prometheus"),
        ("activity", "Who did what, and live events"),
        ("access", "Signing in, sessions, tokens"),
        ("contract", "This description"),
    ];
}

/// What the API promises.
#[derive(Debug)]
pub(crate) struct Contract {
    operations: Vec<Placed>,
    document: OnceLock<Value>,
}

impl Contract {
    pub(crate) fn new(operations: Vec<Placed>) -> Self {
        Self { operations, document: OnceLock::new() }
    }

    /// Whether there is such a route.
    pub(crate) fn describes(&self, method: &Method, path: &str) -> bool {
        self.operations.iter().any(|placed| placed.path == path && placed.method == *method)
    }

    /// The document; made when it is first asked for.
    pub(crate) fn document(&self) -> &Value {
        self.document.get_or_init(|| document(&self.operations))
    }
}

/// An operation with its schemas; those of what it reads wait for their final names.
struct Drawn<'a> {
    placed: &'a Placed,
    query: Option<Value>,
    body: Option<Value>,
    answers: Vec<Option<Value>>,
}

fn document(operations: &[Placed]) -> Value {
    let mut schemas = Schemas::new();
    let problem: Shape = SchemaGenerator::subschema_for::<ProblemDetails>;
    schemas.answered(problem);
    events::ALL.iter().for_each(|shape| drop(schemas.answered(*shape)));
    let drawn: Vec<_> = operations.iter().map(|placed| draw(placed, &mut schemas)).collect();
    let (mut all, renamed) = schemas.finish();
    name_codes(&mut all);
    let (mut paths, mut responses) = (Map::new(), Map::new());
    for drawn in drawn {
        let path = paths.entry(drawn.placed.path).or_insert_with(|| json!({}));
        let method = drawn.placed.method.as_str().to_ascii_lowercase();
        path[method] = operation(drawn, &renamed, &mut responses);
    }
    let tags: Vec<_> = Noun::ALL.iter().map(|(name, about)| json!({ "name": name, "description": about })).collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "miner-ctrl",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": API, "description": "On 127.0.0.1:9090 unless configured otherwise" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": all,
            "responses": responses,
            "parameters": {
                "IdempotencyKey": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": false,
                    "description": "Sent again with the same key within 24 h, a request that was done is not done \
                        again: its answer comes once more. A UUID will do.",
                    "schema": { "type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$" },
                },
            },
            "headers": {
                "RequestId": {
                    "description": "Under this the node's log tells more.",
                    "required": true,
                    "schema": { "type": "string" },
                },
                "RetryAfter": { "description": "Seconds to wait.", "schema": { "type": "integer", "minimum": 1 } },
                "Link": {
                    "description": "Where the list goes on, `rel=\"next\"`; missing on its last part.",
                    "schema": { "type": "string" },
                },
                "Replayed": {
                    "description": "There when this is the answer that the Idempotency-Key had before.",
                    "schema": { "type": "string", "enum": ["true"] },
                },
                "TotalCount": {
                    "description": "How many entries the whole list has.",
                    "required": true,
                    "schema": { "type": "integer", "minimum": 0 },
                },
                "Location": {
                    "description": "Where it is from now on.",
                    "required": true,
                    "schema": { "type": "string" },
                },
            },
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "mc_session",
                    "description": "The cookie of a signed-in browser; `POST /session` sets it. The node's id stands in \
                        its name in place of `session`.",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token for scripts: `miner-ctrl token add`. Its scope is read, control or admin; \
                        each includes the ones before it.",
                },
            },
        },
    });
    bound(&mut document);
    document
}

fn draw<'a>(placed: &'a Placed, schemas: &mut Schemas) -> Drawn<'a> {
    let Operation { query, body, answers, .. } = &placed.operation;
    Drawn {
        placed,
        query: query.map(|shape| schemas.requested(shape)),
        body: body.as_ref().map(|body| schemas.requested(body.shape)),
        answers: answers
            .iter()
            .map(|answer| match answer.content {
                Content::Json(shape) => Some(schemas.answered(shape)),
                Content::Empty | Content::Text(_) => None,
            })
            .collect(),
    }
}

fn operation(drawn: Drawn<'_>, renamed: &Renamed, failed: &mut Map<String, Value>) -> Value {
    let Drawn { placed, query, body, answers } = drawn;
    let Placed { method, path, noun, operation: says } = placed;
    let mut all = json!({
        "operationId": says.id,
        "summary": says.summary,
        "tags": [noun],
        "security": security(method, path),
    });
    if !says.notes.is_empty() {
        all["description"] = says.notes.into();
    }
    let mut parameters = parameters_of(path);
    if let Some(mut query) = query {
        renamed.apply(&mut query);
        parameters.extend(query_parameters(&query));
    }
    if takes_key(method, path) {
        parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    if !parameters.is_empty() {
        all["parameters"] = parameters.into();
    }
    if let (Some(mut schema), Some(body)) = (body, &says.body) {
        renamed.apply(&mut schema);
        let content = json!({ "application/json": { "schema": schema, "example": body.example } });
        all["requestBody"] = json!({ "required": body.required, "content": content });
    }
    let mut responses = Map::new();
    for (answer, schema) in says.answers.iter().zip(answers) {
        let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/RequestId" } });
        for (name, described) in &answer.headers {
            headers[*name] = json!({ "$ref": format!("#/components/headers/{described}") });
        }
        if takes_key(method, path) {
            headers["Idempotency-Replayed"] = json!({ "$ref": "#/components/headers/Replayed" });
        }
        let entry = responses
            .entry(answer.status.as_str())
            .or_insert_with(|| json!({ "description": answer.means, "headers": headers }));
        match (&answer.content, schema) {
            (Content::Json(_), Some(schema)) => entry["content"]["application/json"] = json!({ "schema": schema }),
            (Content::Text("text/event-stream"), _) => {
                entry["content"]["text/event-stream"] = json!({ "schema": events::one() });
            }
            (Content::Text(media), _) => entry["content"][*media] = json!({ "schema": { "type": "string" } }),
            _ => {}
        }
    }
    for (status, codes) in failures(placed) {
        // Named by what it says: operations that fail in the same ways share it.
        let name = codes.iter().fold(status.to_string(), |name, code| format!("{name}.{code}"));
        responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{name}") }));
        failed.entry(name).or_insert_with(|| failure(status, &codes));
    }
    all["responses"] = responses.into();
    all
}

/// What a credential needs: asked of the guard itself.
fn security(method: &Method, path: &str) -> Value {
    let scope = needed(method, path).as_str();
    if is_open(method, path) {
        return json!([{}, { "session": [] }, { "token": [scope] }]);
    }
    json!([{ "session": [] }, { "token": [scope] }])
}

/// How a request can fail, by status.
fn failures(placed: &Placed) -> BTreeMap<u16, BTreeSet<&'static str>> {
    let Placed { method, path, operation, .. } = placed;
    let mut codes = ANY.to_vec();
    codes.extend(&operation.fails);
    if operation.body.is_some() {
        codes.extend([Code::BodyTooLarge, Code::BodyTooSlow, Code::Invalid]);
    }
    if operation.query.is_some() {
        codes.push(Code::Invalid);
    }
    if path.contains('{') {
        codes.push(Code::NotFound);
    }
    if takes_key(method, path) {
        codes.extend([Code::BodyTooLarge, Code::BodyTooSlow, Code::Busy, Code::KeyInUse, Code::KeyReused]);
    }
    by_status(&codes)
}

fn by_status(codes: &[Code]) -> BTreeMap<u16, BTreeSet<&'static str>> {
    let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for code in codes {
        all.entry(code.status().as_u16()).or_default().insert(code.as_str());
    }
    all
}

fn failure(status: u16, codes: &BTreeSet<&'static str>) -> Value {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let listed: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/RequestId" } });
    if matches!(status, 429 | 503) {
        headers["Retry-After"] = json!({ "$ref": "#/components/headers/RetryAfter" });
    }
    let told = json!({ "properties": { "status": { "const": status }, "code": { "enum": codes } } });
    let schema = json!({ "allOf": [{ "$ref": "#/components/schemas/ProblemDetails" }, told] });
    json!({
        "description": format!("{reason}: {}", listed.join(", ")),
        "headers": headers,
        "content": { "application/problem+json": { "schema": schema } },
    })
}

/// The parts of a path that vary.
fn parameters_of(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let reference = |schema: &str| json!({ "$ref": format!("#/components/schemas/{schema}") });
            let text = json!({ "type": "string", "minLength": 1 });
            let (about, schema) = match name {
                "peer" => ("Its whole name, its node id, or the first 8 digits of that or more", text),
                "request" => ("The words or the node id of who asks, or at least four characters of either", text),
                "miner" => ("The miner, e.g. `xmrig-1`", reference("MinerName")),
                "name" => ("The profile", reference("ProfileName")),
                "session" => ("Handle of a session, from `GET /access`", text),
                "token" => ("Handle of a token, from `GET /access`", text),
                _ => ("Its id", text),
            };
            json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
        })
        .collect()
}

fn query_parameters(query: &Value) -> Vec<Value> {
    let required = query["required"].as_array().cloned().unwrap_or_default();
    let Some(fields) = query["properties"].as_object() else { return Vec::new() };
    fields
        .iter()
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            without_null(&mut schema);
            let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            let required = required.contains(&Value::from(name.as_str()));
            json!({ "name": name, "in": "query", "required": required, "description": about, "schema": schema })
        })
        .collect()
}

/// Every code there is stands in the schema of problems.
fn name_codes(schemas: &mut Map<String, Value>) {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    if let Some(problem) = schemas.get_mut("ProblemDetails") {
        problem["properties"]["code"]["enum"] = json!(codes);
    }
}
