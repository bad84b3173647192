//! Everything that decodes a body, given any bytes: a value that encodes again, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use miner_ctrl_protocol::codec::{MAX_BODY, decode, decode_request, encode};
use miner_ctrl_protocol::message::Hello;
use miner_ctrl_protocol::smsg::PairingCode;
use miner_ctrl_protocol::{Policy, ProfileDraft, Refusal, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_request(bytes, MAX_BODY);
    reads_back::<Hello>(bytes);
    reads_back::<Policy>(bytes);
    reads_back::<Refusal>(bytes);
    reads_back::<Request>(bytes);
    reads_back::<Response>(bytes);
    if let Some(draft) = reads_back::<ProfileDraft>(bytes) {
        let _ = draft.check();
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<PairingCode>();
    }
});

/// What was decoded is encoded, decoded and encoded once more, to the same bytes. (Values may hold a NaN, which does not
/// equal itself.)
fn reads_back<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let value: T = decode(bytes, MAX_BODY).ok()?;
    // A value may take more bytes than it came in, so the limit here is a generous one.
    let once = encode(&value, 16 * MAX_BODY).expect("what was decoded can be encoded");
    let again: T = decode(&once, 16 * MAX_BODY).expect("what was encoded can be decoded");
    assert_eq!(encode(&again, 16 * MAX_BODY).as_ref(), Ok(&once));
    Some(value)
}
