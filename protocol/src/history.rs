//! What a rig has recorded of its miners: evenly spaced numbers, in columns.

use serde::{Deserialize, Serialize};

use crate::name::MinerName;
use crate::{number, words};

/// Most numbers in an answer, over all its series: 5 bytes each, so that it fits one sealed message.
pub const MAX_NUMBERS: usize = 40_000;

/// Most numbers of one series in an answer: four hours of ten seconds, or a day of minutes.
pub const MAX_COLUMN: usize = 1440;

/// Most series in an answer: of each miner that may run every measure, and as many again that ran before.
pub const MAX_SERIES: usize = 128;

/// What was measured of a miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Hashes per second.
    #[default]
    Hashrate,
    /// Watts, all its devices together.
    Power,
    /// Shares that the pool took, in a minute.
    Shares,
    /// Degrees Celsius, of its hottest device.
    Temperature,
}

impl Measure {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Hashrate, Self::Power, Self::Shares, Self::Temperature];
}

words!(Measure: Hashrate = "hashrate", Power = "power", Shares = "shares", Temperature = "temperature");

/// A stretch of what a rig recorded. Times are the rig's own clock, Unix seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// What the rig's clock says: the asker's may say something else.
    pub now: u64,
    /// Seconds from one number to the next.
    pub step: u64,
    /// When the first number of each series begins; a multiple of the step.
    pub from: u64,
    /// Where this page ends, a multiple of the step: ask for what follows from here. Not before `from`.
    pub until: u64,
    /// What is known of that stretch; a series of which nothing is known is left out.
    pub series: Vec<HistorySeries>,
}

/// Numbers of one miner and measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistorySeries {
    /// The miner.
    pub miner: MinerName,
    /// What was measured.
    pub measure: Measure,
    /// From the page's `from` on; none where nothing is known.
    #[serde(deserialize_with = "number::shorts")]
    pub numbers: Vec<Option<f32>>,
}

impl HistoryPage {
    /// Whether this can be what a rig recorded: a peer that means well never says otherwise.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        let aligned = self.step > 0 && self.from.is_multiple_of(self.step) && self.until.is_multiple_of(self.step);
        let length = self.until.checked_sub(self.from).and_then(|seconds| seconds.checked_div(self.step));
        let fits = |series: &HistorySeries| {
            series.numbers.len() as u64 <= length.unwrap_or(0)
                && series.numbers.iter().flatten().all(|number| number.is_finite() && *number >= 0.0)
        };
        aligned
            && length.is_some_and(|length| length <= MAX_COLUMN as u64)
            && self.series.len() <= MAX_SERIES
            && self.series.iter().all(fits)
            && self.series.iter().map(|series| series.numbers.len()).sum::<usize>() <= MAX_NUMBERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> HistoryPage {
        let series = HistorySeries {
            miner: "xmrig-1".parse().unwrap(),
            measure: Measure::Hashrate,
            numbers: vec![Some(1.0), None, Some(0.0)],
        };
        HistoryPage { now: 1_000_031, step: 10, from: 1_000_000, until: 1_000_030, series: vec![series] }
    }

    #[test]
    fn a_page_that_no_rig_would_write_is_not_plausible() {
        assert!(page().is_plausible());
        let bad: [fn(&mut HistoryPage); 9] = [
            |page| page.step = 0,
            |page| page.from += 1,
            |page| page.until += 1,
            |page| page.until = page.from - 10,
            |page| page.until = page.from + 10 * (MAX_COLUMN as u64 + 1),
            |page| page.series[0].numbers.push(None),
            |page| page.series[0].numbers[0] = Some(f32::NAN),
            |page| page.series[0].numbers[0] = Some(-1.0),
            |page| page.series = vec![page.series[0].clone(); MAX_SERIES + 1],
        ];
        for spoil in bad {
            let mut page = page();
            spoil(&mut page);
            assert!(!page.is_plausible(), "{page:?}");
        }
        let mut full = page();
        full.until = full.from + full.step * MAX_COLUMN as u64;
        full.series[0].numbers = vec![None; MAX_COLUMN];
        full.series = vec![full.series[0].clone(); MAX_NUMBERS / MAX_COLUMN];
        assert!(full.is_plausible());
        full.series.push(full.series[0].clone());
        assert!(!full.is_plausible(), "more numbers than an answer has, however few of them are known");
    }

    #[test]
    fn a_word_is_one_measure() {
        for measure in Measure::ALL {
            assert_eq!(measure.as_str().parse(), Ok(measure));
            assert_eq!(serde_json::to_value(measure).unwrap(), measure.as_str());
        }
        assert!("speed".parse::<Measure>().is_err());
    }
}
