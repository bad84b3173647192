//! What graviola does faster than the portable libraries, where the processor has what it uses: signing, by assembly that
//! is proven to compute what the standard says (s2n-bignum), at half the cost, and sealing, at a third for short messages.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod machine {
    use ed25519_dalek::SIGNATURE_LENGTH;
    use graviola::aead::ChaCha20Poly1305;
    use graviola::signing::eddsa::Ed25519SigningKey;
    use graviola::util::is_cpu_supported;

    /// An Ed25519 secret key, zeroized when dropped.
    pub(crate) struct Signing(Ed25519SigningKey);

    impl Signing {
        /// None on processors without it: x86-64 from before 2014 or so, ARM without AES. There graviola would panic.
        pub(crate) fn new(seed: &[u8; 32]) -> Option<Self> {
            if !is_cpu_supported() {
                return None;
            }
            Ed25519SigningKey::from_bytes(seed).ok().map(Self)
        }

        pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
            self.0.sign(message)
        }
    }

    /// A key of ChaCha20-Poly1305, zeroized when dropped.
    pub(crate) struct Sealing(ChaCha20Poly1305);

    impl Sealing {
        /// None on the same processors.
        pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
            is_cpu_supported().then(|| Self(ChaCha20Poly1305::new(*key)))
        }

        pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; 16] {
            let mut tag = [0; 16];
            self.0.encrypt(nonce, aad, buffer, &mut tag);
            tag
        }

        /// False when the tag is another; the buffer is all zeros then.
        pub(crate) fn open(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8], tag: &[u8; 16]) -> bool {
            self.0.decrypt(nonce, aad, buffer, tag).is_ok()
        }
    }
}

/// Where it is not made for the processor there are no such keys.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod machine {
    use std::convert::Infallible;

    use ed25519_dalek::SIGNATURE_LENGTH;

    pub(crate) struct Signing(Infallible);

    impl Signing {
        pub(crate) const fn new(_: &[u8; 32]) -> Option<Self> {
            None
        }

        pub(crate) const fn sign(&self, _: &[u8]) -> [u8; SIGNATURE_LENGTH] {
            match self.0 {}
        }
    }

    pub(crate) struct Sealing(Infallible);

    impl Sealing {
        pub(crate) const fn new(_: &[u8; 32]) -> Option<Self> {
            None
        }

        pub(crate) const fn seal(&self, _: &[u8; 12], _: &[u8], _: &mut [u8]) -> [u8; 16] {
            match self.0 {}
        }

        pub(crate) const fn open(&self, _: &[u8; 12], _: &[u8], _: &mut [u8], _: &[u8; 16]) -> bool {
            match self.0 {}
        }
    }
}

pub(crate) use machine::{Sealing, Signing};
