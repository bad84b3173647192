//! What each layer of the wire costs: one `Stats` round trip over a bare WebSocket, over libp2p's stock
//! request-response on the same WebSocket, Noise and Yamux, and over our link with SMSG, side by side in one run.
//!
//! `cargo bench -p miner-ctrl-tests --bench wire`. CPU is user and system time of the process, so of both sides.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_ctrl::miners::{MinersConfig, OnShutdown, ProgramPath, supervisor};
use miner_ctrl_protocol::codec::{self, MAX_BODY};
use miner_ctrl_protocol::message::{MinerChoice, ProfileChoice};
use miner_ctrl_protocol::{Policy, ProfileDraft, Program, Request, Response};
use miner_ctrl_tests::bench::{cpu_time, resident_bytes, stats};
use miner_ctrl_tests::{bare, fleet, stock};

/// Time given to each measurement; CPU time has a resolution of 10 ms.
const SPAN: Duration = Duration::from_secs(4);
/// Rounds; the table shows the median.
const ROUNDS: usize = 3;
/// Asked before each round, uncounted.
const WARM_UP: usize = 200;

/// Miners started for the median.
const STARTS: usize = 15;
/// This program's own verb, for being the stand-in mining program.
const SIMULATE: &str = "simulate";

type Ask = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

struct Row {
    p50: f64,
    p99: f64,
    cpu: f64,
    rate: f64,
    cpu_pipelined: f64,
}

async fn sequential(ask: &Ask) -> (f64, f64, f64) {
    let (begun, cpu) = (Instant::now(), cpu_time());
    let mut times = Vec::new();
    while begun.elapsed() < SPAN {
        let asked = Instant::now();
        ask().await;
        times.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    let cpu = (cpu_time() - cpu).as_secs_f64() * 1e6 / times.len() as f64;
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100], cpu)
}

async fn pipelined(ask: &Ask, in_flight: usize) -> (f64, f64) {
    let (begun, cpu) = (Instant::now(), cpu_time());
    let askers = (0..in_flight).map(|_| {
        let ask = Arc::clone(ask);
        tokio::spawn(async move {
            let mut count = 0_u64;
            while begun.elapsed() < SPAN {
                ask().await;
                count += 1;
            }
            count
        })
    });
    let counts = futures::future::join_all(askers).await;
    let total: u64 = counts.into_iter().map(|count| count.expect("an asker ends")).sum();
    let elapsed = begun.elapsed().as_secs_f64();
    (total as f64 / elapsed, (cpu_time() - cpu).as_secs_f64() * 1e6 / total as f64)
}

/// The medians of each stack. They take turns, round by round, so that a slow minute is none of one alone.
async fn measure<const STACKS: usize>(asks: &[Ask; STACKS]) -> [Row; STACKS] {
    let mut rounds = [const { Vec::new() }; STACKS];
    for _ in 0..ROUNDS {
        for (ask, rows) in asks.iter().zip(&mut rounds) {
            for _ in 0..WARM_UP {
                ask().await;
            }
            let (p50, p99, cpu) = sequential(ask).await;
            let (rate, cpu_pipelined) = pipelined(ask, 64).await;
            rows.push(Row { p50, p99, cpu, rate, cpu_pipelined });
        }
    }
    rounds.map(|rows| {
        let median = |value: fn(&Row) -> f64| {
            let mut values: Vec<f64> = rows.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Row {
            p50: median(|row| row.p50),
            p99: median(|row| row.p99),
            cpu: median(|row| row.cpu),
            rate: median(|row| row.rate),
            cpu_pipelined: median(|row| row.cpu_pipelined),
        }
    })
}

/// How long a command takes to a spawned process, and to its verified API, over the mesh with a stand-in XMRig.
async fn spawns() {
    let data = tempfile::tempdir().expect("a directory");
    let path = std::env::current_exe().expect("this program has a file");
    let prefix_args = vec![SIMULATE.to_owned(), Program::Xmrig.to_string()];
    let miners = supervisor::spawn(MinersConfig {
        node_name: "rig-alpha".parse().expect("a name"),
        data_dir: data.path().to_owned(),
        programs: BTreeMap::from([(Program::Xmrig, ProgramPath { path, prefix_args })]),
        policy: Policy::default(),
        on_shutdown: OnShutdown::Stop,
    })
    .await
    .expect("a supervisor");
    let mut states = miners.watch();
    let pair = fleet::pair(Some(miners.clone())).await;
    let draft: ProfileDraft = serde_json::from_value(serde_json::json!({
        "name": "p", "program": "xmrig", "algorithm": "rx/0", "wallet": "W", "pools": [{"url": "127.0.0.1:1"}],
    }))
    .expect("a profile");
    let (mut spawned, mut verified) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let profile = ProfileChoice::Inline(Box::new(draft.clone()));
        let begun = Instant::now();
        let answer = pair.command(Request::StartMiner { profile, miner: None });
        tokio::pin!(answer);
        let started = states.wait_for(|now| now.miners.iter().any(|miner| miner.state.is_running()));
        tokio::select! {
            started = started => drop(started.expect("the supervisor runs")),
            answer = &mut answer => panic!("answered before anything ran: {answer:?}"),
        }
        spawned.push(begun.elapsed().as_secs_f64() * 1e3);
        let answer = answer.await;
        assert!(matches!(answer, Response::Miner { .. }), "{answer:?}");
        verified.push(begun.elapsed().as_secs_f64() * 1e3);
        pair.command(Request::StopMiner { miner: MinerChoice::All }).await;
    }
    miners.shutdown().await;
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    println!();
    println!("| `StartMiner` over the mesh, {STARTS} starts | ms, median |");
    println!("|---|---|");
    println!("| to the start at the rig's supervisor | {:.1} |", median(&mut spawned));
    println!("| to the answer: its API verified | {:.1} |", median(&mut verified));
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == SIMULATE) {
        // The stand-in makes a runtime of its own.
        return miner_ctrl::simulate::run(Program::Xmrig, &words[3..]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    // A task of the runtime asks, as a node's gateway does: the thread that waits for all of it would be woken by another
    // one for each answer.
    runtime.expect("a runtime").block_on(async { tokio::spawn(run()).await.expect("the benchmark ends") })
}

async fn run() -> ExitCode {
    if let Ok(address) = std::env::var(fleet::WORKERS_OF) {
        fleet::be_workers(&address).await;
        return ExitCode::SUCCESS;
    }
    let request = codec::encode(&Request::Stats, MAX_BODY).expect("it fits");
    let answer = codec::encode(&Response::Stats(Box::new(stats())), MAX_BODY).expect("it fits");
    println!(
        "one `Stats` round trip, loopback, both sides in one process; request {} B, answer {} B",
        request.len(),
        answer.len()
    );

    let websocket = bare::pair(request, answer).await;
    let stock = stock::pair().await;
    let pair = Arc::new(fleet::pair(None).await);
    let asks: [Ask; 3] = [
        Arc::new(move || {
            let websocket = websocket.clone();
            Box::pin(async move { websocket.ask().await })
        }),
        Arc::new(move || {
            let stock = stock.clone();
            Box::pin(async move { stock.ask().await })
        }),
        Arc::new(move || {
            let pair = Arc::clone(&pair);
            Box::pin(async move { pair.ask().await })
        }),
    ];
    let [w, s, ours] = measure(&asks).await;

    println!();
    println!("| stack | seq p50 µs | seq p99 µs | seq CPU µs | 64 in flight, per s | CPU µs |");
    println!("|---|---|---|---|---|---|");
    for (name, row) in [("W bare WebSocket", &w), ("S libp2p request-response", &s), ("ours: link + SMSG", &ours)] {
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} |",
            row.p50, row.p99, row.cpu, row.rate, row.cpu_pipelined
        );
    }
    println!(
        "| **ours / S** | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
        ours.p50 / s.p50,
        ours.p99 / s.p99,
        ours.cpu / s.cpu,
        ours.rate / s.rate,
        ours.cpu_pipelined / s.cpu_pipelined
    );

    spawns().await;

    println!();
    println!("| connections | controller RSS per connection KB |");
    println!("|---|---|");
    for count in [250, 1000] {
        let before = resident_bytes();
        let connected = fleet::controller_with_workers(count).await;
        let per = (resident_bytes() - before) as f64 / count as f64 / 1024.0;
        println!("| {count} | {per:.1} |");
        drop(connected);
    }
    ExitCode::SUCCESS
}
