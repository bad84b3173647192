//! Who did what, as plain rows, the newest of them.

use rusqlite::params;

use super::database::{Database, DatabaseError};
use super::peers::{integer, number};

/// Entries that are kept: years of a person's clicks, months of a busy script, and some 20 MB.
const KEPT: i64 = 100_000;

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActivityRow {
    /// Grows; never given twice.
    pub id: u64,
    /// Unix time, seconds.
    pub at: u64,
    /// By which way the actor came in, as a word.
    pub by: String,
    /// Which credential.
    pub who: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// What.
    pub action: String,
    /// To what.
    pub target: Option<String>,
    /// With what.
    pub detail: Option<String>,
    /// How it ended, as a word.
    pub result: String,
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Which {
    /// At most this many, the newest.
    pub limit: u32,
    /// Below this id.
    pub before: Option<u64>,
    /// Of this target.
    pub target: Option<String>,
    /// By this credential.
    pub who: Option<String>,
    /// This action.
    pub action: Option<String>,
    /// With this result.
    pub result: Option<String>,
}

/// Adds an entry, and lets go of the oldest. Its id is given here. On the disk when it returns.
///
/// # Errors
/// [`DatabaseError`]; then nothing was changed.
pub async fn add(database: &Database, row: ActivityRow) -> Result<ActivityRow, DatabaseError> {
    add_keeping(database, row, KEPT).await
}

async fn add_keeping(database: &Database, row: ActivityRow, kept: i64) -> Result<ActivityRow, DatabaseError> {
    database
        .run(move |connection| {
            let change = connection.transaction()?;
            change
                .prepare_cached(
                    "INSERT INTO activity (at, by, who, address, action, target, detail, result)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    integer(row.at),
                    row.by,
                    row.who,
                    row.address,
                    row.action,
                    row.target,
                    row.detail,
                    row.result
                ])?;
            let id = change.last_insert_rowid();
            change.prepare_cached("DELETE FROM activity WHERE id <= ?1")?.execute([id - kept])?;
            change.commit()?;
            Ok(ActivityRow { id: u64::try_from(id).unwrap_or(0), ..row })
        })
        .await
}

/// Entries, newest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(database: &Database, which: Which) -> Result<Vec<ActivityRow>, DatabaseError> {
    database
        .read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM activity
                 WHERE id < ?1 AND (?2 IS NULL OR target = ?2) AND (?3 IS NULL OR who = ?3)
                     AND (?4 IS NULL OR action = ?4) AND (?5 IS NULL OR result = ?5)
                 ORDER BY id DESC LIMIT ?6",
            )?;
            let before = which.before.map_or(i64::MAX, integer);
            let values = params![before, which.target, which.who, which.action, which.result, which.limit];
            let rows = statement.query_map(values, |row| {
                Ok(ActivityRow {
                    id: number(row, "id")?,
                    at: number(row, "at")?,
                    by: row.get("by")?,
                    who: row.get("who")?,
                    address: row.get("address")?,
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
    use super::*;

    fn entry(target: &str) -> ActivityRow {
        ActivityRow {
            by: "local".into(),
            action: "stop".into(),
            target: Some(target.into()),
            result: "ok".into(),
            ..ActivityRow::default()
        }
    }

    #[tokio::test]
    async fn entries_are_listed_newest_first_as_asked() {
        let database = Database::in_memory().unwrap();
        for target in ["a", "b", "a"] {
            add(&database, entry(target)).await.unwrap();
        }
        let list = |which| list(&database, which);
        let ids = |rows: Vec<ActivityRow>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        let all = Which { limit: 10, ..Which::default() };
        assert_eq!(ids(list(all.clone()).await.unwrap()), [3, 2, 1]);
        assert_eq!(ids(list(Which { limit: 1, ..all.clone() }).await.unwrap()), [3]);
        assert_eq!(ids(list(Which { before: Some(3), ..all.clone() }).await.unwrap()), [2, 1]);
        assert_eq!(ids(list(Which { target: Some("a".into()), ..all.clone() }).await.unwrap()), [3, 1]);
        assert_eq!(ids(list(Which { result: Some("timeout".into()), ..all }).await.unwrap()), [0; 0]);
    }

    #[tokio::test]
    async fn the_oldest_make_room_and_no_id_comes_twice() {
        let database = Database::in_memory().unwrap();
        for _ in 0..5 {
            add_keeping(&database, entry("a"), 2).await.unwrap();
        }
        let rows = list(&database, Which { limit: 10, ..Which::default() }).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [5, 4]);
        database.run_blocking(|c| c.execute("DELETE FROM activity", [])).unwrap();
        assert_eq!(add(&database, entry("a")).await.unwrap().id, 6);
    }
}
