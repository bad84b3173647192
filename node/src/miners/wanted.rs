//! What shall run on this rig, remembered over restarts of node and machine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{MinerName, Profile, ProfileDraft};

use super::json;
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
    /// Those that cannot be taken, kept for whoever mends them, stops them or starts another in their place.
    refused: BTreeMap<MinerName, Refused>,
}

/// What was wanted and is not taken by this version.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) draft: ProfileDraft,
    pub(super) why: Invalid,
}

impl Wanted {
    /// Reads the file; nothing is wanted when there is none.
    pub(super) fn load(miners: &Path) -> Result<Self, MinersError> {
        let path = miners.join(FILE);
        let drafts: BTreeMap<MinerName, ProfileDraft> = match std::fs::read(&path) {
            Ok(bytes) => {
                let read = serde_json::from_slice(&bytes).map_err(|error| error.to_string()).and_then(json::shaped);
                read.map_err(|why| MinersError::Damaged { path: path.clone(), why })?
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
                    refused.insert(name, Refused { draft, why: error });
                }
            }
        }
        Ok(Self { path, profiles, refused })
    }

    pub(super) const fn profiles(&self) -> &BTreeMap<MinerName, Profile> {
        &self.profiles
    }

    /// Those that cannot be taken; none of them runs.
    pub(super) const fn refused(&self) -> &BTreeMap<MinerName, Refused> {
        &self.refused
    }

    /// Remembers a miner.
    pub(super) fn insert(&mut self, name: &MinerName, profile: &Profile) -> Result<(), WriteError> {
        if self.profiles.get(name) == Some(profile) {
            return Ok(());
        }
        let (mut profiles, mut refused) = (self.profiles.clone(), self.refused.clone());
        profiles.insert(name.clone(), profile.clone());
        // One that can be taken stands in its place.
        refused.remove(name);
        self.replace(profiles, refused)
    }

    /// Forgets a miner, also one whose profile cannot be taken.
    pub(super) fn remove(&mut self, name: &MinerName) -> Result<(), WriteError> {
        let (mut profiles, mut refused) = (self.profiles.clone(), self.refused.clone());
        if profiles.remove(name).is_none() && refused.remove(name).is_none() {
            return Ok(());
        }
        self.replace(profiles, refused)
    }

    /// On the disk first: what could not be written is not believed, so that trying again tries to write again.
    fn replace(
        &mut self,
        profiles: BTreeMap<MinerName, Profile>,
        refused: BTreeMap<MinerName, Refused>,
    ) -> Result<(), WriteError> {
        let kept = refused.iter().map(|(name, refused)| (name, &refused.draft));
        let drafts: BTreeMap<&MinerName, &ProfileDraft> =
            kept.chain(profiles.iter().map(|(name, profile)| (name, &**profile))).collect();
        let bytes = serde_json::to_vec_pretty(&drafts)
            .map_err(|error| WriteError { path: self.path.clone(), source: error.into() })?;
        atomic::write(&self.path, &bytes)?;
        (self.profiles, self.refused) = (profiles, refused);
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
        assert!(wanted.profiles().is_empty() && wanted.refused().contains_key(&"xmrig-1".parse().unwrap()));
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
