//! Passwords: argon2id, away from the async threads, few at once.

use argon2::password_hash::{Output, ParamsString, PasswordHash, Salt, SaltString};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
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

/// Blocks that are asked for at least: 33 MiB of addresses, of which those beyond the memory of a hash are never touched.
/// What is larger than 32 MiB glibc gives back as soon as it is freed. Anything smaller it keeps for later, another piece
/// for each thread: wrong passwords alone would make a node hundreds of MiB larger.
const GIVEN_BACK: usize = 33 * 1024;

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
        check(&password)?;
        self.run(move || {
            let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(broken)?;
            let salt = rand::random::<[u8; 16]>();
            let hash = hashed(params.clone(), &password, &salt, Params::DEFAULT_OUTPUT_LEN)?;
            let salt = SaltString::encode_b64(&salt).map_err(broken)?;
            let stored = PasswordHash {
                algorithm: ARGON2ID_IDENT,
                version: Some(Version::V0x13.into()),
                params: ParamsString::try_from(&params).map_err(broken)?,
                salt: Some(salt.as_salt()),
                hash: Some(hash),
            };
            Ok(stored.to_string())
        })
        .await
    }

    /// Whether it is the password that was stored.
    pub(crate) async fn verify(&self, password: Secret, stored: String) -> Result<bool, ApiError> {
        if password.as_str().len() > LONGEST {
            return Ok(false);
        }
        self.run(move || {
            let stored = PasswordHash::new(&stored).map_err(broken)?;
            let params = Params::try_from(&stored).map_err(broken)?;
            let (Some(salt), Some(known)) = (stored.salt, stored.hash) else {
                return Err(broken("it was stored in part"));
            };
            let mut bytes = [0; Salt::MAX_LENGTH];
            let salt = salt.decode_b64(&mut bytes).map_err(broken)?;
            // Compared in constant time.
            Ok(hashed(params, &password, salt, known.len())? == known)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        // Never closed.
        let _place = self.0.acquire().await.map_err(broken)?;
        tokio::task::spawn_blocking(work).await.map_err(broken)?
    }
}

/// Whether it can become the password.
pub(crate) fn check(password: &Secret) -> Result<(), ApiError> {
    if password.as_str().chars().count() < SHORTEST {
        return Err(invalid("", "password", format!("has fewer than {SHORTEST} characters")));
    }
    if password.as_str().len() > LONGEST {
        return Err(invalid("", "password", format!("has more than {LONGEST} bytes")));
    }
    Ok(())
}

fn hashed(params: Params, password: &Secret, salt: &[u8], length: usize) -> Result<Output, ApiError> {
    let mut memory = Vec::with_capacity(params.block_count().max(GIVEN_BACK));
    memory.resize(params.block_count(), Block::default());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut bytes = [0; Output::MAX_LENGTH];
    let bytes = bytes.get_mut(..length).ok_or_else(|| broken("it is too long"))?;
    argon2.hash_password_into_with_memory(password.as_str().as_bytes(), salt, bytes, memory).map_err(broken)?;
    Output::new(bytes).map_err(broken)
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
    async fn a_password_that_argon2_itself_stored_is_known() {
        let stored =
            "$argon2id$v=19$m=19456,t=2,p=1$VxrFj7jqVy0tFuRWUN34ow$onMHnywYmniqkBZFspFAXfkiWH989XdlPx1stkivtqI";
        let hasher = Hasher::default();
        assert!(hasher.verify(Secret::new("correct horse battery"), stored.to_owned()).await.unwrap());
        assert!(!hasher.verify(Secret::new("correct horse batterx"), stored.to_owned()).await.unwrap());
    }

    #[test]
    fn memory_is_given_back_whichever_thread_had_it() {
        /// Set in a process of its own: in this one, other tests have memory as they please.
        const ALONE: &str = "MINER_CTRL_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let name = format!("{}::memory_is_given_back_whichever_thread_had_it", module_path!());
            let name = name.split_once("::").unwrap().1;
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            let output = alone.args(["--exact", name]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
        };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        // Each with threads of its own, all of which stay.
        let runtimes: Vec<_> = (0..8).map(|_| runtime()).collect();
        let before = resident();
        for runtime in &runtimes {
            for _ in 0..2 {
                runtime.block_on(Hasher::default().hash(Secret::new("correct horse battery"))).unwrap();
            }
        }
        // Each hash takes 19 MiB.
        assert!(resident() <= before + 19, "{} MiB, then {}", before, resident());
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
