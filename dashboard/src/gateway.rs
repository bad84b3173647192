//! One gateway over one node: what its doors share.

use std::sync::{Arc, OnceLock};

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::jobs::Jobs;
use crate::live::Live;
use crate::node::{Node, NodeInfo};
use crate::once::Once;
use crate::router;
use crate::tls::Tls;

/// A gateway: the same node, the same book of who may come in, the same live events, whichever door one takes.
#[derive(Debug)]
pub struct Gateway<N>(Arc<Inner<N>>);

#[derive(Debug)]
struct Inner<N> {
    node: N,
    access: Access,
    jobs: Jobs,
    live: Live<N>,
    once: Once,
    /// Where the page is served, once it is.
    door: OnceLock<Door>,
}

#[derive(Debug)]
struct Door {
    page: String,
    tls: Option<Tls>,
}

impl<N> Clone for Gateway<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N: Node> Gateway<N> {
    /// A gateway whose streams end when `stop` is cancelled.
    pub fn new(node: N, stop: CancellationToken) -> Self {
        let jobs = Jobs::new(stop.clone());
        let live = Live::new(node.clone(), jobs.clone(), stop);
        Self(Arc::new(Inner {
            node,
            access: Access::default(),
            jobs,
            live,
            once: Once::default(),
            door: OnceLock::new(),
        }))
    }

    /// The API for this machine's own user. It knows no login: whoever serves it lets in nobody else.
    pub fn local(&self) -> Router {
        router::local(self)
    }

    /// Where the page is served, when it is.
    #[must_use]
    pub fn page(&self) -> Option<String> {
        self.0.door.get().map(|door| door.page.clone())
    }

    /// SHA-256 of the certificate that the page is served with, as browsers show it; none without TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<String> {
        let tls = self.0.door.get()?.tls.as_ref()?;
        Some(tls.served().fingerprint().to_owned())
    }

    /// Until when that certificate is good, Unix seconds.
    pub(crate) fn certificate_expires_at(&self) -> Option<u64> {
        Some(self.0.door.get()?.tls.as_ref()?.served().expires_at())
    }

    /// What the node says of itself, with what is known here.
    #[must_use]
    pub fn complete(&self, info: NodeInfo) -> NodeInfo {
        NodeInfo {
            dashboard: self.page(),
            certificate: self.certificate(),
            certificate_expires_at: self.certificate_expires_at(),
            ..info
        }
    }

    pub(crate) fn set_door(&self, page: &str, tls: Option<Tls>) {
        // Set once: a gateway has one listener.
        let _ = self.0.door.set(Door { page: page.to_owned(), tls });
    }

    pub(crate) fn node(&self) -> &N {
        &self.0.node
    }

    pub(crate) fn access(&self) -> &Access {
        &self.0.access
    }

    pub(crate) fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    pub(crate) fn once(&self) -> &Once {
        &self.0.once
    }

    pub(crate) fn live(&self) -> &Live<N> {
        &self.0.live
    }
}
