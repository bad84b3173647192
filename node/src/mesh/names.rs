//! Peers that are dialled by name: the machine's own resolver is asked each time.
//!
//! So a name means here what it means in `ping`: `/etc/hosts`, mDNS (`rig-alpha.local`) and a changed `resolv.conf`
//! count, and nothing is remembered. A resolver of our own would keep an address for as long as the name's record allows;
//! a controller that comes back with another address would be missed by its rigs for that long: ten minutes under Docker.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Longest wait for a name. The system asks its name server again after 5 s; by then the dialler asks anew, and sees a
/// network that has come back.
const LOOKUP: Duration = Duration::from_secs(4);
/// Lookups at once. Each has a thread until the system gives up, which takes half a minute where three name servers are
/// silent, and the node's other work with files needs threads, too.
const MAX_LOOKUPS: usize = 32;
/// Addresses of one name that are tried, in the system's order (RFC 6724). The handshake's time has no room for more that
/// do not answer.
const MAX_ADDRESSES: usize = 4;

/// A name that is dialled again within so long was no use at the address that it had: that one connected, and another node
/// answered there, as at a bridge that two machines have alike, or nobody did. The others have their turn first.
const AGAIN: Duration = Duration::from_secs(300);
/// Names that are remembered for that; beyond, all are forgotten: as many as peers are registered.
const MAX_NAMES: usize = 10_000;

/// Which of its addresses a name connected to last.
#[derive(Debug, Clone, Default)]
struct Connected(Arc<Mutex<HashMap<String, (IpAddr, Instant)>>>);

impl Connected {
    /// Puts those behind the last one first.
    fn sort(&self, name: &str, addresses: &mut [IpAddr]) {
        let names = self.names();
        let last = names.get(name).filter(|(_, at)| at.elapsed() < AGAIN);
        if let Some(place) = last.and_then(|(last, _)| addresses.iter().position(|ip| ip == last)) {
            addresses.rotate_left(place + 1);
        }
    }

    fn to(&self, name: String, ip: IpAddr) {
        let mut names = self.names();
        if names.len() >= MAX_NAMES && !names.contains_key(&name) {
            names.clear();
        }
        names.insert(name, (ip, Instant::now()));
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, (IpAddr, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transport that also dials `/dns`, `/dns4` and `/dns6`.
pub(super) struct Named<T> {
    inner: T,
    /// What dials an address that a name turned out to have.
    connect: fn() -> T,
    lookups: Arc<Semaphore>,
    connected: Connected,
}

impl<T> Named<T> {
    pub(super) fn new(connect: fn() -> T) -> Self {
        Self {
            inner: connect(),
            connect,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            connected: Connected::default(),
        }
    }
}

impl<T> Transport for Named<T>
where
    T: Transport<Error = io::Error, Output: Send, Dial: Send + 'static> + Send + Unpin + 'static,
{
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = Pin<Box<dyn Future<Output = io::Result<T::Output>> + Send>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some((family, name)) = name_of(&address) else {
            return Ok(Box::pin(self.inner.dial(address, options)?));
        };
        let (connect, lookups, connected) = (self.connect, Arc::clone(&self.lookups), self.connected.clone());
        Ok(Box::pin(async move {
            let mut last = None;
            let mut found = addresses(name.clone(), family, lookups).await?;
            connected.sort(&name, &mut found);
            for ip in found {
                let Some(address) = address.replace(0, |_| Some(ip.into())) else { break };
                let dial = connect().dial(address, options).map_err(|error| match error {
                    TransportError::MultiaddrNotSupported(address) => {
                        io::Error::new(io::ErrorKind::Unsupported, address.to_string())
                    }
                    TransportError::Other(error) => error,
                });
                match async { dial?.await }.await {
                    Ok(stream) => {
                        connected.to(name, ip);
                        return Ok(stream);
                    }
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
        }))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// Which addresses a name is to have, as its part of the multiaddr says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Any,
    V4,
    V6,
}

fn name_of(address: &Multiaddr) -> Option<(Family, String)> {
    match address.iter().next()? {
        Protocol::Dns(name) => Some((Family::Any, name.into_owned())),
        Protocol::Dns4(name) => Some((Family::V4, name.into_owned())),
        Protocol::Dns6(name) => Some((Family::V6, name.into_owned())),
        _ => None,
    }
}

/// The first [`MAX_ADDRESSES`] of a name, at least one.
async fn addresses(name: String, family: Family, lookups: Arc<Semaphore>) -> io::Result<Vec<IpAddr>> {
    let asked = async {
        let place = lookups.acquire_owned().await.map_err(io::Error::other)?;
        tokio::task::spawn_blocking(move || {
            // Until the system has answered, also when nobody waits any more.
            let _place = place;
            look_up(&name, family)
        })
        .await
        .map_err(io::Error::other)?
    };
    tokio::time::timeout(LOOKUP, asked).await.unwrap_or_else(|_| {
        let why = format!("the name was not found within {} s: does the name server answer?", LOOKUP.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}

fn look_up(name: &str, family: Family) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs().map_err(|error| {
        // The system's words, which tell "no such name" from "no name server", without the library's.
        let text = error.to_string();
        let why = text.rsplit_once(": ").map_or(text.as_str(), |(_, why)| why);
        io::Error::new(io::ErrorKind::NotFound, format!("its name was looked up in vain: {why}"))
    })?;
    let mut addresses = Vec::new();
    for ip in found.map(|found| found.ip()) {
        // Without the network card's name, which an address has no place for, it leads nowhere.
        let lead_nowhere = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let fits = match family {
            _ if lead_nowhere => false,
            Family::Any => true,
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        };
        if fits && addresses.len() < MAX_ADDRESSES && !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    if addresses.is_empty() {
        let kind = match family {
            Family::Any => "usable",
            Family::V4 => "IPv4",
            Family::V6 => "usable IPv6",
        };
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("its name has no {kind} address")));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt};
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use tokio::net::TcpListener;

    use super::*;

    fn named() -> Named<libp2p::tcp::tokio::Transport> {
        Named::new(libp2p::tcp::tokio::Transport::default)
    }

    async fn dial(address: String) -> io::Result<()> {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
        let mut stream = named().dial(address.parse().unwrap(), options).unwrap().await?;
        stream.write_all(b"found").await?;
        stream.close().await?;
        stream.read_to_end(&mut Vec::new()).await?;
        Ok(())
    }

    /// `localhost` is both `::1` and `127.0.0.1`; who listens at one of them is found.
    #[tokio::test]
    async fn a_name_is_dialled_at_whichever_of_its_addresses_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for kind in ["dns", "dns4"] {
            let heard = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut heard = Vec::new();
                tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard).await.unwrap();
                heard
            };
            let (dialled, heard) = tokio::join!(dial(format!("/{kind}/localhost/tcp/{port}")), heard);
            dialled.unwrap();
            assert_eq!(heard, b"found", "{kind}");
        }
        drop(listener);
        let refused = dial(format!("/dns/localhost/tcp/{port}")).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test(start_paused = true)]
    async fn where_somebody_else_answered_the_next_address_has_its_turn() {
        let ips: [IpAddr; 3] = ["172.17.0.1", "192.0.2.7", "192.0.2.8"].map(|ip| ip.parse().unwrap());
        let connected = Connected::default();
        let sorted = |name: &str| {
            let mut sorted = ips;
            connected.sort(name, &mut sorted);
            sorted
        };
        assert_eq!(sorted("rig"), ips);
        connected.to("rig".to_owned(), ips[0]);
        assert_eq!((sorted("rig"), sorted("other")), ([ips[1], ips[2], ips[0]], ips));
        connected.to("rig".to_owned(), ips[2]);
        assert_eq!(sorted("rig"), ips);
        connected.to("rig".to_owned(), ips[1]);
        assert_eq!(sorted("rig"), [ips[2], ips[0], ips[1]]);
        tokio::time::advance(AGAIN).await;
        assert_eq!(sorted("rig"), ips, "that was another time");
        (0..2 * MAX_NAMES).for_each(|number| connected.to(number.to_string(), ips[0]));
        assert!(connected.names().len() <= MAX_NAMES);
    }

    /// RFC 6761, section 6.4: there is no `invalid`.
    #[tokio::test]
    async fn a_name_that_nobody_has_is_said_to_be_unknown() {
        let error = dial("/dns/rig.invalid/tcp/9091".to_owned()).await.unwrap_err().to_string();
        assert!(
            error.starts_with("its name was looked up in vain: ") || error.starts_with("the name was not"),
            "{error}"
        );
        assert!(!error.contains("failed to lookup"), "{error}");
    }

    #[tokio::test]
    async fn a_family_that_the_name_has_not_is_named() {
        let error = look_up("127.0.0.1", Family::V6).unwrap_err();
        assert_eq!(error.to_string(), "its name has no usable IPv6 address");
        let error = look_up("fe80::1", Family::Any).unwrap_err();
        assert_eq!(error.to_string(), "its name has no usable address");
        assert_eq!(look_up("127.0.0.1", Family::V4).unwrap(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }

    /// Each place is a thread that waits for a name server.
    #[tokio::test(start_paused = true)]
    async fn a_lookup_without_a_place_is_given_up() {
        let none = Arc::new(Semaphore::new(0));
        let error = addresses("localhost".to_owned(), Family::Any, none).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
