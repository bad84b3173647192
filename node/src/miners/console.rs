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
        self.push(format!("[miner-ctrl] {text}").as_bytes());
    }

    fn push(&self, raw: &[u8]) {
        let newest = {
            let mut ring = self.ring();
            ring.push(raw);
            ring.newest()
        };
        self.newest.send_if_modified(|known| std::mem::replace(known, newest) != newest);
    }

    /// The newest line.
    #[must_use]
    pub fn last(&self) -> Option<String> {
        self.ring().last().map(str::to_owned)
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
        let (mut window, mut taken, mut dropped) = (Instant::now(), 0_u32, 0_u64);
        loop {
            let read = match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            if window.elapsed() >= Duration::from_secs(1) {
                if dropped > 0 {
                    self.note(&format!("{dropped} console lines dropped: more than {MAX_LINES_PER_SECOND} a second"));
                }
                (window, taken, dropped) = (Instant::now(), 0, 0);
            }
            for byte in &chunk[..read] {
                match byte {
                    b'\n' | b'\r' if line.is_empty() => {}
                    b'\n' | b'\r' => {
                        if taken < MAX_LINES_PER_SECOND {
                            self.push(&line);
                            taken += 1;
                        } else {
                            dropped += 1;
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
        self.push(&line);
        if dropped > 0 {
            self.note(&format!("{dropped} console lines dropped"));
        }
    }
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

    #[tokio::test]
    async fn a_flood_is_counted_not_kept() {
        let console = Console::default();
        let flood = [b"noise\n".repeat(50_000), vec![b'z'; 3 << 20]].concat();
        console.clone().drink(&flood[..]).await;
        let empty = Console::default().page(name(), None, 1000, Duration::ZERO).await;
        let page = console.page(name(), None, 1000, Duration::ZERO).await;
        // The other one began no earlier.
        assert!(page.newest < empty.newest + 10_000, "{}", page.newest);
        assert!(page.lines.last().unwrap().text.contains("dropped"));
    }
}
