//! Which peer a person means.

use miner_ctrl_dashboard::NodeError;
use miner_ctrl_protocol::{NodeId, PeerKey};

use super::registry::Peer;

/// Candidates that an answer lists. More than a handful is no help in choosing.
const MAX_CANDIDATES: usize = 8;

/// Characters of a question that an answer repeats: more than the longest name or peer id.
const MAX_ECHO: usize = 64;

/// Digits of an id that stand for it, half of all. Fewer could be the name of a peer that is gone, such as `42`.
const LEAST_DIGITS: usize = 8;

/// By exact id or exact peer id; else by exact name (in any case) or the beginning of an id, which must fit one peer alone.
///
/// Never by the beginning of a name: once `rig-2` is removed, `rig-2` would mean `rig-20`. Ids come first: a name is chosen
/// by its bearer and could imitate one, or the beginning of one, which is then not guessed at. Everything is looked at in
/// order, which takes under a millisecond for the largest registry and needs no index in every snapshot.
pub(super) fn resolve<'a>(peers: impl Iterator<Item = &'a Peer>, text: &str) -> Result<PeerKey, NodeError> {
    let text = text.trim();
    let asked = || text.chars().take(MAX_ECHO).collect::<String>();
    if text.is_empty() {
        return Err(NodeError::unknown_peer(text));
    }
    let id = text.parse().ok();
    let digits = digits(text);
    let mut found = None;
    let (mut candidates, mut similar) = (Vec::new(), Vec::new());
    let list = |list: &mut Vec<String>, peer: &Peer| {
        if list.len() < MAX_CANDIDATES {
            list.push(format!("{} ({})", peer.name, peer.id));
        }
    };
    for peer in peers {
        if id == Some(peer.id) || peer.peer_id == text {
            return Ok(peer.key);
        }
        let name = peer.name.as_str();
        let starts_id = digits.as_ref().is_some_and(|digits| starts_with(&peer.id, digits));
        if name.eq_ignore_ascii_case(text) || (starts_id && text.len() >= LEAST_DIGITS) {
            found = Some(peer.key);
            list(&mut candidates, peer);
        } else if starts_id || name.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text)) {
            list(&mut similar, peer);
        }
    }
    match (found, candidates.len()) {
        (Some(key), 1) => Ok(key),
        (Some(_), _) => Err(NodeError::AmbiguousPeer { asked: asked(), candidates }),
        (None, _) => Err(NodeError::UnknownPeer { asked: asked(), similar }),
    }
}

/// Whether a text is enough of the beginning of an id to stand for it.
pub(crate) fn begins(id: &NodeId, text: &str) -> bool {
    text.len() >= LEAST_DIGITS && digits(text).is_some_and(|digits| starts_with(id, &digits))
}

/// The hexadecimal digits of what may be the beginning of an id.
fn digits(text: &str) -> Option<Vec<u8>> {
    let digit = |c: char| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if text.len() <= 16 { text.chars().map(digit).collect() } else { None }
}

/// Compared digit by digit: writing ten thousand ids out takes milliseconds.
fn starts_with(id: &NodeId, digits: &[u8]) -> bool {
    let written = id.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    written.zip(digits).all(|(one, other)| one == *other)
}
