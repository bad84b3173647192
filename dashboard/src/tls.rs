//! TLS of the TCP gateway: one certificate, made here or brought along, that may be replaced while it serves.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use zeroize::Zeroizing;

/// How long a certificate of ours is good: what browsers take at most (398 days), less a day.
pub const LIFETIME: Duration = Duration::from_secs(397 * 24 * 3600);

/// It begins earlier than it is made: the clock of a phone may be behind.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// Names in a certificate: a machine has a handful, and an operator adds a few.
const MAX_NAMES: usize = 64;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate is none.
    #[error("the certificate cannot be understood")]
    Certificate(#[source] x509_cert::der::Error),
    /// A certificate could not be made.
    #[error("no certificate could be made")]
    Make(#[source] rcgen::Error),
    /// The key does not belong to the certificate, or is of a kind that is not served.
    #[error("the key does not fit the certificate")]
    Key(#[source] rustls::Error),
    /// There is no certificate in the file.
    #[error("there is no certificate in it (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// There is no private key in the file.
    #[error("there is no private key in it that is not encrypted (`-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    /// The file is not PEM.
    #[error("it is not PEM")]
    Pem(#[source] pem::Error),
}

/// A certificate with its key, ready to be served.
#[derive(Debug)]
pub struct Served {
    key: Arc<CertifiedKey>,
    fingerprint: String,
    begins_at: u64,
    expires_at: u64,
}

/// What the gateway's TLS goes by. Cloning gives another handle on the same.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(RwLock<Arc<Served>>);

/// A new certificate for these names and addresses, signed by its own key: both as one PEM text, the key first.
///
/// # Errors
/// [`TlsError::Make`].
pub fn self_signed(names: &[String], addresses: &[IpAddr], now: SystemTime) -> Result<Zeroizing<String>, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let title = names.first().map_or("miner-ctrl", String::as_str);
    params.distinguished_name.push(DnType::CommonName, title);
    // A clock that was never set begins with 1970, and so do dates in certificates that everybody reads.
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = (UNIX_EPOCH + since.saturating_sub(BACKDATED)).into();
    params.not_after = (UNIX_EPOCH + since + LIFETIME - BACKDATED).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // A name that no certificate can hold is one that no browser can ask for.
    let names = names.iter().filter_map(|name| Some(SanType::DnsName(name.as_str().try_into().ok()?)));
    let addresses = addresses.iter().map(|address| SanType::IpAddress(*address));
    params.subject_alt_names = names.chain(addresses).take(MAX_NAMES).collect();
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let certificate = params.self_signed(&key).map_err(TlsError::Make)?;
    let secret = Zeroizing::new(key.serialize_pem());
    Ok(Zeroizing::new(format!("{}{}", *secret, certificate.pem())))
}

impl Served {
    /// Reads a certificate, with those that vouch for it behind it, and its private key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(TlsError::Pem)?;
        let own = chain.first().ok_or(TlsError::NoCertificate)?;
        let parsed = Certificate::from_der(own).map_err(TlsError::Certificate)?;
        let validity = parsed.tbs_certificate().validity();
        let begins_at = validity.not_before.to_unix_duration().as_secs();
        let expires_at = validity.not_after.to_unix_duration().as_secs();
        let fingerprint = hexadecimal(&Sha256::digest(own));
        let key = match PrivateKeyDer::from_pem_slice(key) {
            Err(pem::Error::NoItemsFound) => return Err(TlsError::NoKey),
            key => key.map_err(TlsError::Pem)?,
        };
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Key)?;
        Ok(Self { key: Arc::new(key), fingerprint, begins_at, expires_at })
    }

    /// SHA-256 of the certificate, as browsers show it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// From when on it is good, Unix seconds.
    #[must_use]
    pub const fn begins_at(&self) -> u64 {
        self.begins_at
    }

    /// Until when it is good, Unix seconds.
    #[must_use]
    pub const fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

impl Tls {
    /// TLS with this certificate.
    ///
    /// # Errors
    /// [`TlsError::Key`] when rustls cannot serve at all.
    pub fn new(served: Served) -> Result<Self, TlsError> {
        let current = Arc::new(Current(RwLock::new(Arc::new(served))));
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        // 1.3 alone: every browser has it since 2019, and what it left out was found to be weak.
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&current) as _;
        let mut config = builder.map_err(TlsError::Key)?.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        Ok(Self(Arc::new(Inner { config: Arc::new(config), current })))
    }

    /// Serves another certificate from now on; connections that are open keep theirs.
    pub fn replace(&self, served: Served) {
        *self.0.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }

    /// What is served now.
    #[must_use]
    pub fn served(&self) -> Arc<Served> {
        self.0.current.get()
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.0.config).into()
    }
}

/// HTTP/2 by its name in the handshake (RFC 9113).
pub(crate) const HTTP2: &[u8] = b"h2";

impl Current {
    fn get(&self) -> Arc<Served> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.get().key))
    }
}

/// Pairs of capital digits with colons between: the way browsers write it, to be compared by eye.
fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (index, byte) in bytes.iter().enumerate() {
        let colon = if index > 0 { ":" } else { "" };
        // Writing to a String does not fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Zeroizing<String> {
        let names = ["desk".to_owned(), "no\u{308}n-ascii".to_owned()];
        self_signed(&names, &["192.0.2.7".parse().unwrap(), "::1".parse().unwrap()], SystemTime::now()).unwrap()
    }

    fn served(pem: &str) -> Served {
        Served::from_pem(pem.as_bytes(), pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_of_ours_is_read_again_and_lives_for_397_days() {
        let pem = made();
        let served = served(&pem);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let days = (served.expires_at() - now) as f64 / 86_400.0;
        assert!((395.9..396.1).contains(&days), "{days}, and a day before");
        assert_eq!(served.fingerprint().len(), 32 * 3 - 1);
        assert_ne!(served.fingerprint(), self::served(&made()).fingerprint());
        assert!(!format!("{served:?}").contains("PRIVATE"));
    }

    #[test]
    fn it_names_the_machine_and_its_addresses() {
        let pem = made();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        for held in [&b"desk"[..], &[192, 0, 2, 7], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]] {
            assert!(der.windows(held.len()).any(|window| window == held), "{held:?}");
        }
    }

    #[test]
    fn what_cannot_be_served_is_told_apart() {
        let (one, other) = (made(), made());
        let from = |certificate: &str, key: &str| Served::from_pem(certificate.as_bytes(), key.as_bytes());
        assert!(matches!(from("", &one), Err(TlsError::NoCertificate)));
        let certificate_alone = &one[one.find("-----BEGIN CERTIFICATE").unwrap()..];
        assert!(matches!(from(&one, certificate_alone), Err(TlsError::NoKey)));
        assert!(matches!(from(&one, ""), Err(TlsError::NoKey)));
        assert!(matches!(from(&one, &other), Err(TlsError::Key(_))));
        assert!(matches!(from(&one.replace("-----END CERT", "-----END SORT"), &one), Err(TlsError::Pem(_))));
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(from(empty, &one), Err(TlsError::Certificate(_))));
    }

    #[test]
    fn a_certificate_is_replaced_while_it_serves() {
        let tls = Tls::new(served(&made())).unwrap();
        let (other, pem) = (tls.clone(), made());
        other.replace(served(&pem));
        assert_eq!(tls.served().fingerprint(), served(&pem).fingerprint());
    }
}
