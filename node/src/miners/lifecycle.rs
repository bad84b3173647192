//! What happens to one miner, and when: a pure table. The supervisor performs the actions and reports events.
//!
//! ```text
//!             start                  API verified
//!   stopped ─────────► starting ───────────────────► running: connecting, warming, mining, paused, no pool
//!      ▲                  │  ▲  ▲                       │  │
//!      │       stop       │  │  └── after a pause ── failed ◄── ended by itself
//!      └──── stopping ◄───┴──┴──────────────────────────┘
//!        TERM, 5 s, TERM, 2 s, KILL
//! ```

use std::time::Duration;

use miner_ctrl_protocol::MinerState;
use tokio::time::Instant;

/// Between the first and the second TERM: XMRig stops within 0.3 s, or within its dataset's construction, which on
/// slow machines takes longer than anybody waits. A node that stops must be done with all of it within 10 s: so long
/// containers are given before they are killed.
pub const FIRST_TERM: Duration = Duration::from_secs(5);
/// Between the second TERM, which kills XMRig at once, and KILL.
pub const SECOND_TERM: Duration = Duration::from_secs(2);
/// Between one KILL and the next: a process inside the kernel dies when it comes out.
pub const AGAIN_KILL: Duration = Duration::from_secs(5);

/// Pause before the first start by itself; doubled each time.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause before a start by itself: a repaired machine mines again within a minute.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A process that ran this long had got going: the pause starts over.
pub const GOT_GOING: Duration = Duration::from_secs(60);
/// Pause before the next start by itself of a program that could not even be launched: the disk may have room again.
pub const NO_LAUNCH_PAUSE: Duration = Duration::from_secs(5);
/// Failures in a row after which it is given up: about five minutes of pauses.
pub const MOST_FAILURES: u32 = 10;

/// Without an answer from the API for this long the miner's event loop hangs, and it submits nothing: start it again.
pub const MOST_SILENCE: Duration = Duration::from_secs(60);
/// Questions in a row without an answer, at least, for a miner to count as hung: a rig that stood still as a whole, or was
/// suspended, finds one that was under way and a minute gone.
pub const MOST_UNANSWERED: u32 = 4;
/// Silence that is worth telling.
pub const NOTABLE_SILENCE: Duration = Duration::from_secs(15);

/// How long a program may take to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartLimits {
    /// From spawn to the first verified answer.
    pub patience: Duration,
    /// Starts on another port when a stranger has the chosen one.
    pub ports: u32,
}

/// Where a running miner stands, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No job from a pool yet.
    Connecting,
    /// Hashing.
    Mining,
    /// Its pool is gone.
    NoPool,
    /// Paused.
    Paused,
    /// A job, and no rate yet.
    Warming,
}

impl From<Phase> for MinerState {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Connecting => Self::Connecting,
            Phase::Mining => Self::Mining,
            Phase::NoPool => Self::NoPool,
            Phase::Paused => Self::Paused,
            Phase::Warming => Self::Warming,
        }
    }
}

/// Who wanted a start. What an operator asks for fails at once and for good; what the rig does by itself is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The rig: it ran before.
    Itself,
    /// Somebody who waits for the answer.
    Operator,
}

/// What becomes of a miner once its process is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Afterwards {
    /// It failed; whether it is tried again depends on who started it.
    Fail(By),
    /// Another start on another port.
    NextPort {
        /// Who wanted the start.
        by: By,
        /// Ports tried so far.
        ports: u32,
    },
    /// It is started anew, on demand: what ran until then is wanted whatever comes of it.
    Restart(By),
    /// It stays stopped.
    Stopped,
}

/// What a stop does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStep {
    /// TERM was sent once.
    Term,
    /// TERM was sent twice.
    TermAgain,
    /// KILL was sent.
    Kill,
}

/// The stages of a miner's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It ended by itself or never got going.
    Failed {
        /// When it is started again; never when it was given up.
        retry_at: Option<Instant>,
    },
    /// Its API has been verified.
    Running {
        /// By its own word.
        phase: Phase,
        /// When it was verified.
        verified: Instant,
        /// When it last answered.
        answered: Instant,
        /// Questions since then.
        unanswered: u32,
    },
    /// Being spawned, or spawned and not verified.
    Starting {
        /// Who wanted it.
        by: By,
        /// Ports tried before this one.
        ports: u32,
        /// Until when it must be verified; nothing while it is being spawned.
        deadline: Option<Instant>,
    },
    /// No process.
    Stopped,
    /// A stop is under way.
    Stopping {
        /// What was sent, and when the next step is due; nothing while its spawn has not finished.
        step: Option<(StopStep, Instant)>,
        /// What follows.
        then: Afterwards,
    },
}

/// One miner's place in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where it is.
    pub stage: Stage,
    /// Since when it shows the same [`MinerState`].
    pub since: Instant,
    /// Failures in a row.
    pub failures: u32,
    /// Starts by itself since the last one on purpose.
    pub restarts: u32,
    /// What went wrong last, until it runs again.
    pub problem: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The process is gone.
    Exited {
        /// How it ended.
        how: String,
        /// The last line that it wrote, if any.
        last_line: Option<String>,
    },
    /// It cannot be spawned.
    LaunchFailed(String),
    /// It was spawned.
    Launched,
    /// A stranger answers on its port.
    PortTaken(String),
    /// It was asked and said where it stands.
    Reading(Phase),
    /// Somebody wants it started anew.
    Restart,
    /// It ran before, and shall again.
    Resume,
    /// It was asked and did not answer.
    Silent(String),
    /// Somebody wants it started.
    Start,
    /// Somebody wants it stopped.
    Stop,
    /// It runs, but not as asked.
    Strayed(String),
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send KILL to its process group.
    Kill,
    /// Nothing.
    None,
    /// Spawn it.
    Spawn,
    /// Send TERM to its process group.
    Term,
}

impl State {
    /// A miner without a process.
    #[must_use]
    pub const fn stopped(now: Instant) -> Self {
        Self { stage: Stage::Stopped, since: now, failures: 0, restarts: 0, problem: None }
    }

    /// A miner that was found running, and verified.
    #[must_use]
    pub const fn adopted(phase: Phase, now: Instant) -> Self {
        let stage = Stage::Running { phase, verified: now, answered: now, unanswered: 0 };
        Self { stage, since: now, failures: 0, restarts: 0, problem: None }
    }

    /// What it shows to the world.
    #[must_use]
    pub fn shown(&self) -> MinerState {
        match &self.stage {
            Stage::Failed { .. } => MinerState::Failed,
            Stage::Running { phase, .. } => (*phase).into(),
            // Tried every few seconds, it would seem to come and go.
            Stage::Starting { by: By::Itself, ports: 0, deadline: None } if self.problem.is_some() => {
                MinerState::Failed
            }
            Stage::Starting { .. } => MinerState::Starting,
            Stage::Stopped => MinerState::Stopped,
            // A new attempt of the same start is still that start.
            Stage::Stopping { then: Afterwards::NextPort { .. }, .. } => MinerState::Starting,
            Stage::Stopping { .. } => MinerState::Stopping,
        }
    }

    /// The end of the process in words: one that was asked to end did not end by itself.
    #[must_use]
    pub fn told(&self, how: &str) -> String {
        match &self.stage {
            Stage::Stopping { .. } => how.replacen("it ended by itself", "it ended as asked", 1),
            _ => how.to_owned(),
        }
    }

    /// Whether what is under way is an order that fails at once and for good.
    #[must_use]
    pub const fn is_on_trial(&self) -> bool {
        matches!(
            &self.stage,
            Stage::Starting { by: By::Operator, .. } | Stage::Stopping { then: Afterwards::Restart(By::Operator), .. }
        )
    }

    /// Who wants what is under way. What runs, or is tried again, the rig goes on with whatever comes of an order to
    /// start it anew.
    const fn wanted_by(&self) -> By {
        match &self.stage {
            Stage::Running { .. } | Stage::Failed { retry_at: Some(_) } => By::Itself,
            Stage::Starting { by, .. } => *by,
            Stage::Stopping { then, .. } => match then {
                Afterwards::Fail(by) | Afterwards::NextPort { by, .. } | Afterwards::Restart(by) => *by,
                Afterwards::Stopped => By::Operator,
            },
            Stage::Stopped | Stage::Failed { retry_at: None } => By::Operator,
        }
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub const fn next_tick(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Failed { retry_at } => *retry_at,
            Stage::Starting { deadline, .. } => *deadline,
            Stage::Stopping { step: Some((_, due)), .. } => Some(*due),
            Stage::Running { .. } | Stage::Stopped | Stage::Stopping { step: None, .. } => None,
        }
    }

    /// The table.
    #[must_use]
    pub fn on(self, event: Event, now: Instant, limits: StartLimits) -> (Self, Action) {
        let shown = self.shown();
        let (mut next, action) = self.turn(event, now, limits);
        if next.shown() != shown {
            next.since = now;
        }
        (next, action)
    }

    fn turn(mut self, event: Event, now: Instant, limits: StartLimits) -> (Self, Action) {
        let wanted_by = self.wanted_by();
        match (self.stage.clone(), event) {
            // On demand: from anywhere, with a clean slate.
            (Stage::Stopped | Stage::Failed { .. }, Event::Start | Event::Restart) => self.spawn_anew(wanted_by),
            (Stage::Stopped, Event::Resume) => self.spawn_anew(By::Itself),
            (Stage::Failed { .. }, Event::Stop) => (Self::stopped(now), Action::None),
            (Stage::Starting { .. } | Stage::Running { .. }, Event::Stop) => self.stop(Afterwards::Stopped, now),
            (Stage::Starting { .. } | Stage::Running { .. }, Event::Restart) => {
                self.stop(Afterwards::Restart(wanted_by), now)
            }
            (Stage::Stopping { step, .. }, Event::Start | Event::Restart) => {
                self.to(Stage::Stopping { step, then: Afterwards::Restart(wanted_by) })
            }
            (Stage::Stopping { step, .. }, Event::Stop) => self.to(Stage::Stopping { step, then: Afterwards::Stopped }),

            // A start.
            (Stage::Starting { by, ports, .. }, Event::Launched) => {
                self.to(Stage::Starting { by, ports, deadline: Some(now + limits.patience) })
            }
            (Stage::Starting { by, .. }, Event::Exited { how, last_line }) => {
                self.fail(by, with_last_line(how, last_line), now)
            }
            (Stage::Starting { by: By::Itself, ports, .. }, Event::LaunchFailed(why)) => {
                // Nothing ran that could have crashed: a full disk, say. It is not given up for that.
                self.problem = Some(why);
                // This start was none; one on another port was not counted.
                self.restarts = self.restarts.saturating_sub(u32::from(ports == 0));
                self.to(Stage::Failed { retry_at: Some(now + NO_LAUNCH_PAUSE) })
            }
            (Stage::Starting { by: By::Operator, .. }, Event::LaunchFailed(why)) => self.fail(By::Operator, why, now),
            (Stage::Starting { deadline: Some(_), .. }, Event::Reading(phase)) => {
                self.problem = None;
                self.to(Stage::Running { phase, verified: now, answered: now, unanswered: 0 })
            }
            (Stage::Starting { by, ports, deadline: Some(_) }, Event::PortTaken(why)) => {
                self.problem = Some(why);
                let next = ports + 1;
                let then =
                    if next < limits.ports { Afterwards::NextPort { by, ports: next } } else { Afterwards::Fail(by) };
                self.stop(then, now)
            }
            (Stage::Starting { .. }, Event::Silent(why)) => {
                // Kept for the moment when patience ends.
                self.problem = Some(why);
                (self, Action::None)
            }
            (Stage::Starting { by, deadline: Some(deadline), .. }, Event::Tick) if now >= deadline => {
                let late = format!("not ready within {} s", limits.patience.as_secs());
                self.problem = Some(match self.problem.take() {
                    Some(why) => format!("{late}: {why}"),
                    None => late,
                });
                self.stop(Afterwards::Fail(by), now)
            }

            // A life.
            (Stage::Running { verified, .. }, Event::Reading(phase)) => {
                self.problem = None;
                self.to(Stage::Running { phase, verified, answered: now, unanswered: 0 })
            }
            (Stage::Running { phase, verified, answered, unanswered }, Event::Silent(why) | Event::PortTaken(why)) => {
                let silence = now.saturating_duration_since(answered);
                let unanswered = unanswered.saturating_add(1);
                if silence >= MOST_SILENCE && unanswered >= MOST_UNANSWERED {
                    self.problem = Some(format!("hung: {why}"));
                    // The silence itself is no sign that it had got going.
                    self.forget_failures(verified, answered);
                    return self.stop(Afterwards::Fail(By::Itself), now);
                }
                if silence >= NOTABLE_SILENCE {
                    self.problem = Some(why);
                }
                self.to(Stage::Running { phase, verified, answered, unanswered })
            }
            (Stage::Starting { .. } | Stage::Running { .. }, Event::Strayed(why)) => {
                // Starting it again would stray again, whoever wanted it.
                self.problem = Some(why);
                self.stop(Afterwards::Fail(By::Operator), now)
            }
            (Stage::Running { verified, .. }, Event::Exited { how, last_line }) => {
                self.forget_failures(verified, now);
                self.fail(By::Itself, with_last_line(how, last_line), now)
            }

            // A stop.
            (Stage::Stopping { step: None, then }, Event::Launched) => self.stop(then, now),
            (Stage::Stopping { then, .. }, event @ (Event::Exited { .. } | Event::LaunchFailed(_))) => match then {
                Afterwards::Stopped => (Self::stopped(now), Action::None),
                Afterwards::Restart(by) => self.spawn_anew(by),
                Afterwards::NextPort { by, ports } => {
                    self.stage = Stage::Starting { by, ports, deadline: None };
                    (self, Action::Spawn)
                }
                Afterwards::Fail(by) => {
                    let why = self.problem.take().unwrap_or_else(|| "it was ended".to_owned());
                    // What it waits for may stand there: a prompt, say.
                    let last_line = if let Event::Exited { last_line, .. } = event { last_line } else { None };
                    self.fail(by, with_last_line(why, last_line), now)
                }
            },
            (Stage::Stopping { step: Some((step, due)), then }, Event::Tick) if now >= due => {
                let (next, pause, action) = match step {
                    StopStep::Term => (StopStep::TermAgain, SECOND_TERM, Action::Term),
                    StopStep::TermAgain | StopStep::Kill => (StopStep::Kill, AGAIN_KILL, Action::Kill),
                };
                if step == StopStep::Kill {
                    self.problem = Some("the system cannot end its process".to_owned());
                }
                self.stage = Stage::Stopping { step: Some((next, now + pause)), then };
                (self, action)
            }

            // A pause.
            (Stage::Failed { retry_at: Some(retry_at) }, Event::Tick) if now >= retry_at => {
                self.restarts = self.restarts.saturating_add(1);
                self.stage = Stage::Starting { by: By::Itself, ports: 0, deadline: None };
                (self, Action::Spawn)
            }

            // Found so already, or news of a process that is on its way out.
            (_, _) => (self, Action::None),
        }
    }

    fn to(mut self, stage: Stage) -> (Self, Action) {
        self.stage = stage;
        (self, Action::None)
    }

    fn spawn_anew(mut self, by: By) -> (Self, Action) {
        self.stage = Stage::Starting { by, ports: 0, deadline: None };
        (self.failures, self.restarts, self.problem) = (0, 0, None);
        (self, Action::Spawn)
    }

    fn stop(mut self, then: Afterwards, now: Instant) -> (Self, Action) {
        // While the spawn is under way there is nobody to signal; its arrival brings us back here.
        let spawned = !matches!(self.stage, Stage::Starting { deadline: None, .. });
        self.stage = Stage::Stopping { step: spawned.then_some((StopStep::Term, now + FIRST_TERM)), then };
        (self, if spawned { Action::Term } else { Action::None })
    }

    /// When it ran for long enough between these two.
    fn forget_failures(&mut self, verified: Instant, until: Instant) {
        if until.saturating_duration_since(verified) >= GOT_GOING {
            self.failures = 0;
        }
    }

    fn fail(mut self, by: By, why: String, now: Instant) -> (Self, Action) {
        self.failures = self.failures.saturating_add(1);
        let retry_at = match by {
            By::Operator => None,
            By::Itself if self.failures >= MOST_FAILURES => None,
            By::Itself => Some(now + pause(self.failures)),
        };
        self.problem = Some(match (by, retry_at) {
            (By::Itself, None) => format!("given up after {} failures in a row: {why}", self.failures),
            _ => why,
        });
        self.stage = Stage::Failed { retry_at };
        (self, Action::None)
    }
}

fn with_last_line(why: String, last_line: Option<String>) -> String {
    match last_line {
        Some(line) => format!("{why}; its last line: {line}"),
        None => why,
    }
}

/// The pause after this many failures in a row: 1 s, 2 s, 4 s … 60 s.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StartLimits = StartLimits { patience: Duration::from_secs(8), ports: 3 };

    fn play(state: State, events: impl IntoIterator<Item = (u64, Event)>, zero: Instant) -> (State, Vec<Action>) {
        let mut actions = Vec::new();
        let state = events.into_iter().fold(state, |state, (second, event)| {
            let (state, action) = state.on(event, zero + Duration::from_secs(second), LIMITS);
            if action != Action::None {
                actions.push(action);
            }
            state
        });
        (state, actions)
    }

    fn exited(how: &str) -> Event {
        Event::Exited { how: how.to_owned(), last_line: None }
    }

    fn running(zero: Instant) -> State {
        play(State::stopped(zero), [(0, Event::Start), (0, Event::Launched), (1, Event::Reading(Phase::Mining))], zero)
            .0
    }

    #[test]
    fn a_miner_starts_warms_mines_and_stops() {
        let zero = Instant::now();
        let (state, actions) = play(
            State::stopped(zero),
            [
                (0, Event::Start),
                (0, Event::Launched),
                (1, Event::Reading(Phase::Connecting)),
                (2, Event::Reading(Phase::Warming)),
                (9, Event::Reading(Phase::Mining)),
                (11, Event::Reading(Phase::Mining)),
            ],
            zero,
        );
        assert_eq!((state.shown(), state.since), (MinerState::Mining, zero + Duration::from_secs(9)));
        assert_eq!(actions, [Action::Spawn]);
        let (state, actions) = play(state, [(20, Event::Stop), (21, exited("exit 0"))], zero);
        assert_eq!((state.shown(), state.problem), (MinerState::Stopped, None));
        assert_eq!(actions, [Action::Term]);
    }

    #[test]
    fn a_stop_that_is_ignored_ends_in_kill() {
        let zero = Instant::now();
        let ticks = (20..=60).map(|second| (second, Event::Tick));
        let (state, actions) = play(running(zero), [(10, Event::Stop)].into_iter().chain(ticks), zero);
        assert_eq!(actions[..3], [Action::Term, Action::Term, Action::Kill]);
        assert_eq!(state.shown(), MinerState::Stopping);
        let (state, _) = play(state, [(61, exited("signal 9"))], zero);
        assert_eq!(state.shown(), MinerState::Stopped);
    }

    #[test]
    fn a_stop_before_the_spawn_has_finished_is_not_lost() {
        let zero = Instant::now();
        let (state, actions) =
            play(State::stopped(zero), [(0, Event::Start), (0, Event::Stop), (1, Event::Launched)], zero);
        assert_eq!(actions, [Action::Spawn, Action::Term]);
        assert_eq!(state.shown(), MinerState::Stopping);
        let (state, _) = play(state, [(2, Event::Reading(Phase::Mining)), (2, exited(""))], zero);
        assert_eq!(state.shown(), MinerState::Stopped);
        let events = [(0, Event::Start), (0, Event::Stop), (1, Event::LaunchFailed("no such file".into()))];
        assert_eq!(play(State::stopped(zero), events, zero).0.shown(), MinerState::Stopped);
    }

    #[test]
    fn the_last_word_during_a_stop_counts() {
        let zero = Instant::now();
        let events = [(5, Event::Stop), (6, Event::Start), (7, exited(""))];
        let (state, actions) = play(running(zero), events, zero);
        assert_eq!((state.shown(), actions), (MinerState::Starting, vec![Action::Term, Action::Spawn]));
        let events = [(5, Event::Restart), (6, Event::Stop), (7, exited(""))];
        let (state, actions) = play(running(zero), events, zero);
        assert_eq!((state.shown(), actions), (MinerState::Stopped, vec![Action::Term]));
    }

    #[test]
    fn a_restart_that_fails_of_what_ran_is_tried_again_by_itself() {
        let zero = Instant::now();
        let fails = || [(6, exited("")), (6, Event::LaunchFailed("exec format error".into()))];
        for orders in [
            vec![(5, Event::Restart)],
            vec![(5, Event::Restart), (5, Event::Restart)],
            vec![(5, Event::Restart), (5, Event::Start)],
        ] {
            let (state, actions) = play(running(zero), orders.into_iter().chain(fails()), zero);
            assert_eq!(state.stage, Stage::Failed { retry_at: Some(zero + Duration::from_secs(11)) });
            assert_eq!(actions, [Action::Term, Action::Spawn]);
            // An order that comes meanwhile does not end that.
            for order in [Event::Restart, Event::Start] {
                let events = [(7, order), (7, Event::LaunchFailed("exec format error".into()))];
                let (state, _) = play(state.clone(), events, zero);
                assert_eq!(state.stage, Stage::Failed { retry_at: Some(zero + Duration::from_secs(12)) });
            }
        }
        // Nor one that comes while it is ended to be tried again: it hangs, or a stranger has its port.
        let hangs = (1..=5).map(|n| (20 * n, Event::Silent("no answer".into())));
        let resumed = [(0, Event::Resume), (0, Event::Launched), (1, Event::PortTaken("taken".into()))];
        for (mut state, order) in [
            (play(running(zero), hangs, zero).0, Event::Start),
            (play(State::stopped(zero), resumed, zero).0, Event::Restart),
        ] {
            assert!(matches!(state.stage, Stage::Stopping { .. }), "{state:?}");
            (state, _) = play(state, [(101, order), (101, exited(""))], zero);
            (state, _) = play(state, [(101, Event::LaunchFailed("exec format error".into()))], zero);
            assert_eq!(state.stage, Stage::Failed { retry_at: Some(zero + Duration::from_secs(106)) });
        }
        // What was ended on purpose meanwhile, or had not run, is an order like another.
        let orders = [(5, Event::Stop), (5, Event::Restart)];
        let (state, _) = play(running(zero), orders.into_iter().chain(fails()), zero);
        assert_eq!(state.stage, Stage::Failed { retry_at: None });
        let events = [(0, Event::Restart), (0, Event::LaunchFailed("exec format error".into()))];
        assert_eq!(play(State::stopped(zero), events, zero).0.stage, Stage::Failed { retry_at: None });
    }

    #[test]
    fn a_start_while_it_runs_changes_nothing() {
        let zero = Instant::now();
        let (state, actions) = play(running(zero), [(5, Event::Start), (6, Event::Resume)], zero);
        assert_eq!((state, actions), (running(zero), vec![]));
    }

    #[test]
    fn a_crash_is_started_again_after_a_growing_pause_and_given_up() {
        let zero = Instant::now();
        let mut state = running(zero);
        let mut now = zero + Duration::from_secs(2);
        let mut pauses = Vec::new();
        loop {
            state = state.on(exited("exit 1"), now, LIMITS).0;
            let Stage::Failed { retry_at: Some(retry_at) } = state.stage else { break };
            pauses.push((retry_at - now).as_secs());
            now = retry_at;
            let (next, action) = state.on(Event::Tick, now, LIMITS);
            assert_eq!(action, Action::Spawn);
            state = next.on(Event::Launched, now, LIMITS).0.on(Event::Reading(Phase::Warming), now, LIMITS).0;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(state.problem.as_deref(), Some("given up after 10 failures in a row: exit 1"));
        assert_eq!(state.restarts, 9);
        let (state, action) = state.on(Event::Start, now, LIMITS);
        assert_eq!((action, state.failures, state.restarts), (Action::Spawn, 0, 0));
    }

    #[test]
    fn a_minute_of_running_makes_the_pause_short_again() {
        let zero = Instant::now();
        let state = State { failures: 7, ..running(zero) };
        let (state, _) = play(state, [(70, exited("exit 1"))], zero);
        assert_eq!(state.stage, Stage::Failed { retry_at: Some(zero + Duration::from_secs(71)) });
    }

    #[test]
    fn what_an_operator_starts_fails_at_once_and_is_not_tried_again() {
        let zero = Instant::now();
        let events = [(0, Event::Start), (0, Event::Launched), (1, exited("exit 2"))];
        let (state, _) = play(State::stopped(zero), events, zero);
        assert_eq!(state.stage, Stage::Failed { retry_at: None });
        assert_eq!(state.problem.as_deref(), Some("exit 2"));
    }

    #[test]
    fn a_taken_port_is_tried_elsewhere_a_few_times() {
        let zero = Instant::now();
        let mut events = vec![(0, Event::Start)];
        for second in 0..3 {
            events.extend([
                (second, Event::Launched),
                (second, Event::PortTaken("taken".into())),
                (second, exited("")),
            ]);
        }
        let (state, actions) = play(State::stopped(zero), events, zero);
        assert_eq!(state.stage, Stage::Failed { retry_at: None });
        assert_eq!(actions.iter().filter(|action| **action == Action::Spawn).count(), 3);
        assert_eq!(state.problem.as_deref(), Some("taken"));
    }

    #[test]
    fn what_cannot_be_launched_is_tried_until_it_can() {
        let zero = Instant::now();
        let mut state = running(zero).on(exited("signal 9"), zero, LIMITS).0;
        for _ in 0..200 {
            let Stage::Failed { retry_at: Some(retry_at) } = state.stage else { panic!("{state:?}") };
            let (next, action) = state.on(Event::Tick, retry_at, LIMITS);
            assert_eq!((action, next.shown()), (Action::Spawn, MinerState::Failed));
            state = next.on(Event::LaunchFailed("no space left".into()), retry_at, LIMITS).0;
        }
        assert_eq!((state.failures, state.restarts), (1, 0));
        assert_eq!(state.problem.as_deref(), Some("no space left"));
        // An operator hears at once, and for good.
        let events = [(0, Event::Start), (0, Event::LaunchFailed("no such file".into()))];
        assert_eq!(play(State::stopped(zero), events, zero).0.stage, Stage::Failed { retry_at: None });
    }

    #[test]
    fn one_that_hangs_each_time_is_started_after_longer_pauses() {
        let mut state = State::stopped(Instant::now());
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        (state, _) = state.on(Event::Resume, now, LIMITS);
        for _ in 0..4 {
            for (after, event) in [
                (0, Event::Launched),
                (1, Event::Reading(Phase::Mining)),
                (5, Event::Reading(Phase::Mining)),
                (20, Event::Silent("no answer".into())),
                (40, Event::Silent("no answer".into())),
                (60, Event::Silent("no answer".into())),
                (66, Event::Silent("no answer".into())),
                (67, exited("ended")),
            ] {
                (state, _) = state.on(event, now + Duration::from_secs(after), LIMITS);
            }
            let Stage::Failed { retry_at: Some(retry_at) } = state.stage else { panic!("{state:?}") };
            pauses.push((retry_at - now - Duration::from_secs(67)).as_secs());
            now = retry_at;
            (state, _) = state.on(Event::Tick, now, LIMITS);
        }
        assert_eq!(pauses, [1, 2, 4, 8]);
    }

    #[test]
    fn a_silent_api_fails_a_start_and_ends_a_hung_miner() {
        let zero = Instant::now();
        let events = [(0, Event::Start), (0, Event::Launched), (3, Event::Silent("refused".into())), (8, Event::Tick)];
        let (state, actions) = play(State::stopped(zero), events, zero);
        assert_eq!((state.shown(), actions), (MinerState::Stopping, vec![Action::Spawn, Action::Term]));
        let prompt = Event::Exited { how: String::new(), last_line: Some("Enter password:".into()) };
        let (state, _) = play(state, [(9, prompt)], zero);
        let why = "not ready within 8 s: refused; its last line: Enter password:";
        assert_eq!((state.shown(), state.problem.as_deref()), (MinerState::Failed, Some(why)));
        let silent = || Event::Silent("timed out".into());
        let (state, actions) = play(running(zero), [(2, silent()), (20, silent())], zero);
        assert_eq!((state.problem.as_deref(), actions), (Some("timed out"), vec![]));
        // The rig stood still as a whole meanwhile: that a question then fails is nothing of the miner's.
        let (state, actions) = play(state, [(600, silent())], zero);
        assert_eq!(actions, []);
        assert_eq!(play(state.clone(), [(601, Event::Reading(Phase::Mining))], zero).0.shown(), MinerState::Mining);
        let (state, actions) = play(state, [(610, silent()), (612, exited(""))], zero);
        assert_eq!(actions, [Action::Term]);
        assert_eq!(state.stage, Stage::Failed { retry_at: Some(zero + Duration::from_secs(613)) });
        assert_eq!(state.problem.as_deref(), Some("hung: timed out"));
    }

    #[test]
    fn a_miner_that_mines_elsewhere_is_ended_for_good() {
        let zero = Instant::now();
        let events = [(5, Event::Strayed("another pool".into())), (6, exited(""))];
        let (state, actions) = play(running(zero), events, zero);
        assert_eq!((state.stage, actions), (Stage::Failed { retry_at: None }, vec![Action::Term]));
        assert_eq!(state.problem.as_deref(), Some("another pool"));
        // Nor does the rig try it again, that had started it by itself.
        let events =
            [(0, Event::Resume), (0, Event::Launched), (1, Event::Strayed("another pool".into())), (2, exited(""))];
        assert_eq!(play(State::stopped(zero), events, zero).0.stage, Stage::Failed { retry_at: None });
    }
}
