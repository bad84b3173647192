//! Which rigs a command means: names, ids, and patterns of names.

use std::collections::HashSet;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use glob::{MatchOptions, Pattern};
use miner_ctrl_dashboard::node::{NodeInfo, PeerView};
use miner_ctrl_protocol::NodeId;

use crate::cli::peer::asked;
use crate::cli::render::clean;
use crate::cli::{Exit, Failure};
use crate::control::Client;
use crate::fleet::begins;

/// Names are compared in any case, as everywhere.
const ANY_CASE: MatchOptions =
    MatchOptions { case_sensitive: false, require_literal_separator: false, require_literal_leading_dot: false };

const LOOKING: &str = "cannot tell which rigs are meant";

// No doc comment: it would stand in each command's help in place of the command's own.
#[derive(Debug, Args)]
pub(crate) struct Rigs {
    /// Whole name, or id, of a rig, or a pattern of names such as 'barn-*'; several are parted by commas.
    #[arg(required = true, value_delimiter = ',', num_args = 1, value_parser = NonEmptyStringValueParser::new(),
        action = clap::ArgAction::Set, value_name = "RIG")]
    peers: Vec<String>,
}

impl Rigs {
    /// The word that means one rig by itself, whose answer is no list.
    pub(crate) fn single(&self) -> Option<&str> {
        single(&self.peers)
    }

    /// Each rig once, in the order of the words, and of names where a word is a pattern.
    pub(crate) async fn meant(self, what: &str, client: &Client) -> Result<Vec<String>, Failure> {
        let words = self.peers;
        // Who a plain word means is the node's to say.
        let peers: Vec<PeerView> = if words.iter().any(|word| is_pattern(word)) {
            asked(LOOKING, client.fetch("/peers").await)?
        } else {
            vec![]
        };
        let mut meant = Vec::new();
        for word in words {
            if is_pattern(&word) {
                meant.extend(fitting(&word, &peers, what)?.into_iter().map(|peer| peer.name.as_str().to_owned()));
            } else {
                meant.push(word);
            }
        }
        let mut seen = HashSet::new();
        meant.retain(|word| seen.insert(word.to_ascii_lowercase()));
        Ok(meant)
    }
}

/// The word that means one rig by itself.
pub(crate) fn single(words: &[String]) -> Option<&str> {
    match words {
        [word] if !is_pattern(word) => Some(word),
        _ => None,
    }
}

/// The ids of all that is meant, for a choice among rows. Here a word may also mean this node.
pub(crate) async fn ids(words: &[String], what: &str, client: &Client) -> Result<HashSet<NodeId>, Failure> {
    let peers: Vec<PeerView> = asked(LOOKING, client.fetch("/peers").await)?;
    let here: NodeInfo = asked(LOOKING, client.fetch("/node/info").await)?;
    let mut ids = HashSet::new();
    for word in words {
        if is_pattern(word) {
            ids.extend(fitting(word, &peers, what)?.into_iter().map(|peer| peer.id));
            continue;
        }
        let known = peers.iter().map(|peer| (peer.id, peer.name.as_str(), peer.peer_id.as_str()));
        let known = known.chain([(here.id, here.name.as_str(), here.peer_id.as_str())]);
        let named =
            known.filter(|(id, name, peer_id)| name.eq_ignore_ascii_case(word) || peer_id == word || begins(id, word));
        let named: Vec<NodeId> = named.map(|(id, ..)| id).collect();
        if named.is_empty() {
            return Err(no_rig(format!("{what} {}", shown(word)), "no peer has that name or id"));
        }
        ids.extend(named);
    }
    Ok(ids)
}

/// The paired rigs whose names fit, by name. This node is not one of them: it is ordered by its own name alone, so that
/// `*` does not set the machine on the desk mining. None is an error, told before anything is ordered.
fn fitting<'a>(word: &str, peers: &'a [PeerView], what: &str) -> Result<Vec<&'a PeerView>, Failure> {
    let failed = || format!("{what} {}", shown(word));
    // For paths `**` is something else; for names it is more of the same.
    let mut single = word.to_owned();
    while single.contains("**") {
        single = single.replace("**", "*");
    }
    let pattern = Pattern::new(&single).map_err(|error| {
        Failure::new(Exit::Usage, "bad-pattern", failed())
            .because(format!("it is no pattern of names: {}", error.msg))
            .hint("in a pattern `*` is any text, `?` one character, and `[1-4]` one of these")
    })?;
    let fits = |peer: &&PeerView| peer.role.mines() && pattern.matches_with(peer.name.as_str(), ANY_CASE);
    let mut fitting: Vec<&PeerView> = peers.iter().filter(fits).collect();
    fitting.sort_unstable_by_key(|peer| peer.name.as_str());
    if fitting.is_empty() {
        return Err(no_rig(failed(), "no rig has such a name"));
    }
    Ok(fitting)
}

/// Characters of a word that an error repeats: more than the longest name or peer id.
const ECHO: usize = 64;

fn shown(word: &str) -> String {
    clean(word).chars().take(ECHO).collect()
}

/// No name and no id has one of these.
fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

fn no_rig(what: String, why: &str) -> Failure {
    Failure::new(Exit::NotFound, "unknown-peer", what).because(why).hint("list peers with `miner-ctrl peer list`")
}
