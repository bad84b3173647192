//! The supervisor's task: performs what the table of `lifecycle` says. Nothing here waits for anything but news.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_protocol::message::MinerChoice;
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::stats::MAX_MINERS;
use miner_ctrl_protocol::{MinerName, MinerState, MinerStatus, Profile, Refusal};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::adoption::Adopted;
use super::console::Console;
use super::driver::{PollError, Reading};
use super::drivers::driver;
use super::instance::{self, Instance, Running, timeless};
use super::launch::{LaunchError, Launched, Launcher, Record};
use super::lifecycle::{Action, Afterwards, By, Event, Stage, State};
use super::process;
use super::supervisor::{BUSY, Command, Look, MinersConfig, MinersSnapshot, OnShutdown, Reply, shutting_down};
use super::wanted::{self, Wanted};
use crate::causes::{chain, internal};

/// How long an asker waits for a start. A start that takes longer goes on; the asker learns the state reached.
const START_PATIENCE: Duration = Duration::from_secs(12);
/// How long an asker waits for a restart: the longest stop, and a start; less than a request may take.
const RESTART_PATIENCE: Duration = Duration::from_secs(27);
/// How long an asker waits for a stop: TERM, TERM, KILL, and a little.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How long the end of this node waits for its miners: longer than the steps of a stop. What the system cannot end by then
/// it cannot end at all.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(30);
/// Askers waiting at once; more than any number of operators.
const MAX_WAITING: usize = 64;
/// Longest sleep; something is always due before, but for a rig without miners.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// News from outside the table, each about one spawn of one miner.
enum News {
    Exited(String),
    Launched(Result<Launched, String>),
    Polled(Result<Reading, PollError>),
}

/// Somebody who waits for a state.
enum Waiting {
    Start { name: MinerName, profile: Box<Profile>, changed: bool, until: Instant, reply: Reply<(MinerStatus, bool)> },
    Stop { stopped: Stopped, changed: bool, until: Instant, reply: Reply<(Vec<MinerStatus>, bool)> },
}

/// What a stop is about.
struct Stopped {
    /// Miners that it waits for.
    names: Vec<MinerName>,
    /// How those stand that never ran: their profiles could not be taken.
    forgotten: Vec<MinerStatus>,
}

/// Whom a job is for.
struct Owner {
    name: MinerName,
    generation: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Launch,
    Poll,
    Watch,
}

/// The task and all it owns.
pub(super) struct Keeper {
    launcher: Arc<Launcher>,
    on_shutdown: OnShutdown,
    wanted: Wanted,
    /// Since when those have failed that cannot be taken.
    began: Instant,
    miners: BTreeMap<MinerName, Instance>,
    jobs: JoinSet<News>,
    /// Whose job each is. One job at most of each kind is under way for a miner.
    owners: HashMap<Id, Owner>,
    waiting: Vec<Waiting>,
    closing: Vec<Reply<()>>,
    /// When the end no longer waits for miners.
    closed_at: Option<Instant>,
    publisher: watch::Sender<Arc<MinersSnapshot>>,
}

impl Keeper {
    /// With the miners that were taken over, and those that ran before to be started.
    pub(super) fn new(
        config: MinersConfig,
        directory: PathBuf,
        wanted: Wanted,
        adopted: Vec<Adopted>,
        publisher: watch::Sender<Arc<MinersSnapshot>>,
    ) -> Self {
        let now = Instant::now();
        let launcher = Launcher {
            node_name: config.node_name,
            miners: directory,
            programs: config.programs,
            policy: config.policy,
        };
        let mut keeper = Self {
            launcher: Arc::new(launcher),
            on_shutdown: config.on_shutdown,
            wanted,
            began: now,
            miners: BTreeMap::new(),
            jobs: JoinSet::new(),
            owners: HashMap::new(),
            waiting: Vec::new(),
            closing: Vec::new(),
            closed_at: None,
            publisher,
        };
        for found in adopted {
            keeper.take_over(found, now);
        }
        let rest: Vec<_> = keeper.wanted.profiles().iter().map(|(n, p)| (n.clone(), p.clone())).collect();
        for (name, profile) in rest {
            let miner = keeper.miners.entry(name.clone()).or_insert_with(|| Instance::new(name.clone(), profile, now));
            if !miner.is_active() {
                keeper.on(&name, Event::Resume, now);
            }
        }
        keeper
    }

    fn take_over(&mut self, found: Adopted, now: Instant) {
        let mut miner = Instance::new(found.name.clone(), found.profile, now);
        miner.console.keep_secret(&miner.profile, &found.endpoint.token);
        miner.console.note(&format!(
            "took over process {}, which outlived the node; its console is lost until it is started again",
            found.process.id.pid
        ));
        miner.state = State::adopted(found.reading.phase, now);
        miner.generation = 1;
        // By the system's count: some programs tell their age in whole minutes.
        let started = now.checked_sub(found.process.id.age()).unwrap_or(now);
        let mut running = Running::new(found.process, found.endpoint, started, now);
        running.settled = found.settled;
        running.reading = Some(found.reading);
        miner.process = Some(running);
        self.job(&found.name, 1, Kind::Watch, async { News::Exited(found.watch.run().await) });
        self.miners.insert(found.name, miner);
    }

    /// Until everybody who could ask is gone, or a shutdown is done.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut looks: mpsc::Receiver<Look>) {
        loop {
            let now = Instant::now();
            self.on_time(now);
            self.answer(now);
            self.publish(now);
            if let Some(until) = self.closed_at {
                if !self.is_stopping() {
                    break;
                }
                if now >= until {
                    self.tell_left();
                    break;
                }
            }
            let due = self.next_due(now);
            tokio::select! {
                biased; // what has happened comes before what is wanted
                Some(ended) = self.jobs.join_next_with_id() => self.on_end(ended, Instant::now()),
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command, Instant::now()),
                    None => break,
                },
                Some(look) = looks.recv() => self.on_look(look),
                () = tokio::time::sleep_until(due) => {}
            }
        }
        // Dropping the tasks that watch processes leaves the processes alone.
        self.jobs.abort_all();
        // Whoever still waits is told what came of it so far: a refusal would say that nothing was done.
        let now = Instant::now();
        for Waiting::Start { until, .. } | Waiting::Stop { until, .. } in &mut self.waiting {
            *until = now;
        }
        self.answer(now);
        for reply in self.closing {
            let _ = reply.send(Ok(()));
        }
    }

    /// Miners that could not be stopped, for whoever has to do it by hand.
    fn tell_left(&self) {
        for (name, miner) in self.miners.iter().filter(|(_, miner)| miner.is_active()) {
            let pid = miner.process.as_ref().map(|running| running.process.id.pid);
            tracing::error!(miner = %name, pid, "a miner that cannot be stopped is left behind");
        }
    }

    fn is_stopping(&self) -> bool {
        self.on_shutdown == OnShutdown::Stop && self.miners.values().any(Instance::is_active)
    }

    fn next_due(&self, now: Instant) -> Instant {
        let waiting = self.waiting.iter().map(|waiting| match waiting {
            Waiting::Start { until, .. } | Waiting::Stop { until, .. } => *until,
        });
        let due = self.miners.values().filter_map(Instance::next_due).chain(waiting).chain(self.closed_at).min();
        due.unwrap_or(now + LONGEST_SLEEP).min(now + LONGEST_SLEEP)
    }

    fn on_time(&mut self, now: Instant) {
        let names: Vec<MinerName> = self.miners.keys().cloned().collect();
        for name in names {
            self.on(&name, Event::Tick, now);
            let Some(miner) = self.miners.get_mut(&name) else { continue };
            let (driver, generation) = (driver(miner.profile.program), miner.generation);
            let asks = matches!(miner.state.stage, Stage::Starting { .. } | Stage::Running { .. });
            if let Some(running) = &mut miner.process
                && asks
                && running.next_poll.is_some_and(|due| now >= due)
            {
                running.next_poll = None;
                let endpoint = running.endpoint.clone();
                self.job(&name, generation, Kind::Poll, async move { News::Polled(driver.poll(&endpoint).await) });
            }
        }
    }

    fn on_end(&mut self, ended: Result<(Id, News), JoinError>, now: Instant) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(Owner { name, generation, kind }) = self.owners.remove(&id) else { return };
        let news = match ended {
            Ok((_, news)) => news,
            Err(error) => {
                tracing::error!(%error, miner = %name, ?kind, "a task of the supervisor panicked");
                // Were it passed over, the miner would wait for it for ever.
                let why = "this node failed at it; its log has the cause".to_owned();
                match kind {
                    Kind::Launch => News::Launched(Err(why)),
                    Kind::Poll => {
                        let running = self.miners.get(&name).and_then(|miner| miner.process.as_ref());
                        let port = running.map_or(0, |running| running.endpoint.port);
                        News::Polled(Err(PollError::Silent { port, why }))
                    }
                    Kind::Watch => {
                        // Nobody would see its end.
                        let directory = self.launcher.miners.join(name.as_str());
                        return self.job(&name, generation, Kind::Watch, async move {
                            process::end_marked(&directory, None).await;
                            News::Exited(why)
                        });
                    }
                }
            }
        };
        self.on_news(&name, generation, news, now);
    }

    fn on_news(&mut self, name: &MinerName, generation: u64, news: News, now: Instant) {
        let Some(miner) = self.miners.get_mut(name).filter(|miner| miner.generation == generation) else { return };
        let event = match news {
            News::Launched(Ok(launched)) => {
                let pid = launched.process.id.pid;
                tracing::info!(miner = %name, pid, endpoint = ?launched.endpoint, "miner started");
                miner.console.note(&format!("started as process {pid}"));
                miner.process = Some(Running::new(launched.process, launched.endpoint, now, now));
                let watch = launched.watch;
                self.job(name, generation, Kind::Watch, async { News::Exited(watch.run().await) });
                Event::Launched
            }
            News::Launched(Err(why)) => Event::LaunchFailed(why),
            News::Exited(how) => {
                let asked = miner.process.as_ref().and_then(|running| running.asked_to_end);
                let until = asked.unwrap_or_else(|| miner.console.newest());
                let last_line = miner.console.last_between(miner.launched_at, until);
                miner.console.note(&miner.state.told(&how));
                miner.process = None;
                Record::remove(&self.launcher.miners.join(name.as_str()));
                Event::Exited { how, last_line }
            }
            News::Polled(answer) => {
                miner.poll_after(now);
                match answer {
                    Ok(reading) => {
                        let settled = miner.is_settled();
                        let event = miner.take(reading, &self.launcher.policy, now);
                        if !settled && miner.is_settled() {
                            Record::settle(&self.launcher.miners.join(name.as_str()));
                        }
                        event
                    }
                    Err(error @ PollError::NotOurs { .. }) => Event::PortTaken(error.to_string()),
                    Err(error @ PollError::Silent { .. }) => Event::Silent(error.to_string()),
                }
            }
        };
        self.on(name, event, now);
    }

    /// Turns the table, and performs what it says.
    fn on(&mut self, name: &MinerName, event: Event, now: Instant) {
        let Some(miner) = self.miners.get_mut(name) else { return };
        let before = miner.state.shown();
        let unlaunched = matches!(event, Event::LaunchFailed(_));
        let strays = matches!(event, Event::Strayed(_))
            && matches!(miner.state.stage, Stage::Starting { .. } | Stage::Running { .. });
        let limits = driver(miner.profile.program).limits();
        // The table takes the state by value; this place is filled again below.
        let state = std::mem::replace(&mut miner.state, State::stopped(now));
        let (state, action) = state.on(event, now, limits);
        miner.state = state;
        let after = miner.state.shown();
        let failed = match miner.state.stage {
            Stage::Running { .. } => {
                miner.on_trial = false;
                false
            }
            Stage::Failed { retry_at: None } => std::mem::take(&mut miner.on_trial),
            _ => false,
        };
        let problem = miner.state.problem.as_deref();
        let tries = matches!(
            (before, after),
            (MinerState::Failed, MinerState::Starting) | (MinerState::Starting, MinerState::Failed)
        );
        let known = problem.is_some() && problem == miner.told.as_deref();
        if before != after && !(tries && known) {
            tracing::info!(miner = %name, from = %before, to = %after, problem, "miner state");
            if let Some(problem) = problem {
                miner.console.note(&format!("{after}: {problem}"));
            }
            miner.told = problem.map(str::to_owned);
        } else if unlaunched
            && !known
            && let Some(problem) = problem
        {
            // Tried again by itself, it does not cease to show as failed meanwhile.
            tracing::warn!(miner = %name, problem, "a miner cannot be started");
            miner.console.note(&format!("{after}: {problem}"));
            miner.told = Some(problem.to_owned());
        }
        match (action, &mut miner.process) {
            (Action::None, _) if failed => self.forget_failed(name),
            (Action::Spawn, _) => self.launch(name),
            (Action::Term, Some(running)) => {
                running.asked_to_end.get_or_insert_with(|| miner.console.newest());
                miner.console.note("stopping it");
                running.process.term();
            }
            (Action::Kill, Some(running)) => {
                miner.console.note("it does not stop: killing it");
                running.process.kill();
            }
            (Action::Term | Action::Kill, None) | (Action::None, _) => {}
        }
        if strays {
            self.forget_failed(name);
        }
    }

    fn launch(&mut self, name: &MinerName) {
        let Some(miner) = self.miners.get_mut(name) else { return };
        miner.generation += 1;
        miner.launched_at = miner.console.newest();
        let (launcher, generation) = (Arc::clone(&self.launcher), miner.generation);
        let (owned, profile, console): (_, Profile, Console) =
            (name.clone(), miner.profile.clone(), miner.console.clone());
        let task = self.jobs.spawn_blocking(move || {
            News::Launched(launcher.launch(&owned, &profile, &console).map_err(|error| chain(&error)))
        });
        self.owners.insert(task.id(), Owner { name: name.clone(), generation, kind: Kind::Launch });
    }

    fn job(&mut self, name: &MinerName, generation: u64, kind: Kind, job: impl Future<Output = News> + Send + 'static) {
        let task = self.jobs.spawn(job);
        self.owners.insert(task.id(), Owner { name: name.clone(), generation, kind });
    }

    fn on_look(&self, look: Look) {
        // The asker may have given up; a closed channel is fine, here and below.
        match look {
            Look::Console { miner, reply } => {
                let found = self.resolve(miner.as_ref()).and_then(|name| {
                    let console = self.miners.get(&name).map(|miner| miner.console.clone());
                    console.map(|console| (name.clone(), console)).ok_or_else(|| self.unknown(name.as_str()))
                });
                let _ = reply.send(found);
            }
            Look::Others { profile, reply } => {
                let other = |miner: &&Instance| {
                    miner.is_active() && miner.profile.name == profile.name && miner.profile != *profile
                };
                let _ = reply.send(Ok(self.miners.values().filter(other).map(|miner| miner.name.clone()).collect()));
            }
        }
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Shutdown { reply } => {
                self.closing.push(reply);
                self.closed_at.get_or_insert(now + SHUTDOWN_PATIENCE);
                if self.on_shutdown == OnShutdown::Stop {
                    let names: Vec<_> = self.miners.keys().cloned().collect();
                    // What is wanted stays wanted.
                    names.iter().for_each(|name| self.on(name, Event::Stop, now));
                }
            }
            Command::Start { profile, miner, reply } => match self.start(&profile, miner, now) {
                Ok((name, changed)) => {
                    let until = now + START_PATIENCE;
                    self.waiting.push(Waiting::Start { name, profile, changed, until, reply });
                }
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
            Command::Restart { miner, reply } => match self.restart(miner.as_ref(), now) {
                Ok((name, profile)) => {
                    let (profile, until) = (Box::new(profile), now + RESTART_PATIENCE);
                    self.waiting.push(Waiting::Start { name, profile, changed: true, until, reply });
                }
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
            Command::Stop { choice, reply } => match self.stop(&choice, now) {
                Ok((stopped, changed)) => {
                    self.waiting.push(Waiting::Stop { stopped, changed, until: now + STOP_PATIENCE, reply });
                }
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
        }
    }

    fn admit(&self) -> Result<(), Refusal> {
        match (self.closing.is_empty(), self.waiting.len() < MAX_WAITING) {
            (false, _) => Err(shutting_down()),
            (true, false) => Err(BUSY),
            (true, true) => Ok(()),
        }
    }

    fn start(
        &mut self,
        profile: &Profile,
        miner: Option<MinerName>,
        now: Instant,
    ) -> Result<(MinerName, bool), Refusal> {
        self.admit()?;
        let name = match miner {
            Some(name) => name,
            None => self.name_for(profile)?,
        };
        if name.as_str() == wanted::FILE {
            return Err(Invalid::new("miner", "is a name of ours: choose another").into());
        }
        if let Some(miner) = self.miners.get(&name)
            && miner.is_up()
        {
            if miner.profile == *profile {
                return Ok((name, false));
            }
            let runs = &miner.profile.name;
            let why = if *runs == profile.name {
                format!("{name} runs `{runs}` as it was before: stop it first, or name a miner to run beside it")
            } else {
                format!("{name} runs the profile `{runs}`: stop it first")
            };
            return Err(Refusal::Conflict { why });
        }
        self.check_start(&name, profile)?;
        self.make_room(&name)?;
        self.wanted.insert(&name, profile).map_err(|error| internal(&error))?;
        let miner =
            self.miners.entry(name.clone()).or_insert_with(|| Instance::new(name.clone(), profile.clone(), now));
        let is_other = std::mem::replace(&mut miner.profile, profile.clone()) != *profile;
        miner.unwritten = None;
        if is_other {
            // What was tried until now is over, and this is an order like the first.
            self.on(&name, Event::Stop, now);
        }
        self.order(&name, Event::Start, now);
        Ok((name, true))
    }

    /// The instance that runs a profile, or has run it, or runs what it was before, or the first free name of its program.
    fn name_for(&self, profile: &Profile) -> Result<MinerName, Refusal> {
        let same = |miner: &&Instance| miner.profile == *profile;
        let known = self.miners.values().filter(same).find(|miner| miner.is_up());
        if let Some(miner) = known.or_else(|| self.miners.values().find(same)) {
            return Ok(miner.name.clone());
        }
        // What was changed since is not to run a second time beside it.
        let earlier = |miner: &&Instance| {
            miner.is_active() && (&miner.profile.name, miner.profile.program) == (&profile.name, profile.program)
        };
        if let Some(miner) = self.miners.values().find(earlier) {
            return Ok(miner.name.clone());
        }
        (1..=MAX_MINERS)
            .filter_map(|number| format!("{}-{number}", profile.program).parse().ok())
            .find(|name| {
                self.miners.get(name).is_none_or(|miner| !miner.is_active())
                    && !self.wanted.refused().contains_key(name)
            })
            .ok_or_else(too_many)
    }

    /// Makes sure that a new miner can be added: forgets one that does not run if there are too many.
    fn make_room(&mut self, name: &MinerName) -> Result<(), Refusal> {
        if self.miners.contains_key(name) || self.miners.len() < MAX_MINERS {
            return Ok(());
        }
        let idle = self.miners.values().filter(|miner| !miner.is_active()).min_by_key(|miner| miner.state.since);
        let idle = idle.map(|miner| miner.name.clone()).ok_or_else(too_many)?;
        // One that was given up is not started again by the next node either.
        self.wanted.remove(&idle).map_err(|error| internal(&error))?;
        self.miners.remove(&idle);
        Record::remove_miner(&self.launcher.miners.join(idle.as_str()));
        Ok(())
    }

    /// Whether a profile can be launched, where there is something to lose: the miner runs, or is tried again by itself,
    /// which an order that fails would end.
    fn check_start(&self, name: &MinerName, profile: &Profile) -> Result<(), Refusal> {
        let Some(miner) = self.miners.get(name) else { return Ok(()) };
        let goes_on = match miner.state.stage {
            Stage::Running { .. } | Stage::Starting { .. } if miner.process.is_some() => "goes on as it is",
            Stage::Failed { retry_at: Some(_) } | Stage::Stopping { then: Afterwards::Fail(By::Itself), .. } => {
                "is tried again by itself"
            }
            _ => return Ok(()),
        };
        self.launcher.check(name, profile).map_err(|error| match error {
            LaunchError::Write(error) => internal(&error),
            other => {
                let with = if miner.profile == *profile { String::new() } else { format!(" with `{}`", profile.name) };
                let why = format!("{name} {goes_on}, and cannot be started{with} now: {}", chain(&other));
                Refusal::MinerUnavailable { why }
            }
        })
    }

    fn restart(&mut self, miner: Option<&MinerName>, now: Instant) -> Result<(MinerName, Profile), Refusal> {
        self.admit()?;
        if let Some((name, refused)) = miner.and_then(|name| self.wanted.refused().get_key_value(name)) {
            let why = instance::refused(name, refused, Duration::ZERO).problem.unwrap_or_default();
            return Err(Refusal::MinerUnavailable { why });
        }
        let name = self.resolve(miner)?;
        let Some(miner) = self.miners.get(&name) else { return Err(self.unknown(name.as_str())) };
        let profile = miner.profile.clone();
        self.check_start(&name, &profile)?;
        let Some(miner) = self.miners.get_mut(&name) else { return Err(self.unknown(name.as_str())) };
        self.wanted.insert(&name, &profile).map_err(|error| internal(&error))?;
        miner.unwritten = None;
        self.order(&name, Event::Restart, now);
        Ok((name, profile))
    }

    fn order(&mut self, name: &MinerName, event: Event, now: Instant) {
        self.on(name, event, now);
        if let Some(miner) = self.miners.get_mut(name) {
            miner.on_trial = miner.state.is_on_trial();
        }
    }

    fn stop(&mut self, choice: &MinerChoice, now: Instant) -> Result<(Stopped, bool), Refusal> {
        self.admit()?;
        let refused: Vec<MinerName> = self.wanted.refused().keys().cloned().collect();
        let names = match choice {
            MinerChoice::All => self.miners.keys().chain(&refused).cloned().collect(),
            MinerChoice::Named(name) if refused.contains(name) => vec![name.clone()],
            MinerChoice::Named(name) => vec![self.resolve(Some(name))?],
            MinerChoice::Only if self.miners.is_empty() => match refused.as_slice() {
                // With none there is nothing to stop, which is what was asked for.
                [] | [_] => refused.clone(),
                _ => return Err(Refusal::AmbiguousMiner { miners: refused }),
            },
            // Asked again when it has stopped the only one that ran, this finds nothing to do and none to choose. It goes
            // no further than that: one that is left to stop may be another than the one that was meant at first.
            MinerChoice::Only if self.miners.len() > 1 && self.none_is_wanted() => {
                return Ok((Stopped { names: self.miners.keys().cloned().collect(), forgotten: vec![] }, false));
            }
            MinerChoice::Only => vec![self.resolve(None)?],
        };
        let (mut stopped, mut changed) = (Stopped { names: vec![], forgotten: vec![] }, false);
        for name in names {
            let refused = self.wanted.refused().get(&name).map(|one| instance::refused(&name, one, Duration::ZERO));
            // A full disk must not keep a miner running; that it may come back with the node is told with its state.
            let unwritten = self.wanted.remove(&name).err().map(|error| chain(&error));
            if let Some(miner) = self.miners.get_mut(&name) {
                if let Some(why) = &unwritten {
                    miner.console.note(&format!("this stop is not written down: {why}"));
                }
                miner.unwritten = unwritten;
                changed |= miner.is_active();
                self.on(&name, Event::Stop, now);
                stopped.names.push(name);
            } else if let Some(status) = refused {
                changed |= unwritten.is_none();
                stopped.forgotten.push(match unwritten {
                    None => MinerStatus { state: MinerState::Stopped, problem: None, ..status },
                    Some(why) => {
                        let problem = instance::short(format!("its stop is not written down: {why}"));
                        MinerStatus { problem: Some(problem), ..status }
                    }
                });
            }
        }
        Ok((stopped, changed))
    }

    /// Whether no miner runs, and none is started again by anybody but an operator.
    fn none_is_wanted(&self) -> bool {
        let wanted = !self.wanted.profiles().is_empty() || !self.wanted.refused().is_empty();
        !wanted && !self.miners.values().any(Instance::is_active)
    }

    /// The miner that is meant: by name, or the only one there is, or the only one that runs.
    fn resolve(&self, miner: Option<&MinerName>) -> Result<MinerName, Refusal> {
        if let Some(name) = miner {
            return self.miners.contains_key(name).then(|| name.clone()).ok_or_else(|| self.unknown(name.as_str()));
        }
        let all: Vec<_> = self.miners.keys().collect();
        let active: Vec<_> = self.miners.values().filter(|miner| miner.is_active()).map(|miner| &miner.name).collect();
        match (all.as_slice(), active.as_slice()) {
            ([], _) => Err(self.unknown("any")),
            ([only], _) | (_, [only]) => Ok((*only).clone()),
            (several, _) => {
                Err(Refusal::AmbiguousMiner { miners: several.iter().map(|name| (*name).clone()).collect() })
            }
        }
    }

    fn unknown(&self, name: &str) -> Refusal {
        Refusal::UnknownMiner { miner: name.to_owned(), miners: self.miners.keys().cloned().collect() }
    }

    /// Answers those whose state has come, or whose patience has ended.
    fn answer(&mut self, now: Instant) {
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Start { name, profile, changed, until, reply } => {
                    let Some(miner) = self.miners.get(&name) else { continue };
                    let mut status = miner.status(now);
                    let answer = match &miner.state.stage {
                        Stage::Starting { .. } | Stage::Stopping { .. } if now < until => {
                            self.waiting.push(Waiting::Start { name, profile, changed, until, reply });
                            continue;
                        }
                        // An order that another overtook was carried out: no refusal, which would say that nothing was
                        // done. Nor did it find so what it is told of, whether it did anything or not.
                        Stage::Stopped => {
                            // Whoever stops a miner takes it off what is wanted; the end of the node does not.
                            let why = if self.wanted.profiles().contains_key(&name) {
                                "its node is ending, and the next one starts it again"
                            } else {
                                "it was stopped meanwhile"
                            };
                            status.problem.get_or_insert_with(|| why.to_owned());
                            Ok((status, true))
                        }
                        // A stop lets the next start take another profile. How that fares is not this order's doing.
                        _ if miner.profile != *profile => {
                            let changed = if miner.profile.name == profile.name { ", which was changed" } else { "" };
                            let other =
                                format!("another start overtook it, of the profile `{}`{changed}", miner.profile.name);
                            let told = status.problem.map_or_else(|| other.clone(), |why| format!("{other}: {why}"));
                            status.problem = Some(instance::short(told));
                            Ok((status, true))
                        }
                        Stage::Failed { retry_at } => {
                            let mut why = status.problem.unwrap_or_else(|| "it did not start".to_owned());
                            if retry_at.is_some() {
                                why.push_str("; it is tried again by itself");
                            }
                            Err(Refusal::MinerUnavailable { why })
                        }
                        Stage::Running { .. } | Stage::Starting { .. } | Stage::Stopping { .. } => {
                            Ok((status, changed))
                        }
                    };
                    let _ = reply.send(answer);
                }
                Waiting::Stop { stopped, changed, until, reply } => {
                    let miners = stopped.names.iter().filter_map(|name| self.miners.get(name));
                    // One that is wanted again was started by somebody else meanwhile: the answer shows it.
                    let overtaken = |miner: &Instance| {
                        miner.unwritten.is_none() && self.wanted.profiles().contains_key(&miner.name)
                    };
                    let done = miners.clone().all(|miner| !miner.is_active() || overtaken(miner));
                    if done || now >= until {
                        let forgotten = stopped.forgotten.iter().cloned();
                        let miners = miners.map(|miner| miner.status(now)).chain(forgotten).take(MAX_MINERS);
                        let _ = reply.send(Ok((miners.collect(), changed)));
                    } else {
                        self.waiting.push(Waiting::Stop { stopped, changed, until, reply });
                    }
                }
            }
        }
    }

    /// What an operator started and does not get going, and what mines elsewhere, is not tried again, not by the next
    /// node either.
    fn forget_failed(&mut self, name: &MinerName) {
        if let Err(error) = self.wanted.remove(name) {
            tracing::error!(miner = %name, error = chain(&error), "cannot forget a miner that failed");
        }
    }

    fn publish(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.began);
        let refused = self.wanted.refused().iter().map(|(name, one)| instance::refused(name, one, since));
        // Those that can run come first: whoever reads takes no more than may run.
        let mut miners: Vec<MinerStatus> =
            self.miners.values().map(|miner| miner.status(now)).chain(refused).take(MAX_MINERS).collect();
        miners.sort_by(|one, other| one.name.cmp(&other.name));
        let known = self.publisher.borrow().clone();
        let same = known.miners.len() == miners.len()
            && known.miners.iter().zip(&miners).all(|(old, new)| timeless(old.clone()) == timeless(new.clone()));
        if !same || known.revision == 0 {
            let revision = known.revision + 1;
            self.publisher.send_replace(Arc::new(MinersSnapshot { revision, miners, at: Some(now) }));
        }
    }
}

fn too_many() -> Refusal {
    Refusal::Conflict { why: format!("{MAX_MINERS} miners run already: stop one first") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::miners::lifecycle::Phase;
    use miner_ctrl_protocol::{Policy, ProfileDraft};
    use std::path::Path;

    fn name() -> MinerName {
        "xmrig-1".parse().unwrap()
    }

    fn profile() -> Profile {
        profile_called("p")
    }

    fn profile_called(name: &str) -> Profile {
        let draft: ProfileDraft = serde_json::from_value(serde_json::json!({
            "name": name, "program": "xmrig", "wallet": "44AFFq5kSiGBoZ", "pools": [{"url": "a.example:1"}],
        }))
        .unwrap();
        draft.check().unwrap()
    }

    /// With one wanted miner, which nobody has started yet.
    fn keeper(directory: &Path) -> Keeper {
        let config = MinersConfig {
            node_name: "rig-alpha".parse().unwrap(),
            data_dir: directory.to_owned(),
            programs: BTreeMap::new(),
            policy: Policy::default(),
            on_shutdown: OnShutdown::Stop,
        };
        let wanted = Wanted::load(directory).unwrap();
        let mut keeper =
            Keeper::new(config, directory.to_owned(), wanted, Vec::new(), watch::channel(Arc::default()).0);
        keeper.wanted.insert(&name(), &profile()).unwrap();
        keeper.miners.insert(name(), Instance::new(name(), profile(), Instant::now()));
        keeper
    }

    #[tokio::test]
    async fn a_miner_that_mines_elsewhere_is_not_started_by_the_next_node_either() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut keeper = keeper(directory.path());
        keeper.miners.get_mut(&name()).unwrap().state = State::adopted(Phase::Mining, now);
        keeper.on(&name(), Event::Strayed("another pool".to_owned()), now);
        assert!(Wanted::load(directory.path()).unwrap().profiles().is_empty());
        // A restart meanwhile is somebody's word; what the process says while it ends is not heard against it.
        keeper.restart(Some(&name()), now).unwrap();
        keeper.on(&name(), Event::Strayed("another pool".to_owned()), now);
        assert!(Wanted::load(directory.path()).unwrap().profiles().contains_key(&name()));
    }

    #[tokio::test]
    async fn a_job_that_panics_leaves_no_miner_that_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut keeper = keeper(directory.path());
        let mut broken = async |kind, state| {
            keeper.miners.get_mut(&name()).unwrap().state = state;
            keeper.job(&name(), 0, kind, async { panic!("on purpose") });
            while let Some(ended) = keeper.jobs.join_next_with_id().await {
                keeper.on_end(ended, now);
            }
            keeper.miners[&name()].state.clone()
        };
        let (starting, _) = State::stopped(now).on(Event::Start, now, driver(profile().program).limits());
        let launch = broken(Kind::Launch, starting).await;
        assert!(matches!(launch.stage, Stage::Failed { .. }), "{launch:?}");
        // Its processes are ended, for their end would be seen by nobody.
        let watch = broken(Kind::Watch, State::adopted(Phase::Mining, now)).await;
        assert!(matches!(watch.stage, Stage::Failed { .. }), "{watch:?}");
        assert!(watch.problem.is_some_and(|why| why.contains("this node failed at it")));
        assert!(keeper.owners.is_empty());
    }

    /// With a wanted miner that runs nothing: this version does not take its profile.
    fn keeper_of_a_profile_that_is_refused(directory: &Path) -> Keeper {
        let mut draft = profile().into_draft();
        draft.wallet = String::new();
        let file = directory.join(wanted::FILE);
        let bytes = serde_json::to_vec(&serde_json::json!({ "old": draft })).unwrap();
        crate::store::atomic::write(&file, &bytes).unwrap();
        keeper(directory)
    }

    fn stopped(keeper: &mut Keeper, choice: MinerChoice) -> Result<(Vec<MinerStatus>, bool), Refusal> {
        let now = Instant::now();
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        keeper.on_command(Command::Stop { choice, reply }, now);
        keeper.answer(now);
        answer.try_recv().unwrap()
    }

    #[tokio::test]
    async fn what_was_wanted_and_is_not_taken_any_more_shows_and_is_forgotten_by_a_stop() {
        let old: MinerName = "old".parse().unwrap();
        for choice in [MinerChoice::All, MinerChoice::Named(old.clone())] {
            let directory = tempfile::tempdir().unwrap();
            let mut keeper = keeper_of_a_profile_that_is_refused(directory.path());
            keeper.publish(Instant::now());
            let shown = keeper.publisher.borrow().miners.clone();
            let found = shown.iter().find(|miner| miner.name == old).unwrap();
            assert_eq!(found.state, MinerState::Failed);
            assert!(found.problem.as_ref().unwrap().contains("wallet"), "{found:?}");
            let again = keeper.restart(Some(&old), Instant::now());
            assert!(matches!(&again, Err(Refusal::MinerUnavailable { why }) if why.contains("wallet")), "{again:?}");

            let (miners, changed) = stopped(&mut keeper, choice).unwrap();
            let found = miners.iter().find(|miner| miner.name == old).unwrap();
            assert!(changed && found.state == MinerState::Stopped && found.problem.is_none(), "{miners:?}");
            assert!(!std::fs::read_to_string(directory.path().join(wanted::FILE)).unwrap().contains("old"));
            keeper.publish(Instant::now());
            assert!(keeper.publisher.borrow().miners.iter().all(|miner| miner.name != old));
            let unknown = stopped(&mut keeper, MinerChoice::Named(old.clone()));
            assert!(matches!(unknown, Err(Refusal::UnknownMiner { .. })), "{unknown:?}");
        }
    }

    #[tokio::test]
    async fn an_order_that_a_stop_overtakes_is_answered_with_the_state_that_it_led_to() {
        let (directory, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut keeper = keeper(directory.path());
        keeper.miners.get_mut(&name()).unwrap().state = State::adopted(Phase::Mining, now);
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        keeper.on_command(Command::Restart { miner: None, reply }, now);
        let (reply, _stopped) = tokio::sync::oneshot::channel();
        keeper.on_command(Command::Stop { choice: MinerChoice::All, reply }, now);
        keeper.on(&name(), Event::Exited { how: String::new(), last_line: None }, now);
        keeper.answer(now);
        let (miner, changed) = answer.try_recv().unwrap().unwrap();
        assert!(changed && miner.state == MinerState::Stopped, "{miner:?}");
        assert_eq!(miner.problem.as_deref(), Some("it was stopped meanwhile"));
    }

    type Answer = tokio::sync::oneshot::Receiver<Result<(MinerStatus, bool), Refusal>>;

    /// Orders a start, or without a profile a restart; the answer comes later.
    fn order(keeper: &mut Keeper, profile: Option<Profile>) -> Answer {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let command = match profile {
            Some(profile) => Command::Start { profile: Box::new(profile), miner: Some(name()), reply },
            None => Command::Restart { miner: Some(name()), reply },
        };
        keeper.on_command(command, Instant::now());
        answer
    }

    fn order_stop(keeper: &mut Keeper) {
        let (reply, _answer) = tokio::sync::oneshot::channel();
        keeper.on_command(Command::Stop { choice: MinerChoice::All, reply }, Instant::now());
    }

    /// The process, which was asked to end, is gone.
    fn end(keeper: &mut Keeper) {
        keeper.on(&name(), Event::Exited { how: String::new(), last_line: None }, Instant::now());
    }

    #[tokio::test]
    async fn an_order_that_a_stop_and_another_start_overtake_is_not_said_to_be_done() {
        let (other, now) = (profile_called("other"), Instant::now());
        for ordered in [Some(profile()), None] {
            for comes in [Event::Reading(Phase::Mining), Event::LaunchFailed("no room".to_owned())] {
                let directory = tempfile::tempdir().unwrap();
                let mut keeper = keeper(directory.path());
                if ordered.is_none() {
                    keeper.miners.get_mut(&name()).unwrap().state = State::adopted(Phase::Mining, now);
                }
                let mut first = order(&mut keeper, ordered.clone());
                keeper.on(&name(), Event::Launched, now);
                order_stop(&mut keeper);
                let mut second = order(&mut keeper, Some(other.clone()));
                keeper.answer(now);
                assert!(first.try_recv().is_err(), "what comes of it is not known yet");
                end(&mut keeper);
                let fails = matches!(comes, Event::LaunchFailed(_));
                if !fails {
                    keeper.on(&name(), Event::Launched, now);
                }
                keeper.on(&name(), comes.clone(), now);
                keeper.answer(now);
                let (miner, _) = first.try_recv().unwrap().unwrap();
                let why = if fails { ": no room" } else { "" };
                assert_eq!(miner.problem, Some(format!("another start overtook it, of the profile `other`{why}")));
                assert_eq!(second.try_recv().unwrap().is_err(), fails);
            }
        }
    }

    #[tokio::test]
    async fn an_order_that_did_nothing_did_not_find_so_what_overtook_it() {
        let (directory, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut keeper = keeper(directory.path());
        let _starter = order(&mut keeper, Some(profile()));
        keeper.on(&name(), Event::Launched, now);
        let mut second = order(&mut keeper, Some(profile()));
        order_stop(&mut keeper);
        end(&mut keeper);
        keeper.answer(now);
        let (miner, changed) = second.try_recv().unwrap().unwrap();
        assert!(changed && miner.state == MinerState::Stopped, "`stopped already` is no answer to a start: {miner:?}");
    }

    #[tokio::test]
    async fn a_start_that_the_end_of_the_node_overtakes_says_that_it_comes_back() {
        let (directory, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut keeper = keeper(directory.path());
        let mut answer = order(&mut keeper, Some(profile()));
        keeper.on(&name(), Event::Launched, now);
        let (reply, _ended) = tokio::sync::oneshot::channel();
        keeper.on_command(Command::Shutdown { reply }, now);
        end(&mut keeper);
        keeper.answer(now);
        let (miner, _) = answer.try_recv().unwrap().unwrap();
        assert_eq!(miner.problem.as_deref(), Some("its node is ending, and the next one starts it again"));
        assert!(Wanted::load(directory.path()).unwrap().profiles().contains_key(&name()));
    }

    #[tokio::test]
    async fn a_stop_that_names_no_miner_can_be_repeated_when_none_of_several_is_left_to_stop() {
        let (directory, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut keeper = keeper(directory.path());
        let second: MinerName = "xmrig-2".parse().unwrap();
        keeper.miners.insert(second.clone(), Instance::new(second.clone(), profile(), now));
        keeper.miners.get_mut(&name()).unwrap().state = State::adopted(Phase::Mining, now);
        let (reply, _answer) = tokio::sync::oneshot::channel();
        keeper.on_command(Command::Stop { choice: MinerChoice::Only, reply }, now);
        end(&mut keeper);
        let (miners, changed) = stopped(&mut keeper, MinerChoice::Only).unwrap();
        let names: Vec<_> = miners.iter().map(|miner| miner.name.as_str()).collect();
        assert!(!changed && miners.iter().all(|miner| miner.state == MinerState::Stopped), "{miners:?}");
        assert_eq!(names, ["xmrig-1", "xmrig-2"]);
        // One that the next node would start is left to stop, and which is meant is not guessed.
        keeper.wanted.insert(&second, &profile()).unwrap();
        let refused = stopped(&mut keeper, MinerChoice::Only);
        assert!(matches!(refused, Err(Refusal::AmbiguousMiner { .. })), "{refused:?}");
        // To restart, or to read, one of them has to be named all the same.
        assert!(matches!(keeper.restart(None, now), Err(Refusal::AmbiguousMiner { .. })));
    }

    #[tokio::test]
    async fn an_order_that_the_end_of_the_node_overtakes_is_answered_with_the_state_that_it_led_to() {
        let (directory, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut keeper = keeper(directory.path());
        keeper.on_shutdown = OnShutdown::Leave;
        keeper.miners.get_mut(&name()).unwrap().state = State::adopted(Phase::Mining, now);
        let (reply, answer) = tokio::sync::oneshot::channel();
        keeper.on_command(Command::Restart { miner: None, reply }, now);
        let (reply, _ended) = tokio::sync::oneshot::channel();
        keeper.on_command(Command::Shutdown { reply }, now);
        keeper.run(mpsc::channel(1).1, mpsc::channel(1).1).await;
        let (miner, changed) = answer.await.unwrap().unwrap();
        assert!(changed && miner.state == MinerState::Stopping, "{miner:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_forgotten_on_the_disk_is_not_said_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("miners");
        std::fs::create_dir(&elsewhere).unwrap();
        let mut keeper = keeper_of_a_profile_that_is_refused(&elsewhere);
        std::fs::remove_dir_all(&elsewhere).unwrap();
        let (miners, changed) = stopped(&mut keeper, MinerChoice::Named("old".parse().unwrap())).unwrap();
        assert!(!changed && miners[0].problem.as_ref().unwrap().contains("not written down"), "{miners:?}");
        assert!(keeper.wanted.refused().len() == 1, "the next stop tries again");
    }

    #[tokio::test]
    async fn a_start_that_cannot_be_written_down_is_refused_and_says_what_the_system_said() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("miners");
        std::fs::create_dir(&elsewhere).unwrap();
        let mut keeper = keeper(&elsewhere);
        std::fs::remove_dir_all(&elsewhere).unwrap();
        let refusal = keeper.start(&profile(), Some("other".parse().unwrap()), Instant::now()).unwrap_err();
        let told = refusal.to_string();
        assert!(told.ends_with(": No such file or directory (os error 2)"), "{told}");
    }

    #[tokio::test]
    async fn a_stop_that_cannot_be_written_down_stops_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut keeper = keeper(directory.path());
        keeper.miners.get_mut(&name()).unwrap().state = State::adopted(Phase::Mining, now);
        let nowhere = directory.path().join("gone");
        std::fs::create_dir(&nowhere).unwrap();
        keeper.wanted = Wanted::load(&nowhere).unwrap();
        keeper.wanted.insert(&name(), &profile()).unwrap();
        std::fs::remove_dir_all(&nowhere).unwrap();
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        keeper.on_command(Command::Stop { choice: MinerChoice::All, reply }, now);
        keeper.answer(now);
        assert!(answer.try_recv().is_err(), "it has not ended yet");
        keeper.on(&name(), Event::Exited { how: String::new(), last_line: None }, now);
        keeper.answer(now);
        let (miners, changed) = answer.try_recv().unwrap().unwrap();
        assert!(changed && miners[0].state == MinerState::Stopped);
        assert!(miners[0].problem.as_ref().unwrap().contains("not written down"), "{miners:?}");
    }
}
