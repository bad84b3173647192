//! Identities of simulated rigs: one secret for the whole fleet, so that the same rigs come back.

use miner_ctrl_protocol::smsg::NodeSecret;
use rand::CryptoRng;
use zeroize::Zeroizing;

/// Bytes of the secret. With the rig's number behind it, it is an Ed25519 seed.
const BYTES: usize = 28;

/// What the seeds of all rigs have in common; zeroized when dropped, never printed.
pub struct FleetKey(Zeroizing<[u8; BYTES]>);

impl std::fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FleetKey")
    }
}

impl FleetKey {
    /// Its length.
    pub const BYTES: usize = BYTES;

    /// A new one.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    /// As it was stored; none when it has another length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// To store it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &*self.0
    }

    /// The identity of the rig of this number.
    pub(super) fn secret(&self, number: u32) -> NodeSecret {
        let mut seed = Zeroizing::new([0; Self::BYTES + 4]);
        seed[..Self::BYTES].copy_from_slice(&*self.0);
        seed[Self::BYTES..].copy_from_slice(&number.to_be_bytes());
        NodeSecret::from_seed(&*seed).expect("28 and 4 bytes are a seed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rig_has_its_own_identity_and_the_same_each_time() {
        let key = FleetKey::generate(&mut rand::rng());
        let again = FleetKey::from_bytes(key.as_bytes()).unwrap();
        assert_eq!(key.secret(7).public(), again.secret(7).public());
        assert_ne!(key.secret(7).public(), key.secret(8).public());
        assert!(FleetKey::from_bytes(&[0; 27]).is_none());
    }
}
