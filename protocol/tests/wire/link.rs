//! Two nodes and the sealed link between them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_protocol::PeerKey;
use miner_ctrl_protocol::smsg::{Answerer, LinkNonce, NodeSecret, OpenError, PendingAnswer, Receiver, Sender};
use rand::rand_core::{TryCryptoRng, TryRng};

/// The moment at which everything happens unless a test says otherwise.
pub(crate) const NOW: Duration = Duration::from_secs(1000);

/// Bytes that count up, so that golden bytes are the same on every machine and with every version of `rand`.
pub(crate) struct Counting(pub(crate) u8);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Counting {}

pub(crate) fn secret(seed: u8) -> Arc<NodeSecret> {
    Arc::new(NodeSecret::from_seed(&[seed; 32]).expect("32 bytes are a seed"))
}

pub(crate) fn key(seed: u8) -> PeerKey {
    secret(seed).public()
}

pub(crate) fn nonce(seed: u8) -> LinkNonce {
    LinkNonce::generate(&mut Counting(seed))
}

/// The asking end at node 1 and the answering end at node 2.
pub(crate) struct Link {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self { sender: Sender::new(secret(1), key(2), nonce(9)), receiver: Receiver::new(secret(2), key(1), nonce(9)) }
    }

    pub(crate) fn seal(&mut self, body: &[u8]) -> (Vec<u8>, PendingAnswer) {
        self.sender.seal(body, NOW, &mut rand::rng()).expect("the body fits")
    }

    /// Sends one message, so that there is a session.
    pub(crate) fn establish(&mut self) {
        let (message, _) = self.seal(b"first");
        self.open(&message).expect("the first message of a session opens");
    }

    /// A message of a session of its own.
    pub(crate) fn seal_anew(&mut self, body: &[u8]) -> (Vec<u8>, PendingAnswer) {
        self.sender.renew(nonce(9));
        self.seal(body)
    }

    pub(crate) fn open(&mut self, message: &[u8]) -> Result<(Vec<u8>, Answerer), OpenError> {
        self.receiver.open(message)
    }

    /// Why a message is refused.
    pub(crate) fn refuses(&mut self, message: &[u8]) -> OpenError {
        self.receiver.open(message).expect_err("it is refused")
    }
}
