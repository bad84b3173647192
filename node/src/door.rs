//! The dashboard's TCP door: whether it opens, where, and who may knock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use miner_ctrl_dashboard::node::NodeInfo;
use miner_ctrl_dashboard::records::AccessRecord;
use miner_ctrl_dashboard::tls::Tls;
use miner_ctrl_dashboard::{Gateway, Place, ProblemDetails, ServeError, WebSettings, bind, check_password, serve};
use miner_ctrl_protocol::Role;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::causes::chain;
use crate::certificate::{CertificateError, Source, TlsMode, is_good};
use crate::cli::{Exit, Failure, Page};
use crate::config::NodeConfig;
use crate::handle::NodeHandle;
use crate::store::{Database, Places, access, file};

/// How often the certificate is read again: files that were renewed are served within the hour.
const LOOK: Duration = Duration::from_secs(3600);
/// How often it is held against the clock, which may have been set: a certificate that is not valid is read, or made,
/// again at once.
const CHECK: Duration = Duration::from_secs(5);

/// Largest file of a password, with room for a line's end.
const MAX_PASSWORD: u64 = 2048;

/// A door that listens and serves nobody yet.
pub(crate) struct Door {
    listener: TcpListener,
    settings: WebSettings,
    source: Option<Source>,
}

impl Door {
    /// Listens where the settings say; none when there is to be no dashboard.
    ///
    /// A place that nobody asked for and that is taken, e.g. by another node on this machine, costs the page and not
    /// the node.
    pub(crate) async fn open(
        gateway: &Gateway<NodeHandle>,
        config: &NodeConfig,
        places: &Places,
        info: &NodeInfo,
        link: bool,
    ) -> Result<Option<Self>, Failure> {
        let Some(address) = config.dashboard_address(info.role) else { return Ok(None) };
        set_password(gateway, config).await?;
        let place = Place::find(address).await.map_err(|error| not_open(&error))?;
        let hosts: Vec<String> = host_names().chain(config.allowed_hosts.iter().cloned()).collect();
        let addresses = own_addresses(&place);
        let source = source(config, places, &place, &hosts, &addresses);
        let tls = source.as_ref().map(first).transpose()?;
        if tls.is_none() && place.exposed().is_some() {
            tracing::warn!(address, "the dashboard is served without TLS: whoever is on the way can read passwords");
        }
        let settings = WebSettings {
            node_id: info.id,
            hosts,
            public_url: config.public_url.clone(),
            // Without TLS a container or a proxy stands before it, and this machine's addresses are not the page's.
            reached_at: tls.as_ref().and_then(|_| addresses.iter().find(|address| is_on_a_network(address)).copied()),
            tls,
            trusted_proxies: config.trusted_proxies.iter().map(|proxy| proxy.0).collect(),
            link,
        };
        match bind(gateway, &place, &settings).await {
            Ok(listener) => Ok(Some(Self { listener, settings, source })),
            Err(error @ ServeError::Listen { .. }) if config.dashboard.is_none() => {
                tracing::warn!(error = chain(&error), "no dashboard is served: choose another place with --dashboard");
                Ok(None)
            }
            Err(error) => Err(not_open(&error)),
        }
    }

    /// Whether it could be opened. Nothing is made. Without a database nobody can sign in yet.
    pub(crate) async fn check(
        config: &NodeConfig,
        places: &Places,
        role: Role,
        database: Option<&Database>,
    ) -> Result<Page, Failure> {
        let Some(address) = config.dashboard_address(role) else { return Ok(Page::Nowhere) };
        let access = match database {
            // Of a database that cannot be read more is said than this.
            Some(database) => access::load(database).await.ok(),
            None => Some(AccessRecord::default()),
        };
        let password = password_in_file(config)?;
        if let Some((path, password)) = &password
            && access.as_ref().is_some_and(|access| access.password.is_none())
        {
            check_password(password).map_err(|problem| no_password(path, &problem))?;
        }
        let place = Place::find(address).await.map_err(|error| not_open(&error))?;
        if let Some(source) = source(config, places, &place, &[], &[]) {
            source.check(SystemTime::now()).map_err(|error| no_certificate(&error))?;
        }
        if let Some(access) = access.filter(|_| password.is_none())
            && let Err(error) = place.check_protected(&access)
        {
            // On a terminal a start prints a link, and does.
            return Ok(Page::Doubtful(not_open(&error)));
        }
        match place.listen().await.map_err(|error| not_open(&error)) {
            Ok(_) => Ok(Page::At(address.to_owned())),
            Err(taken) if config.dashboard.is_none() => Ok(Page::Doubtful(taken)),
            Err(taken) => Err(taken),
        }
    }

    /// Serves until `stop`.
    pub(crate) async fn serve(door: Option<Self>, gateway: Gateway<NodeHandle>, stop: CancellationToken) {
        let Some(Self { listener, settings, source }) = door else { return stop.cancelled().await };
        let tls = settings.tls.clone();
        let renewing = async {
            if let Some((tls, source)) = tls.zip(source) {
                let _ = stop.run_until_cancelled(renew(tls, source)).await;
            }
        };
        tokio::join!(serve(listener, gateway, settings, stop.clone()), renewing);
    }
}

/// Where the certificate comes from; none when nothing is to be encrypted.
fn source(
    config: &NodeConfig,
    places: &Places,
    place: &Place,
    names: &[String],
    addresses: &[IpAddr],
) -> Option<Source> {
    let wanted = match config.tls {
        TlsMode::Auto => place.exposed().is_some() || config.tls_certificate.is_some(),
        TlsMode::Off => false,
        TlsMode::On => true,
    };
    let named = config.tls_certificate.as_ref().map(|certificate| {
        let key = config.tls_key.as_ref().unwrap_or(certificate).clone();
        Source::Named { certificate: certificate.clone(), key }
    });
    let ours = || Source::Ours {
        file: places.certificate_file(),
        names: names.iter().cloned().chain(["localhost".to_owned()]).collect(),
        addresses: addresses.to_vec(),
    };
    wanted.then(|| named.unwrap_or_else(ours))
}

fn first(source: &Source) -> Result<Tls, Failure> {
    let served = source.load(SystemTime::now()).map_err(|error| no_certificate(&error))?;
    if !is_good(&served, SystemTime::now()) {
        tracing::warn!("the dashboard's certificate is not valid now: browsers will not take it");
    }
    Tls::new(served).map_err(|error| no_certificate(&CertificateError::Make(error)))
}

/// Reads the certificate each hour, and when it has become invalid, and serves what is new. What is there goes on being
/// served when that fails.
async fn renew(tls: Tls, source: Source) {
    let mut checks = interval(CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut looked, mut was_good) = (Instant::now(), true);
    loop {
        checks.tick().await;
        let good = is_good(&tls.served(), SystemTime::now());
        // Once for each time that it becomes invalid: one that stays so is a file that nobody renewed.
        let due = looked.elapsed() >= LOOK || was_good && !good;
        was_good = good;
        if !due {
            continue;
        }
        looked = Instant::now();
        let source = source.clone();
        let loaded = tokio::task::spawn_blocking(move || source.load(SystemTime::now())).await;
        match loaded {
            Ok(Ok(served)) if served.fingerprint() != tls.served().fingerprint() => {
                tracing::info!(sha256 = served.fingerprint(), "the dashboard has a new certificate");
                tls.replace(served);
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "the dashboard's certificate cannot be read again"),
            Err(error) => tracing::error!(%error, "the dashboard's certificate was not looked at"),
        }
    }
}

/// Sets the password that a file holds. One that is set already stays, and with it who is signed in.
async fn set_password(gateway: &Gateway<NodeHandle>, config: &NodeConfig) -> Result<(), Failure> {
    let Some((path, password)) = password_in_file(config)? else { return Ok(()) };
    gateway.ensure_password(&password).await.map_err(|problem| no_password(path, &problem))
}

/// The file that the settings name, and the password in it.
fn password_in_file(config: &NodeConfig) -> Result<Option<(&Path, Zeroizing<String>)>, Failure> {
    let Some(path) = &config.password_file else { return Ok(None) };
    let read = file::read_given_secret(path, MAX_PASSWORD).map_err(|error| bad_password_file().caused_by(&error))?;
    let read = read.ok_or_else(|| bad_password_file().because(format!("there is no file `{}`", path.display())))?;
    let text = std::str::from_utf8(&read)
        .map_err(|_| bad_password_file().because(format!("`{}` is not UTF-8", path.display())))?;
    Ok(Some((path, Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))))
}

fn bad_password_file() -> Failure {
    Failure::new(Exit::Usage, "bad-password-file", "cannot take the dashboard's password from a file")
}

fn no_password(path: &Path, problem: &ProblemDetails) -> Failure {
    bad_password_file().because(format!("`{}`: {}", path.display(), problem.detail)).hint(&problem.hint)
}

/// What this machine is called on its network.
fn host_names() -> impl Iterator<Item = String> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let short = name.split('.').next().unwrap_or_default().to_owned();
    let names = [name, format!("{short}.local"), short];
    names.into_iter().filter(|name| !name.is_empty() && name != ".local")
}

/// Under which addresses this machine is reached, those that the page listens on first.
fn own_addresses(place: &Place) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> =
        place.addresses().map(|address| address.to_canonical()).filter(|address| !address.is_unspecified()).collect();
    // Without them the certificate is good for the names alone.
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    addresses.extend(interfaces.iter().map(if_addrs::Interface::ip).filter(is_on_a_network));
    addresses.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    let mut known = std::collections::HashSet::new();
    addresses.retain(|address| known.insert(*address));
    addresses
}

/// Neither this machine alone nor an address that means another machine on each wire.
fn is_on_a_network(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !address.is_unspecified() && !link_local
}

fn no_certificate(error: &CertificateError) -> Failure {
    let hint = match error {
        CertificateError::Bad { .. } | CertificateError::Missing { .. } => {
            "`tls_certificate` and `tls_key` name PEM files; a damaged `dashboard.pem` of the node's own may be removed"
        }
        CertificateError::Read(_) => "the key is for the node's user alone: mend the owner or the mode of the file",
        CertificateError::Make(_) => "`miner-ctrl doctor` looks for what is wrong",
    };
    let exit = match error {
        // The settings name them.
        CertificateError::Bad { .. } | CertificateError::Missing { .. } | CertificateError::Read(_) => Exit::Usage,
        CertificateError::Make(_) => Exit::Error,
    };
    Failure::new(exit, "no-certificate", "cannot serve the dashboard").caused_by(error).hint(hint)
}

fn not_open(error: &ServeError) -> Failure {
    let (exit, code, hint) = match error {
        ServeError::Address { .. } => {
            (Exit::Usage, "bad-address", "write `HOST:PORT`, e.g. 127.0.0.1:9090; for no page, `--no-dashboard`")
        }
        ServeError::Listen { .. } => (
            Exit::Error,
            "cannot-listen",
            "another program listens there, or the address is not this machine's: choose another with --dashboard",
        ),
        ServeError::NotProtected { .. } => (
            Exit::Refused,
            "not-protected",
            "set a password first (`miner-ctrl ui --set-password`), or start with --link",
        ),
        ServeError::Records(_) => (Exit::Error, "bad-records", "`miner-ctrl doctor` looks for what is wrong"),
    };
    let failure = Failure::new(exit, code, "cannot serve the dashboard").caused_by(error).hint(hint);
    match error {
        ServeError::Address { address, .. } => match address.trim_start_matches(':').parse::<u16>() {
            Ok(port) => failure.hint(format!("did you mean `127.0.0.1:{port}`?")),
            Err(_) => failure,
        },
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_names_a_port_alone_is_told_the_address_that_he_means() {
        for (written, hint) in [("19190", "`127.0.0.1:19190`"), (":19190", "`127.0.0.1:19190`"), ("desk", "HOST:PORT")]
        {
            let told = match Place::find(written).await {
                Err(error) => not_open(&error).hint.unwrap_or_default(),
                Ok(_) => panic!("{written} is an address"),
            };
            assert!(told.contains(hint), "{written}: {told}");
        }
    }
}
