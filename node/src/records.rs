//! What the gateway asks this node to keep: its records as rows of the database.

use std::ops::Range;

use miner_ctrl_dashboard::NodeError;
use miner_ctrl_dashboard::node::{History, HistoryQuery, HistorySeries};
use miner_ctrl_dashboard::records::{
    AccessRecord, Activity, ActivityQuery, By, Records, Scope, SessionRecord, TokenRecord,
};
use miner_ctrl_protocol::NodeId;
use miner_ctrl_protocol::profile::Invalid;

use crate::causes::chain;
use crate::handle::NodeHandle;
use crate::store::access::{self, AccessRows, SessionRow, TokenRow};
use crate::store::activity::{self, ActivityRow, Which};
use crate::store::clock::unix_now;
use crate::store::history::{self, FLEET, Series, TIERS, Tier};
use crate::store::{Database, DatabaseError};

impl Records for NodeHandle {
    async fn access(&self) -> Result<AccessRecord, NodeError> {
        let database = self.database();
        let rows = access::load(database).await.map_err(|error| failed(&error))?;
        let tokens: Result<Vec<_>, _> = rows.tokens.into_iter().map(|row| token(database, row)).collect();
        Ok(AccessRecord {
            password: rows.password,
            sessions: rows.sessions.into_iter().map(session).collect(),
            tokens: tokens.map_err(|error| failed(&error))?,
        })
    }

    async fn put_access(&self, access: AccessRecord) -> Result<(), NodeError> {
        let rows = AccessRows {
            password: access.password,
            sessions: access.sessions.into_iter().map(session_row).collect(),
            tokens: access.tokens.into_iter().map(token_row).collect(),
        };
        access::replace(self.database(), rows).await.map_err(|error| failed(&error))
    }

    async fn put_activity(&self, entry: Activity) -> Result<Activity, NodeError> {
        let row = ActivityRow {
            id: 0,
            at: entry.at,
            by: entry.by.as_str().to_owned(),
            who: entry.who.clone(),
            address: entry.from.map(|from| from.to_string()),
            action: entry.action.clone(),
            target: entry.target.clone(),
            detail: entry.detail.clone(),
            result: entry.result.clone(),
        };
        let id = self.inner.journal.add(row).await.map_err(|error| failed(&error))?.id;
        Ok(Activity { id, ..entry })
    }

    async fn activity(&self, query: ActivityQuery) -> Result<Vec<Activity>, NodeError> {
        let ActivityQuery { limit, before, target, who, action, result } = query;
        let database = self.database();
        let rows = activity::list(database, Which { limit, before, target, who, action, result }).await;
        rows.map_err(|error| failed(&error))?
            .into_iter()
            .map(|row| entry(database, row).map_err(|error| failed(&error)))
            .collect()
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

fn session(row: SessionRow) -> SessionRecord {
    let SessionRow { id, hash, created_at, last_used, agent } = row;
    SessionRecord { id, hash, created_at, last_used, agent }
}

fn session_row(record: SessionRecord) -> SessionRow {
    let SessionRecord { id, hash, created_at, last_used, agent } = record;
    SessionRow { id, hash, created_at, last_used, agent }
}

fn token(database: &Database, row: TokenRow) -> Result<TokenRecord, DatabaseError> {
    let TokenRow { id, name, hash, scope, created_at, last_used } = row;
    let scope: Scope = scope.parse().map_err(|why| database.damaged(format!("the scope of a token {why}")))?;
    Ok(TokenRecord { id, name, hash, scope, created_at, last_used })
}

fn token_row(record: TokenRecord) -> TokenRow {
    let TokenRecord { id, name, hash, scope, created_at, last_used } = record;
    TokenRow { id, name, hash, scope: scope.as_str().to_owned(), created_at, last_used }
}

fn entry(database: &Database, row: ActivityRow) -> Result<Activity, DatabaseError> {
    let by: By = row.by.parse().map_err(|why| database.damaged(format!("the way of an activity {why}")))?;
    let from = row.address.and_then(|address| address.parse().ok());
    let ActivityRow { id, at, who, action, target, detail, result, .. } = row;
    Ok(Activity { id, at, by, who, from, action, target, detail, result })
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
