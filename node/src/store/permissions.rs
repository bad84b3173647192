//! Who else may change what decides here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::data_dir::Places;

/// What other users of this machine may change, though it decides what this node does and lets others do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenToOthers {
    files: Vec<PathBuf>,
    /// The profiles, of which there may be hundreds: one for all.
    profiles: Option<PathBuf>,
}

impl OpenToOthers {
    /// Looks at the directories, the settings, the policy, the node's record and the profiles; the key and the database
    /// are not even read when others may reach them. None when nothing is open.
    #[must_use]
    pub fn find(places: &Places) -> Option<Self> {
        let files = [
            places.config_dir.clone(),
            places.data_dir.clone(),
            places.config_file(),
            places.node_file(),
            places.policy_file(),
        ];
        let files: Vec<_> = files.into_iter().filter(|path| is_open(path)).collect();
        let profiles = places.profiles_dir();
        let one_is = || fs::read_dir(&profiles).into_iter().flatten().flatten().any(|entry| is_open(&entry.path()));
        let profiles = (is_open(&profiles) || one_is()).then_some(profiles);
        (!files.is_empty() || profiles.is_some()).then_some(Self { files, profiles })
    }

    /// What others may change, in words.
    #[must_use]
    pub fn found(&self) -> String {
        let all: Vec<_> = self.files.iter().chain(&self.profiles).map(|path| path.display().to_string()).collect();
        format!("other users of this machine may change {}", all.join(", "))
    }

    /// The command that ends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let files: String = self.files.iter().map(|path| format!(" {}", path.display())).collect();
        let files = (!files.is_empty()).then(|| format!("chmod go-w{files}"));
        // Apart: with -R, a link to a file elsewhere would not be followed.
        let profiles = self.profiles.as_ref().map(|path| format!("chmod -R go-w {}", path.display()));
        files.into_iter().chain(profiles).collect::<Vec<_>>().join(" && ")
    }
}

/// Whether its group or others may write to what is there, or behind a link that is.
fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.mode() & 0o022 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::atomic;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_may_change_is_found_with_the_command_that_ends_it() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::resolve(Some(home.path()), |_| None).unwrap();
        places.make_directories().unwrap();
        atomic::make_directory(&places.profiles_dir()).unwrap();
        let profile = places.profiles_dir().join("monero.json");
        for path in [&places.policy_file(), &places.config_file(), &places.node_file(), &profile] {
            atomic::write(path, b"{}").unwrap();
        }
        assert_eq!(OpenToOthers::find(&places), None);
        let profiles = places.profiles_dir().display().to_string();
        for (path, open, closed, named) in [
            (&places.policy_file(), 0o620, 0o600, None),
            (&places.config_file(), 0o602, 0o644, None),
            (&places.node_file(), 0o660, 0o640, None),
            (&places.config_dir, 0o770, 0o750, None),
            (&places.data_dir, 0o707, 0o700, None),
            (&profile, 0o660, 0o600, Some(format!("-R go-w {profiles}"))),
            (&places.profiles_dir(), 0o770, 0o700, Some(format!("-R go-w {profiles}"))),
        ] {
            let mode = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            mode(open);
            let found = OpenToOthers::find(&places).unwrap();
            let named = named.unwrap_or_else(|| format!("go-w {}", path.display()));
            assert_eq!(found.remedy(), format!("chmod {named}"));
            mode(closed);
            assert_eq!(OpenToOthers::find(&places), None, "{}", path.display());
        }
        for path in [&places.policy_file(), &places.config_file(), &profile] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }
        let (policy, config) = (places.policy_file(), places.config_file());
        let both = format!("chmod go-w {} {} && chmod -R go-w {profiles}", config.display(), policy.display());
        assert_eq!(OpenToOthers::find(&places).unwrap().remedy(), both);
    }
}
