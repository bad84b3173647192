//! Numbers for Prometheus, in its text format (0.0.4).
//!
//! What is not known is left out: Prometheus shows a gap then, and not a zero.

use std::fmt;

use axum::extract::State;
use axum::http::{HeaderName, header};
use miner_ctrl_protocol::MinerStatus;

use crate::contract::{Operation, Routes};
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::node::{Internals, Node, NodeInfo, RigView};

/// Of what kind the numbers of a family are.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// The text as it grows: one family after the other, as the format asks.
#[derive(Debug, Default)]
struct Text(String);

/// What the numbers are drawn from.
struct Page<'a> {
    info: &'a NodeInfo,
    internals: &'a Internals,
    fleet: &'a [RigView],
    sessions: usize,
    streams: usize,
    certificate_expires_at: Option<u64>,
}

/// The routes of this noun.
pub(crate) fn routes<N: Node>() -> Routes<Gateway<N>> {
    Routes::of("history").get(
        "/metrics",
        all::<N>,
        Operation::new("metrics", "Numbers for Prometheus, in its text format")
            .answers_text("text/plain", "The numbers; what is not known is left out."),
    )
}

async fn all<N: Node>(
    State(gateway): State<Gateway<N>>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let node = gateway.node();
    let (info, internals, fleet) = (node.info().await, node.internals().await, node.fleet().await);
    let page = Page {
        info: &info,
        internals: &internals,
        fleet: &fleet,
        sessions: gateway.access().record(node).await?.sessions.len(),
        streams: gateway.live().streams(),
        certificate_expires_at: gateway.certificate_expires_at(),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&page)))
}

fn render(page: &Page<'_>) -> String {
    let mut text = Text::default();
    text.of_node(page);
    text.of_fleet(page.fleet);
    text.0
}

impl Text {
    fn of_node(&mut self, page: &Page<'_>) {
        let help = "The version of miner-ctrl that serves these numbers; always 1.";
        self.family("miner_ctrl_build_info", Kind::Gauge, help);
        self.sample("miner_ctrl_build_info", &[("version", &page.info.version)], 1.0);
        let one = |text: &mut Self, name: &str, kind: Kind, help: &str, value: Option<f64>| {
            text.family(name, kind, help);
            if let Some(value) = value {
                text.sample(name, &[], value);
            }
        };
        let help = "Peers that this node knows.";
        one(self, "miner_ctrl_peers", Kind::Gauge, help, Some(page.info.peers as f64));
        let help = "Peers that are connected.";
        one(self, "miner_ctrl_mesh_connections", Kind::Gauge, help, Some(page.info.peers_online as f64));
        let help = "Connections of strangers that were turned away since the node started.";
        let refused = Some(number(page.internals.connections_refused));
        one(self, "miner_ctrl_mesh_connections_refused_total", Kind::Counter, help, refused);
        let (name, help) = ("miner_ctrl_mesh_messages_refused_total", "Sealed messages that were refused, by cause.");
        self.family(name, Kind::Counter, help);
        for (cause, count) in &page.internals.messages_refused {
            self.sample(name, &[("cause", cause)], number(*count));
        }
        let help = "Browsers that are signed in.";
        one(self, "miner_ctrl_dashboard_sessions", Kind::Gauge, help, Some(page.sessions as f64));
        let help = "Streams of live events that are open.";
        one(self, "miner_ctrl_dashboard_streams", Kind::Gauge, help, Some(page.streams as f64));
        let help = "When the dashboard's certificate ends, in Unix time.";
        let name = "miner_ctrl_dashboard_certificate_expiry_timestamp_seconds";
        one(self, name, Kind::Gauge, help, page.certificate_expires_at.map(number));
        let help = "Size of the node's database with its log.";
        one(self, "miner_ctrl_database_size_bytes", Kind::Gauge, help, page.internals.database_bytes.map(number));
        let help = "Asynchronous tasks of the node that are under way.";
        one(self, "miner_ctrl_tasks", Kind::Gauge, help, Some(number(page.internals.tasks)));
        // The names that every Prometheus client library has for these.
        let process = page.internals.process;
        let help = "Processor time of the node since it started.";
        one(self, "process_cpu_seconds_total", Kind::Counter, help, process.map(|process| process.cpu_seconds));
        let help = "Memory of the node that is not swapped out.";
        let resident = process.map(|process| number(process.resident_bytes));
        one(self, "process_resident_memory_bytes", Kind::Gauge, help, resident);
        let help = "File descriptors that the node has open.";
        one(self, "process_open_fds", Kind::Gauge, help, process.map(|process| number(process.open_files)));
        let help = "When the node started, in Unix time.";
        one(self, "process_start_time_seconds", Kind::Gauge, help, process.map(|process| process.started_at));
    }

    fn of_fleet(&mut self, fleet: &[RigView]) {
        let text = self;
        text.of_rigs(fleet, "miner_ctrl_peer_online", Kind::Gauge, "Whether the peer is connected.", |rig| {
            Some(f64::from(u8::from(rig.peer.online)))
        });
        let help = "Smoothed round trip to the peer.";
        text.of_rigs(fleet, "miner_ctrl_peer_ping_seconds", Kind::Gauge, help, |rig| {
            rig.peer.ping_ms.map(|ms| ms / 1000.0)
        });
        let help = "How reliably the peer answers, from 0 to 1.";
        text.of_rigs(fleet, "miner_ctrl_peer_score_ratio", Kind::Gauge, help, |rig| {
            Some(f64::from(rig.peer.score) / 100.0)
        });
        let help = "When the peer was last heard, in Unix time.";
        text.of_rigs(fleet, "miner_ctrl_peer_last_seen_timestamp_seconds", Kind::Gauge, help, |rig| {
            rig.peer.last_seen.map(number)
        });
        let help = "Seconds since the rig was switched on.";
        text.of_rigs(fleet, "miner_ctrl_rig_uptime_seconds", Kind::Gauge, help, |rig| {
            rig.current().map(|stats| number(stats.host.uptime_seconds))
        });
        text.of_miners(fleet, "miner_ctrl_miner_running", Kind::Gauge, "Whether the mining program runs.", |miner| {
            Some(f64::from(u8::from(miner.state.is_running())))
        });
        let help = "Hashes in a second. What it means depends on the algorithm.";
        text.of_hashrates(fleet, "miner_ctrl_miner_hashrate_hashes_per_second", help);
        let help = "Shares that the pool took since the mining program started.";
        text.of_miners(fleet, "miner_ctrl_miner_shares_accepted_total", Kind::Counter, help, |miner| {
            Some(number(miner.shares.accepted))
        });
        let help = "Shares that the pool refused since the mining program started.";
        text.of_miners(fleet, "miner_ctrl_miner_shares_rejected_total", Kind::Counter, help, |miner| {
            Some(number(miner.shares.rejected))
        });
        let help = "How often the mining program was started again by itself since it was last started on purpose.";
        text.of_miners(fleet, "miner_ctrl_miner_restarts_total", Kind::Counter, help, |miner| {
            Some(miner.restarts.into())
        });
        let help = "Seconds that the mining program has been running.";
        text.of_miners(fleet, "miner_ctrl_miner_uptime_seconds", Kind::Gauge, help, |miner| {
            Some(number(miner.uptime_seconds))
        });
        text.of_devices(fleet, "miner_ctrl_device_temperature_celsius", "Temperature of the device.", |device| {
            device.temperature_celsius
        });
        text.of_devices(fleet, "miner_ctrl_device_power_watts", "Power that the device takes.", |device| {
            device.power_watt
        });
        text.of_devices(fleet, "miner_ctrl_device_fan_ratio", "Speed of the device's fan, from 0 to 1.", |device| {
            device.fan_percent.map(|percent| percent / 100.0)
        });
    }

    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        self.0 += name;
        if labels.is_empty() {
            self.0 += &format!(" {value}\n");
            return;
        }
        self.0.push('{');
        for (index, (label, text)) in labels.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            self.0 += &format!("{comma}{label}=\"{}\"", escaped(text));
        }
        self.0 += &format!("}} {value}\n");
    }

    fn of_rigs(
        &mut self,
        fleet: &[RigView],
        name: &str,
        kind: Kind,
        help: &str,
        value: impl Fn(&RigView) -> Option<f64>,
    ) {
        self.family(name, kind, help);
        for rig in fleet {
            if let Some(value) = value(rig) {
                let (id, role) = (rig.peer.id.to_string(), rig.peer.role.to_string());
                self.sample(name, &[("id", &id), ("peer", rig.peer.name.as_str()), ("role", &role)], value);
            }
        }
    }

    fn of_miners(
        &mut self,
        fleet: &[RigView],
        name: &str,
        kind: Kind,
        help: &str,
        value: impl Fn(&MinerStatus) -> Option<f64>,
    ) {
        self.family(name, kind, help);
        for (rig, miner) in miners(fleet) {
            if let Some(value) = value(miner) {
                let (id, program) = (rig.peer.id.to_string(), miner.program.to_string());
                self.sample(name, &labels(rig, miner, &id, &program), value);
            }
        }
    }

    /// With what is hashed. No other number of a miner's has that label: a program that changes its algorithm counts its
    /// shares on, and would begin another counter in the middle.
    fn of_hashrates(&mut self, fleet: &[RigView], name: &str, help: &str) {
        self.family(name, Kind::Gauge, help);
        for (rig, miner) in miners(fleet) {
            if let Some(rate) = miner.hashrate {
                let (id, program) = (rig.peer.id.to_string(), miner.program.to_string());
                let mut labels = labels(rig, miner, &id, &program).to_vec();
                labels.push(("algorithm", miner.algorithm.as_deref().unwrap_or_default()));
                self.sample(name, &labels, rate.hashes_per_second());
            }
        }
    }

    fn of_devices(
        &mut self,
        fleet: &[RigView],
        name: &str,
        help: &str,
        value: impl Fn(&miner_ctrl_protocol::stats::DeviceStats) -> Option<f32>,
    ) {
        self.family(name, Kind::Gauge, help);
        for (rig, miner) in miners(fleet) {
            for (number, device) in miner.devices.iter().enumerate() {
                if let Some(value) = value(device) {
                    let (id, number) = (rig.peer.id.to_string(), number.to_string());
                    let labels = [
                        ("id", id.as_str()),
                        ("peer", rig.peer.name.as_str()),
                        ("miner", miner.name.as_str()),
                        ("device", &number),
                        ("model", device.name.as_deref().unwrap_or_default()),
                    ];
                    // Not widened: 0.52 would become 0.5199999809265137.
                    self.sample(name, &labels, value);
                }
            }
        }
    }
}

fn labels<'a>(rig: &'a RigView, miner: &'a MinerStatus, id: &'a str, program: &'a str) -> [(&'a str, &'a str); 4] {
    [("id", id), ("peer", rig.peer.name.as_str()), ("miner", miner.name.as_str()), ("program", program)]
}

/// What rigs say now. Of those that are away, or do not tell, nothing is known: their last word would stand still for ever.
fn miners(fleet: &[RigView]) -> impl Iterator<Item = (&RigView, &MinerStatus)> {
    fleet.iter().flat_map(|rig| {
        rig.current().into_iter().flat_map(move |stats| stats.miners.iter().map(move |miner| (rig, miner)))
    })
}

/// Counts below 2^53 are exact, and no count gets there.
fn number(count: u64) -> f64 {
    count as f64
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Memory, peer, rig};
    use std::collections::HashSet;

    async fn rendered(fleet: &[RigView]) -> String {
        let (node, certificate_expires_at) = (Memory::default(), Some(1_800_000_000));
        let (info, internals) = (node.info().await, node.internals().await);
        let page = Page { info: &info, internals: &internals, fleet, sessions: 2, streams: 1, certificate_expires_at };
        render(&page)
    }

    /// Words of a text that are names of ours or of the process.
    fn names(text: &str) -> HashSet<&str> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(|word| word.starts_with("miner_ctrl_") || word.starts_with("process_")).collect()
    }

    #[tokio::test]
    async fn every_series_is_documented_and_the_board_draws_no_other() {
        let text = rendered(&[rig(peer(1, "rig-alpha"), true)]).await;
        let families: HashSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let documented = names(include_str!("../../../docs/operating.md"));
        assert_eq!(documented.difference(&families).collect::<Vec<_>>(), Vec::<&&str>::new(), "not served");
        assert_eq!(families.difference(&documented).collect::<Vec<_>>(), Vec::<&&str>::new(), "not documented");
        let board = include_str!("../../../docs/grafana.json");
        let board: serde_json::Value = serde_json::from_str(board).unwrap();
        let drawn: Vec<&str> = board["panels"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
            .map(|target| target["expr"].as_str().unwrap())
            .collect();
        assert!(drawn.len() > 10, "{drawn:?}");
        for query in drawn {
            let used = names(query);
            assert!(!used.is_empty() && used.is_subset(&families), "{query}");
        }
    }

    #[tokio::test]
    async fn numbers_have_their_names_labels_and_units() {
        let text = rendered(&[rig(peer(1, "rig-alpha"), true)]).await;
        for line in [
            "miner_ctrl_build_info{version=\"0.1.0\"} 1",
            "miner_ctrl_mesh_connections_refused_total 3",
            "miner_ctrl_mesh_messages_refused_total{cause=\"stale\"} 2",
            "miner_ctrl_dashboard_certificate_expiry_timestamp_seconds 1800000000",
            "process_start_time_seconds 1700000000.5",
            "miner_ctrl_peer_online{id=\"0000000000000001\",peer=\"rig-alpha\",role=\"worker\"} 1",
            "miner_ctrl_peer_ping_seconds{id=\"0000000000000001\",peer=\"rig-alpha\",role=\"worker\"} 0.00225",
            "# TYPE miner_ctrl_miner_shares_accepted_total counter",
            "miner_ctrl_miner_hashrate_hashes_per_second{id=\"0000000000000001\",peer=\"rig-alpha\",miner=\"xmrig-1\",\
             program=\"xmrig\",algorithm=\"rx/0\"} 2500",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[tokio::test]
    async fn a_miner_that_changes_its_algorithm_counts_on_in_the_same_series() {
        let mut view = rig(peer(1, "rig-alpha"), true);
        let mut page = async |algorithm: &str| {
            view.stats.as_mut().unwrap().miners[0].algorithm = Some(algorithm.to_owned());
            rendered(std::slice::from_ref(&view)).await
        };
        let (before, after) = (page("rx/0").await, page("kawpow").await);
        let other: Vec<_> = before.lines().zip(after.lines()).filter(|(before, after)| before != after).collect();
        let [(rate, _)] = other[..] else { panic!("{other:?}") };
        assert!(rate.starts_with("miner_ctrl_miner_hashrate_hashes_per_second{"), "{rate}");
    }

    #[tokio::test]
    async fn what_a_device_says_is_given_as_exactly_as_it_said_it() {
        let mut view = rig(peer(1, "rig-alpha"), true);
        let miner = &mut view.stats.as_mut().unwrap().miners[0];
        miner.devices = vec![miner_ctrl_protocol::stats::DeviceStats {
            temperature_celsius: Some(61.3),
            power_watt: Some(104.7),
            fan_percent: Some(52.0),
            ..Default::default()
        }];
        let text = rendered(&[view]).await;
        for (name, value) in [("temperature_celsius", "61.3"), ("power_watts", "104.7"), ("fan_ratio", "0.52")] {
            let line = text.lines().find(|line| line.starts_with(&format!("miner_ctrl_device_{name}{{"))).unwrap();
            assert_eq!(line.rsplit_once(' ').unwrap().1, value, "{line}");
        }
    }

    #[tokio::test]
    async fn each_series_comes_once_and_below_its_family() {
        let text = rendered(&[rig(peer(1, "rig-alpha"), true), rig(peer(2, "rig-beta"), false)]).await;
        let (mut family, mut families, mut seen) = (String::new(), HashSet::new(), HashSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(families.insert(family.clone()), "{family} twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(series.split('{').next(), Some(family.as_str()));
                assert!(value.parse::<f64>().unwrap().is_finite() && seen.insert(series.to_owned()), "{line}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_known_is_left_out() {
        let mut offline = peer(1, "rig-alpha");
        (offline.online, offline.ping_ms, offline.last_seen) = (false, None, None);
        let mut view = rig(peer(1, "rig-alpha"), true);
        view.peer = offline;
        let untold = RigView { age_seconds: Some(1), ..rig(peer(2, "rig-beta"), true) };
        let text = rendered(&[view, untold]).await;
        for peer in ["{id=\"0000000000000001\",peer=\"rig-alpha\"", "{id=\"0000000000000002\",peer=\"rig-beta\""] {
            let online = u8::from(peer.contains("beta"));
            assert!(text.contains(&format!("miner_ctrl_peer_online{peer},role=\"worker\"}} {online}\n")), "{text}");
        }
        for absent in ["miner_ctrl_rig_uptime_seconds{", "miner_ctrl_miner_"] {
            assert!(!text.lines().any(|line| line.starts_with(absent)), "{absent}");
        }
        for absent in
            ["miner_ctrl_peer_ping_seconds{id=\"0000000000000001", "last_seen_timestamp_seconds{id=\"0000000000000001"]
        {
            assert!(!text.contains(absent), "{absent}");
        }
    }

    #[test]
    fn text_of_strangers_stays_inside_its_label() {
        assert_eq!(escaped("a\"} 1\nb\\"), "a\\\"} 1\\nb\\\\");
    }
}
