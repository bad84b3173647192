//! gzip (RFC 1952): who reads it, and streams whose pieces are compressed once for all who hear them.

use std::io::Write;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// Whether the asker reads gzip (RFC 9110, section 12.5.3).
pub(crate) fn is_taken(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// Part of a stream. It is deflated by itself and ends at a byte (RFC 1951, section 3.2.4: an empty stored block), so
/// that it fits behind any other.
#[derive(Debug)]
pub(crate) struct Piece {
    deflated: Bytes,
    sum: Crc,
}

impl Piece {
    pub(crate) fn of(content: &[u8]) -> Self {
        let mut sum = Crc::new();
        sum.update(content);
        // Each second one for all readers, while they wait: speed counts, and level 1 has most of the gain.
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        // Memory takes all that is written.
        let _ = encoder.write_all(content).and_then(|()| encoder.flush());
        let deflated = std::mem::take(encoder.get_mut()).into();
        Self { deflated, sum }
    }
}

/// A stream of pieces, as far as one reader has heard it.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Crc);

impl Pieces {
    /// No name, no time, any system.
    pub(crate) const HEAD: Bytes = Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);

    pub(crate) fn next(&mut self, piece: &Piece) -> Bytes {
        self.0.combine(&piece.sum);
        piece.deflated.clone()
    }

    /// An empty last block, and the sum and length of everything.
    pub(crate) fn end(&self) -> Bytes {
        [&[3, 0], &self.0.sum().to_le_bytes()[..], &self.0.amount().to_le_bytes()].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn pieces_are_read_as_they_come_and_the_whole_is_a_gzip_file() {
        let snapshot: String = (0..20_000).map(|n| format!("rig-{n},")).collect();
        let said = ["hello\n", "", &snapshot, "hello\n"];
        let pieces = said.map(|text| Piece::of(text.as_bytes()));
        for order in [[0, 1, 2, 3], [3, 3, 2, 0], [2, 2, 1, 1]] {
            let (mut stream, mut wire, mut text) = (Pieces::default(), Pieces::HEAD.to_vec(), String::new());
            for n in order {
                wire.extend(stream.next(&pieces[n]));
                text += said[n];
                let mut heard = vec![0; text.len()];
                GzDecoder::new(&wire[..]).read_exact(&mut heard).unwrap();
                assert_eq!(heard, text.as_bytes(), "before the end is known");
            }
            wire.extend(stream.end());
            let mut whole = String::new();
            GzDecoder::new(&wire[..]).read_to_string(&mut whole).unwrap();
            assert_eq!(whole, text);
        }
        assert!(pieces[2].deflated.len() * 3 < snapshot.len());
    }
}
