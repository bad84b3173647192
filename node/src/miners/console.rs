//! A miner's console: what its process writes goes into the ring, and whoever follows is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use miner_ctrl_protocol::message::LogPage;
use miner_ctrl_protocol::{MinerName, Profile};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::log_ring::{LogRing, MAX_RAW_LINE};
use crate::store::clock::unix_millis;

/// Lines per second that are kept; a miner writes a few. Beyond, lines are counted and dropped: colouring out and
/// storing a flood would take the processor from the miner.
const MAX_LINES_PER_SECOND: u32 = 1000;

/// The time over which lines are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// How a line of our own begins.
const OURS: &str = "[miner-ctrl] ";

/// Lines that are looked through for the newest of a kind, with each status that needs it. XMRig tells of one trouble five
/// times, and is then silent but for a line each minute: this is most of a day.
const LOOKED_THROUGH: usize = 1000;

/// Bytes read at once.
const CHUNK: usize = 8192;

/// The console of one miner, over all its processes. Cloning gives another handle to the same.
#[derive(Debug, Clone)]
pub struct Console {
    ring: Arc<Mutex<LogRing>>,
    newest: watch::Sender<u64>,
}

impl Default for Console {
    fn default() -> Self {
        let ring = LogRing::begun(unix_millis());
        Self { newest: watch::Sender::new(ring.newest()), ring: Arc::new(Mutex::new(ring)) }
    }
}

impl Console {
    fn ring(&self) -> MutexGuard<'_, LogRing> {
        // A panic while a line was added leaves a ring that is whole enough to read.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`LogRing::keep_secret`].
    pub fn keep_secret(&self, profile: &Profile, token: &str) {
        self.ring().keep_secret(profile, token);
    }

    /// A line of our own.
    pub fn note(&self, text: &str) {
        self.push(format!("{OURS}{text}").as_bytes());
    }

    fn push(&self, raw: &[u8]) {
        self.ring().push(raw);
        // Asked for under the lock of what is told: two streams that add lines at one moment never tell an older number last.
        self.newest.send_if_modified(|known| {
            let newest = self.ring().newest();
            std::mem::replace(known, newest) != newest
        });
    }

    /// Number of the newest line.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.ring().newest()
    }

    /// The newest line of the process's own after a number, up to another.
    #[must_use]
    pub fn last_between(&self, after: u64, until: u64) -> Option<String> {
        let ring = self.ring();
        let later = usize::try_from(ring.newest().saturating_sub(until)).unwrap_or(usize::MAX);
        ring.since(after).skip(later).find(|line| !line.starts_with(OURS)).map(str::to_owned)
    }

    /// The newest of what somebody finds in lines of the process's own after a number.
    #[must_use]
    pub fn newest_of(&self, number: u64, find: impl Fn(&str) -> Option<&str>) -> Option<String> {
        let ring = self.ring();
        ring.since(number).take(LOOKED_THROUGH).filter(|line| !line.starts_with(OURS)).find_map(find).map(str::to_owned)
    }

    /// A page now, or as soon as there is a line after `after`, or the empty page when `wait` is over.
    pub async fn page(&self, miner: MinerName, after: Option<u64>, lines: u32, wait: Duration) -> LogPage {
        let mut newest = self.newest.subscribe();
        let known = after.unwrap_or(0).max(self.ring().before());
        // Not `>`: a number ahead of all lines, from before the clock went back, is answered at once.
        let _ = tokio::time::timeout(wait, newest.wait_for(|newest| *newest != known)).await;
        self.ring().page(miner, after, lines)
    }

    /// Takes all lines of a stream until it ends. Never stops reading: a full pipe would block the miner.
    pub(super) async fn drink(self, mut stream: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; CHUNK];
        let mut line = Vec::new();
        let mut flood = Flood { since: Instant::now(), taken: 0, dropped: 0, newest: Vec::new() };
        loop {
            let read = tokio::select! {
                biased; // a line that is there is taken before it is told what was dropped
                read = stream.read(&mut chunk) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(read) => read,
                },
                () = tokio::time::sleep_until(flood.since + WINDOW), if flood.dropped > 0 => 0,
            };
            if flood.since.elapsed() >= WINDOW {
                self.tell_dropped(&mut flood);
            }
            for byte in &chunk[..read] {
                match byte {
                    b'\n' | b'\r' if line.is_empty() => {}
                    b'\n' | b'\r' => {
                        if flood.taken < MAX_LINES_PER_SECOND {
                            self.push(&line);
                            flood.taken += 1;
                        } else {
                            std::mem::swap(&mut flood.newest, &mut line);
                            flood.dropped += 1;
                        }
                        line.clear();
                    }
                    _ if line.len() < MAX_RAW_LINE => line.push(*byte),
                    _ => {}
                }
            }
            // A flood comes in full chunks without a pause; the other tasks of this thread want to run, too.
            tokio::task::yield_now().await;
        }
        self.tell_dropped(&mut flood);
        self.push(&line);
    }

    /// Begins a new window. The last line of a flood is kept: why a program ended stands there.
    fn tell_dropped(&self, flood: &mut Flood) {
        if flood.dropped > 1 {
            let dropped = flood.dropped - 1;
            self.note(&format!("{dropped} console lines dropped: more than {MAX_LINES_PER_SECOND} a second"));
        }
        if flood.dropped > 0 {
            self.push(&flood.newest);
        }
        (flood.since, flood.taken, flood.dropped) = (Instant::now(), 0, 0);
    }
}

/// The lines of one second.
struct Flood {
    since: Instant,
    taken: u32,
    dropped: u64,
    /// The newest of those that were dropped.
    newest: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> MinerName {
        "xmrig-1".parse().unwrap()
    }

    #[tokio::test]
    async fn a_follower_wakes_with_the_line_and_else_gets_an_empty_page() {
        let console = Console::default();
        console.note("one");
        let one = console.page(name(), None, 10, Duration::ZERO).await.newest;
        let page = console.page(name(), Some(one), 10, Duration::from_millis(1)).await;
        assert_eq!((page.lines.len(), page.newest), (0, one));
        let (page, ()) =
            tokio::join!(console.page(name(), Some(one), 10, Duration::from_secs(30)), async { console.note("two") });
        assert_eq!(page.lines[0].text, "[miner-ctrl] two");
    }

    #[test]
    fn followers_are_never_told_an_older_line_after_a_newer_one() {
        let console = Console::default();
        std::thread::scope(|scope| {
            let streams = [(); 2].map(|()| {
                scope.spawn(|| {
                    for _ in 0..100_000 {
                        console.note("line");
                    }
                })
            });
            let mut told = 0;
            while !streams.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                let newest = *console.newest.borrow();
                assert!(newest >= told, "{newest} after {told}");
                told = newest;
            }
        });
        assert_eq!(*console.newest.borrow(), console.newest());
    }

    #[tokio::test]
    async fn lines_may_come_in_any_pieces_and_without_an_end() {
        let console = Console::default();
        let (mut out, stream) = tokio::io::duplex(7);
        let write = async {
            use tokio::io::AsyncWriteExt;
            out.write_all(b"first\r\nsecond\n\n\nthird without end").await.unwrap();
            drop(out);
        };
        tokio::join!(console.clone().drink(stream), write);
        let texts: Vec<_> =
            console.page(name(), None, 10, Duration::ZERO).await.lines.into_iter().map(|l| l.text).collect();
        assert_eq!(texts, ["first", "second", "third without end"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_not_kept() {
        let console = Console::default();
        let flood = [b"noise\n".repeat(50_000), vec![b'z'; 3 << 20]].concat();
        console.clone().drink(&flood[..]).await;
        let empty = Console::default().page(name(), None, 1000, Duration::ZERO).await;
        let page = console.page(name(), None, 1000, Duration::ZERO).await;
        // The other one began no earlier.
        assert!(page.newest < empty.newest + 10_000, "{}", page.newest);
        // Of the newest line, which has no end, only the beginning is looked at.
        let told: Vec<_> = page.lines.iter().rev().take(3).map(|line| line.text.as_str()).collect();
        assert!(told[0].starts_with("zzz") && told[1] == "noise" && told[2].contains("dropped"), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_line_of_a_flood_is_kept_also_where_a_note_of_ours_follows() {
        let console = Console::default();
        console.push(b"of an earlier process");
        let before = console.newest();
        assert_eq!(console.last_between(before, console.newest()), None);
        let flood = [b"noise\n".repeat(1500), b"FATAL: out of memory\n".to_vec()].concat();
        console.clone().drink(&flood[..]).await;
        console.note("3 console lines dropped");
        assert_eq!(console.last_between(before, console.newest()).as_deref(), Some("FATAL: out of memory"));
        assert_eq!(console.last_between(before, before + 3).as_deref(), Some("noise"));
        assert_eq!(console.last_between(before, before), None);
        let page = console.page(name(), None, 3, Duration::ZERO).await;
        assert_eq!(page.lines[0].text, "[miner-ctrl] 500 console lines dropped: more than 1000 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_dropped_is_told_though_nothing_more_comes() {
        let console = Console::default();
        let before = console.newest();
        let (mut out, stream) = tokio::io::duplex(1 << 16);
        let drinking = tokio::spawn(console.clone().drink(stream));
        tokio::io::AsyncWriteExt::write_all(&mut out, &[&b"noise\n".repeat(1500)[..], b"the end\n"].concat())
            .await
            .unwrap();
        let mut newest = console.newest.subscribe();
        let told = newest.wait_for(|newest| *newest == before + 1002);
        tokio::time::timeout(Duration::from_secs(60), told).await.unwrap().unwrap();
        assert_eq!(console.last_between(before, console.newest()).as_deref(), Some("the end"));
        drinking.abort();
    }
}
