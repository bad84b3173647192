//! The listener of the TCP gateway: who may connect how often, and for how long.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ipnet::IpNet;
use miner_ctrl_protocol::NodeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::client::is_one_of;
use crate::access::guard::Rules;
use crate::connection::Answers;
use crate::crowd::{Crowd, Member};
use crate::gateway::Gateway;
use crate::node::{Node, NodeError};
use crate::records::AccessRecord;
use crate::router;
use crate::tls::Tls;

/// Connections at once: every stream that may be open, and as many again for each of three other requests.
const MAX_CONNECTIONS: usize = 1024;

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
    /// How it is encrypted; none serves plain HTTP.
    pub tls: Option<Tls>,
    /// Where this machine is reached, for a page that listens everywhere; none prints loopback.
    pub reached_at: Option<IpAddr>,
    /// Proxies that are believed about whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
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

/// Where to listen, looked up.
#[derive(Debug, Clone)]
pub struct Place {
    address: String,
    resolved: Vec<SocketAddr>,
}

impl Place {
    /// Looks up `HOST:PORT`.
    ///
    /// # Errors
    /// [`ServeError::Address`].
    pub async fn find(address: &str) -> Result<Self, ServeError> {
        let unknown = |source| ServeError::Address { address: address.to_owned(), source };
        let resolved: Vec<SocketAddr> = tokio::net::lookup_host(address).await.map_err(unknown)?.collect();
        if resolved.is_empty() {
            return Err(unknown(io::ErrorKind::NotFound.into()));
        }
        Ok(Self { address: address.to_owned(), resolved })
    }

    /// The addresses that it means.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.resolved.iter().map(SocketAddr::ip)
    }

    /// The address at which other machines reach it; none on loopback. A name that means this machine and another one
    /// is not loopback.
    #[must_use]
    pub fn exposed(&self) -> Option<SocketAddr> {
        self.resolved.iter().find(|address| !address.ip().to_canonical().is_loopback()).copied()
    }

    /// Whether it may be listened on: on loopback, or elsewhere when somebody can sign in.
    ///
    /// # Errors
    /// [`ServeError::NotProtected`].
    pub fn check_protected(&self, access: &AccessRecord) -> Result<(), ServeError> {
        match self.exposed() {
            Some(address) if access.password.is_none() && access.tokens.is_empty() => {
                Err(ServeError::NotProtected { address })
            }
            _ => Ok(()),
        }
    }

    /// Listens, whoever may come in.
    ///
    /// # Errors
    /// [`ServeError::Listen`].
    pub async fn listen(&self) -> Result<TcpListener, ServeError> {
        let refused = |source| ServeError::Listen { address: self.address.clone(), source };
        TcpListener::bind(&*self.resolved).await.map_err(refused)
    }
}

/// Listens, where it may: on loopback, or elsewhere when somebody can sign in.
///
/// # Errors
/// [`ServeError`]
pub async fn bind<N: Node>(
    gateway: &Gateway<N>,
    place: &Place,
    settings: &WebSettings,
) -> Result<TcpListener, ServeError> {
    if place.exposed().is_some() && !settings.link {
        place.check_protected(&gateway.node().access().await.map_err(ServeError::Records)?)?;
    }
    let listener = place.listen().await?;
    let refused = |source| ServeError::Listen { address: place.address.clone(), source };
    let mut local = listener.local_addr().map_err(refused)?;
    if local.ip().is_unspecified() {
        local.set_ip(settings.reached_at.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let page = settings.public_url.clone().unwrap_or_else(|| format!("{scheme}://{local}"));
    gateway.set_door(page.trim_end_matches('/'), settings.tls.clone());
    Ok(listener)
}

/// Serves until `stop`, then finishes what is under way for a few seconds.
pub async fn serve<N: Node>(
    listener: TcpListener,
    gateway: Gateway<N>,
    settings: WebSettings,
    stop: CancellationToken,
) {
    let rules = rules(&settings);
    let acceptor = settings.tls.as_ref().map(Tls::acceptor);
    let answers = Answers::new(web(&gateway, &rules), rules, acceptor);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let crowd = Crowd::default();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // Gone, or panicked, which the request's own guard has told.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (place, accepted) = next(&places, &listener) => match accepted {
                Ok((stream, from)) => {
                    let Some(member) = admit(&crowd, &settings, from) else {
                        tracing::debug!(%from, "too many connections of one address to the dashboard");
                        continue;
                    };
                    let connection = answers.clone().serve(stream, from, stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop((place, member));
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

/// Takes a connection in, unless its address has its share. This machine itself has no share, nor has a proxy of ours:
/// everybody comes from there.
fn admit(crowd: &Crowd, settings: &WebSettings, from: SocketAddr) -> Option<Option<Member>> {
    let address = from.ip().to_canonical();
    if address.is_loopback() || is_one_of(&settings.trusted_proxies, address) {
        return Some(None);
    }
    crowd.join(address).map(Some)
}

/// The router that [`serve`] serves.
pub(crate) fn web<N: Node>(gateway: &Gateway<N>, rules: &Arc<Rules>) -> Router {
    router::web(gateway, Arc::clone(rules), page())
}

/// What the guard goes by.
pub(crate) fn rules(settings: &WebSettings) -> Arc<Rules> {
    let mut hosts: Vec<String> = settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    hosts.extend(settings.public_url.as_deref().and_then(host_of));
    let cookie = format!("mc_{}", settings.node_id);
    Arc::new(Rules { cookie, hosts, trusted_proxies: settings.trusted_proxies.clone() })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::OF_ONE;
    use miner_ctrl_protocol::NodeId;

    #[test]
    fn this_machine_and_a_proxy_of_ours_have_no_share() {
        let settings = WebSettings {
            node_id: "0000000000000000".parse::<NodeId>().unwrap(),
            hosts: vec![],
            public_url: None,
            tls: None,
            reached_at: None,
            trusted_proxies: vec!["192.0.2.8/32".parse().unwrap()],
            link: false,
        };
        let crowd = Crowd::default();
        let taken = |from: &str| (0..=OF_ONE).map_while(|_| admit(&crowd, &settings, from.parse().unwrap())).count();
        let hold: Vec<_> =
            (0..OF_ONE).map(|_| admit(&crowd, &settings, "192.0.2.9:1".parse().unwrap()).unwrap()).collect();
        assert!(admit(&crowd, &settings, "192.0.2.9:1".parse().unwrap()).is_none());
        for exempt in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "192.0.2.8:1"] {
            assert_eq!(taken(exempt), OF_ONE + 1, "{exempt}");
        }
        drop(hold);
    }
}
