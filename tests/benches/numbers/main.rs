//! What all of it costs, as one table: a message, and thousands of connections, beside libp2p's stock request-response; a
//! controller while rates drift, a simulated fleet, a rig at rest, a start with many peers, and what a real XMRig loses
//! under our control.
//!
//! `cargo bench -p miner-ctrl-tests`; the names of rows behind `--bench numbers --` choose some (`wire crowd drift simulated
//! rig start hash`). The program is built first, without its dashboard. CPU is user and system time.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod crowd;
mod hash;
mod program;
mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

use miner_ctrl_protocol::Program;
use miner_ctrl_tests::bench::machine;
use miner_ctrl_tests::{fleet, stock};

/// A line of the table.
struct Row {
    what: String,
    ours: String,
    /// What it is measured against, and by how much it is exceeded.
    reference: Option<(String, f64)>,
    must: &'static str,
    met: bool,
}

impl Row {
    fn new(what: impl Into<String>, ours: String, must: &'static str) -> Self {
        Self { what: what.into(), ours, reference: None, must, met: true }
    }

    /// Whether what it must reach is reached; a table in which something is missed says so.
    const fn met(mut self, met: bool) -> Self {
        self.met = met;
        self
    }

    fn against(mut self, reference: String, ratio: f64) -> Self {
        self.reference = Some((reference, ratio));
        self
    }
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == wire::SIMULATE) {
        // The stand-in makes a runtime of its own.
        return miner_ctrl::simulate::run(Program::Xmrig, &words[3..]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run());
    ExitCode::SUCCESS
}

async fn run() {
    if let Ok(of) = std::env::var(fleet::WORKERS_OF) {
        return fleet::be_workers(&of).await;
    }
    if let Ok(of) = std::env::var(stock::RIGS_OF) {
        return stock::be_rigs(&of).await;
    }
    if let Ok(stack) = std::env::var(crowd::STACK) {
        return crowd::be_controller(&stack).await;
    }
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    program::build();
    println!("{}", machine());
    println!();
    println!("| measure | ours | reference | ours / reference | must reach |");
    println!("|---|---|---|---|---|");
    if wanted("wire") {
        // A task of the runtime asks, as a node's gateway does: the thread that waits for all of it would be woken by
        // another one for each answer.
        show(tokio::spawn(wire::rows()).await.expect("the rows"));
    }
    if wanted("crowd") {
        show(crowd::rows());
    }
    if wanted("drift") {
        show(program::drift().await);
    }
    if wanted("simulated") {
        show(program::simulated().await);
    }
    if wanted("rig") {
        show(program::rig().await);
    }
    if wanted("start") {
        show(program::start().await);
    }
    if wanted("hash") {
        show(hash::loss().await);
    }
}

/// Each row as soon as it is known: the whole takes minutes.
fn show(rows: Vec<Row>) {
    for Row { what, ours, reference, must, met } in rows {
        let (reference, ratio) = reference
            .map_or_else(|| ("–".to_owned(), "–".to_owned()), |(reference, ratio)| (reference, format!("{ratio:.2}")));
        println!("| {what} | {ours} | {reference} | {ratio} | {must}{} |", if met { "" } else { ": **missed**" });
    }
}
