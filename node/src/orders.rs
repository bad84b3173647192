//! What peers ordered here and what came of it, told in the log: the rig's own record, whatever a controller keeps.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use miner_ctrl_protocol::message::{MinerChoice, ProfileChoice};
use miner_ctrl_protocol::{Permission, Request, Response};
use tokio::time::Instant;

/// Orders told in a minute, of all peers together: far more than people give one rig. A peer may make 200 requests a second.
const IN_A_MINUTE: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// Tells orders, and not too many.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<Option<(Instant, u32)>>);

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
    pub(crate) fn tell(&self, peer: &str, asked: &str, answer: Option<&Response>) {
        match self.number() {
            0..IN_A_MINUTE => match answer {
                Some(Response::Refused(why)) => tracing::warn!(peer, refused = %why, "ordered: {asked}"),
                Some(_) => tracing::info!(peer, "ordered: {asked}"),
                None => tracing::info!(peer, "ordered: {asked}; its asker has gone before the answer"),
            },
            IN_A_MINUTE => tracing::warn!(peer, "more orders than {IN_A_MINUTE} in a minute: the rest is not told"),
            _ => {}
        }
    }

    /// How many came before in this minute.
    fn number(&self) -> u32 {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match &mut *minute {
            Some((since, count)) if now.duration_since(*since) < MINUTE => {
                *count = count.saturating_add(1);
                *count
            }
            over => {
                *over = Some((now, 0));
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_reads_is_no_order() {
        for request in [Request::Stats, Request::Policy, Request::Ping { sent_at: 0 }] {
            assert_eq!(Orders::of(&request), None);
        }
        let stop = Request::StopMiner { miner: MinerChoice::Named("xmrig-1".parse().unwrap()) };
        assert_eq!(Orders::of(&stop).as_deref(), Some("stop xmrig-1"));
        assert_eq!(Orders::of(&Request::RestartMiner { miner: None }).as_deref(), Some("restart the miner"));
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_flood_a_minute_tells_some() {
        let orders = Orders::default();
        let numbers: Vec<u32> = (0..1000).map(|_| orders.number()).collect();
        assert_eq!(numbers.iter().filter(|number| **number <= IN_A_MINUTE).count(), 61);
        tokio::time::advance(MINUTE).await;
        assert_eq!(orders.number(), 0);
    }
}
