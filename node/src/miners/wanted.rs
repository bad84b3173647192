//! What shall run on this rig, remembered over restarts of node and machine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use miner_ctrl_protocol::{MinerName, Profile, ProfileDraft};

use super::supervisor::MinersError;
use crate::store::atomic::{self, WriteError};

/// Its file in the miners' directory; no miner may have this name.
pub(super) const FILE: &str = "wanted.json";

/// The wanted miners and their profiles. Written when an operator starts or stops one, before that is answered: what
/// was stopped must not come back after a power cut.
#[derive(Debug)]
pub(super) struct Wanted {
    path: PathBuf,
    profiles: BTreeMap<MinerName, Profile>,
    /// Those that cannot be taken, kept for whoever mends them.
    refused: BTreeMap<MinerName, ProfileDraft>,
}

impl Wanted {
    /// Reads the file; nothing is wanted when there is none.
    pub(super) fn load(miners: &Path) -> Result<Self, MinersError> {
        let path = miners.join(FILE);
        let drafts: BTreeMap<MinerName, ProfileDraft> = match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| MinersError::Damaged { path: path.clone(), source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(MinersError::Read { path, source }),
        };
        let (mut profiles, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for (name, draft) in drafts {
            match draft.clone().check() {
                Ok(profile) => drop(profiles.insert(name, profile)),
                // Checks may have become stricter with a new version; the others shall run nevertheless.
                Err(error) => {
                    tracing::error!(miner = %name, %error, "a wanted miner's profile cannot be taken");
                    refused.insert(name, draft);
                }
            }
        }
        Ok(Self { path, profiles, refused })
    }

    pub(super) const fn profiles(&self) -> &BTreeMap<MinerName, Profile> {
        &self.profiles
    }

    /// Whether a miner of this name has a profile that is kept for whoever mends it.
    pub(super) fn is_refused(&self, name: &MinerName) -> bool {
        self.refused.contains_key(name)
    }

    /// Remembers a miner.
    pub(super) fn insert(&mut self, name: &MinerName, profile: &Profile) -> Result<(), WriteError> {
        if self.profiles.get(name) == Some(profile) {
            return Ok(());
        }
        let mut profiles = self.profiles.clone();
        profiles.insert(name.clone(), profile.clone());
        self.replace(profiles)
    }

    /// Forgets a miner.
    pub(super) fn remove(&mut self, name: &MinerName) -> Result<(), WriteError> {
        let mut profiles = self.profiles.clone();
        if profiles.remove(name).is_none() {
            return Ok(());
        }
        self.replace(profiles)
    }

    /// On the disk first: what could not be written is not believed, so that trying again tries to write again.
    fn replace(&mut self, profiles: BTreeMap<MinerName, Profile>) -> Result<(), WriteError> {
        // One of the same name that can be taken comes later, and stands in its place.
        let drafts: BTreeMap<&MinerName, &ProfileDraft> =
            self.refused.iter().chain(profiles.iter().map(|(name, profile)| (name, &**profile))).collect();
        let bytes = serde_json::to_vec_pretty(&drafts)
            .map_err(|error| WriteError { path: self.path.clone(), source: error.into() })?;
        atomic::write(&self.path, &bytes)?;
        self.refused.retain(|name, _| !profiles.contains_key(name));
        self.profiles = profiles;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_profile_that_cannot_be_taken_is_kept_for_whoever_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        let pools = json!([{"url": "a.example:1"}]);
        let draft = |name: &str| json!({"name": name, "program": "xmrig", "wallet": "wallet", "pools": pools});
        let mut bad = draft("p");
        bad["wallet"] = json!("");
        let file = directory.path().join(FILE);
        atomic::write(&file, &serde_json::to_vec(&json!({"xmrig-1": bad})).unwrap()).unwrap();
        let mut wanted = Wanted::load(directory.path()).unwrap();
        assert!(wanted.profiles().is_empty() && wanted.is_refused(&"xmrig-1".parse().unwrap()));
        let profile = serde_json::from_value::<ProfileDraft>(draft("q")).unwrap().check().unwrap();
        let wallet = |name: &str| {
            let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            written[name]["wallet"].as_str().map(str::to_owned)
        };
        wanted.insert(&"xmrig-2".parse().unwrap(), &profile).unwrap();
        wanted.remove(&"xmrig-2".parse().unwrap()).unwrap();
        assert_eq!((wallet("xmrig-1").as_deref(), wallet("xmrig-2")), (Some(""), None));
        // Another start under its name takes its place, and a stop of that leaves nothing of it.
        wanted.insert(&"xmrig-1".parse().unwrap(), &profile).unwrap();
        wanted.remove(&"xmrig-1".parse().unwrap()).unwrap();
        assert_eq!(wallet("xmrig-1"), None);
    }
}
