//! Sealed, signed, once: what the two ends of a link hold to.

use std::time::Duration;

use miner_ctrl_protocol::Refusal;
use miner_ctrl_protocol::codec::{MAX_BODY, MAX_MESSAGE, SEAL_OVERHEAD};
use miner_ctrl_protocol::smsg::{OpenError, Receiver, SealError, Sender};

use crate::link::{Link, NOW, key, nonce, secret};

const HOUR: Duration = Duration::from_secs(3600);

/// Where the session's number and the sequence number stand in a request.
const SESSION: std::ops::Range<usize> = 1..5;
const SEQ: std::ops::Range<usize> = 37..45;

#[test]
fn a_request_and_its_answer_arrive() {
    let mut link = Link::new();
    for body in [b"".as_slice(), b"stats", &[7; 300]] {
        let (message, pending) = link.seal(body);
        let (opened, answerer) = link.open(&message).unwrap();
        assert_eq!(opened, body);
        let answer = answerer.seal(b"fine").unwrap();
        assert_eq!(pending.open(&answer).unwrap(), b"fine");
    }
}

#[test]
fn nothing_of_the_body_is_seen_on_the_wire() {
    let mut link = Link::new();
    let body = b"start the miner of rig-alpha";
    let (message, _) = link.seal(body);
    assert!(!message.windows(8).any(|window| body.windows(8).any(|part| part == window)));
}

#[test]
fn a_replayed_request_is_refused() {
    let mut link = Link::new();
    let (message, _) = link.seal(b"once");
    link.open(&message).unwrap();
    for _ in 0..3 {
        assert_eq!(link.refuses(&message), OpenError::Replayed);
    }
}

#[test]
fn requests_in_any_order_are_accepted_once_each() {
    let mut link = Link::new();
    let mut messages: Vec<_> = (0..100_u8).map(|n| (n, link.seal(&[n]))).collect();
    messages.sort_by_key(|(n, _)| n.wrapping_mul(37));
    for (n, (message, pending)) in messages {
        let (body, answerer) = link.open(&message).unwrap();
        assert_eq!(body, [n]);
        assert_eq!(link.refuses(&message), OpenError::Replayed);
        assert_eq!(pending.open(&answerer.seal(&[n]).unwrap()).unwrap(), [n]);
    }
}

#[test]
fn a_request_that_falls_out_of_the_window_is_refused() {
    let mut link = Link::new();
    let messages: Vec<_> = (0..=1024).map(|_| link.seal(b"x").0).collect();
    link.open(&messages[1024]).unwrap();
    link.open(&messages[1]).unwrap();
    assert_eq!(link.refuses(&messages[0]), OpenError::Replayed);
}

#[test]
fn a_request_altered_in_any_byte_is_refused_and_the_right_one_still_opens() {
    let mut link = Link::new();
    let (first, _) = link.seal(b"first");
    let (second, _) = link.seal(b"second");
    for message in [first, second] {
        for index in 0..message.len() {
            for flip in [1, 0x80] {
                let mut altered = message.clone();
                altered[index] ^= flip;
                let error = link.refuses(&altered);
                match error {
                    OpenError::UnknownVersion(_) => assert_eq!(index, 0),
                    OpenError::Stale => assert!(index < SEQ.start, "{index}"),
                    OpenError::NoSession | OpenError::Unreadable => {}
                    // A sequence number that was used, or is too old.
                    OpenError::Replayed => assert!(SEQ.contains(&index), "{index}"),
                    OpenError::BadSignature | OpenError::TooLarge { .. } => panic!("{index}: {error}"),
                }
            }
        }
        link.open(&message).unwrap();
    }
}

#[test]
fn a_request_cut_short_or_with_more_behind_it_is_refused() {
    let mut link = Link::new();
    link.establish();
    let (message, _) = link.seal(b"body");
    for length in 0..message.len() {
        assert_eq!(link.refuses(&message[..length]), OpenError::Unreadable, "{length}");
    }
    assert_eq!(link.refuses(&[message.as_slice(), &[0]].concat()), OpenError::Unreadable);
    link.open(&message).unwrap();
}

#[test]
fn an_altered_header_takes_no_place_in_the_window() {
    let mut link = Link::new();
    link.establish();
    let (message, _) = link.seal(b"second");
    let mut far = message.clone();
    far[SEQ].copy_from_slice(&u64::MAX.to_be_bytes());
    assert_eq!(link.refuses(&far), OpenError::Unreadable);
    link.open(&message).unwrap();
}

#[test]
fn what_claims_to_be_new_sessions_drives_out_none() {
    let mut link = Link::new();
    let (first, _) = link.seal(b"first");
    link.open(&first).unwrap();
    let (second, _) = link.seal(b"second");
    for number in 1..20_u32 {
        let mut forged = second.clone();
        forged[SESSION].copy_from_slice(&number.to_be_bytes());
        assert_eq!(link.refuses(&forged), OpenError::NoSession);
    }
    link.open(&second).unwrap();
}

#[test]
fn a_request_for_another_node_or_from_another_is_refused() {
    let mut link = Link::new();
    let (message, _) = link.seal(b"for node 2");
    let mut elsewhere = Receiver::new(secret(3), key(1), nonce(9));
    assert_eq!(elsewhere.open(&message).unwrap_err(), OpenError::NoSession);
    let mut of_another_peer = Receiver::new(secret(2), key(3), nonce(9));
    assert_eq!(of_another_peer.open(&message).unwrap_err(), OpenError::NoSession);
}

#[test]
fn a_request_does_not_open_at_its_own_sender() {
    let mut link = Link::new();
    let (message, _) = link.seal(b"echo");
    let mut own = Receiver::new(secret(1), key(2), nonce(9));
    assert_eq!(own.open(&message).unwrap_err(), OpenError::NoSession);
}

#[test]
fn a_recording_of_another_connection_does_not_open_and_a_renewed_session_does() {
    let mut link = Link::new();
    let (recorded, _) = link.seal(b"stop all miners");
    link.open(&recorded).unwrap();

    link.receiver = Receiver::new(secret(2), key(1), nonce(10));
    let error = link.refuses(&recorded);
    let Refusal::Stale { nonce: told } = error.refusal(nonce(10)) else { panic!("{error}") };
    assert_eq!(told, nonce(10));
    link.sender.renew(told);
    let (message, _) = link.seal(b"stats");
    link.open(&message).unwrap();
}

#[test]
fn an_evicted_session_never_comes_back() {
    let mut link = Link::new();
    let sessions: Vec<_> = (0..6).map(|_| [link.seal_anew(b"a").0, link.seal(b"b").0]).collect();
    for [first, _] in &sessions {
        link.open(first).unwrap();
    }
    // Four are kept. Of the other two neither what was opened nor what was not is taken.
    for session in &sessions[..2] {
        for message in session {
            assert_eq!(link.refuses(message), OpenError::Stale);
        }
    }
    for [first, second] in &sessions[2..] {
        assert_eq!(link.refuses(first), OpenError::Replayed);
        link.open(second).unwrap();
    }
}

#[test]
fn a_session_older_than_all_that_are_kept_is_refused_even_with_room_left() {
    let mut link = Link::new();
    let (older, _) = link.seal_anew(b"older");
    let (newer, _) = link.seal_anew(b"newer");
    link.open(&newer).unwrap();
    assert_eq!(link.refuses(&older), OpenError::Stale);
}

#[test]
fn sessions_that_overtake_each_other_inside_the_table_are_accepted() {
    let mut link = Link::new();
    let messages: Vec<_> = (0..4).map(|n| link.seal_anew(&[n]).0).collect();
    for index in [0, 3, 1, 2] {
        link.open(&messages[index]).unwrap();
    }
}

#[test]
fn a_session_is_renewed_after_an_hour_and_old_answers_still_open() {
    let mut link = Link::new();
    let rng = &mut rand::rng();
    let (first, first_pending) = link.sender.seal(b"first", NOW, rng).unwrap();
    let (second, _) = link.sender.seal(b"second", NOW + HOUR - Duration::from_nanos(1), rng).unwrap();
    let (third, third_pending) = link.sender.seal(b"third", NOW + HOUR, rng).unwrap();
    assert_eq!(first[SESSION], second[SESSION]);
    assert_ne!(second[SESSION], third[SESSION]);
    let (_, first_answerer) = link.open(&first).unwrap();
    let (_, third_answerer) = link.open(&third).unwrap();
    assert_eq!(third_pending.open(&third_answerer.seal(b"3").unwrap()).unwrap(), b"3");
    assert_eq!(first_pending.open(&first_answerer.seal(b"1").unwrap()).unwrap(), b"1");
}

#[test]
fn a_clock_that_runs_backwards_renews_nothing_and_breaks_nothing() {
    let mut link = Link::new();
    let rng = &mut rand::rng();
    for now in [NOW, Duration::ZERO, NOW] {
        let (message, _) = link.sender.seal(b"x", now, rng).unwrap();
        assert_eq!(message[SESSION], [0; 4]);
        link.open(&message).unwrap();
    }
}

#[test]
fn an_answer_opens_only_for_its_own_request() {
    let mut link = Link::new();
    let (first, first_pending) = link.seal(b"same");
    let (second, second_pending) = link.seal(b"same");
    let (_, first_answerer) = link.open(&first).unwrap();
    let (_, second_answerer) = link.open(&second).unwrap();
    let (first_answer, second_answer) = (first_answerer.seal(b"1").unwrap(), second_answerer.seal(b"2").unwrap());
    assert_eq!(first_pending.open(&second_answer).unwrap_err(), OpenError::Unreadable);
    // Nor with the number of the other written over it.
    let mut relabelled = first_answer;
    relabelled[1..9].copy_from_slice(&second_answer[1..9]);
    assert_eq!(second_pending.open(&relabelled).unwrap_err(), OpenError::Unreadable);
}

#[test]
fn an_answer_of_another_session_with_the_same_number_does_not_open() {
    let mut link = Link::new();
    let (first, _) = link.seal_anew(b"same");
    let (second, pending) = link.seal_anew(b"same");
    let (_, answerer) = link.open(&first).unwrap();
    link.open(&second).unwrap();
    assert_eq!(pending.open(&answerer.seal(b"1").unwrap()).unwrap_err(), OpenError::Unreadable);
}

#[test]
fn an_answer_altered_in_any_byte_is_refused() {
    let length = {
        let mut link = Link::new();
        let (message, _) = link.seal(b"q");
        link.open(&message).unwrap().1.seal(b"answer").unwrap().len()
    };
    for index in 0..=length {
        let mut link = Link::new();
        let (message, pending) = link.seal(b"q");
        let mut answer = link.open(&message).unwrap().1.seal(b"answer").unwrap();
        match answer.get_mut(index) {
            Some(byte) => *byte ^= 1,
            None => answer.push(0),
        }
        let expected = if index == 0 { OpenError::UnknownVersion(0) } else { OpenError::Unreadable };
        assert_eq!(pending.open(&answer).unwrap_err(), expected, "{index}");
    }
}

#[test]
fn a_request_sent_back_is_no_answer() {
    let mut link = Link::new();
    let (message, pending) = link.seal(b"q");
    assert_eq!(pending.open(&message).unwrap_err(), OpenError::Unreadable);
}

#[test]
fn the_largest_body_fits_and_a_larger_one_is_refused_at_both_ends() {
    let mut link = Link::new();
    let largest = vec![0; MAX_BODY];
    let (message, pending) = link.seal(&largest);
    assert!(message.len() <= MAX_BODY + SEAL_OVERHEAD);
    let (body, answerer) = link.open(&message).unwrap();
    assert_eq!(body, largest);
    assert_eq!(pending.open(&answerer.seal(&largest).unwrap()).unwrap(), largest);

    let too_large = SealError::TooLarge { size: MAX_BODY + 1, limit: MAX_BODY };
    let larger = vec![0; MAX_BODY + 1];
    assert_eq!(link.sender.seal(&larger, NOW, &mut rand::rng()).unwrap_err(), too_large);
    let (message, pending) = link.seal(b"q");
    let (_, answerer) = link.open(&message).unwrap();
    assert_eq!(answerer.seal(&larger).unwrap_err(), too_large);

    let flood = vec![1; MAX_MESSAGE + 1];
    let refused = OpenError::TooLarge { size: MAX_MESSAGE + 1 };
    assert_eq!(link.refuses(&flood), refused);
    assert_eq!(pending.open(&flood).unwrap_err(), refused);
}

#[test]
fn another_version_is_refused_as_unsupported() {
    let mut link = Link::new();
    let (mut message, _) = link.seal(b"q");
    message[0] = 2;
    let error = link.refuses(&message);
    assert_eq!((error, error.refusal(nonce(9))), (OpenError::UnknownVersion(2), Refusal::Unsupported));
}

#[test]
fn each_error_has_its_refusal() {
    for (error, refusal) in [
        (OpenError::BadSignature, Refusal::Unreadable),
        (OpenError::NoSession, Refusal::Stale { nonce: nonce(9) }),
        (OpenError::Replayed, Refusal::Replayed),
        (OpenError::Stale, Refusal::Stale { nonce: nonce(9) }),
        (OpenError::TooLarge { size: 1 << 20 }, Refusal::TooLarge { limit: 256 * 1024 }),
        (OpenError::Unreadable, Refusal::Unreadable),
        (OpenError::UnknownVersion(7), Refusal::Unsupported),
    ] {
        assert_eq!(error.refusal(nonce(9)), refusal);
    }
}

#[test]
fn both_ends_can_go_to_another_thread_and_tell_no_secret() {
    fn check<T: Send + std::fmt::Debug>(value: &T) {
        assert!(!format!("{value:?}").contains("secret"));
    }
    let mut link = Link::new();
    let (message, pending) = link.seal(b"q");
    let (_, answerer) = link.open(&message).unwrap();
    check::<Sender>(&link.sender);
    check::<Receiver>(&link.receiver);
    check(&pending);
    check(&answerer);
}
