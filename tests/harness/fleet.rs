//! Our mesh: one controller and rigs that answer `Stats`, with a household of a few lines around each.

use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl::mesh::{
    Address, Answer, Household, MeshConfig, MeshHandle, Rate, dial_address, listen_addresses, start,
};
use miner_ctrl::miners::MinersHandle;
use miner_ctrl_protocol::message::ProfileChoice;
use miner_ctrl_protocol::smsg::NodeSecret;
use miner_ctrl_protocol::{PeerKey, Refusal, Request, Response, Role};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bench::stats;

/// Set for a process that hosts rigs: `address of the controller,first seed,count`.
pub const WORKERS_OF: &str = "MINER_CTRL_BENCH_WORKERS";

/// Requests after which a peer is one of those that are heard most; a rig hears six a minute from its controller.
const WARM_UP: usize = 256;

/// The controller's seed; rigs' seeds count from 1.
const CONTROLLER: u32 = 0;

/// Answers `Stats` as a rig does, starts and stops miners where it has some, and pairs with nobody.
#[derive(Default)]
struct Rig {
    miners: Option<MinersHandle>,
}

impl Answer for Rig {
    fn answer(&self, _: PeerKey, request: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let miners = self.miners.clone();
        Box::pin(async move {
            match (request, miners) {
                (Request::Stats, _) => Response::Stats(Box::new(stats())),
                (Request::StartMiner { profile: ProfileChoice::Inline(draft), miner }, Some(miners)) => {
                    let started = miners.start(draft.check().expect("a good profile"), miner).await;
                    started.map_or_else(Response::Refused, |(status, changed)| Response::Miner {
                        status: Box::new(status),
                        changed,
                    })
                }
                (Request::StopMiner { miner }, Some(miners)) => {
                    let stopped = miners.stop(miner).await;
                    stopped.map_or_else(Response::Refused, |(statuses, changed)| Response::Miners { statuses, changed })
                }
                _ => Response::Refused(Refusal::Unsupported),
            }
        })
    }
}

impl Household for Rig {}

fn secret(number: u32) -> Arc<NodeSecret> {
    let mut seed = [0x5a; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    Arc::new(NodeSecret::from_seed(&seed).expect("a seed has 32 bytes"))
}

/// A mesh of one node.
#[derive(Debug)]
pub struct Member {
    /// Its mesh.
    pub mesh: MeshHandle,
    stop: CancellationToken,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn member(number: u32, listen: &str, peers: Vec<(PeerKey, Vec<Address>)>, rig: Rig) -> Member {
    let stop = CancellationToken::new();
    let config = MeshConfig {
        secret: secret(number),
        name: format!("node-{number}").parse().expect("a name"),
        role: Role::Dual,
        listen: if listen.is_empty() { vec![] } else { listen_addresses(listen).expect("an address") },
        peers,
        last_ips: vec![],
        // The wire is measured here, not the limit that a flooding peer meets.
        rate: Rate { per_second: f64::INFINITY, burst: f64::MAX },
    };
    let (mesh, _) = start(config, Arc::new(rig), stop.clone()).await.expect("the mesh starts");
    Member { mesh, stop }
}

/// A controller and one rig, connected, in this process.
#[derive(Debug)]
pub struct Pair {
    controller: Member,
    _rig: Member,
    rig: PeerKey,
}

/// Connects a controller and one rig, which has miners or none.
///
/// # Panics
/// When loopback cannot be used.
pub async fn pair(miners: Option<MinersHandle>) -> Pair {
    let rig = secret(1).public();
    let controller = member(CONTROLLER, "127.0.0.1:0", vec![(rig, vec![])], Rig::default()).await;
    let address = controller.mesh.listening()[0].clone();
    let peers = vec![(secret(CONTROLLER).public(), vec![address])];
    let member = member(1, "", peers, Rig { miners }).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    controller.mesh.wait_for_link(&rig, deadline).await.expect("they connect");
    Pair { controller, _rig: member, rig }
}

impl Pair {
    /// Asks the rig anything.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn command(&self, request: Request) -> Response {
        let answer = self.controller.mesh.ask(&self.rig, &request, Duration::from_secs(30)).await;
        answer.expect("the rig answers")
    }

    /// One round trip.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn ask(&self) {
        let answer = self.controller.mesh.ask(&self.rig, &Request::Stats, Duration::from_secs(10)).await;
        assert!(matches!(answer, Ok(Response::Stats(_))), "{answer:?}");
    }
}

/// A controller here, and its rigs in another process.
#[derive(Debug)]
pub struct Connected {
    /// The controller.
    pub controller: Member,
    workers: Child,
}

impl Connected {
    /// Has one rig hear the controller as often as each does in its first hour: from then on the rigs, which share a
    /// process here, verify what it says as a rig does that has been up for a while.
    pub async fn warm_up(&self) {
        let Some((_, link)) = self.controller.mesh.connected().into_iter().next() else { return };
        for _ in 0..WARM_UP {
            let answer = link.ask(&Request::Stats, Duration::from_secs(30)).await;
            assert!(matches!(answer, Ok(Response::Stats(_))), "{answer:?}");
        }
    }

    /// Asks every rig once, all at the same time, and waits for all answers. A task of the runtime asks, as a node's
    /// gateway does and as the stock swarm's does: a thread that waits for all of it would be woken for each answer.
    ///
    /// # Panics
    /// When one does not answer.
    pub async fn sweep(&self) {
        let asked = self.controller.mesh.connected().into_iter().map(|(_, link)| async move {
            let answer = link.ask(&Request::Stats, Duration::from_secs(30)).await;
            assert!(matches!(answer, Ok(Response::Stats(_))), "{answer:?}");
        });
        tokio::spawn(futures::future::join_all(asked)).await.expect("all answer");
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        // Killed and reaped; it may have ended by itself.
        let _ = self.workers.kill();
        let _ = self.workers.wait();
    }
}

/// A controller with `count` rigs, all connected.
///
/// # Panics
/// When they do not connect within two minutes.
pub async fn controller_with_workers(count: u32) -> Connected {
    let rigs: Vec<PeerKey> = (1..=count).map(|number| secret(number).public()).collect();
    let peers = rigs.iter().map(|rig| (*rig, vec![])).collect();
    let controller = member(CONTROLLER, "127.0.0.1:0", peers, Rig::default()).await;
    let address = controller.mesh.listening()[0].to_string();
    let workers = Command::new(std::env::current_exe().expect("this program has a file"))
        .env(WORKERS_OF, format!("{address},1,{count}"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("the rigs' process starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    for rig in &rigs {
        controller.mesh.wait_for_link(rig, deadline).await.expect("all rigs connect");
    }
    Connected { controller, workers }
}

/// Hosts rigs until the parent closes our standard input.
///
/// # Panics
/// On a malformed [`WORKERS_OF`].
pub async fn be_workers(of: &str) {
    let parts: Vec<&str> = of.split(',').collect();
    let (address, _) = dial_address(parts[0]).expect("an address");
    let (first, count): (u32, u32) = (parts[1].parse().expect("a number"), parts[2].parse().expect("a number"));
    let controller = secret(CONTROLLER).public();
    let mut members = Vec::new();
    for number in first..first + count {
        members.push(member(number, "", vec![(controller, vec![address.clone()])], Rig::default()).await);
    }
    // The parent holds the other end; when it is gone we go.
    let _ = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await;
    let _ = std::io::stderr().flush();
}
