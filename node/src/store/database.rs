//! SQLite: durable when a call returns, refused when damaged, never silently made anew.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::data_dir::user;
use super::schema::{APPLICATION_ID, MIGRATIONS};

/// How long a statement waits for another connection. The lock admits one node, so only a person's `sqlite3` is meant.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Up to this size the whole file is checked at start: it takes some 0.1 s. Beyond it, damage shows when it is met.
const MAX_CHECKED: u64 = 64 * 1024 * 1024;

/// What the log may take on the disk between two writes, bytes. SQLite itself never makes it smaller while the node runs:
/// somebody's copy of a large database, during which nothing of the log can be taken in, would be felt for months. A
/// minute of five thousand rigs comes in parts that make it no larger than a few MiB.
const MAX_LOG: i64 = 16 * 1024 * 1024;

/// The node's database. Cloning gives another handle on the same connections.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Reads beside whatever the other writes: a disk that is slow to take something in must not keep from view what is
    /// there. None in memory, where a second connection would be a second database. Closed first: the last one tidies the
    /// log away, which this one may not.
    reader: Option<Mutex<Connection>>,
    connection: Mutex<Connection>,
}

/// Why the database did not do it; what it held, it holds.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Not what we wrote.
    #[error("the database `{}` is damaged ({why}): it was left as it is; restore a copy, or move it away to start without peers, and `-wal` and `-shm` beside it in any case", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The file itself could not be made or reached.
    #[error("cannot use the database `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Gone, without its log.
    #[error("the database `{}` is missing, but its log `-wal` is there: put back what belongs to it, or move the log away to restore a copy or to start without peers", path.display())]
    Missing {
        /// Where it should lie.
        path: PathBuf,
    },
    /// Another user's, as a copy that was restored by root is.
    #[error("the database's file `{}` belongs to {}, this is {}: chown it", path.display(), user(*owner), user(*us))]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Written by a later miner-ctrl.
    #[error("the database `{}` has version {found}, this miner-ctrl knows up to {known}: use the newer miner-ctrl", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// SQLite refused or failed.
    #[error("the database `{}` failed", path.display())]
    Query {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The work was dropped, since the program ends.
    #[error("the database is closing")]
    ShuttingDown,
}

impl DatabaseError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            // Their texts say what.
            Self::Damaged { .. } | Self::Missing { .. } | Self::Newer { .. } => {
                "no node starts here before that is done".to_owned()
            }
            Self::File { .. } | Self::Query { .. } | Self::ShuttingDown => {
                "see that this user can read and write it and its directory, and that the disk is whole and not full"
                    .to_owned()
            }
            Self::NotOurs { path, us, .. } => format!("chown {us} {}", path.display()),
        }
    }
}

impl Database {
    /// Opens the database, creating it when missing and bringing older ones up to date.
    ///
    /// A new one appears whole or not at all: an empty file is therefore a damaged one, not a fresh one.
    ///
    /// # Errors
    /// [`DatabaseError`]; then nothing was changed.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        let failed = |source| DatabaseError::File { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
            Err(source) => return Err(failed(source)),
        }
        check_owner(path)?;
        for file in files(path) {
            make_private(&file).map_err(failed)?;
        }
        check_header(path)?;
        let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .map_err(|source| explain(path, source))?;
        // Closing would write the log into the file, also into one that was refused: with a copy of another day, and the log
        // that was left beside it, that ends both.
        let keep_log = |connection: &Connection, keep| {
            let set = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep);
            set.map_err(|source| explain(path, source))
        };
        keep_log(&connection, true)?;
        prepare(&mut connection, path).map_err(|cause| cause.at(path))?;
        keep_log(&connection, false)?;
        let reader = reader(path).map_err(|source| explain(path, source))?;
        Ok(Self::new(path, Some(reader), connection))
    }

    /// What lies there, to be read alone, if [`Database::open`] would take it; none where it would make one. Neither it nor
    /// the folder is changed. What an older version made has no more tables than it had.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn look(path: &Path) -> Result<Option<Self>, DatabaseError> {
        match fs::symlink_metadata(path) {
            Ok(_) => check_owner(path).and_then(|()| check_header(path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return check_no_log(path).map(|()| None),
            Err(source) => return Err(DatabaseError::File { path: path.to_owned(), source }),
        }
        let mut flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let mut name = path.as_os_str().to_owned();
        if !has_log(path)
            && let Some(text) = path.to_str()
        {
            // SQLite would make a log and leave it, as the file of whoever looks here.
            flags |= OpenFlags::SQLITE_OPEN_URI;
            let text = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            name = format!("file:{text}?immutable=1").into();
        }
        let connection = Connection::open_with_flags(name, flags).map_err(|source| explain(path, source))?;
        judge(&connection, path).map_err(|cause| cause.at(path))?;
        Ok(Some(Self::new(path, None, connection)))
    }

    /// One that is gone when dropped, for tests.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn in_memory() -> Result<Self, DatabaseError> {
        let path = Path::new(":memory:");
        let mut connection = Connection::open_in_memory().map_err(|source| explain(path, source))?;
        migrate(&mut connection).map_err(|cause| cause.at(path))?;
        Ok(Self::new(path, None, connection))
    }

    fn new(path: &Path, reader: Option<Connection>, connection: Connection) -> Self {
        let (reader, connection) = (reader.map(Mutex::new), Mutex::new(connection));
        Self { inner: Arc::new(Inner { path: path.to_owned(), reader, connection }) }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Does work on the connection, away from the async threads. It is done even if the caller stops waiting.
    ///
    /// # Errors
    /// [`DatabaseError`]; an uncommitted transaction is undone.
    pub async fn run<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let database = self.clone();
        away(move || database.run_blocking(work)).await
    }

    /// As [`Database::run`], for work that only reads: it sees what is stored by now, and waits for no write.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn read<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let database = self.clone();
        away(move || {
            let Inner { path, reader, connection } = &*database.inner;
            on(path, reader.as_ref().unwrap_or(connection), work)
        })
        .await
    }

    /// As [`Database::run`], for threads that may wait.
    ///
    /// # Errors
    /// [`DatabaseError`]; an uncommitted transaction is undone.
    pub fn run_blocking<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DatabaseError> {
        on(&self.inner.path, &self.inner.connection, work)
    }

    /// What damage found by a reader of rows is called.
    #[must_use]
    pub fn damaged(&self, why: impl Into<String>) -> DatabaseError {
        DatabaseError::Damaged { path: self.inner.path.clone(), why: why.into() }
    }
}

async fn away<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DatabaseError> + Send + 'static,
) -> Result<T, DatabaseError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(DatabaseError::ShuttingDown),
        },
    }
}

fn on<T>(
    path: &Path,
    connection: &Mutex<Connection>,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> Result<T, DatabaseError> {
    // A panic inside `work` undid its transaction while unwinding: the connection is as good as before.
    let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
    work(&mut connection).map_err(|source| explain(path, source))
}

/// What went wrong while the path was not at hand.
enum Cause {
    Damaged(String),
    Newer(i64),
    Query(rusqlite::Error),
}

impl From<rusqlite::Error> for Cause {
    fn from(source: rusqlite::Error) -> Self {
        Self::Query(source)
    }
}

impl Cause {
    fn at(self, path: &Path) -> DatabaseError {
        let path = path.to_owned();
        match self {
            Self::Damaged(why) => DatabaseError::Damaged { path, why },
            Self::Newer(found) => DatabaseError::Newer { path, found, known: newest() },
            Self::Query(source) => explain(&path, source),
        }
    }
}

fn explain(path: &Path, source: rusqlite::Error) -> DatabaseError {
    let path = path.to_owned();
    match (source.sqlite_error_code(), &source) {
        (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => {
            DatabaseError::Damaged { path, why: source.to_string() }
        }
        (_, rusqlite::Error::FromSqlConversionFailure(_, _, why)) => {
            DatabaseError::Damaged { path, why: why.to_string() }
        }
        _ => DatabaseError::Query { path, source },
    }
}

fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The database, its log, and what its connections share.
fn files(path: &Path) -> [PathBuf; 3] {
    [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")]
}

/// Another user's file could not even be made private. To root it is no obstacle.
fn check_owner(path: &Path) -> Result<(), DatabaseError> {
    let us = rustix::process::geteuid().as_raw();
    for path in files(path).into_iter().filter(|_| us != 0) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.uid() != us => return Err(DatabaseError::NotOurs { path, owner: found.uid(), us }),
            _ => {}
        }
    }
    Ok(())
}

fn make_private(path: &Path) -> io::Result<()> {
    match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a database beside its place and moves it there when it is whole, so that a kill leaves none or a good one.
fn create(path: &Path) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError::File { path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    check_no_log(path)?;
    let temporary = beside(path, ".new");
    let journal = beside(&temporary, "-journal");
    for left in [&temporary, &journal] {
        match fs::remove_file(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed)?;
    let mut connection = Connection::open_with_flags(&temporary, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(|source| explain(path, source))?;
    migrate(&mut connection).map_err(|cause| cause.at(path))?;
    connection.close().map_err(|(_, source)| explain(path, source))?;
    File::open(&temporary)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(directory)?.sync_all())
        .map_err(failed)
}

fn has_log(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// Somebody took the file and left its log, which SQLite would apply to whatever stands here next.
fn check_no_log(path: &Path) -> Result<(), DatabaseError> {
    if has_log(path) {
        return Err(DatabaseError::Missing { path: path.to_owned() });
    }
    Ok(())
}

/// SQLite takes an empty file for a new database. Ours are never empty, so this one lost its content.
fn check_header(path: &Path) -> Result<(), DatabaseError> {
    let size = fs::metadata(path).map_err(|source| DatabaseError::File { path: path.to_owned(), source })?.len();
    if size == 0 {
        return Err(DatabaseError::Damaged { path: path.to_owned(), why: "it is empty".to_owned() });
    }
    Ok(())
}

fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Cause> {
    // Looked at before anything is written: a foreign, damaged or newer file stays as it is.
    judge(connection, path)?;
    // The log first: changing it inside a transaction is not possible. FULL: committed means on the disk.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", MAX_LOG, |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    migrate(connection)
}

/// Whether it is ours, whole, and of a version that is known here.
fn judge(connection: &Connection, path: &Path) -> Result<(), Cause> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id != APPLICATION_ID {
        return Err(Cause::Damaged("it is not a miner-ctrl database".to_owned()));
    }
    let version = version(connection)?;
    if version > newest() {
        return Err(Cause::Newer(version));
    }
    if fs::metadata(path).is_ok_and(|file| file.len() <= MAX_CHECKED) {
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(Cause::Damaged(found));
        }
    }
    Ok(())
}

/// A second connection, once the first has made the file what it is to be.
fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let reader = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    reader.busy_timeout(BUSY_TIMEOUT)?;
    reader.pragma_update(None, "trusted_schema", false)?;
    Ok(reader)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn migrate(connection: &mut Connection) -> Result<(), Cause> {
    let from = version(connection)?;
    let done = usize::try_from(from).map_err(|_| Cause::Damaged(format!("its version is {from}")))?;
    for (index, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.db");
        (directory, path)
    }

    fn count(database: &Database) -> i64 {
        database.run_blocking(|c| c.query_row("SELECT count(*) FROM peers", [], |row| row.get(0))).unwrap()
    }

    #[test]
    fn its_files_are_private_and_its_settings_are_durable() {
        let (directory, path) = place();
        let database = Database::open(&path).unwrap();
        database.run_blocking(|c| c.execute_batch("CREATE TABLE t (x)")).unwrap();
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 3, "{files:?}");
        for file in files {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
        let setting = |name: &'static str| {
            database
                .run_blocking(move |c| c.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)))
        };
        assert_eq!(setting("journal_mode").unwrap(), rusqlite::types::Value::Text("wal".into()));
        assert_eq!(setting("synchronous").unwrap(), rusqlite::types::Value::Integer(2));
        assert_eq!(setting("foreign_keys").unwrap(), rusqlite::types::Value::Integer(1));
    }

    #[test]
    fn a_log_that_grew_while_somebody_read_is_made_small_again() {
        let (_directory, path) = place();
        let database = Database::open(&path).unwrap();
        database.run_blocking(|c| c.execute_batch("CREATE TABLE t (x)")).unwrap();
        let log = || i64::try_from(fs::metadata(beside(&path, "-wal")).unwrap().len()).unwrap();
        let write = || database.run_blocking(|c| c.execute_batch("INSERT INTO t VALUES (zeroblob(1048576))")).unwrap();
        let copier = Connection::open(&path).unwrap();
        copier.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        while log() <= MAX_LOG {
            write();
        }
        copier.execute_batch("COMMIT").unwrap();
        // The first takes all of the log in, the next begins it anew.
        write();
        write();
        assert!(log() <= MAX_LOG, "{}", log());
    }

    #[test]
    fn garbage_empty_foreign_and_torn_files_are_refused_and_left_as_they_are() {
        let (directory, path) = place();
        let database = Database::open(&path).unwrap();
        database
            .run_blocking(|c| c.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(90000))"))
            .unwrap();
        drop(database);
        let whole = fs::read(&path).unwrap();
        let foreign = directory.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let mut scratched = whole.clone();
        scratched[4096..8192].fill(0xa5);
        for (name, bytes) in [
            ("garbage", b"not a database at all, but long enough to have a header of 100 bytes".repeat(9)),
            ("empty", vec![]),
            ("foreign", fs::read(&foreign).unwrap()),
            ("torn", whole[..whole.len() - 4096].to_vec()),
            ("scratched", scratched),
        ] {
            let path = directory.path().join(name);
            super::super::atomic::write(&path, &bytes).unwrap();
            let looked = Database::look(&path).unwrap_err();
            let error = Database::open(&path).unwrap_err();
            assert!(matches!(error, DatabaseError::Damaged { .. }), "{name}: {error:?}");
            assert_eq!(looked.to_string(), error.to_string());
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes, "{name} is untouched");
        }
    }

    #[test]
    fn a_look_at_it_leaves_everything_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("100% node?#.db");
        let files = || {
            let entries = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
            let mut files: Vec<_> = entries.map(|file| (fs::read(&file).unwrap().len(), file)).collect();
            files.sort();
            files
        };
        Database::look(&path).unwrap();
        assert!(files().is_empty());
        let database = Database::open(&path).unwrap();
        database.run_blocking(|c| c.execute_batch("CREATE TABLE t (x)")).unwrap();
        let serving = files();
        Database::look(&path).unwrap();
        assert_eq!(files(), serving);
        drop(database);
        let stopped = files();
        Database::look(&path).unwrap();
        assert_eq!(files(), stopped);
        assert_eq!(stopped.len(), 1, "a closed database has no log");
    }

    #[test]
    fn a_newer_version_is_refused_and_not_downgraded() {
        let (_directory, path) = place();
        Database::open(&path).unwrap().run_blocking(|c| c.pragma_update(None, "user_version", 99)).unwrap();
        assert!(matches!(Database::look(&path), Err(DatabaseError::Newer { found: 99, .. })));
        assert!(matches!(Database::open(&path), Err(DatabaseError::Newer { found: 99, .. })));
    }

    #[tokio::test]
    async fn what_an_older_version_recorded_is_there_after_the_migration() {
        let (_directory, path) = place();
        let mut connection = Connection::open(&path).unwrap();
        for step in &MIGRATIONS[..3] {
            connection.execute_batch(step).unwrap();
        }
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 3).unwrap();
        // Two blocks of two rigs as version 3 wrote them: an hour of minutes, of which the first two are known.
        let numbers: Vec<u8> = [10.5_f32, 11.5].iter().flat_map(|number| number.to_le_bytes()).collect();
        let change = connection.transaction().unwrap();
        for (id, rig) in [(7, "rig-alpha"), (9, "rig-beta")] {
            change.execute("INSERT INTO history_series VALUES (?1, ?2, 'xmrig')", rusqlite::params![id, rig]).unwrap();
            let block = "INSERT INTO history_blocks VALUES (?1, 60, ?2, ?3)";
            change.execute(block, rusqlite::params![id, (BEGIN / 3600) as i64, numbers]).unwrap();
        }
        change.execute("INSERT INTO activity (at, by, action, result) VALUES (1, 'cli', 'stop', 'done')", []).unwrap();
        change.commit().unwrap();
        drop(connection);

        let database = Database::open(&path).unwrap();
        for rig in ["rig-alpha", "rig-beta"] {
            let tier = super::super::history::TIERS[1];
            let span = BEGIN..BEGIN + 120;
            let series = super::super::history::read(&database, rig.into(), None, None, tier, span).await.unwrap();
            assert_eq!(series.len(), 1);
            assert_eq!(
                (series[0].miner.as_str(), series[0].measure),
                ("xmrig", miner_ctrl_protocol::Measure::Hashrate)
            );
            assert_eq!(series[0].numbers, [Some(10.5), Some(11.5)]);
        }
        let count = |table: &'static str| {
            let query = format!("SELECT count(*) FROM {table}");
            database.run_blocking(move |c| c.query_row(&query, [], |row| row.get::<_, i64>(0))).unwrap()
        };
        assert_eq!(count("activity"), 1);
        assert_eq!(database.run_blocking(|c| version(c)).unwrap(), newest());
        drop(database);
        // Once is enough: the second start finds nothing to do.
        assert_eq!(count_of_series(&Database::open(&path).unwrap()), 2);
    }

    /// An hour begins here.
    const BEGIN: u64 = 1_700_006_400;

    fn count_of_series(database: &Database) -> i64 {
        database.run_blocking(|c| c.query_row("SELECT count(*) FROM history_series", [], |row| row.get(0))).unwrap()
    }

    #[tokio::test]
    async fn what_is_stored_is_read_while_a_write_waits_for_the_disk() {
        let (_directory, path) = place();
        let database = Database::open(&path).unwrap();
        database.run(|c| c.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")).await.unwrap();
        let (go_on, told) = std::sync::mpsc::channel::<()>();
        let (stalls, stalled) = std::sync::mpsc::channel();
        let (writing, other) = (database.clone(), database.clone());
        let write = std::thread::spawn(move || {
            writing.run_blocking(move |c| {
                let change = c.transaction()?;
                change.execute_batch("INSERT INTO t VALUES (2)")?;
                stalls.send(()).unwrap();
                told.recv().unwrap();
                change.commit()
            })
        });
        stalled.recv().unwrap();
        let count = |c: &mut Connection| c.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
        assert_eq!(database.read(count).await.unwrap(), 1);
        go_on.send(()).unwrap();
        write.join().unwrap().unwrap();
        assert_eq!(other.read(count).await.unwrap(), 2);
        assert!(database.read(|c| c.execute_batch("DELETE FROM t")).await.is_err(), "it only reads");
        drop((database, other));
        assert!(!beside(&path, "-wal").exists(), "the log is tidied away");
    }

    #[test]
    fn a_log_without_its_database_is_not_taken_for_a_first_start() {
        let (_directory, path) = place();
        super::super::atomic::write(&beside(&path, "-wal"), b"frames").unwrap();
        assert!(matches!(Database::open(&path), Err(DatabaseError::Missing { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn a_copy_beside_the_log_of_what_stood_there_is_not_written_over_when_it_is_refused() {
        let (directory, path) = place();
        let database = Database::open(&path).unwrap();
        drop(database);
        let copy = fs::read(&path).unwrap();
        let database = Database::open(&path).unwrap();
        // Tables of which the copy knows nothing; few, since SQLite does not take a log for one of a file far smaller.
        for table in 0..8 {
            let rows = format!("CREATE TABLE t{table} (x); INSERT INTO t{table} VALUES (1)");
            database.run_blocking(|c| c.execute_batch(&rows)).unwrap();
        }
        // What a kill leaves: of all that, the log has the last pages only, and the file had the others.
        database.run_blocking(|c| c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))).unwrap();
        database.run_blocking(|c| c.execute_batch("INSERT INTO t7 VALUES (2); CREATE TABLE t8 (x)")).unwrap();
        let log = fs::read(beside(&path, "-wal")).unwrap();
        let restored = directory.path().join("restored.db");
        super::super::atomic::write(&restored, &copy).unwrap();
        super::super::atomic::write(&beside(&restored, "-wal"), &log).unwrap();
        assert!(matches!(Database::open(&restored), Err(DatabaseError::Damaged { .. })));
        assert_eq!(fs::read(&restored).unwrap(), copy);
        // The log is moved away, as the message says, and the copy is what it was.
        for left in ["-wal", "-shm"] {
            drop(fs::remove_file(beside(&restored, left)));
        }
        assert_eq!(count(&Database::open(&restored).unwrap()), 0);
    }

    #[test]
    fn what_a_killed_creation_left_does_not_hinder_the_next() {
        let (_directory, path) = place();
        super::super::atomic::write(&beside(&path, ".new"), b"half").unwrap();
        assert_eq!(count(&Database::open(&path).unwrap()), 0);
    }

    #[tokio::test]
    async fn a_failed_or_panicking_change_leaves_no_trace() {
        let database = Database::in_memory().unwrap();
        let failed = database
            .run(|c| {
                let transaction = c.transaction()?;
                transaction.execute_batch("CREATE TABLE gone (x)")?;
                transaction.execute_batch("nonsense")
            })
            .await;
        assert!(matches!(failed, Err(DatabaseError::Query { .. })));
        let copy = database.clone();
        let panicked = tokio::spawn(async move {
            copy.run::<(), _>(|c| {
                let transaction = c.transaction()?;
                transaction.execute_batch("CREATE TABLE gone (x)")?;
                panic!("in the middle")
            })
            .await
        });
        assert!(panicked.await.is_err());
        database.run(|c| c.execute_batch("CREATE TABLE gone (x)")).await.unwrap();
    }
}
