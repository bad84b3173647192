//! `miner-ctrl node …` and `miner-ctrl pair`.

use std::process;

use clap::{Args, Subcommand};
use miner_ctrl_dashboard::node::{Initialised, NodeInfo};
use miner_ctrl_protocol::{NodeName, Role};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cli::engine::{Engine, Made, ServeOptions, Serving};
use crate::cli::render::Output;
use crate::cli::stops::Stops;
use crate::cli::{Exit, Failure, view};
use crate::control::{Client, ClientError};

/// Set to `1`, a link is printed although nobody looks at a terminal: for `docker compose up`.
const PRINT_LINK: &str = "MINER_CTRL_PRINT_LINK";

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Say whether a node runs here and serves: exit code 0 if so, 6 if not. For health checks.
    Health,
    /// Describe this node.
    Info,
    /// Make this machine a node: create its identity.
    Init(Init),
    /// Run the node until it is stopped.
    Serve(ServeOptions),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// What to call it: letters, digits, `-`, `_`, `.`.
    #[arg(long)]
    name: NodeName,
    /// controller (commands others), worker (mines) or dual (both). Left out: dual, or what this node is already.
    #[arg(long)]
    role: Option<Role>,
}

pub(crate) async fn init<E: Engine>(engine: &E, init: Init, output: &mut Output) -> Result<Exit, Failure> {
    let Init { name, role } = init;
    engine.check_socket()?;
    let client = Client::Socket(engine.socket());
    let (Made { info, already }, running) = match client.check().await {
        Ok(()) => named(&client, name, role).await?,
        Err(ClientError::NoNode { .. }) => match engine.init(name.clone(), role).await {
            // A node was just starting: it can be asked by now.
            Err(_) if client.check().await.is_ok() => named(&client, name, role).await?,
            made => (made?, None),
        },
        Err(error) => return Err(Failure::reaching("cannot ask the node", error)),
    };
    output.data(&info, || view::node(&info, None))?;
    if already {
        output.note(&format!("already node {}", info.name));
    }
    if let Some(running) = running {
        output.note(&format!("{running} goes by it from its next start on: stop it, and start it again"));
    }
    Ok(Exit::Done)
}

/// Names the node that runs; gives what it goes by until it is started anew, where that is something else.
async fn named(client: &Client, name: NodeName, role: Option<Role>) -> Result<(Made, Option<String>), Failure> {
    let failed = |error| Failure::asking("cannot name this node", error);
    let body = json!({ "name": name, "role": role });
    let before = client.fetch::<NodeInfo>("/node/info").await.map_err(failed)?;
    let named = client.send::<Initialised>("POST", "/node/init", Some(&body)).await.map_err(failed)?;
    let running = named.restart_needed.then(|| format!("the node that runs as {} ({})", before.name, before.role));
    let already = !named.restart_needed;
    Ok((Made { info: NodeInfo { name: named.name, role: named.role, ..before }, already }, running))
}

pub(crate) async fn info<E: Engine>(client: &Client, engine: &E, output: &mut Output) -> Result<Exit, Failure> {
    let asked = client.fetch::<NodeInfo>("/node/info").await;
    let info = asked.map_err(|error| Failure::asking("cannot describe this node", error))?;
    let socket = engine.socket().display().to_string();
    output.data(&info, || view::node(&info, info.serving.then_some(socket.as_str())))?;
    Ok(Exit::Done)
}

pub(crate) async fn health(client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    let asked = client.get("/ready").await;
    let ready = asked.map_err(|error| Failure::asking("the node does not serve", error))?;
    output.data(&ready, || "ready\n".to_owned())?;
    Ok(Exit::Done)
}

pub(crate) async fn pair(client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    let asked = client.send::<Value>("POST", "/node/pairing-code", None).await;
    let answer = asked.map_err(|error| Failure::asking("cannot show a pairing code", error))?;
    let code = answer["code"].as_str().unwrap_or_default();
    output.data(&json!({"code": code}), || view::labelled(&[("pairing code", code.to_owned())]))?;
    Ok(Exit::Done)
}

pub(crate) async fn serve<E: Engine>(
    engine: &E,
    mut options: ServeOptions,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let mut stops = Stops::new()?;
    // To a person, or where one was asked for: a link in a log file would let in whoever reads that.
    options.link |= output.redraws || std::env::var_os(PRINT_LINK).is_some_and(|value| value == "1");
    let stop = CancellationToken::new();
    let mut starting = std::pin::pin!(engine.serve(options, stop.clone()));
    let early = tokio::select! {
        serving = &mut starting => Some(serving?),
        () = stops.next() => None,
    };
    let Some(mut serving) = early else {
        // One that waits for a command to end stops at once. Else miners that it has taken over by now would go on
        // without it: it starts, and stops them.
        stop.cancel();
        let serving = tokio::select! {
            serving = starting => serving?,
            () = stops.interrupted() => end_at_once(),
        };
        return stopped(serving, &stop, &mut stops).await;
    };
    let socket = engine.socket().display().to_string();
    let mut document = json!(serving.info);
    document["control"] = socket.clone().into();
    if let Some(link) = &serving.link {
        document["link"] = link.clone().into();
    }
    // A node whose starter closed stdout serves all the same.
    let _ = output.item(&document, || {
        let mut text = view::node(&serving.info, Some(&socket));
        if let Some(link) = &serving.link {
            text += &view::labelled(&[("sign in once", link.clone())]);
        }
        text
    });
    tokio::select! {
        ended = &mut serving.ended => return ended.map(|()| Exit::Done),
        () = stops.next() => {}
    }
    stopped(serving, &stop, &mut stops).await
}

async fn stopped(serving: Serving, stop: &CancellationToken, stops: &mut Stops) -> Result<Exit, Failure> {
    stop.cancel();
    tokio::select! {
        ended = serving.ended => ended.map(|()| Exit::Done),
        // Whoever presses Ctrl-C once more cannot wait for the order of the stop.
        () = stops.interrupted() => end_at_once(),
    }
}

fn end_at_once() -> ! {
    process::exit(Exit::Error.number().into())
}
