//! The one task that owns the miners: commands in, immutable snapshots out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_protocol::message::{LogPage, MAX_WAIT_SECONDS, MinerChoice};
use miner_ctrl_protocol::{MinerName, MinerState, MinerStatus, NodeName, Policy, Profile, Program, Refusal, words};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::console::Console;
use super::driver::ProgramPath;
use super::drivers::driver;
use super::wanted::Wanted;
use super::{adoption, keeper};
use crate::news::Tells;
use crate::store::atomic::{self, WriteError};

/// Commands waiting for the supervisor, and as many looks. A rig has a handful of operators; more is a flood.
const QUEUE: usize = 32;

/// What a refused asker is told to wait: commands take microseconds, a full queue empties at once.
pub(super) const BUSY: Refusal = Refusal::Busy { retry_after_ms: 500 };

/// What becomes of the miners when the node ends on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnShutdown {
    /// They go on mining; the next node takes them over.
    Leave,
    /// They are stopped; the next node starts them again.
    Stop,
}

words!(OnShutdown: Leave = "leave", Stop = "stop");

/// How the miners of this rig are run.
#[derive(Debug, Clone)]
pub struct MinersConfig {
    /// The rig's name, for the worker name at pools.
    pub node_name: NodeName,
    /// The data directory; ours is `miners/` in it.
    pub data_dir: PathBuf,
    /// Where programs are, for those that shall not be looked for.
    pub programs: BTreeMap<Program, ProgramPath>,
    /// What may run; also for what ran before the node was started.
    pub policy: Policy,
    /// What becomes of them in the end.
    pub on_shutdown: OnShutdown,
}

/// Why the supervisor could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MinersError {
    /// The file of what shall run cannot be understood. It is left as it is.
    #[error("{path} is damaged ({why}): repair it, or remove it to start without miners")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something of ours cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory cannot be made.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// All miners at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MinersSnapshot {
    /// Grows with each change.
    pub revision: u64,
    /// By name. Their times are those of the change, not of a later look: [`MinersSnapshot::aged`].
    pub miners: Vec<MinerStatus>,
    /// When that was.
    pub at: Option<Instant>,
}

impl MinersSnapshot {
    /// The miners with the time that has passed since the last change.
    #[must_use]
    pub fn aged(&self, now: Instant) -> Vec<MinerStatus> {
        let passed = self.at.map_or(0, |at| now.saturating_duration_since(at).as_secs());
        self.miners.iter().map(|miner| miner.clone().aged(passed)).collect()
    }
}

impl Tells for Arc<MinersSnapshot> {
    type State = Vec<(MinerName, MinerState, Option<String>)>;

    fn revision(&self) -> u64 {
        self.revision
    }

    fn state(&self) -> Self::State {
        self.miners.iter().map(|miner| (miner.name.clone(), miner.state, miner.problem.clone())).collect()
    }
}

/// The way to the supervisor. Cloning gives another way to the same; when the last is dropped the supervisor ends and
/// leaves the miners alone.
#[derive(Debug, Clone)]
pub struct MinersHandle {
    commands: mpsc::Sender<Command>,
    /// Apart: readers, however many, keep no order out.
    looks: mpsc::Sender<Look>,
    snapshot: watch::Receiver<Arc<MinersSnapshot>>,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What the supervisor is told to do.
#[derive(Debug)]
pub(super) enum Command {
    Restart { miner: Option<MinerName>, reply: Reply<(MinerStatus, bool)> },
    Shutdown { reply: Reply<()> },
    Start { profile: Box<Profile>, miner: Option<MinerName>, reply: Reply<(MinerStatus, bool)> },
    Stop { choice: MinerChoice, reply: Reply<(Vec<MinerStatus>, bool)> },
}

/// What somebody wants to see.
#[derive(Debug)]
pub(super) enum Look {
    /// A miner's console.
    Console { miner: Option<MinerName>, reply: Reply<(MinerName, Console)> },
    /// Who runs, or is to run, another profile of this one's name.
    Others { profile: Box<Profile>, reply: Reply<Vec<MinerName>> },
}

/// Starts the supervisor: takes over miners that survived an earlier node, ends what it cannot vouch for, and starts
/// what ran before and does not any more.
///
/// # Errors
/// [`MinersError`]; then nothing was started.
pub async fn spawn(config: MinersConfig) -> Result<MinersHandle, MinersError> {
    let miners = config.data_dir.join("miners");
    atomic::make_directory(&miners)?;
    // The mark in a miner's environment must be the same whichever way the directory is named next time.
    let miners = miners.canonicalize().map_err(|source| MinersError::Read { path: miners, source })?;
    let wanted = Wanted::load(&miners)?;
    // What the policy forbids by now is not taken over but ended, whoever started it.
    let mut allowed = wanted.profiles().clone();
    allowed.retain(|_, profile| config.policy.allows_profile(profile).is_ok());
    let adopted = adoption::adopt_or_end(&miners, &allowed).await;
    adoption::forget_unwanted(&miners, wanted.profiles());
    let ((commands, orders), (looks, readers)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
    let (publisher, snapshot) = watch::channel(Arc::default());
    let keeper = keeper::Keeper::new(config, miners, wanted, adopted, publisher);
    tokio::spawn(keeper.run(orders, readers));
    Ok(MinersHandle { commands, looks, snapshot })
}

/// Whether the file of what shall run on this rig can be understood, where there is one.
///
/// # Errors
/// [`MinersError`].
pub fn check_wanted(data_dir: &Path) -> Result<(), MinersError> {
    Wanted::load(&data_dir.join("miners")).map(drop)
}

impl MinersHandle {
    /// Starts a profile, or finds it running; returns once its API has been verified, or after 12 s with the state
    /// reached. One that a stop, another start after it, or the node's end overtakes comes back with the state that came of
    /// it, and says so. The flag is false when it was found so.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Conflict`] when the name runs another profile or as many miners run as may,
    /// [`Refusal::MinerUnavailable`] when the start failed, [`Refusal::Internal`] when it cannot be written down,
    /// [`Refusal::Busy`].
    pub async fn start(&self, profile: Profile, miner: Option<MinerName>) -> Result<(MinerStatus, bool), Refusal> {
        driver(profile.program).check(&profile)?;
        ask(&self.commands, |reply| Command::Start { profile: Box::new(profile), miner, reply }).await
    }

    /// Stops miners, or finds them stopped; returns when their processes are gone.
    ///
    /// # Errors
    /// [`Refusal::AmbiguousMiner`], [`Refusal::UnknownMiner`], [`Refusal::Busy`].
    pub async fn stop(&self, choice: MinerChoice) -> Result<(Vec<MinerStatus>, bool), Refusal> {
        ask(&self.commands, |reply| Command::Stop { choice, reply }).await
    }

    /// Stops a miner if it runs, and starts it with the profile it has.
    ///
    /// # Errors
    /// As [`MinersHandle::start`] and [`MinersHandle::stop`].
    pub async fn restart(&self, miner: Option<MinerName>) -> Result<(MinerStatus, bool), Refusal> {
        ask(&self.commands, |reply| Command::Restart { miner, reply }).await
    }

    /// Console lines of a miner; waits for one after `after` when there is none.
    ///
    /// # Errors
    /// [`Refusal::AmbiguousMiner`], [`Refusal::UnknownMiner`], [`Refusal::Busy`].
    pub async fn logs(
        &self,
        miner: Option<MinerName>,
        lines: u32,
        after: Option<u64>,
        wait: Duration,
    ) -> Result<LogPage, Refusal> {
        let (name, console) = ask(&self.looks, |reply| Look::Console { miner, reply }).await?;
        // Without a number the asker wants what there is.
        let wait =
            if after.is_some() { wait.min(Duration::from_secs(MAX_WAIT_SECONDS.into())) } else { Duration::ZERO };
        Ok(console.page(name, after, lines, wait).await)
    }

    /// Miners that run, or are to run, a profile of that name which is another: what it was when they were started.
    ///
    /// # Errors
    /// [`Refusal::Busy`].
    pub async fn with_another(&self, profile: Profile) -> Result<Vec<MinerName>, Refusal> {
        ask(&self.looks, |reply| Look::Others { profile: Box::new(profile), reply }).await
    }

    /// The miners now and at each change. Times in a snapshot are those of the change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<MinersSnapshot>> {
        self.snapshot.clone()
    }

    /// Ends the supervisor, and stops or leaves the miners as configured; what ran is remembered.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Shutdown { reply }).await.is_ok() {
            // An error means that it has ended.
            let _ = done.await;
        }
    }
}

async fn ask<C, T>(queue: &mpsc::Sender<C>, question: impl FnOnce(Reply<T>) -> C) -> Result<T, Refusal> {
    let (reply, answer) = oneshot::channel();
    queue.try_send(question(reply)).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => BUSY,
        mpsc::error::TrySendError::Closed(_) => shutting_down(),
    })?;
    answer.await.unwrap_or_else(|_| Err(shutting_down()))
}

pub(super) fn shutting_down() -> Refusal {
    Refusal::Conflict { why: "the node is shutting down".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_number_of_readers_keeps_an_order_out() {
        let home = tempfile::tempdir().unwrap();
        let config = MinersConfig {
            node_name: "rig-alpha".parse().unwrap(),
            data_dir: home.path().to_owned(),
            programs: BTreeMap::new(),
            policy: Policy::default(),
            on_shutdown: OnShutdown::Stop,
        };
        let miners = spawn(config).await.unwrap();
        let mut readers: Vec<_> =
            (0..2 * QUEUE).map(|_| Box::pin(miners.logs(None, 1, None, Duration::ZERO))).collect();
        for reader in &mut readers {
            // Here the supervisor has no turn before the order below is given.
            let _ = futures::poll!(reader);
        }
        assert_eq!(miners.stop(MinerChoice::All).await, Ok((vec![], false)));
    }

    #[test]
    fn a_reading_is_no_change_of_state() {
        let snapshot = |change: fn(&mut MinerStatus)| {
            let mut miner = serde_json::from_value(serde_json::json!({
                "name": "xmrig-1", "program": "xmrig", "profile": "monero", "state": "mining", "state_seconds": 1,
                "uptime_seconds": 1, "hashrate": 1000.0, "hashrates": [1000.0, null, null],
                "shares": {"accepted": 0, "rejected": 0}, "algorithm": null, "pool": null, "version": null,
            }))
            .unwrap();
            change(&mut miner);
            Arc::new(MinersSnapshot { revision: 1, miners: vec![miner], at: None }).state()
        };
        let before = snapshot(|_| ());
        assert!(snapshot(|miner| miner.shares.accepted = 1) == before);
        assert!(snapshot(|miner| (miner.hashrate, miner.hashrates) = (None, [None; 3])) == before);
        assert!(snapshot(|miner| miner.state = MinerState::NoPool) != before);
        assert!(snapshot(|miner| miner.problem = Some("its pool is another".to_owned())) != before);
        assert!(snapshot(|miner| miner.name = "xmrig-2".parse().unwrap()) != before);
        assert!(Arc::<MinersSnapshot>::default().state() != before);
    }
}
