//! Who else may change what decides here, and whether this user may.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::data_dir::{Places, user};

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

/// A directory that this user cannot write to, though a node has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedToUs {
    path: PathBuf,
    why: Errno,
    is_ours: bool,
}

impl ClosedToUs {
    /// Looks at a directory; where it is missing, at the one above in which it would be made. None when it is open to us.
    #[must_use]
    pub fn find(path: &Path) -> Option<Self> {
        Self::find_by(path, |path| may(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK))
    }

    /// The same by another judge: to root all is open, in tests too.
    fn find_by(path: &Path, may: impl Fn(&Path) -> Result<(), Errno>) -> Option<Self> {
        path.ancestors()
            .find_map(|path| match may(path) {
                Err(Errno::NOENT) => None,
                judged => Some((path, judged.err())),
            })
            .and_then(|(path, why)| {
                let us = rustix::process::geteuid().as_raw();
                let is_ours = fs::metadata(path).is_ok_and(|found| found.uid() == us);
                Some(Self { path: path.to_owned(), why: why?, is_ours })
            })
    }

    /// What is closed, in words.
    #[must_use]
    pub fn found(&self) -> String {
        format!("this user cannot write to {}: {}", self.path.display(), std::io::Error::from(self.why))
    }

    /// What opens it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let path = self.path.display();
        if self.why == Errno::ROFS {
            format!("mount the file system of {path} so that it can be written to, or choose another --home")
        } else if self.is_ours {
            format!("chmod u+rwx {path}")
        } else {
            let us = user(rustix::process::geteuid().as_raw());
            format!("choose another --home, or let {us} write to {path} (`chown` or `chmod`)")
        }
    }
}

/// Whether this user may do that there, by whatever the system goes by.
pub(super) fn may(path: &Path, access: Access) -> Result<(), Errno> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    // access(2) asks for the real user, and its younger sister for the effective one: containers of before it refuse that.
    let is_one = getuid() == geteuid() && getgid() == getegid();
    rustix::fs::accessat(CWD, path, access, if is_one { AtFlags::empty() } else { AtFlags::EACCESS })
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

    #[test]
    fn what_is_closed_is_found_where_it_is_or_would_be_made() {
        let home = tempfile::tempdir().unwrap();
        let closed =
            |why: Errno| move |path: &Path| if fs::metadata(path).is_err() { Err(Errno::NOENT) } else { Err(why) };
        assert_eq!(ClosedToUs::find(&home.path().join("a/b")), None);
        for path in [home.path().to_owned(), home.path().join("a/b")] {
            let found = ClosedToUs::find_by(&path, closed(Errno::ACCESS)).unwrap();
            assert!(found.found().contains(&home.path().display().to_string()), "{}", found.found());
            assert_eq!(found.remedy(), format!("chmod u+rwx {}", home.path().display()));
        }
        let read_only = ClosedToUs::find_by(home.path(), closed(Errno::ROFS)).unwrap();
        assert!(read_only.remedy().starts_with("mount "), "{}", read_only.remedy());
        let anothers = ClosedToUs { is_ours: false, ..read_only };
        let anothers = ClosedToUs { why: Errno::ACCESS, ..anothers };
        assert!(anothers.remedy().contains("chown"), "{}", anothers.remedy());
    }
}
