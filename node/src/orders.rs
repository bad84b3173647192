//! What peers ordered here and what came of it, told in the log: the rig's own record, whatever a controller keeps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use miner_ctrl_protocol::message::{MinerChoice, ProfileChoice};
use miner_ctrl_protocol::{PeerKey, Permission, Request, Response};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

/// Orders told in a minute of each peer: far more than people give one rig. A peer may make 200 requests a second.
const IN_A_MINUTE: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);
/// Peers that are counted apart: more than command one rig. Those beyond share one count, so that many together cannot fill
/// the log either.
const PEERS: usize = 64;

/// Tells orders, and not too many.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<HashMap<Counted, Minute>>);

/// Who is counted: a peer, or those together that came when there were many.
type Counted = Option<PeerKey>;

/// What was ordered since a first order.
#[derive(Debug)]
struct Minute {
    /// What its operator calls the peer here.
    name: String,
    ends: Instant,
    told: u32,
    left_out: u32,
}

impl Orders {
    /// What is told of a request once it is answered; nothing of one that only reads.
    pub(crate) fn of(request: &Request) -> Option<String> {
        let any =
            |miner: Option<&dyn std::fmt::Display>| miner.map_or_else(|| "the miner".to_owned(), ToString::to_string);
        let asked = match request {
            Request::DeployProfile { profile } => format!("deploy profile {}", profile.name),
            Request::RemoveProfile { name } => format!("remove profile {name}"),
            Request::RestartMiner { miner } => format!("restart {}", any(miner.as_ref().map(|miner| miner as _))),
            Request::StartMiner { profile: ProfileChoice::Inline(draft), .. } => {
                format!("start profile {} (sent with it)", draft.name)
            }
            Request::StartMiner { profile: ProfileChoice::Stored(name), .. } => format!("start profile {name}"),
            Request::StopMiner { miner: MinerChoice::All } => "stop all miners".to_owned(),
            Request::StopMiner { miner: MinerChoice::Named(miner) } => format!("stop {miner}"),
            Request::StopMiner { miner: MinerChoice::Only } => "stop the miner".to_owned(),
            _ => return None,
        };
        debug_assert_eq!(request.needs(), Permission::Control, "an order");
        Some(asked)
    }

    /// Tells what a peer ordered and what it was answered; nothing when it has gone before.
    pub(crate) fn tell(self: &Arc<Self>, key: PeerKey, peer: &str, asked: &str, answer: Option<&Response>) {
        if !self.count(key, peer) {
            return;
        }
        match answer {
            Some(Response::Refused(why)) => tracing::warn!(peer, refused = %why, "ordered: {asked}"),
            Some(_) => tracing::info!(peer, "ordered: {asked}"),
            None => tracing::info!(peer, "ordered: {asked}; its asker has gone before the answer"),
        }
    }

    /// Whether one more order of a peer is told. That some are left out is told at once, and how many when their minute is
    /// over.
    fn count(self: &Arc<Self>, key: PeerKey, peer: &str) -> bool {
        let now = Instant::now();
        self.sweep(now);
        let mut minutes = self.minutes();
        let (who, name) = if minutes.contains_key(&Some(key)) || minutes.len() < PEERS {
            (Some(key), peer)
        } else {
            (None, "others")
        };
        let minute = minutes.entry(who).or_insert_with(|| Minute {
            name: name.to_owned(),
            ends: now + MINUTE,
            told: 0,
            left_out: 0,
        });
        if minute.told < IN_A_MINUTE {
            minute.told += 1;
            return true;
        }
        minute.left_out = minute.left_out.saturating_add(1);
        if minute.left_out == 1 {
            tracing::warn!(
                peer = minute.name,
                "more than {IN_A_MINUTE} orders in a minute: the rest of it is not told"
            );
            let (orders, ends) = (Arc::clone(self), minute.ends);
            // Without a runtime the node is ending.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(async move {
                    sleep_until(ends).await;
                    orders.sweep(Instant::now());
                });
            }
        }
        false
    }

    /// Forgets the minutes that are over, and tells how many orders were left out in them.
    fn sweep(&self, now: Instant) {
        self.minutes().retain(|_, Minute { name, ends, left_out, .. }| {
            let over = now >= *ends;
            if over && *left_out > 0 {
                tracing::warn!(peer = name, left_out, "orders that were not told");
            }
            !over
        });
    }

    fn minutes(&self) -> MutexGuard<'_, HashMap<Counted, Minute>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_protocol::smsg::NodeSecret;

    #[test]
    fn what_only_reads_is_no_order() {
        for request in [Request::Stats, Request::Policy, Request::Ping { sent_at: 0 }] {
            assert_eq!(Orders::of(&request), None);
        }
        let stop = Request::StopMiner { miner: MinerChoice::Named("xmrig-1".parse().unwrap()) };
        assert_eq!(Orders::of(&stop).as_deref(), Some("stop xmrig-1"));
        assert_eq!(Orders::of(&Request::RestartMiner { miner: None }).as_deref(), Some("restart the miner"));
    }

    fn peer(number: u8) -> PeerKey {
        NodeSecret::from_seed(&[number; 32]).unwrap().public()
    }

    fn told(orders: &Arc<Orders>, peers: impl IntoIterator<Item = u8>) -> usize {
        peers.into_iter().filter(|number| orders.count(peer(*number), "a-peer")).count()
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_flood_a_minute_tells_some_and_others_are_told_beside_it() {
        let orders = Arc::new(Orders::default());
        assert_eq!(told(&orders, [1; 1000]), 60);
        assert_eq!(told(&orders, [2; 3]), 3, "another peer");
        assert_eq!(orders.minutes()[&Some(peer(1))].left_out, 940);
        // Nobody orders any more: that it is told does not wait for the next order.
        tokio::time::sleep(2 * MINUTE).await;
        assert!(!orders.minutes().contains_key(&Some(peer(1))));
        assert_eq!(told(&orders, [1; 2]), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_flood_together_are_told_as_one_from_some_number_on() {
        let orders = Arc::new(Orders::default());
        let everybody = || 0..=u8::MAX;
        assert_eq!(told(&orders, (0..100).flat_map(|_| everybody())), 65 * 60);
        assert_eq!(orders.minutes().len(), 65);
        tokio::time::sleep(2 * MINUTE).await;
        assert_eq!(orders.minutes().len(), 0);
    }
}
