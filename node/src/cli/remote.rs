//! `miner-ctrl remote …`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use clap::{Args, Subcommand};
use futures::StreamExt;
use miner_ctrl_dashboard::Code;
use miner_ctrl_dashboard::node::{DeployOutcome, MinerOutcome, RigProfile, RigView};
use miner_ctrl_protocol::message::{LogPage, MAX_LOG_LINES};
use miner_ctrl_protocol::{MinerName, ProfileName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cli::peer::{asked, watched};
use crate::cli::render::{Output, clean};
use crate::cli::rigs::{self, Rigs};
use crate::cli::{Exit, Failure, view};
use crate::control::{Client, segment};

/// Rigs commanded at once: half of the connections that a node takes on its socket.
const AT_ONCE: usize = 32;

/// How long a follower leaves a rig alone that does not answer: short beside the time in which a rig comes back.
const FOLLOW_AGAIN: Duration = Duration::from_secs(2);

/// And after a page without lines, or whose numbers begin anew.
const FOLLOW_EMPTY: Duration = Duration::from_millis(500);

/// Seconds that a follower waits at the rig for a line; below the gateway's 30, so that it is the rig that ends it.
const FOLLOW_WAIT: u32 = 25;

#[derive(Debug, Subcommand)]
pub(crate) enum RemoteCommand {
    /// Send a profile of this node to rigs.
    Deploy {
        #[command(flatten)]
        rigs: Rigs,
        /// A profile of this node.
        #[arg(long)]
        profile: ProfileName,
    },
    /// Show a miner's console.
    Logs {
        /// Whole name, or id, of the rig.
        #[arg(value_name = "RIG", value_parser = rigs::one("logs"))]
        peer: String,
        #[command(flatten)]
        miner: OneMiner,
        /// The newest so many, 1000 at most.
        #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LOG_LINES)))]
        lines: u32,
        /// Keep showing what comes.
        #[arg(long, short)]
        follow: bool,
    },
    /// List the profiles that a rig has stored.
    Profiles {
        /// Whole name, or id, of the rig.
        #[arg(value_name = "RIG", value_parser = rigs::one("profiles"))]
        peer: String,
    },
    /// Stop a miner, then start it with the same profile.
    Restart {
        #[command(flatten)]
        rigs: Rigs,
        #[command(flatten)]
        miner: OneMiner,
    },
    /// Start a miner, or find it running.
    Start {
        #[command(flatten)]
        rigs: Rigs,
        /// Which profile.
        #[arg(long)]
        profile: ProfileName,
        /// Whose profile of that name.
        #[arg(long, value_enum, default_value_t)]
        from: Source,
        #[command(flatten)]
        miner: OneMiner,
    },
    /// Show rigs and their miners.
    Status {
        /// Whole name, or id, of a rig, or a pattern of names such as 'barn-*'; several are parted by commas. Left out: all.
        #[arg(value_delimiter = ',', num_args = 1, value_parser = rigs::word,
            action = clap::ArgAction::Set, value_name = "RIG")]
        peers: Vec<String>,
        /// Keep showing; with json, one document for each change.
        #[arg(long)]
        watch: bool,
    },
    /// Stop a miner, or find it stopped.
    Stop {
        #[command(flatten)]
        rigs: Rigs,
        #[command(flatten)]
        miner: OneMiner,
        /// Every miner of the rig.
        #[arg(long, conflicts_with_all = ["miner", "miner_flag"])]
        all: bool,
    },
    /// Make rigs forget a profile; what runs of it runs on.
    Undeploy {
        #[command(flatten)]
        rigs: Rigs,
        /// A profile of the rigs.
        #[arg(long)]
        profile: ProfileName,
    },
}

impl RemoteCommand {
    /// Whether it goes on and on: a node that was started for a command keeps every other one out.
    pub(crate) const fn needs_running(&self) -> bool {
        matches!(self, Self::Logs { follow: true, .. } | Self::Status { watch: true, .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Source {
    /// This node's, sent along and not stored there.
    Here,
    /// The rig's own.
    #[default]
    Rig,
}

// No doc comment: it would stand in each command's help in place of the command's own.
#[derive(Debug, Args)]
pub(crate) struct OneMiner {
    /// Which miner. Left out: the only one there is; to start, the one that runs the profile, or a new one.
    miner: Option<MinerName>,
    /// As an option, which whoever thinks of `--profile` tries first.
    #[arg(long = "miner", value_name = "MINER", hide = true, conflicts_with = "miner")]
    miner_flag: Option<MinerName>,
}

impl OneMiner {
    fn named(self) -> Option<MinerName> {
        self.miner.or(self.miner_flag)
    }
}

pub(crate) async fn run(command: RemoteCommand, client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    match command {
        RemoteCommand::Deploy { rigs, profile } => {
            let what = format!("cannot deploy `{profile}` to");
            let order = Order { what, action: "deploy", body: json!({ "profile": profile }) };
            order.give::<DeployOutcome>(rigs, client, output, view::deployed).await
        }
        RemoteCommand::Logs { peer, miner, lines, follow } => {
            let mut path = format!("/remote/{}/logs", segment(&peer));
            if let Some(miner) = miner.named() {
                path += &format!("/{}", segment(miner.as_str()));
            }
            let what = format!("cannot read the console at {peer}");
            logs(&what, &path, lines, follow, client, output).await
        }
        RemoteCommand::Profiles { peer } => {
            let path = format!("/remote/{}/profiles", segment(&peer));
            let answer = output.waiting("asking the rig", client.fetch::<Vec<RigProfile>>(&path)).await;
            let stored = asked(format!("cannot list the profiles of {peer}"), answer)?;
            let width = output.width();
            output.data(&stored, || view::stored_profiles(&stored, width))?;
            Ok(Exit::Done)
        }
        RemoteCommand::Restart { rigs, miner } => {
            let body = miner.named().map_or_else(|| json!({}), |miner| json!({ "miner": miner }));
            let order = Order { what: "cannot restart a miner on".into(), action: "restart", body };
            order.give::<MinerOutcome>(rigs, client, output, view::outcome).await
        }
        RemoteCommand::Start { rigs, profile, from, miner } => {
            let mut body = json!({ "profile": profile, "from": if from == Source::Here { "here" } else { "rig" } });
            if let Some(miner) = miner.named() {
                body["miner"] = json!(miner);
            }
            let order = Order { what: format!("cannot start `{profile}` on"), action: "start", body };
            order.give::<MinerOutcome>(rigs, client, output, view::outcome).await
        }
        RemoteCommand::Status { peers, watch } => status(&peers, watch, client, output).await,
        RemoteCommand::Stop { rigs, miner, all } => {
            let body = match miner.named() {
                Some(miner) => json!({ "miner": miner }),
                None => json!({ "all": all }),
            };
            let order = Order { what: "cannot stop mining on".into(), action: "stop", body };
            order.give::<MinerOutcome>(rigs, client, output, view::outcome).await
        }
        RemoteCommand::Undeploy { rigs, profile } => {
            let what = format!("cannot take `{profile}` back from");
            let order = Order { what, action: "undeploy", body: json!({ "profile": profile }) };
            order.give::<DeployOutcome>(rigs, client, output, view::undeployed).await
        }
    }
}

async fn status(words: &[String], watch: bool, client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    if let Some(peer) = rigs::single(words) {
        let what = format!("cannot show {peer}");
        let path = format!("/remote/{}/stats", segment(peer));
        let shown = watched(watch, &what, client, &path, output, |value, now, width| {
            let rig: RigView = serde_json::from_value(value.clone())?;
            Ok(view::rigs(&[rig], now, width))
        });
        return shown.await.map_err(|failure| rigs::unless_all(peer, failure));
    }
    let chosen = if words.is_empty() { None } else { Some(rigs::choice(words, "cannot show", client).await?) };
    let unknown = chosen.as_ref().map_or(&[][..], |chosen| &chosen.unknown);
    let lacks = if unknown.is_empty() {
        String::new()
    } else {
        format!(
            "{} of {} not shown: {}: {}; {}",
            unknown.len(),
            words.len(),
            unknown.join(", "),
            rigs::NOBODY,
            rigs::LOOK
        )
    };
    // A watch has no end to tell it at, and wipes a screen that it draws anew.
    let below = if watch && output.redraws && !lacks.is_empty() { format!("\n{lacks}\n") } else { String::new() };
    if watch && !output.redraws && !lacks.is_empty() {
        output.note(&lacks);
    }
    let shown = watched(watch, "cannot show the rigs", client, "/remote/stats", output, |value, now, width| {
        let mut rigs: Vec<RigView> = serde_json::from_value(value.clone())?;
        if let (Some(chosen), Value::Array(documents)) = (&chosen, value) {
            let mut meant = rigs.iter().map(|rig| chosen.ids.contains(&rig.peer.id));
            documents.retain(|_| meant.next().unwrap_or(false));
            rigs.retain(|rig| chosen.ids.contains(&rig.peer.id));
        }
        Ok(view::rigs(&rigs, now, width) + &below)
    });
    let exit = shown.await?;
    if watch || lacks.is_empty() {
        return Ok(exit);
    }
    output.note(&lacks);
    Ok(Exit::SomeFailed)
}

/// Rigs that are named together in the end; of more, how many.
const NAMED: usize = 8;

/// Reasons that are told apart in the end; of more, only their kinds. As many fit a screen, with their hints.
const REASONS: usize = 8;

/// What was not done, or is not known to be, by its reason: among thousands of lines nobody finds it.
#[derive(Default)]
struct Undone(Vec<Reason>);

struct Reason {
    why: String,
    /// Whether others of it have other numbers, such as times.
    alike: bool,
    kind: String,
    hint: Option<String>,
    unknown: bool,
    peers: Vec<String>,
}

impl Undone {
    fn add(&mut self, peer: String, failure: &Failure) {
        let why = failure.reason();
        match self.0.iter_mut().find(|known| known.why == why) {
            Some(known) => known.peers.push(peer),
            None => self.0.push(Reason {
                why,
                alike: false,
                kind: failure.kind().to_owned(),
                hint: failure.hint.clone(),
                unknown: failure.leaves_unknown(),
                peers: vec![peer],
            }),
        }
    }

    /// Takes those together that differ in their numbers alone.
    fn without_numbers(self) -> Self {
        let mut together: Vec<Reason> = Vec::new();
        for reason in self.0 {
            let like = words(&reason.why);
            match together.iter_mut().find(|known| words(&known.why) == like) {
                Some(known) => {
                    known.alike = true;
                    known.peers.extend(reason.peers);
                }
                None => together.push(reason),
            }
        }
        Self(together)
    }

    /// Of so many; nothing when all was done.
    fn told(mut self, all: usize) -> Option<String> {
        if self.0.len() > REASONS {
            // Last lines of consoles begin with their times.
            self = self.without_numbers();
        }
        self.0.sort_by_key(|reason| Reverse(reason.peers.len()));
        let mut rest: Vec<Reason> = Vec::new();
        for reason in self.0.split_off(REASONS.min(self.0.len())) {
            match rest.iter_mut().find(|known| known.kind == reason.kind) {
                Some(known) => {
                    known.why.clone_from(&known.kind);
                    known.alike = false;
                    known.hint = known.hint.take().filter(|hint| reason.hint.as_ref() == Some(hint));
                    known.peers.extend(reason.peers);
                }
                None => rest.push(reason),
            }
        }
        self.0.append(&mut rest);
        self.0.sort_by_key(|reason| Reverse(reason.peers.len()));
        let count = |unknown| -> usize {
            self.0.iter().filter(|reason| reason.unknown == unknown).map(|reason| reason.peers.len()).sum()
        };
        let head = match (count(false), count(true)) {
            (0, 0) => return None,
            (failed, 0) => format!("{failed} of {all} not done:"),
            (0, unknown) => format!("{unknown} of {all} not known to be done:"),
            (failed, unknown) => format!("{failed} of {all} not done, {unknown} not known to be done:"),
        };
        let lines = self.0.iter().map(|Reason { why, alike, hint, peers, .. }| {
            let mut named = peers.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            if peers.len() > NAMED {
                named += &format!(" and {} more", peers.len() - NAMED);
            }
            let hint = hint.as_ref().map_or_else(String::new, |hint| format!("\n       {hint}"));
            let alike = if *alike { ", or the like" } else { "" };
            format!("\n{:>5}  {}{alike}: {named}{hint}", peers.len(), clean(why))
        });
        Some(head + &lines.collect::<String>())
    }
}

/// A text with each of its numbers as one digit.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for letter in text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }) {
        if letter != '0' || !words.ends_with('0') {
            words.push(letter);
        }
    }
    words
}

/// The same order for every rig named.
struct Order {
    what: String,
    action: &'static str,
    body: Value,
}

impl Order {
    async fn give<T: Serialize + DeserializeOwned>(
        self,
        rigs: Rigs,
        client: &Client,
        output: &mut Output,
        text: fn(&T) -> String,
    ) -> Result<Exit, Failure> {
        let Self { what, action, body } = &self;
        let body = &body;
        let one = async |peer: &str| {
            let path = format!("/remote/{}/{action}", segment(peer));
            let answer = asked(format!("{what} {peer}"), client.send::<T>("POST", &path, Some(body)).await);
            answer.map_err(|failure| rigs::unless_all(peer, failure))
        };
        if let Some(peer) = rigs.single() {
            let answer = output.waiting("asking the rig", one(peer)).await;
            let answer = answer.map_err(|failure| match failure.is(Code::MinerUnavailable) {
                true => failure.hint(look_at_console(peer, body["miner"].as_str())),
                false => failure,
            })?;
            output.data(&answer, || text(&answer))?;
            return Ok(Exit::Done);
        }
        let peers = rigs.meant(what, client).await?;
        let all = peers.len();
        // A rig that is away holds up none of the others, and whoever breaks off has seen what was done by then.
        let numbered = async |(place, peer): (usize, String)| {
            let answer = one(&peer).await;
            (place, peer, answer)
        };
        let mut asking =
            pin!(futures::stream::iter(peers.into_iter().enumerate()).map(numbered).buffer_unordered(AT_ONCE));
        let (mut documents, mut exits, mut printed) = (BTreeMap::new(), Vec::new(), Ok(()));
        let mut undone = Undone::default();
        while let Some((place, peer, answer)) = output.waiting("asking the rigs", asking.next()).await {
            let (exit, document, line) = match answer {
                Ok(answer) => {
                    let document = json!({ "peer": peer, "done": true, "answer": answer });
                    (Exit::Done, document, format!("✓ {}", text(&answer)))
                }
                Err(failure) => {
                    let done = (!failure.leaves_unknown()).then_some(false);
                    let document = json!({ "peer": peer, "done": done, "problem": failure.document() });
                    let line = format!("✗ {}: {}", clean(&peer), clean(&failure.causes.join(": ")));
                    undone.add(peer, &failure);
                    (failure.exit, document, line)
                }
            };
            exits.push(exit);
            if output.is_json() {
                documents.insert(place, document);
            } else {
                // The orders are given all the same.
                printed = printed.and_then(|()| unless_gone(output.print(&line)));
            }
        }
        printed?;
        let exit = together(exits.into_iter());
        if output.is_json() {
            let documents: Vec<Value> = documents.into_values().collect();
            unless_gone(output.json(&documents))?;
        } else if let Some(told) = undone.told(all) {
            output.note(&told);
        }
        Ok(exit)
    }
}

/// What to do about a miner that did not start.
fn look_at_console(peer: &str, miner: Option<&str>) -> String {
    let miner = miner.map(|miner| format!(" {miner}")).unwrap_or_default();
    let peer = clean(peer);
    format!(
        "`miner-ctrl remote logs {peer}{miner}` has its last lines; on the rig, `miner-ctrl doctor` says whether the program \
         is there and runs"
    )
}

/// What could not be printed; nothing when it has no reader any more.
fn unless_gone(printed: Result<(), Failure>) -> Result<(), Failure> {
    printed.or_else(|failure| if failure.is_quiet() { Ok(()) } else { Err(failure) })
}

/// How many orders ended as one: when all ended the same, that is how.
fn together(mut exits: impl Iterator<Item = Exit>) -> Exit {
    let first = exits.next().unwrap_or(Exit::Done);
    if exits.all(|exit| exit == first) { first } else { Exit::SomeFailed }
}

async fn logs(
    what: &str,
    path: &str,
    lines: u32,
    follow: bool,
    client: &Client,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let first = format!("{path}?lines={lines}");
    let mut page: LogPage = asked(what, output.waiting("asking the rig", client.fetch(&first)).await)?;
    if !follow {
        output.data(&page, || page.lines.iter().map(|line| clean(&line.text) + "\n").collect())?;
        return Ok(Exit::Done);
    }
    loop {
        if page.lost > 0 {
            output.note(&format!("{} lines are missing: they left the rig's memory before they were read", page.lost));
        }
        for line in &page.lines {
            output.item(line, || clean(&line.text) + "\n")?;
        }
        if page.lines.is_empty() {
            // An honest rig has waited already. One that has not is asked no faster for it.
            tokio::time::sleep(FOLLOW_EMPTY).await;
        }
        let next = format!("{path}?lines={MAX_LOG_LINES}&after={}&wait={FOLLOW_WAIT}", page.newest);
        page = followed(what, &next, client, output).await?;
    }
}

/// The next page of a console, however long its rig, or the node here, stays away.
async fn followed(what: &str, path: &str, client: &Client, output: &mut Output) -> Result<LogPage, Failure> {
    let mut away = false;
    loop {
        match asked(what, client.fetch(path).await) {
            Err(failure) if failure.exit == Exit::Unreachable => {
                if !away {
                    output.note(&format!("{}; trying again until it answers", failure.causes.join(": ")));
                }
                away = true;
                tokio::time::sleep(FOLLOW_AGAIN).await;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ClientError;

    #[test]
    fn what_was_not_done_is_told_by_its_reason_and_apart_what_may_have_been() {
        let failure = |code: &str, why: &str| Failure::new(Exit::Error, code, "cannot").because(why).hint("look there");
        let told = |undone: Undone| undone.told(12).unwrap_or_default();
        assert_eq!(told(Undone::default()), "");
        let some = || {
            let mut undone = Undone::default();
            undone.add("a".into(), &failure("busy", "one"));
            (0..9).for_each(|number| undone.add(format!("b{number}"), &failure("busy", "another")));
            undone
        };
        let reasons = "\n    9  another: b0, b1, b2, b3, b4, b5, b6, b7 and 1 more\n       look there\n    1  one: a\n       look there";
        assert_eq!(told(some()), format!("10 of 12 not done:{reasons}"));
        let with = |code| {
            let mut undone = some();
            undone.add("c".into(), &failure(code, "silence"));
            told(undone)
        };
        let doubtful =
            format!("10 of 12 not done, 1 not known to be done:{reasons}\n    1  silence: c\n       look there");
        for code in ["timeout", "bad-answer", "node-silent"] {
            assert_eq!(with(code), doubtful);
        }
        assert!(with("unreachable").starts_with("11 of 12 not done:"));
    }

    /// What a rig refused, as its operator hears of it.
    fn refused(code: Code, peer: &str, why: &str) -> Failure {
        let document = json!({
            "type": "", "title": code.title(), "status": code.status().as_u16(), "code": code.as_str(),
            "detail": format!("{peer} refused: {why}"), "hint": "do that", "request_id": "",
        });
        let problem = serde_json::from_value(document).unwrap();
        Failure::asking("cannot", ClientError::Problem(problem))
    }

    #[test]
    fn what_rigs_refused_is_told_by_what_they_said() {
        let mut undone = Undone::default();
        for (peer, why) in [("a", "stop it first"), ("b", "name a miner"), ("c", "stop it first")] {
            undone.add(peer.into(), &refused(Code::Conflict, peer, why));
        }
        for (peer, number) in [("d", 7), ("e", 8)] {
            let why = format!("internal error {number}: Permission denied (os error 13)");
            undone.add(peer.into(), &refused(Code::RigInternal, peer, &why));
        }
        undone.add("f".into(), &refused(Code::RigInternal, "f", "internal error 9"));
        undone.add("g".into(), &refused(Code::PolicyForbids, "g", "no \u{1b}[2J"));
        let told = undone.told(7).unwrap();
        for line in [
            "    2  stop it first: a, c\n       do that",
            "    1  name a miner: b\n",
            "    2  Something broke on the rig: Permission denied (os error 13): d, e\n",
            "    1  Something broke on the rig: f\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        assert!(!told.contains('\u{1b}'), "{told}");
    }

    #[test]
    fn of_more_reasons_than_anybody_reads_only_the_kind_is_told() {
        let mut undone = Undone::default();
        for number in 0..20_u8 {
            let peer = format!("rig-{number:02}");
            let last = char::from(b'a' + number);
            undone.add(peer.clone(), &refused(Code::MinerUnavailable, &peer, &format!("its last line: {last}")));
        }
        for peer in ["x", "y"] {
            undone.add(peer.into(), &refused(Code::Conflict, peer, "stop it first"));
        }
        let told = undone.told(22).unwrap();
        let lines: Vec<_> = told.lines().filter(|line| !line.ends_with("do that")).collect();
        assert_eq!(lines.len(), 1 + REASONS + 1, "{told}");
        let (most, next) = (lines[1], lines[2]);
        assert!(most.starts_with(&format!("   13  {}: rig-07, ", Code::MinerUnavailable.title())), "{most}");
        assert_eq!(next, "    2  stop it first: x, y");
    }

    #[test]
    fn of_many_reasons_those_that_differ_in_numbers_are_one() {
        let told = |count: usize| {
            let mut undone = Undone::default();
            for number in 0..count {
                let peer = format!("rig-{number}");
                let last = format!("its last line: [2026-12-04 10:{:02}:{number}] no pool", 10 + number);
                undone.add(peer.clone(), &refused(Code::MinerUnavailable, &peer, &last));
            }
            undone.told(count).unwrap()
        };
        let eight = told(REASONS);
        assert!(!eight.contains("the like") && eight.matches("no pool").count() == REASONS, "{eight}");
        let line = "   12  its last line: [2026-12-04 10:10:0] no pool, or the like: rig-0, rig-1, ";
        assert!(told(12).contains(line), "{}", told(12));
    }

    #[test]
    fn of_many_orders_some_failed_only_when_not_all_did() {
        assert_eq!(together([Exit::Done, Exit::Done].into_iter()), Exit::Done);
        assert_eq!(together([Exit::Done, Exit::Unreachable].into_iter()), Exit::SomeFailed);
        assert_eq!(together([Exit::Unreachable, Exit::Unreachable].into_iter()), Exit::Unreachable);
        assert_eq!(together([Exit::NotFound, Exit::Unreachable].into_iter()), Exit::SomeFailed);
    }
}
