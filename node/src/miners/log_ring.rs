//! The last console lines of one miner: bounded, plain, without secrets.

use std::collections::VecDeque;

use miner_ctrl_protocol::codec::MAX_BODY;
use miner_ctrl_protocol::message::{LogLine, LogPage, MAX_LINE, MAX_LOG_LINES};
use miner_ctrl_protocol::text::is_visible;
use miner_ctrl_protocol::{MinerName, Profile};

/// Lines kept per miner: hours of a calm console, minutes of a talkative one. With [`MAX_LINE`] and 32 bytes of
/// bookkeeping a ring stays below 2.8 MB.
pub const MAX_LINES: usize = 10_000;

/// Longest line looked at before colours are taken out, bytes; what follows up to the line's end is dropped.
pub const MAX_RAW_LINE: usize = 4096;

/// Bytes of a page for lines: a message less its frame.
const PAGE_BYTES: usize = MAX_BODY - 1024;

/// What CBOR adds to a line's text: a map of `number`, at most 9 bytes, and `text` with its length.
const LINE_OVERHEAD: usize = 27;

/// Shortest secret that is blotted out. Shorter ones (`x`, the usual pool password) are no secrets, and are parts of
/// every other word.
const MIN_SECRET: usize = 4;

/// Shortest part of a wallet that is blotted out on its own: `WALLET.worker` is one login, and a program prints the two
/// apart. The shortest address of a coin has 26 characters; the names of workers and accounts are shorter.
const MIN_PART: usize = 20;

/// What stands for a secret.
const BLOT: &str = "***";

/// A ring of console lines, numbered one by one.
#[derive(Debug, Default)]
pub struct LogRing {
    lines: VecDeque<Box<str>>,
    /// Number before that of the very first line.
    before: u64,
    newest: u64,
    /// The longest first: one may be part of another.
    secrets: Vec<Secret>,
    /// How often secrets were given.
    given: u64,
}

/// A text that is blotted out.
#[derive(Debug)]
struct Secret {
    text: String,
    /// When it was given last.
    given: u64,
}

impl LogRing {
    /// A ring that begins at this time, Unix milliseconds. Its numbers lie above those of a ring that began earlier, however
    /// many lines that had: a million for each second. One who asks for what comes after the last line that was had of the
    /// other gets all of this one.
    #[must_use]
    pub fn begun(at: u64) -> Self {
        // Up to here the numbers are whole in JavaScript, too.
        let before = at.min((1 << 42) - 1) << 10;
        Self { before, newest: before, ..Self::default() }
    }

    /// Blots out a profile's wallets and passwords, and the API's token, in all lines to come. Those of earlier
    /// profiles stay blotted out: the last lines of a process may arrive after the next one's start.
    pub fn keep_secret(&mut self, profile: &Profile, token: &str) {
        self.given += 1;
        for pool in &profile.pools {
            let wallet = profile.wallet_at(pool);
            let parts = wallet.split(|c: char| !c.is_ascii_alphanumeric());
            let address = parts.max_by_key(|part| part.len()).filter(|part| part.len() >= MIN_PART);
            for secret in [Some(wallet), address, profile.password_at(pool)].into_iter().flatten() {
                self.keep(secret);
            }
        }
        self.keep(token);
        // Those that were not given for the longest time go first.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.given));
        self.secrets.truncate(MAX_SECRETS);
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.text.len()));
    }

    fn keep(&mut self, text: &str) {
        let given = self.given;
        if let Some(known) = self.secrets.iter_mut().find(|known| known.text == text) {
            known.given = given;
        } else if text.len() >= MIN_SECRET {
            self.secrets.push(Secret { text: text.to_owned(), given });
        }
    }

    /// Adds a line as it came from a process; an empty one is passed over.
    pub fn push(&mut self, raw: &[u8]) {
        let is_cut = raw.len() >= MAX_RAW_LINE;
        let raw = &raw[..raw.len().min(MAX_RAW_LINE)];
        let mut text = plain(raw);
        for Secret { text: secret, .. } in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), BLOT);
            }
        }
        if is_cut {
            // Where the raw line was cut a secret may have begun, and a character of it may be cut, too.
            text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
            let begun = |secret: &Secret| {
                let starts = secret.text.char_indices().rev().map(|(end, _)| &secret.text[..end]);
                starts.filter(|start| text.ends_with(start)).map(str::len).next()
            };
            let longest = self.secrets.iter().filter_map(begun).max().unwrap_or(0);
            text.truncate(text.len() - longest);
        }
        let mut end = text.len().min(MAX_LINE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text[..end].trim_end();
        if text.is_empty() {
            return;
        }
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(text.into());
        self.newest += 1;
    }

    /// Number of the newest line; one less than the first before that.
    #[must_use]
    pub const fn newest(&self) -> u64 {
        self.newest
    }

    /// Number before that of the very first line.
    #[must_use]
    pub const fn before(&self) -> u64 {
        self.before
    }

    /// The lines after a number, the newest first.
    pub fn since(&self, number: u64) -> impl Iterator<Item = &str> {
        let count = usize::try_from(self.newest.saturating_sub(number)).unwrap_or(usize::MAX);
        self.lines.iter().rev().take(count).map(AsRef::as_ref)
    }

    /// The newest lines after a number, as many as were asked for and fit one message.
    #[must_use]
    pub fn page(&self, miner: MinerName, after: Option<u64>, lines: u32) -> LogPage {
        let wanted = lines.min(MAX_LOG_LINES) as usize;
        let oldest = self.newest - self.lines.len() as u64;
        // Ahead of all lines when the clock went back over a restart of the node: start from the beginning then.
        let start = after.filter(|after| *after <= self.newest).unwrap_or(0);
        let skip = usize::try_from(start.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let mut room = PAGE_BYTES;
        let mut page: Vec<LogLine> = (self.lines.iter().enumerate().skip(skip).rev().take(wanted))
            .map_while(|(index, text)| {
                room = room.checked_sub(text.len() + LINE_OVERHEAD)?;
                Some(LogLine { number: oldest + 1 + index as u64, text: text.to_string() })
            })
            .collect();
        page.reverse();
        let given = page.len() as u64;
        let lost = if after.is_some() { self.newest - start.max(self.before) - given } else { 0 };
        LogPage { miner, lines: page, newest: self.newest, lost }
    }
}

/// Most secrets kept per miner: a full profile has one wallet, the address in it and one password for each of eight
/// pools; the rest is room for the profiles and the tokens before it.
const MAX_SECRETS: usize = 64;

/// Text without colours, control characters and characters that reorder or hide text.
fn plain(raw: &[u8]) -> String {
    // A tab separates words; the stripping would join them.
    let spaced = String::from_utf8_lossy(raw).replace('\t', " ");
    strip_ansi_escapes::strip_str(spaced).chars().filter(|c| is_visible(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_protocol::message::Response;
    use miner_ctrl_protocol::{ProfileDraft, codec};

    fn name() -> MinerName {
        "xmrig-1".parse().unwrap()
    }

    fn last(ring: &LogRing) -> Option<&str> {
        ring.since(0).next()
    }

    fn profile(wallet: &str, password: &str) -> Profile {
        let draft: ProfileDraft = serde_json::from_value(serde_json::json!({
            "name": "p", "program": "xmrig", "wallet": wallet, "password": password, "pools": [{"url": "a.example:1"}],
        }))
        .unwrap();
        draft.check().unwrap()
    }

    fn ring(lines: usize) -> LogRing {
        let mut ring = LogRing::default();
        for number in 1..=lines {
            ring.push(format!("line {number}").as_bytes());
        }
        ring
    }

    #[test]
    fn what_follows_the_last_line_of_an_earlier_ring_is_all_of_this_one() {
        let mut earlier = LogRing::begun(1_800_000_000_000);
        let mut later = LogRing::begun(1_800_000_000_001);
        for ring in [&mut earlier, &mut later] {
            for _ in 0..3 {
                ring.push(b"line");
            }
        }
        let page = later.page("xmrig-1".parse().unwrap(), Some(earlier.newest()), 10);
        assert_eq!((page.lines.len(), page.lost), (3, 0));
        assert_eq!(page.newest, page.lines[2].number);
        assert!(LogRing::begun(u64::MAX).newest() < 1 << 53, "whole in JavaScript");
    }

    #[test]
    fn a_follower_gets_what_is_new_and_learns_what_it_missed() {
        let ring = ring(MAX_LINES + 100);
        let numbers = |page: &LogPage| page.lines.iter().map(|line| line.number).collect::<Vec<_>>();
        let page = ring.page(name(), Some(10_097), 1000);
        assert_eq!((numbers(&page), page.newest, page.lost), (vec![10_098, 10_099, 10_100], 10_100, 0));
        assert_eq!(page.lines[0].text, "line 10098");
        let page = ring.page(name(), Some(10_100), 1000);
        assert_eq!((page.lines.len(), page.lost), (0, 0));
        let page = ring.page(name(), Some(50), 2);
        assert_eq!((numbers(&page), page.lost), (vec![10_099, 10_100], 10_048));
        let page = ring.page(name(), None, 2);
        assert_eq!((numbers(&page), page.lost), (vec![10_099, 10_100], 0));
        assert_eq!(ring.page(name(), None, u32::MAX).lines.len(), 1000);
    }

    #[test]
    fn a_number_from_before_a_restart_of_the_node_starts_over() {
        let page = ring(3).page(name(), Some(900), 1000);
        assert_eq!((page.lines.len(), page.lost), (3, 0));
    }

    #[test]
    fn the_fullest_page_fits_one_message() {
        let mut ring = LogRing { newest: u64::MAX - 20_000, ..LogRing::default() };
        for _ in 0..2000 {
            ring.push(&[b'x'; MAX_LINE]);
        }
        let page = Response::Logs(ring.page(name(), Some(3), MAX_LOG_LINES));
        assert!(codec::encode(&page, MAX_BODY).unwrap().len() > MAX_BODY - 4096);
    }

    #[test]
    fn whatever_the_bytes_a_line_is_short_plain_text() {
        let mut ring = LogRing::default();
        for (raw, text) in [
            (&b"\x1b[1;32maccepted\x1b[0m (1/0)\r"[..], "accepted (1/0)"),
            (b"a\tb\x07\x08", "a b"),
            (b"\x1b]0;title\x07x", "x"),
            (b"caf\xe9", "caf\u{fffd}"),
            ("ab\u{202e}cd".as_bytes(), "abcd"),
        ] {
            ring.push(raw);
            assert_eq!(last(&ring), Some(text));
        }
        let before = ring.newest();
        ring.push(b"\x1b[0m  ");
        assert_eq!(ring.newest(), before);
        ring.push(&[0xff; 1 << 20]);
        ring.push("\u{20ac}".repeat(5000).as_bytes());
        assert!(ring.lines.iter().all(|line| line.len() <= MAX_LINE));
    }

    #[test]
    fn wallets_passwords_and_tokens_never_stand_in_a_line() {
        let draft: ProfileDraft = serde_json::from_value(serde_json::json!({
            "name": "p", "program": "xmrig", "wallet": "44AFFq5kSiGBoZ", "password": "x",
            "pools": [{"url": "a.example:1", "password": "hunter2"}, {"url": "b.example:1", "wallet": "44AFFq5kSiGBoZ.barn"}],
        }))
        .unwrap();
        let mut ring = LogRing::default();
        ring.keep_secret(&draft.check().unwrap(), "token-token");
        ring.push(b"-u 44AFFq\x1b[1m5kSiGBoZ -p hunter2 -x max 44AFFq5kSiGBoZ.barn token-token");
        assert_eq!(last(&ring), Some("-u *** -p *** -x max *** ***"));
        // Over the length limit, where the cut must come after the blotting.
        ring.push(format!("{} 44AFFq5kSiGBoZ", "y".repeat(MAX_LINE - 7)).as_bytes());
        assert!(!last(&ring).unwrap().contains("44AFF"));
    }

    #[test]
    fn an_address_is_blotted_out_without_its_worker_too() {
        let address = "RMaYUFPnqGGA1pbHUBfhUbDJU5yGSYJZtr";
        let mut ring = LogRing::default();
        for (wallet, line) in [
            (format!("{address}.barn"), format!("connecting wallet {address} worker barn")),
            (format!("solo:{address}+1000/barn"), format!("connecting wallet {address} worker barn")),
        ] {
            let mut ring = LogRing::default();
            ring.keep_secret(&profile(&wallet, "x"), "");
            ring.push(line.as_bytes());
            assert_eq!(last(&ring), Some("connecting wallet *** worker barn"));
        }
        // Half of it stands behind the cut, and colours before it.
        ring.keep_secret(&profile(&format!("{address}.barn"), "x"), "");
        let colours = b"\x1b[1m".repeat(MAX_RAW_LINE / 4 - 4);
        ring.push(&[b"wallet ", &colours[..], address.as_bytes()].concat());
        assert_eq!(last(&ring), Some("wallet"));
    }

    #[test]
    fn a_secret_is_blotted_out_where_the_cut_goes_through_one_of_its_characters() {
        let mut ring = LogRing::default();
        ring.keep_secret(&profile("44AFFq5kSiGBoZ", "hunter-\u{fc}-2"), "");
        // `net `, the password up to the first byte of its eighth character, and colours between them.
        let colours = b"\x1b[1m".repeat((MAX_RAW_LINE - 12) / 4);
        ring.push(&[b"net ", &colours[..], "hunter-\u{fc}-2".as_bytes()].concat());
        assert_eq!(last(&ring), Some("net"));
    }

    #[test]
    fn many_starts_do_not_make_a_short_password_known() {
        let mut ring = LogRing::default();
        for start in 0..1000 {
            ring.keep_secret(&profile("44AFFq5kSiGBoZ", "hunter2"), &format!("token-token-token-{start}"));
        }
        ring.push(b"-p hunter2");
        assert_eq!(last(&ring), Some("-p ***"));
        assert_eq!(ring.secrets.len(), MAX_SECRETS);
    }
}
