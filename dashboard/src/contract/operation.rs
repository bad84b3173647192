//! One route's description.

use axum::http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use crate::error::Code;

/// The ways in which asking a rig can end, besides those in which any request can.
pub(crate) const RIG: &[Code] = &[
    Code::AmbiguousPeer,
    Code::BadAnswer,
    Code::Busy,
    Code::Conflict,
    Code::Invalid,
    Code::NotAllowed,
    Code::NotRegistered,
    Code::PolicyForbids,
    Code::Replayed,
    Code::RigInternal,
    Code::Stale,
    Code::Timeout,
    Code::TooLarge,
    Code::UnknownPeer,
    Code::Unreachable,
    Code::Unreadable,
    Code::Unsupported,
];

/// How a schema comes into the document.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What a route says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) notes: &'static str,
    pub(super) query: Option<Shape>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    pub(super) fails: Vec<Code>,
}

/// What a route takes.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) example: Value,
}

/// One way to end well.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) means: &'static str,
    pub(super) content: Content,
    /// Headers besides those of every answer, by their names in the document.
    pub(super) headers: Vec<(&'static str, &'static str)>,
}

/// What an answer holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Empty,
    Json(Shape),
    /// Of this media type.
    Text(&'static str),
}

/// An operation at its place.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) noun: &'static str,
    pub(super) operation: Operation,
}

impl Operation {
    /// `id` names it in generated clients; `summary` is one sentence without its full stop.
    pub(crate) const fn new(id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, notes: "", query: None, body: None, answers: Vec::new(), fails: Vec::new() }
    }

    /// More about it.
    pub(crate) const fn notes(mut self, notes: &'static str) -> Self {
        self.notes = notes;
        self
    }

    /// What stands behind the path.
    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(inlined::<T>);
        self
    }

    /// The body, with an example that is taken as it stands.
    pub(crate) fn takes<T: JsonSchema>(mut self, example: Value) -> Self {
        self.body = Some(Body { shape: SchemaGenerator::subschema_for::<T>, required: true, example });
        self
    }

    /// The body, which may be left out.
    pub(crate) fn may_take<T: JsonSchema>(self, example: Value) -> Self {
        let mut this = self.takes::<T>(example);
        this.body.iter_mut().for_each(|body| body.required = false);
        this
    }

    /// An answer in JSON.
    pub(crate) fn answers<T: JsonSchema>(self, status: StatusCode, means: &'static str) -> Self {
        self.answer(status, means, Content::Json(SchemaGenerator::subschema_for::<T>))
    }

    /// An answer in another format.
    pub(crate) fn answers_text(self, media: &'static str, means: &'static str) -> Self {
        self.answer(StatusCode::OK, means, Content::Text(media))
    }

    /// An answer without a body.
    pub(crate) fn answers_nothing(self, means: &'static str) -> Self {
        self.answer(StatusCode::NO_CONTENT, means, Content::Empty)
    }

    /// The answer named last says where it is from now on.
    pub(crate) fn located(self) -> Self {
        self.with(&[("Location", "Location")])
    }

    /// The answer named last is a part of a list.
    pub(crate) fn counted(self) -> Self {
        self.with(&[("Link", "Link"), ("X-Total-Count", "TotalCount")])
    }

    fn with(mut self, headers: &[(&'static str, &'static str)]) -> Self {
        self.answers.iter_mut().last().into_iter().for_each(|answer| answer.headers.extend(headers));
        self
    }

    /// How it can fail, besides the ways in which any request can.
    pub(crate) fn fails(mut self, codes: &[Code]) -> Self {
        self.fails.extend_from_slice(codes);
        self
    }

    fn answer(mut self, status: StatusCode, means: &'static str, content: Content) -> Self {
        self.answers.push(Answer { status, means, content, headers: Vec::new() });
        self
    }
}

fn inlined<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}
