//! After a crash of the node: miners went on mining. Those that are known and wanted are taken over; the rest is
//! ended, so that there are never two of one instance.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use miner_ctrl_protocol::{MinerName, Profile};

use super::driver::{Endpoint, Reading};
use super::drivers::driver;
use super::launch::Record;
use super::lifecycle::{AGAIN_KILL, FIRST_TERM, SECOND_TERM};
use super::process::{self, HOME, Marked, Process, ProcessId, Watch};

/// How long a found miner is asked before it counts as a stranger, and the pause between: a loaded machine may be slow,
/// a crashed node's successor starts in a busy moment. It is three answers that do not come; all else waits for it.
const ASK: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(300);

/// A miner that was taken over.
#[derive(Debug)]
pub(super) struct Adopted {
    pub(super) name: MinerName,
    pub(super) profile: Profile,
    pub(super) endpoint: Endpoint,
    pub(super) process: Process,
    pub(super) watch: Watch,
    pub(super) reading: Reading,
    /// Whether it has been seen at one of the profile's pools.
    pub(super) settled: bool,
}

/// Takes over or ends every process that an earlier node of this data directory left behind.
pub(super) async fn adopt_or_end(miners: &Path, wanted: &BTreeMap<MinerName, Profile>) -> Vec<Adopted> {
    let mut left: BTreeMap<PathBuf, Vec<Marked>> = BTreeMap::new();
    for found in process::marked_processes(miners) {
        left.entry(found.directory.clone()).or_default().push(found);
    }
    // A program with file capabilities hides its environment; its record still names it.
    let instances: BTreeSet<PathBuf> = std::fs::read_dir(miners)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|directory| Record::read(directory).is_some_and(|record| record.living().is_some()))
        .chain(left.keys().cloned())
        .collect();
    let cases = instances.into_iter().map(|directory| {
        let marked = left.remove(&directory).unwrap_or_default();
        case(directory, marked, wanted)
    });
    join_all(cases).await.into_iter().flatten().collect()
}

/// Removes the files of miners that are not known any more, once [`adopt_or_end`] is done: whoever starts miners under
/// ever new names fills no disk.
pub(super) fn forget_unwanted(miners: &Path, wanted: &BTreeMap<MinerName, Profile>) {
    for entry in std::fs::read_dir(miners).into_iter().flatten().flatten() {
        let (directory, name) = (entry.path(), entry.file_name());
        let name = name.to_str().and_then(|name| name.parse::<MinerName>().ok());
        // What else may lie here is not ours.
        if name.is_some_and(|name| !wanted.contains_key(&name)) && directory.join(HOME).is_dir() {
            Record::remove_miner(&directory);
        }
    }
}

async fn case(directory: PathBuf, marked: Vec<Marked>, wanted: &BTreeMap<MinerName, Profile>) -> Option<Adopted> {
    let record = Record::read(&directory);
    let leader = record.as_ref().and_then(Record::living).or_else(|| only_leader(&marked));
    let Some(leader) = leader else {
        process::end_marked(&directory, None).await;
        return None;
    };
    match known(&directory, leader, record, wanted).await {
        Ok(adopted) => {
            process::end_marked(&directory, Some(leader.pid)).await;
            tracing::info!(miner = %adopted.name, pid = leader.pid, "took over a miner that went on mining");
            Some(adopted)
        }
        Err(why) => {
            tracing::warn!(directory = %directory.display(), pid = leader.pid, %why, "ending a left-over miner");
            if let Some((process, watch)) = process::adopt(leader, &directory) {
                end(process, watch).await;
            }
            // Other groups with the same mark, if any.
            process::end_marked(&directory, None).await;
            Record::remove(&directory);
            None
        }
    }
}

/// The marked group leader, when there is exactly one.
fn only_leader(marked: &[Marked]) -> Option<ProcessId> {
    let mut leaders = marked.iter().filter(|found| found.id.pid == found.group);
    let leader = leaders.next()?;
    leaders.next().is_none().then_some(leader.id)
}

/// The process as one that we may take over: recorded, wanted, and answering as itself; else why it is none.
async fn known(
    directory: &Path,
    leader: ProcessId,
    record: Option<Record>,
    wanted: &BTreeMap<MinerName, Profile>,
) -> Result<Adopted, String> {
    let name = directory.file_name().and_then(|name| name.to_str()?.parse::<MinerName>().ok());
    let name = name.ok_or("no miner has such a name")?;
    let Record { profile, endpoint, settled, .. } = record.ok_or("there is no record of its start")?;
    let profile =
        wanted.get(&name).filter(|wanted| ***wanted == profile).ok_or("it is not what is wanted now")?.clone();
    let reading = ask(&profile, &endpoint).await?;
    if !settled && let Some(wrong) = reading.contradicts(&profile) {
        return Err(wrong);
    }
    let (process, watch) = process::adopt(leader, directory).ok_or("it has ended meanwhile")?;
    if !settled && reading.pool.is_some() {
        Record::settle(directory);
    }
    let settled = settled || reading.pool.is_some();
    Ok(Adopted { name, profile, endpoint, process, watch, reading, settled })
}

async fn ask(profile: &Profile, endpoint: &Endpoint) -> Result<Reading, String> {
    let mut why = String::new();
    let asked = async {
        loop {
            match driver(profile.program).poll(endpoint).await {
                Ok(reading) => return reading,
                Err(error) => why = error.to_string(),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let asked = tokio::time::timeout(ASK, asked).await;
    asked.map_err(|_| if why.is_empty() { "its API does not answer".to_owned() } else { why })
}

/// Ends a process by the usual steps, outside the supervisor's table.
async fn end(process: Process, watch: Watch) {
    let mut gone = std::pin::pin!(watch.run());
    for (kill, patience) in [(false, FIRST_TERM), (false, SECOND_TERM), (true, AGAIN_KILL)] {
        if kill {
            process.kill()
        } else {
            process.term()
        }
        if tokio::time::timeout(patience, &mut gone).await.is_ok() {
            return;
        }
    }
}
