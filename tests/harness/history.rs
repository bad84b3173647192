//! Numbers over time: written as a node's recorder would have, and asked for as a chart does.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use miner_ctrl::store::Database;
use miner_ctrl::store::history::{self, Minute};
use miner_ctrl_protocol::Measure;
use serde_json::Value;

use crate::home::Home;

/// Unix time by this machine's clock, seconds.
///
/// # Panics
/// Before 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The beginnings of so many minutes, of which the first begins at `start`.
pub fn minutes(start: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |minute| start + 60 * minute)
}

/// Writes minutes of a rig's `xmrig-1` into a node's own database: this hashrate, and 65 °C.
///
/// # Panics
/// When they cannot be written.
pub async fn record(home: &Home, rig: &str, minutes: impl Iterator<Item = u64>, number: f32) {
    let database = Database::open(&home.node_dir().join("miner-ctrl.db")).expect("a node's database");
    for at in minutes {
        let measured = |measure, number| Minute {
            rig: rig.to_owned(),
            miner: "xmrig-1".to_owned(),
            measure,
            numbers: [Some(number); 6],
        };
        let both = vec![measured(Measure::Hashrate, number), measured(Measure::Temperature, 65.0)];
        history::write(&database, at, both).await.expect("it is written");
    }
}

/// What a node tells of `xmrig-1` of a rig (a name or an id), from `span.start` on, a number for each `step` seconds;
/// none where it knows nothing. As many as the span has steps.
///
/// # Panics
/// When it does not tell.
pub async fn told(home: &Home, rig: &str, measure: &str, step: u64, span: Range<u64>) -> Vec<Option<f64>> {
    let since = span.start;
    let path = format!("/api/v1/mining/history/{rig}?miner=xmrig-1&step={step}&measure={measure}&since={since}");
    let answer = home.get(&path).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    assert_eq!(body["t0"], since, "as far back as it was asked");
    let numbers = body["series"][0]["v"].as_array().cloned().unwrap_or_default();
    let mut numbers: Vec<Option<f64>> = numbers.iter().map(Value::as_f64).collect();
    numbers.resize(usize::try_from((span.end - since) / step).expect("few"), None);
    numbers
}

/// What a node knows of half an hour of a rig, two hours ago, before anything went wrong.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    start: u64,
}

impl Past {
    const MINUTES: u64 = 30;

    /// A time before anything went wrong, of which nothing is written yet.
    #[must_use]
    pub fn some_hours_ago() -> Self {
        Self { start: now() / 3600 * 3600 - 2 * 3600 }
    }

    /// Writes it into the node's own database.
    pub async fn write(self, node: &Home, rig: &str) {
        record(node, rig, minutes(self.start, Self::MINUTES), 1000.0).await;
    }

    /// One that is written there.
    pub async fn of(node: &Home, rig: &str) -> Self {
        let past = Self::some_hours_ago();
        past.write(node, rig).await;
        past
    }

    /// Every number of it is still there.
    ///
    /// # Panics
    /// When one is not.
    pub async fn is_whole(self, node: &Home, rig: &str) {
        let span = self.start..self.start + 60 * Self::MINUTES;
        let [hashrate, temperature] =
            ["hashrate", "temperature"].map(|measure| told(node, rig, measure, 60, span.clone()));
        let (hashrate, temperature) = tokio::join!(hashrate, temperature);
        assert!(hashrate.iter().all(|number| *number == Some(1000.0)), "{hashrate:?}");
        assert!(temperature.iter().all(|number| *number == Some(65.0)), "{temperature:?}");
    }
}
