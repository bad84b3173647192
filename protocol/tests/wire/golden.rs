//! The bytes of every message, as they were when they were first spoken. A change here is a change of the protocol:
//! nodes of the version before must still be understood.
//!
//! After a change on purpose: `MINER_CTRL_GOLDEN=write cargo test -p miner-ctrl-protocol --test wire golden`, and read
//! the difference before committing it.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use miner_ctrl_protocol::codec::{MAX_BODY, decode, decode_request, encode};
use miner_ctrl_protocol::message::Hello;
use miner_ctrl_protocol::smsg::{AdderStart, PairingCode, ShowerStart, Unsigned, fingerprint_words, sign};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::examples::{self, Variants};
use crate::link::{Counting, Link, NOW, key, secret};

/// One line for each example: its name and its bytes.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, name: &str, bytes: &[u8]) {
        self.0 += &format!("{name} {}\n", hex::encode(bytes));
    }

    /// Writes an example down, and checks that it reads back.
    fn example<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: &T) -> Vec<u8> {
        let bytes = encode(value, MAX_BODY).expect("an example can be encoded");
        assert_eq!(decode::<T>(&bytes, MAX_BODY).as_ref(), Ok(value), "{name}");
        self.line(name, &bytes);
        bytes
    }

    fn examples<T: Serialize + DeserializeOwned + PartialEq + Variants>(&mut self, kind: &str, values: &[T]) {
        for (index, value) in values.iter().enumerate() {
            self.example(&format!("{kind}/{index}/{}", value.variant()), value);
        }
    }

    fn compare(&self, file: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        if std::env::var_os("MINER_CTRL_GOLDEN").is_some_and(|value| value == "write") {
            let written = File::create(&path).and_then(|mut file| file.write_all(self.0.as_bytes()));
            written.expect("the golden file can be written");
        }
        let golden = fs::read_to_string(&path).expect("the golden file is there");
        for (ours, theirs) in self.0.lines().zip(golden.lines()) {
            assert_eq!(ours, theirs, "{}", path.display());
        }
        assert_eq!(self.0.lines().count(), golden.lines().count(), "{}", path.display());
    }
}

#[test]
fn every_message_has_the_bytes_it_always_had() {
    let mut page = Page::default();
    for role in examples::roles() {
        page.example("Hello", &Hello { role, ..examples::hello() });
    }
    for request in &examples::requests() {
        let bytes = encode(request, MAX_BODY).unwrap();
        assert_eq!(decode_request(&bytes, MAX_BODY).as_ref(), Ok(request));
    }
    page.examples("Request", &examples::requests());
    page.examples("Response", &examples::responses());
    page.examples("Refusal", &examples::refusals());
    page.example("ProfileDraft", &examples::full_profile());
    for policy in examples::policies() {
        page.example("Policy", &policy);
    }
    for knock in examples::knocks() {
        page.example(&format!("Knock/{}", knock.door.variant()), &knock);
    }
    page.example("Confirm", &examples::confirm());
    page.examples("Reply", &examples::replies());
    page.example("Hello", &Hello { boot: Some(examples::BOOT), ..examples::hello() });
    page.compare("messages.hex");
}

#[test]
fn a_sealed_request_and_answer_have_the_bytes_they_always_had() {
    let mut page = Page::default();
    let mut link = Link::new();
    let rng = &mut Counting(0x40);
    for body in [b"a request".as_slice(), b"a second of the same session"] {
        let (request, pending) = link.sender.seal(body, NOW, rng).unwrap();
        page.line("sealed-request", &request);
        let (opened, answerer) = link.receiver.open(&request).unwrap();
        assert_eq!(opened, body);
        let answer = answerer.seal(b"its answer").unwrap();
        page.line("sealed-answer", &answer);
        assert_eq!(pending.open(&answer).unwrap(), b"its answer");
    }
    // Three under one signature: a tree of depth 2 with one leaf of padding.
    let bodies = [b"one".as_slice(), b"two", b"three"];
    let batch = bodies.map(|body| link.sender.prepare(body.to_vec(), NOW, rng).unwrap().0);
    let leaves: Vec<_> = batch.iter().map(Unsigned::leaf).collect();
    for ((unsigned, proof), body) in batch.into_iter().zip(sign(&secret(1), &leaves)).zip(bodies) {
        let request = unsigned.seal(&proof).unwrap();
        page.line("sealed-of-a-batch", &request);
        assert_eq!(link.receiver.open(&request).unwrap().0, body);
    }
    page.compare("sealed.hex");
}

#[test]
fn words_and_codes_are_what_they_always_were() {
    let mut page = Page::default();
    page.line("peer-key", key(1).as_bytes());
    page.line("x25519", &key(1).x25519());
    page.line("node-id", key(1).node_id().as_bytes());
    page.0 += &format!("node-words {}\n", key(1).words());
    page.0 += &format!("pair-words {}\n", fingerprint_words(&key(1), &key(2)));
    page.0 += &format!("pairing-code {}\n", PairingCode::generate(&mut Counting(0x40)));
    page.compare("people.txt");
}

#[test]
fn a_pairing_by_code_has_the_bytes_it_always_had() {
    let mut page = Page::default();
    let code: PairingCode = "7KQ2-M9XD".parse().unwrap();
    let (adder, message) = AdderStart::new(&code, key(1), key(2), &mut Counting(0x40));
    page.line("adder-message", &message);
    let (shower, message) = ShowerStart::respond(&code, key(1), key(2), &message, &mut Counting(0x80)).unwrap();
    page.line("shower-message", &message);
    let (adder, confirm) = adder.finish(&message).unwrap();
    page.line("adder-confirms", &confirm);
    let confirm = shower.verify(&confirm).unwrap();
    page.line("shower-confirms", &confirm);
    adder.verify(&confirm).unwrap();
    page.compare("pairing.hex");
}
