//! The profile files: one JSON file per profile, named after it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use miner_ctrl_dashboard::NodeError;
use miner_ctrl_protocol::profile::{Invalid, MAX_PROFILES, Pool};
use miner_ctrl_protocol::{Profile, ProfileDraft, ProfileName, Refusal};
use serde_json::Value;

use super::drivers::{checked, driver};
use super::instance::short;
use super::json;
use crate::causes::{chain, internal};
use crate::store::atomic::{self, WriteError};
use crate::store::file::{ReadError, read_text};

/// Largest profile file. The largest profile that passes its checks has some 20 KiB.
const MAX_FILE: u64 = 64 * 1024;

/// Why a profile was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum ProfilesError {
    /// The file is no profile. It is left as it is.
    #[error("{path} is not a profile: {why}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is one of this name, and it was not to be replaced.
    #[error("there is a profile `{0}` already: edit it, or remove it first")]
    Exists(ProfileName),
    /// The profile itself cannot be taken.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The file or folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file cannot be removed.
    #[error("cannot remove {path}")]
    Remove {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There are [`MAX_PROFILES`] already.
    #[error("there are {MAX_PROFILES} profiles already: remove one first")]
    TooMany,
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// For this node's own operator.
impl From<ProfilesError> for NodeError {
    fn from(error: ProfilesError) -> Self {
        match error {
            ProfilesError::Invalid(invalid) => Self::Invalid(invalid),
            ProfilesError::Damaged { .. } | ProfilesError::Exists(_) | ProfilesError::TooMany => {
                Self::Conflict(error.to_string())
            }
            ProfilesError::Read { .. } | ProfilesError::Remove { .. } | ProfilesError::Write(_) => {
                Self::Internal(chain(&error))
            }
        }
    }
}

/// For a peer, to whom this node's files are not named.
impl From<ProfilesError> for Refusal {
    fn from(error: ProfilesError) -> Self {
        match error {
            ProfilesError::Invalid(invalid) => invalid.into(),
            ProfilesError::Damaged { path, why } => {
                let name = path.file_name().unwrap_or_default().display();
                Self::Conflict { why: format!("its file {name} is not a profile: {why}") }
            }
            ProfilesError::Exists(_) | ProfilesError::TooMany => Self::Conflict { why: error.to_string() },
            ProfilesError::Read { .. } | ProfilesError::Remove { .. } | ProfilesError::Write(_) => internal(&error),
        }
    }
}

/// The profiles of this rig.
#[derive(Debug, Clone)]
pub struct ProfileStore {
    directory: PathBuf,
    /// Held over a look and what is written after it: of two at once the later one finds what the first wrote.
    writing: Arc<Mutex<()>>,
}

/// What a save has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// There was none of that name.
    Created,
    /// One of that name was another.
    Replaced,
    /// It was there as it is.
    Unchanged,
}

impl ProfileStore {
    /// The profiles in `profiles/` below the configuration directory; the folder is made by the first save.
    #[must_use]
    pub fn new(config_dir: &Path) -> Self {
        Self { directory: config_dir.join("profiles"), writing: Arc::default() }
    }

    /// All profiles, by name.
    ///
    /// # Errors
    /// [`ProfilesError`]; a damaged file is named, and nothing is changed.
    pub fn list(&self) -> Result<Vec<Profile>, ProfilesError> {
        let mut profiles = Vec::new();
        for name in self.names()? {
            // It may have been removed meanwhile.
            profiles.extend(self.load(&name)?);
        }
        Ok(profiles)
    }

    /// Those that can be read, by name: somebody far away can do nothing about a damaged file, and the rest is of use.
    /// `doctor` tells what is wrong with it; whoever asks from afar does not fill the log with that.
    ///
    /// # Errors
    /// [`ProfilesError::Read`] of the folder.
    pub fn readable(&self) -> Result<Vec<Profile>, ProfilesError> {
        let found = self.names()?.into_iter().filter_map(|name| {
            let loaded = self.load(&name);
            loaded.inspect_err(|error| tracing::debug!(%error, "a profile is left out")).ok().flatten()
        });
        Ok(found.collect())
    }

    fn names(&self) -> Result<Vec<ProfileName>, ProfilesError> {
        let failed = |source| ProfilesError::Read { path: self.directory.clone(), source };
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            // Other files, hidden and temporary ones among them, are not ours to judge.
            let name = file.to_str().and_then(|file| file.strip_suffix(".json")?.parse().ok());
            names.extend(name);
        }
        names.sort();
        Ok(names)
    }

    /// One profile; nothing when there is none.
    ///
    /// # Errors
    /// [`ProfilesError`].
    pub fn load(&self, name: &ProfileName) -> Result<Option<Profile>, ProfilesError> {
        let path = self.path(name);
        let damaged = |why: String| ProfilesError::Damaged { path: path.clone(), why: short(why) };
        let text = match read_text(&path, MAX_FILE) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            Err(ReadError::Read { path, source }) => return Err(ProfilesError::Read { path, source }),
            Err(ReadError::TooLarge { .. }) => return Err(damaged(format!("it has more than {MAX_FILE} bytes"))),
            Err(other @ ReadError::NotPrivate { .. }) => return Err(damaged(other.to_string())),
        };
        let draft = parse(&text).map_err(damaged)?;
        if draft.name != *name {
            return Err(damaged(format!("it is named `{}` inside", draft.name)));
        }
        let profile = checked(draft).map_err(|invalid| damaged(invalid.to_string()))?;
        Ok(Some(profile))
    }

    /// Stores a profile that its program can run; with `replace` false, not in place of one of that name.
    ///
    /// # Errors
    /// [`ProfilesError`].
    pub fn save(&self, profile: &Profile, replace: bool) -> Result<Saved, ProfilesError> {
        driver(profile.program).check(profile)?;
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(&profile.name);
        let there = path.symlink_metadata().is_ok();
        if there && !replace {
            return Err(ProfilesError::Exists(profile.name.clone()));
        }
        // A damaged file of this name is replaced: the operator has just said what shall stand in it.
        if matches!(self.load(&profile.name), Ok(Some(stored)) if stored == *profile) {
            return Ok(Saved::Unchanged);
        }
        if !there && self.names()?.len() >= MAX_PROFILES {
            return Err(ProfilesError::TooMany);
        }
        let draft: &ProfileDraft = profile;
        let mut text = serde_json::to_string_pretty(draft)
            .map_err(|error| ProfilesError::Damaged { path: path.clone(), why: error.to_string() })?;
        text.push('\n');
        atomic::make_directory(&self.directory)?;
        atomic::write(&path, text.as_bytes())?;
        Ok(if there { Saved::Replaced } else { Saved::Created })
    }

    /// Forgets a profile; returns whether it was there.
    ///
    /// # Errors
    /// [`ProfilesError::Remove`].
    pub fn remove(&self, name: &ProfileName) -> Result<bool, ProfilesError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(name);
        // What is said to be gone is gone after a power cut, too: there are passwords in it.
        let removed = std::fs::remove_file(&path).and_then(|()| File::open(&self.directory)?.sync_all());
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(ProfilesError::Remove { path, source }),
        }
    }

    fn path(&self, name: &ProfileName) -> PathBuf {
        // A name is no path: `ProfileName` takes no slash and no leading dot.
        self.directory.join(format!("{name}.json"))
    }
}

/// A draft from JSON as people write it. A key that a profile does not have is refused by its name.
///
/// # Errors
/// What is wrong, in words.
pub fn parse(text: &str) -> Result<ProfileDraft, String> {
    let value = json::read(text).map_err(|error| error.to_string())?;
    if let Some(object) = value.as_object() {
        if let Some(unknown) = object.keys().find(|key| !ProfileDraft::FIELDS.contains(&key.as_str())) {
            return Err(format!("it has no key `{unknown}`; there are {}", ProfileDraft::FIELDS.join(", ")));
        }
        for pool in object.get("pools").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
            if let Some(unknown) = pool.keys().find(|key| !Pool::FIELDS.contains(&key.as_str())) {
                return Err(format!("a pool has no key `{unknown}`; there are {}", Pool::FIELDS.join(", ")));
            }
        }
    }
    json::shaped(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn profile(name: &str) -> Profile {
        let draft = format!(
            r#"{{"name": "{name}", "program": "xmrig", "algorithm": "rx/0", "wallet": "w", "pools": [{{"url": "a.example:1"}}]}}"#
        );
        parse(&draft).unwrap().check().unwrap()
    }

    fn store() -> (tempfile::TempDir, ProfileStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = ProfileStore::new(directory.path());
        (directory, store)
    }

    #[test]
    fn a_profile_comes_back_as_it_was_saved_and_once() {
        let (_directory, store) = store();
        assert!(store.list().unwrap().is_empty());
        for (replace, name, saved) in
            [(false, "b", Saved::Created), (true, "b", Saved::Unchanged), (true, "a", Saved::Created)]
        {
            assert_eq!(store.save(&profile(name), replace).unwrap(), saved);
        }
        assert_eq!(store.list().unwrap(), [profile("a"), profile("b")]);
        assert_eq!(store.load(&"b".parse().unwrap()).unwrap(), Some(profile("b")));
        assert!(store.remove(&"b".parse().unwrap()).unwrap());
        assert!(!store.remove(&"b".parse().unwrap()).unwrap());
        assert_eq!(store.load(&"b".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn one_of_two_that_add_a_name_at_once_is_refused() {
        let (_directory, store) = store();
        let add = |wallet: &str| {
            let draft = ProfileDraft { wallet: wallet.to_owned(), ..profile("p").into_draft() };
            let (store, profile) = (store.clone(), draft.check().unwrap());
            std::thread::spawn(move || store.save(&profile, false).map(|_| profile))
        };
        // Without the turn both are told that theirs is stored.
        for _ in 0..50 {
            let adding = [add("one"), add("two")];
            let (added, refused): (Vec<_>, Vec<_>) =
                adding.into_iter().map(|thread| thread.join().unwrap()).partition(Result::is_ok);
            let kept = store.load(&"p".parse().unwrap()).unwrap();
            assert_eq!(added.into_iter().map(Result::unwrap).collect::<Vec<_>>(), Vec::from_iter(kept));
            assert!(matches!(&refused[..], [Err(ProfilesError::Exists(_))]));
            store.remove(&"p".parse().unwrap()).unwrap();
        }
    }

    #[test]
    fn one_more_than_there_may_be_is_told_as_that() {
        let (directory, store) = store();
        std::fs::create_dir(directory.path().join("profiles")).unwrap();
        for number in 0..MAX_PROFILES {
            std::fs::File::create(directory.path().join(format!("profiles/p{number}.json"))).unwrap();
        }
        let refused = || store.save(&profile("p"), false).unwrap_err();
        let why = "there are 256 profiles already: remove one first";
        assert!(matches!(NodeError::from(refused()), NodeError::Conflict(told) if told == why));
        assert!(matches!(Refusal::from(refused()), Refusal::Conflict { why: told } if told == why));
        // One that is there may be changed.
        assert_eq!(store.save(&profile("p0"), true).unwrap(), Saved::Replaced);
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let (directory, store) = store();
        store.save(&profile("good"), false).unwrap();
        let path = directory.path().join("profiles/bad.json");
        for content in [
            "{".to_owned(),
            "[]".to_owned(),
            r#"{"name": "bad", "program": "xmrig", "wallet": "w", "pools": [{"url": "a.example:1"}], "wallte": 1}"#
                .to_owned(),
            r#"{"name": "bad", "program": "xmrig", "wallet": "w", "pools": [{"url": "a.example:1", "pass": "x"}]}"#
                .to_owned(),
            r#"{"name": "other", "program": "xmrig", "wallet": "w", "pools": [{"url": "a.example:1"}]}"#.to_owned(),
            r#"{"name": "bad", "program": "xmrig", "wallet": "", "pools": [{"url": "a.example:1"}]}"#.to_owned(),
            " ".repeat(70_000),
        ] {
            std::fs::File::create(&path).unwrap().write_all(content.as_bytes()).unwrap();
            let error = store.list().unwrap_err().to_string();
            assert!(error.contains("bad.json"), "{error}");
            assert_eq!(store.readable().unwrap(), [profile("good")]);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        // What stands where a string belongs may be a password all the same.
        let text = r#"{"name": "bad", "program": "xmrig", "wallet": "w", "pools": [{"url": "a.example:1", "password": 48151623}]}"#;
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        let error = store.list().unwrap_err().to_string();
        assert!(error.ends_with("bad.json is not a profile: `pools[0].password`: a string is expected"), "{error}");
        // What is no file is not waited for.
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let error = store.list().unwrap_err().to_string();
        assert!(error.contains("bad.json"), "{error}");
        assert_eq!(store.readable().unwrap(), [profile("good")]);
    }

    #[test]
    fn an_algorithm_in_a_file_may_have_another_of_its_names() {
        let (directory, store) = store();
        store.save(&profile("p"), false).unwrap();
        let path = directory.path().join("profiles/p.json");
        let text = std::fs::read_to_string(&path).unwrap().replace("rx/0", "randomx");
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        assert_eq!(store.load(&"p".parse().unwrap()).unwrap(), Some(profile("p")));
    }

    #[test]
    fn an_unknown_key_is_refused_by_its_name() {
        assert!(parse(r#"{"wallte": 1}"#).unwrap_err().contains("`wallte`"));
        assert!(parse(r#"{"pools": [{"pass": 1}]}"#).unwrap_err().contains("`pass`"));
        assert!(parse(r#"{"wallet": "a", "wallet": "b"}"#).unwrap_err().contains("`wallet` stands twice"));
    }

    #[test]
    fn what_the_program_cannot_run_is_not_stored() {
        let (_directory, store) = store();
        let draft = ProfileDraft { algorithm: Some("rx/O".into()), ..profile("p").into_draft() };
        assert!(matches!(store.save(&draft.check().unwrap(), true), Err(ProfilesError::Invalid(_))));
        assert!(store.list().unwrap().is_empty());
    }

    #[test]
    fn other_files_in_the_folder_are_passed_over() {
        let (directory, store) = store();
        store.save(&profile("p"), false).unwrap();
        for other in [".p.json.1.2.tmp", "README", ".hidden.json"] {
            std::fs::File::create(directory.path().join("profiles").join(other)).unwrap();
        }
        assert_eq!(store.list().unwrap(), [profile("p")]);
    }
}
