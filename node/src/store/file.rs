//! Files read under a limit; secrets created once and read only while nobody else can.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::data_dir::no_follow;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Others may read or change a secret.
    #[error("`{}` {why}", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// It is there and cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// More bytes than such a file can sensibly have.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
}

/// A secret as it was found.
#[derive(Debug)]
pub struct Secret {
    /// What it holds.
    pub bytes: Zeroizing<Vec<u8>>,
    /// When it was last written.
    pub modified: SystemTime,
}

/// Reads a text file; `None` when there is none.
///
/// # Errors
/// [`ReadError`]; a file that is no UTF-8 is one that cannot be read.
pub fn read_text(path: &Path, limit: u64) -> Result<Option<String>, ReadError> {
    let failed = |source| ReadError::Read { path: path.to_owned(), source };
    let Some((file, found)) = open(path, 0)? else { return Ok(None) };
    if !found.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    // First: a character may be cut by the limit.
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    let text = String::from_utf8(bytes).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(Some(text))
}

/// A file and what it is: of the open file, not of the path, so that what is checked is what is read.
fn open(path: &Path, flags: i32) -> Result<Option<(File, Metadata)>, ReadError> {
    // A pipe in the file's place must not hold up the start.
    let not_waiting = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(flags | not_waiting).open(path);
    match opened.and_then(|file| file.metadata().map(|found| (file, found))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError::Read { path: path.to_owned(), source }),
        Ok(opened) => Ok(Some(opened)),
    }
}

/// Whether anything is at a path, were it a dangling link.
///
/// # Errors
/// [`ReadError::Read`] when the system does not tell.
pub fn exists(path: &Path) -> Result<bool, ReadError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ReadError::Read { path: path.to_owned(), source }),
    }
}

/// Reads a secret that only its owner, this user, can read; `None` when there is none.
///
/// # Errors
/// [`ReadError`]; also for a link, for another owner, and for any permission of group or others.
pub fn read_secret(path: &Path, limit: u64) -> Result<Option<Secret>, ReadError> {
    let failed = |source| ReadError::Read { path: path.to_owned(), source };
    let not_private = |why: String| Err(ReadError::NotPrivate { path: path.to_owned(), why });
    // A link is not followed.
    let Some((file, found)) = open(path, no_follow())? else { return Ok(None) };
    let us = rustix::process::geteuid().as_raw();
    if !found.is_file() {
        return not_private("is not a file".to_owned());
    }
    if found.uid() != us {
        return not_private(format!("belongs to user {}, this is user {us}: run as its owner", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return not_private(format!("is open to others (mode {:o}): chmod 600 it", found.mode() & 0o7777));
    }
    let bytes = whole(path, file, limit)?;
    let modified = found.modified().map_err(failed)?;
    Ok(Some(Secret { bytes, modified }))
}

fn whole(path: &Path, file: File, limit: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    // Room for the whole secret at once: a buffer that grows leaves copies of its beginning behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(limit + 1).unwrap_or(usize::MAX)));
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| ReadError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Reads a secret that somebody else laid down, e.g. a container's; `None` when there is none. That others can read it
/// is told in the log, since not every platform can hand one over otherwise; links are followed, as those are.
///
/// # Errors
/// [`ReadError`]; also when others may change it.
pub fn read_given_secret(path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, ReadError> {
    let Some((file, found)) = open(path, 0)? else { return Ok(None) };
    let mode = found.mode() & 0o7777;
    if !found.is_file() || mode & 0o022 != 0 {
        let why = if found.is_file() {
            format!("may be changed by others (mode {mode:o}): chmod 600 it")
        } else {
            "is not a file".to_owned()
        };
        return Err(ReadError::NotPrivate { path: path.to_owned(), why });
    }
    if mode & 0o004 != 0 {
        tracing::warn!(path = %path.display(), "every user of this machine can read this secret: chmod 600 it");
    }
    whole(path, file, limit).map(Some)
}

/// Creates a secret, 0600, whole or not at all; one that is there stays, and that is an error (`AlreadyExists`).
///
/// # Errors
/// What the system said.
pub fn create_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = directory.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    // Left by a process of our number that was killed here; it never became the secret.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let created = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Unlike a rename, a link refuses to replace what is there.
        match fs::hard_link(&temporary, path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // A file system without hard links. The caller holds the lock, so nobody comes between.
            Err(_) if fs::symlink_metadata(path).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(&temporary, path),
        }
    })();
    // After a rename it is gone already.
    let _ = fs::remove_file(&temporary);
    created?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_secret_is_created_private_and_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        create_secret(&path, b"one").unwrap();
        assert_eq!(create_secret(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(*read_secret(&path, 3).unwrap().unwrap().bytes, b"one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_secret_open_to_others_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        create_secret(&path, b"one").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o610, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_secret(&path, 3).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{mode:o}: {error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read_secret(&path, 3).unwrap().is_some());
    }

    #[test]
    fn a_link_a_directory_and_a_longer_file_are_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        create_secret(&path, b"four").unwrap();
        assert!(matches!(read_secret(&path, 3), Err(ReadError::TooLarge { .. })));
        symlink(&path, directory.path().join("link")).unwrap();
        assert!(matches!(read_secret(&directory.path().join("link"), 9), Err(ReadError::Read { .. })));
        let inner = directory.path().join("directory");
        fs::create_dir(&inner).unwrap();
        assert!(matches!(read_secret(&inner, 9), Err(ReadError::NotPrivate { .. })));
        assert!(read_secret(&directory.path().join("nothing"), 9).unwrap().is_none());
    }

    #[test]
    fn a_given_secret_may_be_readable_and_linked_and_nobody_else_may_change_it() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("secret"), directory.path().join("link"));
        create_secret(&path, b"one").unwrap();
        symlink(&path, &link).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(**read_given_secret(&link, 3).unwrap().unwrap(), *b"one");
        assert!(matches!(read_given_secret(&path, 2), Err(ReadError::TooLarge { .. })));
        for mode in [0o620, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read_given_secret(&path, 3), Err(ReadError::NotPrivate { .. })), "{mode:o}");
        }
        assert!(matches!(read_given_secret(directory.path(), 3), Err(ReadError::NotPrivate { .. })));
        assert!(read_given_secret(&directory.path().join("nothing"), 3).unwrap().is_none());
    }

    #[test]
    fn a_text_has_a_limit_and_may_be_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        assert_eq!(read_text(&path, 3).unwrap(), None);
        super::super::atomic::write(&path, b"four").unwrap();
        assert!(matches!(read_text(&path, 3), Err(ReadError::TooLarge { .. })));
        assert_eq!(read_text(&path, 4).unwrap().unwrap(), "four");
        super::super::atomic::write(&path, "für".as_bytes()).unwrap();
        assert!(matches!(read_text(&path, 1), Err(ReadError::TooLarge { .. })), "though its limit cuts a character");
        // Neither is waited for.
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for other in [&*pipe, directory.path(), Path::new("/dev/zero")] {
            assert!(matches!(read_text(other, 3), Err(ReadError::Read { .. })), "{}", other.display());
        }
    }
}
