//! What the gateway asks this node to keep: its records as rows of the database.

use miner_ctrl_dashboard::NodeError;
use miner_ctrl_dashboard::records::{
    AccessRecord, Activity, ActivityQuery, By, Records, Scope, SessionRecord, TokenRecord,
};

use crate::handle::{NodeHandle, chain};
use crate::store::access::{self, AccessRows, SessionRow, TokenRow};
use crate::store::activity::{self, ActivityRow, Which};
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
        let id = activity::add(self.database(), row).await.map_err(|error| failed(&error))?.id;
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
