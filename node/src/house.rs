//! The household around the mesh: fleet and worker, as the mesh sees them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use miner_ctrl_protocol::pair::PairRefusal;
use miner_ctrl_protocol::smsg::PairingCode;
use miner_ctrl_protocol::{Admitted, PeerKey, Permission, Refusal, Request, Response, Role};
use tokio::sync::{mpsc, watch};

use crate::fleet::{
    self, AdmissionRefusal, FleetError, FleetHandle, FleetSnapshot, Knock, NewPeer, Observation, Peer, Words,
};
use crate::mesh::{Address, Answer, Event, Household, Knocked, Later, MeshHandle, Stranger};
use crate::orders::Orders;
use crate::store::clock::unix_now;
use crate::worker::Worker;

/// What the mesh calls on.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) own_key: PeerKey,
    pub(crate) own_role: Role,
    pub(crate) fleet: FleetHandle,
    pub(crate) worker: Arc<Worker>,
    /// The mesh itself, once it runs: whoever is admitted is registered there too.
    pub(crate) mesh: OnceLock<MeshHandle>,
    /// Peers whose link came up, for whoever watches them.
    pub(crate) ups: mpsc::Sender<PeerKey>,
    pub(crate) orders: Arc<Orders>,
}

/// One that is told when it ends.
struct Order {
    orders: Arc<Orders>,
    peer: PeerKey,
    name: String,
    asked: String,
    answer: Option<Response>,
}

impl Drop for Order {
    fn drop(&mut self) {
        self.orders.tell(self.peer, &self.name, &self.asked, self.answer.as_ref());
    }
}

/// What a registered peer may ask: what it was granted, and never anything for a worker.
pub(crate) fn granted(fleet: &FleetSnapshot, peer: &PeerKey) -> Permission {
    match fleet.peer(peer) {
        Some(known) if known.peer.role.commands() => known.peer.permission,
        _ => Permission::None,
    }
}

/// Returns when a peer may no longer ask what `needs` a permission. One that is removed is told by the end of its link.
async fn revoked(fleets: &mut watch::Receiver<Arc<FleetSnapshot>>, peer: &PeerKey, needs: Permission) -> Refusal {
    let is_revoked = |fleet: &Arc<FleetSnapshot>| fleet.peer(peer).is_some() && granted(fleet, peer) < needs;
    let now = fleets.wait_for(is_revoked).await.map(|fleet| granted(&fleet, peer));
    match now {
        Ok(granted) => Refusal::NotAllowed { needs, granted },
        // The node stops, and with it the link.
        Err(_) => std::future::pending().await,
    }
}

impl Answer for House {
    fn answer(&self, peer: PeerKey, request: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let fleet = self.fleet.now();
        let (granted, worker) = (granted(&fleet, &peer), Arc::clone(&self.worker));
        let Some(asked) = Orders::of(&request) else {
            let (needs, mut fleets) = (request.needs(), self.fleet.snapshot());
            return Box::pin(async move {
                tokio::select! {
                    biased; // most are answered at once
                    answer = worker.answer(granted, request) => answer,
                    // One that waits for news ends with the permission that it was begun with.
                    refusal = revoked(&mut fleets, &peer, needs) => Response::Refused(refusal),
                }
            });
        };
        let orders = Arc::clone(&self.orders);
        let name = fleet.peer(&peer).map_or_else(|| peer.node_id().to_string(), |known| known.peer.name.to_string());
        Box::pin(async move {
            // Told when it is answered, or when its asker has gone: then it may be carried out all the same.
            let mut order = Order { orders, peer, name, asked, answer: None };
            let answer = worker.answer(granted, request).await;
            order.answer = Some(answer.clone());
            answer
        })
    }
}

impl Household for House {
    fn pairing_possible(&self) -> bool {
        self.fleet.now().pairing_possible
    }

    fn code_for_try(&self, key: PeerKey) -> Later<Result<(u64, PairingCode), PairRefusal>> {
        let fleet = self.fleet.clone();
        Box::pin(async move { fleet.code_for_try(key).await.map_err(refusal) })
    }

    fn wrong_code(&self, key: PeerKey, number: u64) -> Later<()> {
        let fleet = self.fleet.clone();
        Box::pin(async move { fleet.wrong_code(key, number).await })
    }

    fn admit(&self, stranger: Stranger, number: u64) -> Later<Result<(), PairRefusal>> {
        let (fleet, mesh) = (self.fleet.clone(), self.mesh.get().cloned());
        let new = NewPeer {
            key: stranger.key,
            name: None,
            own_name: stranger.name,
            role: stranger.role,
            addresses: vec![],
            permission: Permission::by_default(self.own_role, stranger.role, Admitted::ByThem),
            now: unix_now(),
        };
        Box::pin(async move {
            // There is no mesh only before anybody can come by it.
            let mesh = mesh.ok_or(PairRefusal::Internal)?;
            match carried_out(&fleet, &mesh, |fleet| async move { fleet.admit(number, new).await }).await {
                Ok(_) => Ok(()),
                Err(FleetError::Admission(why)) => Err(refusal(why)),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a paired peer could not be registered");
                    Err(PairRefusal::Internal)
                }
            }
        })
    }

    fn knock(&self, stranger: Stranger) -> Later<Knocked> {
        let (fleet, own_key) = (self.fleet.clone(), self.own_key);
        Box::pin(async move {
            let Stranger { key, name, role, address } = stranger;
            let words = Words::of(own_key, key);
            match fleet.knock(fleet::Stranger { key, name, role, address, words }).await {
                Knock::Pending => Knocked::Pending,
                Knock::Registered => Knocked::Admitted,
                Knock::Denied => Knocked::Refused(PairRefusal::Denied),
                Knock::Busy => Knocked::Refused(PairRefusal::Busy),
                Knock::Off => Knocked::Refused(PairRefusal::Off),
            }
        })
    }

    fn observe(&self, key: PeerKey, event: Event) {
        match event {
            Event::DialFailed { why } => self.fleet.observe(key, Observation::DialFailed { why }),
            Event::Copied { hosts } => self.fleet.observe(key, Observation::Copied { hosts }),
            Event::Down => self.fleet.observe(key, Observation::Disconnected),
            Event::Identified { agent } => self.fleet.observe(key, Observation::Identified { agent }),
            Event::Pinged(round_trip) => self.fleet.observe(key, Observation::Pinged(round_trip)),
            Event::Up { address, ip, inbound, hello } => {
                self.fleet.observe(key, Observation::Connected { dialled: (!inbound).then_some(address) });
                self.fleet.observe(
                    key,
                    Observation::Greeted {
                        ip,
                        role: hello.role,
                        agent: hello.agent.chars().filter(|c| !c.is_control()).take(64).collect(),
                    },
                );
                // A full queue is made up for by the watchers' own look-around.
                let _ = self.ups.try_send(key);
            }
        }
    }
}

/// Carries out a change of who is registered, and tells the mesh. Both or neither, even if the caller stops waiting: who
/// is registered and not known to the mesh would be a stranger until the next start.
///
/// # Errors
/// [`FleetError`]; then nothing was changed.
pub(crate) async fn carried_out<F>(
    fleet: &FleetHandle,
    mesh: &MeshHandle,
    change: impl FnOnce(FleetHandle) -> F,
) -> Result<Peer, FleetError>
where
    F: Future<Output = Result<Peer, FleetError>> + Send + 'static,
{
    let (fleet, mesh) = (fleet.clone(), mesh.clone());
    let change = change(fleet.clone());
    let done = tokio::spawn(async move {
        let peer = change.await?;
        // Another change may have come in between. One at a time looks and tells, so that the mesh hears last what is so.
        let _turn = fleet.turn().await;
        match fleet.now().peer(&peer.key) {
            Some(known) => mesh.register(peer.key, dialable(&known.peer.addresses)).await,
            None => mesh.remove(peer.key).await,
        }
        Ok(peer)
    });
    match done.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(FleetError::ShuttingDown),
        },
    }
}

/// Stored addresses as the mesh dials them; one that does not parse any more is left out.
pub(crate) fn dialable(addresses: &[String]) -> Vec<Address> {
    addresses.iter().filter_map(|text| crate::mesh::dial_address(text).ok()).map(|(address, _)| address).collect()
}

const fn refusal(refusal: AdmissionRefusal) -> PairRefusal {
    match refusal {
        AdmissionRefusal::Busy => PairRefusal::Busy,
        AdmissionRefusal::NoCode => PairRefusal::NoCode,
        AdmissionRefusal::Off => PairRefusal::Off,
    }
}

#[cfg(test)]
#[path = "house_tests.rs"]
mod tests;
