//! The machine under the miners, as /proc tells it. Cheap: four small reads.

use std::fs;

use miner_ctrl_protocol::stats::HostStats;

/// Statistics of this machine now. What /proc does not tell stays at its default.
#[must_use]
pub fn stats() -> HostStats {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let (memory_total, memory_available) = memory(&read("/proc/meminfo"));
    HostStats {
        os: format!("Linux {}", kernel.trim()).trim_end().to_owned(),
        cpu: cpu(&read("/proc/cpuinfo")),
        threads: std::thread::available_parallelism()
            .map_or(0, |threads| u32::try_from(threads.get()).unwrap_or(u32::MAX)),
        load: first(&read("/proc/loadavg")).filter(|load: &f32| load.is_finite()),
        memory_total,
        memory_available,
        uptime_seconds: first(&read("/proc/uptime")).map_or(0, |uptime: f64| uptime as u64),
    }
}

fn first<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// The processor's own name: `model name` on x86, `Model` on boards with ARM.
fn cpu(cpuinfo: &str) -> String {
    let value = |key: &str| {
        cpuinfo.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        })
    };
    value("model name").or_else(|| value("Model")).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Bytes in all and bytes available.
fn memory(meminfo: &str) -> (u64, u64) {
    let value = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        first::<u64>(line)?.checked_mul(1024)
    };
    (value("MemTotal").unwrap_or(0), value("MemAvailable").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        let stats = stats();
        assert!(
            stats.threads >= 1 && stats.memory_total > stats.memory_available && stats.uptime_seconds > 0,
            "{stats:?}"
        );
        assert!(stats.os.starts_with("Linux ") && !stats.cpu.is_empty() && stats.load.is_some(), "{stats:?}");
    }

    #[test]
    fn odd_files_give_defaults() {
        assert_eq!(memory("MemTotal: many kB\nMemAvailable:"), (0, 0));
        assert_eq!(memory("MemTotal:       24684084 kB\nMemAvailable: 1 kB\n"), (25_276_502_016, 1024));
        assert_eq!(cpu("processor\t: 0\nmodel name\t: AMD  EPYC\n"), "AMD EPYC");
        assert_eq!(cpu(""), std::env::consts::ARCH);
    }
}
