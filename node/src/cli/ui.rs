//! `miner-ctrl ui` and `miner-ctrl token …`: who may come in through the dashboard.

use std::io::{self, BufRead, IsTerminal};

use clap::{Args, Subcommand};
use miner_ctrl_dashboard::node::NodeInfo;
use miner_ctrl_dashboard::{NewLink, NewToken, Scope, TokenView};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Deserialize;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::cli::peer::asked;
use crate::cli::render::Output;
use crate::cli::{Exit, Failure, view};
use crate::control::{Client, segment};
use crate::store::clock::unix_now;

/// Longest line that is read as a password: longer than any that the gateway takes.
const MAX_LINE: u64 = 4096;

/// What to do about a node without a page.
const WITH_PAGE: &str = "start it with `miner-ctrl node serve --dashboard 127.0.0.1:9090`";

#[derive(Debug, Args)]
pub(crate) struct Ui {
    /// Set the dashboard's password, read from standard input, and sign all browsers out.
    #[arg(long)]
    set_password: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for a script. It is shown this once.
    Add {
        /// What to call it.
        name: String,
        /// What it may do: read, control (also command rigs) or admin (everything).
        #[arg(long, default_value = "read", value_parser = scope)]
        scope: Scope,
    },
    /// List tokens.
    List,
    /// End a token.
    Remove {
        /// Its name or its id.
        token: String,
    },
}

/// What is asked of `GET /access` here.
#[derive(Debug, Deserialize)]
struct Access {
    tokens: Vec<TokenView>,
}

fn scope(word: &str) -> Result<Scope, String> {
    word.parse().map_err(|why| format!("`{word}` {why}"))
}

impl Ui {
    /// A link is worth nothing without a page.
    pub(crate) const fn needs_running(&self) -> bool {
        !self.set_password
    }

    /// The new password, when one is to be set.
    pub(crate) fn password(&self, output: &mut Output) -> Result<Option<String>, Failure> {
        if self.set_password { password(output).map(Some) } else { Ok(None) }
    }
}

/// Sets the password, or without one makes a link.
pub(crate) async fn ui(password: Option<String>, client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    if let Some(password) = password {
        let body = json!({ "password": password });
        asked("cannot set the password", client.call("PUT", "/access/password", Some(&body)).await)?;
        output.data(&json!({ "password_set": true }), || {
            "the password is set; all browsers are signed out\n".to_owned()
        })?;
        return Ok(Exit::Done);
    }
    let link: NewLink = asked("cannot make a link", client.send("POST", "/access/links", None).await)?;
    let Some(page) = &link.page else {
        return Err(Failure::new(Exit::Refused, "no-dashboard", "cannot make a link")
            .because("this node serves no dashboard")
            .hint(WITH_PAGE));
    };
    let url = format!("{page}/{}", link.fragment);
    let document = json!({ "link": url, "expires_at": link.expires_at, "certificate": link.certificate });
    output.data(&document, || {
        let mut text = format!("{url}\nIt signs one browser in, once, within ten minutes.\n");
        if let Some(sha256) = &link.certificate {
            text += &format!("If the browser warns, compare the certificate's SHA-256 before going on:\n{sha256}\n");
        }
        text
    })?;
    Ok(Exit::Done)
}

pub(crate) async fn token(command: TokenCommand, client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Add { name, scope } => {
            let body = json!({ "name": name, "scope": scope });
            let made = client.send::<NewToken>("POST", "/access/tokens", Some(&body)).await;
            let made = asked(format!("cannot make the token `{name}`"), made)?;
            // Alone on stdout, so that it can go into a file.
            output.data(&made, || format!("{}\n", made.token))?;
            if !output.is_json() {
                output.note(&format!("It is not shown again. It may: {}.", made.view.scope.as_str()));
                // What only runs for this command does not know whether the one that serves will have a page.
                if let Ok(NodeInfo { serving: true, dashboard: None, .. }) = client.fetch("/node/info").await {
                    output.note(&format!("This node serves no dashboard, where it would be sent to: {WITH_PAGE}."));
                }
            }
        }
        TokenCommand::List => {
            let access: Access = asked("cannot list tokens", client.fetch("/access").await)?;
            let width = output.width();
            output.data(&access.tokens, || view::tokens(&access.tokens, unix_now(), width))?;
        }
        TokenCommand::Remove { token } => {
            let path = format!("/access/tokens/{}", segment(&token));
            asked(format!("cannot remove the token `{token}`"), client.call("DELETE", &path, None).await)?;
            output.data(&json!({ "removed": token }), || format!("removed the token {token}\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// A line of standard input. A terminal does not show it while it is typed.
fn password(output: &mut Output) -> Result<String, Failure> {
    let stdin = io::stdin();
    let hidden = if stdin.is_terminal() {
        output.note("New password (10 characters or more; it is not shown):");
        Hidden::begin()
    } else {
        None
    };
    let mut line = String::new();
    let read = io::Read::take(stdin.lock(), MAX_LINE).read_line(&mut line);
    drop(hidden);
    read.map_err(|error| Failure::new(Exit::Error, "not-read", "cannot read the password").caused_by(&error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// While it lives, the terminal shows nothing of what is typed.
struct Hidden {
    before: Termios,
    /// Whoever is at the terminal may end the program meanwhile.
    ends: JoinHandle<()>,
}

impl Hidden {
    fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        let ends = tokio::spawn(end_by_signal(before.clone()));
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).ok()?;
        Some(Self { before, ends })
    }
}

/// Ends the program as the signal would, with the terminal as it was.
async fn end_by_signal(before: Termios) {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return };
    let number = tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
    };
    show_again(&before);
    std::process::exit(128 + number);
}

fn show_again(before: &Termios) {
    // A terminal that is gone needs nothing back.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

impl Drop for Hidden {
    fn drop(&mut self) {
        self.ends.abort();
        show_again(&self.before);
    }
}
