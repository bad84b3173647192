//! Signing by assembly that is proven to compute what the standard says (s2n-bignum, by way of graviola), at half the cost
//! of the portable library, where the processor has what it uses.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod machine {
    use ed25519_dalek::SIGNATURE_LENGTH;
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
}

/// Where there is no such assembly there is no such key.
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
}

pub(crate) use machine::Signing;
