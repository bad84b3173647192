//! The API as a client sees it: every route, every refusal, over a node in memory.

mod activity;
mod ask;
mod contract;
mod door;
mod events;
mod guard;
mod jobs;
mod once;
mod refusals;
mod routes;
mod security;
mod serve;
mod session;
mod tls;
