//! The door of the TCP gateway: host, origin, credential, scope. In this order, before any route.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;

use super::book::SESSION_SECONDS;
use super::caller::Caller;
use super::client::Client;
use super::secret::Secret;
use crate::error::{ApiError, Code};
use crate::gateway::Gateway;
use crate::node::Node;
use crate::records::{By, Scope};
use crate::router::API;

/// What the guard goes by.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The session's cookie. Ports do not part cookies, so the node's id does.
    pub(crate) cookie: String,
    /// Names besides IP addresses and `localhost`, in lower case.
    pub(crate) hosts: Vec<String>,
    /// Proxies that are believed about whom they speak for.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

/// The guard of one gateway.
pub(crate) struct Guard<N> {
    pub(crate) gateway: Gateway<N>,
    pub(crate) rules: Arc<Rules>,
}

impl<N: Clone> Clone for Guard<N> {
    fn clone(&self) -> Self {
        Self { gateway: self.gateway.clone(), rules: Arc::clone(&self.rules) }
    }
}

/// Lets a request pass, or says why not.
pub(crate) async fn guard<N: Node>(State(guard): State<Guard<N>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let admitted = guard.admit(&parts).await;
    let mut request = Request::from_parts(parts, body);
    match admitted {
        Err(refused) => refused.into_response(),
        Ok(Admitted { client, caller, slides }) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            request.extensions_mut().insert(Arc::clone(&guard.rules));
            request.extensions_mut().insert(client);
            let mut response = next.run(request).await;
            if let Some(cookie) = slides
                && !response.headers().contains_key(header::SET_COOKIE)
            {
                response.headers_mut().insert(header::SET_COOKIE, guard.rules.set_cookie(&cookie, client));
            }
            response
        }
    }
}

struct Admitted {
    client: Client,
    caller: Option<Caller>,
    /// The cookie, when its time begins anew.
    slides: Option<Secret>,
}

impl<N: Node> Guard<N> {
    async fn admit(&self, request: &Parts) -> Result<Admitted, ApiError> {
        let headers = &request.headers;
        let host = self.rules.check_host(request)?;
        let client = Client::of(request, host, &self.rules.trusted_proxies);
        let from = client.address;
        let path = request.uri.path().strip_prefix(API);
        let Some(path) = path.filter(|path| path.is_empty() || path.starts_with('/')) else {
            // The page itself: it holds nothing but its code, and is what one signs in with.
            return Ok(Admitted { client, caller: None, slides: None });
        };
        let safe = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if let Some(bearer) = bearer(headers)? {
            let caller = self.gateway.access().token(self.gateway.node(), bearer, from).await?;
            let caller = caller.ok_or_else(|| no_token("the token is not valid, or not any more"))?;
            self.check_scope(&caller, &request.method, path)?;
            self.gateway.access().count(&caller)?;
            return Ok(Admitted { client, caller: Some(caller), slides: None });
        }
        // From here on a browser might have been made to send it.
        check_origin(headers, host, safe, client.encrypted)?;
        let session = self.session(headers, client).await?;
        if let Some((caller, _, _)) = &session {
            self.check_scope(caller, &request.method, path)?;
            self.gateway.access().count(caller)?;
        } else if !is_open(&request.method, path) {
            return Err(sign_in("nobody is signed in"));
        }
        Ok(match session {
            Some((caller, cookie, slides)) => {
                Admitted { client, caller: Some(caller), slides: slides.then_some(cookie) }
            }
            None => Admitted { client, caller: None, slides: None },
        })
    }

    async fn session(&self, headers: &HeaderMap, client: Client) -> Result<Option<(Caller, Secret, bool)>, ApiError> {
        let (name, from) = (self.rules.cookie_name(client), client.address);
        // Another service on this machine can set a cookie of this name beside ours; ours counts, wherever it stands.
        for cookie in cookies(headers, &name).take(MAX_COOKIES) {
            let cookie = Secret::new(cookie);
            if let Some((caller, slides)) = self.gateway.access().session(self.gateway.node(), &cookie, from).await? {
                return Ok(Some((caller, cookie, slides)));
            }
        }
        Ok(None)
    }

    fn check_scope(&self, caller: &Caller, method: &Method, path: &str) -> Result<(), ApiError> {
        let needs = needed(method, path);
        if caller.scope >= needs {
            return Ok(());
        }
        let (needs, has) = (needs.as_str(), caller.scope.as_str());
        Err(ApiError::new(Code::ScopeTooSmall, format!("this needs the scope `{needs}`; the credential has `{has}`")))
    }
}

/// Cookies of our name that are looked at.
const MAX_COOKIES: usize = 4;

/// What may be asked without a credential: whether the node lives, and how to sign in.
pub(crate) fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "/health" | "/ready" => *method == Method::GET || *method == Method::HEAD,
        "/session" => matches!(*method, Method::GET | Method::HEAD | Method::POST),
        _ => false,
    }
}

/// What a request needs. What is not known to need less needs everything.
pub(crate) fn needed(method: &Method, path: &str) -> Scope {
    let safe = *method == Method::GET || *method == Method::HEAD;
    let mut segments = path.split('/').skip(1);
    match (segments.next().unwrap_or_default(), safe) {
        ("access", _) => Scope::Admin,
        // Signing out is for whoever is in.
        ("session", _) | (_, true) => Scope::Read,
        ("jobs" | "profiles" | "remote", false) => Scope::Control,
        ("peers", false) if segments.nth(1) == Some("ping") && segments.next().is_none() => Scope::Control,
        _ => Scope::Admin,
    }
}

fn sign_in(why: &str) -> ApiError {
    ApiError::new(Code::SignInNeeded, why)
}

/// To whoever sends a token, and not a browser's cookie.
fn no_token(why: &str) -> ApiError {
    sign_in(why).hint("`miner-ctrl token add` on the node's machine makes a token: `Authorization: Bearer mc_…`")
}

/// The token of an `Authorization` header. Any other kind is refused: it was meant to count, and it does not.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| value.split_once(' ')).filter(|_| second.is_none());
    match token {
        Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(no_token("the Authorization header is not one `Bearer` and a token")),
    }
}

fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
}

/// Whether it comes from this page itself. Cookies come along from other ports of the same host (`SameSite` does not
/// part them), so that the browser's own word about the origin decides.
fn check_origin(headers: &HeaderMap, host: &str, safe: bool, encrypted: bool) -> Result<(), ApiError> {
    let refused = |why: String| Err(ApiError::new(Code::CrossOrigin, why));
    if let Some(site) = headers.get("sec-fetch-site") {
        return match site.as_bytes() {
            b"same-origin" => Ok(()),
            // Typed into the address bar.
            b"none" if safe => Ok(()),
            _ => refused(format!("the browser calls it {}", String::from_utf8_lossy(site.as_bytes()))),
        };
    }
    match headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("?")) {
        Some(origin) => {
            // A page that came in plain may be anybody's. The other way round stands a proxy that we do not know of.
            let plain = origin.strip_prefix("http://").filter(|_| !encrypted);
            let theirs = plain.or_else(|| origin.strip_prefix("https://"));
            if theirs.is_some_and(|theirs| theirs.eq_ignore_ascii_case(host)) {
                return Ok(());
            }
            refused(format!("its origin is {origin}"))
        }
        None if safe => Ok(()),
        None => refused("it names no origin, and brings no token".to_owned()),
    }
}

impl Rules {
    /// Under TLS the browser itself sees to it that nobody else set the cookie, nor reads it on the way (`__Host-`).
    fn cookie_name(&self, client: Client) -> Cow<'_, str> {
        if client.encrypted { format!("__Host-{}", self.cookie).into() } else { (&self.cookie).into() }
    }

    /// The cookie of a new session, or of one whose time begins anew.
    pub(crate) fn set_cookie(&self, value: &Secret, client: Client) -> HeaderValue {
        self.cookie_for(value.as_str(), SESSION_SECONDS, client)
    }

    /// Takes the cookie away.
    pub(crate) fn clear_cookie(&self, client: Client) -> HeaderValue {
        self.cookie_for("", 0, client)
    }

    fn cookie_for(&self, value: &str, seconds: u64, client: Client) -> HeaderValue {
        let (name, secure) = (self.cookie_name(client), if client.encrypted { "; Secure" } else { "" });
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        let mut header = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }

    /// The host that was asked for, when this node goes by it. A page whose name was made to point here (DNS rebinding)
    /// looks same-origin to the browser; its name gives it away.
    pub(crate) fn check_host<'a>(&self, request: &'a Parts) -> Result<&'a str, ApiError> {
        // RFC 9112, section 3.2.
        let unclear = |why: &str| Err(ApiError::new(Code::BadRequest, why));
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return unclear("the request names no host, or several");
        };
        let Ok(host) = host.to_str() else { return unclear("the Host header is not text") };
        if request.uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
            return unclear("the request names two hosts");
        }
        if self.knows(host) {
            return Ok(host);
        }
        let shown: String = host.chars().take(80).collect();
        Err(ApiError::new(Code::Misdirected, format!("this node does not go by the name `{shown}`")))
    }

    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((inside, port)) if is_port(port) => {
                    return inside.parse::<std::net::Ipv6Addr>().is_ok();
                }
                _ => return false,
            },
            None => match host.split_once(':') {
                Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
                Some(_) => return false,
                None => host,
            },
        };
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return true;
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost" || self.hosts.contains(&name)
    }
}

/// What stands behind the bracket of an IPv6 address: nothing, or a port.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Who is signed in, as far as anybody is: for routes that are open.
pub(crate) fn caller_of(request: &axum::http::Extensions) -> Option<&Caller> {
    request.get::<Caller>()
}

/// The local socket's door: whoever the socket let in is this machine's own user.
pub(crate) async fn local(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Caller::local());
    next.run(request).await
}

impl Caller {
    /// Whether it may see what gives more than it has, e.g. the pairing code.
    pub(crate) fn is_admin(&self) -> bool {
        self.by == By::Local || self.scope == Scope::Admin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_localhost_and_names_of_ours() {
        let hosts = vec!["barn".into(), "barn.local".into()];
        let rules = Rules { cookie: "mc_x".into(), hosts, trusted_proxies: vec![] };
        for good in [
            "127.0.0.1:9090",
            "10.0.0.7",
            "[::1]:9090",
            "[fe80::1]",
            "localhost",
            "LocalHost:1",
            "barn.local.",
            "BARN:9090",
        ] {
            assert!(rules.knows(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[::1",
            "[::1]x",
            "barn:x",
            "barn:1:2",
            "127.0.0.1@evil",
            "[barn]",
            "2130706433",
        ] {
            assert!(!rules.knows(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_not_known_to_need_less_needs_everything() {
        for (method, path, needs) in [
            (Method::GET, "/peers", Scope::Read),
            (Method::HEAD, "/remote/stats", Scope::Read),
            (Method::GET, "/access", Scope::Admin),
            (Method::DELETE, "/session", Scope::Read),
            (Method::POST, "/remote/a/start", Scope::Control),
            (Method::PUT, "/profiles/x", Scope::Control),
            (Method::POST, "/peers/a/ping", Scope::Control),
            (Method::POST, "/peers", Scope::Admin),
            (Method::DELETE, "/peers/ping", Scope::Admin),
            (Method::POST, "/peers/pending/ping/approve", Scope::Admin),
            (Method::POST, "/peers/pending/ping", Scope::Control),
            (Method::POST, "/node/pairing-code", Scope::Admin),
            (Method::POST, "/something/new", Scope::Admin),
            (Method::PATCH, "/peers/a", Scope::Admin),
        ] {
            assert_eq!(needed(&method, path), needs, "{method} {path}");
        }
    }
}
