//! `miner-ctrl peer …`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use miner_ctrl_dashboard::node::{AddPeer, Added, PeerChange, PeerView, PendingView, Pinged};
use miner_ctrl_protocol::{NodeName, Permission, Role};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cli::app::{ask_once, connect};
use crate::cli::render::{Output, still};
use crate::cli::{Engine, Exit, Failure, view};
use crate::control::{Client, ClientError, segment};
use crate::store::clock::unix_now;

/// Pause between two looks at something that changes by a person's hand.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Pause between two pings of one command, as `ping` has it.
const PING_PAUSE: Duration = Duration::from_secs(1);

/// Pause between two looks of `--watch`.
pub(crate) const WATCH_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// Pair with the node at an address.
    Add(Add),
    /// Admit a node that waits.
    Approve {
        /// Its words, or its id.
        #[arg(required = true, value_name = "WORDS|ID")]
        request: Vec<String>,
        /// What it may ask of this node: none, view or control. Left out, by the roles.
        #[arg(long)]
        permission: Option<Permission>,
    },
    /// Turn a node away that waits.
    Deny {
        /// Its words, or its id.
        #[arg(required = true, value_name = "WORDS|ID")]
        request: Vec<String>,
    },
    /// List paired nodes.
    List {
        /// Keep showing; with json, one document for each change.
        #[arg(long)]
        watch: bool,
    },
    /// List nodes that wait for approval.
    Pending,
    /// Say what a peer may ask of this node: none, view or control.
    Permit {
        /// Whole name, or id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        peer: String,
        /// none, view or control.
        permission: Permission,
    },
    /// Measure the way to a peer and back, through every layer.
    Ping {
        /// Whole name, or id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        peer: String,
        /// How often.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,
    },
    /// Forget a peer and cut it off.
    Remove {
        /// Whole name, or id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        peer: String,
    },
    /// Call a peer something else.
    Rename {
        /// Whole name, or id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        peer: String,
        /// Its new name.
        name: NodeName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// `host`, `host:port` or a multiaddr, with or without `/p2p/…`.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    address: String,
    /// What to call it; left out, the name it gives itself.
    #[arg(long)]
    name: Option<NodeName>,
    /// The code that it shows (`miner-ctrl pair` there); left out, its operator approves.
    #[arg(long)]
    code: Option<String>,
    /// What it may ask of this node: none, view or control. Left out, by the roles.
    #[arg(long)]
    permission: Option<Permission>,
    /// How long to wait for approval; 0: do not wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(..=86_400))]
    wait: u64,
}

impl PeerCommand {
    /// Whether it is about strangers, who come to a running node only, or goes on and on: a node that was started for a
    /// command keeps every other one out.
    const fn needs_running(&self) -> bool {
        matches!(self, Self::Approve { .. } | Self::Deny { .. } | Self::List { watch: true } | Self::Pending)
    }
}

pub(crate) async fn run<E: Engine>(command: PeerCommand, engine: &E, output: &mut Output) -> Result<Exit, Failure> {
    match command {
        // Between their questions they wait. A node that was started for a question ends with it.
        PeerCommand::Add(command) => add(command, engine, output).await,
        PeerCommand::Ping { peer, count } => ping(&peer, count, engine, output).await,
        command => {
            let connection = connect(engine, command.needs_running(), output).await?;
            let done = ask(command, &connection.client, output).await;
            connection.close(output).await;
            done
        }
    }
}

async fn ask(command: PeerCommand, client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    match command {
        PeerCommand::Approve { request, permission } => {
            let request = request.join(" ");
            let path = format!("/peers/pending/{}/approve", segment(&request));
            let body = permission.map_or_else(|| json!({}), |permission| json!({ "permission": permission }));
            let peer: PeerView =
                asked(format!("cannot approve `{request}`"), client.send("POST", &path, Some(&body)).await)?;
            output.data(&peer, || format!("paired with {}\n{}", peer.name, view::peer(&peer)))?;
            Ok(Exit::Done)
        }
        PeerCommand::Deny { request } => {
            let request = request.join(" ");
            let path = format!("/peers/pending/{}/deny", segment(&request));
            let denied: PendingView =
                asked(format!("cannot deny `{request}`"), client.send("POST", &path, None).await)?;
            output.data(&denied, || format!("turned {} ({}) away", denied.name, denied.id))?;
            Ok(Exit::Done)
        }
        PeerCommand::List { watch } => list(watch, client, output).await,
        PeerCommand::Pending => {
            let pending: Vec<PendingView> = asked("cannot list who waits", client.fetch("/peers/pending").await)?;
            let width = output.width();
            output.data(&pending, || view::pending(&pending, width))?;
            Ok(Exit::Done)
        }
        // They are asked question by question.
        PeerCommand::Add(_) | PeerCommand::Ping { .. } => Ok(Exit::Done),
        PeerCommand::Permit { peer, permission } => {
            let change = PeerChange { permission: Some(permission), ..PeerChange::default() };
            change_peer(&peer, &change, client, output).await
        }
        PeerCommand::Rename { peer, name } => {
            let change = PeerChange { name: Some(name), ..PeerChange::default() };
            change_peer(&peer, &change, client, output).await
        }
        PeerCommand::Remove { peer } => {
            let path = format!("/peers/{}", segment(&peer));
            let removed: PeerView = asked(format!("cannot remove `{peer}`"), client.send("DELETE", &path, None).await)?;
            output.data(&removed, || format!("removed {} ({})", removed.name, removed.id))?;
            Ok(Exit::Done)
        }
    }
}

async fn change_peer(peer: &str, change: &PeerChange, client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    let path = format!("/peers/{}", segment(peer));
    let changed = client.send("PATCH", &path, Some(&json!(change))).await;
    let changed: PeerView = asked(format!("cannot change `{peer}`"), changed)?;
    output.data(&changed, || view::peer(&changed))?;
    Ok(Exit::Done)
}

async fn add<E: Engine>(add: Add, engine: &E, output: &mut Output) -> Result<Exit, Failure> {
    let what = format!("cannot pair with {}", add.address);
    let wait = Duration::from_secs(add.wait);
    let Add { address, name, code, permission, .. } = add;
    let mut body = json!(AddPeer { address, name, code, permission, peer_id: None });
    let shown: &Output = output;
    let first = async |client: &Client| shown.waiting("pairing", client.send("POST", "/peers", Some(&body))).await;
    let mut added: Added = asked(&what, ask_once(engine, shown, first).await?)?;
    if let Added::Pending { peer_id, .. } = &added {
        // The words are those of the node that answered first.
        body["peer_id"] = json!(peer_id);
    }
    let deadline = Instant::now() + wait;
    if let Added::Pending { id, words, .. } = &added
        && !wait.is_zero()
    {
        output.note(&format!(
            "waiting for approval by the operator of {id}\nthe same words must show there: {words}\n\
             there: `miner-ctrl peer pending`, then `miner-ctrl peer approve {words}`"
        ));
    }
    while let (Added::Pending { .. }, true) = (&added, Instant::now() < deadline) {
        output.waiting("waiting for approval", sleep(LOOK_AGAIN.min(deadline - Instant::now()))).await;
        match ask_once(engine, output, async |client| client.send("POST", "/peers", Some(&body)).await).await? {
            Ok(now) => added = now,
            // It may restart while its operator reads the words.
            Err(ClientError::Problem(problem)) if Exit::of_code(&problem.code) == Exit::Unreachable => {}
            Err(error) => return Err(Failure::asking(what, error)),
        }
    }
    match &added {
        Added::Paired { peer } => {
            output.data(&added, || format!("paired with {}\n{}", peer.name, view::peer(peer)))?;
            if peer.role == Role::Controller && peer.permission == Permission::None {
                let name = &peer.name;
                output.note(&format!(
                    "{name} may ask nothing of this node; to let it command: `miner-ctrl peer permit {name} control`"
                ));
            }
            Ok(Exit::Done)
        }
        Added::Pending { id, words, .. } if wait.is_zero() => {
            output.data(&added, || {
                view::labelled(&[("state", "pending".into()), ("node id", id.to_string()), ("words", words.clone())])
            })?;
            output.note(&next_step(words));
            Ok(Exit::Done)
        }
        Added::Pending { words, .. } => Err(Failure::new(Exit::Unreachable, "approval-timeout", what)
            .because(format!("nobody approved within {} s", wait.as_secs()))
            .hint(next_step(words))),
    }
}

/// What is left to do while nobody has approved.
fn next_step(words: &str) -> String {
    format!("there: `miner-ctrl peer approve {words}`; then run the same command again")
}

async fn list(watch: bool, client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    watched(watch, "cannot list peers", client, "/peers", output, |value, now, width| {
        let peers: Vec<PeerView> = serde_json::from_value(value.clone())?;
        Ok(view::peers(&peers, now, width))
    })
    .await
}

/// Shows an answer once, or again and again until the reader goes.
pub(crate) async fn watched(
    watch: bool,
    what: &str,
    client: &Client,
    path: &str,
    output: &mut Output,
    text: impl Fn(&mut Value, u64, Option<usize>) -> serde_json::Result<String>,
) -> Result<Exit, Failure> {
    let mut shown = None;
    let mut away = false;
    loop {
        let mut value = match asked(what, output.waiting("asking the node", client.get(path)).await) {
            // One who watches stays through a restart of the node, as one who follows a console does.
            Err(failure) if shown.is_some() && failure.exit == Exit::Unreachable => {
                if !away {
                    output.note(&format!("{}; trying again until it answers", failure.causes.join(": ")));
                }
                away = true;
                sleep(WATCH_PAUSE).await;
                continue;
            }
            answer => answer?,
        };
        away = false;
        // Parsed in either format, so that an answer of another version is told and not passed on.
        let text = text(&mut value, unix_now(), output.width())
            .map_err(|error| Failure::asking(what, ClientError::Unreadable(error.to_string())))?;
        if !watch {
            output.data(&value, || text)?;
            return Ok(Exit::Done);
        }
        if output.redraws {
            output.redraw(&text)?;
        } else if shown.as_ref() != Some(&still(&value)) {
            output.item(&value, || text)?;
        }
        shown = Some(still(&value));
        sleep(WATCH_PAUSE).await;
    }
}

async fn ping<E: Engine>(peer: &str, count: u32, engine: &E, output: &mut Output) -> Result<Exit, Failure> {
    let path = format!("/peers/{}/ping", segment(peer));
    let mut times = Vec::new();
    for number in 0..count {
        if number > 0 {
            sleep(PING_PAUSE).await;
        }
        let shown: &Output = output;
        let ask = async |client: &Client| shown.waiting("pinging", client.send("POST", &path, None)).await;
        let pinged: Pinged = asked(format!("cannot ping {peer}"), ask_once(engine, shown, ask).await?)?;
        output.item(&pinged, || format!("{} ({}): {:.2} ms", pinged.name, pinged.id, pinged.round_trip_ms))?;
        times.push(pinged.round_trip_ms);
    }
    if count > 1 && !output.is_json() {
        times.sort_by(f64::total_cmp);
        let middle = (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2.0;
        let (least, most) = (times[0], times[times.len() - 1]);
        output.print(&format!("{count} answers: min {least:.2} ms, median {middle:.2} ms, max {most:.2} ms"))?;
    }
    Ok(Exit::Done)
}

/// An answer, or a failure that says what was asked.
pub(crate) fn asked<T>(what: impl Into<String>, answer: Result<T, ClientError>) -> Result<T, Failure> {
    answer.map_err(|error| Failure::asking(what, error))
}
