//! One miner as the supervisor holds it: its place in the table, and what belongs to its current process.

use std::time::Duration;

use miner_ctrl_protocol::stats::{MAX_TEXT, Shares};
use miner_ctrl_protocol::{Hashrate, MinerName, MinerState, MinerStatus, Policy, Profile};
use tokio::time::Instant;

use super::console::Console;
use super::driver::{Endpoint, Reading};
use super::drivers::driver;
use super::lifecycle::{Afterwards, Event, NOTABLE_SILENCE, Stage, State};
use super::process::Process;
use super::wanted::Refused;

/// Between questions while its API is not verified: a start is waited for.
const POLL_STARTING: Duration = Duration::from_millis(100);
/// Between questions in the first [`YOUNG`] of running, when states follow each other.
const POLL_YOUNG: Duration = Duration::from_secs(1);
/// Between questions later: rates move over 10 s.
const POLL: Duration = Duration::from_secs(3);
/// How long a process is young.
const YOUNG: Duration = Duration::from_secs(30);

/// Without a first answer for this long there is something to tell; less than whoever asked for the start waits.
const NOTABLE_STARTING: Duration = Duration::from_secs(10);
/// Without a pool for this long what its console says of that is told: the first answer of a pool often names the cause.
const NOTABLE_REFUSAL: Duration = Duration::from_secs(10);
/// Without a pool for this long there is something to tell.
const NOTABLE_CONNECTING: Duration = Duration::from_secs(60);
/// With a job and without a hash for this long there is something to tell: the longest dataset is built by then.
const NOTABLE_WARMING: Duration = Duration::from_secs(600);

/// One miner.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: MinerName,
    pub(super) profile: Profile,
    pub(super) console: Console,
    pub(super) state: State,
    /// The console's newest line when the current process was launched: what comes after it is its own.
    pub(super) launched_at: u64,
    /// Grows with each spawn; answers that belong to an earlier process are dropped by it.
    pub(super) generation: u64,
    pub(super) process: Option<Running>,
    /// Why its stop could not be written down, so that the next node starts it again.
    pub(super) unwritten: Option<String>,
    /// Started by an operator, and not running yet.
    pub(super) on_trial: bool,
    /// The problem that was told last: one that comes back every few seconds is told once.
    pub(super) told: Option<String>,
}

/// What belongs to the current process.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) endpoint: Endpoint,
    pub(super) started: Instant,
    pub(super) reading: Option<Reading>,
    /// When its devices were read last.
    devices_at: Instant,
    /// Whether it has been seen at one of the profile's pools.
    pub(super) settled: bool,
    /// When it is asked next; nothing while a question is open.
    pub(super) next_poll: Option<Instant>,
    /// The console's newest line when it was asked to end: what it says from there on tells of that.
    pub(super) asked_to_end: Option<u64>,
}

impl Running {
    /// Of a process that was started at that time.
    pub(super) fn new(process: Process, endpoint: Endpoint, started: Instant, now: Instant) -> Self {
        Self {
            process,
            endpoint,
            started,
            reading: None,
            devices_at: now,
            settled: false,
            next_poll: Some(now),
            asked_to_end: None,
        }
    }
}

impl Instance {
    pub(super) fn new(name: MinerName, profile: Profile, now: Instant) -> Self {
        let console = Console::default();
        Self {
            name,
            profile,
            launched_at: console.newest(),
            console,
            state: State::stopped(now),
            generation: 0,
            process: None,
            unwritten: None,
            on_trial: false,
            told: None,
        }
    }

    /// Whether it has a process, or will have one without anybody's doing.
    pub(super) const fn is_active(&self) -> bool {
        !matches!(self.state.stage, Stage::Stopped | Stage::Failed { retry_at: None })
    }

    /// Whether a start has nothing to do: it runs, or is on its way.
    pub(super) const fn is_up(&self) -> bool {
        matches!(
            self.state.stage,
            Stage::Starting { .. }
                | Stage::Running { .. }
                | Stage::Stopping { then: Afterwards::NextPort { .. } | Afterwards::Restart(_), .. }
        )
    }

    /// Whether its process has been seen at one of the profile's pools.
    pub(super) fn is_settled(&self) -> bool {
        self.process.as_ref().is_some_and(|running| running.settled)
    }

    /// What a reading means for the table; keeps it when it is about our process.
    pub(super) fn take(&mut self, mut reading: Reading, policy: &Policy, now: Instant) -> Event {
        let Some(running) = &mut self.process else { return Event::Tick };
        // Whoever made it go there: it is the rig that decides.
        if let Some(pool) = reading.pool_outside(policy) {
            return Event::Strayed(format!("it mines at {pool}, which the rig's policy does not list"));
        }
        let first = matches!(self.state.stage, Stage::Starting { .. });
        let wrong = if first || !running.settled { reading.contradicts(&self.profile) } else { None };
        if let Some(wrong) = wrong {
            return Event::Strayed(wrong);
        }
        running.settled |= reading.pool.is_some();
        let phase = reading.phase;
        if !reading.devices.is_empty() {
            running.devices_at = now;
        } else if now.saturating_duration_since(running.devices_at) < NOTABLE_SILENCE
            && let Some(known) = &mut running.reading
        {
            // They are asked for apart, and that may fail once.
            reading.devices = std::mem::take(&mut known.devices);
        }
        running.reading = Some(reading);
        Event::Reading(phase)
    }

    /// When it is to be asked next, once the current question is answered.
    pub(super) fn poll_after(&mut self, now: Instant) {
        let pause = match &self.state.stage {
            Stage::Starting { .. } => POLL_STARTING,
            Stage::Running { verified, .. } if now.saturating_duration_since(*verified) > YOUNG => POLL,
            Stage::Running { .. } | Stage::Failed { .. } | Stage::Stopped | Stage::Stopping { .. } => POLL_YOUNG,
        };
        if let Some(running) = &mut self.process {
            running.next_poll = Some(now + pause);
        }
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let asks = matches!(self.state.stage, Stage::Starting { .. } | Stage::Running { .. });
        let poll = self.process.as_ref().filter(|_| asks).and_then(|running| running.next_poll);
        [poll, self.state.next_tick()].into_iter().flatten().min()
    }

    /// What the world is told.
    pub(super) fn status(&self, now: Instant) -> MinerStatus {
        let state = self.state.shown();
        let running = self.process.as_ref();
        let reading = running.and_then(|running| running.reading.as_ref());
        // What it measured before it fell silent is not what it measures.
        let measured = reading.filter(|_| {
            matches!(self.state.stage, Stage::Running { answered, .. } if now.saturating_duration_since(answered) < NOTABLE_SILENCE)
        });
        // That a young process does not answer yet is no problem before its time is over.
        let is_young = matches!(self.state.stage, Stage::Starting { deadline: Some(_), .. });
        let known = self.state.problem.clone().filter(|_| !is_young);
        let algorithm = reading.and_then(|reading| reading.algorithm.clone());
        // A coin is no algorithm. It stands for one where a program hashes and never says what, as TT-Miner: rates of
        // one coin can be summed, too.
        let hashes = measured.and_then(Reading::hashrate).is_some_and(|rate| rate > Hashrate::ZERO);
        let coin = || self.profile.coin.clone().filter(|_| hashes);
        MinerStatus {
            name: self.name.clone(),
            program: self.profile.program,
            profile: Some(self.profile.name.clone()),
            state,
            state_seconds: now.saturating_duration_since(self.state.since).as_secs(),
            uptime_seconds: running.map_or(0, |running| now.saturating_duration_since(running.started).as_secs()),
            hashrate: measured.and_then(Reading::hashrate),
            hashrates: measured.map_or([None; 3], |reading| reading.hashrates),
            shares: reading.map(|reading| reading.shares).unwrap_or_default(),
            algorithm: algorithm.or_else(|| self.profile.algorithm.clone()).or_else(coin),
            pool: reading.and_then(|reading| reading.pool.clone()),
            version: reading.and_then(|reading| reading.version.clone()),
            devices: measured.map(|reading| reading.devices.clone()).unwrap_or_default(),
            restarts: self.state.restarts,
            problem: known.or_else(|| self.problem(state, reading, now)).map(short),
        }
    }

    /// What is wrong though the table is content.
    fn problem(&self, state: MinerState, reading: Option<&Reading>, now: Instant) -> Option<String> {
        if let Some(pool) = reading.and_then(|reading| reading.strays_from(&self.profile)) {
            return Some(format!("its pool has drifted to {pool}, which the profile does not name"));
        }
        let long = now.saturating_duration_since(self.state.since);
        let driver = driver(self.profile.program);
        match state {
            MinerState::Stopped => self
                .unwritten
                .as_ref()
                .map(|why| format!("its stop is not written down, and the next node starts it again: {why}")),
            MinerState::Starting if long >= NOTABLE_STARTING => {
                let patience = driver.limits().patience.as_secs();
                Some(format!("its API does not answer yet; it has {patience} s from its start"))
            }
            MinerState::Connecting | MinerState::NoPool if long >= NOTABLE_REFUSAL => {
                let trouble = self.console.newest_of(self.launched_at, |line| driver.pool_trouble(line));
                let silence = || "no pool of the profile answers".to_owned();
                let told = trouble.map(|trouble| format!("no job from a pool of the profile: {trouble}"));
                told.or_else(|| (state == MinerState::Connecting && long >= NOTABLE_CONNECTING).then(silence))
            }
            MinerState::Warming if long >= NOTABLE_WARMING => Some("it has a job and does not hash".to_owned()),
            _ => None,
        }
    }
}

/// What the world is told of one that was wanted and whose profile is not taken any more.
pub(super) fn refused(name: &MinerName, Refused { draft, why }: &Refused, since: Duration) -> MinerStatus {
    MinerStatus {
        name: name.clone(),
        program: draft.program,
        profile: Some(draft.name.clone()),
        state: MinerState::Failed,
        state_seconds: since.as_secs(),
        uptime_seconds: 0,
        hashrate: None,
        hashrates: [None; 3],
        shares: Shares::default(),
        algorithm: None,
        pool: None,
        version: None,
        devices: vec![],
        restarts: 0,
        problem: Some(short(format!(
            "its profile cannot be taken: {why}; stop it to forget it, or start another under its name"
        ))),
    }
}

/// As long as whoever asks takes it. Paths and a program's own words are in it.
pub(super) fn short(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let mut end = MAX_TEXT - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A status without what changes by the mere passing of time.
pub(super) fn timeless(mut status: MinerStatus) -> MinerStatus {
    (status.state_seconds, status.uptime_seconds) = (0, 0);
    status
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::miners::driver::tests::reading;
    use crate::miners::lifecycle::{Phase, StartLimits};
    use crate::miners::process::{self, Spawn};
    use miner_ctrl_protocol::ProfileDraft;
    use miner_ctrl_protocol::stats::DeviceStats;

    const LIMITS: StartLimits = StartLimits { patience: Duration::from_secs(30), ports: 3 };

    /// With a process, which has not answered yet.
    fn started(directory: &Path, now: Instant) -> Instance {
        std::fs::create_dir(directory.join("home")).unwrap();
        let draft: ProfileDraft = serde_json::from_value(serde_json::json!({
            "name": "p", "program": "xmrig", "coin": "monero", "wallet": "44AFFq5kSiGBoZ",
            "pools": [{"url": "a.example:1"}],
        }))
        .unwrap();
        let mut miner = Instance::new("xmrig-1".parse().unwrap(), draft.check().unwrap(), now);
        let spawn = Spawn { program: "/bin/true".into(), args: vec![], directory: directory.to_owned(), shield: false };
        let (process, _) = process::spawn(&spawn, &miner.console).unwrap();
        let endpoint = Endpoint { port: 1, token: "t".into(), worker_id: "w".into() };
        miner.process = Some(Running::new(process, endpoint, now, now));
        miner.state = State::stopped(now).on(Event::Start, now, LIMITS).0.on(Event::Launched, now, LIMITS).0;
        miner
    }

    fn take(miner: &mut Instance, reading: Reading, now: Instant) {
        let event = miner.take(reading, &Policy::default(), now);
        let state = std::mem::replace(&mut miner.state, State::stopped(now));
        miner.state = state.on(event, now, LIMITS).0;
    }

    #[tokio::test]
    async fn that_a_young_miner_does_not_answer_is_told_when_it_takes_long() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut miner = started(directory.path(), now);
        miner.state = miner.state.on(Event::Silent("refused".into()), now, LIMITS).0;
        assert_eq!(miner.status(now).problem, None);
        let problem = miner.status(now + NOTABLE_STARTING).problem;
        assert_eq!(problem.as_deref(), Some("its API does not answer yet; it has 30 s from its start"));
    }

    #[tokio::test]
    async fn why_there_is_no_job_is_told_in_the_words_of_its_console() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut miner = started(directory.path(), now);
        take(&mut miner, Reading { phase: Phase::Connecting, pool: None, ..reading() }, now);
        let problem = |miner: &Instance, seconds| miner.status(now + Duration::from_secs(seconds)).problem;
        assert_eq!(
            (problem(&miner, 10), problem(&miner, 60).as_deref()),
            (None, Some("no pool of the profile answers"))
        );
        let lines = "[2026-12-03 11:00:00.000]  net      a.example:1 error: \"Unauthenticated\", code: -1\n\
            [2026-12-03 11:00:05.000]  miner    speed 10s/60s/15m n/a n/a n/a H/s max n/a H/s\n";
        miner.console.clone().drink(lines.as_bytes()).await;
        miner.console.note("a line of ours");
        let told = "no job from a pool of the profile: a.example:1 error: \"Unauthenticated\", code: -1";
        assert_eq!((problem(&miner, 9), problem(&miner, 10).as_deref()), (None, Some(told)));
        // What was said before it was started anew is not its own.
        miner.launched_at = miner.console.newest();
        assert_eq!(problem(&miner, 10), None);
    }

    #[tokio::test]
    async fn devices_are_kept_over_a_question_that_failed_and_not_longer() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut miner = started(directory.path(), now);
        take(&mut miner, Reading { devices: vec![DeviceStats::default()], ..reading() }, now);
        for (seconds, devices) in [(3, 1), (12, 1), (15, 0)] {
            let now = now + Duration::from_secs(seconds);
            take(&mut miner, reading(), now);
            assert_eq!(miner.status(now).devices.len(), devices, "{seconds}");
        }
    }

    #[tokio::test]
    async fn a_coin_stands_for_the_algorithm_only_where_a_program_hashes_and_names_none() {
        let directory = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut miner = started(directory.path(), now);
        assert_eq!(miner.status(now).algorithm, None);
        for (rate, named, shown) in
            [(0.0, None, None), (9.0, None, Some("monero")), (9.0, Some("rx/0"), Some("rx/0")), (0.0, None, None)]
        {
            let hashrates = [miner_ctrl_protocol::Hashrate::per_second(rate), None, None];
            take(&mut miner, Reading { hashrates, algorithm: named.map(str::to_owned), ..reading() }, now);
            assert_eq!(miner.status(now).algorithm.as_deref(), shown);
        }
    }
}
