//! Five thousand rigs at one controller, by our mesh and by stock libp2p. The controller is a process of its own, so that
//! its memory is its own; the rigs are another.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use miner_ctrl_tests::bench::{cpu_time, median, resident_bytes};
use miner_ctrl_tests::{fleet, stock};
use serde_json::{Value, json};

use crate::Row;

/// Set for a process that is the controller: `ours`, `stock` or `drift`, and how many rigs it has.
pub(crate) const STACK: &str = "MINER_CTRL_BENCH_STACK";

/// Rigs of a large fleet.
const MANY: u32 = 5000;
/// Rigs that one command goes to.
const FEWER: u32 = 1000;
/// Controllers of that many, of each stack in turn; the table shows the median of each. What else the machine carries
/// makes more of a difference between two of one stack than is to be shown.
const PAIRS: usize = 3;
/// Sweeps ask so often in all; the table shows their median.
const ASKED: u32 = 75_000;
/// Sweeps before those: each side has heard the other as in the minutes after a start.
const WARM_UP: usize = 16;
/// Between the last connection and the look at memory: what greetings needed is given back by then, and identify and ping,
/// which begin 10 s after a connection, have been.
const SETTLE: Duration = Duration::from_secs(20);

/// A stock controller hears of each rig as often as ours: at the same moments, and of a quarter of them at each.
const STEP: Duration = Duration::from_millis(750);
/// … so that each is heard every 3 s, when it has a new reading.
const STEPS: usize = 4;

/// A stock controller that keeps asking its rigs; ended and reaped when dropped.
pub(crate) struct Drifting(Child);

impl Drifting {
    /// With all rigs connected.
    pub(crate) fn start(rigs: u32) -> Self {
        let mut child =
            controller("drift", rigs).stdout(Stdio::piped()).spawn().expect("the controller's process starts");
        let mut said = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut said).expect("it speaks");
        assert!(said.contains("connected"), "the stock controller has all its rigs: {said:?}");
        Self(child)
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a process number")
    }
}

impl Drop for Drifting {
    fn drop(&mut self) {
        // Its rigs end with its end of their pipe.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Is a controller with all its rigs, measures, and prints one document.
#[expect(clippy::print_stdout, reason = "that is how the parent hears it")]
pub(crate) async fn be_controller(stack: &str) {
    let (stack, rigs) = stack.split_once(' ').expect("a stack and a number");
    let rigs: u32 = rigs.parse().expect("a number");
    if stack == "drift" {
        let crowd = stock::crowd(rigs as usize).await;
        println!("{}", json!({ "connected": rigs }));
        return crowd.keep_asking(STEP, STEPS).await;
    }
    let before = resident_bytes();
    let begun = Instant::now();
    let document = if stack == "stock" {
        let crowd = stock::crowd(rigs as usize).await;
        measured(rigs, begun, before, async || (), async || crowd.sweep().await).await
    } else {
        let connected = fleet::controller_with_workers(rigs).await;
        measured(rigs, begun, before, async || connected.warm_up().await, async || connected.sweep().await).await
    };
    println!("{document}");
}

async fn measured(rigs: u32, begun: Instant, before: u64, warm_up: impl AsyncFn(), sweep: impl AsyncFn()) -> Value {
    let connected = begun.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let resident = (resident_bytes() - before) as f64 / f64::from(rigs) / 1024.0;
    warm_up().await;
    for _ in 0..WARM_UP {
        sweep().await;
    }
    let (mut times, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..ASKED / rigs {
        let (begun, used) = (Instant::now(), cpu_time());
        sweep().await;
        times.push(begun.elapsed().as_secs_f64());
        cpu.push((cpu_time() - used).as_secs_f64());
    }
    let after = (resident_bytes() - before) as f64 / f64::from(rigs) / 1024.0;
    json!({ "connected": connected, "sweep": median(times), "cpu": median(cpu), "resident": resident, "after": after })
}

fn controller(stack: &str, rigs: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a file"));
    command.env(STACK, format!("{stack} {rigs}")).stderr(Stdio::inherit());
    command
}

fn run(stack: &str, rigs: u32) -> Value {
    let output = controller(stack, rigs).output().expect("the controller's process starts");
    assert!(output.status.success(), "the controller of {stack} ended: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("one document")
}

pub(crate) fn rows() -> Vec<Row> {
    let pairs = |count, rigs| (0..count).map(|_| (run("stock", rigs), run("ours", rigs))).unzip();
    let [many, fewer] = [pairs(1, MANY), pairs(PAIRS, FEWER)];
    let number =
        |runs: &[Value], name: &str| median(runs.iter().map(|run| run[name].as_f64().expect("a number")).collect());
    let row = |(stock, ours): &(Vec<Value>, Vec<Value>), what: &str, name: &str, unit: &str, must, most: f64| {
        let (ours, stock) = (number(ours, name), number(stock, name));
        let shown = |value: f64| match unit {
            "s" if value < 1.0 => format!("{:.0} ms", value * 1e3),
            "s" => format!("{value:.2} s"),
            _ => format!("{value:.1} {unit}"),
        };
        let met = ours <= if must == "0.5 S" { most * stock } else { most };
        Row::new(what, shown(ours), must).met(met).against(format!("S {}", shown(stock)), ours / stock)
    };
    vec![
        row(
            &fewer,
            "one command to 1 000 rigs, all acknowledgements verified, p50 of 75, median of 3",
            "sweep",
            "s",
            "0.5 S",
            0.5,
        ),
        row(&many, "5 000 rigs: all connected from cold", "connected", "s", "10 s", 10.0),
        row(&many, "5 000 rigs: sweep of `Stats`, median of 15", "sweep", "s", "1.0 s", 1.0),
        row(&many, "the same: CPU of the controller", "cpu", "s", "–", f64::MAX),
        row(&many, "5 000 rigs: controller RSS per connection, at rest", "resident", "KB", "40 KB", 40.0),
        row(&many, "the same after the sweeps", "after", "KB", "–", f64::MAX),
    ]
}
