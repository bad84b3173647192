//! Our words for libp2p's: keys and peer ids, what people write as an address and multiaddrs.

use std::net::IpAddr;
use std::str::FromStr;

use libp2p::identity::{self, PublicKey};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use miner_ctrl_protocol::PeerKey;
use miner_ctrl_protocol::smsg::NodeSecret;

/// Port of the mesh when an address names none.
pub const DEFAULT_PORT: u16 = 9091;

/// Longest address that a person may write. A multiaddr with a DNS name of 253 characters and a peer id fits.
const MAX_ADDRESS: usize = 512;

/// Longest peer id that is looked at: an Ed25519 one has 52 characters. Base58 takes the square of a text's length, and that
/// of the longest body some seconds.
const MAX_PEER_ID: usize = 128;

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A host name with characters that no host name has.
    #[error("`{0}` is not a host name")]
    Host(String),
    /// An IPv6 address that means something on one network card alone, which a multiaddr does not name.
    #[error(
        "`{0}` is a link-local address, which leads nowhere without its network card: use another address, or a name"
    )]
    LinkLocal(String),
    /// A name where only addresses of this machine will do.
    #[error("`{0}` is neither an IP address nor `localhost`")]
    Listen(String),
    /// A port without what goes before it.
    #[error("`{0}` is neither an IP address nor `localhost`: did you mean `:{0}`?")]
    ListenPort(u16),
    /// A multiaddr that cannot be parsed.
    #[error("`{0}` is not a multiaddr: write e.g. /ip4/192.168.1.100/tcp/9091/ws")]
    Multiaddr(String),
    /// A port with nothing before it.
    #[error("`{0}` has no host before its port: write `host:port`")]
    NoHost(String),
    /// Not to listen, and to listen.
    #[error("`off` stands alone: leave it out, or the addresses beside it")]
    OffBesideOthers,
    /// A port that is none.
    #[error("`{0}` is not a port: 1 to 65535")]
    Port(String),
    /// A multiaddr that is not WebSocket over TCP.
    #[error("`{0}` is not WebSocket over TCP: it has the form /ip4|ip6|dns/…/tcp/…/ws")]
    Transport(String),
    /// A URL, as of the page.
    #[error("`{0}` is a URL: write `host`, `host:port` or a multiaddr, e.g. /ip4/192.168.1.100/tcp/9091/ws")]
    Url(String),
    /// A peer id of another kind of key, or a broken one.
    #[error("`{0}` is no peer id of a node: such a one begins with 12D3KooW and has 52 characters")]
    PeerId(String),
    /// Nothing, or far too much.
    #[error("is empty or too long: it has 1 to {MAX_ADDRESS} characters")]
    Length,
}

/// libp2p's keypair of our secret.
pub(crate) fn keypair(secret: &NodeSecret) -> Option<identity::Keypair> {
    identity::Keypair::ed25519_from_bytes(secret.seed().as_mut_slice()).ok()
}

/// libp2p's spelling of a key: an identity multihash of its protobuf form.
#[must_use]
pub fn peer_id(key: &PeerKey) -> PeerId {
    // A `PeerKey` was checked to be a point, which is all that this parses.
    identity::ed25519::PublicKey::try_from_bytes(key.as_bytes())
        .map(|key| PublicKey::from(key).to_peer_id())
        .expect("a PeerKey is a point of the curve")
}

/// The key in a peer id; `None` for other kinds of keys and for hashed ids.
#[must_use]
pub fn peer_key(id: &PeerId) -> Option<PeerKey> {
    let bytes = id.to_bytes();
    // Identity multihash: code 0, length 36, then the protobuf key.
    let protobuf = bytes.strip_prefix(&[0x00, 0x24])?;
    let key = PublicKey::try_decode_protobuf(protobuf).ok()?.try_into_ed25519().ok()?;
    PeerKey::from_bytes(&key.to_bytes()).ok()
}

/// What `peer add` takes: `host`, `host:port` or a multiaddr, each with or without `/p2p/<peer id>`.
///
/// # Errors
/// [`AddressError`], in words for the person who wrote it.
pub fn dial_address(text: &str) -> Result<(Multiaddr, Option<PeerKey>), AddressError> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_ADDRESS {
        return Err(AddressError::Length);
    }
    // With its card's name, as in `fe80::1%eth0`, it is no IP address to what comes below.
    if text.trim_start_matches('[').to_ascii_lowercase().starts_with("fe80::") {
        return Err(AddressError::LinkLocal(text.to_owned()));
    }
    let mut address = if text.starts_with('/') { multiaddr(text)? } else { host_and_port(text)? };
    let key = match address.iter().last() {
        Some(Protocol::P2p(id)) => {
            address.pop();
            Some(peer_key(&id).ok_or_else(|| no_peer_id(&id.to_string()))?)
        }
        _ => None,
    };
    let address = over_websocket(address).ok_or_else(|| AddressError::Transport(text.to_owned()))?;
    // Nobody can be reached there; to a multiaddr it is a port like others.
    if port_of(&address) == Some(0) {
        return Err(AddressError::Port("0".to_owned()));
    }
    if is_link_local(&address) {
        return Err(AddressError::LinkLocal(text.to_owned()));
    }
    Ok((address, key))
}

/// The key of a peer id as it is written.
///
/// # Errors
/// [`AddressError::PeerId`].
pub fn peer_key_of(text: &str) -> Result<PeerKey, AddressError> {
    if text.len() > MAX_PEER_ID {
        return Err(no_peer_id(text));
    }
    PeerId::from_str(text).ok().as_ref().and_then(peer_key).ok_or_else(|| no_peer_id(text))
}

/// It is repeated, but no more of it than is looked at.
fn no_peer_id(text: &str) -> AddressError {
    AddressError::PeerId(text.chars().take(MAX_PEER_ID).collect())
}

/// What `--listen` takes: `:port` for every address of the machine, `host:port` with a literal address, or a multiaddr.
///
/// # Errors
/// [`AddressError`], in words for the person who wrote it.
pub fn listen_addresses(text: &str) -> Result<Vec<Multiaddr>, AddressError> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_ADDRESS {
        return Err(AddressError::Length);
    }
    if let Some(port) = text.strip_prefix(':') {
        let port = parse_port(port, true)?;
        return Ok([IpAddr::from([0; 4]), IpAddr::from([0; 16])]
            .into_iter()
            .map(|ip| Multiaddr::from(ip).with(Protocol::Tcp(port)).with(Protocol::Ws("/".into())))
            .collect());
    }
    if text.starts_with('/') {
        let address = over_websocket(multiaddr(text)?).ok_or_else(|| AddressError::Transport(text.to_owned()))?;
        return Ok(vec![address]);
    }
    if text == "off" {
        return Err(AddressError::OffBesideOthers);
    }
    if let Ok(port) = parse_port(text, true) {
        return Err(AddressError::ListenPort(port));
    }
    let (host, port) = split_host(text)?;
    let ip = if host == "localhost" { "127.0.0.1" } else { host };
    let ip: IpAddr = ip.parse().map_err(|_| AddressError::Listen(host.to_owned()))?;
    let port = port.map_or(Ok(DEFAULT_PORT), |port| parse_port(port, true))?;
    Ok(vec![Multiaddr::from(ip).with(Protocol::Tcp(port)).with(Protocol::Ws("/".into()))])
}

/// The address alone: libp2p adds the peer id to what it was told to dial.
pub(crate) fn without_peer_id(mut address: Multiaddr) -> Multiaddr {
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// The IP address in a multiaddr, if it has one.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    })
}

/// Whether it leads nowhere without the name of a network card (RFC 4007), for which a multiaddr has no place here.
pub(crate) fn is_link_local(address: &Multiaddr) -> bool {
    matches!(ip_of(address), Some(IpAddr::V6(ip)) if ip.is_unicast_link_local())
}

/// The machine in a multiaddr, for people; the whole of one that names none.
pub(crate) fn host_of(address: &Multiaddr) -> String {
    let named = || {
        address.iter().find_map(|part| match part {
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => Some(name.into_owned()),
            _ => None,
        })
    };
    ip_of(address).map(|ip| ip.to_string()).or_else(named).unwrap_or_else(|| address.to_string())
}

/// The TCP port in a multiaddr, if it has one.
pub(crate) fn port_of(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    })
}

fn multiaddr(text: &str) -> Result<Multiaddr, AddressError> {
    let address = Multiaddr::from_str(text).map_err(|_| match text.rsplit_once("/p2p/") {
        Some((_, id)) if PeerId::from_str(id).is_err() => no_peer_id(id),
        _ => AddressError::Multiaddr(text.to_owned()),
    })?;
    for part in &address {
        // To a multiaddr anything up to the next `/` is a name. Ours stands in the request for an upgrade, and is shown.
        if let Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) = part
            && !is_host_name(&name)
        {
            return Err(AddressError::Host(name.into_owned()));
        }
    }
    Ok(address)
}

fn is_host_name(host: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !host.is_empty() && host.len() <= 253 && host.chars().all(fits)
}

/// Completes `…/tcp/N` to `…/tcp/N/ws` and refuses what is not WebSocket over TCP.
fn over_websocket(address: Multiaddr) -> Option<Multiaddr> {
    let parts: Vec<_> = address.iter().collect();
    let host = matches!(
        parts.first()?,
        Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)
    );
    if !host || !matches!(parts.get(1)?, Protocol::Tcp(_)) {
        return None;
    }
    match &parts[2..] {
        [] => Some(address.with(Protocol::Ws("/".into()))),
        [Protocol::Ws(path)] if path == "/" => Some(address),
        _ => None,
    }
}

fn host_and_port(text: &str) -> Result<Multiaddr, AddressError> {
    let (text, suffix) = match text.split_once("/p2p/") {
        Some((text, id)) => (text, Some(PeerId::from_str(id).map_err(|_| no_peer_id(id))?)),
        None => (text, None),
    };
    let (host, port) = split_host(text)?;
    if host.is_empty() {
        return Err(AddressError::NoHost(text.to_owned()));
    }
    let port = port.map_or(Ok(DEFAULT_PORT), |port| parse_port(port, false))?;
    let address = match host.parse::<IpAddr>() {
        Ok(ip) => Multiaddr::from(ip),
        Err(_) => {
            if !is_host_name(host) {
                return Err(AddressError::Host(host.to_owned()));
            }
            Multiaddr::from(Protocol::Dns(host.into()))
        }
    };
    let address = address.with(Protocol::Tcp(port)).with(Protocol::Ws("/".into()));
    Ok(match suffix {
        Some(id) => address.with(Protocol::P2p(id)),
        None => address,
    })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn split_host(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    if text.contains("://") {
        return Err(AddressError::Url(text.to_owned()));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| AddressError::Host(text.to_owned()))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AddressError::Host(text.to_owned())),
        };
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    Ok(text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

fn parse_port(text: &str, zero: bool) -> Result<u16, AddressError> {
    match text.parse::<u16>() {
        // Rust reads a `+` before a number.
        Ok(port) if (port != 0 || zero) && !text.starts_with('+') => Ok(port),
        _ => Err(AddressError::Port(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

    #[test]
    fn what_people_write_becomes_a_websocket_address() {
        for (text, address) in [
            ("192.168.1.100:9091", "/ip4/192.168.1.100/tcp/9091/ws"),
            ("192.168.1.100", "/ip4/192.168.1.100/tcp/9091/ws"),
            ("rig-alpha:9000", "/dns/rig-alpha/tcp/9000/ws"),
            ("fe80:9000", "/dns/fe80/tcp/9000/ws"),
            ("rig-alpha.barn.example", "/dns/rig-alpha.barn.example/tcp/9091/ws"),
            ("[::1]:9000", "/ip6/::1/tcp/9000/ws"),
            ("::1", "/ip6/::1/tcp/9091/ws"),
            ("/ip4/10.0.0.1/tcp/1/ws", "/ip4/10.0.0.1/tcp/1/ws"),
            ("/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1/ws"),
            (" /dns4/a.example/tcp/443/ws ", "/dns4/a.example/tcp/443/ws"),
        ] {
            assert_eq!(dial_address(text), Ok((address.parse().unwrap(), None)), "{text}");
        }
    }

    #[test]
    fn people_are_told_the_machine_of_an_address() {
        for (address, host) in [
            ("/ip4/10.0.0.1/tcp/1/ws", "10.0.0.1"),
            ("/ip6/::ffff:10.0.0.1/tcp/1/ws", "10.0.0.1"),
            ("/dns/rig-alpha.local/tcp/1/ws", "rig-alpha.local"),
            ("/memory/1", "/memory/1"),
        ] {
            assert_eq!(host_of(&address.parse().unwrap()), host);
        }
    }

    #[test]
    fn a_peer_id_in_the_address_is_the_only_key_taken_there() {
        let key = peer_key(&PEER.parse().unwrap());
        assert!(key.is_some());
        for text in [format!("/ip4/10.0.0.1/tcp/1/ws/p2p/{PEER}"), format!("10.0.0.1:1/p2p/{PEER}")] {
            assert_eq!(dial_address(&text), Ok(("/ip4/10.0.0.1/tcp/1/ws".parse().unwrap(), key)), "{text}");
        }
        assert_eq!(peer_id(&key.unwrap()).to_string(), PEER);
        assert_eq!(
            dial_address("10.0.0.1:1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"),
            Err(AddressError::PeerId("QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC".into())),
            "a hashed id holds no key"
        );
    }

    #[test]
    fn what_is_no_address_is_refused_in_words() {
        for (text, error) in [
            ("", AddressError::Length),
            ("a b:1", AddressError::Host("a b".into())),
            (":9091", AddressError::NoHost(":9091".into())),
            ("/ip4/10.0.0.1/tcp/1/ws/p2p/12D3bad", AddressError::PeerId("12D3bad".into())),
            ("10.0.0.1:1/p2p/12D3bad", AddressError::PeerId("12D3bad".into())),
            ("/what/p2p/12D3bad", AddressError::PeerId("12D3bad".into())),
            ("http://10.0.0.1:9091/", AddressError::Url("http://10.0.0.1:9091/".into())),
            ("ws://rig", AddressError::Url("ws://rig".into())),
            ("host:0", AddressError::Port("0".into())),
            ("host:+80", AddressError::Port("+80".into())),
            ("/ip4/10.0.0.1/tcp/0/ws", AddressError::Port("0".into())),
            ("host:99999", AddressError::Port("99999".into())),
            ("host:", AddressError::Port(String::new())),
            ("[::1", AddressError::Host("[::1".into())),
            (
                "/ip4/10.0.0.1/tcp/1/x-parity-ws/%2f%0d%0aX:",
                AddressError::Transport("/ip4/10.0.0.1/tcp/1/x-parity-ws/%2f%0d%0aX:".into()),
            ),
            ("/ip4/10.0.0.1/udp/1/quic-v1", AddressError::Transport("/ip4/10.0.0.1/udp/1/quic-v1".into())),
            ("/what", AddressError::Multiaddr("/what".into())),
            ("/dns/rig\r\nX: y/tcp/1", AddressError::Host("rig\r\nX: y".into())),
            ("/dns4/rig\u{1b}[2J/tcp/1/ws", AddressError::Host("rig\u{1b}[2J".into())),
            ("/dns6//tcp/1/ws", AddressError::Host(String::new())),
            ("fe80::1", AddressError::LinkLocal("fe80::1".into())),
            ("[fe80::1%eth0]:9091", AddressError::LinkLocal("[fe80::1%eth0]:9091".into())),
            ("/ip6/fe80::1/tcp/1/ws", AddressError::LinkLocal("/ip6/fe80::1/tcp/1/ws".into())),
        ] {
            assert_eq!(dial_address(text), Err(error), "{text}");
        }
    }

    /// To read it would take minutes.
    #[test]
    fn what_is_far_too_long_for_a_peer_id_is_not_read() {
        assert_eq!(peer_key_of(&"z".repeat(1 << 20)), Err(AddressError::PeerId("z".repeat(MAX_PEER_ID))));
        assert!(peer_key_of(PEER).is_ok());
    }

    #[test]
    fn a_bare_port_listens_everywhere_on_both_families() {
        let both: Vec<Multiaddr> =
            ["/ip4/0.0.0.0/tcp/9091/ws", "/ip6/::/tcp/9091/ws"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(listen_addresses(":9091"), Ok(both));
        assert_eq!(listen_addresses("127.0.0.1:0"), Ok(vec!["/ip4/127.0.0.1/tcp/0/ws".parse().unwrap()]));
        assert_eq!(listen_addresses("rig:1"), Err(AddressError::Listen("rig".into())));
        assert_eq!(listen_addresses("19191"), Err(AddressError::ListenPort(19191)));
        assert_eq!(listen_addresses("off"), Err(AddressError::OffBesideOthers));
        assert_eq!(listen_addresses("ws://:9091"), Err(AddressError::Url("ws://:9091".into())));
    }
}
