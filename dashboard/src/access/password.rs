//! Passwords: argon2id, away from the async threads, few at once.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::access::Secret;
use crate::error::{ApiError, Code};
use crate::extract::invalid;

/// Memory of one hash in KiB: OWASP's smallest for argon2id with two passes. A rig has little to spare.
const MEMORY_KIB: u32 = 19 * 1024;

/// Passes over that memory: some 60 ms on a small machine.
const PASSES: u32 = 2;

/// Hashes at once: more would take the machine from its miners, and 40 MiB is enough to lose.
const AT_ONCE: usize = 2;

/// Shortest password. Length is what counts; rules about kinds of characters only make people write it down.
const SHORTEST: usize = 10;

/// Longest password in bytes: no passphrase is longer, and each byte is hashed.
const LONGEST: usize = 1024;

/// Hashes and verifies.
#[derive(Debug)]
pub(crate) struct Hasher(Semaphore);

impl Default for Hasher {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Hasher {
    /// A new password as it is stored: a PHC string.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, ApiError> {
        if password.as_str().chars().count() < SHORTEST {
            return Err(invalid("", "password", format!("has fewer than {SHORTEST} characters")));
        }
        if password.as_str().len() > LONGEST {
            return Err(invalid("", "password", format!("has more than {LONGEST} bytes")));
        }
        self.run(move |argon2| {
            let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(broken)?;
            Ok(argon2.hash_password(password.as_str().as_bytes(), &salt).map_err(broken)?.to_string())
        })
        .await
    }

    /// Whether it is the password that was stored.
    pub(crate) async fn verify(&self, password: Secret, stored: String) -> Result<bool, ApiError> {
        if password.as_str().len() > LONGEST {
            return Ok(false);
        }
        self.run(move |argon2| {
            let stored = PasswordHash::new(&stored).map_err(broken)?;
            Ok(argon2.verify_password(password.as_str().as_bytes(), &stored).is_ok())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        // Never closed.
        let _place = self.0.acquire().await.map_err(broken)?;
        let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(broken)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        tokio::task::spawn_blocking(move || work(&argon2)).await.map_err(broken)?
    }
}

fn broken(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::Internal, format!("the password could not be hashed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let hasher = Hasher::default();
        let stored = hasher.hash(Secret::new("correct horse battery")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(hasher.verify(Secret::new("correct horse battery"), stored.clone()).await.unwrap());
        assert!(!hasher.verify(Secret::new("correct horse batterx"), stored).await.unwrap());
    }

    #[tokio::test]
    async fn a_password_has_bounds() {
        let hasher = Hasher::default();
        for bad in ["", "nine char", &"x".repeat(LONGEST + 1)] {
            assert_eq!(hasher.hash(Secret::new(bad)).await.unwrap_err().code, Code::Invalid);
        }
        assert!(hasher.hash(Secret::new("zehn\u{fc}mlaut")).await.is_ok());
    }
}
