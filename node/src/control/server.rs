//! Serves the router to this machine's own user.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::store::atomic::{self, WriteError};

/// Connections at once. Each is one running command of this user; more is a script gone wild, and waits.
const MAX_CONNECTIONS: usize = 64;

/// Longest path of a Unix socket on Linux (108 bytes with the closing zero), less the mark of the temporary name.
const MAX_PATH: usize = 106;

/// Pause after a failed accept, e.g. with all file descriptors in use: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// How long answers under way may take when the node stops; a follower of a log would hold it for half a minute.
const GRACE: Duration = Duration::from_secs(3);

/// Why there is no socket to ask at.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A node answers there.
    #[error("another node answers at {path}")]
    Answered {
        /// The socket.
        path: PathBuf,
    },
    /// Its directory cannot be made.
    #[error("cannot make the socket's directory")]
    Directory(#[source] WriteError),
    /// Something else than a socket stands there; it is left alone.
    #[error("{path} is not a socket: move it away")]
    NotASocket {
        /// What stands there.
        path: PathBuf,
    },
    /// Others could put their own socket in its place.
    #[error("{path} belongs to another user or can be written by others (mode {mode:o})")]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system refuses.
    #[error("cannot listen at {path}")]
    System {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Longer than the system takes.
    #[error("{path} has {} bytes: a socket's path has at most {MAX_PATH}", path.as_os_str().len())]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
}

/// A socket that listens and serves nobody yet.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    places: Arc<Semaphore>,
    path: PathBuf,
    /// Which file is ours, so that a successor's is never removed.
    inode: u64,
}

/// Whether a socket is or may be put at `path`.
///
/// # Errors
/// [`BindError::NotASocket`] or [`BindError::System`].
pub fn check(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket { path: path.to_owned() }),
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(BindError::System { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Listens at `path`, mode 0600. The caller holds the data directory's lock: what is left there by a node that died
/// is removed, but never something that still answers.
///
/// # Errors
/// [`BindError`]; then nothing was changed.
pub async fn bind(path: &Path) -> Result<ControlSocket, BindError> {
    if path.as_os_str().len() > MAX_PATH {
        return Err(BindError::TooLong { path: path.to_owned() });
    }
    let system = |source| BindError::System { path: path.to_owned(), source };
    let directory = path.parent().ok_or_else(|| system(io::ErrorKind::InvalidInput.into()))?;
    atomic::make_directory(directory).map_err(BindError::Directory)?;
    check_directory(directory, system)?;
    check(path)?;
    if UnixStream::connect(path).await.is_ok() {
        return Err(BindError::Answered { path: path.to_owned() });
    }
    // Made private under another name first: at its own name it is never open to others, not for a moment.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push("~");
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
    }
    let listener = UnixListener::bind(&temporary).map_err(system)?;
    let placed = fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| fs::symlink_metadata(path));
    match placed {
        Ok(metadata) => Ok(ControlSocket {
            listener,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            path: path.to_owned(),
            inode: metadata.ino(),
        }),
        Err(error) => {
            // What matters is the error; a file left over is removed by the next start.
            let _ = fs::remove_file(&temporary);
            Err(system(error))
        }
    }
}

fn check_directory(directory: &Path, system: impl FnOnce(io::Error) -> BindError) -> Result<(), BindError> {
    let metadata = fs::metadata(directory).map_err(system)?;
    let mode = metadata.mode() & 0o777;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw() || metadata.uid() == 0;
    if !ours || mode & 0o022 != 0 {
        return Err(BindError::OpenDirectory { path: directory.to_owned(), mode });
    }
    Ok(())
}

impl ControlSocket {
    /// Answers until `stop`, then finishes what is under way for a few seconds, and removes the socket.
    ///
    /// # Errors
    /// What the system said, when it cannot go on.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> io::Result<()> {
        let (path, inode) = (self.path.clone(), self.inode);
        let stopping = stop.clone();
        let serving = axum::serve(self, router).with_graceful_shutdown(stopping.cancelled_owned()).into_future();
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = &mut serving => ended,
            () = stop.cancelled() => tokio::time::timeout(GRACE, serving).await.unwrap_or(Ok(())),
        };
        if fs::symlink_metadata(&path).is_ok_and(|found| found.ino() == inode)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "the control socket is left behind");
        }
        ended
    }
}

impl Listener for ControlSocket {
    type Io = Guarded;
    type Addr = ();

    async fn accept(&mut self) -> (Guarded, ()) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                // Nobody closes the semaphore while the socket is served.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, _)) if is_welcome(&stream) => return (Guarded { stream, _place: place }, ()),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the control socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// This user or root, by the kernel's word. The file's mode says the same; this holds even when it was changed.
fn is_welcome(stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if may_enter(peer.uid(), rustix::process::geteuid().as_raw()) => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "turned another user away from the control socket");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "cannot tell who connects to the control socket");
            false
        }
    }
}

const fn may_enter(theirs: u32, ours: u32) -> bool {
    theirs == ours || theirs == 0
}

/// A connection, and its place among the [`MAX_CONNECTIONS`].
#[derive(Debug)]
pub struct Guarded {
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Client, ClientError};
    use axum::routing::get;
    use miner_ctrl_dashboard::memory::Memory;
    use serde_json::json;

    /// Serves the API of a node in memory; the guard stops it.
    async fn serve(path: &Path) -> (tokio::task::JoinHandle<io::Result<()>>, CancellationToken) {
        let stop = CancellationToken::new();
        let router = miner_ctrl_dashboard::router(Memory::default());
        let socket = bind(path).await.unwrap();
        (tokio::spawn(socket.serve(router, stop.clone())), stop)
    }

    #[tokio::test]
    async fn the_api_answers_over_the_socket_until_it_stops() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run").join("control.sock");
        let (task, stop) = serve(&path).await;
        let client = Client::Socket(path.clone());
        assert_eq!(client.get("/node/info").await.unwrap()["name"], "desk");
        let added = client.call("POST", "/peers", Some(&json!({"address": "192.0.2.3"}))).await.unwrap();
        assert_eq!(added["state"], "paired");
        let ClientError::Problem(problem) = client.get("/peers/nobody").await.unwrap_err() else {
            panic!("no problem document")
        };
        assert_eq!(problem.code, "unknown-peer");
        stop.cancel();
        task.await.unwrap().unwrap();
        assert!(!path.exists(), "the socket is removed");
        assert!(matches!(client.get("/node/info").await, Err(ClientError::NoNode { .. })));
    }

    #[tokio::test]
    async fn the_socket_and_its_directory_are_private() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run").join("control.sock");
        let _socket = bind(&path).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[tokio::test]
    async fn a_directory_that_others_may_write_is_refused() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = bind(&home.path().join("control.sock")).await.unwrap_err();
        assert!(matches!(refused, BindError::OpenDirectory { mode: 0o777, .. }), "{refused}");
    }

    #[tokio::test]
    async fn what_a_dead_node_left_is_replaced_and_what_answers_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        drop(bind(&path).await.unwrap());
        assert!(path.exists(), "a node that dies leaves its socket");
        let (task, stop) = serve(&path).await;
        let refused = bind(&path).await.unwrap_err();
        assert!(matches!(refused, BindError::Answered { .. }), "{refused}");
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_file_in_its_place_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        atomic::write(&path, b"precious").unwrap();
        assert!(matches!(bind(&path).await.unwrap_err(), BindError::NotASocket { .. }));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        let (task, stop) = serve(&path).await;
        fs::remove_file(&path).unwrap();
        let _successor = bind(&path).await.unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_told_by_its_length() {
        let refused = bind(&Path::new("/tmp").join("x".repeat(110))).await.unwrap_err();
        assert!(refused.to_string().contains("115 bytes"), "{refused}");
    }

    #[test]
    fn only_this_user_and_root_may_enter() {
        assert!(may_enter(1000, 1000) && may_enter(0, 1000));
        assert!(!may_enter(1001, 1000) && !may_enter(1000, 0));
    }

    #[tokio::test]
    async fn a_request_that_hangs_does_not_hold_up_the_stop() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        let (entered, mut waits) = tokio::sync::mpsc::channel(1);
        let hangs = move || async move {
            let _ = entered.send(()).await;
            std::future::pending::<()>().await;
        };
        let stop = CancellationToken::new();
        let router = Router::new().route("/api/v1/mining/hang", get(hangs));
        let task = tokio::spawn(bind(&path).await.unwrap().serve(router, stop.clone()));
        let asking = tokio::spawn(async move { Client::Socket(path).get("/hang").await });
        waits.recv().await.unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
        asking.abort();
    }
}
