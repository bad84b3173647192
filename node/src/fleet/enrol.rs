//! Many peers registered at once, where no node runs: nobody is asked, so only for keys that this program made itself.

use super::handle::FleetError;
use super::registry::NewPeer;
use super::rows;
use crate::store::{Database, peers};

/// Registers all of them, or none. Keys that are registered already stay as they are.
///
/// # Errors
/// [`FleetError`]; then nothing was changed.
pub async fn enrol(database: &Database, new: impl IntoIterator<Item = NewPeer>) -> Result<(), FleetError> {
    let mut registry = rows::load(database)?;
    let mut added = Vec::new();
    for new in new {
        if registry.peer(&new.key).is_none() {
            let peer = registry.admit(new)?;
            added.push(rows::to_row(&peer));
            registry.put(peer);
        }
    }
    Ok(peers::put_all(database, added).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::registry::tests::new_peer;

    #[tokio::test]
    async fn all_are_registered_and_the_second_time_nothing_changes() {
        let database = Database::in_memory().unwrap();
        for _ in 0..2 {
            enrol(&database, (1..=50).map(|number| new_peer(number, "rig"))).await.unwrap();
            assert_eq!(rows::load(&database).unwrap().len(), 50);
        }
    }

    #[tokio::test]
    async fn one_that_cannot_be_registered_keeps_out_all() {
        let database = Database::in_memory().unwrap();
        let mut odd = new_peer(2, "rig");
        odd.addresses = vec![String::new()];
        assert!(enrol(&database, [new_peer(1, "rig"), odd]).await.is_err());
        assert!(rows::load(&database).unwrap().is_empty());
    }
}
