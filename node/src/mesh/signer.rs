//! One signature for whatever waits to be signed: what this node says to all its peers at one moment.
//!
//! A message alone is signed at once, in the task that sends it. Only while others are known to be coming, and their
//! links just did not run yet, do these go first: a command to a thousand rigs is there whole before the first of its
//! links signs for them all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miner_ctrl_protocol::smsg::{self, Leaf, MAX_BATCH, NodeSecret, Proof};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Leaves that one link brings at most; see `session::LINK_BATCH`.
pub(crate) const AT_ONCE: usize = 128;

struct Ask {
    leaves: Vec<Leaf>,
    reply: oneshot::Sender<Vec<Proof>>,
}

struct Shared {
    secret: Arc<NodeSecret>,
    /// In the order they came. A link has one at a time; what one leaves behind that ends before its turn goes with the
    /// next signature.
    waiting: Mutex<Vec<Ask>>,
    /// How many more were announced. It orders nothing: who reads an old number signs for fewer.
    coming: AtomicUsize,
    #[cfg(test)]
    signatures: AtomicUsize,
}

/// A message that will be signed soon: it waits for its link to take it up, or for the moment at which it is asked.
pub(crate) struct Coming(Arc<Shared>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Signs with the node's key.
#[derive(Clone)]
pub(crate) struct Signer(Arc<Shared>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    pub(crate) fn new(secret: Arc<NodeSecret>) -> Self {
        Self(Arc::new(Shared {
            secret,
            waiting: Mutex::default(),
            coming: AtomicUsize::new(0),
            #[cfg(test)]
            signatures: AtomicUsize::new(0),
        }))
    }

    /// Says that a message will come, until the announcement is dropped.
    pub(crate) fn announce(&self) -> Coming {
        self.0.coming.fetch_add(1, Ordering::Relaxed);
        Coming(Arc::clone(&self.0))
    }

    /// Proofs of at most [`AT_ONCE`] leaves in their order; none when whoever took them up broke off.
    pub(crate) async fn sign(self, leaves: Vec<Leaf>) -> Option<Vec<Proof>> {
        debug_assert!(leaves.len() <= AT_ONCE, "a link brings at most so many");
        let (reply, mut proofs) = oneshot::channel();
        self.waiting().push(Ask { leaves, reply });
        if self.0.coming.load(Ordering::Relaxed) > 0 {
            // Whoever is ready to run may bring more, or may sign ours. It costs a look at all sockets and wakes a thread.
            tokio::task::yield_now().await;
        }
        loop {
            match proofs.try_recv() {
                Ok(proofs) => return Some(proofs),
                Err(TryRecvError::Closed) => return None,
                Err(TryRecvError::Empty) if self.sign_waiting() => {}
                // On another thread somebody is at it.
                Err(TryRecvError::Empty) => return proofs.await.ok(),
            }
        }
    }

    /// How many were made.
    #[cfg(test)]
    pub(crate) fn signatures(&self) -> usize {
        self.0.signatures.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Ask>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs what waits, the longest first and as much as one batch takes; false when nothing does.
    fn sign_waiting(&self) -> bool {
        let asks: Vec<Ask> = {
            let mut waiting = self.waiting();
            let mut leaves = 0;
            let fit = waiting.iter().take_while(|ask| {
                leaves += ask.leaves.len();
                leaves <= MAX_BATCH
            });
            let count = fit.count();
            waiting.drain(..count).collect()
        };
        let leaves: Vec<Leaf> = asks.iter().flat_map(|ask| ask.leaves.iter().copied()).collect();
        let mut proofs = smsg::sign(&self.0.secret, &leaves).into_iter();
        let any = !asks.is_empty();
        #[cfg(test)]
        self.0.signatures.fetch_add(usize::from(any), Ordering::Relaxed);
        for Ask { leaves, reply } in asks {
            // A link that has ended meanwhile needs none.
            let _ = reply.send(proofs.by_ref().take(leaves.len()).collect());
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_gets_the_proofs_of_its_own_leaves_however_many_come_at_once() {
        let secret = Arc::new(NodeSecret::from_seed(&[1; 32]).unwrap());
        let signer = Signer::new(Arc::clone(&secret));
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
    async fn what_is_announced_together_is_signed_once() {
        let secret = Arc::new(NodeSecret::from_seed(&[1; 32]).unwrap());
        let signer = Signer::new(Arc::clone(&secret));
        for (announced, signatures) in [(true, 1), (false, 200)] {
            let (mut sender, _) = link(&secret);
            let asks: Vec<_> = (0..200)
                .map(|_| {
                    let (unsigned, _) = sender.prepare(vec![1], std::time::Duration::ZERO, &mut rand::rng()).unwrap();
                    let (signer, coming) = (signer.clone(), announced.then(|| signer.announce()));
                    async move {
                        drop(coming);
                        signer.sign(vec![unsigned.leaf()]).await.unwrap()
                    }
                })
                .collect();
            let proofs = futures::future::join_all(asks).await;
            let different: std::collections::HashSet<_> = proofs.iter().map(|proofs| *proofs[0].signature()).collect();
            assert_eq!(different.len(), signatures);
        }
    }

    fn link(secret: &Arc<NodeSecret>) -> (smsg::Sender, smsg::Receiver) {
        let other = Arc::new(NodeSecret::from_seed(&[2; 32]).unwrap());
        let nonce = smsg::LinkNonce::generate(&mut rand::rng());
        let sender = smsg::Sender::new(Arc::clone(secret), other.public(), nonce);
        (sender, smsg::Receiver::new(other, secret.public(), nonce))
    }
}
