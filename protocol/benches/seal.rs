//! What the seal costs: `cargo bench -p miner-ctrl-protocol --bench seal`. Prints a table, fails on nothing.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;

use ed25519_dalek::{Signer, SigningKey};
use miner_ctrl_protocol::smsg::{
    Answerer, LinkNonce, NodeSecret, PendingAnswer, Receiver, Sender, Unsigned, fingerprint_words, sign,
};

/// Rounds of each measurement; the median of them is shown.
const ROUNDS: usize = 15;
/// Operations in a round: long enough for the clock, short enough for the whole to end within seconds.
const OPERATIONS: u32 = 300;
/// A log line or a command with its names: what most bodies are.
const BODY: [u8; 300] = [7; 300];
/// Good signatures with which a small and a large table of their author's key are made; see `smsg::author`.
const SMALL: usize = 8;
const LARGE: usize = 256;
/// Tables made in a round: each takes a link of its own, whose peer was heard often before.
const MAKING: u32 = 5;
/// Messages of the rows for batches, and batches in a round.
const BATCH: u32 = 64;
const BATCHES: u32 = 10;
const NOW: Duration = Duration::ZERO;

fn main() {
    // `cargo test --all-targets` runs benchmarks without this flag, to see that they start.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("{:<44} {:>10}", "operation", "median");

    let signing = SigningKey::from_bytes(&[1; 32]);
    let verifying = signing.verifying_key();
    let signature = signing.sign(&BODY);
    let (one, two) = (secret(1), secret(2));
    let nonce = LinkNonce::generate(&mut rand::rng());

    row("sign 300 B, by the portable library", || signing.sign(black_box(&BODY)));
    row("verify 300 B, strictly", || verifying.verify_strict(black_box(&BODY), &signature));

    let mut link = Link::new(&one, &two, nonce);
    row("request: seal", || link.sender.seal(black_box(&BODY), NOW, &mut rand::rng()));
    // Each link is left before its peer has earned a table.
    let of_each = SMALL - 2;
    let mut links: Vec<_> =
        (0..=ROUNDS * OPERATIONS as usize / of_each).map(|_| Link::heard(1, &one, &two, nonce)).collect();
    let mut count = 0;
    let mut sealed = batches(|| {
        let link = count / of_each;
        count += 1;
        (link, links[link].seal())
    });
    row("request: open, peer not heard often", || {
        let (link, message) = sealed.next().expect("enough were sealed");
        links[link].receiver.open(&message).expect("it opens")
    });
    drop(links);
    for (name, with, after) in [("small", "its small", SMALL), ("large", "its large", LARGE)] {
        let mut links = inputs(ROUNDS * MAKING as usize, || {
            // Of another author each: links to one share its table.
            let author = Arc::new(NodeSecret::generate(&mut rand::rng()));
            let mut link = Link::heard(after - 1, &author, &two, nonce);
            let message = link.seal();
            (link, message)
        });
        rows(&format!("request: open, and make a {name} table"), MAKING, || {
            let (mut link, message) = links.next().expect("enough were made");
            link.receiver.open(&message).expect("it opens")
        });
        let mut link = Link::heard(after, &one, &two, nonce);
        let mut sealed = inputs(LARGE - SMALL - 1, || link.seal());
        let operations = (LARGE - SMALL - 1) / ROUNDS;
        rows(&format!("request: open, with {with} table"), u32::try_from(operations).expect("it fits"), || {
            link.receiver.open(&sealed.next().expect("enough were sealed")).expect("it opens")
        });
    }

    let mut link = Link::new(&one, &two, nonce);
    rows("64 requests in a batch: seal", BATCHES, || link.seal_batch(&one));
    let mut link = Link::heard(LARGE, &one, &two, nonce);
    let mut sealed = inputs(ROUNDS * BATCHES as usize, || link.seal_batch(&one));
    rows("64 requests in a batch: open", BATCHES, || {
        for message in sealed.next().expect("enough were sealed") {
            link.receiver.open(&message).expect("it opens");
        }
    });

    let mut link = Link::new(&one, &two, nonce);
    let mut opened = batches(|| link.exchange());
    let mut answers = Vec::new();
    row("answer: seal", || {
        let (pending, answerer) = opened.next().expect("enough were opened");
        answers.push((pending, answerer.seal(black_box(&BODY)).expect("it seals")));
    });
    row("answer: open", || {
        let (pending, answer) = answers.pop().expect("enough were sealed");
        pending.open(&answer).expect("it opens")
    });

    let mut link = Link::new(&one, &two, nonce);
    row("request and answer, all four", || {
        let (pending, answerer) = link.exchange();
        pending.open(&answerer.seal(&BODY).expect("it seals")).expect("it opens")
    });

    let mut sender = Sender::new(Arc::clone(&one), two.public(), nonce);
    row("new session: seal its first request", || {
        sender.renew(nonce);
        sender.seal(black_box(&BODY), NOW, &mut rand::rng())
    });
    let mut firsts = batches(|| {
        sender.renew(nonce);
        sender.seal(&BODY, NOW, &mut rand::rng()).expect("it seals").0
    });
    let mut receiver = Receiver::new(Arc::clone(&two), one.public(), nonce);
    row("new session: open its first request", || {
        receiver.open(&firsts.next().expect("enough were sealed")).expect("it opens")
    });

    let mut link = Link::new(&one, &two, nonce);
    let (first, _) = link.sender.seal(&BODY, NOW, &mut rand::rng()).expect("it seals");
    link.receiver.open(&first).expect("it opens");
    row("refuse a replay", || link.receiver.open(black_box(&first)));
    let mut junk = link.sender.seal(&BODY, NOW, &mut rand::rng()).expect("it seals").0;
    junk[100] ^= 1;
    row("refuse an altered request", || link.receiver.open(black_box(&junk)));
    junk[4] = 1;
    row("refuse what claims to begin a session", || link.receiver.open(black_box(&junk)));

    let (of_one, of_two) = (one.public(), two.public());
    rows("words of a pair of keys", 5, || fingerprint_words(black_box(&of_one), &of_two));
}

struct Link {
    sender: Sender,
    receiver: Receiver,
}

impl Link {
    fn new(one: &Arc<NodeSecret>, two: &Arc<NodeSecret>, nonce: LinkNonce) -> Self {
        Self {
            sender: Sender::new(Arc::clone(one), two.public(), nonce),
            receiver: Receiver::new(Arc::clone(two), one.public(), nonce),
        }
    }

    /// Whose receiver has heard so many requests.
    fn heard(times: usize, one: &Arc<NodeSecret>, two: &Arc<NodeSecret>, nonce: LinkNonce) -> Self {
        let mut link = Self::new(one, two, nonce);
        for _ in 0..times {
            link.exchange();
        }
        link
    }

    fn seal(&mut self) -> Vec<u8> {
        self.sender.seal(&BODY, NOW, &mut rand::rng()).expect("it seals").0
    }

    fn seal_batch(&mut self, signer: &NodeSecret) -> Vec<Vec<u8>> {
        let rng = &mut rand::rng();
        let unsigned: Vec<_> =
            (0..BATCH).map(|_| self.sender.prepare(BODY.to_vec(), NOW, rng).expect("it fits").0).collect();
        let leaves: Vec<_> = unsigned.iter().map(Unsigned::leaf).collect();
        let proofs = sign(signer, &leaves);
        unsigned.into_iter().zip(&proofs).map(|(unsigned, proof)| unsigned.seal(proof).expect("it seals")).collect()
    }

    fn exchange(&mut self) -> (PendingAnswer, Answerer) {
        let (message, pending) = self.sender.seal(&BODY, NOW, &mut rand::rng()).expect("it seals");
        let (_, answerer) = self.receiver.open(&message).expect("it opens");
        (pending, answerer)
    }
}

fn secret(seed: u8) -> Arc<NodeSecret> {
    Arc::new(NodeSecret::from_seed(&[seed; 32]).expect("32 bytes are a seed"))
}

/// As many inputs as a row uses up, made before the clock starts.
fn batches<T>(make: impl FnMut() -> T) -> vec::IntoIter<T> {
    inputs(ROUNDS * OPERATIONS as usize, make)
}

fn inputs<T>(count: usize, mut make: impl FnMut() -> T) -> vec::IntoIter<T> {
    (0..count).map(|_| make()).collect::<Vec<_>>().into_iter()
}

fn row<T>(name: &str, operation: impl FnMut() -> T) {
    rows(name, OPERATIONS, operation);
}

fn rows<T>(name: &str, operations: u32, mut operation: impl FnMut() -> T) {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..operations {
                black_box(operation());
            }
            start.elapsed() / operations
        })
        .collect();
    times.sort();
    println!("{name:<44} {:>7.2} us", times[ROUNDS / 2].as_nanos() as f64 / 1000.0);
}
