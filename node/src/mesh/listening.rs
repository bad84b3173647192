//! Where this node listens.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm};
use tokio::time::Instant;

use super::behaviour::{Behaviour, BehaviourEvent};
use super::convert::{ip_of, is_link_local, port_of};
use super::event_loop::StartError;

/// How long binding the listening sockets may take.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the IPv6 twin of a bare port may take once all others listen. Where IPv6 is switched off it can be bound, and
/// never says where.
const TWIN_TIMEOUT: Duration = Duration::from_millis(100);

/// libp2p listens with SO_REUSEPORT: a second node on the same port would start without error and share its
/// connections. Binding once without it finds that out.
pub(super) fn claim(address: &Multiaddr) -> Result<(), StartError> {
    let (Some(ip), Some(port)) = (ip_of(address), port_of(address)) else { return Ok(()) };
    match TcpListener::bind((ip, port)) {
        Ok(_) => Ok(()),
        // The IPv6 twin of a bare port, on a machine without IPv6.
        Err(_) if ip.is_ipv6() && ip.is_unspecified() => Ok(()),
        Err(source) => Err(StartError::Listen { address: address.clone(), source }),
    }
}

/// The addresses that are worth telling others, those first that most can use. A link-local one leads nowhere without the
/// name of a network card.
pub(super) fn told<'a>(listeners: impl Iterator<Item = &'a Multiaddr>) -> Vec<Multiaddr> {
    let mut told: Vec<_> = listeners.filter(|address| !is_link_local(address)).cloned().collect();
    told.sort_by_key(|address| {
        let ip = ip_of(address);
        (ip.is_none_or(|ip| ip.is_loopback()), ip.is_some_and(|ip| ip.is_ipv6()), address.to_string())
    });
    told
}

/// Listens and waits until every listener says where. Gives what came meanwhile.
pub(super) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    addresses: &[Multiaddr],
) -> Result<Vec<SwarmEvent<BehaviourEvent>>, StartError> {
    let mut waiting: HashMap<ListenerId, Multiaddr> = HashMap::new();
    for address in addresses {
        match swarm.listen_on(address.clone()) {
            Ok(id) => drop(waiting.insert(id, address.clone())),
            Err(_) if is_twin(address) => tracing::info!(%address, "not listening on IPv6"),
            Err(error) => {
                return Err(StartError::Listen { address: address.clone(), source: io::Error::other(error) });
            }
        }
    }
    let begun = Instant::now();
    // No more than the door lets in within the limits above: whom it turns away is nobody's news.
    let mut events = Vec::new();
    while !waiting.is_empty() {
        let only_twins = waiting.len() < addresses.len() && waiting.values().all(is_twin);
        let deadline = begun + if only_twins { TWIN_TIMEOUT } else { LISTEN_TIMEOUT };
        let Ok(event) = tokio::time::timeout_at(deadline, swarm.select_next_some()).await else { break };
        match &event {
            SwarmEvent::NewListenAddr { listener_id, .. } => drop(waiting.remove(listener_id)),
            SwarmEvent::ListenerClosed { listener_id, .. } => {
                if let Some(address) = waiting.remove(listener_id)
                    && !is_twin(&address)
                {
                    let SwarmEvent::ListenerClosed { reason, .. } = event else { continue };
                    let source = reason.err().unwrap_or_else(|| io::Error::other("the listener closed"));
                    return Err(StartError::Listen { address, source });
                }
            }
            _ => {}
        }
        if !matches!(event, SwarmEvent::IncomingConnection { .. } | SwarmEvent::IncomingConnectionError { .. }) {
            events.push(event);
        }
    }
    Ok(events)
}

fn is_twin(address: &Multiaddr) -> bool {
    ip_of(address).is_some_and(|ip| ip.is_ipv6() && ip.is_unspecified())
}
