//! What a message costs: one `Stats` round trip over a bare WebSocket, over libp2p's stock request-response on the same
//! WebSocket, Noise and Yamux, and over our link with SMSG. CPU is that of this process, so of both sides.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_ctrl::miners::{MinersConfig, OnShutdown, ProgramPath, supervisor};
use miner_ctrl_protocol::codec::{self, MAX_BODY};
use miner_ctrl_protocol::message::{MinerChoice, ProfileChoice};
use miner_ctrl_protocol::{Policy, ProfileDraft, Program, Request, Response};
use miner_ctrl_tests::bench::{cpu_time, median, stats};
use miner_ctrl_tests::{bare, fleet, stock};

use crate::Row;

/// Time given to each measurement; CPU time has a resolution of 10 ms.
const SPAN: Duration = Duration::from_secs(4);
/// Rounds; the table shows the median.
const ROUNDS: usize = 3;
/// Requests on their way at once.
const IN_FLIGHT: usize = 64;
/// Asked before each round, uncounted.
const WARM_UP: usize = 200;

/// Miners started for the median.
const STARTS: usize = 15;
/// This program's own verb, for being the stand-in mining program.
pub(crate) const SIMULATE: &str = "simulate";

type Ask = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Microseconds, but for the rate: round trips a second.
struct Cost {
    p50: f64,
    cpu: f64,
    rate: f64,
    cpu_pipelined: f64,
}

async fn sequential(ask: &Ask) -> (f64, f64) {
    let (begun, cpu) = (Instant::now(), cpu_time());
    let mut times = Vec::new();
    while begun.elapsed() < SPAN {
        let asked = Instant::now();
        ask().await;
        times.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    let cpu = (cpu_time() - cpu).as_secs_f64() * 1e6 / times.len() as f64;
    (median(times), cpu)
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
async fn measure<const STACKS: usize>(asks: &[Ask; STACKS]) -> [Cost; STACKS] {
    let mut rounds = [const { Vec::new() }; STACKS];
    for _ in 0..ROUNDS {
        for (ask, costs) in asks.iter().zip(&mut rounds) {
            for _ in 0..WARM_UP {
                ask().await;
            }
            let (p50, cpu) = sequential(ask).await;
            let (rate, cpu_pipelined) = pipelined(ask, IN_FLIGHT).await;
            costs.push(Cost { p50, cpu, rate, cpu_pipelined });
        }
    }
    rounds.map(|costs| {
        let of = |value: fn(&Cost) -> f64| median(costs.iter().map(value).collect());
        Cost {
            p50: of(|cost| cost.p50),
            cpu: of(|cost| cost.cpu),
            rate: of(|cost| cost.rate),
            cpu_pipelined: of(|cost| cost.cpu_pipelined),
        }
    })
}

/// How long a command takes to a spawned process, and to its verified API, over the mesh with a stand-in XMRig.
async fn spawns() -> Row {
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
    let shown = format!("{:.1} ms, {:.1} ms", median(spawned), median(verified));
    Row::new(
        format!("`StartMiner`, stand-in: at the rig's supervisor, verified by its API; median of {STARTS}"),
        shown,
        "–",
    )
}

pub(crate) async fn rows() -> Vec<Row> {
    let request = codec::encode(&Request::Stats, MAX_BODY).expect("it fits");
    let answer = codec::encode(&Response::Stats(Box::new(stats())), MAX_BODY).expect("it fits");
    let sizes = format!("{} B and {} B", request.len(), answer.len());
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
    let starts = spawns().await;
    let row = |what: &str, of: fn(&Cost) -> f64, unit: &str, must, met: fn(f64) -> bool| {
        let shown =
            |value: f64| if value < 100.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") };
        let (w, s, ours) = (of(&w), of(&s), of(&ours));
        Row::new(what, shown(ours), must)
            .met(met(ours / s))
            .against(format!("S {}; W {}", shown(s), shown(w)), ours / s)
    };
    vec![
        row(
            &format!("`Stats` round trip ({sizes}), sequential: p50"),
            |cost| cost.p50,
            "µs",
            "0.7 S",
            |ratio| ratio <= 0.7,
        ),
        row("the same: CPU of both sides", |cost| cost.cpu, "µs", "0.7 S", |ratio| ratio <= 0.7),
        row("64 in flight: rate", |cost| cost.rate, "/s", "1.5 S", |ratio| ratio >= 1.5),
        row("the same: CPU of both sides for each", |cost| cost.cpu_pipelined, "µs", "0.7 S", |ratio| ratio <= 0.7),
        starts,
    ]
}
