//! Fractions as others may write them: of any width, and whole ones as integers.
//!
//! We write rates with 64 bits and other fractions with 32; many a CBOR library writes the shortest that holds the number
//! (RFC 8949, section 4.1), and cannot be told otherwise field by field.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// Any number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number(f64);

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        number.0
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        #[expect(clippy::cast_precision_loss, reason = "a fraction holds what it can of an integer")]
        impl Visitor<'_> for Numbers {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_f32<E: Error>(self, number: f32) -> Result<Number, E> {
                Ok(Number(number.into()))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

/// One that we keep with 32 bits.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(from = "Number")]
struct Short(f32);

impl From<Number> for Short {
    #[expect(clippy::cast_possible_truncation, reason = "of a longer one we keep what we would have written")]
    fn from(number: Number) -> Self {
        // The zero below zero is added away: it would be shown with its sign.
        Self(number.0 as f32 + 0.0)
    }
}

/// For a field with what was measured, or nothing: what is not finite is nothing, since it would be shown, and summed.
pub(crate) fn measured<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
    let number = Option::<Short>::deserialize(deserializer)?.map(|short| short.0);
    Ok(number.filter(|number| number.is_finite()))
}

/// As [`measured`], for what is never below zero.
pub(crate) fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
    Ok(measured(deserializer)?.filter(|number| *number >= 0.0))
}

/// For a field with many.
pub(crate) fn shorts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Option<f32>>, D::Error> {
    let numbers = Vec::<Option<Short>>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.map(|short| short.0)).collect())
}

#[cfg(test)]
mod tests {
    use crate::Hashrate;
    use crate::codec::{MAX_BODY, decode, encode};
    use crate::history::HistorySeries;
    use crate::stats::HostStats;

    /// A map of short text keys to these bytes.
    fn map(fields: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0xa0 + fields.len().to_le_bytes()[0]];
        for (name, value) in fields {
            bytes.push(0x60 + name.len().to_le_bytes()[0]);
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(value);
        }
        bytes
    }

    #[test]
    fn a_fraction_is_taken_in_every_width_and_as_an_integer() {
        // RFC 8949, appendix A: 1.5 with 16, 32 and 64 bits, and 1000.
        let spelt: [(&[u8], f32); 4] = [
            (&[0xf9, 0x3e, 0x00], 1.5),
            (&[0xfa, 0x3f, 0xc0, 0, 0], 1.5),
            (&[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], 1.5),
            (&[0x19, 0x03, 0xe8], 1000.0),
        ];
        for (bytes, number) in spelt {
            assert_eq!(decode::<Hashrate>(bytes, 9).ok(), Hashrate::per_second(f64::from(number)));
            assert_eq!(decode::<HostStats>(&map(&[("load", bytes)]), 20).unwrap().load, Some(number));
            let mut numbers = vec![0x82, 0xf6];
            numbers.extend_from_slice(bytes);
            let series = map(&[("miner", b"\x61m"), ("measure", b"\x65power"), ("numbers", &numbers)]);
            assert_eq!(decode::<HistorySeries>(&series, 100).unwrap().numbers, [None, Some(number)]);
        }
        assert_eq!(decode::<HostStats>(&map(&[("load", &[0xf6])]), 20).unwrap().load, None);
        for wrong in [&[0x61, b'1'][..], &[0xf5], &[0x80], &[0xfb, 0x3f]] {
            assert!(decode::<Hashrate>(wrong, 9).is_err(), "{wrong:?}");
            assert!(decode::<HostStats>(&map(&[("load", wrong)]), 20).is_err(), "{wrong:?}");
        }
        assert!(decode::<Hashrate>(&[0x20], 9).is_err(), "below zero");
    }

    #[test]
    fn we_write_one_width() {
        assert_eq!(encode(&Hashrate::per_second(1000.0), MAX_BODY).unwrap()[0], 0xfb);
        let host = encode(&HostStats { load: Some(1.0), ..HostStats::default() }, MAX_BODY).unwrap();
        assert!(host.windows(9).any(|bytes| bytes == b"load\xfa\x3f\x80\x00\x00"));
    }
}
