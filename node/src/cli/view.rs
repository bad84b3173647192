//! Answers as text for people. Pure: `now` is an argument, and nothing is printed here.
//!
//! What is not known is `–`, never zero. All foreign text passes [`clean`].

use std::fmt;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use miner_ctrl_dashboard::TokenView;
use miner_ctrl_dashboard::node::{DeployOutcome, MinerOutcome, NodeInfo, PeerView, PendingView, RigProfile, RigView};
use miner_ctrl_protocol::{MinerStatus, ProfileDraft};

use crate::cli::render::clean;

/// What is not known.
const UNKNOWN: &str = "–";

/// This node, one labelled line each.
pub(crate) fn node(info: &NodeInfo, socket: Option<&str>) -> String {
    let mut lines = vec![
        ("name", info.name.to_string()),
        ("role", info.role.to_string()),
        ("node id", info.id.to_string()),
        ("peer id", info.peer_id.clone()),
        ("fingerprint", info.fingerprint.clone()),
    ];
    lines.extend(info.addresses.iter().map(|address| ("listening", address.clone())));
    if let Some(socket) = socket {
        lines.push(("control", socket.to_owned()));
    }
    lines.push(("pairing", info.pairing.clone()));
    if let Some(code) = &info.pairing_code {
        lines.push(("pairing code", code.clone()));
    }
    lines.push(("peers", format!("{}, {} online", info.peers, info.peers_online)));
    lines.push(("data", info.data_dir.clone()));
    lines.push(("config", info.config_dir.clone()));
    lines.push(("version", info.version.clone()));
    lines.extend(info.dashboard.iter().map(|page| ("dashboard", page.clone())));
    lines.extend(info.certificate.iter().map(|sha256| ("certificate", format!("SHA-256 {sha256}"))));
    labelled(&lines)
}

/// `label:  value`, one a line: the label up to the first colon, for people and scripts alike.
pub(crate) fn labelled(lines: &[(&str, String)]) -> String {
    lines.iter().map(|(label, value)| format!("{:<14}{}\n", format!("{label}:"), clean(value))).collect()
}

/// Registered peers.
pub(crate) fn peers(peers: &[PeerView], now: u64, width: Option<usize>) -> String {
    if peers.is_empty() {
        return "no peers yet: add one with `miner-ctrl peer add --address HOST`\n".to_owned();
    }
    let rows = peers.iter().map(|peer| {
        vec![
            format!("{} {}", if peer.online { "●" } else { "○" }, peer.name),
            peer.address.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            peer.role.to_string(),
            peer.ping_ms.filter(|_| peer.online).map_or_else(|| UNKNOWN.to_owned(), milliseconds),
            peer.score.to_string(),
            if peer.online { "now".to_owned() } else { since(peer.last_seen, now) },
        ]
    });
    let problems =
        peers.iter().filter_map(|peer| peer.problem.as_ref().map(|problem| (peer.name.as_str(), problem.as_str())));
    let headings = ["Peer", "Address", "Role", "Ping", "Score", "Last seen"];
    Columns { headings: &headings, right: &[3, 4], spare: &[4, 2, 3, 1] }.table(rows, width) + &remarks(problems)
}

/// One peer, one labelled line each.
pub(crate) fn peer(peer: &PeerView) -> String {
    labelled(&[
        ("name", peer.name.to_string()),
        ("role", peer.role.to_string()),
        ("node id", peer.id.to_string()),
        ("peer id", peer.peer_id.clone()),
        ("address", peer.address.clone().unwrap_or_else(|| UNKNOWN.to_owned())),
        ("permission", peer.permission.to_string()),
    ])
}

/// Tokens of the dashboard.
pub(crate) fn tokens(tokens: &[TokenView], now: u64, width: Option<usize>) -> String {
    if tokens.is_empty() {
        return "no tokens yet: make one with `miner-ctrl token add NAME`\n".to_owned();
    }
    let rows = tokens.iter().map(|token| {
        vec![token.name.clone(), token.id.clone(), token.scope.as_str().to_owned(), since(token.last_used, now)]
    });
    Columns { headings: &["Token", "Id", "Scope", "Last used"], right: &[], spare: &[3, 2] }.table(rows, width)
}

/// Strangers that wait.
pub(crate) fn pending(pending: &[PendingView], width: Option<usize>) -> String {
    if pending.is_empty() {
        return "nobody is waiting\n".to_owned();
    }
    let rows = pending.iter().map(|stranger| {
        vec![
            stranger.words.clone(),
            stranger.name.to_string(),
            stranger.role.to_string(),
            stranger.address.clone(),
            stranger.id.to_string(),
            duration(stranger.age_seconds),
        ]
    });
    let headings = ["Words", "Name", "Role", "Address", "Id", "Waiting"];
    Columns { headings: &headings, right: &[], spare: &[5, 2, 4, 3] }.table(rows, width)
}

/// Rigs and their miners.
pub(crate) fn rigs(rigs: &[RigView], now: u64, width: Option<usize>) -> String {
    if rigs.is_empty() {
        return "no rigs: none is paired, or none lets this node read\n".to_owned();
    }
    let mut rows = Vec::new();
    for rig in rigs {
        let name = format!("{} {}", if rig.peer.online { "●" } else { "○" }, rig.peer.name);
        let miners = rig.stats.as_ref().map_or(&[][..], |stats| &stats.miners);
        if miners.is_empty() {
            let state = match (rig.current(), rig.peer.online) {
                (_, false) => offline(rig, now),
                (Some(_), true) => "idle".to_owned(),
                (None, true) => NOT_TOLD.to_owned(),
            };
            let mut row = vec![name, state];
            row.resize(COLUMNS.headings.len(), UNKNOWN.to_owned());
            rows.push(row);
            continue;
        }
        for (index, miner) in miners.iter().enumerate() {
            let state = match (rig.current(), rig.peer.online) {
                (_, false) => offline(rig, now),
                (Some(_), true) => miner.state.to_string(),
                (None, true) => NOT_TOLD.to_owned(),
            };
            let mut row = miner_row(if index == 0 { name.clone() } else { String::new() }, state, miner);
            if rig.current().is_none() {
                // What it said last is not what it does.
                row[RATE..=UPTIME].fill(UNKNOWN.to_owned());
            }
            rows.push(row);
        }
    }
    let of_rigs = rigs.iter().filter_map(|rig| Some((rig.peer.name.as_str(), rig.problem.as_deref()?)));
    let of_miners = rigs.iter().filter_map(|rig| Some((rig.peer.name.as_str(), rig.stats.as_ref()?)));
    let of_miners = of_miners
        .flat_map(|(rig, stats)| {
            stats.miners.iter().filter_map(move |miner| Some((rig, miner, miner.problem.as_deref()?)))
        })
        .map(|(rig, miner, problem)| (format!("{rig} {}", miner.name), problem));
    let of_rigs = of_rigs.map(|(rig, problem)| (rig.to_owned(), problem));
    COLUMNS.table(rows, width) + &remarks(of_rigs.chain(of_miners))
}

const COLUMNS: Columns<'_> = Columns {
    headings: &["Rig", "State", "Miner", "Algorithm", "Hashrate", "Accepted/Rejected", "Uptime", "Pool", "Profile"],
    right: &[RATE, SHARES, UPTIME],
    // A rig and its state by algorithm are what everybody looks for.
    spare: &[7, 8, UPTIME, SHARES, 2],
};

/// The state of a rig that is connected and does not tell it.
const NOT_TOLD: &str = "not known";

/// Places of what is not known of a rig that does not tell its numbers.
const RATE: usize = 4;
const SHARES: usize = 5;
const UPTIME: usize = 6;

fn miner_row(rig: String, state: String, miner: &MinerStatus) -> Vec<String> {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let runs = miner.state.is_running();
    vec![
        rig,
        state,
        miner.name.to_string(),
        or_unknown(miner.algorithm.as_deref().map(clipped)),
        or_unknown(miner.hashrate.filter(|_| runs).map(|rate| rate.to_string())),
        or_unknown(runs.then(|| format!("{}/{}", miner.shares.accepted, miner.shares.rejected))),
        or_unknown(runs.then(|| duration(miner.uptime_seconds))),
        or_unknown(miner.pool.as_deref().map(clipped)),
        or_unknown(miner.profile.as_ref().map(ToString::to_string)),
    ]
}

/// One rig's words must not make everybody's row longer than a screen.
fn clipped(text: &str) -> String {
    const MOST: usize = 48;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn offline(rig: &RigView, now: u64) -> String {
    match rig.peer.last_seen {
        Some(last) => format!("offline {}", duration(now.saturating_sub(last))),
        None => "never seen".to_owned(),
    }
}

/// What a command to a rig reached.
pub(crate) fn outcome(outcome: &MinerOutcome) -> String {
    let found = if outcome.changed { "" } else { " already" };
    let miners = outcome.miners.iter().map(|miner| {
        let detail = format!("{} is {}{found}", miner.name, miner.state);
        match &miner.problem {
            Some(problem) => format!("{detail}: {problem}"),
            None => detail,
        }
    });
    let text = miners.collect::<Vec<_>>().join(", ");
    let text = match (text.is_empty(), outcome.changed) {
        (false, _) => text.as_str(),
        // A rig that was started again since forgets what it had stopped.
        (true, true) => "no miner runs any more",
        (true, false) => "no miner",
    };
    clean(&format!("{}: {text}", outcome.rig))
}

/// What deploying reached.
pub(crate) fn deployed(outcome: &DeployOutcome) -> String {
    let verb = if outcome.changed { "stored" } else { "there already" };
    format!("{}: profile {} {verb}{}", outcome.rig, outcome.profile, outcome.going_on())
}

/// What taking a profile back reached.
pub(crate) fn undeployed(outcome: &DeployOutcome) -> String {
    let verb = if outcome.changed { "removed" } else { "not there" };
    format!("{}: profile {} {verb}", outcome.rig, outcome.profile)
}

/// Profiles that a rig has stored.
pub(crate) fn stored_profiles(profiles: &[RigProfile], width: Option<usize>) -> String {
    if profiles.is_empty() {
        return "no profiles there: send one with `miner-ctrl remote deploy`\n".to_owned();
    }
    let rows = profiles.iter().map(|RigProfile { name, program, algorithm, pools }| {
        let algorithm = algorithm.as_deref().map_or_else(|| BY_POOL.to_owned(), clipped);
        vec![name.to_string(), program.to_string(), algorithm, first_of(pools.iter().map(String::as_str))]
    });
    Columns { headings: &["Profile", "Program", "Algorithm", "Pool"], right: &[], spare: &[1, 2] }.table(rows, width)
}

const BY_POOL: &str = "by the pool";

/// The first pool, and how many more there are.
fn first_of<'a>(mut pools: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = pools.len().saturating_sub(1);
    match (pools.next(), more) {
        (Some(pool), 0) => pool.to_owned(),
        (Some(pool), _) => format!("{pool} +{more}"),
        (None, _) => UNKNOWN.to_owned(),
    }
}

/// Profiles of this node.
pub(crate) fn profiles(profiles: &[ProfileDraft], width: Option<usize>) -> String {
    if profiles.is_empty() {
        return "no profiles yet: add one with `miner-ctrl profile add`\n".to_owned();
    }
    let rows = profiles.iter().map(|profile| {
        vec![
            profile.name.to_string(),
            profile.program.to_string(),
            profile.algorithm.clone().or_else(|| profile.coin.clone()).unwrap_or_else(|| BY_POOL.to_owned()),
            first_of(profile.pools.iter().map(|pool| pool.url.as_str())),
            shortened(&profile.wallet),
        ]
    });
    let headings = ["Profile", "Program", "Algorithm", "Pool", "Wallet"];
    Columns { headings: &headings, right: &[], spare: &[4, 1, 2] }.table(rows, width)
}

/// Head and tail of a wallet: what people compare.
fn shortened(wallet: &str) -> String {
    let characters: Vec<char> = wallet.chars().collect();
    match characters.as_slice() {
        [head @ .., _, _, _, _, _, _] if head.len() > 10 => {
            let tail = &characters[characters.len() - 6..];
            format!("{}…{}", characters[..6].iter().collect::<String>(), tail.iter().collect::<String>())
        }
        _ => wallet.to_owned(),
    }
}

/// Columns under bold headings.
struct Columns<'a> {
    headings: &'a [&'a str],
    /// Those that hold numbers.
    right: &'a [usize],
    /// Those that can be missed when there is no room, the first of them first.
    spare: &'a [usize],
}

/// Characters between two columns.
const GAP: u16 = 2;

impl Columns<'_> {
    /// A line for each row, in no more characters than the width: what is missing for that is told below. Where that does not
    /// do, cells go on in the next line.
    fn table(&self, rows: impl IntoIterator<Item = Vec<String>>, width: Option<usize>) -> String {
        let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
        let widths = self.headings.iter().enumerate().map(|(column, heading)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.max().unwrap_or(0).max(heading.chars().count()) + usize::from(GAP)
        });
        let widths: Vec<usize> = widths.collect();
        let room = width.map_or(usize::MAX, |width| width.saturating_add(GAP.into()));
        let mut needed: usize = widths.iter().sum();
        let mut missing = Vec::new();
        for column in self.spare {
            if needed > room {
                needed -= widths[*column];
                missing.push(*column);
            }
        }
        let shown: Vec<usize> = (0..widths.len()).filter(|column| !missing.contains(column)).collect();
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(shown.iter().map(|column| self.headings[*column]));
        for row in rows {
            table.add_row(shown.iter().filter_map(|column| row.get(*column)).collect::<Vec<_>>());
        }
        for (place, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, GAP));
            if self.right.contains(&shown[place]) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if needed > room {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(u16::try_from(room).unwrap_or(u16::MAX));
        }
        let text = table.trim_fmt();
        // Coloured after the layout, which would count the colours as characters.
        let bold = Style::new().bold();
        let green = Style::new().fg_color(Some(AnsiColor::Green.into()));
        let dot = format!("{green}●{green:#}");
        let (heading, body) = text.split_once('\n').unwrap_or((&text, ""));
        let body: String = body.lines().map(|line| recoloured(line, &dot) + "\n").collect();
        let missing: Vec<_> = missing.iter().map(|column| self.headings[*column]).collect();
        let told = match missing[..] {
            [] => String::new(),
            _ => format!("no room for {}\n", missing.join(", ")),
        };
        format!("{bold}{heading}{bold:#}\n{body}{told}")
    }
}

fn recoloured(line: &str, dot: &str) -> String {
    line.strip_prefix('●').map_or_else(|| line.to_owned(), |rest| format!("{dot}{rest}"))
}

fn remarks<'a>(remarks: impl Iterator<Item = (impl fmt::Display, &'a str)>) -> String {
    let text: String = remarks.map(|(name, problem)| format!("{name}: {}\n", clean(problem))).collect();
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// How long ago, or never.
fn since(then: Option<u64>, now: u64) -> String {
    then.map_or_else(|| "never".to_owned(), |then| format!("{} ago", duration(now.saturating_sub(then))))
}

/// `18 s`, `10 min`, `3 h`, `3 d`: the largest whole unit.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

pub(crate) fn milliseconds(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_dashboard::memory::{Memory, peer as online};
    use miner_ctrl_dashboard::node::Node;
    use miner_ctrl_protocol::MinerState;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn peers_show_who_is_there_and_since_when_not() {
        let gone = PeerView {
            online: false,
            ping_ms: Some(3.0),
            last_seen: Some(1_000),
            address: None,
            problem: Some("connection refused\x1b[2J".into()),
            ..online(2, "rig-beta")
        };
        let never = PeerView { online: false, last_seen: None, ..online(3, "rig-gamma") };
        assert_eq!(
            plain(&peers(&[online(1, "rig-alpha"), gone, never], 1_600, None)),
            "\
Peer         Address         Role      Ping  Score  Last seen
● rig-alpha  192.0.2.1:9091  worker  2.2 ms    100  now
○ rig-beta   –               worker       –    100  10 min ago
○ rig-gamma  192.0.2.3:9091  worker       –    100  never

rig-beta: connection refused\u{fffd}[2J
"
        );
    }

    #[tokio::test]
    async fn rigs_show_their_miners_and_what_is_unknown_as_a_dash() {
        let node = Memory::default();
        let mut gone = online(2, "rig-beta");
        (gone.online, gone.last_seen) = (false, Some(1_000));
        node.register(gone);
        let mut views = node.rigs().await;
        views.push(views[0].clone());
        let third = &mut views[2];
        third.peer.name = "rig-gamma".parse().unwrap();
        let miner = &mut third.stats.as_mut().unwrap().miners[0];
        (miner.hashrate, miner.pool, miner.state) = (None, None, MinerState::Starting);
        views.push(views[0].clone());
        let fourth = &mut views[3];
        fourth.peer.name = "rig-delta".parse().unwrap();
        (fourth.age_seconds, fourth.problem) = (Some(90), Some("it does not tell its numbers".into()));
        let text = plain(&rigs(&views, 1_180, None));
        assert_eq!(
            text,
            "\
Rig          State          Miner    Algorithm   Hashrate  Accepted/Rejected  Uptime  Pool               Profile
● rig-alpha  mining         xmrig-1  rx/0       2.50 kH/s                7/1   1 min  pool.example:3333  monero
○ rig-beta   offline 3 min  –        –                  –                  –       –  –                  –
● rig-gamma  starting       xmrig-1  rx/0               –                7/1   1 min  –                  monero
● rig-delta  not known      xmrig-1  rx/0               –                  –       –  pool.example:3333  monero

rig-beta: connection refused
rig-delta: it does not tell its numbers
"
        );
    }

    #[tokio::test]
    async fn a_table_fits_a_narrow_terminal_and_tells_what_it_lacks() {
        let node = Memory::default();
        node.register(online(2, &"long-".repeat(5)));
        let mut views = node.rigs().await;
        let miners = &mut views[1].stats.as_mut().unwrap().miners;
        miners.push(MinerStatus { algorithm: Some("kawpow".into()), ..miners[0].clone() });
        for (width, lacks) in [
            (200, None),
            (121, None),
            (120, Some("Pool")),
            (100, Some("Pool, Profile")),
            (80, Some("Pool, Profile, Uptime, Accepted/Rejected")),
            (60, Some("Pool, Profile, Uptime, Accepted/Rejected, Miner")),
            (40, Some("Pool, Profile, Uptime, Accepted/Rejected, Miner")),
        ] {
            let text = plain(&rigs(&views, 1_180, Some(width)));
            let (told, rows): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("no room for "));
            assert!(rows.iter().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            let lacking = lacks.map(|lacks| format!("no room for {lacks}"));
            assert_eq!(told, Vec::from_iter(lacking.as_deref()), "{width}");
            let all = rows.concat();
            for known in ["mining", "rx/0", "kawpow", "2.50 kH/s"] {
                assert!(width < 60 || all.contains(known), "{known} in {width}:\n{text}");
            }
        }
    }

    #[test]
    fn lengths_of_time_have_one_unit() {
        let texts: Vec<_> = [0, 59, 60, 3599, 7200, 86_400 * 3].into_iter().map(duration).collect();
        assert_eq!(texts, ["0 s", "59 s", "1 min", "59 min", "2 h", "3 d"]);
    }

    #[test]
    fn a_wallet_is_told_by_its_ends() {
        assert_eq!(
            shortened(
                "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DsLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A"
            ),
            "44AFFq…QBEP3A"
        );
        assert_eq!(shortened("user.worker"), "user.worker");
    }

    #[tokio::test]
    async fn a_node_is_told_line_by_line() {
        let text = node(&Memory::default().info().await, Some("/run/x.sock"));
        assert!(text.contains("name:         desk\n") && text.contains("control:      /run/x.sock\n"), "{text}");
    }
}
