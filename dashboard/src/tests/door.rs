//! The TCP gateway's router without a server, and what knocks at it.

use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::ask::Answer;
use super::contract::assert_promised;
use crate::access::client::Via;
use crate::memory::{Memory, id};
use crate::surround::HEADERS;
use crate::{API, Gateway, WebSettings};

/// A gateway over a node in memory.
pub(super) struct Door {
    pub(super) node: Memory,
    pub(super) gateway: Gateway<Memory>,
    pub(super) stop: CancellationToken,
    pub(super) web: Router,
}

/// Where the page stands in these tests.
pub(super) const HOST: &str = "127.0.0.1:9090";

/// A request that is being made up.
pub(super) struct Knock {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    from: IpAddr,
    tls: bool,
}

pub(super) fn knock(method: &str, path: &str) -> Knock {
    Knock {
        method: method.into(),
        path: format!("{API}{path}"),
        headers: vec![("host".into(), HOST.into())],
        body: None,
        from: Ipv4Addr::LOCALHOST.into(),
        tls: false,
    }
}

impl Knock {
    /// In place of the header of this name.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(super) fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string());
        self.header("content-type", "application/json")
    }

    /// As a browser sends it from the page.
    pub(super) fn page(self) -> Self {
        self.header("sec-fetch-site", "same-origin")
    }

    pub(super) fn cookie(self, cookie: &str) -> Self {
        self.header("cookie", cookie)
    }

    pub(super) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(super) fn from(mut self, from: impl Into<IpAddr>) -> Self {
        self.from = from.into();
        self
    }

    /// Over TLS.
    pub(super) fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// A path of the page, not of the API.
    pub(super) fn outside(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub(super) fn build(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method.as_str()).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request
            .extension(Via { address: (self.from, 50_000).into(), tls: self.tls })
            .body(self.body.map_or_else(Body::empty, Body::from))
            .unwrap()
    }
}

pub(super) fn settings() -> WebSettings {
    WebSettings {
        node_id: id(0),
        hosts: vec!["desk".into(), "desk.local".into()],
        public_url: None,
        tls: None,
        reached_at: None,
        trusted_proxies: vec!["192.0.2.8/32".parse().unwrap()],
        link: false,
    }
}

impl Door {
    pub(super) fn new() -> Self {
        Self::over(Memory::default())
    }

    pub(super) fn over(node: Memory) -> Self {
        let stop = CancellationToken::new();
        let gateway = Gateway::new(node.clone(), stop.clone());
        let web = crate::serve::web(&gateway, &crate::serve::rules(&settings()));
        Self { node, gateway, stop, web }
    }

    /// Every answer has the headers that every answer has.
    pub(super) async fn ask(&self, knock: Knock) -> Answer {
        let answer = answer(self.web.clone(), knock.build()).await;
        for (name, value) in HEADERS {
            assert_eq!(answer.headers[name], value, "{}", answer.body);
        }
        assert!(answer.headers.contains_key(header::CACHE_CONTROL));
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")), "no CORS at all");
        answer
    }

    /// A signed-in browser's cookie.
    pub(super) async fn sign_in(&self) -> String {
        let link = self.link();
        let signed_in = self.ask(knock("POST", "/session").page().json(&json!({ "link": link }))).await;
        assert_eq!(signed_in.status, StatusCode::OK, "{}", signed_in.body);
        cookie_of(&signed_in.headers)
    }

    pub(super) fn link(&self) -> String {
        self.gateway.link().fragment.strip_prefix("#/link/").unwrap().to_owned()
    }

    /// A token of this scope.
    pub(super) async fn token(&self, scope: &str) -> String {
        let body = json!({ "name": format!("a {scope} token"), "scope": scope });
        let made = self.local(knock("POST", "/access/tokens").json(&body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        made.body["token"].as_str().unwrap().to_owned()
    }

    /// Asks over the local socket.
    pub(super) async fn local(&self, knock: Knock) -> Answer {
        answer(self.gateway.local(), knock.build()).await
    }
}

/// Name and value, as a browser sends them back.
pub(super) fn cookie_of(headers: &HeaderMap) -> String {
    headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn answer(router: Router, request: Request<Body>) -> Answer {
    let asked = (request.method().clone(), request.uri().path().to_owned());
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::String(text));
    let answer = Answer { status: parts.status, headers: parts.headers, body };
    assert_promised(&asked.0, &asked.1, &answer);
    answer
}
