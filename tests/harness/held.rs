//! What a node holds while nothing is wrong, and has to hold again, no more, after a fault.

use std::path::PathBuf;

use crate::farm::{Farm, Station};
use crate::home::call;
use crate::processes::{children_of, descriptors_of, resident_bytes_of};
use crate::wait::{DEADLINE, wait_for};

/// What a node may hold more of than before. A rig may be between two connections, and a command that just ended may still
/// hold its own.
const DESCRIPTORS: usize = 2;
/// The same of tasks: two for a connection, and one for each command that just ended.
const TASKS: usize = 4;
/// The same of memory, which an allocator gives back when it likes.
const MEMORY: u64 = 16 * 1024 * 1024;

/// Descriptors, tasks and memory of one node's process.
#[derive(Debug)]
pub struct Held {
    name: String,
    pid: i32,
    socket: PathBuf,
    descriptors: usize,
    tasks: usize,
    memory: u64,
}

impl Held {
    /// By one node.
    ///
    /// # Panics
    /// When it does not tell.
    pub async fn by(station: &Station) -> Self {
        let (pid, socket) = (station.node.pid(), station.home.socket());
        let tasks = tasks_of(&socket).await.expect("a node that serves tells its tasks");
        let (descriptors, memory) = (descriptors_of(pid), resident_bytes_of(pid));
        Self { name: station.name.clone(), pid, socket, descriptors, tasks, memory }
    }

    /// By everybody.
    pub async fn in_all(farm: &Farm) -> Vec<Self> {
        futures::future::join_all(farm.stations().map(Self::by)).await
    }

    /// No descriptor, no task, no memory worth speaking of, and no dead child is left of what happened meanwhile. The process
    /// has to be the same.
    ///
    /// # Panics
    /// When something is left.
    pub async fn no_more(self) {
        let Self { name, pid, socket, descriptors, tasks, memory } = self;
        wait_for(&format!("what was opened at {name} is closed"), DEADLINE, async || {
            (1..=descriptors + DESCRIPTORS).contains(&descriptors_of(pid)).then_some(())
        })
        .await;
        wait_for(&format!("what {name} had begun is over: {tasks} tasks"), DEADLINE, async || {
            (tasks_of(&socket).await? <= tasks + TASKS).then_some(())
        })
        .await;
        wait_for(&format!("{name} has buried its dead"), DEADLINE, async || {
            children_of(pid).iter().all(|(_, state)| *state != 'Z').then_some(())
        })
        .await;
        let now = resident_bytes_of(pid);
        assert!(now < memory + MEMORY, "{name} grew from {memory} to {now} bytes");
    }
}

/// What the node behind this socket does at one time, by its own count.
async fn tasks_of(socket: &std::path::Path) -> Option<usize> {
    let answer = call(socket, "GET", "/api/v1/mining/metrics", None).await.ok()?;
    answer.lines().find_map(|line| line.strip_prefix("miner_ctrl_tasks "))?.parse().ok()
}
