//! What WebSocket frames may announce (RFC 6455, section 5.2), judged in the bytes below the library that reads them.
//!
//! The library sets memory aside for a frame as soon as its length is announced, and libp2p's transport lets no limit be
//! set where it dials: a few bytes of a stranger, before it has said who it is, would take 256 MiB. Here a frame that is
//! too large is an error, and a long one is handed on when all of it is there.

use std::io;

/// Payloads up to here are handed on as they come. Nearly all are shorter, and thousands of handshakes may each have
/// announced one.
const SHORT: u64 = 4 * 1024;

/// Two bytes, eight of length, four of the mask.
const LONGEST_HEADER: usize = 14;

/// Follows one direction of a connection, byte by byte.
#[derive(Debug)]
pub(super) struct Guard {
    limit: u64,
    at: At,
    /// Bytes seen last that are not to be handed on yet: of a header, or of a long frame.
    held: usize,
    /// Payload of the message so far, over all its fragments.
    message: u64,
}

#[derive(Debug)]
enum At {
    /// The upgrade's request or answer: until an empty line behind one that is not.
    Http {
        begun: bool,
        line: bool,
    },
    Header {
        bytes: [u8; LONGEST_HEADER],
        have: usize,
    },
    Payload {
        left: u64,
        long: bool,
    },
}

const HEADER: At = At::Header { bytes: [0; LONGEST_HEADER], have: 0 };

impl Guard {
    /// For messages of at most `limit` bytes.
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit: limit as u64, at: At::Http { begun: false, line: false }, held: 0, message: 0 }
    }

    /// How many of the bytes seen last are to be kept back.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// Looks at what comes next.
    ///
    /// # Errors
    /// A message that is too large, as soon as it is announced.
    pub(super) fn see(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Http { begun, line } => {
                    bytes = rest;
                    match first {
                        b'\n' if *begun && !*line => self.at = HEADER,
                        b'\n' => *line = false,
                        b'\r' => {}
                        _ => (*begun, *line) = (true, true),
                    }
                }
                At::Header { bytes: header, have } => {
                    bytes = rest;
                    header[*have] = first;
                    *have += 1;
                    self.held += 1;
                    if let Some(length) = payload_length(&header[..*have]) {
                        let (control, continues) = (header[0] & 0x08 != 0, header[0] & 0x0f == 0);
                        self.begin(length, control, continues)?;
                    }
                }
                At::Payload { left, long } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[count..];
                    *left -= count as u64;
                    if *long {
                        self.held += count;
                    }
                    if *left == 0 {
                        self.held = 0;
                        self.at = HEADER;
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, length: u64, control: bool, continues: bool) -> io::Result<()> {
        if !control {
            self.message = if continues { self.message.saturating_add(length) } else { length };
        }
        if length.max(self.message) > self.limit {
            let why = format!("a WebSocket message of more than {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let long = length > SHORT;
        if !long {
            self.held = 0;
        }
        self.at = if length == 0 { HEADER } else { At::Payload { left: length, long } };
        Ok(())
    }
}

/// Of a header, once all of it is there.
fn payload_length(header: &[u8]) -> Option<u64> {
    let (&[_, second], rest) = header.split_first_chunk::<2>()?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (length, rest) = match second & 0x7f {
        126 => rest.split_first_chunk().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))?,
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
        short => (u64::from(short), rest),
    };
    (rest.len() == mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 100_000;

    /// A frame of so many bytes; the first byte has FIN and the kind.
    fn frame(first: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(mask | length.to_le_bytes()[0]),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&[1, 2, 3, 4][..if masked { 4 } else { 0 }]);
        bytes.resize(bytes.len() + length, 7);
        bytes
    }

    fn upgraded() -> Guard {
        let mut guard = Guard::new(LIMIT);
        guard.see(b"\r\nGET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n").unwrap();
        guard
    }

    #[test]
    fn a_long_frame_is_held_until_it_is_there_and_a_short_one_is_not() {
        let mut guard = upgraded();
        guard.see(&frame(0x82, 100, true)[..50]).unwrap();
        assert_eq!(guard.held(), 0);
        guard.see(&[7; 56]).unwrap();
        let long = frame(0x82, 70_000, true);
        for part in long.chunks(999) {
            guard.see(part).unwrap();
        }
        assert_eq!(guard.held(), 0);
        guard.see(&long[..long.len() - 1]).unwrap();
        assert_eq!(guard.held(), long.len() - 1);
        guard.see(&long[long.len() - 1..]).unwrap();
        assert_eq!(guard.held(), 0);
    }

    #[test]
    fn what_is_too_large_is_refused_as_soon_as_it_is_announced() {
        for length in [LIMIT as u64 + 1, 256 << 20, u64::MAX] {
            let mut guard = upgraded();
            let mut header = vec![0x82, 127];
            header.extend_from_slice(&length.to_be_bytes());
            guard.see(&header[..9]).unwrap();
            assert!(guard.see(&header[9..]).is_err(), "{length}");
        }
        upgraded().see(&frame(0x82, LIMIT, false)).unwrap();
        // Fragments count together, whatever control frames come between them.
        let mut guard = upgraded();
        guard.see(&frame(0x02, LIMIT - 10, true)).unwrap();
        guard.see(&frame(0x89, 100, true)).unwrap();
        guard.see(&frame(0x00, 10, true)).unwrap();
        assert!(guard.see(&frame(0x00, 1, true)).is_err());
    }

    #[test]
    fn the_upgrade_ends_at_an_empty_line_however_lines_end() {
        for head in ["GET / HTTP/1.1\nA: b\n\n", "\n\r\nGET / HTTP/1.1\r\n\n", "HTTP/1.1 101 x\r\nA: b\r\n\r\n"] {
            let mut guard = Guard::new(LIMIT);
            guard.see(head.as_bytes()).unwrap();
            assert!(guard.see(&[0x82, 127, 0xff]).is_ok() && guard.held() == 3, "{head:?}");
            assert!(guard.see(&[0xff; 7]).is_err());
        }
    }

    proptest! {
        #[test]
        fn frames_are_followed_however_they_are_cut(
            lengths in prop::collection::vec((0..9000_usize, any::<bool>()), 1..8),
            cut in 1..3000_usize,
        ) {
            let mut guard = upgraded();
            for (length, masked) in lengths {
                let bytes = frame(0x82, length, masked);
                for part in bytes.chunks(cut) {
                    guard.see(part).unwrap();
                    prop_assert!(guard.held() <= bytes.len());
                }
                prop_assert_eq!(guard.held(), 0);
            }
        }
    }
}
