//! Signing and agreement by assembly that is proven to compute what the standards say (s2n-bignum, by way of graviola), at
//! half the cost of the portable libraries, where the processor has what it uses.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod machine {
    use ed25519_dalek::SIGNATURE_LENGTH;
    use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
    use graviola::signing::eddsa::Ed25519SigningKey;
    use graviola::util::is_cpu_supported;
    use zeroize::Zeroizing;

    /// An Ed25519 secret key. As all of graviola's, it is zeroized when dropped.
    pub(crate) struct Signing(Ed25519SigningKey);

    impl Signing {
        /// None on processors without it: x86-64 from before 2014 or so, ARM without AES. There graviola would panic.
        pub(crate) fn new(seed: &[u8; 32]) -> Option<Self> {
            is_cpu_supported().then(|| Ed25519SigningKey::from_bytes(seed).ok().map(Self)).flatten()
        }

        pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
            self.0.sign(message)
        }
    }

    /// An X25519 secret key.
    pub(crate) struct Agreement(StaticPrivateKey);

    impl Agreement {
        /// None as above.
        pub(crate) fn new(secret: &[u8; 32]) -> Option<Self> {
            is_cpu_supported().then(|| Self(StaticPrivateKey::from_array(secret)))
        }

        pub(crate) fn public(&self) -> [u8; 32] {
            self.0.public_key().as_bytes()
        }

        /// What both sides know; none when it is all zero.
        pub(crate) fn with(&self, public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
            let shared = self.0.diffie_hellman(&PublicKey::from_array(public)).ok()?;
            Some(Zeroizing::new(shared.0))
        }
    }
}

/// Where there is no such assembly there are no such keys.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod machine {
    use std::convert::Infallible;

    use ed25519_dalek::SIGNATURE_LENGTH;
    use zeroize::Zeroizing;

    pub(crate) struct Signing(Infallible);

    impl Signing {
        pub(crate) const fn new(_: &[u8; 32]) -> Option<Self> {
            None
        }

        pub(crate) const fn sign(&self, _: &[u8]) -> [u8; SIGNATURE_LENGTH] {
            match self.0 {}
        }
    }

    pub(crate) struct Agreement(Infallible);

    impl Agreement {
        pub(crate) const fn new(_: &[u8; 32]) -> Option<Self> {
            None
        }

        pub(crate) const fn public(&self) -> [u8; 32] {
            match self.0 {}
        }

        pub(crate) const fn with(&self, _: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
            match self.0 {}
        }
    }
}

pub(crate) use machine::{Agreement, Signing};
