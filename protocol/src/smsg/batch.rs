//! One signature for all the messages that are sealed at one moment.
//!
//! Each message has a leaf: a hash of who says it to whom, where in which session, and of its body. The author signs the
//! root of a Merkle tree over the leaves, and each message carries the signature with the path from its leaf to that
//! root. Nothing is lost against a signature of its own: a leaf stands for one place in one session between two nodes. A
//! message alone is a tree of one leaf, whose path is empty.
//!
//! ```text
//!   leaf     SHA-256( 0 | statement | body )             node  SHA-256( 1 | left | right )
//!   padding  32 zero bytes, up to a power of two         root  signed as  "miner-ctrl smsg 1 signed\0" | root
//!   proof    signature 64 | depth u8 | index u16 | path 32 × depth, from the leaf upwards        big endian
//! ```

use std::collections::VecDeque;

use ed25519_dalek::SIGNATURE_LENGTH;
use sha2::{Digest, Sha256};

use crate::id::PeerKey;
use crate::smsg::author::AuthorKey;
use crate::smsg::{NodeSecret, OpenError};

/// Levels of the largest tree: a command to a thousand rigs is signed once, and its paths have 320 bytes.
const MAX_DEPTH: usize = 10;

/// Messages under one signature, at most.
pub const MAX_BATCH: usize = 1 << MAX_DEPTH;

/// What a proof takes before its path.
const PROOF_HEAD: usize = SIGNATURE_LENGTH + 1 + 2;

/// The longest proof.
pub(super) const MAX_PROOF: usize = PROOF_HEAD + MAX_DEPTH * 32;

const DOMAIN: &[u8; 25] = b"miner-ctrl smsg 1 signed\0";

/// Roots kept of one author, whose signatures were found good. Its batches come one after the other; four leave room for
/// those that are told apart by the length of their way.
const KNOWN_ROOTS: usize = 4;

/// What stands for one message in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf([u8; 32]);

impl Leaf {
    pub(super) fn new(statement: &[u8], body: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(statement).chain_update(body).finalize().into())
    }
}

/// That a leaf is of a batch which its author signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    signature: [u8; SIGNATURE_LENGTH],
    index: u16,
    path: Vec<[u8; 32]>,
}

/// Signs all leaves at once; the proofs come in their order. An empty batch needs no signature.
///
/// # Panics
/// For more than [`MAX_BATCH`] leaves.
#[must_use]
pub fn sign(secret: &NodeSecret, leaves: &[Leaf]) -> Vec<Proof> {
    assert!(leaves.len() <= MAX_BATCH, "a batch has at most {MAX_BATCH} messages");
    if leaves.is_empty() {
        return Vec::new();
    }
    let mut level: Vec<[u8; 32]> = leaves.iter().map(|leaf| leaf.0).collect();
    level.resize(leaves.len().next_power_of_two(), [0; 32]);
    let mut paths = vec![Vec::with_capacity(level.len().trailing_zeros() as usize); leaves.len()];
    let mut depth = 0;
    while level.len() > 1 {
        for (leaf, path) in paths.iter_mut().enumerate() {
            path.push(level[(leaf >> depth) ^ 1]);
        }
        level = level.chunks_exact(2).map(|pair| node(&pair[0], &pair[1])).collect();
        depth += 1;
    }
    let signature = secret.sign(&signed(&level[0]));
    // Indexes are below `MAX_BATCH`.
    (0..).zip(paths).map(|(index, path)| Proof { signature, index, path }).collect()
}

impl Proof {
    /// The signature, the same for all messages of one batch.
    #[must_use]
    pub const fn signature(&self) -> &[u8; SIGNATURE_LENGTH] {
        &self.signature
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.signature);
        // At most `MAX_DEPTH`.
        bytes.push(self.path.len().to_le_bytes()[0]);
        bytes.extend_from_slice(&self.index.to_be_bytes());
        bytes.extend_from_slice(self.path.as_flattened());
    }

    pub(super) const fn length(&self) -> usize {
        PROOF_HEAD + self.path.len() * 32
    }

    /// The proof that stands before a body, and the body.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (signature, rest) = bytes.split_first_chunk::<SIGNATURE_LENGTH>()?;
        let (&[depth], rest) = rest.split_first_chunk::<1>()?;
        let (index, rest) = rest.split_first_chunk::<2>()?;
        let (depth, index) = (usize::from(depth), u16::from_be_bytes(*index));
        if depth > MAX_DEPTH || usize::from(index) >> depth != 0 {
            return None;
        }
        let (path, body) = rest.split_at_checked(depth * 32)?;
        let path = path.as_chunks::<32>().0.to_vec();
        Some((Self { signature: *signature, index, path }, body))
    }

    fn root(&self, leaf: Leaf) -> [u8; 32] {
        let mut index = self.index;
        self.path.iter().fold(leaf.0, |below, beside| {
            let left = index & 1 == 0;
            index >>= 1;
            if left { node(&below, beside) } else { node(beside, &below) }
        })
    }
}

/// Checks one author's proofs; remembers the last roots that were good, so that a batch costs one verification.
pub(super) struct Verifier {
    author: AuthorKey,
    good: VecDeque<([u8; 32], [u8; SIGNATURE_LENGTH])>,
    #[cfg(test)]
    pub(super) verified: usize,
}

impl Verifier {
    pub(super) fn new(author: &PeerKey) -> Self {
        Self {
            author: AuthorKey::new(author),
            good: VecDeque::new(),
            #[cfg(test)]
            verified: 0,
        }
    }

    /// Whether the author signed a batch with this leaf.
    pub(super) fn check(&mut self, leaf: Leaf, proof: &Proof) -> Result<(), OpenError> {
        let entry = (proof.root(leaf), proof.signature);
        if self.good.contains(&entry) {
            return Ok(());
        }
        if !self.author.verify(&signed(&entry.0), &proof.signature) {
            return Err(OpenError::BadSignature);
        }
        #[cfg(test)]
        {
            self.verified += 1;
        }
        // A batch of one will not be met again.
        if !proof.path.is_empty() {
            self.good.truncate(KNOWN_ROOTS - 1);
            self.good.push_front(entry);
        }
        Ok(())
    }
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

fn signed(root: &[u8; 32]) -> [u8; DOMAIN.len() + 32] {
    let mut bytes = [0; DOMAIN.len() + 32];
    bytes[..DOMAIN.len()].copy_from_slice(DOMAIN);
    bytes[DOMAIN.len()..].copy_from_slice(root);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> NodeSecret {
        NodeSecret::from_seed(&[1; 32]).unwrap()
    }

    fn leaves(count: u16) -> Vec<Leaf> {
        (0..count).map(|number| Leaf::new(b"statement", &number.to_be_bytes())).collect()
    }

    fn verifier() -> Verifier {
        Verifier::new(&secret().public())
    }

    #[test]
    fn every_leaf_of_a_batch_of_any_size_is_proven_by_one_verification() {
        for count in [1, 2, 3, 4, 5, 31, 32, 33, 1000, 1024] {
            let leaves = leaves(count);
            let proofs = sign(&secret(), &leaves);
            assert_eq!(proofs.len(), leaves.len());
            let mut verifier = verifier();
            for (leaf, proof) in leaves.iter().zip(&proofs) {
                let mut bytes = Vec::new();
                proof.write(&mut bytes);
                assert!(bytes.len() == proof.length() && bytes.len() <= MAX_PROOF);
                bytes.extend_from_slice(b"body");
                let (read, body) = Proof::read(&bytes).unwrap();
                assert_eq!((&read, body), (proof, b"body".as_slice()));
                verifier.check(*leaf, &read).unwrap();
            }
            assert_eq!(verifier.verified, 1, "{count}");
        }
        assert!(sign(&secret(), &[]).is_empty());
    }

    #[test]
    fn a_proof_is_of_its_own_leaf_and_of_no_other() {
        let leaves = leaves(5);
        let proofs = sign(&secret(), &leaves);
        let mut verifier = verifier();
        for (at, leaf) in leaves.iter().enumerate() {
            for (of, proof) in proofs.iter().enumerate() {
                assert_eq!(verifier.check(*leaf, proof).is_ok(), at == of, "{at} {of}");
            }
        }
        let stranger = Leaf::new(b"statement", b"never said");
        assert_eq!(verifier.check(stranger, &proofs[0]), Err(OpenError::BadSignature));
        // An inner node is no leaf, however long the path that is left of it.
        let inner = Leaf(node(&leaves[0].0, &leaves[1].0));
        let mut shorter = proofs[0].clone();
        shorter.path.remove(0);
        assert!(verifier.check(inner, &shorter).is_ok(), "as a hash it proves itself");
        let body: Vec<u8> = [leaves[0].0, leaves[1].0].concat();
        assert_ne!(Leaf::new(b"", &body), inner, "but no message has it");
    }

    #[test]
    fn what_is_altered_is_refused_and_not_remembered() {
        let leaves = leaves(4);
        let proofs = sign(&secret(), &leaves);
        let mut verifier = verifier();
        for alter in [
            |proof: &mut Proof| proof.signature[3] ^= 1,
            |proof: &mut Proof| proof.index ^= 1,
            |proof: &mut Proof| proof.path[1][0] ^= 1,
            |proof: &mut Proof| proof.path.truncate(1),
            |proof: &mut Proof| proof.path.push([0; 32]),
        ] {
            let mut altered = proofs[2].clone();
            alter(&mut altered);
            assert_eq!(verifier.check(leaves[2], &altered), Err(OpenError::BadSignature));
        }
        assert!(verifier.good.is_empty());
        // One good message of a batch says nothing of another signature over the same root.
        verifier.check(leaves[2], &proofs[2]).unwrap();
        let mut other = proofs[2].clone();
        other.signature[40] ^= 1;
        assert_eq!(verifier.check(leaves[2], &other), Err(OpenError::BadSignature));
        let elsewhere = sign(&NodeSecret::from_seed(&[2; 32]).unwrap(), &leaves);
        assert_eq!(verifier.check(leaves[2], &elsewhere[2]), Err(OpenError::BadSignature));
    }

    #[test]
    fn no_more_than_four_roots_are_remembered() {
        let mut verifier = verifier();
        for _ in 0..2 {
            for batch in 0..10_u8 {
                let leaves = [Leaf::new(b"a", &[batch]), Leaf::new(b"b", &[batch])];
                for (leaf, proof) in leaves.iter().zip(sign(&secret(), &leaves)) {
                    verifier.check(*leaf, &proof).unwrap();
                }
                assert!(verifier.good.len() <= KNOWN_ROOTS);
            }
        }
        assert_eq!(verifier.verified, 20);
    }

    #[test]
    fn a_proof_that_claims_too_much_is_none() {
        let mut bytes = vec![0; PROOF_HEAD + 32 * 11];
        assert!(Proof::read(&bytes).is_some());
        bytes[64] = 11;
        assert!(Proof::read(&bytes).is_none(), "deeper than any");
        bytes[64] = 10;
        assert!(Proof::read(&bytes[..PROOF_HEAD + 319]).is_none(), "shorter than its path");
        bytes[64] = 1;
        bytes[66] = 2;
        assert!(Proof::read(&bytes).is_none(), "an index beyond the tree");
        assert!(Proof::read(&bytes[..PROOF_HEAD - 1]).is_none());
    }
}
