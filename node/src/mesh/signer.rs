//! One signature for whatever waits to be signed: what this node says to all its peers at one moment.
//!
//! Nothing waits for company: a message alone is signed at once. While one signature is made the next messages gather,
//! and a command to a thousand rigs is there whole before the first of its links gives way.

use std::sync::Arc;

use miner_ctrl_protocol::smsg::{self, Leaf, MAX_BATCH, NodeSecret, Proof};
use tokio::sync::{mpsc, oneshot};

/// Links that wait for their turn; more of them wait to be let in.
const QUEUE: usize = 1024;

/// Leaves that one link brings at most; see `link::LINK_BATCH`.
pub(crate) const AT_ONCE: usize = 128;

struct Ask {
    leaves: Vec<Leaf>,
    reply: oneshot::Sender<Vec<Proof>>,
}

/// Signs with the node's key. Its task ends with the last clone.
#[derive(Clone)]
pub(crate) struct Signer {
    asks: mpsc::Sender<Ask>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    pub(crate) fn spawn(secret: Arc<NodeSecret>) -> Self {
        let (asks, asked) = mpsc::channel(QUEUE);
        tokio::spawn(run(secret, asked));
        Self { asks }
    }

    /// Proofs of at most [`AT_ONCE`] leaves in their order; none when the node is stopping.
    pub(crate) async fn sign(self, leaves: Vec<Leaf>) -> Option<Vec<Proof>> {
        debug_assert!(leaves.len() <= AT_ONCE, "a link brings at most so many");
        let (reply, proofs) = oneshot::channel();
        self.asks.send(Ask { leaves, reply }).await.ok()?;
        proofs.await.ok()
    }
}

async fn run(secret: Arc<NodeSecret>, mut asked: mpsc::Receiver<Ask>) {
    while let Some(first) = asked.recv().await {
        // Whoever else is ready to run goes first and may bring more; when nobody is, this takes no time.
        tokio::task::yield_now().await;
        let mut leaves = first.leaves;
        let mut replies = vec![(leaves.len(), first.reply)];
        while leaves.len() + AT_ONCE <= MAX_BATCH
            && let Ok(next) = asked.try_recv()
        {
            replies.push((next.leaves.len(), next.reply));
            leaves.extend(next.leaves);
        }
        let mut proofs = smsg::sign(&secret, &leaves).into_iter();
        for (count, reply) in replies {
            // A link that has ended meanwhile needs none.
            let _ = reply.send(proofs.by_ref().take(count).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_gets_the_proofs_of_its_own_leaves_however_many_come_at_once() {
        let secret = Arc::new(NodeSecret::from_seed(&[1; 32]).unwrap());
        let signer = Signer::spawn(Arc::clone(&secret));
        let (mut sender, mut receiver) = link(&secret);
        let asks = (0..3000_usize).map(|number| {
            let count = number % 3;
            let prepared: Vec<_> = (0..count)
                .map(|_| sender.prepare(vec![1], std::time::Duration::ZERO, &mut rand::rng()).unwrap().0)
                .collect();
            let leaves = prepared.iter().map(smsg::Unsigned::leaf).collect();
            let signer = signer.clone();
            async move { (prepared, signer.sign(leaves).await.unwrap()) }
        });
        for (prepared, proofs) in futures::future::join_all(asks).await {
            assert_eq!(prepared.len(), proofs.len());
            for (unsigned, proof) in prepared.into_iter().zip(&proofs) {
                receiver.open(&unsigned.seal(proof).unwrap()).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn what_comes_together_is_signed_once() {
        let secret = Arc::new(NodeSecret::from_seed(&[1; 32]).unwrap());
        let signer = Signer::spawn(Arc::clone(&secret));
        let (mut sender, _) = link(&secret);
        let asks = (0..200).map(|_| {
            let (unsigned, _) = sender.prepare(vec![1], std::time::Duration::ZERO, &mut rand::rng()).unwrap();
            signer.clone().sign(vec![unsigned.leaf()])
        });
        let proofs = futures::future::join_all(asks).await;
        let signatures: std::collections::HashSet<_> =
            proofs.iter().map(|proofs| *proofs.as_ref().unwrap()[0].signature()).collect();
        assert_eq!(signatures.len(), 1);
    }

    fn link(secret: &Arc<NodeSecret>) -> (smsg::Sender, smsg::Receiver) {
        let other = Arc::new(NodeSecret::from_seed(&[2; 32]).unwrap());
        let nonce = smsg::LinkNonce::generate(&mut rand::rng());
        let sender = smsg::Sender::new(Arc::clone(secret), other.public(), nonce);
        (sender, smsg::Receiver::new(other, secret.public(), nonce))
    }
}
