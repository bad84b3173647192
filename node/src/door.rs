//! The dashboard's TCP door: whether it opens, where, and who may knock.

use miner_ctrl_dashboard::node::NodeInfo;
use miner_ctrl_dashboard::{Gateway, ServeError, WebSettings, bind, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{Exit, Failure};
use crate::config::NodeConfig;
use crate::handle::{NodeHandle, chain};

/// A door that listens and serves nobody yet.
pub(crate) struct Door {
    listener: TcpListener,
    settings: WebSettings,
}

impl Door {
    /// Listens where the settings say; none when there is to be no dashboard.
    ///
    /// A place that nobody asked for and that is taken, e.g. by another node on this machine, costs the page and not
    /// the node.
    pub(crate) async fn open(
        gateway: &Gateway<NodeHandle>,
        config: &NodeConfig,
        info: &NodeInfo,
        link: bool,
    ) -> Result<Option<Self>, Failure> {
        let Some(address) = config.dashboard_address(info.role) else { return Ok(None) };
        if !cfg!(feature = "dashboard") {
            if config.dashboard.is_none() {
                return Ok(None);
            }
            return Err(failure("no-dashboard").because("this miner-ctrl was built without its dashboard"));
        }
        let settings = WebSettings {
            node_id: info.id,
            hosts: host_names().chain(config.allowed_hosts.iter().cloned()).collect(),
            public_url: config.public_url.clone(),
            insecure_http: config.insecure_http,
            link,
        };
        match bind(gateway, address, &settings).await {
            Ok(listener) => Ok(Some(Self { listener, settings })),
            Err(error @ ServeError::Listen { .. }) if config.dashboard.is_none() => {
                tracing::warn!(error = chain(&error), "no dashboard is served: choose another place with --dashboard");
                Ok(None)
            }
            Err(error) => Err(not_open(&error)),
        }
    }

    /// Serves until `stop`.
    pub(crate) async fn serve(door: Option<Self>, gateway: Gateway<NodeHandle>, stop: CancellationToken) {
        match door {
            Some(Self { listener, settings }) => serve(listener, gateway, settings, stop).await,
            None => stop.cancelled().await,
        }
    }
}

/// What this machine is called on its network.
fn host_names() -> impl Iterator<Item = String> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let short = name.split('.').next().unwrap_or_default().to_owned();
    let names = [name, format!("{short}.local"), short];
    names.into_iter().filter(|name| !name.is_empty() && name != ".local")
}

fn failure(code: &str) -> Failure {
    Failure::new(Exit::Usage, code, "cannot serve the dashboard")
}

fn not_open(error: &ServeError) -> Failure {
    let (exit, code, hint) = match error {
        ServeError::Address { .. } => (Exit::Usage, "bad-address", "write `HOST:PORT`, e.g. 127.0.0.1:9090"),
        ServeError::Listen { .. } => {
            (Exit::Error, "cannot-listen", "another program listens there: choose another place with --dashboard")
        }
        ServeError::NotEncrypted { .. } => (
            Exit::Refused,
            "not-encrypted",
            "reach it through an SSH tunnel or a proxy with TLS, or say --insecure-http where you trust the network",
        ),
        ServeError::NotProtected { .. } => (
            Exit::Refused,
            "not-protected",
            "set a password first (`miner-ctrl ui --set-password`), or start with --link",
        ),
        ServeError::Records(_) => (Exit::Error, "bad-records", "`miner-ctrl doctor` looks for what is wrong"),
    };
    Failure::new(exit, code, "cannot serve the dashboard").caused_by(error).hint(hint)
}
