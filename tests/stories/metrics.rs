//! What Prometheus is told by a real node, judged by Prometheus's own checker.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::{DEADLINE, Farm, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The checker: `MINER_CTRL_PROMTOOL`, which must be there when it is set, or one in `PATH`.
fn promtool() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("MINER_CTRL_PROMTOOL") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "MINER_CTRL_PROMTOOL names {}, which is no file", named.display());
        return Some(named);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join("promtool")).find(|file| file.is_file())
}

async fn scrape(page: &str, token: &str) -> String {
    let address = page.strip_prefix("http://").expect("plain on loopback");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let get = format!(
        "GET /api/v1/mining/metrics HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(get.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("it answers").expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the result must know that the checker was not there")]
async fn what_a_node_with_two_rigs_serves_passes_prometheus_own_check() {
    let farm = Farm::paired(&["rig-alpha", "rig-beta"]).await;
    farm.add_profile("monero").await;
    let Farm { controller: Station { node, home, .. }, rigs: _rigs } = farm;
    assert!(node.terminate().await.success());
    // Another node on this machine may have the usual place.
    let node = home.serve_with(&["--dashboard", "127.0.0.1:0"]).await;
    let page = node.line("dashboard").to_owned();
    for rig in ["rig-alpha", "rig-beta"] {
        Farm::online(&home, rig).await;
    }
    let add = "profile add raven --program tt-miner --algorithm kawpow --pool pool.example:3333 --wallet W";
    let _ = home.run(add).await.done();
    let _ = home.run("remote start rig-alpha --profile monero --from here").await.done();
    let _ = home.run("remote start rig-beta --profile raven --from here").await.done();
    let token = home.run("token add prometheus").await.done();
    let token = token.lines().next().expect("a token").to_owned();
    let wanted = [
        "miner_ctrl_miner_hashrate_hashes_per_second{",
        "miner_ctrl_device_temperature_celsius{",
        "miner_ctrl_device_power_watts{",
        "miner_ctrl_peer_ping_seconds{",
        "miner_ctrl_mesh_messages_refused_total{cause=\"replayed\"} 0",
        "miner_ctrl_tasks ",
        "process_resident_memory_bytes ",
    ];
    let text = wait_for("both rigs mine and are measured", DEADLINE, async || {
        let text = scrape(&page, &token).await;
        let mining = text.matches("miner_ctrl_miner_hashrate_hashes_per_second{").count() == 2;
        (mining && wanted.iter().all(|series| text.contains(series))).then_some(text)
    })
    .await;
    let Some(promtool) = promtool() else {
        eprintln!("promtool is not here: what is served was not checked by it (`.ci/run metrics` does)");
        return;
    };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    check.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let checked = check.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}\n{text}");
}
