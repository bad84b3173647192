//! Who did what: the gateway's records, as rows, the newest of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miner_ctrl_dashboard::records::{Activity, ActivityQuery};
use rusqlite::params;
use tokio::sync::oneshot;

use super::database::{Database, DatabaseError};
use super::peers::{integer, number, word};

/// Entries that are kept: years of a person's clicks, months of a busy script, and some 20 MB.
const KEPT: i64 = 100_000;

/// Writes down what was done. Entries that come while others are being stored are stored together: an order to a
/// thousand rigs would wait a thousand times for the disk.
#[derive(Debug, Clone)]
pub struct Journal {
    database: Database,
    waiting: Arc<Mutex<Waiting>>,
}

/// No more than there are requests and rigs of a job under way.
#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// Somebody stores them, and looks again when it is done.
    writing: bool,
}

type Entry = (Activity, oneshot::Sender<Result<Activity, DatabaseError>>);

impl Journal {
    /// In this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database, waiting: Arc::default() }
    }

    /// Adds an entry, and lets go of the oldest. Its id is given here. On the disk when it returns; it is stored even if
    /// the caller stops waiting.
    ///
    /// # Errors
    /// [`DatabaseError`]; then it is not there.
    pub async fn add(&self, row: Activity) -> Result<Activity, DatabaseError> {
        let (reply, stored) = oneshot::channel();
        let others_write = {
            let mut waiting = self.waiting();
            waiting.entries.push((row, reply));
            std::mem::replace(&mut waiting.writing, true)
        };
        if !others_write {
            tokio::spawn(Writer(self.clone()).run());
        }
        stored.await.unwrap_or(Err(DatabaseError::ShuttingDown))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores what waits, until nothing does.
struct Writer(Journal);

impl Writer {
    async fn run(self) {
        while let Some(entries) = self.next() {
            let (rows, replies): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
            match add_keeping(&self.0.database, rows.clone(), KEPT).await {
                // Whoever asked may have gone.
                Ok(stored) => stored.into_iter().zip(replies).for_each(|(row, reply)| drop(reply.send(Ok(row)))),
                // One that cannot be stored takes no other with it, and each hears why.
                Err(_) => {
                    for (row, reply) in rows.into_iter().zip(replies) {
                        let stored = add_keeping(&self.0.database, vec![row], KEPT).await;
                        let stored = stored.and_then(|rows| rows.into_iter().next().ok_or(DatabaseError::ShuttingDown));
                        drop(reply.send(stored));
                    }
                }
            }
        }
    }

    fn next(&self) -> Option<Vec<Entry>> {
        let mut waiting = self.0.waiting();
        waiting.writing = !waiting.entries.is_empty();
        waiting.writing.then(|| std::mem::take(&mut waiting.entries))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The next entry finds another.
            self.0.waiting().writing = false;
        }
    }
}

async fn add_keeping(database: &Database, rows: Vec<Activity>, kept: i64) -> Result<Vec<Activity>, DatabaseError> {
    database
        .run(move |connection| {
            let change = connection.transaction()?;
            let mut stored = Vec::with_capacity(rows.len());
            for row in rows {
                change
                    .prepare_cached(
                        "INSERT INTO activity (at, by, who, address, action, target, detail, result)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    )?
                    .execute(params![
                        integer(row.at),
                        row.by.as_str(),
                        row.who,
                        row.from.map(|from| from.to_string()),
                        row.action,
                        row.target,
                        row.detail,
                        row.result
                    ])?;
                let id = change.last_insert_rowid();
                stored.push(Activity { id: u64::try_from(id).unwrap_or(0), ..row });
            }
            let newest = change.last_insert_rowid();
            change.prepare_cached("DELETE FROM activity WHERE id <= ?1")?.execute([newest - kept])?;
            change.commit()?;
            Ok(stored)
        })
        .await
}

/// Entries, newest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(database: &Database, query: ActivityQuery) -> Result<Vec<Activity>, DatabaseError> {
    database
        .read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM activity
                 WHERE id < ?1 AND (?2 IS NULL OR target = ?2) AND (?3 IS NULL OR who = ?3)
                     AND (?4 IS NULL OR action = ?4) AND (?5 IS NULL OR result = ?5)
                 ORDER BY id DESC LIMIT ?6",
            )?;
            let before = query.before.map_or(i64::MAX, integer);
            let values = params![before, query.target, query.who, query.action, query.result, query.limit];
            let rows = statement.query_map(values, |row| {
                Ok(Activity {
                    id: number(row, "id")?,
                    at: number(row, "at")?,
                    by: word(row, "by", "the way of an activity")?,
                    who: row.get("who")?,
                    from: row.get::<_, Option<String>>("address")?.and_then(|address| address.parse().ok()),
                    action: row.get("action")?,
                    target: row.get("target")?,
                    detail: row.get("detail")?,
                    result: row.get("result")?,
                })
            })?;
            rows.collect()
        })
        .await
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use miner_ctrl_dashboard::records::By;

    use super::*;

    fn entry(target: &str) -> Activity {
        Activity {
            id: 0,
            at: 0,
            by: By::Local,
            who: None,
            from: None,
            action: "stop".into(),
            target: Some(target.into()),
            detail: None,
            result: "ok".into(),
        }
    }

    #[tokio::test]
    async fn entries_are_listed_newest_first_as_asked() {
        let database = Database::in_memory().unwrap();
        let journal = Journal::new(database.clone());
        for target in ["a", "b", "a"] {
            journal.add(entry(target)).await.unwrap();
        }
        let list = |query| list(&database, query);
        let ids = |rows: Vec<Activity>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        let all = ActivityQuery { limit: 10, ..ActivityQuery::default() };
        assert_eq!(ids(list(all.clone()).await.unwrap()), [3, 2, 1]);
        assert_eq!(ids(list(ActivityQuery { limit: 1, ..all.clone() }).await.unwrap()), [3]);
        assert_eq!(ids(list(ActivityQuery { before: Some(3), ..all.clone() }).await.unwrap()), [2, 1]);
        assert_eq!(ids(list(ActivityQuery { target: Some("a".into()), ..all.clone() }).await.unwrap()), [3, 1]);
        assert_eq!(ids(list(ActivityQuery { result: Some("timeout".into()), ..all }).await.unwrap()), [0; 0]);
    }

    #[tokio::test]
    async fn the_oldest_make_room_and_no_id_comes_twice() {
        let database = Database::in_memory().unwrap();
        for _ in 0..5 {
            add_keeping(&database, vec![entry("a")], 2).await.unwrap();
        }
        let rows = list(&database, ActivityQuery { limit: 10, ..ActivityQuery::default() }).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [5, 4]);
        database.run_blocking(|c| c.execute("DELETE FROM activity", [])).unwrap();
        assert_eq!(Journal::new(database).add(entry("a")).await.unwrap().id, 6);
    }

    #[tokio::test]
    async fn what_comes_together_is_stored_together_in_its_order() {
        let database = Database::in_memory().unwrap();
        let journal = Journal::new(database.clone());
        let targets: Vec<String> = (0..100).map(|number| format!("rig-{number}")).collect();
        let mut rows = join_all(targets.iter().map(|target| journal.add(entry(target))));
        assert!(futures::poll!(&mut rows).is_pending());
        let (reply, _) = oneshot::channel();
        journal.waiting().entries.push((entry("last"), reply));
        // The writer has not begun: it takes them all.
        assert_eq!(journal.waiting().entries.len(), 101);
        let rows = rows.await;
        for ((id, target), row) in (1..).zip(&targets).zip(rows) {
            let row = row.unwrap();
            assert_eq!((row.id, row.target.as_ref()), (id, Some(target)));
        }
        // In one transaction: the last is there, too.
        assert_eq!(
            list(&database, ActivityQuery { limit: 1000, ..ActivityQuery::default() }).await.unwrap().len(),
            101
        );
    }

    #[tokio::test]
    async fn one_that_cannot_be_stored_takes_no_other_with_it() {
        let database = Database::in_memory().unwrap();
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON activity WHEN NEW.target = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END";
        database.run_blocking(|connection| connection.execute_batch(refuse)).unwrap();
        let journal = Journal::new(database.clone());
        let rows = join_all(["a", "bad", "b"].map(|target| journal.add(entry(target)))).await;
        assert_eq!(rows.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert!(journal.add(entry("c")).await.is_ok());
        assert_eq!(list(&database, ActivityQuery { limit: 10, ..ActivityQuery::default() }).await.unwrap().len(), 3);
    }
}
