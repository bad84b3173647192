//! Who may come in through the dashboard, as plain rows. What they mean is the gateway's.

use rusqlite::params;

use super::database::{Database, DatabaseError};
use super::peers::{integer, number};

/// Everything about who may come in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessRows {
    /// The password's hash as a PHC string.
    pub password: Option<String>,
    /// Signed-in browsers.
    pub sessions: Vec<SessionRow>,
    /// Tokens.
    pub tokens: Vec<TokenRow>,
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Handle.
    pub id: String,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// Unix time, seconds.
    pub created_at: u64,
    /// Unix time, seconds.
    pub last_used: u64,
    /// What it calls itself.
    pub agent: String,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Handle.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// What it may do, as a word.
    pub scope: String,
    /// Unix time, seconds.
    pub created_at: u64,
    /// Unix time, seconds.
    pub last_used: Option<u64>,
}

/// All of it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn load(database: &Database) -> Result<AccessRows, DatabaseError> {
    database
        .read(|connection| {
            // One moment, not three.
            let moment = connection.transaction()?;
            let mut password = moment.prepare_cached("SELECT phc FROM password")?;
            let password = password.query_map([], |row| row.get(0))?.next().transpose()?;
            let mut sessions = moment.prepare_cached("SELECT * FROM sessions ORDER BY created_at, id")?;
            let sessions = sessions.query_map([], |row| {
                Ok(SessionRow {
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
                Ok(TokenRow {
                    id: row.get("id")?,
                    name: row.get("name")?,
                    hash: row.get("hash")?,
                    scope: row.get("scope")?,
                    created_at: number(row, "created_at")?,
                    last_used: row.get::<_, Option<i64>>("last_used")?.map(|at| u64::try_from(at).unwrap_or(0)),
                })
            })?;
            let tokens = tokens.collect::<rusqlite::Result<_>>()?;
            Ok(AccessRows { password, sessions, tokens })
        })
        .await
}

/// Replaces all of it. On the disk when it returns.
///
/// # Errors
/// [`DatabaseError`]; then nothing was changed.
pub async fn replace(database: &Database, rows: AccessRows) -> Result<(), DatabaseError> {
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
                        token.scope,
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
    use super::*;

    #[tokio::test]
    async fn what_was_stored_is_there_whole_and_what_was_before_is_gone() {
        let database = Database::in_memory().unwrap();
        assert_eq!(load(&database).await.unwrap(), AccessRows::default());
        let session = SessionRow { id: "a".into(), hash: [1; 32], created_at: 1, last_used: 2, agent: "b".into() };
        let token = TokenRow {
            id: "c".into(),
            name: "d".into(),
            hash: [2; 32],
            scope: "read".into(),
            created_at: 3,
            last_used: None,
        };
        let rows = AccessRows { password: Some("$x".into()), sessions: vec![session], tokens: vec![token] };
        replace(&database, rows.clone()).await.unwrap();
        assert_eq!(load(&database).await.unwrap(), rows);
        let twice = AccessRows { tokens: vec![rows.tokens[0].clone(), rows.tokens[0].clone()], ..rows.clone() };
        replace(&database, twice).await.unwrap_err();
        assert_eq!(load(&database).await.unwrap(), rows, "a change that fails changes nothing");
        replace(&database, AccessRows::default()).await.unwrap();
        assert_eq!(load(&database).await.unwrap(), AccessRows::default());
    }
}
