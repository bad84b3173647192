//! Who may join: the pairing code that is showing, strangers that wait for a person, keys that were turned away.
//!
//! Everything is bounded, since strangers fill it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use miner_ctrl_protocol::{NodeId, NodeName, PeerKey, Role, words};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::words::Words;
use crate::places;

/// How long a code is valid: long enough to walk over to the other machine, whatever comes up on the way.
pub const CODE_LIFETIME: Duration = Duration::from_secs(3600);

/// Wrong tries that burn a code: a typing mistake or two, and three guesses in 2^40.
pub const MAX_TRIES: usize = 3;

/// How long a try may take before its place is free again: a stranger's connection lives 10 s.
pub const TRY_LIFETIME: Duration = Duration::from_secs(15);

/// Strangers that may wait at once: more than a person would look through.
pub const MAX_PENDING: usize = 16;

/// How long a request waits after it was last made; an asker that still wants asks again.
pub const PENDING_LIFETIME: Duration = Duration::from_secs(3600);

/// How long a key that was turned away hears so: long enough that a waiting `peer add` ends instead of asking anew.
pub const DENIED_LIFETIME: Duration = Duration::from_secs(600);

/// Keys that were turned away and are remembered: four times what can wait at once.
pub const MAX_DENIED: usize = 64;

/// Shortest part of the words or the id that names a request: fewer fit by accident.
pub const MIN_PREFIX: usize = 4;

/// Longest address that is kept for showing, characters.
const MAX_SHOWN: usize = 400;

/// The one-time code that the operator reads to another.
pub type Code = miner_ctrl_protocol::smsg::PairingCode;

/// How strangers can pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairingMode {
    /// By code, or by a request that a person approves.
    #[default]
    Ask,
    /// By code alone.
    Code,
    /// Not at all.
    Off,
}

words!(PairingMode: Ask = "ask", Code = "code", Off = "off");

/// Why a stranger may not try the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionRefusal {
    /// As many tries are under way as may still be made.
    #[error("other tries are under way: try again in a moment")]
    Busy,
    /// None is showing: never asked for, used, expired or burned. Which of these is not a stranger's business.
    #[error("no pairing code is valid")]
    NoCode,
    /// Pairing is off.
    #[error("pairing is off")]
    Off,
}

/// What a stranger that asks without a code is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    /// Too many wait already.
    Busy,
    /// A person turned it away.
    Denied,
    /// Requests are not taken here.
    Off,
    /// It waits for a person.
    Pending,
    /// It was admitted; it may not have heard so.
    Registered,
}

/// A stranger that asks, by its own words but for the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// From the connection.
    pub key: PeerKey,
    /// What it calls itself.
    pub name: NodeName,
    /// What it says it is for.
    pub role: Role,
    /// Where it comes from.
    pub address: String,
    /// Fingerprint words, to be compared with those it shows.
    pub words: Words,
}

/// A stranger that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRequest {
    /// Who asks.
    pub stranger: Stranger,
    /// Its handle, from the key.
    pub id: NodeId,
    /// When it first asked.
    pub since: Instant,
    /// When it last asked.
    pub last_asked: Instant,
}

/// Why a text names no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PendingError {
    /// It fits several.
    #[error("`{asked}` fits several pairing requests: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// What it fits, as `name (id)`.
        candidates: Vec<String>,
    },
    /// It fits none.
    #[error("no pairing request `{0}`")]
    Unknown(String),
}

/// The code that is showing, and who tried it.
#[derive(Debug)]
struct Window {
    code: Code,
    expires: Instant,
    wrong: usize,
    /// Tries under way, counted so that many connections at once get no more guesses than one.
    trying: Vec<Trying>,
    /// Who paired with it. It may do so again, since it may never have heard that it succeeded; nobody else may.
    used_by: Option<PeerKey>,
}

/// A try under way.
#[derive(Debug)]
struct Trying {
    number: u64,
    key: PeerKey,
    since: Instant,
}

/// Decides who may join.
#[derive(Debug)]
pub struct Admission {
    mode: PairingMode,
    window: Option<Window>,
    /// Tries so far. No number comes twice: a key that tries the code after this one must not pass for its own try of
    /// this one.
    tries: u64,
    pending: Vec<PendingRequest>,
    denied: VecDeque<(PeerKey, Instant)>,
}

impl Admission {
    /// Nobody waits, no code is showing.
    #[must_use]
    pub const fn new(mode: PairingMode) -> Self {
        Self { mode, window: None, tries: 0, pending: Vec::new(), denied: VecDeque::new() }
    }

    /// Shows a code in place of the one before.
    ///
    /// # Errors
    /// [`AdmissionRefusal::Off`].
    pub fn show_code(&mut self, code: Code, now: Instant) -> Result<(), AdmissionRefusal> {
        if self.mode == PairingMode::Off {
            return Err(AdmissionRefusal::Off);
        }
        let expires = now + CODE_LIFETIME;
        self.window = Some(Window { code, expires, wrong: 0, trying: Vec::new(), used_by: None });
        Ok(())
    }

    /// The code to show to the operator; none once it was used.
    #[must_use]
    pub fn current_code(&self, now: Instant) -> Option<&Code> {
        self.window
            .as_ref()
            .filter(|window| now < window.expires && window.used_by.is_none())
            .map(|window| &window.code)
    }

    /// The number of a stranger's try and the code for it, which must be followed by [`Admission::code_tried`] unless
    /// it is broken off before its confirmation is looked at.
    ///
    /// # Errors
    /// [`AdmissionRefusal`].
    pub fn code_for_try(&mut self, key: &PeerKey, now: Instant) -> Result<(u64, Code), AdmissionRefusal> {
        if self.mode == PairingMode::Off {
            return Err(AdmissionRefusal::Off);
        }
        self.sweep(now);
        let window = self.window.as_mut().ok_or(AdmissionRefusal::NoCode)?;
        if window.used_by.is_some_and(|user| user != *key) {
            return Err(AdmissionRefusal::NoCode);
        }
        if window.wrong + window.trying.len() >= MAX_TRIES {
            return Err(AdmissionRefusal::Busy);
        }
        self.tries += 1;
        window.trying.push(Trying { number: self.tries, key: *key, since: now });
        Ok((self.tries, window.code.clone()))
    }

    /// What came of the try of this number. Only after `Ok` is the stranger to be registered: the code may have been
    /// replaced, burned or used by another while it was trying.
    ///
    /// # Errors
    /// [`AdmissionRefusal::NoCode`]; for a wrong confirmation always.
    pub fn code_tried(
        &mut self,
        key: &PeerKey,
        number: u64,
        right: bool,
        now: Instant,
    ) -> Result<(), AdmissionRefusal> {
        // The place of a try that took too long was given away; then neither its success nor its failure counts here,
        // and only tries that were counted are ever confirmed.
        self.sweep(now);
        let window = self.window.as_mut().ok_or(AdmissionRefusal::NoCode)?;
        let this = |trying: &Trying| trying.number == number && trying.key == *key;
        let place = window.trying.iter().position(this).ok_or(AdmissionRefusal::NoCode)?;
        window.trying.remove(place);
        if right && window.used_by.is_none_or(|user| user == *key) {
            window.used_by = Some(*key);
            self.forget(key);
            return Ok(());
        }
        if !right {
            window.wrong += 1;
            if window.wrong >= MAX_TRIES {
                self.window = None;
            }
        }
        Err(AdmissionRefusal::NoCode)
    }

    /// A stranger asks to be approved by a person.
    pub fn knock(&mut self, stranger: Stranger, now: Instant) -> Knock {
        if self.mode != PairingMode::Ask {
            return Knock::Off;
        }
        self.sweep(now);
        if self.denied.iter().any(|(key, _)| *key == stranger.key) {
            return Knock::Denied;
        }
        let stranger = Stranger { address: shown(&stranger.address), ..stranger };
        if let Some(known) = self.pending.iter_mut().find(|known| known.stranger.key == stranger.key) {
            // What a person looks at stays until it is decided: what it is for says what it may do once it is approved. Its
            // words may be spelled already.
            known.stranger.address = stranger.address;
            known.last_asked = now;
        } else if self.pending.len() >= MAX_PENDING && !self.makes_room(&stranger.address) {
            return Knock::Busy;
        } else {
            let id = stranger.key.node_id();
            self.pending.push(PendingRequest { stranger, id, since: now, last_asked: now });
        }
        Knock::Pending
    }

    /// Takes a place from whoever holds most of them, when the one at `address` holds fewer.
    fn makes_room(&mut self, address: &str) -> bool {
        let holders: Vec<IpAddr> = self.pending.iter().map(|one| ip_of(&one.stranger.address)).collect();
        places::who_yields(&holders, ip_of(address)).map(|place| self.pending.remove(place)).is_some()
    }

    /// Who waits, oldest first.
    pub fn pending(&self, now: Instant) -> impl Iterator<Item = &PendingRequest> {
        self.pending.iter().filter(move |request| now < request.last_asked + PENDING_LIFETIME)
    }

    /// The request that a person means by its words or its id, or by the beginning of either.
    ///
    /// The name does not count: the stranger chose it. [`Words::spell`] those that wait before: this spells the rest.
    ///
    /// # Errors
    /// [`PendingError`].
    pub fn find(&self, text: &str, now: Instant) -> Result<&PendingRequest, PendingError> {
        let asked = || text.trim().chars().take(MAX_SHOWN).collect::<String>();
        let wanted = plain(text);
        if wanted.len() < MIN_PREFIX {
            return Err(PendingError::Unknown(asked()));
        }
        let mut fitting = self.pending(now).filter(|request| {
            request.id.to_string().starts_with(&wanted) || plain(request.stranger.words.text()).starts_with(&wanted)
        });
        let first = fitting.next().ok_or_else(|| PendingError::Unknown(asked()))?;
        let others: Vec<_> = fitting.collect();
        if others.is_empty() {
            return Ok(first);
        }
        let candidates = std::iter::once(first)
            .chain(others)
            .map(|request| format!("{} ({})", request.stranger.name, request.id))
            .collect();
        Err(PendingError::Ambiguous { asked: asked(), candidates })
    }

    /// Ends the code that a peer came in by: removed or restricted, it shall not use it again.
    pub fn end_code_of(&mut self, key: &PeerKey) {
        self.window.take_if(|window| window.used_by == Some(*key));
    }

    /// The key was admitted: it no longer waits, and is no longer turned away.
    pub fn forget(&mut self, key: &PeerKey) {
        self.pending.retain(|request| request.stranger.key != *key);
        self.denied.retain(|(denied, _)| denied != key);
    }

    /// Turns a waiting stranger away.
    ///
    /// # Errors
    /// [`PendingError`].
    pub fn deny(&mut self, text: &str, now: Instant) -> Result<PendingRequest, PendingError> {
        let request = self.find(text, now)?.clone();
        self.forget(&request.stranger.key);
        if self.denied.len() >= MAX_DENIED {
            self.denied.pop_front();
        }
        self.denied.push_back((request.stranger.key, now + DENIED_LIFETIME));
        Ok(request)
    }

    /// Whether a stranger that connects now could possibly pair.
    #[must_use]
    pub fn pairing_possible(&self, now: Instant) -> bool {
        match self.mode {
            PairingMode::Ask => true,
            PairingMode::Code => self.window.as_ref().is_some_and(|window| now < window.expires),
            PairingMode::Off => false,
        }
    }

    /// When something ends by itself that readers see.
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        let code = self.window.iter().map(|window| window.expires);
        code.chain(self.pending.iter().map(|request| request.last_asked + PENDING_LIFETIME)).min()
    }

    /// Drops what has ended.
    pub fn sweep(&mut self, now: Instant) {
        self.window.take_if(|window| now >= window.expires);
        if let Some(window) = &mut self.window {
            window.trying.retain(|trying| now < trying.since + TRY_LIFETIME);
        }
        self.pending.retain(|request| now < request.last_asked + PENDING_LIFETIME);
        self.denied.retain(|(_, until)| now < *until);
    }
}

/// Where it comes from. Those without an IP share one place.
fn ip_of(address: &str) -> IpAddr {
    address.split('/').find_map(|part| part.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Without control characters and not too long: it is shown to a person.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}

/// Words as they compare: in lower case, with one hyphen between them, however they were typed.
fn plain(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c == '-')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
