//! Who may come in through the dashboard: the gateway's records, as rows. What they mean is the gateway's.

use miner_ctrl_dashboard::records::{AccessRecord, SessionRecord, TokenRecord};
use rusqlite::params;

use super::database::{Database, DatabaseError};
use super::peers::{integer, number, word};

/// All of it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn load(database: &Database) -> Result<AccessRecord, DatabaseError> {
    database
        .read(|connection| {
            // One moment, not three.
            let moment = connection.transaction()?;
            let mut password = moment.prepare_cached("SELECT phc FROM password")?;
            let password = password.query_map([], |row| row.get(0))?.next().transpose()?;
            let mut sessions = moment.prepare_cached("SELECT * FROM sessions ORDER BY created_at, id")?;
            let sessions = sessions.query_map([], |row| {
                Ok(SessionRecord {
                    id: row.get("id")?,
                    hash: row.get("hash")?,
                    created_at: number(row, "created_at")?,
                    last_used: number(row, "last_used")?,
                    agent: row.get("agent")?,
                })
            })?;
            let sessions = sessions.collect::<rusqlite::Result<_>>()?;
            let mut tokens = moment.prepare_cached("SELECT * FROM tokens ORDER BY created_at, id")?;
            let tokens = tokens.query_map([], |row| {
                Ok(TokenRecord {
                    id: row.get("id")?,
                    name: row.get("name")?,
                    hash: row.get("hash")?,
                    scope: word(row, "scope", "the scope of a token")?,
                    created_at: number(row, "created_at")?,
                    last_used: row.get::<_, Option<i64>>("last_used")?.map(|at| u64::try_from(at).unwrap_or(0)),
                })
            })?;
            let tokens = tokens.collect::<rusqlite::Result<_>>()?;
            Ok(AccessRecord { password, sessions, tokens })
        })
        .await
}

/// Replaces all of it. On the disk when it returns.
///
/// # Errors
/// [`DatabaseError`]; then nothing was changed.
pub async fn replace(database: &Database, rows: AccessRecord) -> Result<(), DatabaseError> {
    database
        .run(move |connection| {
            let change = connection.transaction()?;
            change.execute_batch("DELETE FROM password; DELETE FROM sessions; DELETE FROM tokens")?;
            if let Some(phc) = &rows.password {
                change.execute("INSERT INTO password (one, phc) VALUES (1, ?1)", [phc])?;
            }
            for session in &rows.sessions {
                change
                    .prepare_cached(
                        "INSERT INTO sessions (id, hash, created_at, last_used, agent) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![
                        session.id,
                        session.hash,
                        integer(session.created_at),
                        integer(session.last_used),
                        session.agent
                    ])?;
            }
            for token in &rows.tokens {
                change
                    .prepare_cached(
                        "INSERT INTO tokens (id, name, hash, scope, created_at, last_used)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![
                        token.id,
                        token.name,
                        token.hash,
                        token.scope.as_str(),
                        integer(token.created_at),
                        token.last_used.map(integer)
                    ])?;
            }
            change.commit()
        })
        .await
}

#[cfg(test)]
mod tests {
    use miner_ctrl_dashboard::records::Scope;

    use super::*;

    #[tokio::test]
    async fn what_was_stored_is_there_whole_and_what_was_before_is_gone() {
        let database = Database::in_memory().unwrap();
        assert_eq!(load(&database).await.unwrap(), AccessRecord::default());
        let session = SessionRecord { id: "a".into(), hash: [1; 32], created_at: 1, last_used: 2, agent: "b".into() };
        let token = TokenRecord {
            id: "c".into(),
            name: "d".into(),
            hash: [2; 32],
            scope: Scope::Read,
            created_at: 3,
            last_used: None,
        };
        let rows = AccessRecord { password: Some("$x".into()), sessions: vec![session], tokens: vec![token] };
        replace(&database, rows.clone()).await.unwrap();
        assert_eq!(load(&database).await.unwrap(), rows);
        let twice = AccessRecord { tokens: vec![rows.tokens[0].clone(), rows.tokens[0].clone()], ..rows.clone() };
        replace(&database, twice).await.unwrap_err();
        assert_eq!(load(&database).await.unwrap(), rows, "a change that fails changes nothing");
        let odd = "UPDATE tokens SET scope = 'all'";
        database.run_blocking(|connection| connection.execute(odd, [])).unwrap();
        let damaged = load(&database).await.unwrap_err().to_string();
        assert!(damaged.contains("damaged (the scope of a token is not one of read, control, admin)"), "{damaged}");
        replace(&database, AccessRecord::default()).await.unwrap();
        assert_eq!(load(&database).await.unwrap(), AccessRecord::default());
    }
}
