use super::*;
use crate::fleet::registry::tests::key;
use proptest::prelude::*;

const OWN: u32 = 1_000_000;

fn stranger(number: u32) -> Stranger {
    Stranger {
        key: key(number),
        name: "stranger".parse().unwrap(),
        role: Role::Controller,
        address: "/ip4/10.0.0.1/tcp/1/ws".into(),
        words: Words::spelled(key(OWN), key(number), format!("word{number} two three four five six")),
    }
}

fn code() -> Code {
    Code::generate(&mut rand::rng())
}

fn showing(now: Instant) -> Admission {
    let mut admission = Admission::new(PairingMode::Ask);
    admission.show_code(code(), now).unwrap();
    admission
}

#[test]
fn a_code_is_good_for_one_key_and_for_an_hour() {
    let now = Instant::now();
    let mut admission = showing(now);
    let late = now + CODE_LIFETIME - Duration::from_secs(1);
    let (number, _) = admission.code_for_try(&key(1), now).unwrap();
    assert_eq!(admission.code_tried(&key(1), number, true, now), Ok(()));
    assert_eq!(admission.current_code(now), None, "a used code is not shown");
    assert_eq!(admission.code_for_try(&key(2), now), Err(AdmissionRefusal::NoCode));
    let (number, _) = admission.code_for_try(&key(1), late).expect("its success may have been lost on the way");
    assert_eq!(admission.code_tried(&key(1), number, true, late), Ok(()));
    assert_eq!(admission.code_for_try(&key(1), now + CODE_LIFETIME), Err(AdmissionRefusal::NoCode));
}

#[test]
fn who_was_removed_does_not_come_back_by_the_code_it_used() {
    let now = Instant::now();
    let mut admission = showing(now);
    let (number, _) = admission.code_for_try(&key(1), now).unwrap();
    admission.code_tried(&key(1), number, true, now).unwrap();
    admission.end_code_of(&key(2));
    admission.code_for_try(&key(1), now).expect("another's removal does not matter");
    admission.end_code_of(&key(1));
    assert_eq!(admission.code_for_try(&key(1), now), Err(AdmissionRefusal::NoCode));
}

#[test]
fn three_wrong_tries_burn_a_code() {
    let now = Instant::now();
    let mut admission = showing(now);
    for number in 1..=3 {
        let (tried, _) = admission.code_for_try(&key(number), now).unwrap();
        assert!(admission.code_tried(&key(number), tried, false, now).is_err());
    }
    assert_eq!(admission.current_code(now), None);
    assert_eq!(admission.code_for_try(&key(9), now), Err(AdmissionRefusal::NoCode));
}

#[test]
fn many_tries_at_once_get_no_more_guesses() {
    let now = Instant::now();
    let mut admission = showing(now);
    let (first, _) = admission.code_for_try(&key(1), now).unwrap();
    for _ in 1..MAX_TRIES {
        admission.code_for_try(&key(1), now).unwrap();
    }
    assert_eq!(admission.code_for_try(&key(1), now), Err(AdmissionRefusal::Busy));
    assert_eq!(admission.code_for_try(&key(2), now), Err(AdmissionRefusal::Busy));
    let later = now + TRY_LIFETIME;
    admission.code_for_try(&key(2), later).expect("tries that were broken off do not burn the code");
    assert!(admission.code_tried(&key(1), first, true, later).is_err(), "a try that took too long does not count");
}

#[test]
fn of_two_that_are_right_at_once_one_is_admitted() {
    let now = Instant::now();
    let mut admission = showing(now);
    let (one, _) = admission.code_for_try(&key(1), now).unwrap();
    let (other, _) = admission.code_for_try(&key(2), now).unwrap();
    assert_eq!(admission.code_tried(&key(1), one, true, now), Ok(()));
    assert_eq!(admission.code_tried(&key(2), other, true, now), Err(AdmissionRefusal::NoCode));
}

#[test]
fn a_try_at_a_code_that_was_replaced_does_not_count_for_the_new_one() {
    let now = Instant::now();
    let mut admission = showing(now);
    let (before, _) = admission.code_for_try(&key(1), now).unwrap();
    admission.show_code(code(), now).unwrap();
    assert_eq!(admission.code_tried(&key(1), before, true, now), Err(AdmissionRefusal::NoCode));
    assert!(admission.current_code(now).is_some());
    // Nor does it when its key has begun to try the new one, too.
    let (after, _) = admission.code_for_try(&key(1), now).unwrap();
    assert_eq!(admission.code_tried(&key(1), before, true, now), Err(AdmissionRefusal::NoCode));
    assert_eq!(admission.code_tried(&key(1), before, false, now), Err(AdmissionRefusal::NoCode));
    assert!(admission.current_code(now).is_some());
    assert_eq!(admission.code_tried(&key(2), after, true, now), Err(AdmissionRefusal::NoCode), "another's try");
    assert_eq!(admission.code_tried(&key(1), after, true, now), Ok(()));
}

#[test]
fn who_waits_stays_what_a_person_looked_at() {
    let now = Instant::now();
    let mut admission = Admission::new(PairingMode::Ask);
    let first = Stranger { role: Role::Worker, ..stranger(1) };
    assert_eq!(admission.knock(first.clone(), now), Knock::Pending);
    let then = Stranger { name: "other".parse().unwrap(), address: "/ip4/10.0.0.2/tcp/1/ws".into(), ..stranger(1) };
    assert_eq!(admission.knock(then, now), Knock::Pending);
    let waits = &admission.pending(now).next().unwrap().stranger;
    assert_eq!((waits.role, &waits.name), (first.role, &first.name));
    assert_eq!(waits.address, "/ip4/10.0.0.2/tcp/1/ws", "where it is now");
}

#[test]
fn with_pairing_off_nothing_opens_the_door() {
    let now = Instant::now();
    let mut admission = Admission::new(PairingMode::Off);
    assert_eq!(admission.show_code(code(), now), Err(AdmissionRefusal::Off));
    assert_eq!(admission.code_for_try(&key(1), now), Err(AdmissionRefusal::Off));
    assert_eq!(admission.knock(stranger(1), now), Knock::Off);
    assert!(!admission.pairing_possible(now));
}

#[test]
fn with_pairing_by_code_the_door_is_open_while_a_code_is_valid() {
    let now = Instant::now();
    let mut admission = Admission::new(PairingMode::Code);
    assert!(!admission.pairing_possible(now));
    admission.show_code(code(), now).unwrap();
    assert!(admission.pairing_possible(now));
    assert_eq!(admission.knock(stranger(1), now), Knock::Off);
    assert!(!admission.pairing_possible(now + CODE_LIFETIME));
}

#[test]
fn who_asks_first_keeps_its_place_when_many_ask() {
    let now = Instant::now();
    let mut admission = Admission::new(PairingMode::Ask);
    for number in 0..16 {
        assert_eq!(admission.knock(stranger(number), now), Knock::Pending);
    }
    assert_eq!(admission.knock(stranger(99), now), Knock::Busy);
    let later = now + PENDING_LIFETIME - Duration::from_secs(1);
    assert_eq!(admission.knock(stranger(0), later), Knock::Pending, "asking again refreshes the one request");
    assert_eq!(admission.pending(later).count(), MAX_PENDING);
    let left: Vec<_> = admission.pending(now + PENDING_LIFETIME).collect();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].since, left[0].last_asked), (now, later));
}

#[test]
fn a_knock_costs_no_words_and_a_look_spells_them_once() {
    let now = Instant::now();
    let unspelled = |number| Stranger { words: Words::of(key(OWN), key(number)), ..stranger(number) };
    let knock = |admission: &mut Admission, number, answer| {
        let stranger = unspelled(number);
        assert_eq!(admission.knock(stranger.clone(), now), answer);
        assert!(!stranger.words.is_spelled(), "{answer:?}");
    };
    knock(&mut Admission::new(PairingMode::Off), 1, Knock::Off);
    let mut admission = Admission::new(PairingMode::Ask);
    admission.knock(stranger(99), now);
    admission.deny(&key(99).node_id().to_string(), now).unwrap();
    knock(&mut admission, 99, Knock::Denied);
    for number in 0..16 {
        knock(&mut admission, number, Knock::Pending);
    }
    knock(&mut admission, 98, Knock::Busy);
    assert!(admission.pending(now).all(|request| !request.stranger.words.is_spelled()));
    let words = admission.pending(now).next().unwrap().stranger.words.text().to_owned();
    knock(&mut admission, 0, Knock::Pending);
    assert!(admission.pending(now).next().unwrap().stranger.words.is_spelled());
    assert_eq!(admission.find(&words, now).unwrap().id, key(0).node_id());
}

#[test]
fn one_host_that_takes_every_place_keeps_nobody_else_out() {
    let now = Instant::now();
    let mut admission = Admission::new(PairingMode::Ask);
    let at = |number: u32, address: &str| Stranger { address: address.into(), ..stranger(number) };
    for number in 0..16 {
        let address = format!("/ip6/2001:db8::{number:x}/tcp/{number}/ws");
        assert_eq!(admission.knock(at(number, &address), now), Knock::Pending);
    }
    assert_eq!(admission.knock(at(20, "/ip6/2001:db8::ffff/tcp/1/ws"), now), Knock::Busy);
    // It loses the last of its places, one for each other host that comes, and no host takes more than another has.
    for number in 100..108 {
        assert_eq!(admission.knock(at(number, "/ip4/192.0.2.1/tcp/1/ws"), now), Knock::Pending, "{number}");
    }
    assert_eq!(admission.knock(at(108, "/ip4/192.0.2.1/tcp/1/ws"), now), Knock::Busy);
    assert_eq!(admission.knock(at(109, "/ip4/192.0.2.2/tcp/1/ws"), now), Knock::Pending);
    assert_eq!(admission.pending(now).count(), MAX_PENDING);
    let first: Vec<_> = admission.pending(now).take(7).map(|one| one.stranger.key).collect();
    assert_eq!(first, (0..7).map(key).collect::<Vec<_>>(), "who came first stays");
}

#[test]
fn who_was_denied_hears_so_for_a_while() {
    let now = Instant::now();
    let mut admission = Admission::new(PairingMode::Ask);
    admission.knock(stranger(1), now);
    assert_eq!(admission.deny("word1 two three four five six", now).unwrap().id, key(1).node_id());
    assert_eq!(admission.knock(stranger(1), now), Knock::Denied);
    assert_eq!(admission.knock(stranger(1), now + DENIED_LIFETIME), Knock::Pending);
    for number in 100..200 {
        admission.knock(stranger(number), now);
        admission.deny(&key(number).node_id().to_string(), now).unwrap();
    }
    assert_eq!(admission.denied.len(), MAX_DENIED);
}

#[test]
fn a_request_is_named_by_words_or_id_and_not_by_the_strangers_own_name() {
    let now = Instant::now();
    let mut admission = Admission::new(PairingMode::Ask);
    admission.knock(stranger(1), now);
    admission.knock(stranger(2), now);
    let id = key(2).node_id().to_string();
    for text in ["word2 two three four five six", "WORD2-two", " word2", &id, &id[..8]] {
        assert_eq!(admission.find(text, now).unwrap().id, key(2).node_id(), "{text}");
    }
    assert!(
        matches!(admission.find("word", now), Err(PendingError::Ambiguous { candidates, .. }) if candidates.len() == 2)
    );
    for text in ["", " ", "-", "wor", &id[..3], "stranger"] {
        assert!(matches!(admission.find(text, now), Err(PendingError::Unknown(_))), "{text:?}");
    }
}

proptest! {
    #[test]
    fn whatever_strangers_do_the_bounds_hold_and_a_code_admits_one_key(
        steps in prop::collection::vec((0u32..40, 0u8..6, 0u64..900), 0..200)
    ) {
        let mut now = Instant::now();
        let mut admission = showing(now);
        let (mut admitted, mut tries) = (None, std::collections::HashMap::new());
        for (number, action, seconds) in steps {
            now += Duration::from_secs(seconds / 30);
            match action {
                0 => { admission.knock(stranger(number), now); }
                1 => { let _ = admission.deny(&key(number).node_id().to_string(), now); }
                2 | 3 => if let Ok((tried, _)) = admission.code_for_try(&key(number), now) {
                    tries.insert(number, tried);
                },
                4 => { let _ = admission.code_tried(&key(number), tries.get(&number).copied().unwrap_or(0), false, now); }
                _ => if admission.code_tried(&key(number), tries.get(&number).copied().unwrap_or(0), true, now).is_ok() {
                    prop_assert_eq!(*admitted.get_or_insert(number), number);
                }
            }
            prop_assert!(admission.pending.len() <= MAX_PENDING);
            prop_assert!(admission.denied.len() <= MAX_DENIED);
            if let Some(window) = &admission.window {
                prop_assert!(window.wrong < MAX_TRIES && window.wrong + window.trying.len() <= MAX_TRIES);
            }
        }
    }
}
