//! A simulated rig: what it answers, and its seat in the mesh.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_protocol::message::{LogLine, LogPage, MAX_WAIT_SECONDS, ProfileChoice};
use miner_ctrl_protocol::smsg::NodeSecret;
use miner_ctrl_protocol::stats::HostStats;
use miner_ctrl_protocol::{NodeName, PeerKey, Policy, ProfileDraft, Refusal, Request, Response, RigStats, Role};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::miner::Works;
use crate::mesh::{Address, Answer, Event, Household, MeshConfig, MeshHandle, REQUEST_RATE, StartError, start};
use crate::news;

/// What a simulated console says.
const CONSOLE: &str = "[simulated] no program runs here: this rig and its miner are numbers";

/// Machines that rigs are made of: processor, threads, H/s of RandomX.
const MACHINES: [(&str, u32, f64); 5] = [
    ("AMD Ryzen 5 5600 6-Core Processor", 12, 6_900.0),
    ("AMD Ryzen 9 5950X 16-Core Processor", 32, 16_800.0),
    ("AMD EPYC 7551P 32-Core Processor", 64, 19_500.0),
    ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", 12, 4_300.0),
    ("AMD Ryzen 9 7950X 16-Core Processor", 32, 19_900.0),
];

/// A simulated rig.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) name: NodeName,
    pub(super) key: PeerKey,
    secret: Arc<NodeSecret>,
    machine: (&'static str, u32),
    /// Whether its mining program cannot be started.
    pub(super) starts_fail: bool,
    pub(super) works: watch::Sender<Works>,
    /// Whether its link is up.
    pub(super) online: watch::Sender<bool>,
    since: Instant,
}

/// A rig's mesh while it runs; dropping it ends it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) mesh: MeshHandle,
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Seat {
    /// Ends its connection.
    pub(super) async fn leave(self) {
        drop(self.stop);
        // A task that panicked has said so already.
        let _ = self.task.await;
    }
}

/// The rig as its mesh sees it.
struct AtHome(Arc<Rig>);

impl Rig {
    /// At work with `profile`; `number` decides what machine it is.
    pub(super) fn new(number: u32, secret: NodeSecret, profile: &Arc<ProfileDraft>, starts_fail: bool) -> Self {
        let place = usize::try_from(number).unwrap_or_default();
        let (cpu, threads, rate) = MACHINES[place % MACHINES.len()];
        // No two machines of a kind are alike: up to 4 % slower, by a pattern that repeats after 97 rigs.
        let base = rate * (1.0 - 0.04 * f64::from(number % 97) / 97.0);
        let now = Instant::now();
        let since = now.checked_sub(Duration::from_secs(3600 + u64::from(number % 977) * 60)).unwrap_or(now);
        Self {
            name: format!("rig-{number:05}").parse().expect("a word and five digits are a name"),
            key: secret.public(),
            secret: Arc::new(secret),
            machine: (cpu, threads),
            starts_fail,
            works: watch::Sender::new(Works::mining(base, Arc::clone(profile), since)),
            online: watch::Sender::new(false),
            since,
        }
    }

    /// Joins the mesh, and keeps a connection to each of `peers`.
    pub(super) async fn join(self: &Arc<Self>, peers: Vec<(PeerKey, Vec<Address>)>) -> Result<Seat, StartError> {
        let stop = CancellationToken::new();
        let config = MeshConfig {
            secret: Arc::clone(&self.secret),
            name: self.name.clone(),
            role: Role::Worker,
            listen: vec![],
            peers,
            last_ips: vec![],
            rate: REQUEST_RATE,
        };
        let (mesh, task) = start(config, Arc::new(AtHome(Arc::clone(self))), stop.clone()).await?;
        Ok(Seat { mesh, stop: stop.drop_guard(), task })
    }

    fn stats(&self) -> RigStats {
        let now = Instant::now();
        let works = self.works.borrow();
        let miners = works.statuses(now);
        let busy = miners.iter().any(|miner| miner.state.is_running());
        let (cpu, threads) = self.machine;
        RigStats {
            revision: works.revision,
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: HostStats {
                os: "Linux, simulated".to_owned(),
                cpu: cpu.to_owned(),
                threads,
                load: Some(if busy { threads as f32 } else { 0.0 }),
                memory_total: 16 << 30,
                memory_available: 12 << 30,
                uptime_seconds: now.saturating_duration_since(self.since).as_secs(),
            },
            miners,
        }
    }

    /// Changes what it runs or holds; whoever watches it hears when the revision has grown.
    fn change<T>(&self, change: impl FnOnce(&mut Works) -> T) -> T {
        let mut result = None;
        self.works.send_if_modified(|works| {
            let before = works.revision;
            result = Some(change(works));
            works.revision != before
        });
        result.expect("the change was made just now")
    }

    fn may_start(&self) -> Result<(), Refusal> {
        if self.starts_fail {
            let why = "its mining program cannot be started (simulated: --fail-starts)".to_owned();
            return Err(Refusal::MinerUnavailable { why });
        }
        Ok(())
    }

    async fn carry_out(&self, request: Request) -> Result<Response, Refusal> {
        let now = Instant::now();
        let pause = |wait: u32| Duration::from_secs(u64::from(wait.min(MAX_WAIT_SECONDS)));
        Ok(match request {
            Request::DeployProfile { profile } => {
                let profile = profile.check()?.into_draft();
                let (changed, others) = self.change(|works| works.deploy(profile))?;
                Response::Deployed { changed, others }
            }
            // It records nothing.
            Request::History { .. } => return Err(Refusal::Unsupported),
            Request::Logs { miner, after, wait, .. } => {
                let miner = self.works.borrow().named(miner.as_ref())?;
                let lines = match after {
                    None | Some(0) => vec![LogLine { number: 1, text: CONSOLE.to_owned() }],
                    Some(_) => {
                        tokio::time::sleep(pause(wait)).await;
                        vec![]
                    }
                };
                Response::Logs(LogPage { miner, lines, newest: 1, lost: 0 })
            }
            Request::Ping { sent_at } => Response::Pong { sent_at },
            Request::Policy => Response::Policy(Policy::default()),
            Request::Profiles => Response::Profiles(self.works.borrow().profiles().cloned().map(Into::into).collect()),
            Request::RemoveProfile { name } => Response::Removed { changed: self.change(|works| works.remove(&name)) },
            Request::RestartMiner { miner } => {
                self.may_start()?;
                let status = self.change(|works| works.restart(miner.as_ref(), now))?;
                Response::Miner { status: Box::new(status), changed: true }
            }
            Request::StartMiner { profile, miner } => {
                let profile = match profile {
                    ProfileChoice::Inline(draft) => draft.check()?.into_draft(),
                    ProfileChoice::Stored(name) => self.works.borrow().profile(&name)?,
                };
                self.may_start()?;
                let (status, changed) = self.change(|works| works.start(profile, miner, now))?;
                Response::Miner { status: Box::new(status), changed }
            }
            Request::Stats => Response::Stats(Box::new(self.stats())),
            Request::StopMiner { miner } => {
                let (statuses, changed) = self.change(|works| works.stop(&miner, now))?;
                Response::Miners { statuses, changed }
            }
            Request::Watch { after, wait } => {
                news::since(&mut self.works.subscribe(), after, wait).await;
                Response::Stats(Box::new(self.stats()))
            }
        })
    }
}

impl Answer for AtHome {
    fn answer(&self, _: PeerKey, request: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let rig = Arc::clone(&self.0);
        // Its only peer is the controller that it was told to obey.
        Box::pin(async move { rig.carry_out(request).await.unwrap_or_else(Response::Refused) })
    }
}

impl Household for AtHome {
    fn observe(&self, _: PeerKey, event: Event) {
        match event {
            Event::Up { .. } => drop(self.0.online.send_replace(true)),
            Event::Down => drop(self.0.online.send_replace(false)),
            Event::DialFailed { .. } | Event::Copied { .. } | Event::Identified { .. } | Event::Pinged(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_protocol::message::MinerChoice;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[tokio::test(start_paused = true)]
    async fn whoever_watches_it_hears_readings_at_whole_steps_and_of_a_stop_at_once() {
        let draft = serde_json::json!({
            "name": "monero", "program": "xmrig", "wallet": "W", "pools": [{"url": "pool.example:1"}],
        });
        let draft = Arc::new(serde_json::from_value(draft).unwrap());
        let rig = Arc::new(Rig::new(1, NodeSecret::from_seed(&[7; 32]).unwrap(), &draft, false));
        let after = rig.stats().revision;
        let ms = Duration::from_millis;
        for (stops, told) in [(false, news::STEP), (true, ms(10))] {
            let asked = Instant::now();
            let watcher = Arc::clone(&rig);
            let after = if stops { after + 1 } else { after };
            let told_at = tokio::spawn(async move {
                let answer = watcher.carry_out(Request::Watch { after, wait: 30 }).await.unwrap();
                assert!(matches!(answer, Response::Stats(stats) if stats.revision > after));
                asked.elapsed()
            });
            tokio::time::sleep(ms(10)).await;
            if stops {
                rig.change(|works| works.stop(&MinerChoice::Only, Instant::now())).unwrap();
            } else {
                rig.change(|works| works.read(0.02, &mut StdRng::seed_from_u64(1)));
            }
            assert_eq!(told_at.await.unwrap(), told, "{stops}");
        }
    }
}
