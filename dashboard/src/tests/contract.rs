//! That the API is what its description says. Every answer that any test of this crate gets is held against it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use axum::http::{Method, StatusCode, header};
use miner_ctrl_protocol::message::{LogLine, LogPage};
use miner_ctrl_protocol::profile::Pool;
use miner_ctrl_protocol::stats::{DeviceStats, HostStats};
use miner_ctrl_protocol::{
    Hashrate, Measure, MinerState, MinerStatus, Permission, ProfileDraft, Program, RigStats, Role, Shares,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::ask::{Answer, ask};
use super::door::{Door, knock};
use super::events::listen;
use super::routes::monero;
use crate::memory::Memory;
use crate::records::{By, Scope};
use crate::{API, Code, activity};

/// Set, the test writes the file in place of comparing it.
const RENEW: &str = "MINER_CTRL_RENEW";

/// The file in git.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let gateway = crate::Gateway::new(Memory::default(), tokio_util::sync::CancellationToken::new());
    crate::router::contract(&gateway).document().clone()
});

/// The path of the description that this path is one of. Fixed parts win over variable ones.
fn template(path: &str) -> Option<&'static str> {
    let asked: Vec<_> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<_> = template.split('/').collect();
        parts.len() == asked.len()
            && parts.iter().zip(&asked).all(|(part, asked)| part.starts_with('{') || part == asked)
    };
    let variable = |template: &str| template.matches('{').count();
    DOCUMENT["paths"].as_object()?.keys().map(String::as_str).filter(|one| fits(one)).min_by_key(|one| variable(one))
}

/// An answer has a status, a code and a body that the description names.
#[track_caller]
pub(super) fn assert_promised(method: &Method, path: &str, answer: &Answer) {
    // HEAD is GET without its body.
    let Some(template) = path.strip_prefix(API).and_then(template).filter(|_| *method != Method::HEAD) else { return };
    let operation = &DOCUMENT["paths"][template][method.as_str().to_ascii_lowercase()];
    let asked = format!("{method} {template}: {} {}", answer.status, answer.body);
    if operation.is_null() {
        // The guard speaks before the router, and some paths only the other door has.
        let any =
            [StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED];
        assert!(any.contains(&answer.status), "{asked}");
        return;
    }
    let mut promised = &operation["responses"][answer.status.as_str()];
    if let Some(reference) = promised["$ref"].as_str() {
        promised = DOCUMENT.pointer(&reference[1..]).unwrap();
    }
    assert!(promised.is_object(), "not described: {asked}");
    let media = answer.headers.get(header::CONTENT_TYPE).map(|media| media.to_str().unwrap());
    let Some(media) = media.and_then(|media| media.split(';').next()) else {
        assert!(promised["content"].is_null(), "{asked}");
        return;
    };
    let schema = &promised["content"][media]["schema"];
    assert!(schema.is_object(), "{media} is not described: {asked}");
    if media.ends_with("json")
        && let Err(why) = fits(schema, &answer.body)
    {
        panic!("{why}: {asked}");
    }
    for (name, promised) in promised["headers"].as_object().into_iter().flatten() {
        let reference = promised["$ref"].as_str().unwrap();
        let required = DOCUMENT.pointer(&reference[1..]).unwrap()["required"] == true;
        assert!(!required || answer.headers.contains_key(name.to_ascii_lowercase().as_str()), "{name}: {asked}");
    }
}

/// Whether a value fits a schema of this document, as far as it uses the language; an object has no other fields.
fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(DOCUMENT.pointer(&reference[1..]).expect("a schema that is there"), value)
            .map_err(|why| format!("{reference}: {why}"));
    }
    let wrong = |what: &str| Err(format!("{value} {what} {schema}"));
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fits(part, value)?;
    }
    for key in ["anyOf", "oneOf"] {
        if schema[key].as_array().is_some_and(|any| any.iter().all(|one| fits(one, value).is_err())) {
            return wrong("fits nothing of");
        }
    }
    if schema.get("const").is_some_and(|only| only != value)
        || schema["enum"].as_array().is_some_and(|all| !all.contains(value))
    {
        return wrong("is not in");
    }
    let is = |kind: &Value| match kind.as_str() {
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        _ => true,
    };
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        one => vec![one.clone()],
    };
    if !kinds.iter().any(is) {
        return wrong("is not of the type of");
    }
    for item in value.as_array().into_iter().flatten() {
        fits(&schema["items"], item)?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            return wrong(&format!("misses {name} of"));
        }
    }
    let Some(known) = schema["properties"].as_object() else { return Ok(()) };
    // The second half of a problem's schema narrows two fields, and says nothing of the others.
    let narrows = schema["type"].is_null();
    for (name, field) in fields {
        match known.get(name) {
            Some(schema) => fits(schema, field).map_err(|why| format!("{name}: {why}"))?,
            None if narrows => {}
            None => return wrong(&format!("has a field `{name}` unknown to")),
        }
    }
    Ok(())
}

#[test]
fn the_document_in_git_is_what_the_routes_say() {
    let made = serde_json::to_string_pretty(&*DOCUMENT).unwrap() + "\n";
    if std::env::var_os(RENEW).is_some() {
        std::fs::File::create(FILE).and_then(|mut file| std::io::Write::write_all(&mut file, made.as_bytes())).unwrap();
    }
    let kept: Value =
        serde_json::from_str(&std::fs::read_to_string(Path::new(FILE)).unwrap_or_default()).unwrap_or_default();
    assert!(
        kept == *DOCUMENT,
        "dashboard/openapi.json is old. Renew it, and the page's types with it:\n  \
         {RENEW}=1 cargo test -p miner-ctrl-dashboard contract && npm --prefix dashboard/web run types"
    );
}

#[tokio::test]
async fn the_document_is_served_and_so_is_its_page() {
    let door = Door::new();
    let token = door.token("read").await;
    assert_eq!(door.ask(knock("GET", "/openapi.json").token(&token)).await.body, *DOCUMENT);
    let page = door.ask(knock("GET", "/docs").token(&token)).await;
    assert_eq!(page.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let page = page.body.as_str().unwrap().to_owned();
    for forbidden in ["<script", "style=", "http://", "https://", "<style"] {
        let without_example = page.replace("API=http://127.0.0.1:9090", "");
        assert!(!without_example.contains(forbidden), "{forbidden}");
    }
    for piece in page.split("href=\"#").skip(1) {
        let target = piece.split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{target}\"")), "a link to nowhere: {target}");
    }
    for operation in DOCUMENT["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        assert!(page.contains(&format!("id=\"{}\"", operation["operationId"].as_str().unwrap())), "{operation}");
    }
    assert_eq!(door.ask(knock("GET", "/docs.css").token(&token)).await.status, StatusCode::OK);
    assert_eq!(door.ask(knock("GET", "/docs")).await.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn every_operation_has_its_own_name_and_every_write_its_own_word() {
    let mut names = Vec::new();
    for (path, methods) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            names.push(operation["operationId"].as_str().unwrap());
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            assert_ne!(activity::action(&method, path), Some("other"), "{method} {path}");
        }
    }
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[tokio::test]
async fn every_example_is_taken_as_it_stands() {
    for (path, methods) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"];
            if body.is_null() {
                continue;
            }
            fits(&body["schema"], &body["example"]).unwrap();
            let door = Door::new();
            door.local(knock("PUT", "/profiles/monero").json(&monero())).await;
            let token = door.token("admin").await;
            let filled = path.replace("{peer}", "rig-alpha").replace("{name}", "monero");
            let filled = filled.replace("{request}", "amber-birch-cedar-delta-ember-fjord");
            let method = method.to_ascii_uppercase();
            let answer = door.ask(knock(&method, &filled).token(&token).json(&body["example"])).await;
            // Nobody has set that password; and there is a profile of that name.
            let expected = ["/session", "/profiles"].contains(&path.as_str());
            assert!(answer.status.is_success() || expected, "{method} {path}: {}", answer.body);
        }
    }
}

/// All fields that are written, when every one is there, are those of the schema.
#[track_caller]
fn assert_same_fields(name: &str, value: &impl Serialize) {
    let value = serde_json::to_value(value).unwrap();
    let schema = &DOCUMENT["components"]["schemas"][name];
    fits(schema, &value).unwrap();
    let described: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    let written: Vec<_> = value.as_object().unwrap().keys().collect();
    assert_eq!(described, written, "{name}");
}

#[track_caller]
fn assert_same_words<T: Serialize>(name: &str, all: &[T]) {
    let schema = &DOCUMENT["components"]["schemas"][name];
    let mut written: Vec<_> = all.iter().map(|one| serde_json::to_value(one).unwrap().to_string()).collect();
    let mut described: Vec<_> = match schema["oneOf"].as_array() {
        Some(each) => each.iter().map(|one| one["const"].to_string()).collect(),
        None => schema["enum"].as_array().unwrap().iter().map(Value::to_string).collect(),
    };
    written.sort_unstable();
    described.sort_unstable();
    assert_eq!(written, described, "{name}");
}

#[test]
fn what_the_protocol_defines_has_the_shape_that_is_described() {
    let text = || Some("text".to_owned());
    let rate = Hashrate::per_second(1.5);
    let device = DeviceStats {
        name: text(),
        hashrate: rate,
        temperature_celsius: Some(1.0),
        fan_percent: Some(1.0),
        power_watt: Some(1.0),
    };
    let shares = Shares { accepted: 1, rejected: 2 };
    let miner = MinerStatus {
        name: "xmrig-1".parse().unwrap(),
        program: Program::Xmrig,
        profile: "monero".parse().ok(),
        state: MinerState::Mining,
        state_seconds: 1,
        uptime_seconds: 1,
        hashrate: rate,
        hashrates: [rate, None, rate],
        shares,
        algorithm: text(),
        pool: text(),
        version: text(),
        devices: vec![device.clone()],
        restarts: 1,
        problem: text(),
    };
    let host = HostStats { load: Some(1.0), ..HostStats::default() };
    let rig = RigStats {
        revision: 1,
        name: "rig".parse().unwrap(),
        version: "1".into(),
        host: host.clone(),
        miners: vec![miner.clone()],
    };
    let line = LogLine { number: 1, text: "line".into() };
    let page = LogPage { miner: "xmrig-1".parse().unwrap(), lines: vec![line.clone()], newest: 1, lost: 0 };
    let fingerprint = Some("0".repeat(64));
    let pool = Pool { url: "pool.example:1".into(), wallet: text(), password: text(), tls: true, fingerprint };
    let profile = ProfileDraft {
        name: "monero".parse().unwrap(),
        program: Program::TtMiner,
        algorithm: text(),
        coin: text(),
        pools: vec![pool.clone()],
        wallet: "w".into(),
        password: text(),
        rig_name: text(),
        threads: Some(1),
        threads_hint: Some(1),
        huge_pages: Some(true),
        arguments: vec!["-a".into()],
    };
    assert_same_fields("DeviceStats", &device);
    assert_same_fields("HostStats", &host);
    assert_same_fields("LogLine", &line);
    assert_same_fields("LogPage", &page);
    assert_same_fields("MinerStatus", &miner);
    assert_same_fields("Pool", &pool);
    assert_same_fields("Profile", &profile);
    assert_same_fields("RigStats", &rig);
    assert_same_fields("Shares", &shares);
    assert_same_words("By", &[By::Local, By::Session, By::Token]);
    assert_same_words("Measure", &Measure::ALL);
    assert_same_words("Permission", &[Permission::None, Permission::View, Permission::Control]);
    assert_same_words("Program", &Program::ALL);
    assert_same_words("Role", &[Role::Controller, Role::Dual, Role::Worker]);
    assert_same_words("Scope", &[Scope::Read, Scope::Control, Scope::Admin]);
    use MinerState as Is;
    let states = [
        Is::Connecting,
        Is::Failed,
        Is::Mining,
        Is::NoPool,
        Is::Paused,
        Is::Starting,
        Is::Stopped,
        Is::Stopping,
        Is::Warming,
    ];
    assert_same_words("MinerState", &states);
}

#[tokio::test(start_paused = true)]
async fn every_event_has_the_shape_that_is_described() {
    let door = Door::new();
    let cookie = door.sign_in().await;
    let mut heard = listen(&door, knock("GET", "/events").cookie(&cookie)).await;
    let stream = &DOCUMENT["paths"]["/events"]["get"]["responses"]["200"]["content"]["text/event-stream"];
    let named: HashMap<_, _> = stream["schema"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["properties"])
        .map(|event| (event["event"]["const"].as_str().unwrap(), &event["data"]["contentSchema"]))
        .collect();
    let mut missing: Vec<_> = named.keys().copied().collect();
    let mut step = 0;
    while let Some((name, data)) = heard.next().await {
        let schema = named.get(name.as_str()).unwrap_or_else(|| panic!("an event `{name}` is not described"));
        fits(schema, &data).unwrap_or_else(|why| panic!("{name}: {why}"));
        missing.retain(|one| *one != name);
        step += 1;
        match step {
            3 => {
                let job = json!({"verb": "ping", "rigs": ["rig-alpha", "nobody"]});
                door.ask(knock("POST", "/jobs").page().cookie(&cookie).json(&job)).await;
                door.node.set_ping(Some(40.0));
                door.node.register(crate::memory::peer(9, "rig-new"));
                door.ask(knock("POST", "/remote/rig-alpha/stop").page().cookie(&cookie)).await;
            }
            5 => drop(ask(&door.node, "DELETE", "/peers/rig-new", None).await),
            _ if missing == ["bye"] => door.stop.cancel(),
            _ => {}
        }
    }
    assert!(missing.is_empty(), "not heard: {missing:?}");
}

#[test]
fn every_code_is_described_somewhere() {
    let text = DOCUMENT["paths"].to_string() + &DOCUMENT["components"]["responses"].to_string();
    // The first is an answer to another method than the described ones.
    for code in Code::ALL.iter().filter(|code| **code != Code::MethodNotAllowed) {
        assert!(text.contains(&format!("\"{}\"", code.as_str())), "{code:?} is in no answer of any operation");
    }
    assert_eq!(
        json!(Code::ALL.len()),
        DOCUMENT["components"]["schemas"]["ProblemDetails"]["properties"]["code"]["enum"].as_array().unwrap().len()
    );
}
