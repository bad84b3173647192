//! The dashboard's certificate: the operator's own files, or one of ours that is made anew before it ends.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use miner_ctrl_dashboard::tls::{Served, TlsError, self_signed};
use miner_ctrl_protocol::words;
use serde::Deserialize;

use crate::causes::chain;
use crate::store::atomic;
use crate::store::clock::{NEVER_BEFORE, unix_seconds};
use crate::store::file::{self, ReadError};

/// A certificate of ours that has less left is made anew: a month in which a browser that warns once more is no surprise.
const RENEWED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Largest file of a certificate or key: a long chain has some 10 KiB.
const MAX_FILE: u64 = 256 * 1024;

/// When the dashboard is served by TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// When other machines can reach it, or a certificate is named.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always.
    On,
}

words!(TlsMode: Auto = "auto", Off = "off", On = "on");

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The operator's files; the key may stand in the certificate's.
    Named { certificate: PathBuf, key: PathBuf },
    /// Ours.
    Ours { file: PathBuf, names: Vec<String>, addresses: Vec<IpAddr> },
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("`{}` cannot be served", path.display())]
    Bad { path: PathBuf, source: TlsError },
    #[error("no certificate can be made")]
    Make(#[source] TlsError),
    #[error("there is no file `{}`", path.display())]
    Missing { path: PathBuf },
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Source {
    /// Whether [`Source::load`] would give one, as far as one can see without making it.
    pub(crate) fn check(&self, now: SystemTime) -> Result<(), CertificateError> {
        match self {
            Self::Named { .. } => self.load(now).map(drop),
            Self::Ours { file, .. } => kept(file).map(drop),
        }
    }

    /// Reads the certificate; ours is made where there is none, and anew where little is left of it or it was made by a
    /// clock that was ahead. One that is there stays while the clock was never set: browsers were told to trust it.
    pub(crate) fn load(&self, now: SystemTime) -> Result<Served, CertificateError> {
        match self {
            Self::Named { certificate, key } => {
                let certificates = named(certificate)?;
                let secret = file::read_given_secret(key, MAX_FILE)?;
                let secret = secret.ok_or_else(|| CertificateError::Missing { path: key.clone() })?;
                Served::from_pem(certificates.as_bytes(), &secret).map_err(|source| {
                    let path = if matches!(source, TlsError::NoKey) { key } else { certificate };
                    CertificateError::Bad { path: path.clone(), source }
                })
            }
            Self::Ours { file, names, addresses } => {
                if let Some(served) = kept(file)? {
                    let begun = served.begins_at() <= unix_seconds(now);
                    if unix_seconds(now) < NEVER_BEFORE || begun && !ends_within(&served, now, RENEWED) {
                        return Ok(served);
                    }
                }
                let made = self_signed(names, addresses, now).map_err(CertificateError::Make)?;
                let served = Served::from_pem(made.as_bytes(), made.as_bytes()).map_err(CertificateError::Make)?;
                if let Err(error) = atomic::write(file, made.as_bytes()) {
                    // Browsers will be asked to trust another one after the next start; until then it serves as well.
                    tracing::warn!(error = chain(&error), "the dashboard's new certificate is not kept");
                }
                Ok(served)
            }
        }
    }
}

/// The one of ours that lies there.
fn kept(path: &Path) -> Result<Option<Served>, CertificateError> {
    let Some(found) = file::read_secret(path, MAX_FILE)? else { return Ok(None) };
    let served = Served::from_pem(&found.bytes, &found.bytes);
    served.map(Some).map_err(|source| CertificateError::Bad { path: path.to_owned(), source })
}

fn named(path: &Path) -> Result<String, CertificateError> {
    file::read_text(path, MAX_FILE)?.ok_or_else(|| CertificateError::Missing { path: path.to_owned() })
}

/// Whether a certificate is good for no longer than this.
pub(crate) fn ends_within(served: &Served, now: SystemTime, left: Duration) -> bool {
    served.expires_at() < unix_seconds(now) + left.as_secs()
}

/// Whether browsers take it, as far as time goes.
pub(crate) fn is_good(served: &Served, now: SystemTime) -> bool {
    served.begins_at() <= unix_seconds(now) && !ends_within(served, now, Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_dashboard::tls::LIFETIME;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::UNIX_EPOCH;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn ours(directory: &Path) -> Source {
        Source::Ours { file: directory.join("dashboard.pem"), names: vec!["desk".into()], addresses: vec![] }
    }

    #[test]
    fn ours_is_made_once_kept_private_and_made_anew_thirty_days_before_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let (source, now) = (ours(directory.path()), SystemTime::now());
        let first = source.load(now).unwrap().fingerprint().to_owned();
        assert_eq!(source.load(now + LIFETIME - 33 * DAY).unwrap().fingerprint(), first);
        let second = source.load(now + LIFETIME - 30 * DAY).unwrap();
        assert_ne!(second.fingerprint(), first);
        assert!(!ends_within(&second, now + LIFETIME, DAY));
        let mode = fs::metadata(directory.path().join("dashboard.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_wrong_clock_costs_no_start_and_the_right_one_a_new_certificate() {
        let at = |years: u32| UNIX_EPOCH + 365 * DAY * years + DAY / 24;
        let (never_set, ahead, now) = (at(0), at(130), SystemTime::now());
        for wrong in [never_set, ahead] {
            let directory = tempfile::tempdir().unwrap();
            let source = ours(directory.path());
            let made = source.load(wrong).unwrap();
            assert!(is_good(&made, wrong));
            assert!(!is_good(&made, now));
            let again = source.load(now).unwrap();
            assert!(is_good(&again, now));
            assert_ne!(again.fingerprint(), made.fingerprint());
            assert_eq!(source.load(never_set).unwrap().fingerprint(), again.fingerprint(), "trusted, and kept");
        }
    }

    #[test]
    fn a_damaged_one_is_told_by_its_name_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (source, path) = (ours(directory.path()), directory.path().join("dashboard.pem"));
        atomic::write(&path, b"not PEM").unwrap();
        let error = source.load(SystemTime::now()).unwrap_err();
        assert!(
            matches!(error, CertificateError::Bad { .. }) && error.to_string().contains("dashboard.pem"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"not PEM");
    }

    #[test]
    fn named_files_are_taken_as_they_are_and_told_apart_when_they_are_not() {
        let directory = tempfile::tempdir().unwrap();
        ours(directory.path()).load(SystemTime::now()).unwrap();
        let both = directory.path().join("dashboard.pem");
        let named = |certificate: &Path, key: &Path| Source::Named { certificate: certificate.into(), key: key.into() };
        // Long after its end: it is theirs to renew.
        let late = SystemTime::now() + 2 * LIFETIME;
        let served = named(&both, &both).load(late).unwrap();
        assert!(ends_within(&served, late, Duration::ZERO));
        let missing = directory.path().join("missing");
        for source in [named(&missing, &both), named(&both, &missing)] {
            assert!(matches!(source.load(late), Err(CertificateError::Missing { path }) if path == missing));
        }
        let empty = directory.path().join("empty");
        atomic::write(&empty, b"").unwrap();
        for (source, error) in
            [(named(&both, &empty), TlsError::NoKey), (named(&empty, &both), TlsError::NoCertificate)]
        {
            match source.load(late) {
                Err(CertificateError::Bad { path, source }) => {
                    assert_eq!((path, source.to_string()), (empty.clone(), error.to_string()));
                }
                other => panic!("{other:?}"),
            }
        }
        fs::set_permissions(&both, fs::Permissions::from_mode(0o622)).unwrap();
        assert!(matches!(named(&both, &both).load(late), Err(CertificateError::Read(_))), "others may change the key");
    }
}
