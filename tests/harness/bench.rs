//! What benchmarks measure with: the process's own clocks, and the answer that a rig with one XMRig gives.

use std::fs;
use std::time::Duration;

use miner_ctrl_protocol::stats::HostStats;
use miner_ctrl_protocol::{Hashrate, MinerState, MinerStatus, Program, RigStats, Shares};

/// User and system time of this process so far.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn cpu_time() -> Duration {
    cpu_time_of("self")
}

/// User and system time of a process so far, by `/proc/PID/stat` in ticks of 10 ms.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn cpu_time_of(pid: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process exists");
    // After the command's closing bracket: state is field 3, utime 14, stime 15.
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a stat line").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of this process, bytes.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

/// What a rig with one XMRig answers to `Stats`.
#[must_use]
pub fn stats() -> RigStats {
    let rate = Hashrate::per_second(8_412.25);
    RigStats {
        revision: 4711,
        name: "rig-alpha".parse().expect("a name"),
        version: "0.1.0".into(),
        host: HostStats {
            os: "Linux 6.1.0-37-amd64".into(),
            cpu: "AMD Ryzen 9 7950X 16-Core Processor".into(),
            threads: 32,
            load: Some(31.5),
            memory_total: 33_554_432_000,
            memory_available: 21_474_836_480,
            uptime_seconds: 1_234_567,
        },
        miners: vec![MinerStatus {
            name: "xmrig-1".parse().expect("a name"),
            program: Program::Xmrig,
            profile: "monero-main".parse().ok(),
            state: MinerState::Mining,
            state_seconds: 86_400,
            uptime_seconds: 86_410,
            hashrate: rate,
            hashrates: [rate, Hashrate::per_second(8_400.0), Hashrate::per_second(8_390.5)],
            shares: Shares { accepted: 12_345, rejected: 12 },
            algorithm: Some("rx/0".into()),
            pool: Some("pool.example:3333".into()),
            version: Some("6.22.2".into()),
            devices: vec![],
            restarts: 0,
            problem: None,
        }],
    }
}

/// The machine, for whoever compares numbers: processor, threads, memory, kernel.
#[must_use]
pub fn machine() -> String {
    let host = miner_ctrl::miners::host::stats();
    format!("{}, {} threads, {} GiB, {}", host.cpu, host.threads, host.memory_total >> 30, host.os)
}

/// The one in the middle.
///
/// # Panics
/// Of nothing.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
