//! A file is the old one or the new one, never half of either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a file was not replaced, or not for sure.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct WriteError {
    /// The file that was to be replaced.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Replaces `path` by `bytes`, readable by the owner alone: temporary file, fsync, rename, fsync of the directory.
///
/// # Errors
/// [`WriteError`]; then the file is as it was, or, where only the last step failed, the new one until power is lost.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let failed = |source| WriteError { path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let temporary = directory.join(format!(
        ".{}.{}.{}.tmp",
        name.to_string_lossy(),
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    // Left by a process of our number that was killed here, as in a container, where each has the same.
    let _ = fs::remove_file(&temporary);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        // It may not exist; what matters is the error above.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// Removes what processes that were killed in the middle of a write left in a directory; there may be passwords in it.
/// For the one who holds the lock: nobody else writes there.
pub fn sweep(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_temporary(&entry.file_name().to_string_lossy())) {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            // What stays is harmless.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a file is named as [`write`] and [`super::file::create_secret`] name theirs: `.NAME.PID.tmp` or
/// `.NAME.PID.COUNT.tmp`.
fn is_temporary(name: &str) -> bool {
    let parts =
        name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp")).and_then(|rest| rest.rsplit_once('.'));
    parts.is_some_and(|(before, number)| {
        !before.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Makes a directory and its parents, 0700, if it is missing.
///
/// # Errors
/// [`WriteError`] with the directory's path.
pub fn make_directory(path: &Path) -> Result<(), WriteError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Makes a directory of our own, 0700, where temporary ones are: a new one, that nobody could have made before.
///
/// # Errors
/// [`WriteError`] with the directory's path.
pub fn temporary_directory(name: &str) -> Result<PathBuf, WriteError> {
    let path = std::env::temp_dir().join(format!("{name}-{:016x}", rand::random::<u64>()));
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(WriteError { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn what_a_kill_left_goes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let ours = [".wanted.json.1.0.tmp", ".private.key.77.tmp"];
        let others = ["wanted.json", ".p.json", ".notes.tmp", "a.1.tmp", "..tmp", ".1.tmp"];
        for name in ours.iter().chain(&others) {
            File::create(directory.path().join(name)).unwrap();
        }
        fs::create_dir(directory.path().join(".dir.1.tmp")).unwrap();
        sweep(directory.path());
        sweep(&directory.path().join("missing"));
        let mut left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        let mut kept: Vec<_> = others.iter().chain(&[".dir.1.tmp"]).map(std::ffi::OsString::from).collect();
        kept.sort();
        assert_eq!(left, kept);
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing").join("file");
        assert!(write(&path, b"x").unwrap_err().to_string().contains("missing/file"));
    }
}
