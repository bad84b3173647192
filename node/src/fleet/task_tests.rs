use super::*;
use crate::fleet::AdmissionRefusal;
use crate::fleet::admission::CODE_LIFETIME;
use crate::fleet::registry::tests::{key, new_peer};
use crate::fleet::{Stranger, Words};
use crate::store::atomic;
use crate::store::peers::PeerRow;
use miner_ctrl_protocol::{NodeName, RigStats};
use std::path::{Path, PathBuf};

/// Long enough for the slowest machine; a test that waits for it has failed.
const DEADLINE: Duration = Duration::from_secs(600);

const OWN: u32 = 1_000_000;

struct Running {
    fleet: FleetHandle,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Running {
    fn on(database: Database, pairing: PairingMode) -> Self {
        let settings = FleetSettings {
            own_key: key(OWN),
            own_name: "own".parse().unwrap(),
            own_role: Role::Dual,
            pairing,
            clock: || 5_000,
        };
        let stop = CancellationToken::new();
        let (fleet, task) = spawn(database, settings, stop.clone()).unwrap();
        Self { fleet, task, stop }
    }

    fn in_memory() -> Self {
        Self::on(Database::in_memory().unwrap(), PairingMode::Ask)
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    async fn until(&self, state: impl FnMut(&Arc<FleetSnapshot>) -> bool) -> Arc<FleetSnapshot> {
        let mut snapshot = self.fleet.snapshot();
        let seen = tokio::time::timeout(DEADLINE, snapshot.wait_for(state)).await;
        seen.expect("the fleet gets there").unwrap().clone()
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.db");
    (directory, path)
}

/// What a kill at this moment would leave: the files as they are, without what the process has in mind.
fn stored(path: &Path) -> Vec<PeerRow> {
    let log = std::fs::read(beside(path)).unwrap_or_default();
    stored_with(&std::fs::read(path).unwrap(), &log)
}

fn stored_with(database: &[u8], log: &[u8]) -> Vec<PeerRow> {
    let (_directory, copy) = place();
    atomic::write(&copy, database).unwrap();
    atomic::write(&beside(&copy), log).unwrap();
    peers::load(&Database::open(&copy).unwrap()).unwrap()
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

fn named(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn stranger(number: u32) -> Stranger {
    Stranger {
        key: key(number),
        name: named("controller"),
        role: Role::Controller,
        address: "/ip4/10.0.0.9/tcp/1/ws".into(),
        words: Words::spelled(key(OWN), key(number), format!("word{number} two three")),
    }
}

fn stats() -> Arc<RigStats> {
    Arc::new(RigStats {
        revision: 1,
        name: named("rig"),
        version: "0.1.0".into(),
        host: Default::default(),
        miners: vec![],
    })
}

#[tokio::test]
async fn what_a_person_decides_is_on_the_disk_and_in_the_snapshot_when_the_call_returns() {
    let (_directory, path) = place();
    let running = Running::on(Database::open(&path).unwrap(), PairingMode::Ask);
    let fleet = &running.fleet;
    let check = |peer: &Peer| {
        assert_eq!(stored(&path), [rows::to_row(peer)]);
        assert_eq!(fleet.now().peer(&peer.key).map(|seen| (*seen.peer).clone()).as_ref(), Some(peer));
        assert_eq!(fleet.now().resolve(peer.name.as_str()).unwrap().peer.key, peer.key);
    };
    check(&fleet.register(new_peer(1, "alpha")).await.unwrap());
    check(&fleet.alter(key(1), Some(named("beta")), None).await.unwrap());
    let peer = fleet.alter(key(1), None, Some(Permission::View)).await.unwrap();
    check(&peer);
    assert_eq!((peer.name.as_str(), peer.permission), ("beta", Permission::View));
    let membership = fleet.now().membership;
    fleet.remove(key(1)).await.unwrap();
    assert_eq!(stored(&path), []);
    assert!(fleet.now().peers.is_empty() && fleet.now().membership > membership);
    assert!(matches!(fleet.remove(key(1)).await, Err(FleetError::Registry(_))));
}

#[tokio::test]
async fn a_log_torn_anywhere_shows_each_change_whole_or_not_at_all() {
    let (_directory, path) = place();
    let running = Running::on(Database::open(&path).unwrap(), PairingMode::Ask);
    let fleet = &running.fleet;
    let mut states = vec![stored(&path)];
    fleet.register(new_peer(1, "alpha")).await.unwrap();
    states.push(stored(&path));
    fleet.alter(key(1), Some(named("beta")), None).await.unwrap();
    states.push(stored(&path));
    fleet.register(new_peer(2, "alpha")).await.unwrap();
    states.push(stored(&path));
    fleet.remove(key(1)).await.unwrap();
    states.push(stored(&path));
    let (database, log) = (std::fs::read(&path).unwrap(), std::fs::read(beside(&path)).unwrap());
    let mut reached = 0;
    for end in (0..=log.len()).step_by(509).chain([log.len()]) {
        let seen = stored_with(&database, &log[..end]);
        let place = states.iter().position(|state| *state == seen).expect("one of the states there were");
        assert!(place >= reached, "more of the log never shows less");
        reached = place;
    }
    assert_eq!(reached, states.len() - 1);
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_done() {
    let database = Database::in_memory().unwrap();
    let running = Running::on(database.clone(), PairingMode::Ask);
    running.fleet.register(new_peer(1, "alpha")).await.unwrap();
    running.fleet.knock(stranger(3)).await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON peers BEGIN SELECT raise(ABORT, 'disk full'); END;
                CREATE TRIGGER kept BEFORE DELETE ON peers BEGIN SELECT raise(ABORT, 'disk full'); END;";
    database.run(move |c| c.execute_batch(full)).await.unwrap();
    let before = running.fleet.now();
    let failed = |done: Result<Peer, FleetError>| assert!(matches!(done, Err(FleetError::Database(_))), "{done:?}");
    failed(running.fleet.register(new_peer(2, "beta")).await);
    failed(running.fleet.alter(key(1), Some(named("gamma")), None).await);
    failed(running.fleet.remove(key(1)).await);
    failed(running.fleet.approve("word3", None).await);
    let after = running.fleet.now();
    assert_eq!((after.membership, after.peers.len()), (before.membership, 1));
    assert_eq!(after.peers[0].peer.name, named("alpha"));
    running.until(|fleet| fleet.pending.len() == 1).await;
}

#[tokio::test]
async fn the_node_itself_is_never_registered() {
    let running = Running::in_memory();
    assert!(matches!(running.fleet.register(new_peer(OWN, "me")).await, Err(FleetError::OwnKey)));
}

#[tokio::test]
async fn an_approved_stranger_is_registered_and_hears_so() {
    let running = Running::in_memory();
    let fleet = &running.fleet;
    assert_eq!(fleet.knock(stranger(1)).await, Knock::Pending);
    assert_eq!(fleet.now().pending.len(), 1, "who hears that it waits can be seen");
    let peer = fleet.approve(&key(1).node_id().to_string()[..8], None).await.unwrap();
    assert_eq!((peer.name.as_str(), peer.permission), ("controller", Permission::Control));
    assert!(fleet.now().pending.is_empty());
    assert_eq!(fleet.knock(stranger(1)).await, Knock::Registered);
    fleet.knock(stranger(2)).await;
    fleet.deny("word2 two").await.unwrap();
    assert!(fleet.now().pending.is_empty());
    assert_eq!(fleet.knock(stranger(2)).await, Knock::Denied);
    assert!(matches!(fleet.approve("word2", None).await, Err(FleetError::Pending(_))));
}

#[tokio::test(start_paused = true)]
async fn a_code_is_shown_until_it_is_used_or_an_hour_has_passed() {
    let running = Running::on(Database::in_memory().unwrap(), PairingMode::Code);
    let fleet = &running.fleet;
    assert!(!fleet.now().pairing_possible);
    let code = fleet.show_code().await.unwrap();
    assert!(fleet.now().code_showing && fleet.now().pairing_possible);
    assert_eq!(fleet.current_code().await.unwrap(), Some(code.clone()));
    let (number, tried) = fleet.code_for_try(key(1)).await.unwrap();
    assert_eq!(tried, code);
    fleet.admit(number, new_peer(1, "alpha")).await.unwrap();
    assert!(!fleet.now().code_showing, "a used code is not shown");
    assert_eq!(fleet.code_for_try(key(2)).await, Err(AdmissionRefusal::NoCode));

    fleet.show_code().await.unwrap();
    let shown = Instant::now();
    let mut snapshot = fleet.snapshot();
    let ended = snapshot.wait_for(|fleet| !fleet.code_showing && !fleet.pairing_possible);
    tokio::time::timeout(2 * CODE_LIFETIME, ended).await.expect("it ends by itself").unwrap();
    assert!(shown.elapsed() >= CODE_LIFETIME);
}

#[tokio::test]
async fn scores_and_where_and_when_it_was_last_seen_survive_a_stop() {
    let (_directory, path) = place();
    let running = Running::on(Database::open(&path).unwrap(), PairingMode::Ask);
    running.fleet.register(new_peer(1, "alpha")).await.unwrap();
    for _ in 0..10 {
        running.fleet.observe(key(1), Observation::Answered);
    }
    // The second was dialled by its name.
    for ip in [Some([192, 0, 2, 1].into()), None] {
        let agent = "miner-ctrl/8".to_owned();
        running.fleet.observe(key(1), Observation::Greeted { ip, role: Role::Worker, agent });
    }
    running.fleet.observe(key(1), Observation::Identified { agent: "miner-ctrl/9".into() });
    running.fleet.observe(key(1), Observation::TimedOut);
    running.stop().await;
    let again = Running::on(Database::open(&path).unwrap(), PairingMode::Ask);
    let peer = again.fleet.now().peers[0].peer.clone();
    assert_eq!((peer.reputation.successes(), peer.reputation.timeouts()), (10, 1));
    assert_eq!((peer.last_seen, peer.agent.as_deref()), (Some(5_000), Some("miner-ctrl/9")));
    assert_eq!(peer.ip, Some([192, 0, 2, 1].into()));
    assert!(peer.reputation.score() > 50);
}

#[tokio::test(start_paused = true)]
async fn scores_are_written_now_and_then_also_while_it_runs() {
    let (_directory, path) = place();
    let running = Running::on(Database::open(&path).unwrap(), PairingMode::Ask);
    running.fleet.register(new_peer(1, "alpha")).await.unwrap();
    running.fleet.observe(key(1), Observation::Answered);
    running.until(|fleet| fleet.peers[0].peer.reputation.successes() == 1).await;
    tokio::time::advance(FLUSH_INTERVAL).await;
    // A change is stored after the flush that is due before it.
    running.fleet.register(new_peer(2, "beta")).await.unwrap();
    let rows = stored(&path);
    assert_eq!(rows.iter().find(|row| row.name == "alpha").unwrap().life.successes, 1);
}

#[tokio::test]
async fn a_link_that_goes_down_is_noticed_however_full_the_queue_is() {
    let running = Running::in_memory();
    let fleet = &running.fleet;
    fleet.register(new_peer(1, "alpha")).await.unwrap();
    fleet.observe(key(1), Observation::Connected { dialled: None });
    running.until(|fleet| fleet.peers[0].state.online).await;
    for _ in 0..2 * MAX_OBSERVATIONS {
        fleet.observe(key(1), Observation::Answered);
    }
    fleet.observe(key(1), Observation::Disconnected);
    running.until(|fleet| !fleet.peers[0].state.online).await;
    let heard = |fleet: &FleetSnapshot| fleet.peers[0].peer.reputation.successes();
    running.until(|fleet| heard(fleet) == MAX_OBSERVATIONS as u64).await;
}

#[tokio::test(start_paused = true)]
async fn many_observations_make_few_snapshots() {
    let running = Running::in_memory();
    running.fleet.register(new_peer(1, "alpha")).await.unwrap();
    let before = running.fleet.now().revision;
    for _ in 0..1000 {
        running.fleet.observe(key(1), Observation::Answered);
    }
    let after = running.until(|fleet| fleet.peers[0].peer.reputation.successes() == 1000).await;
    assert!(after.revision <= before + 2, "{before} to {}", after.revision);
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_shown_as_it_is() {
    let running = Running::in_memory();
    let fleet = &running.fleet;
    fleet.register(new_peer(1, "alpha")).await.unwrap();
    fleet.observe(key(1), Observation::DialFailed { why: "refused\u{1b}[2J".into() });
    let seen = running.until(|fleet| fleet.peers[0].state.problem.is_some()).await;
    assert_eq!(seen.peers[0].view(Instant::now()).problem.as_deref(), Some("refused[2J"));

    let address = "/ip4/10.0.0.7/tcp/7/ws".to_owned();
    fleet.observe(key(1), Observation::Connected { dialled: Some(address.clone()) });
    fleet.observe(key(1), Observation::Pinged(Duration::from_millis(80)));
    fleet.observe(key(1), Observation::Pinged(Duration::from_millis(160)));
    fleet.observe(key(1), Observation::Stats(stats()));
    let seen = running.until(|fleet| fleet.peers[0].state.stats.is_some()).await;
    let view = seen.peers[0].view(Instant::now());
    assert_eq!((view.online, view.problem, view.address), (true, None, Some(address)));
    assert_eq!(view.ping_ms.map(f64::round), Some(100.0));
    assert_eq!(seen.peers[0].rig_view(Instant::now()).age_seconds, Some(0));

    // Its statistics come and go from one or the other; that there are two stays, until only one is left.
    fleet.observe(key(1), Observation::Copied { hosts: ["10.0.0.7".into(), "10.0.0.8".into()] });
    fleet.observe(key(1), Observation::Stats(stats()));
    let seen = running.until(|fleet| fleet.peers[0].state.copied.is_some()).await;
    let (peer, now) = (&seen.peers[0], Instant::now());
    let said = Some("two machines use its identity, as copies of one disk do: 10.0.0.7 and 10.0.0.8");
    for (problem, after) in [(said, 0), (said, 50), (None, 70)] {
        let then = now + Duration::from_secs(after);
        assert_eq!(peer.view(then).problem.as_deref(), problem, "{after}");
        assert_eq!(peer.rig_view(then).problem.as_deref(), problem, "{after}");
    }

    // Of one that is away, why it is away is worth more.
    fleet.observe(key(1), Observation::Disconnected);
    fleet.observe(key(1), Observation::DialFailed { why: "refused".into() });
    let seen = running.until(|fleet| fleet.peers[0].state.problem.is_some()).await;
    assert_eq!(seen.peers[0].view(now).problem.as_deref(), Some("refused"));
    fleet.observe(key(1), Observation::Connected { dialled: None });
    let _ = running.until(|fleet| fleet.peers[0].state.problem.is_none() && fleet.peers[0].state.online).await;

    // What came is shown on, with its age, while what comes cannot be read.
    fleet.observe(key(1), Observation::Unreadable { why: "gibberish".into() });
    let seen = running.until(|fleet| fleet.peers[0].state.problem.is_some()).await;
    let rig = seen.peers[0].rig_view(Instant::now() + Duration::from_secs(60));
    assert!(rig.peer.online && (60..62).contains(&rig.age_seconds.unwrap()));
    assert_eq!(rig.problem.as_deref(), Some("gibberish"));
    fleet.observe(key(1), Observation::Stats(stats()));
    let seen = running.until(|fleet| fleet.peers[0].state.problem.is_none()).await;
    assert_eq!(seen.peers[0].rig_view(Instant::now()).age_seconds, Some(0));

    fleet.observe(key(1), Observation::Disconnected);
    let seen = running.until(|fleet| !fleet.peers[0].state.online).await;
    let rig = seen.peers[0].rig_view(Instant::now() + Duration::from_secs(60));
    assert!((60..62).contains(&rig.age_seconds.unwrap()));
    assert_eq!((rig.peer.ping_ms, rig.problem.as_deref()), (None, Some("not connected")));
}

#[tokio::test(start_paused = true)]
async fn numbers_are_current_once_the_rig_has_told_them_over_the_link_that_is_up() {
    let running = Running::in_memory();
    let fleet = &running.fleet;
    fleet.register(new_peer(1, "alpha")).await.unwrap();
    let up = || fleet.observe(key(1), Observation::Connected { dialled: None });
    let current = |seen: &Arc<FleetSnapshot>| seen.peers[0].rig_view(Instant::now()).current().is_some();
    up();
    fleet.observe(key(1), Observation::Stats(stats()));
    running.until(current).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(current(&fleet.now()), "a rig of which nothing changes has no reason to say more");

    // It was started anew, and has not said how its miners are.
    fleet.observe(key(1), Observation::Disconnected);
    running.until(|seen| !seen.peers[0].state.online).await;
    up();
    let seen = running.until(|seen| seen.peers[0].state.online).await;
    assert!(!current(&seen) && seen.peers[0].rig_view(Instant::now()).age_seconds == Some(1), "0 is current");
    fleet.observe(key(1), Observation::Stats(stats()));
    running.until(current).await;
    // So fast that only the new link was noticed.
    up();
    running.until(|seen| !current(seen)).await;
}

#[tokio::test(start_paused = true)]
async fn the_times_of_a_rig_go_on_while_it_has_no_reason_to_say_more() {
    let running = Running::in_memory();
    let fleet = &running.fleet;
    fleet.register(new_peer(1, "alpha")).await.unwrap();
    fleet.observe(key(1), Observation::Connected { dialled: None });
    let view = miner_ctrl_dashboard::memory::rig(miner_ctrl_dashboard::memory::peer(1, "alpha"), true);
    let said = view.stats.unwrap();
    fleet.observe(key(1), Observation::Stats(Arc::new(said.clone())));
    let seen = running.until(|seen| seen.peers[0].state.stats.is_some()).await;
    let times = |stats: &RigStats| {
        let miner = &stats.miners[0];
        [stats.host.uptime_seconds, miner.uptime_seconds, miner.state_seconds]
    };
    let shown = |seen: &FleetSnapshot, after| {
        times(&seen.peers[0].rig_view(Instant::now() + Duration::from_secs(after)).stats.unwrap())
    };
    assert_eq!(shown(&seen, 25), times(&said).map(|seconds| seconds + 25));
    fleet.observe(key(1), Observation::Disconnected);
    let seen = running.until(|seen| !seen.peers[0].state.online).await;
    assert_eq!(shown(&seen, 25), times(&said), "how they went on is not known");
}

#[tokio::test]
async fn what_is_seen_of_strangers_is_ignored() {
    let running = Running::in_memory();
    let fleet = &running.fleet;
    fleet.register(new_peer(1, "alpha")).await.unwrap();
    fleet.observe(key(7), Observation::Connected { dialled: None });
    fleet.observe(key(7), Observation::Stats(stats()));
    fleet.observe(key(1), Observation::Answered);
    running.until(|fleet| fleet.peers[0].peer.reputation.successes() == 1).await;
    fleet.register(new_peer(7, "late")).await.unwrap();
    let late = fleet.now().resolve("late").unwrap().clone();
    assert!(!late.state.online && late.state.stats.is_none());
}

#[tokio::test]
async fn after_a_stop_everybody_hears_so() {
    let running = Running::in_memory();
    let fleet = running.fleet.clone();
    running.stop().await;
    assert!(matches!(fleet.register(new_peer(1, "alpha")).await, Err(FleetError::ShuttingDown)));
    assert_eq!(fleet.code_for_try(key(1)).await, Err(AdmissionRefusal::NoCode));
    assert_eq!(fleet.knock(stranger(1)).await, Knock::Busy);
}

/// A disk that does not answer, until it is told to.
struct Stalled {
    go_on: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<Result<(), DatabaseError>>,
}

impl Stalled {
    fn new(database: &Database) -> Self {
        let (go_on, told) = std::sync::mpsc::channel();
        let (stalls, stalled) = std::sync::mpsc::channel();
        let database = database.clone();
        let work = move |_: &mut _| {
            stalls.send(()).unwrap();
            told.recv().unwrap();
            Ok(())
        };
        let thread = std::thread::spawn(move || database.run_blocking(work));
        stalled.recv().unwrap();
        Self { go_on, thread }
    }

    fn end(self) {
        self.go_on.send(()).unwrap();
        self.thread.join().unwrap().unwrap();
    }
}

/// Lets every other task get as far as it can.
async fn others_go_on() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn with_a_peer_that_connected(database: &Database) -> Running {
    let running = Running::on(database.clone(), PairingMode::Ask);
    running.fleet.register(new_peer(1, "alpha")).await.unwrap();
    running.fleet.observe(key(1), Observation::Connected { dialled: None });
    running
}

#[tokio::test]
async fn while_a_decision_waits_for_the_disk_everything_else_goes_on() {
    let (_directory, path) = place();
    let database = Database::open(&path).unwrap();
    let running = with_a_peer_that_connected(&database).await;
    let fleet = &running.fleet;
    running.until(|fleet| fleet.peers[0].state.online).await;

    let stalled = Stalled::new(&database);
    let [one, other, third] = [fleet.clone(), fleet.clone(), fleet.clone()];
    let renamed = tokio::spawn(async move { one.alter(key(1), Some(named("beta")), None).await });
    others_go_on().await;
    let registered = tokio::spawn(async move { other.register(new_peer(2, "gamma")).await });
    others_go_on().await;
    let removed = tokio::spawn(async move { third.remove(key(2)).await });
    others_go_on().await;
    fleet.observe(key(1), Observation::Answered);
    fleet.observe(key(1), Observation::Disconnected);
    running.until(|fleet| !fleet.peers[0].state.online && fleet.peers[0].peer.reputation.successes() == 1).await;
    fleet.show_code().await.unwrap();
    fleet.code_for_try(key(3)).await.unwrap();
    assert_eq!(fleet.knock(stranger(4)).await, Knock::Pending);
    assert!(fleet.current_code().await.unwrap().is_some());
    assert!(!renamed.is_finished() && !registered.is_finished() && !removed.is_finished());
    assert_eq!(fleet.now().peers[0].peer.name, named("alpha"), "what is not stored is not so");

    stalled.end();
    // One after the other, and none before it is on the disk.
    renamed.await.unwrap().unwrap();
    registered.await.unwrap().unwrap();
    removed.await.unwrap().unwrap();
    let peer = fleet.now().peers[0].peer.clone();
    assert_eq!((peer.name.as_str(), peer.reputation.successes()), ("beta", 1), "what was seen meanwhile counts");
    assert_eq!((stored(&path).len(), stored(&path)[0].name.as_str()), (1, "beta"));
    running.stop().await;
    assert_eq!(stored(&path)[0].life.successes, 1);
}

#[tokio::test(start_paused = true)]
async fn while_scores_wait_for_the_disk_everything_else_goes_on() {
    let (_directory, path) = place();
    let database = Database::open(&path).unwrap();
    let running = with_a_peer_that_connected(&database).await;
    let fleet = &running.fleet;
    fleet.observe(key(1), Observation::Answered);
    running.until(|fleet| fleet.peers[0].peer.reputation.successes() == 1).await;

    let stalled = Stalled::new(&database);
    tokio::time::advance(FLUSH_INTERVAL).await;
    others_go_on().await;
    fleet.observe(key(1), Observation::Answered);
    fleet.observe(key(1), Observation::Disconnected);
    for _ in 0..20 {
        // Time does not pass by itself while a thread is at work.
        tokio::time::advance(PUBLISH_INTERVAL).await;
        others_go_on().await;
    }
    assert!(!fleet.now().peers[0].state.online);
    assert_eq!(stored(&path)[0].life.successes, 0);

    stalled.end();
    fleet.alter(key(1), Some(named("beta")), None).await.unwrap();
    running.stop().await;
    assert_eq!((stored(&path)[0].life.successes, stored(&path)[0].name.as_str()), (2, "beta"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_disk_and_not_for_ever() {
    let (_directory, path) = place();
    let database = Database::open(&path).unwrap();
    let running = Running::on(database.clone(), PairingMode::Ask);
    let fleet = running.fleet.clone();
    fleet.register(new_peer(1, "alpha")).await.unwrap();
    let stalled = Stalled::new(&database);
    let renaming = fleet.clone();
    let renamed = tokio::spawn(async move { renaming.alter(key(1), Some(named("beta")), None).await });
    others_go_on().await;
    running.stop.cancel();
    others_go_on().await;
    tokio::time::advance(LAST_WRITES - Duration::from_secs(1)).await;
    others_go_on().await;
    assert!(!running.task.is_finished() && !renamed.is_finished());
    tokio::time::advance(Duration::from_secs(2)).await;
    running.task.await.unwrap();
    assert!(matches!(renamed.await.unwrap(), Err(FleetError::ShuttingDown)));
    stalled.end();
}

#[tokio::test]
async fn who_is_being_removed_does_not_come_back_by_the_code_it_used() {
    let database = Database::in_memory().unwrap();
    let running = Running::on(database.clone(), PairingMode::Code);
    let fleet = &running.fleet;
    fleet.show_code().await.unwrap();
    let (number, _) = fleet.code_for_try(key(1)).await.unwrap();
    fleet.admit(number, new_peer(1, "alpha")).await.unwrap();
    let (number, _) = fleet.code_for_try(key(1)).await.unwrap();

    let stalled = Stalled::new(&database);
    let (one, other) = (fleet.clone(), fleet.clone());
    let removed = tokio::spawn(async move { one.remove(key(1)).await });
    others_go_on().await;
    let admitted = tokio::spawn(async move { other.admit(number, new_peer(1, "alpha")).await });
    others_go_on().await;
    assert_eq!(fleet.code_for_try(key(1)).await, Err(AdmissionRefusal::NoCode));
    stalled.end();
    removed.await.unwrap().unwrap();
    assert!(matches!(admitted.await.unwrap(), Err(FleetError::Admission(AdmissionRefusal::NoCode))));
    assert!(fleet.now().peers.is_empty());
}

#[tokio::test]
async fn a_peer_that_pairs_again_keeps_what_it_was_granted() {
    let running = Running::on(Database::in_memory().unwrap(), PairingMode::Code);
    let fleet = &running.fleet;
    fleet.register(new_peer(1, "alpha")).await.unwrap();
    fleet.alter(key(1), None, Some(Permission::View)).await.unwrap();
    fleet.show_code().await.unwrap();
    let (number, _) = fleet.code_for_try(key(1)).await.unwrap();
    let new = NewPeer { permission: Permission::Control, ..new_peer(1, "alpha") };
    assert_eq!(fleet.admit(number, new).await.unwrap().permission, Permission::View);
}
