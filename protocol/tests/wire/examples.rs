//! One example, at least, of everything that travels.

use std::fmt::Debug;

use miner_ctrl_protocol::history::{HistoryPage, HistorySeries};
use miner_ctrl_protocol::message::{Hello, LogLine, LogPage, MinerChoice, ProfileChoice, ProfileSummary};
use miner_ctrl_protocol::pair::{Confirm, Door, Knock, PairRefusal, Reply};
use miner_ctrl_protocol::policy::Verb;
use miner_ctrl_protocol::profile::{Invalid, Pool};
use miner_ctrl_protocol::stats::{DeviceStats, HostStats};
use miner_ctrl_protocol::{
    Hashrate, Measure, MinerState, MinerStatus, NodeName, Permission, Policy, ProfileDraft, Program, Refusal, Request,
    Response, RigStats, Role, Shares,
};

use crate::link::{key, nonce};

/// Names every variant of an enum. Whoever adds one is sent here by the compiler, and then by
/// `every_variant_has_an_example` to write an example of it.
macro_rules! variants {
    ($($type:ident { $($variant:ident),+ $(,)? })+) => {$(
        impl Variants for $type {
            const ALL: &'static [&'static str] = &[$(stringify!($variant)),+];
            fn variant(&self) -> &'static str {
                match self { $(Self::$variant { .. } => stringify!($variant)),+ }
            }
        }
    )+};
}

pub(crate) trait Variants: Debug {
    const ALL: &'static [&'static str];
    fn variant(&self) -> &'static str;
}

variants! {
    Door { Approval, Code }
    PairRefusal { Busy, Denied, Internal, NoCode, Off, Version, WrongCode }
    Reply { Code, Paired, Pending, Refused }
    Request {
        DeployProfile, History, Logs, Ping, Policy, Profiles, RemoveProfile, RestartMiner, StartMiner, Stats, StopMiner,
        Watch,
    }
    Response { Deployed, History, Logs, Miner, Miners, Policy, Pong, Profiles, Refused, Removed, Stats }
    Refusal {
        AmbiguousMiner, Busy, Conflict, Internal, Invalid, MinerUnavailable, NotAllowed, NotRegistered, PolicyForbids,
        Replayed, RunsNoMiner, Stale, TooLarge, UnknownMiner, UnknownProfile, Unreadable, Unsupported,
    }
    Measure { Hashrate, Power, Shares, Temperature }
    MinerChoice { All, Named, Only }
    MinerState { Connecting, Failed, Mining, NoPool, Paused, Starting, Stopped, Stopping, Warming }
    Permission { None, View, Control }
    ProfileChoice { Inline, Stored }
    Program { TtMiner, Xmrig }
    Role { Controller, Dual, Worker }
    Verb { Deploy, Logs, Remove, Restart, Start, Stats, Stop }
}

fn parse<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("an example is valid")
}

/// A program's start.
pub(crate) const BOOT: u64 = 0x0102_0304_0506_0708;

pub(crate) fn hello() -> Hello {
    Hello {
        versions: vec![1],
        node_id: key(1).node_id(),
        name: parse("rig-alpha"),
        role: Role::Dual,
        nonce: nonce(9),
        agent: "miner-ctrl/0.1.0".into(),
        features: vec!["none-yet".into()],
        boot: None,
    }
}

fn small_profile() -> ProfileDraft {
    ProfileDraft {
        name: parse("small"),
        program: Program::TtMiner,
        algorithm: None,
        coin: Some("RVN".into()),
        pools: vec![Pool { url: "pool.example:4444".into(), ..Pool::default() }],
        wallet: "wallet".into(),
        password: None,
        rig_name: None,
        threads: None,
        threads_hint: None,
        huge_pages: None,
        arguments: vec![],
    }
}

pub(crate) fn full_profile() -> ProfileDraft {
    ProfileDraft {
        name: parse("monero-main"),
        program: Program::Xmrig,
        algorithm: Some("rx/0".into()),
        coin: None,
        pools: vec![
            Pool {
                url: "stratum+ssl://pool.example:3333".into(),
                wallet: Some("other".into()),
                password: Some("secret".into()),
                tls: true,
                fingerprint: Some("ab".repeat(32)),
            },
            Pool { url: "[2001:db8::1]:4444".into(), ..Pool::default() },
        ],
        wallet: "48edfHu7V9Z84YzzMa6fUueoELZ9ZRXq9VetWzYGzKt52XU5xvqgzYnDK9URnRoJMk1j8nLwEVsaSWJ4fhdUyZijBGUicoD"
            .into(),
        password: Some("x".into()),
        rig_name: Some("{name}".into()),
        threads: Some(8),
        threads_hint: Some(75),
        huge_pages: Some(true),
        arguments: vec!["--cpu-no-yield".into()],
    }
}

pub(crate) fn policies() -> Vec<Policy> {
    let all = Policy {
        verbs: Some(vec![Verb::Deploy, Verb::Logs, Verb::Remove, Verb::Restart, Verb::Start, Verb::Stats, Verb::Stop]),
        programs: Some(Program::ALL.to_vec()),
        pools: Some(vec!["pool.example:3333".into()]),
        wallets: Some(vec![]),
    };
    vec![all, Policy::default()]
}

fn status(state: MinerState) -> MinerStatus {
    MinerStatus {
        name: parse("xmrig-1"),
        program: Program::Xmrig,
        profile: Some(parse("monero-main")),
        state,
        state_seconds: 5,
        uptime_seconds: 70_000,
        hashrate: Hashrate::per_second(4003.5),
        hashrates: [Hashrate::per_second(4003.5), Some(Hashrate::ZERO), None],
        shares: Shares { accepted: 1000, rejected: 1 },
        algorithm: Some("rx/0".into()),
        pool: Some("pool.example:3333".into()),
        version: Some("6.24.0".into()),
        devices: vec![
            DeviceStats {
                name: Some("RTX 3070".into()),
                hashrate: Hashrate::per_second(1e6),
                temperature_celsius: Some(61.5),
                fan_percent: Some(70.0),
                power_watt: Some(120.25),
            },
            DeviceStats::default(),
        ],
        restarts: 2,
        problem: Some("it ended with status 1".into()),
    }
}

fn statuses() -> Vec<MinerStatus> {
    [
        MinerState::Connecting,
        MinerState::Failed,
        MinerState::Mining,
        MinerState::NoPool,
        MinerState::Paused,
        MinerState::Starting,
        MinerState::Stopped,
        MinerState::Stopping,
        MinerState::Warming,
    ]
    .map(status)
    .to_vec()
}

fn rig_stats() -> RigStats {
    RigStats {
        revision: u64::MAX,
        name: parse("rig-alpha"),
        version: "0.1.0".into(),
        host: HostStats {
            os: "Linux 6.1.0".into(),
            cpu: "AMD Ryzen 9 5950X".into(),
            threads: 32,
            load: Some(31.5),
            memory_total: 1 << 36,
            memory_available: 1 << 35,
            uptime_seconds: 86_400,
        },
        miners: vec![status(MinerState::Mining)],
    }
}

pub(crate) fn requests() -> Vec<Request> {
    let miner = || Some(parse("xmrig-1"));
    vec![
        Request::DeployProfile { profile: full_profile() },
        Request::DeployProfile { profile: small_profile() },
        Request::Logs { miner: miner(), lines: 1000, after: Some(70_000), wait: 30 },
        Request::Logs { miner: None, lines: 1, after: None, wait: 0 },
        Request::Ping { sent_at: 1 << 40 },
        Request::Policy,
        Request::Profiles,
        Request::RemoveProfile { name: parse("small") },
        Request::RestartMiner { miner: miner() },
        Request::StartMiner { profile: ProfileChoice::Inline(Box::new(small_profile())), miner: miner() },
        Request::StartMiner { profile: ProfileChoice::Stored(parse("monero-main")), miner: None },
        Request::Stats,
        Request::StopMiner { miner: MinerChoice::All },
        Request::StopMiner { miner: MinerChoice::Named(parse("xmrig-1")) },
        Request::StopMiner { miner: MinerChoice::Only },
        Request::Watch { after: 7, wait: 30 },
        Request::History { since: 1_700_006_400, step: 60 },
    ]
}

pub(crate) fn responses() -> Vec<Response> {
    let mut responses = vec![
        Response::Deployed { changed: true, others: vec![] },
        Response::Logs(LogPage {
            miner: parse("xmrig-1"),
            lines: vec![LogLine { number: 41, text: "new job from pool.example:3333 diff 1000 \u{2013} ok".into() }],
            newest: 41,
            lost: 3,
        }),
        Response::Miner { status: Box::new(status(MinerState::Stopped)), changed: false },
        Response::Miners { statuses: statuses(), changed: true },
        Response::Pong { sent_at: 1 << 40 },
        Response::Profiles(vec![ProfileSummary {
            name: parse("monero-main"),
            program: Program::Xmrig,
            algorithm: Some("rx/0".into()),
            pools: vec!["pool.example:3333".into()],
        }]),
        Response::Removed { changed: false },
        Response::Stats(Box::new(rig_stats())),
    ];
    responses.extend(policies().into_iter().map(Response::Policy));
    responses.extend(refusals().into_iter().map(Response::Refused));
    responses.push(Response::History(history()));
    responses.push(Response::Deployed { changed: false, others: vec![parse("xmrig-1")] });
    responses
}

fn history() -> HistoryPage {
    let series =
        |measure| HistorySeries { miner: parse("xmrig-1"), measure, numbers: vec![Some(2500.5), None, Some(0.0)] };
    let series = Measure::ALL.map(series).to_vec();
    HistoryPage { now: 1_700_006_581, step: 60, from: 1_700_006_400, until: 1_700_006_580, series }
}

pub(crate) fn refusals() -> Vec<Refusal> {
    let miners = || vec![parse("tt-miner-1"), parse("xmrig-1")];
    vec![
        Refusal::AmbiguousMiner { miners: miners() },
        Refusal::Busy { retry_after_ms: 250 },
        Refusal::Conflict { why: "a profile of this name exists".into() },
        Refusal::Internal { id: 17, why: None },
        Refusal::Invalid(Invalid::new("pools[0].url", "has no port: write host:port")),
        Refusal::MinerUnavailable { why: "no xmrig in /opt/miners".into() },
        Refusal::NotAllowed { needs: Permission::Control, granted: Permission::View },
        Refusal::NotAllowed { needs: Permission::View, granted: Permission::None },
        Refusal::NotRegistered,
        Refusal::PolicyForbids { rule: "verbs does not list stop".into() },
        Refusal::Replayed,
        Refusal::RunsNoMiner,
        Refusal::Stale { nonce: nonce(9) },
        Refusal::TooLarge { limit: 262_144 },
        Refusal::UnknownMiner { miner: "x".into(), miners: miners() },
        Refusal::UnknownProfile { name: parse("gone") },
        Refusal::Unreadable,
        Refusal::Unsupported,
        Refusal::Internal { id: 17, why: Some("No space left on device (os error 28)".into()) },
    ]
}

pub(crate) fn knocks() -> Vec<Knock> {
    let doors = [Door::Approval, Door::Code { message: vec![0x41; 33].into() }];
    doors
        .map(|door| Knock {
            versions: vec![1],
            name: "control-center".parse().expect("a name"),
            role: Role::Controller,
            door,
        })
        .into()
}

pub(crate) fn replies() -> Vec<Reply> {
    let name: NodeName = parse("rig-alpha");
    let paired = |mac| Reply::Paired { name: name.clone(), role: Role::Worker, mac, boot: None };
    let mut replies = vec![
        Reply::Code { message: vec![0x42; 33].into() },
        paired(None),
        paired(Some(vec![7; 32].into())),
        Reply::Pending,
    ];
    replies.extend(pair_refusals().map(Reply::Refused));
    replies.push(Reply::Paired { name, role: Role::Dual, mac: None, boot: Some(BOOT) });
    replies
}

pub(crate) fn pair_refusals() -> [PairRefusal; 7] {
    use PairRefusal::{Busy, Denied, Internal, NoCode, Off, Version, WrongCode};
    [Busy, Denied, Internal, NoCode, Off, Version, WrongCode]
}

pub(crate) fn confirm() -> Confirm {
    Confirm { mac: vec![9; 32].into() }
}

fn assert_complete<'a, T: Variants + 'a>(examples: impl IntoIterator<Item = &'a T>) {
    let examples: Vec<_> = examples.into_iter().map(Variants::variant).collect();
    for variant in T::ALL {
        assert!(examples.contains(variant), "no example of {variant}");
    }
}

#[test]
fn every_variant_has_an_example() {
    let (requests, responses, refusals) = (requests(), responses(), refusals());
    assert_complete(&replies());
    assert_complete(&pair_refusals());
    assert_complete(knocks().iter().map(|knock| &knock.door).collect::<Vec<_>>());
    assert_complete(&requests);
    assert_complete(&responses);
    assert_complete(&refusals);
    assert_eq!(Request::ALL, Request::NAMES);

    let statuses = statuses();
    assert_complete(statuses.iter().map(|status| &status.state));
    assert_complete(&policies().remove(0).verbs.unwrap());
    assert_complete([full_profile(), small_profile()].iter().map(|profile| &profile.program));
    assert_complete(requests.iter().filter_map(|request| match request {
        Request::StopMiner { miner } => Some(miner),
        _ => None,
    }));
    assert_complete(requests.iter().filter_map(|request| match request {
        Request::StartMiner { profile, .. } => Some(profile),
        _ => None,
    }));
    assert_complete(history().series.iter().map(|series| &series.measure).collect::<Vec<_>>());
    assert_complete(refusals.iter().flat_map(|refusal| match refusal {
        Refusal::NotAllowed { needs, granted } => vec![needs, granted],
        _ => vec![],
    }));
}

/// Roles appear in Hello alone, which has one.
pub(crate) fn roles() -> [Role; 3] {
    [Role::Controller, Role::Dual, Role::Worker]
}

#[test]
fn every_role_has_an_example() {
    assert_complete(&roles());
}
