//! Which rigs a command means: names, ids, and patterns of names.

use std::collections::HashSet;

use clap::Args;
use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use glob::{MatchOptions, Pattern};
use miner_ctrl_dashboard::Code;
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
    #[arg(required = true, value_delimiter = ',', num_args = 1, value_parser = word,
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
        let known = Known::ask(client).await?;
        let (mut meant, mut seen) = (Vec::new(), HashSet::new());
        for word in self.peers {
            if is_pattern(&word) {
                let fitting = known.fitting(&word, what)?.into_iter().filter(|peer| seen.insert(peer.id.to_string()));
                meant.extend(fitting.map(|peer| peer.name.to_string()));
                continue;
            }
            // Who is nobody here, or several, is the node's to say.
            let rig = match known.named(&word)[..] {
                [id] => id.to_string(),
                _ => word.to_ascii_lowercase(),
            };
            if seen.insert(rig) {
                meant.push(word);
            }
        }
        Ok(meant)
    }
}

/// A name, an id or a pattern, without the blanks around it.
pub(crate) fn word(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("it names no rig: names are parted by one comma, as in rig-alpha,rig-beta"),
        word => Ok(word.to_owned()),
    }
}

/// The word that means one rig by itself.
pub(crate) fn single(words: &[String]) -> Option<&str> {
    match words {
        [word] if !is_pattern(word) => Some(word),
        _ => None,
    }
}

/// One rig's word, for a command whose answer has no place for a second one.
pub(crate) fn one(command: &'static str) -> impl TypedValueParser<Value = String> {
    NonEmptyStringValueParser::new().try_map(move |word| match word.contains(',') || is_pattern(&word) {
        true => Err(format!("{command} shows one rig at a time")),
        false => Ok(word),
    })
}

/// What to do now where no rig is called `all`: it is what other programs call all of them.
pub(crate) fn unless_all(word: &str, failure: Failure) -> Failure {
    if word.eq_ignore_ascii_case("all") && failure.is(Code::UnknownPeer) {
        return failure.hint("for all paired rigs write `'*'`, with its quotes");
    }
    failure
}

/// Some of the rows.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) ids: HashSet<NodeId>,
    /// Words that nobody goes by.
    pub(crate) unknown: Vec<String>,
}

/// Which rows are meant. Here a word may also mean this node. Nobody is an error, somebody beside others is not.
pub(crate) async fn choice(words: &[String], what: &str, client: &Client) -> Result<Choice, Failure> {
    let known = Known::ask(client).await?;
    let mut choice = Choice::default();
    for word in words {
        if is_pattern(word) {
            match known.fitting(word, what) {
                Ok(fitting) => choice.ids.extend(fitting.into_iter().map(|peer| peer.id)),
                Err(none) if none.exit == Exit::NotFound => choice.unknown.push(shown(word)),
                Err(no_pattern) => return Err(no_pattern),
            }
            continue;
        }
        let named = known.named(word);
        if named.is_empty() {
            choice.unknown.push(shown(word));
        }
        choice.ids.extend(named);
    }
    if choice.ids.is_empty() {
        let why = if words.iter().all(|word| is_pattern(word)) { FITS_NOBODY } else { NOBODY };
        return Err(no_rig(format!("{what} {}", choice.unknown.join(", ")), why));
    }
    Ok(choice)
}

/// Why a word means no rig.
pub(crate) const NOBODY: &str = "no peer has that name or id";
const FITS_NOBODY: &str = "no rig has such a name";

/// Who can be meant.
struct Known {
    peers: Vec<PeerView>,
    here: NodeInfo,
}

impl Known {
    async fn ask(client: &Client) -> Result<Self, Failure> {
        let peers = asked(LOOKING, client.fetch("/peers").await)?;
        Ok(Self { peers, here: asked(LOOKING, client.fetch("/node/info").await)? })
    }

    /// Whom a word means that is no pattern.
    fn named(&self, word: &str) -> Vec<NodeId> {
        let known = self.peers.iter().map(|peer| (peer.id, peer.name.as_str(), peer.peer_id.as_str()));
        let known = known.chain([(self.here.id, self.here.name.as_str(), self.here.peer_id.as_str())]);
        let named =
            known.filter(|(id, name, peer_id)| name.eq_ignore_ascii_case(word) || peer_id == &word || begins(id, word));
        named.map(|(id, ..)| id).collect()
    }

    /// The paired rigs whose names fit, by name. This node is not one of them: it is ordered by its own name alone, so that
    /// `*` does not set the machine on the desk mining. None is an error, told before anything is ordered.
    fn fitting(&self, word: &str, what: &str) -> Result<Vec<&PeerView>, Failure> {
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
        let mut fitting: Vec<&PeerView> = self.peers.iter().filter(fits).collect();
        fitting.sort_unstable_by_key(|peer| peer.name.as_str());
        if fitting.is_empty() {
            return Err(no_rig(failed(), FITS_NOBODY));
        }
        Ok(fitting)
    }
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

/// What to do about a word that means no rig.
pub(crate) const LOOK: &str = "list peers with `miner-ctrl peer list`";

fn no_rig(what: String, why: &str) -> Failure {
    Failure::new(Exit::NotFound, "unknown-peer", what).because(why).hint(LOOK)
}
