//! Random secrets, and what is kept of them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Characters of 32 random bytes in base64url.
pub(crate) const SECRET_LENGTH: usize = 43;

/// A secret in plain, on its way in or out. It never shows in a log.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// 32 random bytes.
    pub(crate) fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What is kept. The secret has 256 random bits, so that a plain hash is enough; passwords take another way.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A handle that is not secret: enough to tell a few dozen from each other.
pub(crate) fn handle() -> String {
    format!("{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_length_and_does_not_show() {
        let secret = Secret::random();
        assert_eq!(secret.as_str().len(), SECRET_LENGTH);
        assert_ne!(secret, Secret::random());
        assert!(!format!("{secret:?}").contains(secret.as_str()));
    }
}
