//! What a real XMRig loses under our control: the same work with and without us, in turns.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use miner_ctrl_tests::Home;
use miner_ctrl_tests::bench::median;
use miner_ctrl_tests::stratum::StubPool;
use serde_json::Value;
use tokio::time::sleep;

use crate::Row;
use crate::program::{client, mine, real_xmrig};

/// 256 KiB a thread and no dataset: at its rate within a second.
const ALGORITHM: &str = "cn-pico";
/// Hard enough that shares are rare and cost nothing.
const DIFFICULTY: u32 = 500_000;
/// Pairs of runs. Which comes first alternates, so that a machine that slows down slows both.
const PAIRS: usize = 12;
/// Until XMRig's window of 10 s holds nothing but hashing.
const WARM_UP: Duration = Duration::from_secs(13);

pub(crate) async fn loss() -> Vec<Row> {
    let Some(xmrig) = real_xmrig() else {
        return vec![Row::new(
            "hashrate of a real XMRig, loss",
            "not measured: no MINER_CTRL_XMRIG".to_owned(),
            "0.5 %",
        )];
    };
    let pool = StubPool::start(ALGORITHM, DIFFICULTY).await.expect("a pool");
    let (mut losses, mut rates) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (bare, ours) = if pair % 2 == 0 {
            let bare = bare(&xmrig, &pool.url()).await;
            (bare, controlled(&xmrig, &pool.url()).await)
        } else {
            let ours = controlled(&xmrig, &pool.url()).await;
            (bare(&xmrig, &pool.url()).await, ours)
        };
        losses.push((1.0 - ours / bare) * 100.0);
        rates.push((ours, bare));
    }
    let (least, most) =
        losses.iter().fold((f64::MAX, f64::MIN), |(least, most), loss| (least.min(*loss), most.max(*loss)));
    let (ours, bare): (Vec<f64>, Vec<f64>) = rates.into_iter().unzip();
    let what = format!("hashrate of a real XMRig, {ALGORITHM}, {} threads: loss, median of {PAIRS} pairs", threads());
    let loss = median(losses);
    let shown = format!("{loss:.2} % ({least:.2} to {most:.2})");
    let (ours, bare) = (median(ours), median(bare));
    vec![Row::new(what, shown, "0.5 %").met(loss <= 0.5).against(format!("bare {bare:.1} H/s"), ours / bare)]
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// H/s of XMRig as a rig's node runs it, told and watched by a controller on the same machine.
async fn controlled(xmrig: &Path, pool: &str) -> f64 {
    let rig = Home::init("rig-alpha", "worker").await.with_variable("MINER_CTRL_XMRIG", xmrig);
    let node = rig.serve_with(&[]).await;
    let controller = Home::init("control-center", "controller").await;
    let _controls = controller.serve_with(&[]).await;
    mine(&controller, &rig, &node, pool, threads()).await;
    let client = client(&controller);
    sleep(WARM_UP).await;
    let status: Value = client.fetch("/remote/rig-alpha/stats").await.expect("the controller answers");
    status["stats"]["miners"][0]["hashrates"][0].as_f64().expect("XMRig has a rate")
}

/// A process that is killed and reaped when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// H/s of XMRig as a person runs it.
async fn bare(xmrig: &Path, pool: &str) -> f64 {
    let home = tempfile::tempdir().expect("a directory");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let child = Command::new(xmrig)
        .args(["-o", pool, "-u", "WALLET", "-a", ALGORITHM, "--no-huge-pages", "--no-color"])
        .args(["-t", &threads().to_string(), "--http-host", "127.0.0.1", "--http-port", &port.to_string()])
        .env("HOME", home.path())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("XMRig starts");
    let _running = Killed(child);
    sleep(WARM_UP).await;
    rate(port).expect("XMRig has a rate")
}

/// What XMRig's own API says of the last 10 s.
fn rate(port: u16) -> Option<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /2/summary HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    // It may leave the connection open; what came is what is read.
    let _ = stream.read_to_string(&mut text);
    let summary: Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1.trim()).ok()?;
    summary["hashrate"]["total"][0].as_f64()
}
