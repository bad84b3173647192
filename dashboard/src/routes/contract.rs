//! What the API promises: for programs, and for people.

use std::sync::Arc;

use axum::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Map, Value};

use crate::contract::{Contract, Operation, Routes, STYLE, page};

/// The routes of the description itself.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S> {
    Routes::of("contract")
        .get(
            "/openapi.json",
            document,
            Operation::new("openApi", "This API as an OpenAPI 3.1 document")
                .answers::<Map<String, Value>>(StatusCode::OK, "The document."),
        )
        .get(
            "/docs",
            docs,
            Operation::new("docs", "This API as a page for people")
                .answers_text("text/html", "The page. It needs no script."),
        )
        .get(
            "/docs.css",
            style,
            Operation::new("docsStyle", "How that page looks").answers_text("text/css", "The sheet."),
        )
}

async fn document(Extension(contract): Extension<Arc<Contract>>) -> Json<Value> {
    Json(contract.document().clone())
}

async fn docs(Extension(contract): Extension<Arc<Contract>>) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page(contract.document())).into_response()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}
