//! What a controller missed of its rigs: a rig that comes back is asked for the numbers of the time between.
//!
//! Twice: at once, for what the rig has written; and when the minute in which it came back is over, for that minute.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use miner_ctrl_dashboard::node::RigView;
use miner_ctrl_protocol::history::HistoryPage;
use miner_ctrl_protocol::{NodeId, Refusal, Request, Response};
use tokio::task::{Id, JoinSet};

use crate::causes::chain;
use crate::handle::NodeHandle;
use crate::store::clock::unix_now;
use crate::store::history::{self, Series, TIERS, Tier};

/// Rigs asked at once. An answer has up to 200 KB and is many writes: five thousand rigs that come back together are
/// asked one after the other, while they go on being watched.
const AT_ONCE: usize = 4;

/// How long a rig may be out of sight without being asked: two looks may be that far apart on a busy machine.
const OUT_OF_SIGHT: u64 = 25;

/// After the end of a minute the rig has written it: it looks each ten seconds.
const WRITTEN: u64 = 20;

/// How far back the second question goes: over the minute in which the rig came back.
const SECOND: u64 = 120;

/// How long a rig may take for a page: it reads some hundred rows.
const LIMIT: Duration = Duration::from_secs(20);

/// Pages of one gap. 400 days are some 60; a rig whose pages lead nowhere is not asked for ever.
const PAGES: usize = 256;

/// How long one rig may take for all its pages. 60 of 200 KB take 100 s at 1 Mbit/s; others wait for its place.
const ALL: Duration = Duration::from_secs(120);

/// After that it is asked for the rest, if it had told so much: on the slowest line a turn brings several hours.
const AGAIN: u64 = 60;
const PROGRESS: u64 = 3600;

/// Who told less, or nothing, is asked again so much later: it may be allowed to tell by then, or be able to. Until it does
/// that is one message an hour.
const LATER: u64 = 3600;

/// Clocks so far apart are believed when they are as far apart at the next question, the second one as a rule: a controller
/// may start with a clock that is hours off and be set right in its first minute, and what it stored under a wrong time by
/// then would stay.
const FAR: u64 = 120;

/// Which rigs have gaps, and who is being asked. Never more entries than there are peers.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// Whether this node keeps numbers of others at all.
    commands: bool,
    own: Option<NodeId>,
    /// Up to when each rig was known before this start; of those that were not in sight since.
    known: HashMap<NodeId, u64>,
    /// When each rig was last in sight.
    seen: HashMap<NodeId, u64>,
    /// From when on a rig's numbers are missing, and from when on it may be asked; by rig.
    missing: BTreeMap<NodeId, Missing>,
    /// From when on those are asked that are being asked.
    under_way: HashMap<NodeId, u64>,
    /// From when on rigs' numbers are missing, by the database.
    kept: HashMap<NodeId, u64>,
    /// How far the clocks of rigs were ahead of ours at the last question, of those that were [`FAR`] off.
    ahead: HashMap<NodeId, i64>,
    asking: JoinSet<Asked>,
    /// Which rig each task asks.
    tasks: HashMap<Id, NodeId>,
}

/// How far a rig's gap was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    rig: NodeId,
    from: u64,
    /// From where on it is still missing; nothing when it is not.
    rest: Option<u64>,
    clock: Clock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Missing {
    from: u64,
    /// The first question; none when it was asked.
    first: bool,
    /// When the second one is due.
    again_at: u64,
}

impl Missing {
    /// Since when it may be asked; within a minute, of the first question.
    const fn due_since(&self) -> u64 {
        if self.first { self.again_at.saturating_sub(60 + WRITTEN) } else { self.again_at }
    }
}

impl Gaps {
    /// What is known of the rigs before this start.
    pub(crate) async fn of(node: &NodeHandle) -> Self {
        let record = &node.inner.record;
        let mut gaps = Self { commands: record.role.commands(), own: Some(record.id), ..Self::default() };
        if gaps.commands {
            let database = node.database();
            match tokio::try_join!(history::newest_hours(database, unix_now()), history::missing(database)) {
                Ok((newest, missing)) => gaps.before(newest, missing),
                Err(error) => tracing::warn!(error = chain(&error), "what is known of the rigs' history is not known"),
            }
        }
        gaps
    }

    /// Takes what the database says: the hour up to which rigs are known, and from when on they were to be asked.
    fn before(&mut self, newest: HashMap<String, u64>, missing: HashMap<String, u64>) {
        // The whole fleet's sums are no rig's.
        let by_id = |(rig, at): (String, u64)| Some((rig.parse().ok()?, at));
        self.known = newest.into_iter().filter_map(by_id).collect();
        self.kept = missing.into_iter().filter_map(by_id).collect();
        for (rig, since) in &self.kept {
            // A minute that was written since, before the rig had its turn, does not make known what lies before it.
            self.known.entry(*rig).and_modify(|known| *known = (*since).min(*known)).or_insert(*since);
        }
    }

    /// Takes a look at who is there.
    pub(crate) fn look(&mut self, fleet: &[RigView], now: u64) {
        let mine = |rig: &&RigView| rig.peer.role.mines() && Some(rig.peer.id) != self.own;
        if !self.commands {
            return;
        }
        let peers: HashMap<NodeId, &RigView> = fleet.iter().filter(mine).map(|rig| (rig.peer.id, rig)).collect();
        self.seen.retain(|id, _| peers.contains_key(id));
        self.missing.retain(|id, _| peers.contains_key(id));
        self.known.retain(|id, _| peers.contains_key(id));
        self.ahead.retain(|id, _| peers.contains_key(id));
        // One that is connected and does not tell its numbers would tell no old ones: it is out of sight.
        for (id, rig) in peers.into_iter().filter(|(_, rig)| rig.current().is_some()) {
            let from = match self.seen.insert(id, now) {
                Some(seen) if now.saturating_sub(seen) < OUT_OF_SIGHT => continue,
                Some(seen) => seen,
                // Of a rig that was never recorded here: since it is ours.
                None => self.known.remove(&id).unwrap_or(rig.peer.paired_at),
            };
            let from = self.missing.get(&id).map_or(from, |known| known.from.min(from));
            self.missing.insert(id, Missing { from, first: true, again_at: now - now % 60 + 60 + WRITTEN });
        }
    }

    /// Keeps what is missing, before newer numbers are written: a stop while many rigs wait for their turn forgets none.
    pub(crate) async fn keep(&mut self, node: &NodeHandle) {
        let changes = self.changes();
        if changes.is_empty() {
            return;
        }
        let rows = changes.iter().map(|(rig, since)| (rig.to_string(), *since)).collect();
        match history::keep_missing(node.database(), rows).await {
            Ok(()) => self.are_kept(changes),
            // It is tried again at each look, and the minute that cannot be written says so once a minute.
            Err(error) => tracing::debug!(error = chain(&error), "what is missing of the rigs' history is not stored"),
        }
    }

    /// What the database does not say yet of what is missing.
    fn changes(&self) -> Vec<(NodeId, Option<u64>)> {
        let mut missing = self.under_way.clone();
        for (rig, Missing { from, .. }) in &self.missing {
            missing.entry(*rig).and_modify(|known| *known = (*from).min(*known)).or_insert(*from);
        }
        let is_done = |rig: &&NodeId| !missing.contains_key(rig) && !self.known.contains_key(rig);
        let done: Vec<_> = self.kept.keys().filter(is_done).map(|rig| (*rig, None)).collect();
        let new = missing.into_iter().filter(|(rig, from)| self.kept.get(rig) != Some(from));
        new.map(|(rig, from)| (rig, Some(from))).chain(done).collect()
    }

    fn are_kept(&mut self, changes: Vec<(NodeId, Option<u64>)>) {
        for (rig, since) in changes {
            match since {
                Some(since) => self.kept.insert(rig, since),
                None => self.kept.remove(&rig),
            };
        }
    }

    /// Asks the next rigs, as far as there are places.
    pub(crate) fn fill(&mut self, node: &NodeHandle, now: u64) {
        while self.asking.len() < AT_ONCE
            && let Some((rig, from)) = self.next(now)
        {
            let before = self.ahead.get(&rig).copied().unwrap_or(0);
            let task = self.asking.spawn(ask(node.clone(), rig, from, before));
            self.tasks.insert(task.id(), rig);
        }
    }

    /// Ends when a rig was asked; never, while none is.
    pub(crate) async fn one_is_done(&mut self) {
        match self.asking.join_next_with_id().await {
            Some(Err(error)) => {
                tracing::error!(%error, "filling a gap broke off");
                if let Some(rig) = self.tasks.remove(&error.id()) {
                    self.broke_off(rig, unix_now());
                }
            }
            Some(Ok((task, asked))) => {
                self.tasks.remove(&task);
                self.asked(asked, unix_now());
            }
            None => std::future::pending().await,
        }
    }

    /// Nothing is known of what was filled: it is asked for again.
    fn broke_off(&mut self, rig: NodeId, now: u64) {
        if let Some(from) = self.under_way.get(&rig).copied() {
            self.asked(Asked { rig, from, rest: Some(from), clock: Clock::default() }, now);
        }
    }

    /// The next rig to ask, and from when on.
    fn next(&mut self, now: u64) -> Option<(NodeId, u64)> {
        let due = |missing: &Missing| missing.first || missing.again_at <= now || was_ahead(missing.again_at, now);
        // Of one that is being asked what comes of it decides what is asked for next.
        let is_free = |rig: &NodeId| !self.under_way.contains_key(rig);
        let waiting = self.missing.iter().filter(|(rig, missing)| due(missing) && is_free(rig));
        // Who has waited longest: those that take long come again and again, and keep nobody from his turn.
        let rig = *waiting.min_by_key(|(_, missing)| missing.due_since().min(now))?.0;
        let missing = self.missing.get_mut(&rig)?;
        let from = missing.from;
        if !std::mem::take(&mut missing.first) || missing.again_at <= now {
            self.missing.remove(&rig);
        }
        self.under_way.insert(rig, from);
        Some((rig, from))
    }

    /// What was filled is not asked for twice.
    fn asked(&mut self, Asked { rig, from, rest, clock }: Asked, now: u64) {
        self.under_way.remove(&rig);
        if clock.is_near(0) {
            self.ahead.remove(&rig);
        } else {
            self.ahead.insert(rig, clock.0);
        }
        match (self.missing.get_mut(&rig), rest) {
            (Some(missing), None) if was_ahead(missing.again_at, now) => {}
            (Some(missing), None) if !missing.first => {
                missing.from = missing.from.max(missing.again_at.saturating_sub(SECOND));
            }
            (Some(missing), Some(rest)) if missing.from == from => missing.from = rest,
            // On a slow line it takes several turns, and others have theirs in between.
            (None, Some(rest)) => {
                let pause = if rest >= from + PROGRESS { AGAIN } else { LATER };
                self.missing.insert(rig, Missing { from: rest, first: false, again_at: now + pause });
            }
            _ => {}
        }
    }
}

/// Whether a time was set by a clock of ours that has been set back since.
const fn was_ahead(at: u64, now: u64) -> bool {
    at > now.saturating_add(2 * LATER)
}

/// Asks one rig for everything from `from` on: the last day finely, what is older as it is kept for so long. `before` is how
/// far its clock was ahead the last time.
async fn ask(node: NodeHandle, rig: NodeId, from: u64, before: i64) -> Asked {
    let [fine, minutes, quarters] = TIERS;
    let now = unix_now();
    // Where a coarser tier ends and a finer one begins is a whole step of the coarser: of the rest its mean would be one of a
    // part alone.
    let border = |kept: u64, step: u64| now.saturating_sub(kept) / step * step;
    let (day, month) = (border(fine.kept, minutes.step), border(minutes.kept, quarters.step));
    let mut clock = Clock::default();
    let mut known = from;
    let asked = async {
        for (tier, start, end) in [(quarters, from, month), (minutes, from.max(month), day), (fine, from.max(day), now)]
        {
            if start < end {
                known = known.max(start);
                stretch(&node, rig, tier, start..end, before, &mut clock, &mut known).await?;
            }
        }
        Ok(())
    };
    let asked = tokio::time::timeout(ALL, asked).await.unwrap_or_else(|_| Err("it took too long".to_owned()));
    if let Err(why) = &asked {
        tracing::debug!(%rig, why, "a gap in a rig's history stays");
    }
    Asked { rig, from, rest: asked.is_err().then_some(known), clock }
}

/// How far the rig's clock is ahead of ours, seconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Clock(i64);

impl Clock {
    fn theirs(self, ours: u64) -> u64 {
        ours.saturating_add_signed(self.0)
    }

    /// Whether it is about as far ahead as that.
    fn is_near(self, ahead: i64) -> bool {
        self.0.abs_diff(ahead) < FAR
    }

    /// Our time of a number of theirs: the nearest one that has a place, since both count from the same second.
    fn ours(self, theirs: u64, step: u64) -> u64 {
        let ours = theirs.saturating_add_signed(self.0.saturating_neg());
        ours.saturating_add(step / 2) / step * step
    }

    /// Sets it by a page; whether it was so far off that the page is another one than was meant.
    fn set(&mut self, theirs: u64, ours: u64, step: u64) -> bool {
        let ahead = i64::try_from(i128::from(theirs) - i128::from(ours)).unwrap_or(0);
        let off = ahead.abs_diff(self.0) >= step;
        // A second or two are the way there and back, and no reason to move numbers.
        if off {
            self.0 = ahead;
        }
        off
    }
}

async fn stretch(
    node: &NodeHandle,
    rig: NodeId,
    tier: Tier,
    span: std::ops::Range<u64>,
    before: i64,
    clock: &mut Clock,
    known: &mut u64,
) -> Result<(), String> {
    let mut since = span.start;
    let mut is_set = false;
    for _ in 0..PAGES {
        let page = one_page(node, rig, clock.theirs(since), tier).await?;
        if clock.set(page.now, unix_now(), tier.step) {
            if std::mem::replace(&mut is_set, true) {
                return Err("its clock jumps".to_owned());
            }
            if !clock.is_near(0) && !clock.is_near(before) {
                return Err(format!("its clock is {} s ahead of this one's: does it stay so?", clock.0));
            }
            continue;
        }
        if page.from.saturating_add(tier.step) < clock.theirs(since) || page.until > page.now.saturating_add(tier.step)
        {
            return Err("it answered with another time than was asked for".to_owned());
        }
        let at = clock.ours(page.from, tier.step);
        let series = page.series.into_iter();
        let series: Vec<Series> = series
            .map(|one| Series { miner: one.miner.to_string(), measure: one.measure, numbers: one.numbers })
            .collect();
        let (until, found) = (clock.ours(page.until, tier.step), series.len());
        if found > 0 && until <= unix_now() + tier.step {
            tracing::debug!(%rig, at, until, found, "a gap in a rig's history is filled");
            let filled = history::fill(node.database(), rig.to_string(), tier, at, series).await;
            filled.map_err(|error| chain(&error))?;
        }
        if until >= span.end - span.end % tier.step || until <= since {
            return Ok(());
        }
        since = until;
        *known = until;
    }
    Ok(())
}

async fn one_page(node: &NodeHandle, rig: NodeId, since: u64, tier: Tier) -> Result<HistoryPage, String> {
    let request = Request::History { since, step: tier.step };
    match node.ask_rig(rig, request, LIMIT).await {
        Ok(Response::History(page)) if page.step == tier.step => Ok(page),
        Ok(Response::Refused(refusal @ (Refusal::NotAllowed { .. } | Refusal::Unsupported))) => {
            Err(refusal.to_string())
        }
        Ok(_) => Err("it answered something else".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_dashboard::memory::{peer, rig};

    fn gaps() -> Gaps {
        Gaps { commands: true, ..Gaps::default() }
    }

    fn alpha(online: bool) -> [RigView; 1] {
        let mut peer = peer(1, "rig-alpha");
        (peer.online, peer.paired_at) = (online, 5000);
        [rig(peer, true)]
    }

    #[test]
    fn a_question_that_broke_off_is_asked_again() {
        let (mut gaps, id) = (gaps(), alpha(true)[0].peer.id);
        gaps.known.insert(id, 3600);
        gaps.look(&alpha(true), 6010);
        assert_eq!(gaps.next(6010), Some((id, 3600)));
        gaps.broke_off(id, 6011);
        assert!(gaps.under_way.is_empty());
        assert_eq!(gaps.next(6080), Some((id, 3600)));
    }

    #[test]
    fn a_rig_is_asked_when_it_comes_back_and_once_more_when_the_minute_is_over() {
        let (mut gaps, id) = (gaps(), alpha(true)[0].peer.id);
        gaps.known.insert(id, 3600);
        gaps.look(&alpha(true), 6010);
        assert_eq!(gaps.next(6010), Some((id, 3600)), "from where it was known");
        gaps.asked(Asked { rig: id, from: 3600, rest: None, clock: Clock(0) }, 6015);
        assert_eq!(gaps.next(6079), None);
        assert_eq!(gaps.next(6080), Some((id, 5960)), "the minute in which it came back");
        gaps.asked(Asked { rig: id, from: 5960, rest: None, clock: Clock(0) }, 6081);
        assert_eq!(gaps.next(9999), None);
        for now in [6020, 6030, 6050] {
            gaps.look(&alpha(true), now);
        }
        assert_eq!(gaps.next(6200), None, "it was in sight all the time");
        gaps.look(&alpha(false), 6060);
        gaps.look(&alpha(true), 6300);
        assert_eq!(gaps.next(6300), Some((id, 6050)));
        gaps.asked(Asked { rig: id, from: 6050, rest: Some(6050), clock: Clock(0) }, 6310);
        assert_eq!(gaps.next(6400), Some((id, 6050)), "what did not come the first time is asked for again");
        gaps.asked(Asked { rig: id, from: 6050, rest: Some(9650), clock: Clock(0) }, 16_400);
        assert_eq!((gaps.next(16_459), gaps.next(16_460)), (None, Some((id, 9650))), "the rest, in a while");
        gaps.asked(Asked { rig: id, from: 9650, rest: Some(9700), clock: Clock(0) }, 16_470);
        assert_eq!(gaps.next(20_069), None, "who tells next to nothing is asked rarely");
        assert_eq!(gaps.next(20_070), Some((id, 9700)));
        gaps.asked(Asked { rig: id, from: 9700, rest: Some(9700), clock: Clock(0) }, 20_080);
        gaps.look(&alpha(true), 20_100);
        assert_eq!(gaps.next(20_100), Some((id, 6300)), "when it comes back, at once and for all that is missing");
    }

    #[test]
    fn rigs_that_take_long_keep_none_from_its_turn() {
        let rigs: Vec<RigView> = (1..=40_u8)
            .map(|seed| {
                let mut peer = peer(seed, &format!("rig-{seed}"));
                (peer.online, peer.paired_at) = (true, 5000);
                rig(peer, true)
            })
            .collect();
        let mut ids: Vec<NodeId> = rigs.iter().map(|rig| rig.peer.id).collect();
        ids.sort_unstable();
        let (slow, quick) = ids.split_at(10);
        let mut gaps = gaps();
        gaps.look(&rigs, 6000);
        // Four at once, each two minutes at it; the slow ones have told an hour each time, and a day is missing.
        let mut asked = std::collections::HashMap::<NodeId, u32>::new();
        for turn in 0..30 {
            let now = 6000 + turn * 120;
            for (rig, from) in std::iter::from_fn(|| gaps.next(now)).take(AT_ONCE).collect::<Vec<_>>() {
                *asked.entry(rig).or_default() += 1;
                let rest = slow.contains(&rig).then_some(from + PROGRESS);
                gaps.asked(Asked { rig, from, rest, clock: Clock(0) }, now + 120);
            }
        }
        assert!(quick.iter().all(|rig| asked.contains_key(rig)), "{asked:?}");
        assert!(slow.iter().all(|rig| asked[rig] >= 2), "{asked:?}");
    }

    #[test]
    fn a_rig_that_does_not_tell_its_numbers_is_asked_once_it_does() {
        let (mut gaps, id) = (gaps(), alpha(true)[0].peer.id);
        let untold = alpha(true).map(|rig| RigView { age_seconds: Some(9), ..rig });
        let silent = alpha(true).map(|rig| RigView { stats: None, age_seconds: None, ..rig });
        for (now, fleet) in [(6010, silent), (6020, untold.clone())] {
            gaps.look(&fleet, now);
            assert_eq!(gaps.next(now), None, "it would refuse");
        }
        gaps.look(&alpha(true), 6030);
        assert_eq!(gaps.next(6030), Some((id, 5000)));
        assert_eq!(gaps.next(6100), None, "while it is being asked");
        gaps.asked(Asked { rig: id, from: 5000, rest: None, clock: Clock(0) }, 6101);
        assert_eq!(gaps.next(6101), Some((id, 5960)));
        gaps.asked(Asked { rig: id, from: 5960, rest: None, clock: Clock(0) }, 6102);
        gaps.look(&untold, 6110);
        gaps.look(&alpha(true), 6130);
        assert_eq!(gaps.next(6130), Some((id, 6030)), "what it did not tell meanwhile");
    }

    #[test]
    fn what_is_missing_is_kept_until_the_rig_has_told_it() {
        let id = alpha(true)[0].peer.id;
        let started = |missing| {
            let mut gaps = gaps();
            gaps.before([(id, 7200)].map(|(id, at)| (id.to_string(), at)).into(), missing);
            gaps
        };
        let mut before = started(HashMap::new());
        before.look(&alpha(true), 9010);
        assert_eq!(before.changes(), [(id, Some(7200))]);
        before.next(9010);
        assert_eq!(before.changes(), [(id, Some(7200))], "it was asked, and has not answered");

        // Stopped in the meantime, after minutes of another hour were written.
        let mut gaps = started([(id.to_string(), 3600)].into());
        assert_eq!(gaps.changes(), [], "it is still to be seen");
        gaps.look(&alpha(true), 9010);
        assert_eq!((gaps.changes(), gaps.next(9010)), (vec![], Some((id, 3600))));
        gaps.asked(Asked { rig: id, from: 3600, rest: None, clock: Clock(0) }, 9020);
        let changes = gaps.changes();
        assert_eq!(changes, [(id, Some(8960))]);
        gaps.are_kept(changes);
        gaps.next(9090);
        assert_eq!(gaps.changes(), []);
        gaps.asked(Asked { rig: id, from: 8960, rest: None, clock: Clock(0) }, 9100);
        assert_eq!(gaps.changes(), [(id, None)]);
        let mut gone = started([(id.to_string(), 3600)].into());
        gone.look(&[], 9010);
        assert_eq!(gone.changes(), [(id, None)], "it is no peer any more");
    }

    #[test]
    fn what_was_never_recorded_is_asked_for_since_it_was_paired_and_who_is_gone_is_forgotten() {
        let (mut gaps, id) = (gaps(), alpha(true)[0].peer.id);
        gaps.look(&alpha(true), 6010);
        assert_eq!(gaps.missing[&id].from, 5000);
        gaps.look(&[], 6020);
        assert_eq!((gaps.next(9999), gaps.seen.len()), (None, 0));
    }

    #[test]
    fn a_worker_asks_nobody_and_nobody_asks_himself() {
        let mut worker = Gaps::default();
        worker.look(&alpha(true), 6010);
        assert_eq!(worker.next(9999), None);
        let mut own = Gaps { own: Some(alpha(true)[0].peer.id), ..gaps() };
        own.look(&alpha(true), 6010);
        assert_eq!(own.next(9999), None);
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_moment_takes_nothing_from_what_is_missing() {
        let (mut gaps, id) = (gaps(), alpha(true)[0].peer.id);
        gaps.known.insert(id, 7200);
        gaps.look(&alpha(true), 36_000);
        assert_eq!(gaps.next(36_000), Some((id, 7200)));
        // It was not believed; and by then ours is right.
        gaps.asked(Asked { rig: id, from: 7200, rest: Some(7200), clock: Clock(-28_800) }, 7230);
        assert_eq!(
            (gaps.ahead.get(&id).copied(), gaps.next(7240)),
            (Some(-28_800), Some((id, 7200))),
            "it is not asked in hours"
        );
        gaps.asked(Asked { rig: id, from: 7200, rest: None, clock: Clock(-28_800) }, 7245);
        gaps.look(&alpha(true), 36_000);
        gaps.look(&alpha(true), 36_100);
        assert_eq!(gaps.next(36_100), Some((id, 36_000)));
        gaps.asked(Asked { rig: id, from: 36_000, rest: None, clock: Clock(3) }, 7300);
        assert_eq!((gaps.ahead.len(), gaps.missing[&id].from), (0, 36_000));
        assert!(
            Clock(-28_750).is_near(-28_800) && !Clock(-28_600).is_near(-28_800) && !Clock(i64::MAX).is_near(i64::MIN)
        );
    }

    #[test]
    fn a_clock_that_is_off_is_noticed_and_taken_out() {
        let mut clock = Clock::default();
        assert!(!clock.set(1000, 998, 10), "a moment on the way is no other clock");
        assert_eq!(clock.ours(1000, 10), 1000);
        assert!(clock.set(100_003, 1000, 10));
        assert!(!clock.set(100_013, 1010, 10));
        assert_eq!((clock.theirs(500), clock.ours(99_500, 10)), (99_503, 500));
        assert!(clock.set(0, u64::MAX, 10), "whatever a rig says");
        assert_eq!(clock.theirs(1), 1);
    }
}
