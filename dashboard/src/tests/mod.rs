//! The API as a client sees it: every route, every refusal, over a node in memory.

mod ask;
mod refusals;
mod routes;
