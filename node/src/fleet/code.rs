//! The pairing code's type, named in one place.

use std::fmt;

use rand::TryRng;
use rand::rngs::{SysError, SysRng};

/// The one-time code that the operator reads to another.
pub type Code = PairingCode;

/// Letters and digits that are not mistaken for each other when read aloud: Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Eight characters, 40 bits; shown as `7KQ2-M9XD`, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode(String);

/// A new code, from the system's random numbers.
pub(super) fn generate() -> Result<Code, SysError> {
    let mut bytes = [0; 8];
    SysRng.try_fill_bytes(&mut bytes)?;
    let mut text: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    text.insert(4, '-');
    Ok(PairingCode(text))
}

impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingCode(…)")
    }
}
