//! The listener of the TCP gateway: who may connect how often, and for how long.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use miner_ctrl_protocol::NodeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::access::guard::{From, Rules};
use crate::gateway::Gateway;
use crate::node::{Node, NodeError};
use crate::router;

/// Connections at once: every stream that may be open, and as many again for each of three other requests.
const MAX_CONNECTIONS: usize = 1024;

/// How long the head of a request may take, and how long a connection may stay without one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head of a request: a browser's has a few KiB.
const HEAD_LIMIT: usize = 32 * 1024;

/// How long a reader may leave unread what was sent: a phone that was put away leaves nothing behind but this.
const STALLED: Duration = Duration::from_secs(30);

/// What the kernel keeps of a stream that is not read.
const SEND_BUFFER: usize = 256 * 1024;

/// Pause after a failed accept, e.g. with all file descriptors in use: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// How long answers under way may take when the node stops.
const GRACE: Duration = Duration::from_secs(3);

/// How the gateway is reached over TCP.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// This node: part of the cookie's name, since ports do not part cookies.
    pub node_id: NodeId,
    /// Names that this machine goes by, besides its addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Where people open the page, when that is not where it listens, e.g. behind a container's published port.
    pub public_url: Option<String>,
    /// Serve other machines although nothing is encrypted.
    pub insecure_http: bool,
    /// A one-time link is printed, so that nobody needs a password yet.
    pub link: bool,
}

/// Why the gateway does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Not `HOST:PORT`, or a host that nobody knows.
    #[error("`{address}` is no address to listen on")]
    Address {
        /// As it was written.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refuses.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Other machines would reach it, and whoever listens on the way would read passwords.
    #[error("{address} can be reached by other machines, and nothing on the way would be encrypted")]
    NotEncrypted {
        /// Where.
        address: SocketAddr,
    },
    /// Other machines would reach it, and nobody could sign in.
    #[error("{address} can be reached by other machines, and there is neither a password nor a token yet")]
    NotProtected {
        /// Where.
        address: SocketAddr,
    },
    /// Who may come in is not known.
    #[error("cannot read who may come in")]
    Records(#[source] NodeError),
}

/// Listens, where it may: on loopback, or elsewhere when its operator said so and somebody can sign in.
///
/// # Errors
/// [`ServeError`]
pub async fn bind<N: Node>(
    gateway: &Gateway<N>,
    address: &str,
    settings: &WebSettings,
) -> Result<TcpListener, ServeError> {
    let unknown = |source| ServeError::Address { address: address.to_owned(), source };
    let resolved: Vec<SocketAddr> = tokio::net::lookup_host(address).await.map_err(unknown)?.collect();
    if resolved.is_empty() {
        return Err(unknown(io::ErrorKind::NotFound.into()));
    }
    // A name that means this machine and another one is not loopback.
    if let Some(&exposed) = resolved.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
        if !settings.insecure_http {
            return Err(ServeError::NotEncrypted { address: exposed });
        }
        let record = gateway.node().access().await.map_err(ServeError::Records)?;
        if !settings.link && record.password.is_none() && record.tokens.is_empty() {
            return Err(ServeError::NotProtected { address: exposed });
        }
    }
    let refused = |source| ServeError::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(&*resolved).await.map_err(refused)?;
    let mut local = listener.local_addr().map_err(refused)?;
    if local.ip().is_unspecified() {
        local.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let page = settings.public_url.clone().unwrap_or_else(|| format!("http://{local}"));
    gateway.set_page(page.trim_end_matches('/'));
    Ok(listener)
}

/// Serves until `stop`, then finishes what is under way for a few seconds.
pub async fn serve<N: Node>(
    listener: TcpListener,
    gateway: Gateway<N>,
    settings: WebSettings,
    stop: CancellationToken,
) {
    let router = web(&gateway, &settings);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // Gone, or panicked, which the request's own guard has told.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (place, accepted) = next(&places, &listener) => match accepted {
                Ok((stream, from)) => {
                    let connection = answer(stream, from, router.clone(), stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the dashboard");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    // What takes longer is cut off when the set is dropped.
    let _ = tokio::time::timeout(GRACE, finished).await;
}

/// The router that [`serve`] serves.
pub(crate) fn web<N: Node>(gateway: &Gateway<N>, settings: &WebSettings) -> Router {
    let mut hosts: Vec<String> = settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    hosts.extend(settings.public_url.as_deref().and_then(host_of));
    let rules = Rules { cookie: format!("mc_{}", settings.node_id), hosts };
    router::web(gateway, Arc::new(rules), page())
}

#[cfg(feature = "web")]
fn page() -> Router {
    crate::assets::page()
}

#[cfg(not(feature = "web"))]
fn page() -> Router {
    Router::new()
}

/// The host of an address of a page.
fn host_of(url: &str) -> Option<String> {
    let uri: axum::http::Uri = url.parse().ok()?;
    Some(uri.host()?.to_ascii_lowercase())
}

type Accepted = (Option<tokio::sync::OwnedSemaphorePermit>, io::Result<(TcpStream, SocketAddr)>);

/// The next connection, when there is a place for it. Until then others wait in the kernel's queue.
async fn next(places: &Arc<Semaphore>, listener: &TcpListener) -> Accepted {
    // Nobody closes the semaphore.
    let place = Arc::clone(places).acquire_owned().await.ok();
    (place, listener.accept().await)
}

async fn answer(stream: TcpStream, from: SocketAddr, router: Router, stop: CancellationToken) {
    if let Err(error) = tune(&stream) {
        tracing::debug!(%error, "a connection keeps the system's settings");
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(From(from));
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_LIMIT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %from, "a connection to the dashboard ended");
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?;
    let stalled = u32::try_from(STALLED.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, stalled)?;
    Ok(())
}
