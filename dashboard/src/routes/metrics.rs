//! Numbers for Prometheus, in its text format (0.0.4).
//!
//! What is not known is left out: Prometheus shows a gap then, and not a zero.

use axum::extract::State;
use axum::http::{HeaderName, header};
use miner_ctrl_protocol::MinerStatus;

use crate::node::{Node, NodeInfo, RigView};

/// Of what kind the numbers of a family are.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// The text as it grows: one family after the other, as the format asks.
#[derive(Debug, Default)]
struct Text(String);

pub(crate) async fn all<N: Node>(State(node): State<N>) -> ([(HeaderName, &'static str); 1], String) {
    let (info, fleet) = (node.info().await, node.fleet().await);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&info, &fleet))
}

fn render(info: &NodeInfo, fleet: &[RigView]) -> String {
    let mut text = Text::default();
    text.family("miner_ctrl_build_info", Kind::Gauge, "The version of miner-ctrl that serves these numbers; always 1.");
    text.sample("miner_ctrl_build_info", &[("version", &info.version)], 1.0);
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
        rig.stats.as_ref().map(|stats| number(stats.host.uptime_seconds))
    });
    text.of_miners(fleet, "miner_ctrl_miner_running", Kind::Gauge, "Whether the mining program runs.", |miner| {
        Some(f64::from(u8::from(miner.state.is_running())))
    });
    let help = "Hashes in a second. What it means depends on the algorithm.";
    text.of_miners(fleet, "miner_ctrl_miner_hashrate_hashes_per_second", Kind::Gauge, help, |miner| {
        miner.hashrate.map(|rate| rate.hashes_per_second())
    });
    let help = "Shares that the pool took since the mining program started.";
    text.of_miners(fleet, "miner_ctrl_miner_shares_accepted_total", Kind::Counter, help, |miner| {
        Some(number(miner.shares.accepted))
    });
    let help = "Shares that the pool refused since the mining program started.";
    text.of_miners(fleet, "miner_ctrl_miner_shares_rejected_total", Kind::Counter, help, |miner| {
        Some(number(miner.shares.rejected))
    });
    let help = "How often the mining program was started again by itself since it was last started on purpose.";
    text.of_miners(fleet, "miner_ctrl_miner_restarts_total", Kind::Counter, help, |miner| Some(miner.restarts.into()));
    let help = "Seconds that the mining program has been running.";
    text.of_miners(fleet, "miner_ctrl_miner_uptime_seconds", Kind::Gauge, help, |miner| {
        Some(number(miner.uptime_seconds))
    });
    text.of_devices(fleet, "miner_ctrl_device_temperature_celsius", "Temperature of the device.", |device| {
        device.temperature_celsius
    });
    text.of_devices(fleet, "miner_ctrl_device_power_watts", "Power that the device takes.", |device| device.power_watt);
    text.of_devices(fleet, "miner_ctrl_device_fan_ratio", "Speed of the device's fan, from 0 to 1.", |device| {
        device.fan_percent.map(|percent| percent / 100.0)
    });
    text.0
}

impl Text {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0 += name;
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
                let labels = [
                    ("id", id.as_str()),
                    ("peer", rig.peer.name.as_str()),
                    ("miner", miner.name.as_str()),
                    ("program", &program),
                    ("algorithm", miner.algorithm.as_deref().unwrap_or_default()),
                ];
                self.sample(name, &labels, value);
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
                    self.sample(name, &labels, value.into());
                }
            }
        }
    }
}

/// What rigs that are connected say. Of the others nothing is known now: their last word would stand still for ever.
fn miners(fleet: &[RigView]) -> impl Iterator<Item = (&RigView, &MinerStatus)> {
    fleet
        .iter()
        .filter(|rig| rig.peer.online)
        .flat_map(|rig| rig.stats.iter().flat_map(move |stats| stats.miners.iter().map(move |miner| (rig, miner))))
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
        render(&Memory::default().info().await, fleet)
    }

    #[tokio::test]
    async fn numbers_have_their_names_labels_and_units() {
        let text = rendered(&[rig(peer(1, "rig-alpha"), true)]).await;
        for line in [
            "miner_ctrl_build_info{version=\"0.1.0\"} 1",
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
    async fn each_series_comes_once_and_below_its_family() {
        let text = rendered(&[rig(peer(1, "rig-alpha"), true), rig(peer(2, "rig-beta"), false)]).await;
        let (mut family, mut seen) = (String::new(), HashSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(seen.insert(family.clone()), "{family} twice");
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
        let text = rendered(&[view]).await;
        assert!(
            text.contains("miner_ctrl_peer_online{id=\"0000000000000001\",peer=\"rig-alpha\",role=\"worker\"} 0\n")
        );
        for absent in ["miner_ctrl_peer_ping_seconds{", "last_seen_timestamp_seconds{", "miner_ctrl_miner_running{"] {
            assert!(!text.contains(absent), "{absent}");
        }
    }

    #[test]
    fn text_of_strangers_stays_inside_its_label() {
        assert_eq!(escaped("a\"} 1\nb\\"), "a\\\"} 1\\nb\\\\");
    }
}
