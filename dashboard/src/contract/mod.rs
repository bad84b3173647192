//! What the API promises: each route is registered and described in one call, and the OpenAPI document is made of that.
//!
//! What lives here: how a route describes itself, the document, the page drawn from it, the shapes of what the protocol
//! crate defines (it stays free of schemas), and those of live events. What may not enter: what a route does.

mod document;
pub(crate) mod events;
mod operation;
mod page;
mod routes;
mod schemas;
pub(crate) mod shape;

pub(crate) use document::Contract;
pub(crate) use operation::{Operation, RIG};
pub(crate) use page::{STYLE, page};
pub(crate) use routes::Routes;
