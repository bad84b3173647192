//! The supervisor over real processes: the stand-in program, and the real XMRig where there is one.

#![expect(clippy::unwrap_used, reason = "helpers of tests say by panicking what they expected")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_ctrl::miners::process::marked_processes;
use miner_ctrl::miners::{MinersConfig, MinersHandle, MinersSnapshot, OnShutdown, ProgramPath, supervisor};
use miner_ctrl_protocol::message::MinerChoice;
use miner_ctrl_protocol::{MinerName, MinerState, MinerStatus, Policy, Profile, ProfileDraft, Program, Refusal};
use serde_json::json;
use tempfile::TempDir;

#[path = "../../tests/harness/stratum.rs"]
#[expect(unreachable_pub, reason = "the file is part of the harness of all nodes, where it is public")]
mod stratum;

/// Longest wait for any state: far above what a loaded machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

/// A rig whose programs are the stand-in with cues. Whatever the test does, nothing it started survives it.
struct Rig {
    data: TempDir,
    cues: String,
    on_shutdown: OnShutdown,
}

impl Rig {
    fn new(cues: &str) -> Self {
        Self { data: tempfile::tempdir().unwrap(), cues: cues.to_owned(), on_shutdown: OnShutdown::Stop }
    }

    fn miners(&self) -> PathBuf {
        let miners = self.data.path().join("miners");
        miners.canonicalize().unwrap_or(miners)
    }

    fn config(&self) -> MinersConfig {
        let program = |program: Program| ProgramPath {
            // The environment of a test is shared by all tests; `env` gives each miner its own.
            path: "/usr/bin/env".into(),
            prefix_args: vec![
                format!("MINER_CTRL_FAULTS={}", self.cues),
                env!("CARGO_BIN_EXE_miner-ctrl").into(),
                "simulate".into(),
                program.to_string(),
            ],
        };
        MinersConfig {
            node_name: "rig-alpha".parse().unwrap(),
            data_dir: self.data.path().to_owned(),
            programs: Program::ALL.into_iter().map(|each| (each, program(each))).collect(),
            on_shutdown: self.on_shutdown,
            policy: Policy::default(),
        }
    }

    async fn supervisor(&self) -> MinersHandle {
        supervisor::spawn(self.config()).await.unwrap()
    }

    fn running(&self) -> usize {
        marked_processes(&self.miners()).len()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for left in marked_processes(&self.miners()) {
            let pid = rustix::process::Pid::from_raw(left.id.pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn profile(name: &str) -> Profile {
    draft(json!({"name": name, "program": "xmrig", "algorithm": "rx/0", "wallet": "44AFFq5kSiGBoZ", "threads": 1,
        "pools": [{"url": "pool.example:3333"}]}))
}

fn draft(value: serde_json::Value) -> Profile {
    serde_json::from_value::<ProfileDraft>(value).unwrap().check().unwrap()
}

fn name(text: &str) -> MinerName {
    text.parse().unwrap()
}

async fn until(miners: &MinersHandle, what: &str, fact: impl Fn(&MinerStatus) -> bool) -> MinerStatus {
    let mut watch = miners.watch();
    let seen = tokio::time::timeout(DEADLINE, watch.wait_for(|now: &Arc<MinersSnapshot>| now.miners.iter().any(&fact)));
    match seen.await {
        Ok(now) => now.unwrap().miners.iter().find(|miner| fact(miner)).unwrap().clone(),
        Err(_) => panic!("{what}: {:#?}", miners.watch().borrow()),
    }
}

async fn lines(miners: &MinersHandle) -> Vec<String> {
    let page = miners.logs(None, 1000, None, Duration::ZERO).await.unwrap();
    page.lines.into_iter().map(|line| line.text).collect()
}

#[tokio::test]
async fn miners_of_ever_new_names_leave_no_files_without_end() {
    let rig = Rig::new("warmup:0");
    let directories = || {
        let entries = std::fs::read_dir(rig.miners()).unwrap().flatten().filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let miners = rig.supervisor().await;
    for number in 0..20 {
        miners.start(profile("p"), Some(name(&format!("m-{number:02}")))).await.unwrap();
        if number > 0 {
            miners.stop(MinerChoice::Named(name(&format!("m-{number:02}")))).await.unwrap();
        }
    }
    // As many as are known, and those that run before all.
    let known: Vec<_> = [0].into_iter().chain(5..20).map(|number| format!("m-{number:02}")).collect();
    assert_eq!(directories(), known);
    miners.shutdown().await;
    std::fs::create_dir(rig.miners().join("notes")).unwrap();
    // The next node knows what ran, and nothing of the others.
    let miners = rig.supervisor().await;
    assert_eq!(directories(), ["m-00", "notes"]);
    until(&miners, "it is started again", |miner| miner.state == MinerState::Mining).await;
    miners.shutdown().await;
}

#[tokio::test]
async fn a_miner_is_started_once_mines_and_is_stopped_without_a_trace() {
    let rig = Rig::new("warmup:1");
    let miners = rig.supervisor().await;
    let (status, changed) = miners.start(profile("p"), None).await.unwrap();
    assert_eq!((status.name, changed), (name("xmrig-1"), true));
    assert!(status.state.is_running() && status.state != MinerState::Starting, "{}", status.state);
    let (found, changed) = miners.start(profile("p"), None).await.unwrap();
    assert_eq!((found.name, changed, rig.running()), (name("xmrig-1"), false, 1));
    let mining = until(&miners, "it mines", |miner| miner.state == MinerState::Mining).await;
    assert!(mining.hashrate.unwrap().hashes_per_second() > 400.0);
    assert_eq!((mining.pool.as_deref(), mining.version.as_deref()), (Some("pool.example:3333"), Some("6.26.0")));
    let conflict = miners.start(profile("other"), Some(name("xmrig-1"))).await;
    assert!(matches!(conflict, Err(Refusal::Conflict { .. })), "{conflict:?}");
    let (second, _) = miners.start(profile("other"), None).await.unwrap();
    assert_eq!(second.name, name("xmrig-2"));
    assert!(
        matches!(miners.stop(MinerChoice::Only).await, Err(Refusal::AmbiguousMiner { miners }) if miners.len() == 2)
    );
    let edited =
        draft(json!({"name": "p", "program": "xmrig", "algorithm": "rx/0", "wallet": "44AFFq5kSiGBoZ", "threads": 3,
        "pools": [{"url": "pool.example:3333"}]}));
    let conflict = miners.start(edited.clone(), None).await;
    assert!(matches!(&conflict, Err(Refusal::Conflict { why }) if why.contains("as it was before")), "{conflict:?}");
    let unknown = miners.stop(MinerChoice::Named(name("xmrig-7"))).await;
    assert!(matches!(unknown, Err(Refusal::UnknownMiner { miners, .. }) if miners.len() == 2));
    let (stopped, changed) = miners.stop(MinerChoice::All).await.unwrap();
    assert!(changed && stopped.iter().all(|miner| miner.state == MinerState::Stopped), "{stopped:?}");
    assert_eq!(rig.running(), 0);
    let (again, _) = miners.start(edited, None).await.unwrap();
    assert_eq!((again.name, rig.running()), (name("xmrig-1"), 1), "stopped, it makes room for what was changed");
    assert!(miners.stop(MinerChoice::All).await.unwrap().1);
    assert!(!miners.stop(MinerChoice::All).await.unwrap().1);
    assert!(std::fs::read_to_string(rig.miners().join("wanted.json")).unwrap().trim() == "{}");
}

#[tokio::test]
async fn the_configuration_and_the_record_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new("");
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    for file in ["xmrig-1/xmrig.json", "xmrig-1/instance.json", "wanted.json"] {
        let mode = std::fs::metadata(rig.miners().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    miners.shutdown().await;
    assert_eq!(rig.running(), 0);
}

#[tokio::test]
async fn who_ignores_term_is_killed() {
    let rig = Rig::new("ignore-term");
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    let (stopped, changed) = miners.stop(MinerChoice::Only).await.unwrap();
    assert_eq!((stopped[0].state, changed, rig.running()), (MinerState::Stopped, true, 0));
    assert!(lines(&miners).await.iter().any(|line| line.contains("killing it")));
}

#[tokio::test]
async fn a_crash_is_started_again_and_an_intended_stop_is_not() {
    let rig = Rig::new("crash:1.5");
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    let failed = until(&miners, "it crashes", |miner| miner.state == MinerState::Failed).await;
    assert!(failed.problem.unwrap().contains("exit code 1"));
    until(&miners, "it runs again", |miner| miner.restarts == 1 && miner.version.is_some()).await;
    until(&miners, "it crashes again", |miner| miner.restarts == 2).await;
    miners.stop(MinerChoice::Only).await.unwrap();
    assert_eq!((rig.running(), miners.watch().borrow().miners[0].state), (0, MinerState::Stopped));
}

#[tokio::test]
async fn a_start_that_cannot_work_fails_with_the_reason_and_is_forgotten() {
    for (cues, word) in [("exit:2", "exit code 2"), ("port-taken", "refuses our token")] {
        let rig = Rig::new(cues);
        let miners = rig.supervisor().await;
        let why = match miners.start(profile("p"), None).await {
            Err(Refusal::MinerUnavailable { why }) => why,
            other => panic!("{cues}: {other:?}"),
        };
        assert!(why.contains(word), "{cues}: {why}");
        let status = until(&miners, "it failed", |miner| miner.state == MinerState::Failed).await;
        assert_eq!(status.problem.as_deref(), Some(why.as_str()));
        assert_eq!(rig.running(), 0, "{cues}");
        assert!(std::fs::read_to_string(rig.miners().join("wanted.json")).unwrap().trim() == "{}");
    }
}

#[tokio::test]
async fn who_asked_for_a_slow_start_learns_how_long_it_may_take_and_later_why_it_failed() {
    let rig = Rig::new("no-api");
    let miners = rig.supervisor().await;
    let (status, changed) = miners.start(profile("p"), None).await.unwrap();
    assert_eq!((status.state, changed), (MinerState::Starting, true));
    assert_eq!(status.problem.as_deref(), Some("its API does not answer yet; it has 30 s from its start"));
    let failed = until(&miners, "it failed", |miner| miner.state == MinerState::Failed).await;
    let why = failed.problem.unwrap();
    assert!(why.starts_with("not ready within 30 s: no reading from its API") && why.contains("last line"), "{why}");
    assert_eq!(rig.running(), 0);
    assert!(std::fs::read_to_string(rig.miners().join("wanted.json")).unwrap().trim() == "{}");
}

#[tokio::test]
async fn a_taken_port_is_left_to_the_stranger() {
    for (draft, cue) in [(profile("p"), "port-taken-once"), (tt_profile(), "port-taken-once")] {
        let rig = Rig::new(cue);
        let miners = rig.supervisor().await;
        let (status, _) = miners.start(draft, None).await.unwrap();
        assert!(status.state != MinerState::Starting, "{status:?}");
        assert_eq!((rig.running(), status.restarts), (1, 0));
        miners.shutdown().await;
    }
}

fn tt_profile() -> Profile {
    draft(json!({"name": "t", "program": "tt-miner", "coin": "RVN", "wallet": "RWalletWallet", "password": "hunter2",
        "pools": [{"url": "pool.example:3333"}]}))
}

#[tokio::test]
async fn a_tt_miner_mines_and_its_console_keeps_the_secrets() {
    let rig = Rig::new("warmup:1");
    let miners = rig.supervisor().await;
    miners.start(tt_profile(), None).await.unwrap();
    let mining = until(&miners, "it mines", |miner| miner.state == MinerState::Mining).await;
    assert_eq!((mining.devices.len(), mining.algorithm.as_deref()), (2, Some("RVN")));
    assert!(mining.hashrate.unwrap().hashes_per_second() > 1e7);
    let lines = lines(&miners).await;
    assert!(lines.iter().any(|line| line == "Pool: ***.rig-alpha:***@pool.example:3333"), "{lines:?}");
    miners.shutdown().await;
    assert_eq!(rig.running(), 0);
}

#[tokio::test]
async fn a_miner_outlives_its_supervisor_and_is_taken_over() {
    let rig = Rig::new("warmup:1");
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    let pid = marked_processes(&rig.miners())[0].id;
    drop(miners);
    let miners = rig.supervisor().await;
    assert_eq!(marked_processes(&rig.miners()).iter().map(|found| found.id).collect::<Vec<_>>(), [pid]);
    let (status, changed) = miners.start(profile("p"), None).await.unwrap();
    assert_eq!((status.name, changed), (name("xmrig-1"), false));
    assert!(lines(&miners).await.iter().any(|line| line.contains("took over")));
    until(&miners, "it mines on", |miner| miner.state == MinerState::Mining).await;
    // A taken-over process is no child; its end is noticed nevertheless, and it is started again.
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid.pid).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    let again = |miner: &MinerStatus| {
        miner.restarts == 1 && matches!(miner.state, MinerState::Connecting | MinerState::Warming | MinerState::Mining)
    };
    until(&miners, "it is started again", again).await;
    let (stopped, _) = miners.stop(MinerChoice::Only).await.unwrap();
    assert_eq!((stopped[0].state, rig.running()), (MinerState::Stopped, 0));
}

/// Some pools send a miner elsewhere (`client.reconnect`); that it came to one of the profile's is known from before.
#[tokio::test]
async fn a_miner_that_its_pool_has_sent_elsewhere_is_taken_over() {
    let rig = Rig::new("warmup:0");
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    let pid = marked_processes(&rig.miners())[0].id;
    until(&miners, "it is at its pool", |miner| miner.pool.is_some()).await;
    replace(&rig.miners().join("xmrig-1/home/simulate"), "redirected");
    let drifted = |miner: &MinerStatus| miner.problem.as_ref().is_some_and(|why| why.contains("drifted to elsewhere"));
    until(&miners, "it is elsewhere", drifted).await;
    drop(miners);
    let miners = rig.supervisor().await;
    until(&miners, "it is told again", drifted).await;
    assert_eq!(marked_processes(&rig.miners()).iter().map(|found| found.id).collect::<Vec<_>>(), [pid]);
    // One that is found so and was not seen at its pool mines for somebody else.
    drop(miners);
    let record = rig.miners().join("xmrig-1/instance.json");
    let text = std::fs::read_to_string(&record).unwrap();
    replace(&record, &text.replace("\"settled\": true", "\"settled\": false"));
    let miners = rig.supervisor().await;
    assert!(!pid.is_alive());
    miners.stop(MinerChoice::All).await.unwrap();
}

/// `cp -a` of the home of a rig that runs, started beside it.
#[tokio::test]
async fn a_copy_of_a_rig_that_runs_leaves_its_miner_alone_and_a_rig_that_was_moved_takes_it_over() {
    let (rig, mut copy) = (Rig::new(""), Rig::new(""));
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    let first = marked_processes(&rig.miners())[0].id;
    let copied = std::process::Command::new("cp").arg("-a").arg(rig.miners()).arg(copy.data.path()).status();
    assert!(copied.unwrap().success());
    let others = copy.supervisor().await;
    until(&others, "the copy mines", |miner| miner.state == MinerState::Mining).await;
    assert!(first.is_alive() && !marked_processes(&copy.miners()).is_empty(), "each has a miner of its own");
    others.stop(MinerChoice::All).await.unwrap();
    assert!(first.is_alive());

    // Moved while its node is down, a rig is the same one.
    drop((miners, others));
    std::fs::remove_dir_all(copy.miners()).unwrap();
    std::fs::rename(rig.miners(), copy.data.path().join("miners")).unwrap();
    copy.on_shutdown = OnShutdown::Stop;
    let moved = copy.supervisor().await;
    let miner = until(&moved, "it is taken over", |miner| miner.state == MinerState::Mining).await;
    assert!(first.is_alive() && miner.name == name("xmrig-1"));
    moved.stop(MinerChoice::All).await.unwrap();
    assert!(!first.is_alive());
}

#[tokio::test]
async fn what_cannot_be_vouched_for_is_ended_and_started_anew() {
    // A process of another token, one without a record, and one that an operator no longer wants.
    for spoil in ["xmrig-1/instance.json", "xmrig-1/xmrig.json", "wanted.json"] {
        let rig = Rig::new("");
        let miners = rig.supervisor().await;
        miners.start(profile("p"), None).await.unwrap();
        let before = marked_processes(&rig.miners())[0].id;
        drop(miners);
        let path = rig.miners().join(spoil);
        match spoil {
            "xmrig-1/xmrig.json" => {
                let record = rig.miners().join("xmrig-1/instance.json");
                let text = std::fs::read_to_string(&record).unwrap();
                let token = text.split("\"token\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
                replace(&record, &text.replace(&token, "00000000000000000000000000000000"));
            }
            _ => std::fs::remove_file(path).unwrap(),
        }
        let miners = rig.supervisor().await;
        assert!(!before.is_alive(), "{spoil}");
        if spoil == "wanted.json" {
            assert!(miners.watch().borrow().miners.is_empty());
        } else {
            until(&miners, "it runs anew", |miner| miner.state == MinerState::Warming).await;
            assert_eq!(rig.running(), 1, "{spoil}");
        }
        miners.shutdown().await;
        assert_eq!(rig.running(), 0, "{spoil}");
    }
}

fn replace(path: &Path, text: &str) {
    use std::io::Write;
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn what_ran_is_started_again_after_a_shutdown() {
    let rig = Rig::new("");
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    miners.shutdown().await;
    assert_eq!(rig.running(), 0);
    assert!(matches!(miners.start(profile("p"), None).await, Err(Refusal::Conflict { .. })));
    let miners = rig.supervisor().await;
    until(&miners, "it runs again", |miner| miner.state == MinerState::Warming).await;
    miners.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_that_leaves_miners_leaves_them_mining() {
    let mut rig = Rig::new("");
    rig.on_shutdown = OnShutdown::Leave;
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    miners.shutdown().await;
    assert_eq!(rig.running(), 1);
    let miners = rig.supervisor().await;
    until(&miners, "it was taken over", |miner| miner.state == MinerState::Warming && miner.restarts == 0).await;
    miners.stop(MinerChoice::All).await.unwrap();
    assert_eq!(rig.running(), 0);
}

#[tokio::test]
async fn a_damaged_memory_of_what_ran_stops_the_start_and_is_left_alone() {
    let rig = Rig::new("");
    std::fs::create_dir_all(rig.data.path().join("miners")).unwrap();
    let path = rig.miners().join("wanted.json");
    replace(&path, "{\"xmrig-1\":");
    let error = supervisor::spawn(rig.config()).await.unwrap_err();
    assert!(error.to_string().contains("wanted.json"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"xmrig-1\":");
}

#[tokio::test]
async fn cues_change_what_a_running_miner_shows() {
    let rig = Rig::new("warmup:0");
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    until(&miners, "it mines", |miner| miner.state == MinerState::Mining).await;
    let cue = rig.miners().join("xmrig-1/home/simulate");
    for (word, state) in [
        ("paused", MinerState::Paused),
        ("no-pool", MinerState::NoPool),
        ("zero", MinerState::Warming),
        ("", MinerState::Mining),
    ] {
        replace(&cue, word);
        until(&miners, word, |miner| miner.state == state).await;
    }
    miners.shutdown().await;
}

#[tokio::test]
async fn a_flood_on_the_console_costs_nothing_but_lines() {
    let rig = Rig::new("flood,warmup:0");
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    until(&miners, "it mines", |miner| miner.state == MinerState::Mining).await;
    let page = miners.logs(None, 10, Some(1), Duration::from_secs(30)).await.unwrap();
    assert!(page.lines.len() == 10 && page.lost > 0);
    miners.stop(MinerChoice::Only).await.unwrap();
    assert_eq!(rig.running(), 0);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_start_wins() {
    let rig = Rig::new("");
    let miners = rig.supervisor().await;
    let (started, stopped) = tokio::join!(miners.start(profile("p"), None), miners.stop(MinerChoice::All));
    let (started, changed) = started.unwrap();
    assert!(changed && started.state == MinerState::Stopped && started.problem.is_some(), "{started:?}");
    assert!(stopped.unwrap().1);
    assert_eq!(rig.running(), 0);
    let (again, _) = miners.start(profile("p"), None).await.unwrap();
    let (restarted, changed) = miners.restart(None).await.unwrap();
    assert_eq!((restarted.name, changed, rig.running()), (again.name, true, 1));
    miners.shutdown().await;
}

#[tokio::test]
async fn a_stop_that_a_start_overtakes_does_not_wait_for_an_end_that_never_comes() {
    let rig = Rig::new("");
    let miners = rig.supervisor().await;
    miners.start(profile("p"), None).await.unwrap();
    let asked = Instant::now();
    let (stopped, started) = tokio::join!(miners.stop(MinerChoice::All), miners.start(profile("p"), None));
    let (told, changed) = stopped.unwrap();
    assert!(changed && asked.elapsed() < Duration::from_secs(15), "{told:?} after {:?}", asked.elapsed());
    assert_eq!((started.unwrap().0.name, rig.running()), (name("xmrig-1"), 1));
    miners.shutdown().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_refused_with_the_place() {
    let rig = Rig::new("");
    let missing = ProgramPath::from(PathBuf::from("/nowhere/xmrig"));
    let config = MinersConfig { programs: BTreeMap::from([(Program::Xmrig, missing)]), ..rig.config() };
    let miners = supervisor::spawn(config).await.unwrap();
    let refused = miners.start(profile("p"), None).await;
    assert!(
        matches!(&refused, Err(Refusal::MinerUnavailable { why }) if why.contains("/nowhere/xmrig")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_miner_is_not_ended_for_a_start_that_cannot_come_off() {
    let rig = Rig::new("");
    let file = rig.data.path().join("xmrig");
    std::os::unix::fs::symlink("/usr/bin/env", &file).unwrap();
    let mut config = rig.config();
    config.programs.get_mut(&Program::Xmrig).unwrap().path = file.clone();
    let miners = supervisor::spawn(config).await.unwrap();
    miners.start(profile("p"), None).await.unwrap();
    let process = marked_processes(&rig.miners());
    std::fs::remove_file(&file).unwrap();
    let refused = miners.restart(None).await;
    assert!(
        matches!(&refused, Err(Refusal::MinerUnavailable { why }) if why.contains("goes on as it is")),
        "{refused:?}"
    );
    assert_eq!(marked_processes(&rig.miners()), process);
    // Nor is one that is tried again by itself given up for it.
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(process[0].id.pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    until(&miners, "it is tried again", |miner| miner.problem.as_ref().is_some_and(|why| why.contains("no xmrig")))
        .await;
    for order in [miners.start(profile("p"), None).await, miners.restart(None).await] {
        assert!(matches!(&order, Err(Refusal::MinerUnavailable { why }) if why.contains("no xmrig")), "{order:?}");
    }
    std::os::unix::fs::symlink("/usr/bin/env", &file).unwrap();
    until(&miners, "it mines by itself", |miner| miner.state == MinerState::Mining).await;
    miners.restart(None).await.unwrap();
    assert!(!marked_processes(&rig.miners()).is_empty() && marked_processes(&rig.miners()) != process);
    miners.shutdown().await;
}

/// The real program, by `MINER_CTRL_XMRIG` or `PATH`.
fn real_xmrig() -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::var_os("MINER_CTRL_XMRIG")
        .map(PathBuf::from)
        .or_else(|| std::env::split_paths(&search).map(|directory| directory.join("xmrig")).find(|path| path.is_file()))
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
async fn the_real_xmrig_mines_at_a_pool() {
    let Some(path) = real_xmrig() else {
        eprintln!("skipped: no xmrig in PATH, and MINER_CTRL_XMRIG is not set");
        return;
    };
    let rig = Rig::new("");
    let config = MinersConfig { programs: BTreeMap::from([(Program::Xmrig, path.into())]), ..rig.config() };
    let pool = stratum::StubPool::start("cn-pico", 1000).await.unwrap();
    let real = draft(json!({"name": "real", "program": "xmrig", "algorithm": "cn-pico", "wallet": "TESTWALLET",
        "threads": 1, "huge_pages": false, "arguments": ["--cpu-priority=0", "--no-dmi"],
        "pools": [{"url": pool.url(), "password": "hunter2"}]}));
    let miners = supervisor::spawn(config.clone()).await.unwrap();
    let (status, changed) = miners.start(real.clone(), None).await.unwrap();
    assert!(changed, "{status:?}");
    let mining =
        until(&miners, "it mines", |miner| miner.state == MinerState::Mining && miner.shares.accepted > 0).await;
    assert_eq!((mining.pool.as_deref(), mining.algorithm.as_deref()), (Some(pool.url().as_str()), Some("cn-pico")));
    let seen = pool.seen().borrow().clone();
    assert_eq!(
        (&seen.logins[0]["login"], &seen.logins[0]["pass"], &seen.logins[0]["rigid"]),
        (&json!("TESTWALLET"), &json!("hunter2"), &json!("rig-alpha"))
    );
    assert!(seen.shares["TESTWALLET"] > 0);
    let lines = lines(&miners).await;
    assert!(lines.iter().any(|line| line.contains("accepted")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("TESTWALLET") || line.contains("hunter2")), "{lines:?}");
    // The node is gone, and it mines on; the next one takes it over, and stops it.
    drop(miners);
    let miners = supervisor::spawn(config).await.unwrap();
    let (_, changed) = miners.start(real, None).await.unwrap();
    assert!(!changed);
    let (stopped, _) = miners.stop(MinerChoice::Only).await.unwrap();
    assert_eq!((stopped[0].state, rig.running()), (MinerState::Stopped, 0));
}
