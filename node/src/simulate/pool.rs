//! A mining pool that pays nothing: enough of Stratum for XMRig. It verifies no hash and takes every share.
//!
//! For the lab and for trying profiles out where no real pool can be reached.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::console::{line, tagged};
use super::world::stopped;

/// Miners at once: a lab on one machine has a few hundred at most.
const MAX_SESSIONS: usize = 1024;

/// Longest line taken: a login with all algorithm names has 1 KiB.
const MAX_LINE: u64 = 16 * 1024;

/// How long a miner may be silent: three of XMRig's keepalives, of one a minute.
const SILENCE: Duration = Duration::from_secs(180);

/// Pause after a failed accept, e.g. with all file descriptors in use: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// What is printed of a worker's name.
const MAX_NAME: usize = 64;

/// Serves miners until it is stopped.
///
/// # Errors
/// When it cannot listen.
pub fn pool(listen: &str, algorithm: &str, difficulty: u32) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        line(&format!(" * POOL         {} algo {algorithm} diff {difficulty}, simulated", listener.local_addr()?));
        tokio::select! {
            name = stopped() => tagged("signal", &format!("{name} received, exiting")),
            () = serve(listener, job(algorithm, difficulty)) => {}
        }
        Ok(())
    })
}

async fn serve(listener: TcpListener, job: Value) {
    let (job, places) = (Arc::new(job), Arc::new(Semaphore::new(MAX_SESSIONS)));
    let mut sessions = JoinSet::new();
    loop {
        while sessions.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    tagged("pool", &format!("{from} is turned away: {MAX_SESSIONS} miners are here"));
                    continue;
                };
                let job = Arc::clone(&job);
                sessions.spawn(async move {
                    session(stream, from, &job).await;
                    drop(place);
                });
            }
            Err(error) => {
                tagged("pool", &format!("cannot accept: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One miner, until it goes, is silent for long, or says what no miner says.
async fn session(stream: TcpStream, from: SocketAddr, job: &Value) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    let (mut worker, mut shares) = (from.to_string(), 0_u64);
    // XMRig takes a job that it holds already, from before it lost us, for a repeated one, and refuses the login.
    let number: u32 = rand::random();
    while let Ok(Some(request)) = timeout(SILENCE, next(&mut lines)).await {
        let result = match request["method"].as_str() {
            Some("login") => {
                worker = name(&request["params"], from);
                tagged("pool", &format!("{worker} logged in from {from}"));
                let (id, job) = (format!("session-{number:08x}"), numbered(job, number));
                json!({"id": id, "status": "OK", "extensions": ["algo", "keepalive"], "job": job})
            }
            Some("submit") => {
                shares += 1;
                json!({"status": "OK"})
            }
            Some("keepalived") => json!({"status": "KEEPALIVED"}),
            _ => break,
        };
        let answer = format!("{}\n", json!({"id": request["id"], "jsonrpc": "2.0", "error": null, "result": result}));
        if !matches!(timeout(SILENCE, write.write_all(answer.as_bytes())).await, Ok(Ok(()))) {
            break;
        }
    }
    tagged("pool", &format!("{worker} is gone after {shares} shares"));
}

/// The next request; none at the end, or when it is none.
async fn next(lines: &mut BufReader<OwnedReadHalf>) -> Option<Value> {
    let mut text = String::new();
    lines.take(MAX_LINE).read_line(&mut text).await.ok()?;
    // Without its end it is too long, or broken off.
    serde_json::from_str(text.strip_suffix('\n')?).ok()
}

/// What a miner calls itself, fit for a console.
fn name(login: &Value, from: SocketAddr) -> String {
    let given = login["rigid"].as_str().filter(|name| !name.is_empty());
    let plain = |name: &str| name.chars().filter(|c| c.is_ascii_graphic()).take(MAX_NAME).collect();
    given.map_or_else(|| from.to_string(), plain)
}

/// A job: 76 bytes with a zero nonce at 39, or XMRig takes the pool for `NiceHash`.
#[must_use]
pub fn job(algorithm: &str, difficulty: u32) -> Value {
    let blob: String = (0..76_u8).map(|byte| if (39..43).contains(&byte) { 0 } else { byte | 1 }).map(hex).collect();
    let target: String = (u32::MAX / difficulty.max(1)).to_le_bytes().into_iter().map(hex).collect();
    json!({
        "blob": blob, "job_id": "job-1", "target": target, "algo": algorithm, "height": 1001,
        "seed_hash": "aa".repeat(32),
    })
}

/// The job as one session has it: another id, and another block.
fn numbered(job: &Value, number: u32) -> Value {
    let mut job = job.clone();
    job["job_id"] = format!("job-{number:08x}").into();
    if let Some(blob) = job["blob"].as_str() {
        // In the hash of the block before, bytes 7 to 38.
        job["blob"] = format!("{}{number:08x}{}", &blob[..16], &blob[24..]).into();
    }
    job
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn connected() -> (BufReader<TcpStream>, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, job("cn-pico", 1000)));
        (BufReader::new(TcpStream::connect(address).await.unwrap()), tasks)
    }

    /// The answer to one line; null when the pool closes.
    async fn answer(stream: &mut BufReader<TcpStream>, request: &str) -> Value {
        // A pool that has closed already cannot be written to.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut text = String::new();
        let _ = stream.read_line(&mut text).await;
        serde_json::from_str(&text).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_miner_logs_in_and_its_shares_are_taken() {
        let (mut stream, _tasks) = connected().await;
        let login = json!({"id": 1, "method": "login", "params": {"login": "WALLET", "rigid": "rig-alpha\u{1b}[31m"}});
        let job = answer(&mut stream, &format!("{login}\n")).await["result"]["job"].clone();
        assert_eq!((&job["algo"], job["blob"].as_str().map(str::len)), (&json!("cn-pico"), Some(152)), "{job}");
        assert_eq!(job["target"], "37894100", "4294967295 / 1000, least byte first");
        let share = json!({"id": 2, "method": "submit", "params": {"id": "session", "job_id": "job-1"}});
        let taken = answer(&mut stream, &format!("{share}\n")).await;
        assert_eq!((&taken["id"], &taken["result"]["status"]), (&json!(2), &json!("OK")), "{taken}");
    }

    #[tokio::test]
    async fn a_miner_that_comes_back_gets_another_job() {
        let (first, _tasks) = connected().await;
        let address = first.get_ref().peer_addr().unwrap();
        let mut jobs = Vec::new();
        for mut stream in [first, BufReader::new(TcpStream::connect(address).await.unwrap())] {
            let login = json!({"id": 1, "method": "login", "params": {"login": "WALLET"}});
            let result = answer(&mut stream, &format!("{login}\n")).await["result"].clone();
            jobs.push([&result["id"], &result["job"]["job_id"], &result["job"]["blob"]].map(|text| text.to_string()));
        }
        let [one, other] = &jobs[..] else { panic!("two jobs") };
        assert!(one.iter().zip(other).all(|(one, other)| one != other && one.len() == other.len()), "{jobs:?}");
    }

    #[tokio::test]
    async fn what_no_miner_says_ends_the_connection() {
        for line in ["not json\n".to_owned(), "{\"method\": \"fly\"}\n".to_owned(), "x".repeat(20_000)] {
            let (mut stream, _tasks) = connected().await;
            assert_eq!(answer(&mut stream, &line).await, Value::Null, "{line:.20}");
        }
    }

    #[test]
    fn a_workers_name_does_nothing_to_a_console() {
        let from = "10.0.0.1:5".parse().unwrap();
        assert_eq!(name(&json!({"rigid": "rig\u{1b}[2J\n-1"}), from), "rig[2J-1");
        assert_eq!(name(&json!({"rigid": ""}), from), "10.0.0.1:5");
        assert_eq!(name(&json!({"rigid": "x".repeat(500)}), from).len(), MAX_NAME);
    }
}
