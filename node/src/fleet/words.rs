//! Fingerprint words of a stranger, spelled when somebody looks.

use std::fmt;
use std::sync::{Arc, OnceLock};

use miner_ctrl_protocol::PeerKey;
use miner_ctrl_protocol::smsg::fingerprint_words;

/// The words that two people compare. Spelling them takes 32 768 hashes, milliseconds of a processor: a flood of knocks
/// must not cost that, and one look is enough for everybody.
#[derive(Clone)]
pub struct Words {
    own: PeerKey,
    theirs: PeerKey,
    spelled: Arc<OnceLock<String>>,
}

impl Words {
    /// Of two keys; not spelled yet.
    #[must_use]
    pub fn of(own: PeerKey, theirs: PeerKey) -> Self {
        Self { own, theirs, spelled: Arc::default() }
    }

    /// The words themselves. The first time takes milliseconds.
    #[must_use]
    pub fn text(&self) -> &str {
        self.spelled.get_or_init(|| fingerprint_words(&self.own, &self.theirs))
    }

    /// Whether somebody has looked.
    #[must_use]
    pub fn is_spelled(&self) -> bool {
        self.spelled.get().is_some()
    }

    /// Spells all of them, away from the async threads.
    pub async fn spell(all: Vec<Self>) {
        let unspelled: Vec<_> = all.into_iter().filter(|words| !words.is_spelled()).collect();
        if !unspelled.is_empty() {
            let spelling = tokio::task::spawn_blocking(move || {
                for words in unspelled {
                    let _ = words.text();
                }
            });
            // It is only not done when the node is stopping; whoever looks then waits for each.
            let _ = spelling.await;
        }
    }

    #[cfg(test)]
    pub(super) fn spelled(own: PeerKey, theirs: PeerKey, text: String) -> Self {
        Self { own, theirs, spelled: Arc::new(OnceLock::from(text)) }
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Words").field(&self.spelled.get()).finish()
    }
}

/// They follow from the keys.
impl PartialEq for Words {
    fn eq(&self, other: &Self) -> bool {
        (self.own, self.theirs) == (other.own, other.theirs)
    }
}

impl Eq for Words {}
