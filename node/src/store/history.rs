//! Numbers over time, in blocks: fine ones for a day, coarser ones for longer. Bounded, whatever is written.
//!
//! A block is one row: its numbers side by side, 4 bytes each, so that a year of a miner takes some 360 KB. A coarser
//! number is the mean of the finer ones that are known, computed from what is stored: a restart changes nothing.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use miner_ctrl_protocol::Measure;
use rusqlite::{Connection, OptionalExtension, params};

use super::clock::NEVER_BEFORE;
use super::database::{Database, DatabaseError};
use super::peers::integer;

/// Fine numbers in a minute, which is what is written at once: what a kill can lose.
pub const IN_A_MINUTE: usize = 6;

/// Series that are kept: five thousand rigs with a miner and its four measures each, and room for renamed ones.
/// Together some 9 GB. Of rigs that were removed, and of miners that run no more, they stay until they are old, or until
/// what runs now finds no place.
const MAX_SERIES: i64 = 24 * 1024;

/// In place of a rig: the whole fleet, whose "miners" are algorithms. No node id is this word.
pub const FLEET: &str = "fleet";

/// Series of one rig: as many as its miners have measures, and as many again that were renamed. A rig that invents names takes no place from others. Of the fleet,
/// as many algorithms.
const MAX_OF_A_RIG: i64 = 128;

/// A series that has had nothing for so long makes room for a new one, when its rig has no place left, or all rigs
/// together have none: names that are not used any more, or were invented, keep none from what runs now.
const IDLE: u64 = DAY;

/// Series written in one go. The database answers others in between.
const AT_ONCE: usize = 256;

/// Series that are let go of in one go: each has up to 1 150 rows.
const FORGOTTEN_AT_ONCE: usize = 8;

/// How long numbers of one step are kept, and how they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// Seconds from one number to the next.
    pub step: u64,
    /// Seconds that they are kept.
    pub kept: u64,
    /// Numbers in a block.
    block: u64,
}

/// Finest first. Each block lies inside one of the next tier's, and a minute inside one of the first.
pub const TIERS: [Tier; 3] = [
    Tier { step: 10, kept: DAY, block: 360 },
    Tier { step: 60, kept: 30 * DAY, block: 60 },
    Tier { step: 900, kept: 400 * DAY, block: 96 },
];

const DAY: u64 = 24 * 3600;

/// A minute of one measure of a miner.
#[derive(Debug, Clone, PartialEq)]
pub struct Minute {
    /// Node id of the rig, or [`FLEET`].
    pub rig: String,
    /// The miner.
    pub miner: String,
    /// What was measured.
    pub measure: Measure,
    /// One number for each ten seconds; none where it is not known.
    pub numbers: [Option<f32>; IN_A_MINUTE],
}

/// Numbers of one measure of a miner, evenly spaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The miner.
    pub miner: String,
    /// What was measured.
    pub measure: Measure,
    /// None where nothing is known.
    pub numbers: Vec<Option<f32>>,
}

impl Tier {
    const fn block_seconds(self) -> u64 {
        self.step * self.block
    }
}

/// Stores a minute that begins at `at` (Unix seconds, a multiple of 60). On the disk when it returns. Gives how many series
/// found no place among those of all rigs; [`prune`] makes room for them.
///
/// # Errors
/// [`DatabaseError`]; some of the miners may have been stored.
pub async fn write(database: &Database, at: u64, mut minutes: Vec<Minute>) -> Result<usize, DatabaseError> {
    let mut homeless: usize = 0;
    while !minutes.is_empty() {
        let some = minutes.split_off(minutes.len().saturating_sub(AT_ONCE));
        homeless += database
            .run(move |connection| {
                let change = connection.transaction()?;
                let mut homeless: usize = 0;
                for minute in &some {
                    match series_of(&change, &minute.rig, &minute.miner, minute.measure, at)? {
                        Place::Full => homeless += 1,
                        Place::RigFull => {}
                        Place::Series(series) => write_minute(&change, series, at, &minute.numbers)?,
                    }
                }
                change.commit()?;
                Ok(homeless)
            })
            .await?;
    }
    Ok(homeless)
}

/// Inserts numbers of a rig that begin at `at` (a multiple of the tier's step), where nothing is known yet; what is
/// known stays, and coarser numbers are made anew of both. On the disk when it returns.
///
/// # Errors
/// [`DatabaseError`]; some of the series may have been stored.
pub async fn fill(
    database: &Database,
    rig: String,
    tier: Tier,
    at: u64,
    series: Vec<Series>,
) -> Result<(), DatabaseError> {
    database
        .run(move |connection| {
            let change = connection.transaction()?;
            for Series { miner, measure, numbers } in &series {
                // What finds no place now comes again as it is recorded.
                if let Place::Series(series) = series_of(&change, &rig, miner, *measure, at)? {
                    fill_series(&change, series, tier, at, numbers)?;
                }
            }
            change.commit()
        })
        .await
}

/// Which measures of a rig are known, in order.
///
/// # Errors
/// [`DatabaseError`].
pub async fn measures(database: &Database, rig: String) -> Result<Vec<Measure>, DatabaseError> {
    let words: Vec<String> = database
        .read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT DISTINCT measure FROM history_series WHERE rig = ?1 ORDER BY measure")?;
            statement.query_map([rig], |row| row.get(0))?.collect()
        })
        .await?;
    words.iter().map(|word| known_measure(database, word)).collect()
}

/// The hour up to which each rig is known, by its node id: the beginning of it, Unix seconds. What lies after `now` was
/// written by a clock that was ahead, and says nothing.
///
/// # Errors
/// [`DatabaseError`].
pub async fn newest_hours(database: &Database, now: u64) -> Result<HashMap<String, u64>, DatabaseError> {
    let [_, minutes, _] = TIERS;
    let rows: Vec<(String, Option<i64>)> = database
        .read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT rig, max((SELECT max(block) FROM history_blocks WHERE series = id AND step = ?1 AND block <= ?2))
                 FROM history_series GROUP BY rig",
            )?;
            let newest = integer(now / minutes.block_seconds());
            statement.query_map([integer(minutes.step), newest], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await?;
    let hour = |block: i64| u64::try_from(block).unwrap_or(0) * minutes.block_seconds();
    Ok(rows.into_iter().filter_map(|(rig, block)| Some((rig, hour(block?)))).collect())
}

/// From when on numbers of rigs are missing, by node id, as it was kept.
///
/// # Errors
/// [`DatabaseError`].
pub async fn missing(database: &Database) -> Result<HashMap<String, u64>, DatabaseError> {
    let rows: Vec<(String, i64)> = database
        .read(|connection| {
            let mut statement = connection.prepare_cached("SELECT rig, since FROM history_missing")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await?;
    Ok(rows.into_iter().filter_map(|(rig, since)| Some((rig, u64::try_from(since).ok()?))).collect())
}

/// Keeps from when on numbers of these rigs are missing; none when they are not any more. On the disk when it returns.
///
/// # Errors
/// [`DatabaseError`]; then nothing was changed.
pub async fn keep_missing(database: &Database, changes: Vec<(String, Option<u64>)>) -> Result<(), DatabaseError> {
    database
        .run(move |connection| {
            let change = connection.transaction()?;
            for (rig, since) in &changes {
                match since {
                    Some(since) => change
                        .prepare_cached("INSERT OR REPLACE INTO history_missing (rig, since) VALUES (?1, ?2)")?
                        .execute(params![rig, integer(*since)])?,
                    None => change.prepare_cached("DELETE FROM history_missing WHERE rig = ?1")?.execute([rig])?,
                };
            }
            change.commit()
        })
        .await
}

fn known_measure(database: &Database, word: &str) -> Result<Measure, DatabaseError> {
    word.parse().map_err(|why| database.damaged(format!("a measure `{word}` {why}")))
}

/// Numbers of a rig's miners, or sums of the [`FLEET`], from `span.start` on (a multiple of the tier's step) to before
/// `span.end`; of one miner and of one measure, or of all.
///
/// # Errors
/// [`DatabaseError`].
pub async fn read(
    database: &Database,
    rig: String,
    miner: Option<String>,
    measure: Option<Measure>,
    tier: Tier,
    span: Range<u64>,
) -> Result<Vec<Series>, DatabaseError> {
    let found: Vec<(String, String, Vec<Option<f32>>)> = database
        .read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, miner, measure FROM history_series
                 WHERE rig = ?1 AND (?2 IS NULL OR miner = ?2) AND (?3 IS NULL OR measure = ?3)
                 ORDER BY miner, measure",
            )?;
            let found = statement.query_map(params![rig, miner, measure.map(Measure::as_str)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            let found = found.collect::<rusqlite::Result<Vec<(i64, String, String)>>>()?;
            let all = found
                .into_iter()
                .map(|(series, miner, measure)| Ok((miner, measure, read_series(connection, series, tier, &span)?)));
            all.collect()
        })
        .await?;
    let series = found
        .into_iter()
        // A miner that has not run for so long is no line of this chart.
        .filter(|(_, _, numbers)| numbers.iter().any(Option::is_some))
        .map(|(miner, measure, numbers)| Ok(Series { miner, measure: known_measure(database, &measure)?, numbers }));
    series.collect()
}

/// Lets go of what is older than it is kept, when the clock shows `now` and this node has run for `ran` since the last time.
///
/// A clock may be years ahead for an hour, and what took a year to gather must outlive that: the time that ages are
/// counted from is remembered, and goes on at most twice as fast as this node runs. After a pause it lags behind, and more
/// is kept, up to twice as many blocks as otherwise: that bound knows no clock. A clock that is behind takes nothing back.
///
/// As many series as are `homeless` go, too, where so many have had nothing for a day: those that have had nothing for
/// longest, of whichever rig. Gives how many that were.
///
/// # Errors
/// [`DatabaseError`].
pub async fn prune(database: &Database, now: u64, ran: Duration, homeless: usize) -> Result<usize, DatabaseError> {
    let clock = now;
    let (now, all): (u64, Vec<i64>) = database
        .run(move |connection| {
            let [_, minutes, _] = TIERS;
            let before: Option<i64> =
                connection.query_row("SELECT at FROM history_clock", [], |row| row.get(0)).optional()?;
            // A clock that was never set is no beginning.
            let before = before.and_then(|at| u64::try_from(at).ok()).filter(|at| *at >= NEVER_BEFORE);
            // At first what was written last is the clock's witness.
            let before = match before {
                Some(at) => Some(at),
                None => connection
                    .query_row(
                        "SELECT max((SELECT max(block) FROM history_blocks WHERE series = id AND step = ?1))
                         FROM history_series",
                        [integer(minutes.step)],
                        |row| row.get::<_, Option<i64>>(0),
                    )?
                    .and_then(|block| u64::try_from(block).ok())
                    .map(|block| (block + 1) * minutes.block_seconds())
                    .filter(|at| *at >= NEVER_BEFORE),
            };
            let most = before.map_or(now, |at| now.min(at.saturating_add(2 * ran.as_secs())));
            let at = before.map_or(most, |at| at.max(most));
            connection.execute("INSERT OR REPLACE INTO history_clock (one, at) VALUES (1, ?1)", [integer(at)])?;
            let now = most;
            let mut statement = connection.prepare_cached("SELECT id FROM history_series")?;
            Ok((now, statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?))
        })
        .await?;
    let idle = if homeless > 0 { forget_idle(database, now, homeless).await? } else { 0 };
    for some in all.chunks(AT_ONCE) {
        let some = some.to_vec();
        database
            .run(move |connection| {
                let change = connection.transaction()?;
                for series in some {
                    for tier in TIERS {
                        // The block that the last second lies in is kept whole.
                        let oldest = now.saturating_sub(tier.kept) / tier.block_seconds();
                        change
                            .prepare_cached(
                                "DELETE FROM history_blocks WHERE series = ?1 AND step = ?2 AND block < ?3",
                            )?
                            .execute(params![series, integer(tier.step), integer(oldest)])?;
                        if clock.saturating_sub(now) > DAY {
                            // It lags: a look at all blocks, which a node that always runs is spared.
                            let most = 2 * tier.kept / tier.block_seconds();
                            change
                                .prepare_cached(
                                    "DELETE FROM history_blocks WHERE series = ?1 AND step = ?2 AND block <
                                     (SELECT block FROM history_blocks WHERE series = ?1 AND step = ?2
                                      ORDER BY block DESC LIMIT 1 OFFSET ?3)",
                                )?
                                .execute(params![series, integer(tier.step), integer(most)])?;
                        }
                    }
                    change
                        .prepare_cached(
                            "DELETE FROM history_series
                             WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM history_blocks WHERE series = ?1)",
                        )?
                        .execute([series])?;
                }
                change.commit()
            })
            .await?;
    }
    Ok(idle)
}

/// Lets go of so many series that have had nothing for longest, and for [`IDLE`]; gives how many those were.
async fn forget_idle(database: &Database, now: u64, most: usize) -> Result<usize, DatabaseError> {
    let idle: Vec<i64> = database
        .read(move |connection| {
            let [_, minutes, _] = TIERS;
            let before = now.saturating_sub(IDLE) / minutes.block_seconds();
            let mut statement = connection.prepare_cached(
                "SELECT id FROM (
                     SELECT id, coalesce((SELECT max(block) FROM history_blocks WHERE series = id AND step = ?1), 0)
                         AS newest
                     FROM history_series
                 ) WHERE newest < ?2 ORDER BY newest LIMIT ?3",
            )?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![integer(minutes.step), integer(before), most], |row| row.get(0))?;
            rows.collect()
        })
        .await?;
    for some in idle.chunks(FORGOTTEN_AT_ONCE) {
        let some = some.to_vec();
        database
            .run(move |connection| {
                let change = connection.transaction()?;
                some.iter().try_for_each(|series| forget(&change, *series))?;
                change.commit()
            })
            .await?;
    }
    Ok(idle.len())
}

fn forget(connection: &Connection, series: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM history_blocks WHERE series = ?1")?.execute([series])?;
    connection.prepare_cached("DELETE FROM history_series WHERE id = ?1")?.execute([series])?;
    Ok(())
}

/// Where the numbers of a measure of a miner go.
enum Place {
    /// It is new, and there are [`MAX_SERIES`].
    Full,
    /// It is new, and its rig has [`MAX_OF_A_RIG`], all of late.
    RigFull,
    /// Into this one.
    Series(i64),
}

/// The place of a measure of a miner, that gets numbers of this time.
fn series_of(connection: &Connection, rig: &str, miner: &str, measure: Measure, at: u64) -> rusqlite::Result<Place> {
    let measure = measure.as_str();
    let known = connection
        .prepare_cached("SELECT id FROM history_series WHERE rig = ?1 AND miner = ?2 AND measure = ?3")?
        .query_row(params![rig, miner, measure], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(Place::Series(known));
    }
    let of_rig: i64 = connection
        .prepare_cached("SELECT count(*) FROM history_series WHERE rig = ?1")?
        .query_row([rig], |row| row.get(0))?;
    if of_rig >= MAX_OF_A_RIG && !make_room(connection, rig, at)? {
        return Ok(Place::RigFull);
    }
    let added = connection
        .prepare_cached(
            "INSERT INTO history_series (rig, miner, measure)
             SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM history_series) < ?4",
        )?
        .execute(params![rig, miner, measure, MAX_SERIES])?;
    Ok(if added > 0 { Place::Series(connection.last_insert_rowid()) } else { Place::Full })
}

/// Lets go of the series of a rig that has had nothing for longest; false when each has had something of late.
///
/// Minutes say that best, while they are kept. Of what is older there are quarters alone, by whose last day it goes.
fn make_room(connection: &Connection, rig: &str, at: u64) -> rusqlite::Result<bool> {
    let [_, minutes, quarters] = TIERS;
    let idle: Option<i64> = connection
        .prepare_cached(
            "SELECT id FROM (
                 SELECT id, coalesce(
                     (SELECT max(block) + 1 FROM history_blocks WHERE series = id AND step = ?2) * ?3,
                     (SELECT max(block) + 1 FROM history_blocks WHERE series = id AND step = ?4) * ?5,
                     0
                 ) AS until
                 FROM history_series WHERE rig = ?1
             ) WHERE until <= ?6 ORDER BY until LIMIT 1",
        )?
        .query_row(
            params![
                rig,
                integer(minutes.step),
                integer(minutes.block_seconds()),
                integer(quarters.step),
                integer(quarters.block_seconds()),
                integer(at.saturating_sub(IDLE)),
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(idle) = idle else { return Ok(false) };
    forget(connection, idle)?;
    Ok(true)
}

/// Puts numbers where none are, and means of all that is known then into coarser tiers.
fn fill_series(
    connection: &Connection,
    series: i64,
    tier: Tier,
    at: u64,
    numbers: &[Option<f32>],
) -> rusqlite::Result<()> {
    let end = at + numbers.len() as u64 * tier.step;
    let mut start = at;
    while start < end {
        // As far as this block goes.
        let stop = end.min((start / tier.block_seconds() + 1) * tier.block_seconds());
        let some = numbers.get(index(start - at, tier)..index(stop - at, tier)).unwrap_or_default();
        if some.iter().any(Option::is_some) {
            let whole = add(connection, series, tier, start, some)?;
            put_means(connection, series, tier, &whole, start..stop)?;
        }
        start = stop;
    }
    Ok(())
}

/// Puts the means of a block's numbers into the coarser tiers, as far as they lie in this span of it. What stood there may
/// be the mean of fewer.
fn put_means(
    connection: &Connection,
    series: i64,
    tier: Tier,
    whole: &[Option<f32>],
    span: Range<u64>,
) -> rusqlite::Result<()> {
    let (mut finer, mut whole) = (tier, whole.to_vec());
    for coarser in TIERS.into_iter().filter(|coarser| coarser.step > tier.step) {
        let first = span.start - span.start % coarser.step;
        let means: Vec<_> = (first..span.end)
            .step_by(usize::try_from(coarser.step).unwrap_or(usize::MAX))
            .map(|at| {
                let from = place(finer, at);
                mean(whole.get(from..from + index(coarser.step, finer)).unwrap_or_default())
            })
            .collect();
        whole = put(connection, series, coarser, first, &means)?;
        finer = coarser;
    }
    Ok(())
}

/// Numbers of this tier in so many seconds.
fn index(seconds: u64, tier: Tier) -> usize {
    usize::try_from(seconds / tier.step).unwrap_or(usize::MAX)
}

/// Puts numbers into the block that they belong to, where none are; gives the block as it is then.
fn add(
    connection: &Connection,
    series: i64,
    tier: Tier,
    at: u64,
    numbers: &[Option<f32>],
) -> rusqlite::Result<Vec<Option<f32>>> {
    let known = load(connection, series, tier, at / tier.block_seconds())?;
    let known = known.get(place(tier, at)..).unwrap_or_default();
    let missing: Vec<_> = numbers.iter().zip(known).map(|(number, known)| number.filter(|_| known.is_none())).collect();
    put(connection, series, tier, at, &missing)
}

fn write_minute(
    connection: &Connection,
    series: i64,
    at: u64,
    numbers: &[Option<f32>; IN_A_MINUTE],
) -> rusqlite::Result<()> {
    let [fine, ..] = TIERS;
    let whole = put(connection, series, fine, at, numbers)?;
    put_means(connection, series, fine, &whole, at..at + 60)
}

/// Puts numbers into the block that they belong to; gives the block as it is then.
fn put(
    connection: &Connection,
    series: i64,
    tier: Tier,
    at: u64,
    numbers: &[Option<f32>],
) -> rusqlite::Result<Vec<Option<f32>>> {
    let block = at / tier.block_seconds();
    let mut whole = load(connection, series, tier, block)?;
    for (place, number) in whole.iter_mut().skip(place(tier, at)).zip(numbers) {
        // What is known is not forgotten, e.g. when the clock was set back.
        if number.is_some() {
            *place = *number;
        }
    }
    if whole.iter().any(Option::is_some) {
        let bytes: Vec<u8> = whole.iter().flat_map(|number| number.unwrap_or(f32::NAN).to_le_bytes()).collect();
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO history_blocks (series, step, block, numbers) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![series, integer(tier.step), integer(block), bytes])?;
    }
    Ok(whole)
}

fn load(connection: &Connection, series: i64, tier: Tier, block: u64) -> rusqlite::Result<Vec<Option<f32>>> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("SELECT numbers FROM history_blocks WHERE series = ?1 AND step = ?2 AND block = ?3")?
        .query_row(params![series, integer(tier.step), integer(block)], |row| row.get(0))
        .optional()?;
    Ok(decoded(&bytes.unwrap_or_default(), tier))
}

/// The numbers of a block; what is missing at its end is not known.
fn decoded(bytes: &[u8], tier: Tier) -> Vec<Option<f32>> {
    let (words, _) = bytes.as_chunks::<4>();
    let mut numbers: Vec<_> =
        words.iter().map(|word| Some(f32::from_le_bytes(*word)).filter(|number| !number.is_nan())).collect();
    numbers.resize(usize::try_from(tier.block).unwrap_or(0), None);
    numbers
}

fn read_series(
    connection: &Connection,
    series: i64,
    tier: Tier,
    span: &Range<u64>,
) -> rusqlite::Result<Vec<Option<f32>>> {
    let count = span.end.saturating_sub(span.start).div_ceil(tier.step);
    let mut numbers = vec![None; usize::try_from(count).unwrap_or(0)];
    let mut statement = connection.prepare_cached(
        "SELECT block, numbers FROM history_blocks WHERE series = ?1 AND step = ?2 AND block BETWEEN ?3 AND ?4",
    )?;
    let (first, last) = (span.start / tier.block_seconds(), span.end / tier.block_seconds());
    let mut rows = statement.query(params![series, integer(tier.step), integer(first), integer(last)])?;
    while let Some(row) = rows.next()? {
        let block = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
        let whole = decoded(&row.get::<_, Vec<u8>>(1)?, tier);
        for (at, number) in (0..).map(|place| block * tier.block_seconds() + place * tier.step).zip(whole) {
            let place = at.checked_sub(span.start).and_then(|since| usize::try_from(since / tier.step).ok());
            if let Some(place) = place.and_then(|place| numbers.get_mut(place)) {
                *place = number;
            }
        }
    }
    Ok(numbers)
}

/// Where in its block a moment stands.
fn place(tier: Tier, at: u64) -> usize {
    usize::try_from(at % tier.block_seconds() / tier.step).unwrap_or(0)
}

/// The mean of what is known.
fn mean(numbers: &[Option<f32>]) -> Option<f32> {
    let known = numbers.iter().flatten().map(|number| f64::from(*number));
    let (sum, count) = known.fold((0.0, 0.0), |(sum, count), number| (sum + number, count + 1.0));
    // Hashrates are far below what an f32 can hold.
    (count > 0.0).then_some((sum / count) as f32)
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
