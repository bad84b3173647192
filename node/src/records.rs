//! What the gateway asks this node to keep: its records as rows of the database.

use std::ops::Range;

use miner_ctrl_dashboard::NodeError;
use miner_ctrl_dashboard::node::{History, HistoryQuery, HistorySeries};
use miner_ctrl_dashboard::records::{AccessRecord, Activity, ActivityQuery, Records};
use miner_ctrl_protocol::NodeId;
use miner_ctrl_protocol::profile::Invalid;

use crate::causes::chain;
use crate::handle::NodeHandle;
use crate::store::clock::unix_now;
use crate::store::history::{self, FLEET, Series, TIERS, Tier};
use crate::store::{DatabaseError, access, activity};

impl Records for NodeHandle {
    async fn access(&self) -> Result<AccessRecord, NodeError> {
        access::load(self.database()).await.map_err(|error| failed(&error))
    }

    async fn put_access(&self, access: AccessRecord) -> Result<(), NodeError> {
        access::replace(self.database(), access).await.map_err(|error| failed(&error))
    }

    async fn put_activity(&self, entry: Activity) -> Result<Activity, NodeError> {
        self.inner.journal.add(entry).await.map_err(|error| failed(&error))
    }

    async fn activity(&self, query: ActivityQuery) -> Result<Vec<Activity>, NodeError> {
        activity::list(self.database(), query).await.map_err(|error| failed(&error))
    }
}

/// Numbers in a series that a chart can use; finer steps are given when they are asked for.
const FOR_A_CHART: u64 = 1500;

impl NodeHandle {
    /// Numbers of a node over time, by its id.
    pub(crate) async fn history_of(&self, rig: NodeId, query: HistoryQuery) -> Result<History, NodeError> {
        self.history_under(rig.to_string(), query).await
    }

    /// Sums of the fleet's hashrates over time, by algorithm.
    pub(crate) async fn history_of_fleet(&self, query: HistoryQuery) -> Result<History, NodeError> {
        self.history_under(FLEET.to_owned(), query).await
    }

    async fn history_under(&self, rig: String, query: HistoryQuery) -> Result<History, NodeError> {
        let now = unix_now();
        let (tier, span) = chosen(&query, now)?;
        let (miner, measure) = (query.miner.map(|miner| miner.to_string()), query.measure);
        let measures = history::measures(self.database(), rig.clone()).await.map_err(|error| failed(&error))?;
        let read = history::read(self.database(), rig, miner, Some(measure), tier, span.clone()).await;
        let series = read.map_err(|error| failed(&error))?;
        let series = series.into_iter().map(|Series { miner, numbers, .. }| HistorySeries { id: miner, v: numbers });
        Ok(History { t0: span.start, step: tier.step, measure, measures, series: series.collect() })
    }
}

/// The step, and from when to when: no further back than numbers of that step are kept.
fn chosen(query: &HistoryQuery, now: u64) -> Result<(Tier, Range<u64>), NodeError> {
    let since = query.since.unwrap_or_else(|| now.saturating_sub(TIERS[0].kept));
    if since > now {
        return Err(Invalid::new("since", "lies in the future").into());
    }
    let back = now - since;
    let [fine, minutes, quarters] = TIERS;
    let tier = match query.step {
        Some(step) => TIERS.into_iter().find(|tier| tier.step == step).unwrap_or(quarters),
        None => {
            [fine, minutes].into_iter().find(|tier| back <= tier.kept.min(FOR_A_CHART * tier.step)).unwrap_or(quarters)
        }
    };
    let start = since.max(now.saturating_sub(tier.kept));
    Ok((tier, start - start % tier.step..now))
}

fn failed(error: &DatabaseError) -> NodeError {
    NodeError::Internal(chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_is_as_fine_as_a_chart_needs_and_no_older_than_is_kept() {
        let now = 1_700_000_000;
        let ask = |back: u64, step| {
            chosen(&HistoryQuery { since: Some(now - back), step, ..HistoryQuery::default() }, now).unwrap()
        };
        for (back, step, chosen) in [
            (3600, None, 10),
            (24 * 3600, None, 60),
            (7 * 24 * 3600, None, 900),
            (24 * 3600, Some(10), 10),
            (3600, Some(900), 900),
        ] {
            let (tier, span) = ask(back, step);
            assert_eq!(tier.step, chosen, "{back} {step:?}");
            assert!(span.start % tier.step == 0 && span.start <= now - back && span.end == now);
        }
        let (tier, span) = ask(now, Some(10));
        assert!(span.end - span.start <= tier.kept + tier.step, "at most a day of ten seconds");
        let future = HistoryQuery { since: Some(now + 1), ..HistoryQuery::default() };
        assert!(chosen(&future, now).is_err());
    }

    #[test]
    fn the_steps_are_those_that_the_gateway_knows() {
        assert_eq!(TIERS.map(|tier| tier.step), History::STEPS);
    }
}
