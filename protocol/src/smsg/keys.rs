//! One secret per node; everything else is computed from it.
//!
//! The X25519 key is the Ed25519 key under the standard birational map, so that whoever knows a peer id can seal to
//! it. Joint use of one key for Ed25519 and an X25519 KEM is analysed in IACR ePrint 2021/509.

use std::fmt;

use ed25519_dalek::{SIGNATURE_LENGTH, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::id::{NodeId, PeerKey};
use crate::smsg::assembly;

/// Why bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Another length than 32.
    #[error("a key has 32 bytes, these are {0}")]
    Length(usize),
    /// Not the canonical encoding of a point of the curve.
    #[error("not a public key")]
    NotAPoint,
    /// A point of small order: everybody could sign for it.
    #[error("a weak public key")]
    Weak,
}

impl PeerKey {
    /// Parses a compressed Edwards point (RFC 8032, section 5.1.3), strictly.
    ///
    /// # Errors
    /// [`KeyError`] for a wrong length, a non-canonical encoding or a point of small order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| KeyError::Length(bytes.len()))?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        // `from_bytes` reduces y modulo p; what does not read back the same was not canonical.
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::NotAPoint);
        }
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self(*bytes))
    }

    pub(crate) fn verifying(&self) -> VerifyingKey {
        // The two places that make a `PeerKey` are `from_bytes` above, which checked this, and `NodeSecret::public`.
        VerifyingKey::from_bytes(&self.0).expect("a peer key is a point of the curve")
    }

    /// The X25519 public key of the same secret (RFC 7748, section 4.1).
    #[must_use]
    pub fn x25519(&self) -> [u8; 32] {
        self.verifying().to_montgomery().to_bytes()
    }

    /// The handle for people: the first 8 bytes of SHA-256 over the X25519 public key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        let digest = Sha256::digest(self.x25519());
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        NodeId(id)
    }
}

/// The node's one secret: a 32-byte Ed25519 seed. Zeroized when dropped, never printed.
pub struct NodeSecret {
    key: SigningKey,
    /// Signs the same at half the cost, where the processor can.
    by_assembly: Option<assembly::Signing>,
}

impl NodeSecret {
    /// A new one.
    #[must_use]
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self::of(&seed)
    }

    fn of(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed), by_assembly: assembly::Signing::new(seed) }
    }

    /// From the stored seed.
    ///
    /// # Errors
    /// [`KeyError::Length`] when it has not 32 bytes.
    pub fn from_seed(seed: &[u8]) -> Result<Self, KeyError> {
        let seed: &[u8; 32] = seed.try_into().map_err(|_| KeyError::Length(seed.len()))?;
        Ok(Self::of(seed))
    }

    /// The seed, for the key file and for libp2p's keypair; nowhere else.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The public identity.
    #[must_use]
    pub fn public(&self) -> PeerKey {
        PeerKey(self.key.verifying_key().to_bytes())
    }

    /// Signs (RFC 8032, section 5.1.6); nothing in it is random.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        match &self.by_assembly {
            Some(key) => key.sign(message),
            None => self.key.sign(message).to_bytes(),
        }
    }

    /// The X25519 secret scalar of the same key.
    pub(crate) fn x25519(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_scalar_bytes())
    }
}

impl fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeSecret(of {})", self.public().node_id())
    }
}

/// 16 random bytes, fresh for each connection and told in Hello: a session sealed for another one does not open.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkNonce(pub(crate) [u8; 16]);

impl LinkNonce {
    /// A new one.
    #[must_use]
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl fmt::Debug for LinkNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkNonce(…)")
    }
}

impl Serialize for LinkNonce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(self.0.as_slice(), serializer)
    }
}

impl<'de> Deserialize<'de> for LinkNonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::deserialize::<serde_bytes::ByteArray<16>, D>(deserializer).map(|bytes| Self(bytes.into_array()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_small_order_and_loose_encodings_are_refused() {
        assert_eq!(PeerKey::from_bytes(&[0; 31]), Err(KeyError::Length(31)));
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PeerKey::from_bytes(&identity), Err(KeyError::Weak));
        // y = p + 1: the identity again, not canonical.
        let mut loose = [0xff; 32];
        loose[0] = 0xee;
        loose[31] = 0x7f;
        assert_eq!(PeerKey::from_bytes(&loose), Err(KeyError::NotAPoint));
        let mut no_point = [0; 32];
        no_point[0] = 2;
        assert_eq!(PeerKey::from_bytes(&no_point), Err(KeyError::NotAPoint));
    }

    #[test]
    fn whoever_signs_signs_the_same() {
        for seed in 0..64 {
            let mut secret = NodeSecret::from_seed(&[seed; 32]).unwrap();
            let messages: Vec<_> = (0..=usize::from(seed)).map(|length| vec![seed; 3 * length]).collect();
            let signatures: Vec<_> = messages.iter().map(|message| secret.sign(message)).collect();
            for (message, signature) in messages.iter().zip(&signatures) {
                secret.public().verifying().verify_strict(message, &(*signature).into()).unwrap();
            }
            // As on a processor that can do nothing special.
            secret.by_assembly = None;
            assert_eq!(messages.iter().map(|message| secret.sign(message)).collect::<Vec<_>>(), signatures);
        }
    }

    /// RFC 8032, section 7.1, tests 1 to 3.
    #[test]
    fn signatures_are_those_of_the_standard() {
        for (seed, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                 5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                 18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let secret = NodeSecret::from_seed(&hex::decode(seed).unwrap()).unwrap();
            assert_eq!(secret.sign(&hex::decode(message).unwrap())[..], hex::decode(signature).unwrap());
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = NodeSecret::from_seed(&[7; 32]).unwrap();
        assert!(!format!("{secret:?}").contains("7, 7"));
    }
}
