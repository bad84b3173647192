//! The link's frames: `length u32 | kind u8 | id u64 | payload`, big endian; the length counts what follows it.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use miner_ctrl_protocol::codec::MAX_MESSAGE;
use tokio_util::codec::{Decoder, Encoder};

/// Kind and id.
const HEADER: usize = 9;
/// Hello and refusals travel unsealed and are short.
const MAX_CLEAR: usize = 4 * 1024;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A sealed answer to the request with this id.
    Answer = 2,
    /// "Are you there?", the answer to it, and that the answer came, by its id.
    Beat = 4,
    /// The first frame each way: a [`miner_ctrl_protocol::message::Hello`] in CBOR.
    Hello = 0,
    /// A request that was not opened: a refusal in CBOR, in clear, for there is no session to seal it under.
    Refused = 3,
    /// A sealed request; its id counts per sender.
    Request = 1,
}

impl Kind {
    /// Whether it is what is said to each of a peer's frames without an answer's work: a refusal or a Beat.
    pub(crate) const fn is_short(self) -> bool {
        matches!(self, Self::Beat | Self::Refused)
    }

    const fn longest(self) -> usize {
        match self {
            Self::Answer | Self::Request => MAX_MESSAGE,
            Self::Beat => 0,
            Self::Hello | Self::Refused => MAX_CLEAR,
        }
    }
}

impl TryFrom<u8> for Kind {
    type Error = FrameError;
    fn try_from(byte: u8) -> Result<Self, FrameError> {
        match byte {
            0 => Ok(Self::Hello),
            1 => Ok(Self::Request),
            2 => Ok(Self::Answer),
            3 => Ok(Self::Refused),
            4 => Ok(Self::Beat),
            other => Err(FrameError::Kind(other)),
        }
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    pub(crate) payload: Bytes,
}

/// Why bytes are no frame. The connection is closed: what follows cannot be told apart any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a frame of {0} bytes")]
    Length(usize),
    #[error("the stream broke")]
    Stream(#[from] io::Error),
}

/// Reads and writes frames; never sets memory aside for bytes that were only announced.
#[derive(Debug, Default)]
pub(crate) struct Frames;

impl Decoder for Frames {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if bytes.len() < 5 {
            return Ok(None);
        }
        let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let kind = Kind::try_from(bytes[4])?;
        if length < HEADER || length - HEADER > kind.longest() {
            return Err(FrameError::Length(length));
        }
        if bytes.len() < 4 + length {
            return Ok(None);
        }
        bytes.advance(5);
        let id = bytes.get_u64();
        let payload = bytes.split_to(length - HEADER).freeze();
        Ok(Some(Frame { kind, id, payload }))
    }
}

impl Encoder<(Kind, u64, &[u8])> for Frames {
    type Error = FrameError;

    fn encode(&mut self, (kind, id, payload): (Kind, u64, &[u8]), bytes: &mut BytesMut) -> Result<(), FrameError> {
        let length = HEADER + payload.len();
        if payload.len() > kind.longest() {
            return Err(FrameError::Length(length));
        }
        bytes.reserve(4 + length);
        // The check above keeps it far below 2^32.
        bytes.put_u32(u32::try_from(length).map_err(|_| FrameError::Length(length))?);
        bytes.put_u8(kind as u8);
        bytes.put_u64(id);
        bytes.put_slice(payload);
        Ok(())
    }
}

/// How long the frame is that begins here, with its length, and whether it [is short](Kind::is_short).
pub(crate) fn at(bytes: &[u8]) -> (usize, bool) {
    let Some([a, b, c, d, kind]) = bytes.first_chunk::<5>() else { return (bytes.len().max(1), false) };
    let length = 4 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    (length, Kind::try_from(*kind).is_ok_and(Kind::is_short))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: Kind, id: u64, payload: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        Frames.encode((kind, id, payload), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_bytes_of_a_frame_stay_as_they_are() {
        assert_eq!(
            frame(Kind::Request, 7, b"abc").as_ref(),
            [0, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 7, b'a', b'b', b'c']
        );
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused_before_its_bytes_come() {
        let mut bytes = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 1][..]);
        assert!(matches!(Frames.decode(&mut bytes), Err(FrameError::Length(_))));
        let mut bytes = BytesMut::from(&[0, 0, 0x10, 0x0a, 0][..]);
        assert!(matches!(Frames.decode(&mut bytes), Err(FrameError::Length(_))), "hello has its own limit");
        let mut bytes = BytesMut::from(&[0, 0, 0, 8, 1][..]);
        assert!(matches!(Frames.decode(&mut bytes), Err(FrameError::Length(8))));
        assert!(Frames.encode((Kind::Beat, 0, b"x"), &mut BytesMut::new()).is_err());
    }

    proptest! {
        #[test]
        fn frames_read_back_however_they_are_cut(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8), cut in 1usize..50) {
            let mut wire = BytesMut::new();
            for (id, payload) in payloads.iter().enumerate() {
                wire.extend_from_slice(&frame(Kind::Answer, id as u64, payload));
            }
            let mut bytes = BytesMut::new();
            let mut read = Vec::new();
            for part in wire.chunks(cut) {
                bytes.extend_from_slice(part);
                while let Some(frame) = Frames.decode(&mut bytes).unwrap() {
                    read.push(frame.payload.to_vec());
                }
            }
            prop_assert_eq!(read, payloads);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frames.decode(&mut bytes) {}
        }
    }
}
