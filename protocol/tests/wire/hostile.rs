//! Whatever the bytes: a value or an error, never a panic.

use miner_ctrl_protocol::codec::{MAX_BODY, MAX_MESSAGE, decode, decode_request, encode};
use miner_ctrl_protocol::message::Hello;
use miner_ctrl_protocol::pair::{Confirm, Knock, MAX_PAIR_MESSAGE, Reply};
use miner_ctrl_protocol::{Policy, ProfileDraft, Refusal, Request, Response};
use proptest::prelude::*;
use serde::Serialize;

use crate::examples;
use crate::link::Link;

/// Everything that decodes bytes of a peer.
fn decode_as_everything(bytes: &[u8]) {
    let _ = decode_request(bytes, MAX_BODY);
    let _ = decode::<Request>(bytes, MAX_BODY);
    if let Ok(Response::History(page)) = decode::<Response>(bytes, MAX_BODY) {
        let _ = page.is_plausible();
    }
    let _ = decode::<Refusal>(bytes, MAX_BODY);
    let _ = decode::<Hello>(bytes, MAX_BODY);
    let _ = decode::<Policy>(bytes, MAX_BODY);
    let _ = decode::<Knock>(bytes, MAX_PAIR_MESSAGE);
    let _ = decode::<Confirm>(bytes, MAX_PAIR_MESSAGE);
    let _ = decode::<Reply>(bytes, MAX_PAIR_MESSAGE);
    if let Ok(draft) = decode::<ProfileDraft>(bytes, MAX_BODY) {
        let _ = draft.check();
    }
}

fn valid() -> Vec<Vec<u8>> {
    fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
        encode(value, MAX_BODY).expect("an example can be encoded")
    }
    let mut all = vec![bytes(&examples::hello())];
    all.extend(examples::requests().iter().map(bytes));
    all.extend(examples::responses().iter().map(bytes));
    all.extend(examples::refusals().iter().map(bytes));
    all.extend(examples::knocks().iter().map(bytes));
    all.extend(examples::replies().iter().map(bytes));
    all
}

/// A few bytes changed, removed, repeated or put in.
fn mutate(mut bytes: Vec<u8>, mutations: &[(u8, prop::sample::Index, u8)]) -> Vec<u8> {
    for (kind, at, byte) in mutations {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match kind % 4 {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            2 => bytes.truncate(at),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

fn mutations() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, u8)>> {
    prop::collection::vec(any::<(u8, prop::sample::Index, u8)>(), 1..6)
}

#[test]
fn a_length_that_promises_more_than_there_is_allocates_nothing() {
    // Byte string, text, array and map of 2^63 entries, alone and as a request's content.
    for major in [0x5b, 0x7b, 0x9b, 0xbb] {
        let promise = [[major].as_slice(), &(1_u64 << 63).to_be_bytes()].concat();
        decode_as_everything(&promise);
        for name in Request::NAMES {
            let text = [[0x60 + u8::try_from(name.len()).unwrap()].as_slice(), name.as_bytes()].concat();
            decode_as_everything(&[[0xa1].as_slice(), &text, &promise].concat());
        }
    }
}

#[test]
fn every_message_cut_short_is_an_error() {
    for bytes in valid() {
        for length in 0..bytes.len() {
            decode_as_everything(&bytes[..length]);
            assert!(decode::<Response>(&bytes[..length], MAX_BODY).is_err());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn a_mutated_message_decodes_or_fails(which in any::<prop::sample::Index>(), mutations in mutations()) {
        decode_as_everything(&mutate(which.get(&valid()).clone(), &mutations));
    }

    #[test]
    fn any_bytes_open_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), version in any::<bool>()) {
        let mut link = Link::new();
        let (_, pending) = link.seal(b"q");
        let bytes = if version { [[1].as_slice(), &bytes].concat() } else { bytes };
        prop_assert!(link.open(&bytes).is_err());
        prop_assert!(pending.open(&bytes).is_err());
    }

    #[test]
    fn a_mutated_sealed_message_is_refused(mutations in mutations(), established in any::<bool>()) {
        let mut link = Link::new();
        if established {
            link.establish();
        }
        let (message, pending) = link.seal(b"a body of some length");
        let mutated = mutate(message.clone(), &mutations);
        prop_assume!(mutated != message);
        prop_assert!(link.open(&mutated).is_err());
        let (_, answerer) = link.open(&message).unwrap();
        let answer = answerer.seal(b"an answer of some length").unwrap();
        let mutated = mutate(answer.clone(), &mutations);
        prop_assume!(mutated != answer);
        prop_assert!(pending.open(&mutated).is_err());
    }

    #[test]
    fn any_body_comes_out_as_it_went_in(
        body in prop::collection::vec(any::<u8>(), 0..2000),
        answer in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut link = Link::new();
        let (message, pending) = link.seal(&body);
        prop_assert!(message.len() <= MAX_MESSAGE);
        let (opened, answerer) = link.open(&message).unwrap();
        prop_assert_eq!(opened, body);
        prop_assert_eq!(pending.open(&answerer.seal(&answer).unwrap()).unwrap(), answer);
    }
}
