//! As XMRig 6.26: a configuration file, an HTTP API, a log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::console::{line, tagged};
use super::cues::first_time;
use super::world::{Moment, TICK, World, stopped};

/// Largest request head read, and how long it is waited for.
const MAX_HEAD: usize = 8192;
const HEAD_TIME: Duration = Duration::from_secs(5);
/// H/s of a thread.
const THREAD_RATE: f64 = 512.0;
/// What it mines, as its API lists it.
pub const ALGORITHMS: [&str; 31] = [
    "cn/0",
    "cn/1",
    "cn/2",
    "cn/r",
    "cn/fast",
    "cn/half",
    "cn/xao",
    "cn/rto",
    "cn/rwz",
    "cn/zls",
    "cn/double",
    "cn/ccx",
    "cn-lite/0",
    "cn-lite/1",
    "cn-heavy/0",
    "cn-heavy/tube",
    "cn-heavy/xhv",
    "cn-pico",
    "cn-pico/tlo",
    "cn/upx2",
    "rx/0",
    "rx/2",
    "rx/wow",
    "rx/arq",
    "rx/graft",
    "rx/sfx",
    "rx/yada",
    "argon2/chukwa",
    "argon2/chukwav2",
    "argon2/ninja",
    "ghostrider",
];
/// Seconds between speed lines.
const SPEED: Duration = Duration::from_secs(10);

/// What the file says that matters here.
#[derive(Debug, Clone)]
struct Setup {
    port: u16,
    token: Option<String>,
    worker_id: String,
    pool: String,
    algorithm: String,
    threads: u64,
    /// A stranger in its place: it knows another token.
    stranger: bool,
}

pub(super) async fn run(args: &[String]) -> u8 {
    let path = match args {
        [only] if only == "--version" || only == "-V" => {
            line("XMRig 6.26.0\n built for simulation");
            return 0;
        }
        [flag, path] if flag == "-c" => path,
        _ => {
            line("usage: -c FILE, and nothing else");
            return 2;
        }
    };
    let Some(mut setup) = setup(path) else {
        line(&format!("[simulated] {path}: no valid configuration found, try https://xmrig.com/wizard"));
        return 2;
    };
    let mut world = World::new(THREAD_RATE * setup.threads as f64);
    line(" * ABOUT        XMRig/6.26.0 simulated");
    line(&format!(" * POOL #1      {} algo {}", setup.pool, setup.algorithm));
    if let Some(code) = world.cues.number("exit") {
        return code as u8;
    }
    setup.stranger =
        world.cues.has("port-taken") || (world.cues.has("port-taken-once") && first_time("port-taken-once"));
    let shared = Arc::new(Mutex::new(world.clone()));
    let listener = if world.cues.has("no-api") { None } else { listen(&setup).await };
    if let Some(listener) = listener {
        tokio::spawn(serve(listener, setup.clone(), Arc::clone(&shared)));
    }
    let mut stop = std::pin::pin!(stopped());
    let mut tick = tokio::time::interval(TICK);
    let (mut before, mut spoke) = (world.moment(), world.started);
    loop {
        tokio::select! {
            name = &mut stop => {
                tagged("signal", &format!("{name} received, exiting"));
                return 0;
            }
            _ = tick.tick() => {}
        }
        if let Some(code) = world.tick() {
            tagged("cpu", "simulated crash");
            return code;
        }
        shared.lock().unwrap_or_else(PoisonError::into_inner).cues = world.cues.clone();
        let now = world.moment();
        tell(&setup, &before, &now);
        if spoke.elapsed() >= SPEED {
            spoke = tokio::time::Instant::now();
            let rate = now.rate.map_or_else(|| "n/a".to_owned(), |rate| format!("{rate:.1}"));
            tagged("miner", &format!("speed 10s/60s/15m {rate} n/a n/a H/s max {rate} H/s"));
        }
        before = now;
    }
}

fn setup(path: &str) -> Option<Setup> {
    let config: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let pools = config["pools"].as_array()?;
    let pool = pools.iter().find(|pool| pool["enabled"] != Value::Bool(false) && pool["url"].is_string())?;
    let url = pool["url"].as_str()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Setup {
        port: config["http"]["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
        token: text(&config["http"]["access-token"]),
        worker_id: text(&config["api"]["worker-id"]).unwrap_or_else(|| "simulated".to_owned()),
        pool: url.split_once("://").map_or(url, |(_, rest)| rest).to_owned(),
        algorithm: text(&pool["algo"]).unwrap_or_else(|| "rx/0".to_owned()),
        threads: config["cpu"]["*"]["threads"].as_u64().unwrap_or(2),
        stranger: false,
    })
}

/// The API's listener. The real program prints why it has none, and mines on.
async fn listen(setup: &Setup) -> Option<TcpListener> {
    match TcpListener::bind(("127.0.0.1", setup.port)).await {
        Ok(listener) if !setup.stranger => {
            line(&format!(" * HTTP API     127.0.0.1:{} ", setup.port));
            Some(listener)
        }
        bound => {
            line(&format!(" * HTTP API     127.0.0.1:{} address already in use", setup.port));
            line("HTTP API server failed to start.");
            bound.ok()
        }
    }
}

fn tell(setup: &Setup, before: &Moment, now: &Moment) {
    let pool = &setup.pool;
    if now.connected && !before.connected {
        tagged("net", &format!("use pool {pool}  127.0.0.1"));
        tagged("net", &format!("new job from {pool} diff 1000 algo {} height 1001 (52 tx)", setup.algorithm));
        tagged("cpu", &format!("READY threads {0}/{0} ({0}) huge pages 0% 0/1 memory 2048 KB (15 ms)", setup.threads));
    }
    if before.connected && !now.connected {
        tagged("net", &format!("{pool} read error: \"end of file\""));
        tagged("net", "no active pools, stop mining");
    }
    match (before.paused, now.paused) {
        (false, true) => tagged("miner", "paused, press  r  to resume"),
        (true, false) => tagged("miner", "resumed"),
        _ => {}
    }
    if now.accepted > before.accepted {
        tagged("cpu", &format!("accepted ({}/0) diff 1000 (2 ms)", now.accepted));
    }
}

async fn serve(listener: TcpListener, setup: Setup, world: Arc<Mutex<World>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let world = world.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let setup = setup.clone();
        tokio::spawn(async move {
            if world.cues.has("hang") {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
            let _ = tokio::time::timeout(HEAD_TIME, exchange(stream, &setup, &world)).await;
        });
    }
}

async fn exchange(mut stream: TcpStream, setup: &Setup, world: &World) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = answer(&String::from_utf8_lossy(&head), setup, world);
    let reason = body["error"].as_str().unwrap_or("OK");
    let body = format!("{body:#}");
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Status and body of a request, by the tables measured on the real program (restricted mode).
fn answer(head: &str, setup: &Setup, world: &World) -> (u16, Value) {
    let mut lines = head.split("\r\n");
    let mut request = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (request.next().unwrap_or_default(), request.next().unwrap_or_default());
    let given = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        .map(|(_, value)| value.trim().strip_prefix("Bearer ").unwrap_or_default());
    let error = |status: u16, name: &str| (status, json!({"status": status, "error": name}));
    match (method, &setup.token, given) {
        ("OPTIONS", ..) => return (200, json!({})),
        ("GET" | "POST" | "PUT" | "DELETE" | "HEAD", ..) => {}
        _ => return error(405, "METHOD_NOT_ALLOWED"),
    }
    match (&setup.token, given) {
        (Some(_), None) | (None, Some(_)) => return error(401, "UNAUTHORIZED"),
        (Some(token), Some(given)) if token != given || setup.stranger => return error(403, "FORBIDDEN"),
        _ => {}
    }
    match (method, path) {
        ("GET", "/2/summary" | "/1/summary" | "/api.json") => (200, summary(setup, &world.moment())),
        ("GET", "/2/backends") => (200, backends(setup, &world.moment())),
        ("GET" | "PUT" | "POST", "/1/config" | "/2/config") | ("POST", "/json_rpc") | ("HEAD", _) => {
            error(403, "FORBIDDEN")
        }
        _ => error(404, "NOT_FOUND"),
    }
}

fn windows(now: &Moment) -> Value {
    let old = |seconds| now.rate.filter(|rate| *rate == 0.0 && !now.known || now.age.as_secs() >= seconds);
    json!([now.rate, old(60), old(900)])
}

fn summary(setup: &Setup, now: &Moment) -> Value {
    let connected = now.connected;
    let up = if connected { now.age.as_millis() as u64 } else { 0 };
    let algorithm = now.known.then_some(&setup.algorithm);
    json!({
        "id": "0123456789abcdef",
        "worker_id": setup.worker_id,
        "uptime": now.age.as_secs(),
        "restricted": true,
        "features": ["api", "asm", "http", "hwloc", "tls"],
        "results": {
            "diff_current": if connected { 1000 } else { 0 },
            "shares_good": now.accepted,
            "shares_total": now.accepted,
            "avg_time": 5, "avg_time_ms": 5000,
            "hashes_total": now.accepted * 1000,
            "best": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        },
        "algo": algorithm,
        "connection": {
            "pool": match (now.known, now.redirected) {
                (false, _) => "",
                (true, false) => setup.pool.as_str(),
                (true, true) => "elsewhere.example:3333",
            },
            "ip": connected.then_some("127.0.0.1"),
            "uptime": up / 1000, "uptime_ms": up,
            "ping": 2, "failures": u64::from(now.known && !connected),
            "tls": null, "tls-fingerprint": null,
            "algo": algorithm,
            "diff": if connected { 1000 } else { 0 },
            "accepted": now.accepted, "rejected": 0,
        },
        "version": "6.26.0",
        "kind": "miner",
        "ua": "XMRig/6.26.0 (simulated)",
        "donate_level": 1,
        "paused": now.paused,
        "algorithms": ALGORITHMS,
        "hashrate": {"total": windows(now), "highest": now.rate},
        "hugepages": [0, 1],
    })
}

fn backends(setup: &Setup, now: &Moment) -> Value {
    let share = |rate: &Value| rate.as_f64().map(|rate| rate / setup.threads.max(1) as f64);
    let windows = windows(now);
    let part: Vec<_> = windows.as_array().into_iter().flatten().map(share).collect();
    let thread = json!({"intensity": 1, "affinity": -1, "av": 1, "hashrate": part});
    json!([{
        "type": "cpu", "enabled": true, "algo": now.known.then_some(&setup.algorithm), "profile": "*",
        "hw-aes": true, "priority": -1, "msr": false, "hugepages": [0, 1], "memory": 262_144,
        "hashrate": windows, "threads": vec![thread; setup.threads.min(1024) as usize],
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recorded exchanges of the real program in restricted mode.
    #[test]
    fn it_answers_with_the_real_programs_status() {
        let path = format!("{}/tests/fixtures/xmrig/http_exchanges.json", env!("CARGO_MANIFEST_DIR"));
        let exchanges: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let setup = Setup {
            port: 0,
            token: Some("secret".into()),
            worker_id: "w".into(),
            pool: "p:1".into(),
            algorithm: "rx/0".into(),
            threads: 2,
            stranger: false,
        };
        let mut seen = 0;
        for exchange in exchanges.iter().filter(|exchange| exchange["mode"] == "restricted") {
            let authorization = match exchange["authorization"].as_str().unwrap() {
                "good token" => "Authorization: Bearer secret\r\n",
                "wrong token" => "authorization: Bearer other\r\n",
                _ => "",
            };
            let (method, path) = (exchange["method"].as_str().unwrap(), exchange["path"].as_str().unwrap());
            let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n");
            assert_eq!(answer(&head, &setup, &World::new(1.0)).0, exchange["status"], "{head}");
            seen += 1;
        }
        assert!(seen > 10);
        assert_eq!(answer("", &setup, &World::new(1.0)).0, 405);
    }
}
