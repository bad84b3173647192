//! CBOR (RFC 8949) under a byte limit. The only room that touches cbor4ii.
//!
//! Structs are maps with text keys, so that unknown fields can be ignored; enums are externally tagged. We write
//! definite lengths only. Whatever the bytes, decoding gives a value or an error, never a panic.

use std::borrow::Cow;
use std::fmt;

use cbor4ii::core::dec::Read;
use cbor4ii::core::utils::SliceReader;
use cbor4ii::serde::Deserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::message::Request;

/// Largest sealed message: the largest log page fits; bigger things are chunked.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// What the seal adds to a body: header (45), signature with its path (387), tag (16), with room to grow.
pub const SEAL_OVERHEAD: usize = 512;

/// Largest body inside a sealed message.
pub const MAX_BODY: usize = MAX_MESSAGE - SEAL_OVERHEAD;

/// Why bytes are not a value, or a value cannot be bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not CBOR, or CBOR of another shape.
    /// What the decoder says of it is for whoever debugs, not for people.
    #[error("not a message of this kind")]
    Malformed(String),
    /// More bytes than allowed.
    #[error("{size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes there are.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Bytes after the value.
    #[error("bytes after the end of the message")]
    TrailingBytes,
    /// A well-formed request of a name that we do not know.
    #[error("an unknown request `{0}`")]
    UnknownRequest(String),
}

/// Encodes a value, refusing what would be larger than `limit`.
///
/// # Errors
/// [`CodecError::TooLarge`], or [`CodecError::Malformed`] for a value that CBOR cannot carry.
pub fn encode<T: Serialize>(value: &T, limit: usize) -> Result<Vec<u8>, CodecError> {
    let bytes = cbor4ii::serde::to_vec(Vec::new(), value).map_err(|error| CodecError::Malformed(error.to_string()))?;
    if bytes.len() > limit {
        return Err(CodecError::TooLarge { size: bytes.len(), limit });
    }
    Ok(bytes)
}

/// Decodes one value that must fill `bytes`.
///
/// # Errors
/// [`CodecError`], whatever the bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLarge { size: bytes.len(), limit });
    }
    let mut deserializer = Deserializer::new(SliceReader::new(bytes));
    let value = T::deserialize(&mut deserializer).map_err(|error| CodecError::Malformed(error.to_string()))?;
    let mut rest = deserializer.into_inner();
    match rest.fill(1) {
        Ok(left) if left.as_ref().is_empty() => Ok(value),
        _ => Err(CodecError::TrailingBytes),
    }
}

/// Decodes a request, telling one that we do not know from one that is damaged.
///
/// # Errors
/// [`CodecError::UnknownRequest`] for a request by another name, else as [`decode`].
pub fn decode_request(bytes: &[u8], limit: usize) -> Result<Request, CodecError> {
    decode(bytes, limit).map_err(|error| match decode::<Tag>(bytes, limit) {
        Ok(Tag(name)) if !Request::NAMES.contains(&name.as_str()) => CodecError::UnknownRequest(name),
        _ => error,
    })
}

/// The variant's name of an externally tagged enum: a text, or the key of a map of one.
struct Tag(String);

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TagVisitor;
        impl<'de> Visitor<'de> for TagVisitor {
            type Value = Tag;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a map of one entry")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Tag, E> {
                Ok(Tag(text.chars().take(64).collect()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tag, A::Error> {
                let name: Cow<'de, str> = map.next_key()?.ok_or_else(|| serde::de::Error::custom("an empty map"))?;
                map.next_value::<IgnoredAny>()?;
                match map.next_key::<IgnoredAny>()? {
                    Some(_) => Err(serde::de::Error::custom("more than one entry")),
                    None => Ok(Tag(name.chars().take(64).collect())),
                }
            }
        }
        deserializer.deserialize_any(TagVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_request_is_told_from_a_damaged_one() {
        for (value, name) in [
            (serde_json::json!("SelfDestruct"), "SelfDestruct"),
            (serde_json::json!({"Dance": {"with": [1, 2]}}), "Dance"),
        ] {
            let bytes = encode(&value, MAX_BODY).unwrap();
            assert_eq!(decode_request(&bytes, MAX_BODY), Err(CodecError::UnknownRequest(name.into())));
        }
        let bytes = encode(&serde_json::json!({"Ping": {"sent_at": "late"}}), MAX_BODY).unwrap();
        assert!(matches!(decode_request(&bytes, MAX_BODY), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn an_unknown_field_is_ignored() {
        let bytes =
            encode(&serde_json::json!({"Ping": {"sent_at": 7, "mood": {"deep": [1, null]}}}), MAX_BODY).unwrap();
        assert_eq!(decode_request(&bytes, MAX_BODY), Ok(Request::Ping { sent_at: 7 }));
    }

    #[test]
    fn the_limit_and_the_end_are_kept() {
        let bytes = encode(&Request::Stats, MAX_BODY).unwrap();
        assert_eq!(decode::<Request>(&bytes, 3), Err(CodecError::TooLarge { size: 6, limit: 3 }));
        assert_eq!(encode(&Request::Stats, 3), Err(CodecError::TooLarge { size: 6, limit: 3 }));
        let longer = [bytes, vec![0]].concat();
        assert_eq!(decode_request(&longer, MAX_BODY), Err(CodecError::TrailingBytes));
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = [vec![0x81; 100_000], vec![0]].concat();
        assert!(decode_request(&deep, MAX_BODY).is_err());
    }
}
