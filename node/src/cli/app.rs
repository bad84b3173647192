//! From arguments to an exit code.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use futures::future::BoxFuture;
use miner_ctrl_protocol::Program;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::engine::Engine;
use crate::cli::lines::Lines;
use crate::cli::render::{Format, Output};
use crate::cli::{Exit, Failure, demo, doctor, exit, fleet, node, peer, profile, remote, ui};
use crate::control::{Client, ClientError};
use crate::engine::ThisMachine;
use crate::simulate::ALGORITHMS;

/// How long threads that still read a terminal may hold up the end of the process.
const LAST_WAIT: Duration = Duration::from_millis(200);

/// In each command's help, what all commands take stands behind what is its own.
const LAST: usize = 100;

/// Control of many mining rigs over an encrypted peer-to-peer mesh.
#[derive(Debug, Parser)]
#[command(name = "miner-ctrl", version, after_help = exit::HELP, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Directory for configuration and data; left out, the one that MINER_CTRL_HOME names.
    #[arg(long, global = true, value_name = "DIR", display_order = LAST)]
    home: Option<PathBuf>,
    /// What stdout speaks; with json, errors are JSON on stderr.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT", display_order = LAST)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a completion script for a shell.
    Completions { shell: clap_complete::Shell },
    /// Show the main job on this machine: a controller, two rigs, simulated miners.
    Demo(demo::Demo),
    /// Look for what is wrong on this machine, and say what to do.
    Doctor,
    /// This node: create, run, describe.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Show a new pairing code, for `peer add --code` on a controller.
    Pair,
    /// Other nodes: pair, list, remove.
    #[command(subcommand)]
    Peer(peer::PeerCommand),
    /// What to mine: stored on this node, sent to rigs.
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
    /// Rigs and their miners: status, start, stop, logs.
    #[command(subcommand)]
    Remote(remote::RemoteCommand),
    /// Tokens: let scripts use the dashboard's API.
    #[command(subcommand)]
    Token(ui::TokenCommand),
    /// Make a link that signs a browser in to the dashboard, once.
    Ui(ui::Ui),
    /// Run what is not there: a fleet of rigs, a pool, a mining program.
    #[command(subcommand)]
    Simulate(Simulated),
}

/// An external subcommand takes every argument behind it as it is; ours (`-o`) would swallow the program's.
#[derive(Debug, Subcommand)]
enum Simulated {
    /// Run thousands of rigs in this process, with a controller of their own or with yours.
    Fleet(fleet::Fleet),
    /// A mining pool for XMRig that verifies nothing, takes every share and pays nothing.
    Pool(SimulatedPool),
    #[command(external_subcommand)]
    Program(Vec<OsString>),
}

#[derive(Debug, Args)]
struct SimulatedPool {
    /// Where it listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3333")]
    listen: String,
    /// Algorithm of its jobs, by XMRig's name. Of another one no miner would take a job.
    #[arg(long, default_value = "cn-pico", value_parser = PossibleValuesParser::new(ALGORITHMS))]
    algorithm: String,
    /// Hashes that a share takes on average.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    difficulty: u32,
}

/// A way to a node, and what is left to do when the command is over.
pub(crate) struct Connection {
    pub(crate) client: Client,
    close: Option<BoxFuture<'static, ()>>,
}

/// The program: reads its arguments, does it, says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    start::<ThisMachine>(std::env::args_os())
}

/// The program over any node.
#[must_use]
pub fn start<E: Engine>(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && asks_for_json(&arguments) => {
            return Output::standard(Format::Json).failure(&not_understood(&error)).into();
        }
        Err(error) => {
            // Help or an error, to stdout or stderr; whoever closed that does not want it.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    match &cli.command {
        Command::Simulate(Simulated::Pool(pool)) => return simulate_pool::<E>(pool, cli.output),
        Command::Simulate(Simulated::Program(words)) => return simulate::<E>(words, cli.output),
        _ => {}
    }
    log(matches!(cli.command, Command::Node(node::NodeCommand::Serve(_))));
    let mut output = Output::standard(cli.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Exit::Error, "no-runtime", "cannot start").caused_by(&error);
            return output.failure(&failure).into();
        }
    };
    let exit = runtime.block_on(run::<E>(cli, &mut output));
    runtime.shutdown_timeout(LAST_WAIT);
    exit.into()
}

/// Whether arguments that are not understood ask for JSON all the same. By their words: what clap makes of the rest is
/// nothing that it promises.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let words: Vec<_> = arguments.iter().skip(1).map_while(|word| word.to_str().filter(|word| *word != "--")).collect();
    let joined = |word: &str| ["-ojson", "-o=json", "--output=json"].contains(&word);
    let apart = |pair: &[&str]| matches!(pair, ["-o" | "--output", "json"]);
    words.iter().copied().any(joined) || words.windows(2).any(apart)
}

/// What clap says, as a failure: its first paragraph is what is wrong, the next ones are advice.
fn not_understood(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut paragraphs = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty());
    let first = paragraphs.next().unwrap_or_default();
    let why = match error.kind() {
        // A group of commands without one of them: its help comes instead of an error.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command is given",
        _ => first.strip_prefix("error: ").unwrap_or(&first),
    };
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned));
    Failure::new(Exit::Usage, "usage", "cannot take the command line").because(why).hint(
        tip.unwrap_or_else(|| "`miner-ctrl --help` lists the commands, and each has a `--help` of its own".to_owned()),
    )
}

/// One command from its arguments to its exit code.
pub(crate) async fn run<E: Engine>(cli: Cli, output: &mut Output) -> Exit {
    match carry_out::<E>(cli, output).await {
        Ok(exit) => exit,
        Err(failure) => output.failure(&failure),
    }
}

async fn carry_out<E: Engine>(cli: Cli, output: &mut Output) -> Result<Exit, Failure> {
    let home = given_home(cli.home, std::env::var_os("MINER_CTRL_HOME"));
    let open = || E::open(home.as_deref());
    match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "miner-ctrl", &mut script);
            // clap_complete takes the hyphen of our name for a step to a subcommand in one of two places (seen in 4.6).
            let script = String::from_utf8_lossy(&script).replace("miner__subcmd__ctrl", "miner__ctrl");
            output.print(&script)?;
            Ok(Exit::Done)
        }
        Command::Demo(demo) => Box::pin(demo::demo::<E>(demo, output)).await,
        Command::Doctor => doctor::run(&open()?, output).await,
        Command::Node(node::NodeCommand::Init(init)) => node::init(&open()?, init, output).await,
        Command::Node(node::NodeCommand::Serve(serve)) => node::serve(&open()?, serve, output).await,
        Command::Simulate(Simulated::Fleet(fleet)) => Box::pin(fleet::fleet::<E>(fleet, home.as_deref(), output)).await,
        // Handled before there is a runtime.
        Command::Simulate(Simulated::Pool(_) | Simulated::Program(_)) => Ok(Exit::Done),
        Command::Peer(command) => peer::run(command, &open()?, output).await,
        Command::Profile(command) => profile::run(command, &open()?, output).await,
        command => {
            let engine = open()?;
            // Before there is a node: one that was started for a command must not wait for a person.
            let password = if let Command::Ui(ui) = &command { ui.password(output)? } else { None };
            let connection = connect(&engine, needs_running(&command), output).await?;
            let client = &connection.client;
            let done = match command {
                Command::Node(node::NodeCommand::Health) => node::health(client, output).await,
                Command::Node(_) => node::info(client, &engine, output).await,
                Command::Pair => node::pair(client, output).await,
                Command::Remote(command) => remote::run(command, client, output).await,
                Command::Token(command) => ui::token(command, client, output).await,
                Command::Ui(_) => ui::ui(password, client, output).await,
                Command::Completions { .. }
                | Command::Demo(_)
                | Command::Doctor
                | Command::Peer(_)
                | Command::Profile(_)
                | Command::Simulate(_) => Ok(Exit::Done),
            };
            connection.close(output).await;
            done
        }
    }
}

/// What makes no sense in a node that ends with the command: strangers come to a node that stays.
fn needs_running(command: &Command) -> bool {
    match command {
        Command::Node(command) => matches!(command, node::NodeCommand::Health),
        Command::Pair => true,
        Command::Remote(command) => command.needs_running(),
        Command::Ui(command) => command.needs_running(),
        _ => false,
    }
}

/// The home that was named; an empty variable counts as unset.
fn given_home(flag: Option<PathBuf>, variable: Option<OsString>) -> Option<PathBuf> {
    flag.or_else(|| variable.filter(|home| !home.is_empty()).map(PathBuf::from))
}

/// Asks one thing of the node. One that was started for that has ended when this returns: it keeps every other one out,
/// and must not do so while a person types, or is waited for.
pub(crate) async fn ask_once<E: Engine, T>(
    engine: &E,
    output: &Output,
    ask: impl AsyncFnOnce(&Client) -> T,
) -> Result<T, Failure> {
    let connection = connect(engine, false, output).await?;
    let answer = ask(&connection.client).await;
    connection.close(output).await;
    Ok(answer)
}

impl Connection {
    pub(crate) async fn close(self, output: &Output) {
        if let Some(close) = self.close {
            output.waiting("closing connections", close).await;
        }
    }
}

/// The running node, or one started here for the length of the command.
pub(crate) async fn connect<E: Engine>(
    engine: &E,
    needs_running: bool,
    output: &Output,
) -> Result<Connection, Failure> {
    engine.check_socket()?;
    let client = Client::Socket(engine.socket());
    match client.check().await {
        Ok(()) => Ok(Connection { client, close: None }),
        Err(ClientError::NoNode { .. }) if !needs_running => {
            match output.waiting("starting a node for this command", engine.start_for_command()).await {
                Ok(local) => Ok(Connection { client: Client::InProcess(local.router), close: Some(local.close) }),
                // The node was just starting: it has its data by now, and can be asked.
                Err(_) if client.check().await.is_ok() => Ok(Connection { client, close: None }),
                Err(failure) => Err(failure),
            }
        }
        Err(error @ ClientError::NoNode { .. }) => {
            Err(Failure::reaching("cannot ask the node", error).hint(to_start(engine)))
        }
        Err(error) => Err(Failure::reaching("cannot ask the node", error)),
    }
}

/// What starts a node here. One that `node serve` makes is dual and goes by the name of its machine: who wants another
/// hears of `node init` before.
pub(crate) fn to_start<E: Engine>(engine: &E) -> &'static str {
    if engine.key_file().symlink_metadata().is_ok() {
        "start it with `miner-ctrl node serve`"
    } else {
        "make one with `miner-ctrl node init --name NAME --role ROLE`, then start it with `miner-ctrl node serve`"
    }
}

fn simulate<E: Engine>(words: &[OsString], format: Format) -> ExitCode {
    let (name, arguments) = words.split_first().map_or((None, &[][..]), |(name, rest)| (name.to_str(), rest));
    let asked = name.unwrap_or_default();
    match asked.parse::<Program>() {
        Ok(program) => E::simulate(program, arguments),
        Err(error) => {
            let failure = Failure::new(Exit::Usage, "unknown-program", format!("cannot simulate `{asked}`"));
            Output::standard(format).failure(&failure.caused_by(&error)).into()
        }
    }
}

fn simulate_pool<E: Engine>(pool: &SimulatedPool, format: Format) -> ExitCode {
    match E::simulate_pool(&pool.listen, &pool.algorithm, pool.difficulty) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = Failure::new(Exit::Error, "no-pool", format!("cannot be a pool at {}", pool.listen));
            Output::standard(format).failure(&failure.caused_by(&error)).into()
        }
    }
}

/// What a node logs that is not told otherwise. The swarm tells its own peer id at info, which `node serve` prints already.
const SERVING: &str = "info,libp2p_swarm=warn";

/// Libraries that any peer makes talk: what it does wrong on a connection, or says of itself anew, they tell each time, a
/// hundred megabytes in a second. Who wants to hear them says so by name.
const TALKATIVE: [&str; 3] = ["libp2p_identify", "soketto", "yamux"];

/// A word alone is a level: taken for a target, as the library would, it would silence all others.
fn targets(text: &str) -> Result<Targets, String> {
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty() && !word.contains('=')) {
        word.parse::<LevelFilter>().map_err(|_| format!("`{word}` is no level"))?;
    }
    let targets: Targets = text.parse().map_err(|error: ParseError| error.to_string())?;
    let named = |library: &&str| text.split(',').any(|word| word.trim().split(['=', ':']).next() == Some(*library));
    let unnamed = TALKATIVE.into_iter().filter(|library| !named(library));
    Ok(targets.with_targets(unnamed.map(|library| (library, LevelFilter::OFF))))
}

/// To stderr, so that data stays alone on stdout.
fn log(serves: bool) {
    let fallback = if serves { SERVING } else { "warn" };
    let wanted = std::env::var("MINER_CTRL_LOG").ok().filter(|wanted| !wanted.trim().is_empty());
    let parsed = wanted.as_deref().map(targets);
    let filter = match &parsed {
        Some(Ok(filter)) => filter.clone(),
        _ => targets(fallback).unwrap_or_default(),
    };
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // Set already only when a test called this before.
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines(io::stderr)).with_ansi(colours);
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if let Some(Err(error)) = parsed {
        tracing::warn!(error, "MINER_CTRL_LOG is not understood: write e.g. `debug` or `miner_ctrl=debug,libp2p=info`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_are_not_understood_are_told_in_the_format_asked_for() {
        for (line, json, why) in [
            ("-o json pear list", true, "unrecognized subcommand 'pear'"),
            ("pear --output json", true, "unrecognized subcommand 'pear'"),
            ("peer permit rig -ojson", true, "the following required arguments were not provided: <PERMISSION>"),
            ("--output=json node serve --listn :1", true, "unexpected argument '--listn' found"),
            ("-o json peer", true, "no command is given"),
            ("pear", false, "unrecognized subcommand 'pear'"),
            ("pear -- -o json", false, "unrecognized subcommand 'pear'"),
        ] {
            let arguments: Vec<OsString> = format!("miner-ctrl {line}").split_whitespace().map(Into::into).collect();
            assert_eq!(asks_for_json(&arguments), json, "{line}");
            let failure = not_understood(&Cli::try_parse_from(&arguments).unwrap_err());
            assert_eq!(failure.causes, [why], "{line}");
            assert_eq!(failure.exit, Exit::Usage);
        }
    }

    #[test]
    fn an_empty_variable_names_no_home() {
        assert_eq!(given_home(None, Some("".into())), None);
        assert_eq!(given_home(None, Some("/b".into())), Some("/b".into()));
        assert_eq!(given_home(Some("/a".into()), Some("/b".into())), Some("/a".into()));
    }

    #[test]
    fn peers_do_not_fill_the_log() {
        for wanted in [SERVING, "debug", "info,libp2p_yamux=debug"] {
            let wanted = targets(wanted).unwrap();
            for library in ["yamux::connection", "soketto::connection", "libp2p_identify::behaviour"] {
                assert!(!wanted.would_enable(library, &tracing::Level::ERROR), "{library}");
            }
            assert!(wanted.would_enable("miner_ctrl::mesh", &tracing::Level::INFO));
        }
        let asked = targets("info,yamux=debug").unwrap();
        assert!(asked.would_enable("yamux::connection", &tracing::Level::DEBUG));
    }

    #[test]
    fn what_is_logged_is_levels_and_targets_with_one() {
        for good in ["debug", "INFO", "off", "miner_ctrl=debug,libp2p=info", "warn,libp2p_swarm=off", "info,"] {
            assert!(targets(good).is_ok(), "{good}");
        }
        for bad in ["verbose", "miner_ctrl", "debug,libp2p", "miner_ctrl=loud"] {
            assert!(targets(bad).is_err(), "{bad}");
        }
    }
}
