//! `miner-ctrl profile …`.

use std::convert::identity;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use miner_ctrl_protocol::profile::Pool;
use miner_ctrl_protocol::{ProfileDraft, ProfileName, Program};
use serde_json::{Value, json};

use crate::cli::app::ask_once;
use crate::cli::engine::Engine;
use crate::cli::peer::asked;
use crate::cli::render::Output;
use crate::cli::{Exit, Failure, editor, view};
use crate::control::{ClientError, segment};
use crate::miners::xmrig_import::import_xmrig;

/// Largest file read: a mining program's configuration has a few kilobytes.
const FILE_LIMIT: u64 = 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Store a new profile on this node.
    Add(Box<Add>),
    /// Change a profile in an editor ($VISUAL, $EDITOR).
    Edit {
        /// Its name.
        name: ProfileName,
    },
    /// Make a profile of XMRig's config.json.
    Import {
        /// The file; `-` is stdin.
        file: PathBuf,
        /// What to call it.
        #[arg(long)]
        name: ProfileName,
    },
    /// List this node's profiles.
    List,
    /// Forget a profile of this node. Rigs that have it keep it.
    Remove {
        /// Its name.
        name: ProfileName,
    },
    /// Show a profile as JSON, without its passwords.
    Show {
        /// Its name.
        name: ProfileName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What to call it.
    name: ProfileName,
    /// xmrig or tt-miner.
    #[arg(long)]
    program: Program,
    /// Algorithm by the program's own name, e.g. `rx/0`.
    #[arg(long, conflicts_with = "coin")]
    algorithm: Option<String>,
    /// Coin by the program's own name, e.g. `monero`, in place of the algorithm.
    #[arg(long)]
    coin: Option<String>,
    /// Pool as `host:port`; repeatable, the first has priority.
    #[arg(long = "pool", required = true, value_name = "HOST:PORT")]
    pools: Vec<String>,
    /// Wallet address or pool login.
    #[arg(long)]
    wallet: String,
    /// Pool password. Others on this machine can read it while the command runs: prefer --password-file.
    #[arg(long, conflicts_with = "password_file")]
    password: Option<String>,
    /// File with the pool password in its first line; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Worker name at the pool; `{name}` becomes the rig's name.
    #[arg(long)]
    rig_name: Option<String>,
    /// TLS to every pool.
    #[arg(long)]
    tls: bool,
    /// SHA-256 of the pool's certificate, 64 hexadecimal digits; for one pool, with --tls.
    #[arg(long, value_name = "HEX", requires = "tls")]
    fingerprint: Option<String>,
    /// CPU threads; left out, the program decides.
    #[arg(long, value_name = "N", conflicts_with = "threads_hint")]
    threads: Option<u32>,
    /// Percent of the CPU's threads.
    #[arg(long, value_name = "PERCENT")]
    threads_hint: Option<u8>,
    /// Huge pages: true or false; left out, the program decides.
    #[arg(long, value_name = "BOOL")]
    huge_pages: Option<bool>,
    /// Extra argument for the program, written with `=`; repeatable.
    #[arg(long = "argument", value_name = "ARGUMENT", allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) async fn run<E: Engine>(command: ProfileCommand, engine: &E, output: &mut Output) -> Result<Exit, Failure> {
    match command {
        ProfileCommand::Add(add) => {
            let draft = draft(*add)?;
            store(&draft, by_flag, engine, output).await
        }
        ProfileCommand::Edit { name } => edit(&name, engine, output).await,
        ProfileCommand::Import { file, name } => {
            let what = || format!("cannot import {}", file.display());
            let (imported, notes) = import_xmrig(&read(&file)?, name)
                .map_err(|why| Failure::new(Exit::Usage, "not-a-configuration", what()).caused_by(&why))?;
            for note in notes {
                output.note(&note);
            }
            store(&imported, identity, engine, output).await
        }
        ProfileCommand::List => {
            let answer = ask_once(engine, output, async |client| client.fetch("/profiles").await).await?;
            let profiles: Vec<ProfileDraft> = asked("cannot list profiles", answer)?;
            let width = output.width();
            output.data(&profiles, || view::profiles(&profiles, width))?;
            Ok(Exit::Done)
        }
        ProfileCommand::Remove { name } => {
            let path = path_of(&name);
            let answer = ask_once(engine, output, async |client| client.call("DELETE", &path, None).await).await?;
            asked(format!("cannot remove the profile `{name}`"), answer)?;
            output.data(&json!({ "removed": name }), || format!("removed {name}"))?;
            Ok(Exit::Done)
        }
        ProfileCommand::Show { name } => {
            let profile = stored(&name, &format!("cannot show the profile `{name}`"), engine, output).await?;
            output.json(&profile)?;
            Ok(Exit::Done)
        }
    }
}

fn path_of(name: &ProfileName) -> String {
    format!("/profiles/{}", segment(name.as_str()))
}

async fn stored<E: Engine>(
    name: &ProfileName,
    what: &str,
    engine: &E,
    output: &Output,
) -> Result<ProfileDraft, Failure> {
    let path = path_of(name);
    asked(what, ask_once(engine, output, async |client| client.fetch(&path).await).await?)
}

async fn store<E: Engine>(
    draft: &ProfileDraft,
    told: fn(ClientError) -> ClientError,
    engine: &E,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let what = format!("cannot store the profile `{}`", draft.name);
    let body = json!(draft);
    let answer = ask_once(engine, output, async |client| client.send("POST", "/profiles", Some(&body)).await).await?;
    let stored: ProfileDraft = asked(what, answer.map_err(told))?;
    output.data(&stored, || format!("stored {}", stored.name))?;
    Ok(Exit::Done)
}

/// A value that cannot be taken, by the flag that was typed.
fn by_flag(mut error: ClientError) -> ClientError {
    if let ClientError::Problem(problem) = &mut error
        && let [wrong] = problem.errors.as_slice()
    {
        // Where one of two may be given, the other has a flag as well.
        let detail = wrong.detail.replacen("or coin ", "or --coin ", 1);
        problem.detail = format!("{} {detail}", flag(&wrong.pointer));
    }
    error
}

/// The flag that fills the field to which a pointer such as `#/pools/0/url` leads.
fn flag(pointer: &str) -> String {
    let steps: Vec<&str> = pointer.trim_start_matches("#/").split('/').collect();
    let (flag, place) = match steps[..] {
        ["pools"] => ("--pool", "0"),
        ["pools", place, "url"] => ("--pool", place),
        ["arguments"] => ("--argument", "0"),
        ["arguments", place] => ("--argument", place),
        // It may have come from a file.
        ["password"] => return "the password".to_owned(),
        [.., field] => return format!("--{}", field.replace('_', "-")),
        // What was split has a part.
        [] => return String::new(),
    };
    match place.parse::<usize>() {
        Ok(place) if place > 0 => format!("{flag} (number {})", place + 1),
        _ => flag.to_owned(),
    }
}

async fn edit<E: Engine>(name: &ProfileName, engine: &E, output: &mut Output) -> Result<Exit, Failure> {
    let what = format!("cannot edit the profile `{name}`");
    let profile = stored(name, &what, engine, output).await.map_err(|failure| {
        match editor::kept(engine.data_dir(), name).filter(|_| failure.exit == Exit::NotFound) {
            Some(path) => failure.hint(format!("the text of an earlier edit is kept in {}", path.display())),
            None => failure,
        }
    })?;
    let mut sheet = editor::Sheet::open(engine.data_dir(), &profile)?;
    if sheet.is_resumed() {
        output.note(&format!("going on with what was kept in {}", sheet.path().display()));
    }
    let text = sheet.edit(&editor::chosen()).await?;
    tokio::spawn(editor::end_by_keys());
    if text.trim().is_empty() {
        sheet.discard();
        return Err(Failure::new(Exit::Usage, "empty", &what).because("the text is empty").hint("nothing was changed"));
    }
    let kept = |failure: Failure| {
        let again =
            format!("your text is kept: `miner-ctrl profile edit {name}` goes on with it; emptied, it begins anew");
        let hint = failure.hint.clone().map_or_else(|| again.clone(), |hint| format!("{hint}; {again}"));
        failure.hint(hint)
    };
    let body: Value = serde_json::from_str(&text)
        .map_err(|error| kept(Failure::new(Exit::Usage, "not-json", &what).caused_by(&error)))?;
    let path = path_of(name);
    let stored: ProfileDraft = ask_once(engine, output, async |client| {
        // A person was at it for minutes: what somebody else changed meanwhile is not replaced unread.
        let now: ProfileDraft = asked(&what, client.fetch(&path).await).map_err(&kept)?;
        sheet.check(&now)?;
        asked(&what, client.send("PUT", &path, Some(&body)).await).map_err(&kept)
    })
    .await
    .map_err(&kept)??;
    sheet.discard();
    output.data(&stored, || format!("stored {}", stored.name))?;
    Ok(Exit::Done)
}

fn draft(add: Add) -> Result<ProfileDraft, Failure> {
    if add.fingerprint.is_some() && add.pools.len() > 1 {
        let what = format!("cannot make the profile `{}`", add.name);
        return Err(Failure::new(Exit::Usage, "invalid", what)
            .because("one fingerprint cannot fit several pools")
            .hint("add the profile with one pool, then add the others with `miner-ctrl profile edit`"));
    }
    let password = match &add.password_file {
        Some(file) => Some(password_of(file)?),
        None => add.password,
    };
    let pool = |url| Pool { url, tls: add.tls, fingerprint: add.fingerprint.clone(), ..Pool::default() };
    Ok(ProfileDraft {
        name: add.name,
        program: add.program,
        algorithm: add.algorithm,
        coin: add.coin,
        pools: add.pools.into_iter().map(pool).collect(),
        wallet: add.wallet,
        password,
        rig_name: add.rig_name,
        threads: add.threads,
        threads_hint: add.threads_hint,
        huge_pages: add.huge_pages,
        arguments: add.arguments,
    })
}

/// The first line of a file. An empty one is a mistake, such as a stdin that is closed: no password needs no file.
fn password_of(file: &Path) -> Result<String, Failure> {
    let untaken = |why: &str| {
        Failure::new(Exit::Usage, "no-password", format!("cannot take a password from {}", file.display()))
            .because(why)
            .hint("write the password there; for a pool that needs none leave the option out")
    };
    let text = String::from_utf8(read(file)?).map_err(|_| untaken("it is not UTF-8"))?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(untaken("its first line is empty")),
    }
}

/// A small file, or stdin.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let unread = |why: &dyn std::error::Error| {
        Failure::new(Exit::Usage, "unreadable-file", format!("cannot read {}", path.display())).caused_by(why)
    };
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| unread(&error))?)
    };
    let mut bytes = Vec::new();
    let length = source.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
    if length as u64 > FILE_LIMIT {
        return Err(unread(&io::Error::other(format!("it is larger than {FILE_LIMIT} bytes"))));
    }
    Ok(bytes)
}
