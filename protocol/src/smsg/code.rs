//! The pairing code as it is shown and typed.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Crockford's base 32: no I, L, O or U. What is read as O is a zero, as I or L a one.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Symbols in a code: 40 bits. SPAKE2 gives whoever guesses one try for each run, and three wrong ones burn the code.
const SYMBOLS: usize = 8;

/// Longest text that is looked at: a code with a space or hyphen around each symbol.
const MAX_TEXT: usize = 32;

/// A one-time code that one node shows and the other's operator types, e.g. `7KQ2-M9XD`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PairingCode([u8; SYMBOLS]);

/// Why a text is not a pairing code. Does not say which symbol: the text may be a secret mistyped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pairing code is {SYMBOLS} letters and digits, such as 7KQ2-M9XD")]
pub struct NotAPairingCode;

impl PairingCode {
    /// A new one.
    #[must_use]
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; SYMBOLS]);
        rng.fill_bytes(&mut *bytes);
        // 32 divides 256, so every symbol is as likely as any other.
        Self(bytes.map(|byte| ALPHABET[usize::from(byte % 32)]))
    }

    /// The symbols without the hyphen: the password of the key exchange.
    pub(super) const fn symbols(&self) -> &[u8; SYMBOLS] {
        &self.0
    }
}

/// In constant time: how far a guess was right shall not show.
impl PartialEq for PairingCode {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PairingCode {}

impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, symbol) in self.0.iter().enumerate() {
            if index == SYMBOLS / 2 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(*symbol))?;
        }
        Ok(())
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingCode(…)")
    }
}

impl FromStr for PairingCode {
    type Err = NotAPairingCode;

    fn from_str(text: &str) -> Result<Self, NotAPairingCode> {
        if text.len() > MAX_TEXT {
            return Err(NotAPairingCode);
        }
        let mut symbols = Zeroizing::new([0; SYMBOLS]);
        let mut places = symbols.iter_mut();
        for byte in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ' | b'\t' | b'\r' | b'\n')) {
            let symbol = match byte.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            if !ALPHABET.contains(&symbol) {
                return Err(NotAPairingCode);
            }
            *places.next().ok_or(NotAPairingCode)? = symbol;
        }
        match places.next() {
            None => Ok(Self(*symbols)),
            Some(_) => Err(NotAPairingCode),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_reads_back_however_it_is_typed() {
        for typed in ["7KQ2-M9XD", "7kq2m9xd", " 7kq2 m9xd\n", "7-K-Q-2-M-9-X-D"] {
            assert_eq!(typed.parse::<PairingCode>().unwrap().to_string(), "7KQ2-M9XD");
        }
        assert_eq!("oOiI-lL22".parse::<PairingCode>().unwrap().to_string(), "0011-1122");
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let long = "-".repeat(MAX_TEXT) + "7KQ2M9XD";
        for bad in ["", "7KQ2-M9X", "7KQ2-M9XD2", "7KQ2-M9XU", "7KQ2_M9XD", "7KQ2-M9X\u{e9}", &long] {
            assert_eq!(bad.parse::<PairingCode>().unwrap_err(), NotAPairingCode, "{bad:?}");
        }
    }

    #[test]
    fn a_code_is_not_printed_by_debug() {
        let code: PairingCode = "7KQ2-M9XD".parse().unwrap();
        assert_eq!(format!("{code:?}"), "PairingCode(…)");
    }

    #[test]
    fn a_generated_code_has_symbols_of_the_alphabet_and_reads_back() {
        let mut rng = rand::rng();
        for _ in 0..200 {
            let shown = PairingCode::generate(&mut rng).to_string();
            assert_eq!(shown.parse::<PairingCode>().unwrap().to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_code_or_an_error(text in ".{0,40}") {
            let _ = text.parse::<PairingCode>();
        }
    }
}
