//! Who is at the other end: the connection's own address, or what a trusted proxy says of whom it speaks for.

use std::net::{IpAddr, SocketAddr};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// Proxies in a row that are looked behind: a farm has one, perhaps two.
const MAX_PROXIES: usize = 8;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The connection that a request came over; put on each by the listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Via {
    /// Its other end.
    pub(crate) address: SocketAddr,
    /// Whether it is TLS.
    pub(crate) tls: bool,
}

/// The client of a request; put on each by the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Where it is.
    pub(crate) address: Option<IpAddr>,
    /// Whether it reaches us, or the proxy before us, by TLS.
    pub(crate) encrypted: bool,
    /// Whether nobody on the way can read along: it is encrypted, or does not leave the browser's machine.
    pub(crate) secure: bool,
}

impl Client {
    /// The client of a request to `host`. Only who is in `proxies` is believed about others.
    pub(crate) fn of(request: &Parts, host: &str, proxies: &[IpNet]) -> Self {
        let via = request.extensions.get::<Via>();
        let mut address = via.map(|via| via.address.ip().to_canonical());
        let mut encrypted = via.is_some_and(|via| via.tls);
        if let Some(direct) = address.filter(|address| is_one_of(proxies, *address)) {
            address = Some(behind(&request.headers, direct, proxies));
            let scheme = last(&request.headers, &FORWARDED_PROTO);
            encrypted |= scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        }
        Self { address, encrypted, secure: encrypted || is_loopback(host) }
    }
}

pub(crate) fn is_one_of(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|proxy| proxy.contains(&address))
}

/// The last address that a proxy of ours wrote down: what stands left of it, anybody may have sent.
fn behind(headers: &HeaderMap, direct: IpAddr, proxies: &[IpNet]) -> IpAddr {
    let mut client = direct;
    let lists = headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|value| value.to_str().ok());
    for entry in lists.flat_map(|list| list.rsplit(',')).take(MAX_PROXIES) {
        let entry = entry.trim();
        let parsed = entry.parse::<IpAddr>().or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
        let Ok(address) = parsed else { break };
        client = address.to_canonical();
        if !is_one_of(proxies, client) {
            break;
        }
    }
    client
}

/// The last word of a header: the proxy's own, were there others before.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

/// Whether a browser that asks this host asks its own machine: nothing passes over a network, or through a tunnel only.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn client(from: &str, headers: &[(&str, &str)]) -> Client {
        let mut request =
            Request::builder().extension(Via { address: format!("{from}:1").parse().unwrap(), tls: false });
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let proxies = ["10.0.0.1/32".parse().unwrap(), "172.16.0.0/12".parse().unwrap()];
        Client::of(&parts, "farm.lan", &proxies)
    }

    fn address(from: &str, headers: &[(&str, &str)]) -> String {
        client(from, headers).address.unwrap().to_string()
    }

    #[test]
    fn a_proxy_of_ours_is_believed_about_the_last_hop_alone() {
        let chain = |list| [("x-forwarded-for", list)];
        assert_eq!(address("10.0.0.1", &chain("203.0.113.9")), "203.0.113.9");
        assert_eq!(address("10.0.0.1", &chain("1.1.1.1, 203.0.113.9")), "203.0.113.9");
        assert_eq!(address("10.0.0.1", &chain("1.1.1.1,203.0.113.9 , 172.17.0.2")), "203.0.113.9");
        assert_eq!(address("10.0.0.1", &chain("[2001:db8::1]:4711")), "2001:db8::1");
        assert_eq!(address("10.0.0.1", &chain("203.0.113.9, nonsense")), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        let two = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(address("10.0.0.1", &two), "203.0.113.9");
    }

    #[test]
    fn nobody_else_is_believed() {
        let said = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https")];
        let stranger = client("203.0.113.9", &said);
        assert_eq!(stranger.address.unwrap().to_string(), "203.0.113.9");
        assert!(!stranger.encrypted && !stranger.secure);
        assert!(client("10.0.0.1", &said).encrypted);
        assert!(!client("10.0.0.1", &[("x-forwarded-proto", "https, http")]).encrypted);
    }

    #[test]
    fn what_does_not_leave_the_machine_needs_no_encryption() {
        for host in ["localhost", "LOCALHOST.:9090", "127.0.0.1:9090", "127.1.2.3", "[::1]:9090", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["farm.lan", "127.0.0.1.evil.example", "192.168.1.5:9090", "[2001:db8::1]", "", "[", "localhost.lan"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
