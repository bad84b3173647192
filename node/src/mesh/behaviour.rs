//! The swarm's behaviour: the door first, then what only registered peers meet.

use std::time::Duration;

use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, identify, identity, ping};
use miner_ctrl_protocol::{IDENTIFY_PROTOCOL, PeerKey};

use super::gate::Door;
use super::registered::Registered;

/// Round trips are measured this often, from both ends; whether the peer lives is the link's heartbeat to find. It is only
/// shown, and two pings cost as much as a reading: each half minute they were a fifth of what a thousand rigs at work took.
const PING_INTERVAL: Duration = Duration::from_secs(120);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    /// First: what it refuses, the others never hear of.
    pub(crate) door: Door,
    pub(crate) identify: Registered<identify::Behaviour>,
    pub(crate) ping: Registered<ping::Behaviour>,
}

impl Behaviour {
    pub(crate) fn new(door: Door, keypair: &identity::Keypair) -> Self {
        let identify = identify::Config::new(IDENTIFY_PROTOCOL.into(), keypair.public())
            .with_agent_version(agent())
            // We dial by the registry's addresses; a cache of what peers claim is not needed.
            .with_cache_size(0);
        let ping = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT);
        Self {
            door,
            identify: Registered::new(identify::Behaviour::new(identify)),
            ping: Registered::new(ping::Behaviour::new(ping)),
        }
    }

    pub(crate) fn register(&mut self, peer: PeerId, key: PeerKey) {
        self.door.register(peer, key);
        self.identify.register(peer);
        self.ping.register(peer);
    }

    pub(crate) fn remove(&mut self, peer: &PeerId) {
        self.door.remove(peer);
        self.identify.remove(peer);
        self.ping.remove(peer);
    }
}

/// Program and version, as peers see it.
pub(crate) fn agent() -> String {
    concat!("miner-ctrl/", env!("CARGO_PKG_VERSION")).to_owned()
}
