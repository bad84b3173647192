//! As TT-Miner 2024.3: options, a TCP API of one line each way, a log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::console::line;
use super::cues::first_time;
use super::world::{Moment, TICK, World, stopped};

/// Largest request, and how long it is waited for.
const MAX_REQUEST: u64 = 4096;
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// H/s of its two cards.
const RATE: f64 = 42_000_000.0;

pub(super) async fn run(args: &[String]) -> u8 {
    if let [only] = args
        && (only == "-v" || only == "--version")
    {
        line("TT-Miner 2024.3.2");
        return 0;
    }
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|index| args.get(index + 1));
    let bind = value("-b").map_or("127.0.0.1:4068", String::as_str).to_owned();
    let (Some(login), Some(_)) = (value("-P"), value("-c").or_else(|| value("-a"))) else {
        line("TT-Miner: a pool and a coin or an algorithm are missing");
        return 1;
    };
    let pool = login.rsplit_once('@').map_or(login.as_str(), |(_, pool)| pool).to_owned();
    let mut world = World::new(RATE);
    line("TT-Miner 2024.3.2 simulated");
    line(&format!("Pool: {login}"));
    if let Some(code) = world.cues.number("exit") {
        return code as u8;
    }
    let stranger = world.cues.has("port-taken") || (world.cues.has("port-taken-once") && first_time("port-taken-once"));
    let shared = Arc::new(Mutex::new(world.clone()));
    if !world.cues.has("no-api")
        && let Ok(listener) = TcpListener::bind(&bind).await
    {
        tokio::spawn(serve(listener, pool.clone(), stranger, Arc::clone(&shared)));
    }
    let mut stop = std::pin::pin!(stopped());
    let mut tick = tokio::time::interval(TICK);
    let mut before = world.moment();
    loop {
        tokio::select! {
            _ = &mut stop => return 0,
            _ = tick.tick() => {}
        }
        if let Some(code) = world.tick() {
            return code;
        }
        shared.lock().unwrap_or_else(PoisonError::into_inner).cues = world.cues.clone();
        let now = world.moment();
        if now.connected && !before.connected {
            line(&format!("Connected to {pool}"));
        }
        if now.accepted > before.accepted {
            line(&format!("{} shares accepted", now.accepted));
        }
        before = now;
    }
}

async fn serve(listener: TcpListener, pool: String, stranger: bool, world: Arc<Mutex<World>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let world = world.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let pool = pool.clone();
        tokio::spawn(async move {
            if world.cues.has("hang") {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
            let name = if stranger { "ethminer-0.19" } else { "TT-Miner/2024.3.2" };
            let _ = tokio::time::timeout(REQUEST_TIME, exchange(stream, name, &pool, &world)).await;
        });
    }
}

async fn exchange(stream: TcpStream, name: &str, pool: &str, world: &World) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut request = String::new();
    BufReader::new(read).take(MAX_REQUEST).read_line(&mut request).await?;
    let request: Value = serde_json::from_str(&request).unwrap_or_default();
    if request["method"] != "miner_getstat1" {
        return Ok(());
    }
    let reply = json!({"id": request["id"], "jsonrpc": "2.0", "result": statistics(name, pool, &world.moment())});
    write.write_all(format!("{reply}\n").as_bytes()).await
}

fn statistics(name: &str, pool: &str, now: &Moment) -> [String; 10] {
    let total = now.rate.unwrap_or(0.0) as u64;
    let half = now.rate.map_or_else(|| "off".to_owned(), |_| (total / 2).to_string());
    [
        name.to_owned(),
        (now.age.as_secs() / 60).to_string(),
        format!("{total};{};0", now.accepted),
        format!("{half};{half}"),
        "0;0;0".to_owned(),
        "off;off".to_owned(),
        "68;52;58;39".to_owned(),
        if now.known { pool.to_owned() } else { String::new() },
        "0;0;0;0".to_owned(),
        "118;104".to_owned(),
    ]
}
