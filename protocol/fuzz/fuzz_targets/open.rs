//! Everything that opens sealed or pairing bytes, given any bytes: nothing opens that was not sealed, and nothing panics.
#![no_main]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use miner_ctrl_protocol::smsg::{AdderStart, LinkNonce, NodeSecret, PairingCode, Receiver, Sender, ShowerStart};
use rand_core::{TryCryptoRng, TryRng};

/// The same "random" bytes in each run, so that what was found is found again.
struct Fixed(u8);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(5).wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (at, flip, bytes) = input;
    let rng = &mut Fixed(3);
    let secret = |seed| Arc::new(NodeSecret::from_seed(&[seed; 32]).expect("32 bytes are a seed"));
    let (one, two) = (secret(1), secret(2));
    let (adder, shower) = (one.public(), two.public());
    let nonce = LinkNonce::generate(rng);
    let mut sender = Sender::new(Arc::clone(&one), shower, nonce);
    let mut receiver = Receiver::new(Arc::clone(&two), adder, nonce);

    // Bytes out of nothing, then the fuzzer's bytes sealed, then the same altered in one place.
    assert!(receiver.open(bytes).is_err());
    let (message, pending) = sender.seal(bytes, Duration::ZERO, rng).expect("the fuzzer's inputs are small");
    let altered = alter(&message, at, flip);
    let first = receiver.open(&altered);
    assert_eq!(first.is_ok(), altered == message);
    let (body, answerer) = match first {
        Ok(opened) => opened,
        Err(_) => receiver.open(&message).expect("what was refused before took nothing from it"),
    };
    assert_eq!(body, bytes);
    assert!(receiver.open(&message).is_err());
    let answer = answerer.seal(bytes).expect("the fuzzer's inputs are small");
    let altered = alter(&answer, at, flip);
    assert_eq!(pending.open(&altered).is_ok(), altered == answer);

    let code = PairingCode::generate(rng);
    if let Ok((start, _)) = ShowerStart::respond(&code, adder, shower, bytes, rng) {
        assert!(start.verify(bytes).is_err());
    }
    if let Ok((confirm, _)) = AdderStart::new(&code, adder, shower, rng).0.finish(bytes) {
        assert!(confirm.verify(bytes).is_err());
    }
});

fn alter(bytes: &[u8], at: u16, flip: u8) -> Vec<u8> {
    let mut altered = bytes.to_vec();
    let at = usize::from(at) % altered.len();
    altered[at] ^= flip;
    altered
}
