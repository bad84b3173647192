//! What this node has recorded of its own miners, for a peer that missed it.

use miner_ctrl_protocol::history::{HistoryPage, HistorySeries, MAX_COLUMN, MAX_NUMBERS, MAX_SERIES};
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{NodeId, Refusal};

use crate::causes::internal;
use crate::store::Database;
use crate::store::clock::unix_now;
use crate::store::history::{self, Series, TIERS};

/// The node's own numbers.
#[derive(Debug)]
pub struct Recorded {
    /// Where they lie.
    pub database: Database,
    /// Under which id.
    pub id: NodeId,
}

impl Recorded {
    /// Numbers of one step from `since` on, as many as fit an answer.
    ///
    /// # Errors
    /// [`Refusal`], as it goes to the asker.
    pub(crate) async fn page(&self, since: u64, step: u64) -> Result<HistoryPage, Refusal> {
        self.page_at(since, step, unix_now()).await
    }

    async fn page_at(&self, since: u64, step: u64, now: u64) -> Result<HistoryPage, Refusal> {
        let Some(tier) = TIERS.into_iter().find(|tier| tier.step == step) else {
            return Err(Invalid::new("step", "is 10, 60 or 900 seconds").into());
        };
        let newest = now - now % step;
        let from = since.clamp(now.saturating_sub(tier.kept), newest);
        let from = from - from % step;
        let mut until = newest.min(from + MAX_COLUMN as u64 * step);
        let rig = self.id.to_string();
        let read = history::read(&self.database, rig, None, None, tier, from..until).await;
        let mut found = read.map_err(|error| internal(&error))?;
        found.truncate(MAX_SERIES);
        // Many miners: a shorter stretch of each.
        let each = MAX_NUMBERS / found.len().max(1);
        if each < MAX_COLUMN {
            until = until.min(from + each as u64 * step);
            found.iter_mut().for_each(|series| series.numbers.truncate(each));
        }
        // Names in the database are such as were recorded; one that is none any more is left out.
        let series = found.into_iter().filter_map(|Series { miner, measure, numbers }| {
            Some(HistorySeries { miner: miner.parse().ok()?, measure, numbers })
        });
        Ok(HistoryPage { now, step, from, until, series: series.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::history::{Minute, write};
    use miner_ctrl_protocol::codec::{MAX_BODY, encode};
    use miner_ctrl_protocol::{Measure, Response};

    /// A day begins here.
    const START: u64 = 1_700_006_400;

    fn recorded() -> Recorded {
        Recorded { database: Database::in_memory().unwrap(), id: "00000000000000ab".parse().unwrap() }
    }

    fn minute(miner: &str, measure: Measure) -> Minute {
        Minute { rig: "00000000000000ab".into(), miner: miner.into(), measure, numbers: [Some(2500.5); 6] }
    }

    #[tokio::test]
    async fn a_page_has_what_was_recorded_and_says_where_it_ends() {
        let rig = recorded();
        write(&rig.database, START, vec![minute("xmrig-1", Measure::Hashrate)]).await.unwrap();
        let other = Minute { rig: "another".into(), ..minute("x", Measure::Hashrate) };
        write(&rig.database, START, vec![other]).await.unwrap();
        let page = rig.page_at(START + 3, 10, START + 75).await.unwrap();
        assert_eq!((page.now, page.from, page.until), (START + 75, START, START + 70));
        assert_eq!(page.series.len(), 1, "its own alone");
        assert_eq!(page.series[0].numbers, [vec![Some(2500.5); 6], vec![None]].concat());
        assert!(page.is_plausible());
        let early = rig.page_at(0, 10, START + 75).await.unwrap();
        assert!(early.series.is_empty() && early.is_plausible() && early.until - early.from == 14_400);
        let late = rig.page_at(u64::MAX, 60, START + 75).await.unwrap();
        assert!(late.series.is_empty() && late.is_plausible() && late.until == late.from);
        assert!(matches!(rig.page_at(0, 7, START).await, Err(Refusal::Invalid(_))));
    }

    #[tokio::test]
    async fn the_largest_page_fits_one_message() {
        let rig = recorded();
        for at in 0..24 * 60 {
            if at % 60 > 1 {
                continue;
            }
            let miners = (0..32).map(|number| format!("{}-{number:02}", "m".repeat(60)));
            let all = miners.flat_map(|miner| Measure::ALL.map(|measure| minute(&miner, measure))).collect();
            write(&rig.database, START + 60 * at, all).await.unwrap();
        }
        let page = rig.page_at(START, 60, START + 24 * 3600).await.unwrap();
        assert_eq!(page.series.len(), MAX_SERIES);
        assert!(page.is_plausible() && page.until < START + 24 * 3600);
        let full = |series: &HistorySeries| HistorySeries {
            numbers: vec![Some(1234.567); series.numbers.len()],
            ..series.clone()
        };
        let page = HistoryPage { series: page.series.iter().map(full).collect(), ..page };
        assert!(encode(&Response::History(page), MAX_BODY).is_ok());
    }
}
