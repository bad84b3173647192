//! News of links coming up and going down, of which none may be lost however busy the fleet task is.
//!
//! Only the last word on each peer matters, so one place per peer is enough: unlike a queue it is never full.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use miner_ctrl_protocol::PeerKey;
use tokio::sync::Notify;

use super::registry::MAX_PEERS;

/// The last word on a peer's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    /// Up; dialled at this address, or none when the peer dialled us.
    Connected(Option<String>),
    /// Down.
    Disconnected,
}

/// What one side leaves and the other takes.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Held for single steps on the map, never across an await.
    left: Mutex<HashMap<PeerKey, Presence>>,
    news: Notify,
}

impl Mailbox {
    /// Leaves the last word on a peer. It is dropped when there are more peers than can be registered, which the caller
    /// prevents by telling of registered peers alone.
    pub(super) fn leave(&self, key: PeerKey, presence: Presence) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        // Twice as many: between a removal and the next look there may be news of both old and new peers.
        if left.len() >= 2 * MAX_PEERS && !left.contains_key(&key) {
            return;
        }
        left.insert(key, presence);
        drop(left);
        self.news.notify_one();
    }

    /// Waits until something was left.
    pub(super) async fn wait(&self) {
        self.news.notified().await;
    }

    /// Takes everything that was left.
    pub(super) fn take(&self) -> HashMap<PeerKey, Presence> {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
