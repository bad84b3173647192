//! The mesh: what lives here is everything that touches libp2p.
//!
//! ```text
//!   event_loop  owns the swarm          behaviour  door + identify + ping      transport  TCP, WebSocket, Noise, Yamux
//!   gate        who may connect         registered what strangers never meet   streams    our substreams
//!   link        one for each peer       session    what runs on it              frame      its bytes
//!   signer      one signature for all   turns      a connection and its link    pairing    two strangers become peers
//!   dialer      whom to dial, when      names      peers dialled by name        listening  where others dial us
//!   convert     keys and addresses      words      why two did not meet         command    the handle
//!   muxer       Yamux, its limits       websocket  frames on TCP                tcp        segments that pass
//!   heartbeat   who is there        allowance  how often one may ask            handshakes how many at once
//! ```
//!
//! What may not enter: what a request means (the worker answers it), who is registered (the fleet knows).

mod allowance;
mod behaviour;
mod command;
mod convert;
mod dialer;
mod event_loop;
mod frame;
mod gate;
mod handshakes;
mod heartbeat;
mod link;
mod listening;
mod muxer;
mod names;
mod pairing;
mod registered;
mod session;
mod signer;
mod streams;
mod tcp;
mod transport;
mod turns;
mod websocket;
mod words;

pub use allowance::Rate;
pub use command::{
    Counts, Event, Household, Knocked, Later, MeshHandle, PairBy, PairError, Paired, RefusedMessages, Stranger,
};
pub use convert::{AddressError, DEFAULT_PORT, dial_address, listen_addresses, peer_id, peer_key, peer_key_of};
pub(crate) use convert::{ip_of, port_of};
pub use event_loop::{MeshConfig, StartError, start};
pub use libp2p::Multiaddr as Address;
pub use link::{Answer, AskError, Link, REQUEST_RATE};
