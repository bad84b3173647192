//! What this process takes of the machine, as /proc tells it.

use std::fs;

use miner_ctrl_dashboard::node::{Internals, Process};

use crate::handle::NodeHandle;

/// Parts of a second in which Linux counts a process's time for `/proc` (USER_HZ), on every architecture we build for.
const TICKS: f64 = 100.0;

impl NodeHandle {
    pub(crate) async fn look_inside(&self) -> Internals {
        let counts = self.inner.mesh.counts();
        let database = self.database().path().to_owned();
        // Files of the node's own disk, and /proc: away from the async threads.
        let read = tokio::task::spawn_blocking(move || {
            let mut log = database.clone().into_os_string();
            log.push("-wal");
            let size = |path: &std::path::Path| fs::metadata(path).map(|file| file.len()).ok();
            (size(&database).map(|bytes| bytes + size(log.as_ref()).unwrap_or_default()), process())
        });
        let (database_bytes, process) = read.await.unwrap_or_default();
        Internals {
            connections_refused: counts.turned_away.load(std::sync::atomic::Ordering::Relaxed),
            messages_refused: counts.messages_refused.by_cause().to_vec(),
            database_bytes,
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64,
            process,
        }
    }
}

fn process() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let files = fs::read_dir("/proc/self/fd").ok()?.count();
    parsed(&stat, &boot, files, u64::try_from(rustix::param::page_size()).ok()?)
}

fn parsed(stat: &str, boot: &str, open_files: usize, page: u64) -> Option<Process> {
    // After the command's closing bracket: state is field 3, utime 14, stime 15, starttime 22, rss 24.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let booted: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Process {
        cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS,
        open_files: open_files as u64,
        resident_bytes: field(24)? * page,
        started_at: booted as f64 + field(22)? as f64 / TICKS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_command_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 3 0 1000 99 25 18446744073709551615";
        let read = parsed(stat, "cpu 1\nbtime 1700000000\n", 12, 4096).unwrap();
        let expected =
            Process { cpu_seconds: 3.0, open_files: 12, resident_bytes: 25 * 4096, started_at: 1_700_000_010.0 };
        assert_eq!(read, expected);
        assert_eq!(parsed("7 (a) S 1", "btime 1", 0, 4096), None);
    }

    #[test]
    fn this_process_is_there() {
        let ours = process().unwrap();
        assert!(ours.resident_bytes > 1_000_000 && ours.open_files > 2 && ours.started_at > 1.6e9, "{ours:?}");
    }
}
