//! A mining pool for one test: enough of Stratum for XMRig, on 127.0.0.1. It verifies no hash and takes every share.

use std::collections::HashMap;
use std::net::SocketAddr;

use miner_ctrl::simulate::job;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest line taken; a login with all algorithm names has 1 KiB.
const MAX_LINE: u64 = 16 * 1024;

/// What a pool has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// `login`, `pass`, `rigid` and the rest of each login, in order.
    pub logins: Vec<Value>,
    /// Shares by login.
    pub shares: HashMap<String, u64>,
}

/// A running stub pool; dropping it closes its connections and its port.
#[derive(Debug)]
pub struct StubPool {
    address: SocketAddr,
    seen: watch::Receiver<Seen>,
    _tasks: JoinSet<()>,
}

impl StubPool {
    /// A pool with jobs of this algorithm and difficulty. `cn-pico` at 1000 gives a share each few seconds and thread.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(algorithm: &str, difficulty: u32) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (publisher, seen) = watch::channel(Seen::default());
        let algorithm = algorithm.to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                sessions.spawn(session(stream, algorithm.clone(), difficulty, publisher.clone()));
                while sessions.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, seen, _tasks: tasks })
    }

    /// Where it listens, as a profile names it.
    #[must_use]
    pub fn url(&self) -> String {
        self.address.to_string()
    }

    /// What it has seen, now and at each change.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }
}

async fn session(stream: TcpStream, algorithm: String, difficulty: u32, seen: watch::Sender<Seen>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(u64::MAX));
    let mut login = String::new();
    loop {
        let mut line = String::new();
        match (&mut lines).take(MAX_LINE).read_line(&mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let Ok(request) = serde_json::from_str::<Value>(&line) else { return };
        let id = &request["id"];
        let result = match request["method"].as_str() {
            Some("login") => {
                login = request["params"]["login"].as_str().unwrap_or_default().to_owned();
                seen.send_modify(|seen| seen.logins.push(request["params"].clone()));
                json!({"id": "session", "status": "OK", "extensions": ["algo", "keepalive"], "job": job(&algorithm, difficulty)})
            }
            Some("submit") => {
                seen.send_modify(|seen| *seen.shares.entry(login.clone()).or_default() += 1);
                json!({"status": "OK"})
            }
            Some("keepalived") => json!({"status": "KEEPALIVED"}),
            _ => return,
        };
        let answer = format!("{}\n", json!({"id": id, "jsonrpc": "2.0", "error": null, "result": result}));
        if write.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
