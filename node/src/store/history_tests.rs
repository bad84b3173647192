//! Numbers over time: every step, gaps, and what is kept of whom.

use super::*;

/// An hour, a quarter and a day begin here.
const START: u64 = 1_800_057_600;

fn minute(miner: &str, number: f32) -> Minute {
    let numbers = [Some(number); IN_A_MINUTE];
    Minute { rig: "a".into(), miner: miner.into(), measure: Measure::Hashrate, numbers }
}

async fn read_all(database: &Database, tier: Tier, span: Range<u64>) -> Vec<Series> {
    read(database, "a".into(), None, None, tier, span).await.unwrap()
}

#[tokio::test]
async fn a_minute_shows_in_every_step() {
    let database = Database::in_memory().unwrap();
    for (index, number) in [10.0, 20.0].into_iter().enumerate() {
        write(&database, START + 60 * index as u64, vec![minute("x", number)]).await.unwrap();
    }
    let [fine, minutes, quarters] = TIERS;
    let series = read_all(&database, fine, START..START + 180).await;
    assert_eq!(series[0].numbers[..12], [[Some(10.0); 6], [Some(20.0); 6]].concat());
    assert_eq!(series[0].numbers[12..], [None; 6]);
    assert_eq!(read_all(&database, minutes, START..START + 180).await[0].numbers, [Some(10.0), Some(20.0), None]);
    assert_eq!(read_all(&database, quarters, START..START + 1800).await[0].numbers, [Some(15.0), None]);
}

#[tokio::test]
async fn a_gap_stays_a_gap_and_what_is_known_is_kept() {
    let database = Database::in_memory().unwrap();
    let mut gap = minute("x", 10.0);
    gap.numbers[2] = None;
    write(&database, START, vec![gap.clone()]).await.unwrap();
    gap.numbers = [None; IN_A_MINUTE];
    write(&database, START, vec![gap]).await.unwrap();
    let series = read_all(&database, TIERS[0], START..START + 60).await;
    assert_eq!(series[0].numbers, [Some(10.0), Some(10.0), None, Some(10.0), Some(10.0), Some(10.0)]);
    assert_eq!(read_all(&database, TIERS[1], START..START + 60).await[0].numbers, [Some(10.0)]);
}

#[tokio::test]
async fn a_span_over_many_blocks_is_one_row_of_numbers() {
    let database = Database::in_memory().unwrap();
    for hour in 0..5 {
        write(&database, START + hour * 3600 + 600, vec![minute("x", 1.0 + hour as f32)]).await.unwrap();
    }
    let numbers = read_all(&database, TIERS[1], START + 300..START + 5 * 3600).await.remove(0).numbers;
    assert_eq!(numbers.len(), 295);
    let known: Vec<_> = numbers.iter().enumerate().filter_map(|(at, number)| Some((at, (*number)?))).collect();
    assert_eq!(known, [(5, 1.0), (65, 2.0), (125, 3.0), (185, 4.0), (245, 5.0)]);
}

#[tokio::test]
async fn miners_are_read_one_or_all_and_many_are_written() {
    let database = Database::in_memory().unwrap();
    let many =
        (0..600).map(|number| Minute { rig: format!("rig-{}", number / 100), ..minute(&format!("x-{number}"), 1.0) });
    write(&database, START, many.collect()).await.unwrap();
    let read = |rig: &str, miner: Option<&str>| {
        let (database, rig, miner) = (database.clone(), rig.to_owned(), miner.map(str::to_owned));
        async move { read(&database, rig, miner, None, TIERS[0], START..START + 60).await.unwrap() }
    };
    assert_eq!(read("rig-1", None).await.len(), 100);
    let one = read("rig-0", Some("x-7")).await;
    assert_eq!((one.len(), one[0].miner.as_str()), (1, "x-7"));
    assert!(read("rig-9", None).await.is_empty());
}

#[tokio::test]
async fn measures_are_kept_apart_and_a_rig_has_its_share_of_them() {
    let database = Database::in_memory().unwrap();
    let hot = Minute { measure: Measure::Temperature, ..minute("x", 65.0) };
    write(&database, START, vec![minute("x", 1.0), hot]).await.unwrap();
    assert_eq!(measures(&database, "a".into()).await.unwrap(), [Measure::Hashrate, Measure::Temperature]);
    let one = read(&database, "a".into(), None, Some(Measure::Temperature), TIERS[1], START..START + 60);
    assert_eq!(one.await.unwrap()[0].numbers, [Some(65.0)]);
    let invented = (0..200).map(|number| minute(&format!("made-up-{number}"), 1.0)).collect();
    write(&database, START, invented).await.unwrap();
    assert_eq!(read_all(&database, TIERS[1], START..START + 60).await.len(), 128);
    let other = Minute { rig: "b".into(), ..minute("x", 1.0) };
    write(&database, START, vec![other]).await.unwrap();
    assert_eq!(measures(&database, "b".into()).await.unwrap(), [Measure::Hashrate]);
}

#[tokio::test]
async fn a_name_that_is_not_used_any_more_makes_room_for_a_new_one() {
    let database = Database::in_memory().unwrap();
    let name = |number| format!("x-{number:03}");
    let full = (0..128).map(|number| minute(&name(number), 1.0)).collect();
    write(&database, START, full).await.unwrap();
    write(&database, START + DAY / 2, vec![minute(&name(0), 1.0)]).await.unwrap();
    let known = |names: [String; 3]| {
        let database = database.clone();
        async move {
            let all = read_all(&database, TIERS[2], START..START + 3 * DAY).await;
            (all.len(), names.map(|name| all.iter().any(|series| series.miner == name)))
        }
    };
    let names = || [name(0), name(1), "new".to_owned()];
    write(&database, START + DAY, vec![minute("new", 1.0)]).await.unwrap();
    assert_eq!(known(names()).await, (128, [true, true, false]), "each was used of late");
    write(&database, START + DAY + 3600, vec![minute("new", 1.0)]).await.unwrap();
    assert_eq!(known(names()).await, (128, [true, false, true]), "the one that has had nothing for longest has gone");
}

/// A gap of months is filled with quarters alone, the oldest first, and what is older than a month has nothing else.
#[tokio::test]
async fn names_of_which_quarters_are_left_make_room_by_when_they_were_used() {
    let database = Database::in_memory().unwrap();
    let [.., quarters] = TIERS;
    let filled = async |names: Range<u64>, day: u64| {
        let one =
            |number| Series { miner: format!("x-{number:03}"), measure: Measure::Hashrate, numbers: vec![Some(1.0)] };
        fill(&database, "a".into(), quarters, START + day * DAY, names.map(one).collect()).await.unwrap();
        let all = read_all(&database, quarters, START..START + 400 * DAY).await;
        all.into_iter().map(|series| series.miner[2..].parse().unwrap()).collect::<Vec<u64>>()
    };
    // The first was used longest ago, by its numbers and not by when it came to be known.
    filled(1..128, 60).await;
    filled(0..1, 20).await;
    let known = filled(200..201, 40).await;
    assert_eq!(known, (1..128).chain([200]).collect::<Vec<_>>(), "what was used later stays");
    let known = filled(201..202, 40).await;
    assert!(!known.contains(&201), "all were used after this, or that day");
}

#[tokio::test]
async fn rigs_that_are_gone_make_room_for_new_ones_when_there_is_none() {
    let database = Database::in_memory().unwrap();
    write(&database, START, vec![minute("x", 1.0)]).await.unwrap();
    prune(&database, START, Duration::from_secs(3600), 0).await.unwrap();
    // As many as fit, of which each has had something of late.
    let fill_up = format!(
        "WITH RECURSIVE number (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < {MAX_SERIES})
         INSERT INTO history_series SELECT n, 'gone-' || n, 'x', 'hashrate' FROM number;
         INSERT INTO history_blocks SELECT id, 60, {}, zeroblob(4) FROM history_series WHERE id > 1",
        START / 3600 + 1
    );
    database.run_blocking(move |connection| connection.execute_batch(&fill_up)).unwrap();
    let new = |rig: &str| Minute { rig: rig.into(), ..minute("x", 2.0) };
    let all = |at| write(&database, at, vec![minute("x", 2.0), new("b"), new("c")]);
    assert_eq!(all(START + DAY).await.unwrap(), 2);
    let hour = Duration::from_secs(3600);
    assert_eq!(prune(&database, START + DAY, 12 * hour, 2).await.unwrap(), 0, "each was used of late");
    assert_eq!(all(START + DAY + 60).await.unwrap(), 2);
    assert_eq!(prune(&database, START + DAY + 2 * 3600, hour, 2).await.unwrap(), 2);
    assert_eq!(all(START + DAY + 2 * 3600).await.unwrap(), 0);
    for rig in ["a", "b", "c"] {
        assert_eq!(measures(&database, rig.into()).await.unwrap(), [Measure::Hashrate], "{rig}");
    }
    let series: i64 =
        database.run_blocking(|c| c.query_row("SELECT count(*) FROM history_series", [], |row| row.get(0))).unwrap();
    assert_eq!(series, MAX_SERIES, "no more than what was asked for has gone");
}

#[tokio::test]
async fn a_gap_is_filled_in_every_coarser_step_and_nothing_that_is_known_is_overwritten() {
    let database = Database::in_memory().unwrap();
    // The last minute of an hour is known, and the third of the next.
    write(&database, START + 3540, vec![minute("x", 10.0)]).await.unwrap();
    write(&database, START + 3720, vec![minute("x", 40.0)]).await.unwrap();
    let rig = |numbers| vec![Series { miner: "x".into(), measure: Measure::Hashrate, numbers }];
    let [fine, minutes, quarters] = TIERS;
    let four_minutes = [vec![Some(99.0); 6], vec![Some(20.0); 6], vec![None; 3], vec![Some(30.0); 9]].concat();
    fill(&database, "a".into(), fine, START + 3540, rig(four_minutes)).await.unwrap();
    let filled = read_all(&database, minutes, START + 3540..START + 3780).await.remove(0).numbers;
    assert_eq!(filled, [Some(10.0), Some(20.0), Some(30.0), Some(40.0)]);
    let filled = read_all(&database, fine, START + 3600..START + 3730).await.remove(0).numbers;
    assert_eq!(filled, [vec![Some(20.0); 6], vec![None; 3], vec![Some(30.0); 3], vec![Some(40.0)]].concat());
    // All that is known of the quarter now, and not what was when its first minute was.
    let filled = read_all(&database, quarters, START + 3600..START + 4500).await.remove(0).numbers;
    assert_eq!(filled, [Some(30.0)]);
    // A minute of a quarter in which the rate was high, and then the others.
    write(&database, START + 4500, vec![minute("x", 1000.0)]).await.unwrap();
    fill(&database, "a".into(), fine, START + 4560, rig(vec![Some(100.0); 14 * 6])).await.unwrap();
    let filled = read_all(&database, quarters, START + 4500..START + 5400).await.remove(0).numbers;
    assert_eq!(filled, [Some(160.0)]);
    let mut begun = minute("x", 10.0);
    begun.numbers[1..].fill(None);
    write(&database, START + 5400, vec![begun]).await.unwrap();
    fill(&database, "a".into(), fine, START + 5400, rig(vec![Some(40.0); 6])).await.unwrap();
    let filled = read_all(&database, minutes, START + 5400..START + 5460).await.remove(0).numbers;
    assert_eq!(filled, [Some(35.0)]);
    // Older ones come by the minute, and show in quarters.
    fill(&database, "a".into(), minutes, START - 900, rig(vec![Some(5.0); 15])).await.unwrap();
    let filled = read_all(&database, quarters, START - 900..START).await.remove(0).numbers;
    assert_eq!(filled, [Some(5.0)]);
    // Written by a clock that was ahead.
    write(&database, START + 300 * DAY, vec![minute("x", 1.0)]).await.unwrap();
    let hours = newest_hours(&database, START + 7000).await.unwrap();
    assert_eq!(hours, HashMap::from([("a".to_owned(), START + 3600)]));
}

#[tokio::test]
async fn what_is_missing_is_kept_until_it_is_not_any_more() {
    let database = Database::in_memory().unwrap();
    let keep = |changes: &[(&str, Option<u64>)]| {
        keep_missing(&database, changes.iter().map(|(rig, since)| ((*rig).to_owned(), *since)).collect())
    };
    keep(&[("a", Some(START)), ("b", Some(START))]).await.unwrap();
    keep(&[("a", Some(START + 60)), ("b", None), ("c", None)]).await.unwrap();
    assert_eq!(missing(&database).await.unwrap(), HashMap::from([("a".to_owned(), START + 60)]));
}

#[tokio::test]
async fn what_is_old_goes_step_by_step() {
    let database = Database::in_memory().unwrap();
    write(&database, START, vec![minute("x", 1.0)]).await.unwrap();
    let steps = || {
        database.run_blocking(|c| {
            c.prepare("SELECT step FROM history_blocks ORDER BY step")?.query_map([], |row| row.get(0))?.collect()
        })
    };
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(DAY));
    for (days, ran, left) in [
        (0, hour, vec![10, 60, 900]),
        // A clock that is years ahead takes nothing, however often it is looked at in a few hours.
        (30 * 365, hour, vec![10, 60, 900]),
        (30 * 365, 5 * hour, vec![10, 60, 900]),
        (0, hour, vec![10, 60, 900]),
        (2, day, vec![60, 900]),
        // One that was never set.
        (0, hour, vec![60, 900]),
        (32, 15 * day, vec![900]),
        (402, 185 * day, vec![]),
    ] {
        prune(&database, START + days * DAY, ran, 0).await.unwrap();
        let steps: Vec<i64> = steps().unwrap();
        assert_eq!(steps, left, "after {days} days");
    }
    let series: i64 =
        database.run_blocking(|c| c.query_row("SELECT count(*) FROM history_series", [], |row| row.get(0))).unwrap();
    assert_eq!(series, 0);
}

#[tokio::test]
async fn a_node_that_runs_an_hour_a_day_keeps_no_more_than_twice_as_much() {
    let database = Database::in_memory().unwrap();
    for day in 0..120 {
        write(&database, START + day * DAY, vec![minute("x", 1.0)]).await.unwrap();
        prune(&database, START + day * DAY, Duration::from_secs(600), 0).await.unwrap();
    }
    let blocks: i64 = database
        .run_blocking(|c| c.query_row("SELECT count(*) FROM history_blocks WHERE step = 10", [], |row| row.get(0)))
        .unwrap();
    // A block is an hour of a day that is kept, and the one that is begun.
    assert_eq!(blocks, 2 * 24 + 1);
}
