//! The description as a page for people: plain HTML, made of the document. It needs no script.

use std::fmt::Write as _;

use serde_json::Value;

use super::document::Noun;
use crate::error::Code;
use crate::router::API;

/// The page's one style sheet; the content security policy allows none inside the page.
pub(crate) const STYLE: &str = include_str!("page.css");

/// The methods of a path, in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page.
pub(crate) fn page(document: &Value) -> String {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>miner-ctrl API</title>\n<link rel=\"stylesheet\" href=\"docs.css\">\n",
    );
    let info = &document["info"];
    add(&mut html, format_args!("<header><h1>miner-ctrl API {}</h1>", escaped(text(&info["version"]))));
    add(&mut html, format_args!("<p>{}</p>", prose(text(&info["description"]))));
    html += "<p>As a document for programs: <a href=\"openapi.json\">openapi.json</a> (OpenAPI 3.1). \
        The examples below expect two variables:</p>\n";
    add(
        &mut html,
        format_args!(
            "<pre>API=http://127.0.0.1:9090{API}\nTOKEN=mc_…   # miner-ctrl token add --help</pre></header>\n"
        ),
    );
    html += "<nav aria-label=\"Contents\"><ul>\n";
    for (noun, about) in Noun::ALL {
        add(&mut html, format_args!("<li><a href=\"#{noun}\">{noun}</a>: {}</li>\n", escaped(about)));
    }
    html += "<li><a href=\"#problems\">problems</a>: every way to fail</li>\n\
        <li><a href=\"#schemas\">schemas</a>: what bodies hold</li>\n</ul></nav>\n<main>\n";
    for (noun, about) in Noun::ALL {
        add(&mut html, format_args!("<section id=\"{noun}\"><h2>{noun}</h2><p>{}</p>\n", escaped(about)));
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for method in METHODS {
                let operation = &methods[method];
                if operation["tags"][0] == noun {
                    route(&mut html, document, path, method, operation);
                }
            }
        }
        html += "</section>\n";
    }
    problems(&mut html);
    html += "<section id=\"schemas\"><h2>schemas</h2>\n";
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        describe(&mut html, name, schema);
    }
    html + "</section>\n</main>\n</html>\n"
}

fn route(html: &mut String, document: &Value, path: &str, method: &str, operation: &Value) {
    let id = escaped(text(&operation["operationId"]));
    let shown = method.to_ascii_uppercase();
    add(html, format_args!("<article id=\"{id}\"><h3><code>{shown} {}</code></h3>", escaped(path)));
    add(html, format_args!("<p>{}.", prose(text(&operation["summary"]))));
    if let Some(notes) = operation["description"].as_str() {
        add(html, format_args!(" {}", prose(notes)));
    }
    match scope(operation) {
        Some(scope) => add(html, format_args!(" Needs the scope <code>{scope}</code>.</p>\n")),
        None => html.push_str(" Open to everybody.</p>\n"),
    }
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        html.push_str("<table><tr><th>parameter<th>in<th>type<th>meaning</tr>\n");
        for parameter in parameters.iter().map(|parameter| resolved(document, parameter)) {
            let needed = if parameter["required"] == true { "" } else { " (may be left out)" };
            add(
                html,
                format_args!(
                    "<tr><td><code>{}</code><td>{}<td>{}<td>{}{needed}</tr>\n",
                    escaped(text(&parameter["name"])),
                    escaped(text(&parameter["in"])),
                    type_of(&parameter["schema"]),
                    prose(text(&parameter["description"])),
                ),
            );
        }
        html.push_str("</table>\n");
    }
    let body = &operation["requestBody"]["content"]["application/json"];
    add(html, format_args!("<pre>{}</pre>\n", escaped(&curl(path, &shown, operation, body))));
    if !body.is_null() {
        let needed = if operation["requestBody"]["required"] == true { "" } else { ", or nothing" };
        add(html, format_args!("<p>Takes {}{needed}.</p>\n", type_of(&body["schema"])));
    }
    html.push_str("<table><tr><th>answer<th>means<th>holds</tr>\n");
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let answer = resolved(document, answer);
        let held: Vec<_> = answer["content"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(media, _)| *media != "application/problem+json")
            .map(
                |(media, content)| {
                    if media == "application/json" { type_of(&content["schema"]) } else { escaped(media) }
                },
            )
            .collect();
        add(
            html,
            format_args!(
                "<tr><td>{status}<td>{}<td>{}</tr>\n",
                linked(text(&answer["description"]), status.starts_with(['4', '5'])),
                held.join(", ")
            ),
        );
    }
    html.push_str("</table></article>\n");
}

/// What a credential needs; none where none is needed.
fn scope(operation: &Value) -> Option<&str> {
    operation["security"][1]["token"][0].as_str()
}

/// A request as a person types it.
fn curl(path: &str, method: &str, operation: &Value, body: &Value) -> String {
    let mut line = String::from("curl");
    if scope(operation).is_some() {
        line += " -H \"Authorization: Bearer $TOKEN\"";
    }
    if method != "GET" {
        line += &format!(" -X {method}");
    }
    let filled = path
        .replace("{peer}", "rig-alpha")
        .replace("{miner}", "xmrig-1")
        .replace("{name}", "monero")
        .replace("{request}", "amber-birch-cedar-delta-ember-fjord")
        .replace(['{', '}'], "");
    if !body.is_null() {
        line += " -H 'Content-Type: application/json'";
        line += &format!(" \\\n  -d '{}' \\\n ", body["example"]);
    }
    line + &format!(" \"$API{filled}\"")
}

fn problems(html: &mut String) {
    html.push_str(
        "<section id=\"problems\"><h2>problems</h2>\n<table><tr><th>code<th>status<th>means<th>what to do</tr>\n",
    );
    for code in Code::ALL {
        add(
            html,
            format_args!(
                "<tr id=\"problem-{0}\"><td><code>{0}</code><td>{1}<td>{2}<td>{3}</tr>\n",
                code.as_str(),
                code.status().as_u16(),
                prose(code.title()),
                prose(code.hint()),
            ),
        );
    }
    html.push_str("</table></section>\n");
}

fn describe(html: &mut String, name: &str, schema: &Value) {
    let name = escaped(name);
    add(html, format_args!("<article id=\"schema-{name}\"><h3>{name}</h3>"));
    if let Some(about) = schema["description"].as_str() {
        add(html, format_args!("<p>{}</p>", prose(about)));
    }
    let forms = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    if forms.iter().any(|form| form["properties"].is_object()) {
        for form in forms {
            add(html, format_args!("<p>Either: {}</p>\n", prose(text(&form["description"]))));
            fields(html, form);
        }
    } else if schema["properties"].is_object() {
        fields(html, schema);
    } else {
        add(html, format_args!("<p>{}</p>\n", type_of(schema)));
    }
    html.push_str("</article>\n");
}

fn fields(html: &mut String, schema: &Value) {
    html.push_str("<table><tr><th>field<th>type<th>meaning</tr>\n");
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let optional = if required.contains(&Value::from(name.as_str())) { "" } else { " (may be left out)" };
        let about = prose(text(&field["description"]));
        let name = escaped(name);
        add(html, format_args!("<tr><td><code>{name}</code><td>{}<td>{about}{optional}</tr>\n", type_of(field)));
    }
    html.push_str("</table>\n");
}

/// A schema in a few words, with links to those that have a name.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        let name = escaped(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    if let Some(value) = schema.get("const") {
        return format!("<code>{}</code>", escaped(&value.to_string()));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> =
            values.iter().map(|value| format!("<code>{}</code>", escaped(&value.to_string()))).collect();
        return values.join(", ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(any) = schema[key].as_array() {
            return any.iter().map(type_of).collect::<Vec<_>>().join(" or ");
        }
    }
    let named: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect(),
        one => vec![text(one)],
    };
    let words: Vec<_> = named
        .into_iter()
        .map(|name| match name {
            "array" => format!("list of {}", type_of(&schema["items"])),
            "" => "anything".to_owned(),
            name => escaped(name),
        })
        .collect();
    words.join(" or ")
}

fn resolved<'a>(document: &'a Value, answer: &'a Value) -> &'a Value {
    let reference = answer["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| document.pointer(pointer)).unwrap_or(answer)
}

/// A sentence of which the codes lead to what they mean.
fn linked(sentence: &str, problem: bool) -> String {
    let mut html = String::new();
    for (index, piece) in sentence.split('`').enumerate() {
        let piece = escaped(piece);
        match (index % 2 == 1, problem) {
            (true, true) => add(&mut html, format_args!("<a href=\"#problem-{piece}\"><code>{piece}</code></a>")),
            (true, false) => add(&mut html, format_args!("<code>{piece}</code>")),
            (false, _) => html += &piece,
        }
    }
    html
}

fn prose(sentence: &str) -> String {
    linked(sentence, false)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn add(html: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    let _ = html.write_fmt(piece);
}
