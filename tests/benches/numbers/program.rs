//! The program itself, as it is shipped without its dashboard: a controller of many, and a rig.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use miner_ctrl::control::Client;
use miner_ctrl::fleet::{NewPeer, enrol};
use miner_ctrl::simulate::fleet::{Faults, FleetKey, Hall};
use miner_ctrl::store::file::create_secret;
use miner_ctrl::store::{Database, Places};
use miner_ctrl_protocol::smsg::NodeSecret;
use miner_ctrl_protocol::{NodeName, PeerKey, Permission, Role};
use miner_ctrl_tests::bench::{cpu_time_of, median};
use miner_ctrl_tests::processes::{resident_bytes_of, terminate};
use miner_ctrl_tests::stratum::StubPool;
use miner_ctrl_tests::{Farm, Home, Serving, wait_for};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Row;
use crate::crowd::Drifting;

/// Rigs whose rates drift.
const RIGS: u32 = 1000;
/// Rigs of the largest fleet that one command simulates.
const SIMULATED: usize = 10_000;
/// Peers that are registered at a start.
const PEERS: u32 = 5000;
/// Starts; the table shows the median.
const STARTS: usize = 5;
/// After the last connection or the first rate, until things are as they stay.
const SETTLE: Duration = Duration::from_secs(12);
/// After rigs have joined a controller: it asks each for what it missed of its numbers, at once and when the minute is over.
const ASKED: Duration = Duration::from_secs(100);
/// How long CPU is counted: a ping each two minutes and what is written each minute are in it, wherever it begins. Of ticks of
/// 10 ms, 0.01 % of a core can be told apart.
const SPAN: Duration = Duration::from_secs(120);
/// Every rig's reading changes each 3 s and is known a second later; within this each has been heard anew, or the
/// controller does not keep up.
const HEARD: Duration = Duration::from_secs(5);
/// Readings of one more rig that are followed from there to the controller; a minute of them.
const READINGS: usize = 20;
/// Both are asked anew after this: how exactly it is known since when each tells a reading.
const LOOK: Duration = Duration::from_millis(5);
/// Jobs to all of them; the table shows their median.
const JOBS: usize = 5;
/// No wait in a benchmark is longer.
const LONGEST: Duration = Duration::from_secs(120);

/// Builds the program beside this benchmark, without its dashboard; not when `MINER_CTRL_BIN` names one.
pub(crate) fn build() {
    if std::env::var_os("MINER_CTRL_BIN").is_some() {
        return;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "miner-ctrl", "--no-default-features"])
        .status()
        .expect("cargo starts");
    assert!(built.success(), "the program cannot be built");
}

/// Part of a core, in percent, that each process uses over the same [`SPAN`].
async fn cpu_percent<const PROCESSES: usize>(pids: [i32; PROCESSES]) -> [f64; PROCESSES] {
    let used = || pids.map(|pid| cpu_time_of(&pid.to_string()));
    let (begun, before) = (Instant::now(), used());
    sleep(SPAN).await;
    let (after, passed) = (used(), begun.elapsed().as_secs_f64());
    std::array::from_fn(|index| (after[index] - before[index]).as_secs_f64() / passed * 100.0)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Simulated rigs that joined a controller; ended and reaped when dropped.
struct Rigs(Child);

impl Rigs {
    async fn join(controller: &Home, count: u32) -> Self {
        Self::run(controller, &["--join", "--rigs", &count.to_string()], count as usize).await
    }

    /// Runs the command until it says that so many are online.
    async fn run(home: &Home, options: &[&str], count: usize) -> Self {
        let said = home.path().join("rigs.out");
        let child = home
            .command(&[&["-o", "json", "simulate", "fleet"], options].concat())
            .stdout(std::fs::File::create(&said).expect("the home can be written to"))
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program starts");
        let this = Self(child);
        wait_for("all simulated rigs are online", LONGEST, async || {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            let document: Value = serde_json::from_str(text.lines().last()?).ok()?;
            (document["online"] == count).then_some(())
        })
        .await;
        this
    }
}

impl Drop for Rigs {
    fn drop(&mut self) {
        terminate(i32::try_from(self.0.id()).expect("a process number"));
        // Its end is what is waited for.
        let _ = self.0.wait();
    }
}

/// Revision of each rig's statistics at the controller.
async fn revisions(client: &Client) -> Vec<(String, u64)> {
    let rigs: Vec<Value> = client.fetch("/remote/stats").await.expect("the controller answers");
    let revision = |rig: &Value| Some((rig["peer"]["id"].as_str()?.to_owned(), rig["stats"]["revision"].as_u64()?));
    rigs.iter().filter_map(revision).collect()
}

/// Asks the node of a home.
pub(crate) fn client(home: &Home) -> Client {
    Client::Socket(places(home).socket())
}

fn places(home: &Home) -> Places {
    Places::resolve(Some(home.path()), |_| None).expect("a home has places")
}

/// The rigs that will join are registered beforehand: pairing them by codes would take minutes.
async fn register_simulated(home: &Home) {
    let key = FleetKey::generate(&mut rand::rng());
    let places = places(home);
    create_secret(&places.data_dir.join("simulated-rigs.key"), key.as_bytes()).expect("the rigs' secret is stored");
    let database = Database::open(&places.database_file()).expect("the registry");
    let hall = Hall::new(&key, RIGS, 0.0, Faults::default());
    let new = hall.members().map(|(key, name)| peer(key, name.clone(), vec![]));
    enrol(&database, new).await.expect("they are registered");
}

fn peer(key: PeerKey, own_name: NodeName, addresses: Vec<String>) -> NewPeer {
    let (role, permission) = (Role::Worker, Permission::None);
    NewPeer { key, name: None, own_name, role, addresses, permission, now: 1_700_000_000 }
}

/// A controller of a thousand rigs at work.
pub(crate) async fn drift() -> Vec<Row> {
    let home = Home::init("control-center", "controller").await;
    register_simulated(&home).await;
    let node = home.serve_with(&[]).await;
    let empty = resident_bytes_of(node.pid());
    let rigs = Rigs::join(&home, RIGS).await;
    // Both at one time: what else the machine carries makes more of a difference between two times than they do.
    let stock = Drifting::start(RIGS);
    sleep(ASKED).await;
    let [percent, reference] = cpu_percent([node.pid(), stock.pid()]).await;
    drop(stock);
    let resident = resident_bytes_of(node.pid());
    let client = client(&home);
    let before = revisions(&client).await;
    assert_eq!(before.len(), RIGS as usize, "all rigs are known");
    sleep(HEARD).await;
    let after: HashMap<_, _> = revisions(&client).await.into_iter().collect();
    let heard = before.iter().filter(|(id, revision)| after.get(id).is_some_and(|now| now > revision)).count();
    assert_eq!(heard, RIGS as usize, "a rig's news did not come within {HEARD:?}");
    let ages = ages(&home).await;
    let longest = ages.iter().copied().fold(0.0, f64::max);
    let mut took = Vec::new();
    for _ in 0..JOBS {
        took.push(job(&client, &before).await.as_secs_f64());
    }
    drop(rigs);
    vec![
        Row::new(
            "1 000 rigs with drifting rates, each reading known within 1 s: controller CPU",
            format!("{percent:.1} % of a core"),
            "5 %",
        )
        .met(percent <= 5.0)
        .against(format!("S {reference:.1} %"), percent / reference),
        Row::new(
            format!(
                "the same: from one rig's API telling a reading until the controller's does, median and longest of {READINGS}"
            ),
            format!("{:.0} ms, {:.0} ms", median(ages) * 1e3, longest * 1e3),
            "1 s",
        )
        .met(longest <= 1.0),
        Row::new(
            "the same: controller RSS, and per rig",
            format!(
                "{}, {:.1} KB",
                megabytes(resident),
                (resident.saturating_sub(empty)) as f64 / f64::from(RIGS) / 1024.0
            ),
            "–",
        ),
        Row::new(
            "the same: a job that restarts each rig's miner, from the API's call until all have done so, median of 5",
            format!("{:.0} ms", median(took) * 1e3),
            "–",
        ),
    ]
}

/// Seconds from when a rig tells a reading, asked there, until its controller, which has a thousand others, tells the same.
/// That rig is a node of its own with a stand-in for XMRig.
async fn ages(controller: &Home) -> Vec<f64> {
    let pool = StubPool::start("cn-pico", 5000).await.expect("a pool");
    let home = Home::init("rig-alpha", "worker").await;
    let node = home.serve_with(&["--simulate"]).await;
    mine(controller, &home, &node, &pool.url(), 1).await;
    let ends = [client(&home), client(controller)];
    let begun = Instant::now();
    // Since when each tells a revision.
    let mut told = [const { BTreeMap::<u64, Instant>::new() }; 2];
    // The first one at each may have been told before we looked.
    while told[1].len() < READINGS + 2 {
        for (end, told) in ends.iter().zip(&mut told) {
            let rig: Value = end.fetch("/remote/rig-alpha/stats").await.expect("both know the rig");
            told.entry(rig["stats"]["revision"].as_u64().expect("it tells")).or_insert_with(Instant::now);
        }
        assert!(begun.elapsed() < LONGEST, "its readings come");
        sleep(LOOK).await;
    }
    let [at_rig, at_controller] = told;
    // A revision that never came was driven out by a newer one, and was that old when it did.
    let known = |revision| at_controller.range(revision..).next().map(|(_, at)| *at);
    let ages = at_rig.iter().skip(1).filter_map(|(revision, told)| Some((known(*revision)? - *told).as_secs_f64()));
    let ages: Vec<f64> = ages.take(READINGS).collect();
    assert_eq!(ages.len(), READINGS, "all of them came");
    let _ = controller.run("remote stop rig-alpha --all").await.done();
    ages
}

/// Restarts the miner of each of these rigs; how long it took.
async fn job(client: &Client, rigs: &[(String, u64)]) -> Duration {
    let begun = Instant::now();
    let rigs: Vec<&str> = rigs.iter().map(|(id, _)| id.as_str()).collect();
    let body = json!({ "verb": "restart", "rigs": rigs });
    let job: Value = client.send("POST", "/jobs", Some(&body)).await.expect("the job begins");
    let counts = loop {
        // The summary alone: asked all the time, it shall cost nothing beside the job.
        let jobs: Value = client.fetch("/jobs?limit=1").await.expect("the controller answers");
        let newest = &jobs["jobs"][0];
        assert_eq!(newest["id"], job["id"], "the newest job");
        if newest["ended"].is_u64() {
            break newest["counts"].clone();
        }
        assert!(begun.elapsed() < LONGEST, "{jobs}");
    };
    let took = begun.elapsed();
    assert_eq!(counts["done"], rigs.len(), "a rig did not do it");
    took
}

/// Ten thousand simulated rigs and their controller, by one command.
pub(crate) async fn simulated() -> Vec<Row> {
    let home = Home::empty();
    let begun = Instant::now();
    let _rigs = Rigs::run(&home, &[], SIMULATED).await;
    let online = begun.elapsed();
    // identify and ping of the last ones begin 10 s after they have connected.
    sleep(2 * SETTLE).await;
    let begun = Instant::now();
    let rigs = home.json("remote status").await;
    let asked = begun.elapsed();
    let mining = |rig: &&Value| rig["peer"]["online"] == true && rig["hashrate"].as_f64() > Some(0.0);
    let mining = rigs.as_array().map_or(0, |rigs| rigs.iter().filter(mining).count());
    assert_eq!(mining, SIMULATED, "all of them mine");
    vec![Row::new(
        "`simulate fleet`, 10 000 rigs and their controller on these cores: all online, `remote status` of all",
        format!("{:.1} s, {:.2} s", online.as_secs_f64(), asked.as_secs_f64()),
        "–",
    )]
}

/// XMRig as `MINER_CTRL_XMRIG` names it.
pub(crate) fn real_xmrig() -> Option<PathBuf> {
    std::env::var_os("MINER_CTRL_XMRIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A rig with one miner that its controller watches; and the file of the program.
pub(crate) async fn rig() -> Vec<Row> {
    let real = real_xmrig();
    let pool = StubPool::start("cn-pico", 5000).await.expect("a pool");
    let home = Home::init("rig-alpha", "worker").await;
    let home = match &real {
        Some(path) => home.with_variable("MINER_CTRL_XMRIG", path),
        None => home,
    };
    let node = home.serve_with(if real.is_some() { &[] } else { &["--simulate"] }).await;
    let controller = Home::init("control-center", "controller").await;
    let _controls = controller.serve_with(&[]).await;
    mine(&controller, &home, &node, &pool.url(), 1).await;
    sleep(SETTLE).await;
    let [percent] = cpu_percent([node.pid()]).await;
    let resident = resident_bytes_of(node.pid());
    let _ = controller.run("remote stop rig-alpha --all").await.done();
    let with = if real.is_some() { "a real XMRig" } else { "a stand-in for XMRig" };
    let stripped = stripped_size();
    vec![
        Row::new(format!("rig with {with}, watched by a controller: RSS"), megabytes(resident), "20 MB")
            .met(resident <= 20_000_000),
        Row::new("the same: CPU", format!("{percent:.2} % of a core"), "0.3 %").met(percent <= 0.3),
        Row::new("release binary without dashboard, stripped", megabytes(stripped), "12 MB")
            .met(stripped <= 12_000_000),
    ]
}

/// Pairs both, and has the rig mine with so many threads until it has a rate.
pub(crate) async fn mine(controller: &Home, rig: &Home, node: &Serving, pool: &str, threads: usize) {
    let (address, code) = (rig.address(), node.code());
    let _ = controller.run(&format!("peer add --address {address} --name rig-alpha --code {code}")).await.done();
    let add = "profile add light --program xmrig --algorithm cn-pico --huge-pages false --wallet WALLET";
    let _ = controller.run(&format!("{add} --threads {threads} --pool {pool}")).await.done();
    let _ = controller.run("remote start rig-alpha --profile light --from here").await.done();
    Farm::online(controller, "rig-alpha").await;
    wait_for("it hashes", LONGEST, async || {
        let status = controller.json("remote status rig-alpha").await;
        status["hashrate"].as_f64().filter(|rate| *rate > 0.0)
    })
    .await;
}

/// Bytes of the program without its symbols.
fn stripped_size() -> u64 {
    let directory = tempfile::tempdir().expect("a directory");
    let stripped = directory.path().join("miner-ctrl");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(miner_ctrl_tests::home::program()).status();
    assert!(strip.is_ok_and(|status| status.success()), "`strip` of binutils is needed");
    std::fs::metadata(&stripped).expect("the stripped program").len()
}

/// How long a controller with many registered peers takes from its start to its first answer: all of them.
pub(crate) async fn start() -> Vec<Row> {
    let home = Home::init("control-center", "controller").await;
    let database = Database::open(&places(&home).database_file()).expect("the registry");
    let new = (1..=PEERS).map(|number| {
        let mut seed = [0x77; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let key = NodeSecret::from_seed(&seed).expect("a seed has 32 bytes").public();
        // Nobody listens there, so that it has the work of dialling them all.
        let addresses = vec!["/ip4/127.0.0.1/tcp/9/ws".to_owned()];
        peer(key, format!("rig-{number:05}").parse().expect("a name"), addresses)
    });
    enrol(&database, new).await.expect("they are registered");
    drop(database);
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(first_answer(&home).await);
    }
    let (first, second): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
    let (first, second) = (median(first) * 1e3, median(second) * 1e3);
    let shown = format!("{first:.0} ms, {second:.0} ms");
    let what = "start with 5 000 registered peers: first answer, and all of them listed";
    vec![Row::new(what, shown, "1 s").met(second <= 1000.0)]
}

async fn first_answer(home: &Home) -> (f64, f64) {
    let client = client(home);
    let begun = Instant::now();
    let mut node = home
        .command(&["node", "serve", "--listen", &home.address()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let until = |path: &'static str, whole: fn(&Value) -> bool| {
        let client = &client;
        async move {
            while !client.get(path).await.is_ok_and(|answer| whole(&answer)) {
                assert!(begun.elapsed() < LONGEST, "no answer");
                sleep(Duration::from_millis(2)).await;
            }
            begun.elapsed().as_secs_f64()
        }
    };
    let health = until("/health", |_| true).await;
    let peers = until("/peers", |peers| peers.as_array().is_some_and(|peers| peers.len() == PEERS as usize)).await;
    terminate(i32::try_from(node.id()).expect("a process number"));
    let _ = node.wait();
    (health, peers)
}
