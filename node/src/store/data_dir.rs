//! Where things lie, and the lock that keeps one identity to one process.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, FlockOperation};
use rustix::io::Errno;
use tokio::time::Instant;

use super::atomic::{self, WriteError};
use super::permissions::{ClosedToUs, may};

/// The directory's name under the configuration and the data home.
const APPLICATION: &str = "lethean-desktop";

/// Longest path of a Unix socket: `sun_path` has 108 bytes on Linux and 104 on the BSDs, one of them the final zero.
const MAX_SOCKET_PATH: usize = 103;

/// Where a node keeps its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What an operator writes: settings, policy, profiles.
    pub config_dir: PathBuf,
    /// What the node writes: key, database, lock, socket.
    pub data_dir: PathBuf,
}

/// Why there is no safe place.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// A relative home directory could not be completed.
    #[error("cannot find the current directory, which `{}` is relative to", path.display())]
    CurrentDirectory {
        /// The home as it was given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another user's home.
    #[error("this home belongs to {}, as `{}` does, and this is {}", user(*owner), path.display(), user(*us))]
    AnothersHome {
        /// What shows it.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Something else in a directory's place.
    #[error("`{}` is not a directory", path.display())]
    NotDirectory {
        /// Where the directory should be.
        path: PathBuf,
    },
    /// A private directory of another user.
    #[error("`{}` belongs to {}, this is {}", path.display(), user(*owner), user(*us))]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// A private directory that others may write to.
    #[error("`{}` is open to others (mode {mode:o}): chmod 700 it", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// No home directory is known.
    #[error("no home directory: set HOME or MINER_CTRL_HOME to an absolute path, or give --home")]
    NoHome,
    /// A directory could not be looked at.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory could not be made.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl PlacesError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::AnothersHome { .. } => "run as that user, or choose another --home".to_owned(),
            Self::CurrentDirectory { .. } | Self::NoHome => "set HOME, or name a directory with --home".to_owned(),
            Self::NotDirectory { path } => format!("choose another --home, or move `{}` away", path.display()),
            // In `/tmp` anybody can have made it.
            Self::NotOurs { .. } => {
                "run as the user whose node that is; where another user made it, choose another --home".to_owned()
            }
            Self::Open { path, .. } => format!("chmod 700 {}", path.display()),
            Self::Read { .. } => "give this user access to it".to_owned(),
            Self::Write(WriteError { path, .. }) => ClosedToUs::find(path)
                .map_or_else(|| "`miner-ctrl doctor` looks for what is wrong".to_owned(), |closed| closed.remedy()),
        }
    }
}

/// A user as people know it.
pub(super) fn user(id: u32) -> String {
    if id == 0 { "user 0 (root)".to_owned() } else { format!("user {id}") }
}

impl Places {
    /// From `--home`, else `MINER_CTRL_HOME`, else the XDG directories, else `HOME`.
    ///
    /// A home that was given stands for the home directory, whatever XDG says: two nodes on one machine need no more
    /// than two homes. As the XDG specification asks, a relative XDG path is ignored.
    ///
    /// # Errors
    /// [`PlacesError::NoHome`] or [`PlacesError::CurrentDirectory`].
    pub fn resolve(home: Option<&Path>, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, PlacesError> {
        let variable = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(home) = home.map(Path::to_owned).or_else(|| variable("MINER_CTRL_HOME")) {
            let home = std::path::absolute(&home)
                .map_err(|source| PlacesError::CurrentDirectory { path: home.clone(), source })?;
            return Ok(Self::under(&home.join(".config"), &home.join(".local/share")));
        }
        let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let place = |name: &str, below: &str| {
            absolute(name).or_else(|| home.as_ref().map(|home| home.join(below))).ok_or(PlacesError::NoHome)
        };
        Ok(Self::under(&place("XDG_CONFIG_HOME", ".config")?, &place("XDG_DATA_HOME", ".local/share")?))
    }

    fn under(config_home: &Path, data_home: &Path) -> Self {
        Self { config_dir: config_home.join(APPLICATION), data_dir: data_home.join(APPLICATION) }
    }

    /// What the node tells of itself: id, name, role, public key.
    #[must_use]
    pub fn node_file(&self) -> PathBuf {
        self.config_dir.join("node.json")
    }

    /// The operator's settings.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.toml")
    }

    /// What this rig allows.
    #[must_use]
    pub fn policy_file(&self) -> PathBuf {
        self.config_dir.join("policy.json")
    }

    /// Profiles, one file each.
    #[must_use]
    pub fn profiles_dir(&self) -> PathBuf {
        self.config_dir.join("profiles")
    }

    /// Where everything private lies.
    #[must_use]
    pub fn node_dir(&self) -> PathBuf {
        self.data_dir.join("node")
    }

    /// The node's one secret.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.node_dir().join("private.key")
    }

    /// The dashboard's own certificate and its key.
    #[must_use]
    pub fn certificate_file(&self) -> PathBuf {
        self.node_dir().join("dashboard.pem")
    }

    /// Peers and history.
    #[must_use]
    pub fn database_file(&self) -> PathBuf {
        self.node_dir().join("miner-ctrl.db")
    }

    /// Held by the process that is this node.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.node_dir().join("lock")
    }

    /// The local socket: beside the key, or, where that path is too long for a socket, under `/tmp`.
    ///
    /// It depends on nothing but the data directory, and not on the links that lead there, so that a command line finds
    /// the node whatever environment the service manager gave it; that rules out `XDG_RUNTIME_DIR`, which a service
    /// often lacks. Before using it see [`Places::make_socket_dir`] and [`Places::check_socket_dir`].
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let directory = self.real_node_dir();
        let beside = directory.join("control.sock");
        if beside.as_os_str().len() <= MAX_SOCKET_PATH {
            return beside;
        }
        let name = format!("{:016x}.sock", fnv1a(directory.as_os_str().as_bytes()));
        Path::new("/tmp").join(format!("miner-ctrl-{}", rustix::process::geteuid().as_raw())).join(name)
    }

    /// Makes the configuration and the data directory, 0700, where they are missing.
    ///
    /// # Errors
    /// [`PlacesError`]; also when the node's directory is there and others may write to it.
    pub fn make_directories(&self) -> Result<(), PlacesError> {
        atomic::make_directory(&self.config_dir)?;
        atomic::make_directory(&self.node_dir())?;
        self.check_node_dir()
    }

    /// Checks that nobody else can have changed what lies beside the key.
    ///
    /// # Errors
    /// [`PlacesError`]; also when there is no such directory.
    pub fn check_node_dir(&self) -> Result<(), PlacesError> {
        check_private(&self.real_node_dir(), 0o022)
    }

    /// Checks that this is no other user's home, of which one file after the other could not be used. A missing home is
    /// fine.
    ///
    /// # Errors
    /// [`PlacesError::AnothersHome`]
    pub fn check_owner(&self) -> Result<(), PlacesError> {
        let us = rustix::process::geteuid().as_raw();
        // The private one must be ours; of the others, which may be laid out for us, it is enough that we may look in.
        let all = [(self.real_node_dir(), true), (self.data_dir.clone(), false), (self.config_dir.clone(), false)];
        for (path, is_private) in all {
            let Some((path, owner, is_it)) = owner_of(&path) else { continue };
            let is_closed = || may(&path, Access::READ_OK | Access::EXEC_OK).is_err();
            if owner != us && (is_it && is_private || is_closed()) {
                return Err(PlacesError::AnothersHome { path, owner, us });
            }
        }
        Ok(())
    }

    /// Checks that nothing else lies where this home's directories are or would be made.
    ///
    /// # Errors
    /// [`PlacesError::NotDirectory`].
    pub fn check_directories(&self) -> Result<(), PlacesError> {
        for path in [self.config_dir.clone(), self.node_dir()] {
            let found = path.ancestors().find_map(|above| Some((above, fs::metadata(above).ok()?)));
            if let Some((in_the_way, _)) = found.filter(|(_, found)| !found.is_dir()) {
                return Err(PlacesError::NotDirectory { path: in_the_way.to_owned() });
            }
        }
        Ok(())
    }

    /// Makes the socket's directory where it is missing, and checks that it is ours alone. For the one who listens.
    ///
    /// # Errors
    /// [`PlacesError`].
    pub fn make_socket_dir(&self) -> Result<(), PlacesError> {
        let directory = self.socket_dir();
        if directory == self.real_node_dir() {
            return self.make_directories();
        }
        // Not recursive and not `make_directory`: in `/tmp` somebody else may have been first, and that must show.
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(WriteError { path: directory, source }.into())
            }
            _ => check_private(&directory, 0o077),
        }
    }

    /// Checks that nobody else could have put a socket there. For the one who connects; a missing directory is fine. Root may
    /// ask the node of whose data directory it is, and takes that user's word; in `/tmp` anybody could have been first.
    ///
    /// # Errors
    /// [`PlacesError::NotOurs`] or [`PlacesError::Read`].
    pub fn check_socket_dir(&self) -> Result<(), PlacesError> {
        let directory = self.socket_dir();
        let ours = directory == self.real_node_dir();
        let forbidden = if ours { 0o022 } else { 0o077 };
        match check_private(&directory, forbidden) {
            Err(PlacesError::NotOurs { .. })
                if rustix::process::geteuid().is_root() && ours && is_of_its_owner(&directory, forbidden) =>
            {
                Ok(())
            }
            Err(PlacesError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            checked => checked,
        }
    }

    /// Removes what killed processes left everywhere that a node writes.
    fn sweep(&self) {
        let miners = self.data_dir.join("miners");
        let instances = fs::read_dir(&miners).into_iter().flatten().flatten().map(|entry| entry.path());
        let ours = [self.config_dir.clone(), self.profiles_dir(), self.node_dir(), miners];
        for directory in ours.into_iter().chain(instances) {
            atomic::sweep(&directory);
        }
    }

    /// Where `node/` really is: an operator may have put it elsewhere, with a link in its place.
    fn real_node_dir(&self) -> PathBuf {
        let directory = self.node_dir();
        fs::canonicalize(&directory).unwrap_or(directory)
    }

    fn socket_dir(&self) -> PathBuf {
        self.socket().parent().map_or_else(|| self.real_node_dir(), Path::to_owned)
    }
}

/// A directory, no link to one, that belongs to us and grants others none of the `forbidden` bits.
fn check_private(path: &Path, forbidden: u32) -> Result<(), PlacesError> {
    let found = fs::symlink_metadata(path).map_err(|source| PlacesError::Read { path: path.to_owned(), source })?;
    let (us, path) = (rustix::process::geteuid().as_raw(), path.to_owned());
    if !found.is_dir() {
        Err(PlacesError::NotDirectory { path })
    } else if found.uid() != us {
        Err(PlacesError::NotOurs { path, owner: found.uid(), us })
    } else if found.mode() & forbidden != 0 {
        Err(PlacesError::Open { path, mode: found.mode() & 0o7777 })
    } else {
        Ok(())
    }
}

/// Whose a directory is, and whether it is this one: where this user may not look at it, whose the nearest one above is
/// that can be looked at. None where there is none.
fn owner_of(path: &Path) -> Option<(PathBuf, u32, bool)> {
    let is_denied = |path: &Path| fs::metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
    let seen = path.ancestors().find(|above| !is_denied(above))?;
    Some((seen.to_owned(), fs::metadata(seen).ok()?.uid(), seen == path))
}

/// Whether it is a directory that nobody but its owner may write to.
fn is_of_its_owner(path: &Path, forbidden: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.mode() & forbidden == 0)
}

/// FNV-1a: short, and the same in every version, as the socket's name must be. It guards nothing.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Held while this process is the node; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    /// The lock belongs to the open file. Programs that we start do not inherit it: it is closed on exec.
    file: File,
}

/// Why this process cannot be the node.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process is.
    #[error("a miner-ctrl{} already runs on `{}`", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as it told.
        pid: Option<u32>,
        /// Whether it can be talked to.
        serves: bool,
    },
    /// The lock file cannot be used.
    #[error("cannot lock `{}`", path.display())]
    Open {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory cannot be made or is not ours.
    #[error(transparent)]
    Places(#[from] PlacesError),
}

impl LockError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Held { serves: false, .. } => {
                "a command of miner-ctrl, or a node that starts or stops, uses it: wait until that process ends"
            }
            Self::Held { .. } => {
                "talk to it with the same command line, stop it, or choose another --home for a second node"
            }
            Self::Open { .. } => "check that the directory belongs to you and that its file system can lock files",
            Self::Places(why) => return why.hint(),
        };
        hint.to_owned()
    }
}

/// How long whoever needs a node's data waits for a command that uses it: an order to a rig waits 30 s for its answer,
/// and some for its link. One that takes as long as a person says (`peer add --wait`, `peer ping --count`) lets go of it
/// between its questions.
const LONGEST_COMMAND: Duration = Duration::from_secs(40);
/// Between two looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);

impl Lock {
    /// Takes the lock, after whatever command holds it now, or says at once which serving node has it.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn after_commands(places: &Places) -> Result<Self, LockError> {
        let until = Instant::now() + LONGEST_COMMAND;
        let mut said = false;
        loop {
            match Self::acquire(places) {
                // A node that serves can be talked to, and is not waited for.
                Err(LockError::Held { serves: false, pid, .. }) if Instant::now() < until => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::info!(pid, "waiting for a command that runs on this node's data to end");
                    }
                    tokio::time::sleep(LOOK).await;
                }
                other => return other,
            }
        }
    }

    /// Whether what lies in the lock's place can be one. Nothing is made, and nobody is in the way for it.
    ///
    /// # Errors
    /// [`LockError::Open`].
    pub fn check(places: &Places) -> Result<(), LockError> {
        let path = places.lock_file();
        match OpenOptions::new().read(true).write(true).custom_flags(no_follow()).open(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(LockError::Open { path, source }),
            _ => Ok(()),
        }
    }

    /// Takes the lock at once or says who has it. Makes the directories that are missing.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(places: &Places) -> Result<Self, LockError> {
        places.make_directories()?;
        let path = places.lock_file();
        let failed = |source| LockError::Open { path: path.clone(), source };
        // Not truncated: until the lock is ours, the number inside is the holder's.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let serves = UnixStream::connect(places.socket()).is_ok();
                return Err(LockError::Held { pid: holder(&mut file), path, serves });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        // The number is a courtesy to whoever comes next; without it the lock holds all the same.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        places.sweep();
        Ok(Self { file })
    }
}

impl Drop for Lock {
    /// Let go here and not by closing alone: a program that is being started at this moment has the file open until it runs.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// `O_NOFOLLOW` as the type that the standard library takes.
pub(super) fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn environment(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    fn home() -> (tempfile::TempDir, Places) {
        let home = tempfile::tempdir().unwrap();
        let places = Places::resolve(Some(home.path()), |_| None).unwrap();
        (home, places)
    }

    #[test]
    fn a_given_home_comes_before_the_environment() {
        let env = environment(&[("MINER_CTRL_HOME", "/b"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")]);
        let places = Places::resolve(Some(Path::new("/a")), &env).unwrap();
        assert_eq!(places.node_file(), Path::new("/a/.config/lethean-desktop/node.json"));
        assert_eq!(places.key_file(), Path::new("/a/.local/share/lethean-desktop/node/private.key"));
        let places = Places::resolve(None, &env).unwrap();
        assert_eq!(places.data_dir, Path::new("/b/.local/share/lethean-desktop"));
    }

    #[test]
    fn xdg_directories_count_only_when_absolute() {
        let env = environment(&[("XDG_DATA_HOME", "/x"), ("XDG_CONFIG_HOME", "relative"), ("HOME", "/h")]);
        let places = Places::resolve(None, env).unwrap();
        assert_eq!(places.data_dir, Path::new("/x/lethean-desktop"));
        assert_eq!(places.config_dir, Path::new("/h/.config/lethean-desktop"));
    }

    #[test]
    fn without_any_home_there_is_no_place() {
        let env = environment(&[("HOME", ""), ("XDG_DATA_HOME", "/x")]);
        assert!(matches!(Places::resolve(None, env), Err(PlacesError::NoHome)));
    }

    #[test]
    fn a_relative_home_is_completed() {
        assert!(Places::resolve(Some(Path::new("here")), |_| None).unwrap().data_dir.is_absolute());
    }

    #[test]
    fn a_second_process_learns_who_holds_the_lock() {
        let (_home, places) = home();
        let lock = Lock::acquire(&places).unwrap();
        let error = Lock::acquire(&places).unwrap_err();
        assert!(matches!(error, LockError::Held { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
        assert!(error.hint().contains("wait until that process ends"), "nobody answers there");
        let _serves = std::os::unix::net::UnixListener::bind(places.socket()).unwrap();
        assert!(Lock::acquire(&places).unwrap_err().hint().contains("talk to it"));
        drop(lock);
        Lock::acquire(&places).unwrap();
    }

    #[tokio::test]
    async fn a_command_is_waited_for_and_a_node_that_serves_is_not() {
        let (_home, places) = home();
        let command = Lock::acquire(&places).unwrap();
        let mut waits = Box::pin(Lock::after_commands(&places));
        assert!(futures::poll!(&mut waits).is_pending());
        drop(command);
        let _lock = waits.await.unwrap();

        let _serves = std::os::unix::net::UnixListener::bind(places.socket()).unwrap();
        assert!(matches!(Lock::after_commands(&places).await, Err(LockError::Held { .. })));
    }

    #[test]
    fn directories_are_made_private_and_open_ones_are_refused() {
        let (_home, places) = home();
        places.make_directories().unwrap();
        for directory in [places.node_dir(), places.config_dir.clone()] {
            assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::set_permissions(places.node_dir(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(places.make_directories().unwrap_err().to_string().contains("chmod 700"));
    }

    #[test]
    fn a_socket_path_is_never_too_long_and_depends_on_the_data_directory_alone() {
        let places = Places::resolve(Some(Path::new("/h")), |_| None).unwrap();
        assert_eq!(places.socket(), places.node_dir().join("control.sock"));
        let deep = |tail: &str| {
            let home = format!("/{}{tail}", "x".repeat(80));
            Places::resolve(Some(Path::new(&home)), |_| None).unwrap().socket()
        };
        assert!(deep("").as_os_str().len() <= MAX_SOCKET_PATH);
        assert!(deep("").starts_with("/tmp"));
        assert_eq!(deep(""), deep(""));
        assert_ne!(deep("a"), deep("b"));
    }

    #[test]
    fn a_link_on_the_way_leads_to_the_same_socket() {
        let directory = tempfile::tempdir().unwrap();
        let (long, short) = (directory.path().join("x".repeat(90)), directory.path().join("short"));
        let at = |home: &Path| Places::resolve(Some(home), |_| None).unwrap();
        at(&long).make_directories().unwrap();
        symlink(&long, &short).unwrap();
        assert_eq!(at(&short).socket(), at(&long).socket());
        assert!(at(&short).socket().starts_with("/tmp/"));
    }

    #[test]
    fn a_node_directory_may_be_elsewhere() {
        let (home, places) = home();
        let elsewhere = home.path().join("elsewhere");
        atomic::make_directory(&elsewhere).unwrap();
        atomic::make_directory(&places.data_dir).unwrap();
        symlink(&elsewhere, places.node_dir()).unwrap();
        places.make_directories().unwrap();
        places.make_socket_dir().unwrap();
        places.check_socket_dir().unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(places.make_directories().unwrap_err().to_string().contains("chmod 700"));
    }

    #[test]
    fn a_linked_or_open_directory_is_not_ours_alone() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        atomic::make_directory(&real).unwrap();
        check_private(&real, 0o077).unwrap();
        symlink(&real, directory.path().join("link")).unwrap();
        assert!(matches!(check_private(&directory.path().join("link"), 0o077), Err(PlacesError::NotDirectory { .. })));
        fs::set_permissions(&real, fs::Permissions::from_mode(0o701)).unwrap();
        assert!(matches!(check_private(&real, 0o077), Err(PlacesError::Open { .. })));
    }
}
