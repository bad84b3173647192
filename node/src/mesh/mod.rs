//! The mesh: what lives here is everything that touches libp2p.
//!
//! ```text
//!   event_loop  owns the swarm          behaviour  door + identify + ping      transport  TCP, WebSocket, Noise, Yamux
//!   gate        who may connect         registered what strangers never meet   streams    our substreams
//!   link        one for each peer       frame      its bytes                    pairing    two strangers become peers
//!   signer      one signature for all   dialer     whom to dial, when           command    the handle
//!   convert     keys and addresses      names      peers dialled by name        turns      a connection and its link
//!   guard       what WebSocket frames may announce
//! ```
//!
//! What may not enter: what a request means (the worker answers it), who is registered (the fleet knows).

mod behaviour;
mod command;
mod convert;
mod dialer;
mod event_loop;
mod frame;
mod gate;
mod guard;
mod link;
mod names;
mod pairing;
mod registered;
mod signer;
mod streams;
mod transport;
mod turns;

pub use command::{
    Counts, Event, Household, Knocked, Later, MeshHandle, PairBy, PairError, Paired, RefusedMessages, Stranger,
};
pub use convert::{AddressError, DEFAULT_PORT, dial_address, listen_addresses, peer_id, peer_key};
pub use event_loop::{MeshConfig, StartError, start};
pub use libp2p::Multiaddr as Address;
pub use link::{Answer, AskError, Link, RequestRate};
