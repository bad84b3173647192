//! The node's key: created when there is none, refused when damaged, never replaced.
//!
//! `private.key` is the 32 bytes of the seed and nothing else: with no format there is nothing to misread, and its
//! length is checked at once. `node.json` repeats what follows from it, and adds what the operator chose (name, role).
//! The key is written first, so that a kill in between leaves a key whose `node.json` the next `node init` writes, or
//! else the next start; the other way round would leave an identity without its secret.
//!
//! Only [`init`] and [`finish`] write, and both are for whoever holds the lock: what merely looks, beside a `node init`
//! that is under way, must not finish that one's work under another name.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use miner_ctrl_protocol::smsg::{KeyError, NodeSecret};
use miner_ctrl_protocol::{NodeId, NodeName, PeerKey, Role};
use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::store::clock::{unix_now, unix_seconds};
use crate::store::file::{self, ReadError, Secret};
use crate::store::{Places, PlacesError, atomic};

/// Bytes of the key file: an Ed25519 seed.
const KEY_BYTES: usize = 32;

/// Largest `node.json`: ours has some 300 bytes.
const MAX_RECORD: u64 = 64 * 1024;

/// What gives a key its `node.json` again; without it the next start names the node after its machine.
const RENEW: &str = "`miner-ctrl node init --name NAME --role ROLE`, which keeps the key";

/// Who this node is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The one secret. Zeroized when the last holder is gone, never printed.
    pub secret: Arc<NodeSecret>,
    /// What may be told.
    pub record: NodeRecord,
}

/// `node.json`: what the node tells of itself. No secret in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Handle, from the key.
    pub id: NodeId,
    /// What the operator calls it.
    pub name: NodeName,
    /// Whether the operator chose that. A name that was made from the machine's gives way to the first that is chosen.
    #[serde(default = "chosen")]
    pub named: bool,
    /// What it is for.
    pub role: Role,
    /// X25519 public key, base64.
    pub public_key: String,
    /// libp2p's spelling of the Ed25519 public key.
    pub peer_id: String,
    /// Unix time, seconds.
    pub created_at: u64,
}

/// Whoever writes a `node.json` by hand has chosen.
const fn chosen() -> bool {
    true
}

/// Why there is no identity to go by. Whatever was found is still there.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// `node.json` and the key tell of two nodes.
    #[error("`{}` says another {field} than the key in `{}`: restore the pair from one copy, or remove `{}` and then at once run {RENEW}", record.display(), key.display(), record.display())]
    Contradicts {
        /// `node.json`.
        record: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What differs.
        field: &'static str,
    },
    /// The key could not be written.
    #[error("cannot create the key `{}`", path.display())]
    Create {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key file holds no key.
    #[error("the key `{}` is damaged ({why}): restore it from a copy; a new one would make this node a stranger to its peers", path.display())]
    DamagedKey {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// `node.json` cannot be understood.
    #[error("`{}` is damaged: restore it, or remove it and then at once run {RENEW}", path.display())]
    DamagedRecord {
        /// `node.json`.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// There is a node here already.
    #[error("this is already node {} ({}), role {}; to give it another name or role, stop it, remove `{}`, and run this again: its key and its peers stay; for a second node choose another --home", record.name, record.id, record.role, path.display())]
    Exists {
        /// `node.json`.
        path: PathBuf,
        /// The node that is here.
        record: Box<NodeRecord>,
    },
    /// Traces of a node without its key.
    #[error("the key `{}` is missing, and `{}` shows that there was one: restore the key, or move that file away to become a new node", key.display(), trace.display())]
    KeyMissing {
        /// Where the key should be.
        key: PathBuf,
        /// What shows it.
        trace: PathBuf,
    },
    /// The directory cannot be made or is not ours.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers for a key")]
    Random(#[source] SysError),
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// `node.json` cannot be written.
    #[error(transparent)]
    Write(#[from] atomic::WriteError),
}

impl Identity {
    /// The public key that everything about the node follows from.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        self.secret.public()
    }
}

/// Creates the node's identity, or finishes one whose creation was cut short after the key, or names one that nobody
/// has named. Left out, the name is the machine's; the role is what it is already, or dual. What is as it
/// is asked for stays so. A node that runs goes by what is new from its next start on.
///
/// For whoever holds the lock.
///
/// # Errors
/// [`IdentityError::Exists`] when somebody has named it already, and everything that [`load`] finds wrong.
pub fn init(places: &Places, name: Option<NodeName>, role: Option<Role>) -> Result<Identity, IdentityError> {
    let Some(found) = find(places)? else { return make(places, name, role.unwrap_or_default()) };
    let Some(record) = &found.record else {
        let record = found.described(name, role.unwrap_or_default());
        write_record(places, &record)?;
        return Ok(found.identity(record));
    };
    let role = role.unwrap_or(record.role);
    let Some(name) = name else { return Err(exists(places, record)) };
    if record.named {
        if record.name != name || record.role != role {
            return Err(exists(places, record));
        }
        let record = record.clone();
        return Ok(found.identity(record));
    }
    let record = NodeRecord { name, named: true, role, ..record.clone() };
    write_record(places, &record)?;
    Ok(found.identity(record))
}

/// Loads the node's identity; `None` when there was never one here.
///
/// A key without `node.json` (its creation was cut short, or the file was removed) is told by one that is made up: all
/// but name and role follows from the key, and these take their defaults. Nothing is written.
///
/// # Errors
/// [`IdentityError`]
pub fn load(places: &Places) -> Result<Option<Identity>, IdentityError> {
    Ok(find(places)?.map(|found| {
        let record = found.record.clone().unwrap_or_else(|| found.described(None, Role::default()));
        found.identity(record)
    }))
}

/// As [`load`], for the node itself, which holds the lock: a `node.json` that is missing is written.
///
/// # Errors
/// [`IdentityError`]; nothing that was found is changed.
pub fn finish(places: &Places) -> Result<Option<Identity>, IdentityError> {
    let identity = load(places)?;
    if let Some(identity) = &identity
        && is_without_record(places)?
    {
        write_record(places, &identity.record)?;
    }
    Ok(identity)
}

/// Whether there is a key, and no `node.json` that says what its node is called and what it is for.
///
/// # Errors
/// [`IdentityError::Read`]
pub fn is_without_record(places: &Places) -> Result<bool, IdentityError> {
    Ok(file::exists(&places.key_file())? && !file::exists(&places.node_file())?)
}

/// What lies here of an identity.
struct Found {
    secret: NodeSecret,
    /// None where its creation was cut short, or the file was removed.
    record: Option<NodeRecord>,
    /// When the key was written.
    created: SystemTime,
}

impl Found {
    fn described(&self, name: Option<NodeName>, role: Role) -> NodeRecord {
        describe(&self.secret.public(), name, role, unix_seconds(self.created))
    }

    fn identity(self, record: NodeRecord) -> Identity {
        Identity { secret: Arc::new(self.secret), record }
    }
}

fn find(places: &Places) -> Result<Option<Found>, IdentityError> {
    let Some(Secret { bytes, modified }) = file::read_secret(&places.key_file(), KEY_BYTES as u64)? else {
        for trace in [places.node_file(), places.database_file()] {
            if file::exists(&trace)? {
                return Err(IdentityError::KeyMissing { key: places.key_file(), trace });
            }
        }
        return Ok(None);
    };
    // The directory too: who may write to it could have put another key there.
    places.check_node_dir()?;
    let secret = parse_key(places, &bytes)?;
    let record = read_record(places)?;
    if let Some(record) = &record {
        check_record(places, record, &secret.public())?;
    }
    Ok(Some(Found { secret, record, created: modified }))
}

fn make(places: &Places, name: Option<NodeName>, role: Role) -> Result<Identity, IdentityError> {
    places.make_directories()?;
    let mut seed = Zeroizing::new([0; KEY_BYTES]);
    SysRng.try_fill_bytes(&mut *seed).map_err(IdentityError::Random)?;
    let secret = parse_key(places, &*seed)?;
    let record = describe(&secret.public(), name, role, unix_now());
    let path = places.key_file();
    // One that came meanwhile past the lock, as on a file system whose locks do not hold, stays.
    file::create_secret(&path, &*seed).map_err(|source| IdentityError::Create { path, source })?;
    write_record(places, &record)?;
    Ok(Identity { secret: Arc::new(secret), record })
}

fn exists(places: &Places, record: &NodeRecord) -> IdentityError {
    IdentityError::Exists { path: places.node_file(), record: Box::new(record.clone()) }
}

/// libp2p's spelling of a key: base58 of the identity multihash of its protobuf.
#[must_use]
pub fn peer_id(key: &PeerKey) -> String {
    // Multihash: identity (0x00), 36 bytes (0x24). Protobuf: type (field 1) Ed25519 (1), data (field 2) of 32 bytes.
    const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bs58::encode([&PREFIX[..], key.as_bytes()].concat()).into_string()
}

/// What to call a node when nobody says: the host's name made fit, or else by its id.
#[must_use]
pub fn default_name(host: &str, id: &NodeId) -> NodeName {
    let fit: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect();
    let fit = fit.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let fit: String = fit.chars().take(miner_ctrl_protocol::name::MAX_NAME).collect();
    let fit = fit.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    // Every unconfigured machine is called localhost: as a name it would tell nothing.
    let generic = fit.eq_ignore_ascii_case("localhost") || fit.eq_ignore_ascii_case("localhost.localdomain");
    let by_id = || format!("node-{}", &id.to_string()[..6]);
    let text = if generic { by_id() } else { fit.to_owned() };
    text.parse().unwrap_or_else(|_| by_id().parse().expect("`node-` and six hexadecimal digits are a name"))
}

fn describe(key: &PeerKey, name: Option<NodeName>, role: Role, created_at: u64) -> NodeRecord {
    let (id, named) = (key.node_id(), name.is_some());
    let name = name.unwrap_or_else(|| default_name(&rustix::system::uname().nodename().to_string_lossy(), &id));
    NodeRecord { id, name, named, role, public_key: STANDARD.encode(key.x25519()), peer_id: peer_id(key), created_at }
}

fn parse_key(places: &Places, bytes: &[u8]) -> Result<NodeSecret, IdentityError> {
    let damaged = |why: String| IdentityError::DamagedKey { path: places.key_file(), why };
    // What a power loss makes of a file on some file systems: the right length, all zeros.
    if bytes.iter().all(|byte| bytes.first() == Some(byte)) && bytes.len() == KEY_BYTES {
        return Err(damaged("all its bytes are the same".to_owned()));
    }
    NodeSecret::from_seed(bytes).map_err(|error: KeyError| damaged(error.to_string()))
}

fn read_record(places: &Places) -> Result<Option<NodeRecord>, IdentityError> {
    let path = places.node_file();
    let Some(text) = file::read_text(&path, MAX_RECORD)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|source| IdentityError::DamagedRecord { path, source })
}

fn check_record(places: &Places, record: &NodeRecord, key: &PeerKey) -> Result<(), IdentityError> {
    let expected = describe(key, Some(record.name.clone()), record.role, record.created_at);
    let field = if record.public_key != expected.public_key {
        "public key"
    } else if record.id != expected.id {
        "id"
    } else if record.peer_id != expected.peer_id {
        "peer id"
    } else {
        return Ok(());
    };
    Err(IdentityError::Contradicts { record: places.node_file(), key: places.key_file(), field })
}

fn write_record(places: &Places, record: &NodeRecord) -> Result<(), IdentityError> {
    let mut text = serde_json::to_vec_pretty(record).expect("names, numbers and text are JSON");
    text.push(b'\n');
    Ok(atomic::write(&places.node_file(), &text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn home() -> (tempfile::TempDir, Places) {
        let home = tempfile::tempdir().unwrap();
        let places = Places::resolve(Some(home.path()), |_| None).unwrap();
        (home, places)
    }

    fn put(path: &Path, bytes: &[u8]) {
        atomic::write(path, bytes).unwrap();
    }

    #[test]
    fn an_identity_is_the_same_after_a_restart() {
        let (_home, places) = home();
        assert!(load(&places).unwrap().is_none());
        let made = init(&places, Some("rig-alpha".parse().unwrap()), Some(Role::Worker)).unwrap();
        let found = load(&places).unwrap().unwrap();
        assert_eq!(found.record, made.record);
        assert_eq!(found.key(), made.key());
        assert_eq!(fs::metadata(places.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(places.node_dir()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!fs::read_to_string(places.node_file()).unwrap().contains("secret"));
    }

    #[test]
    fn a_node_that_was_named_keeps_its_name_and_is_told_how_to_lose_it() {
        let (_home, places) = home();
        let barn = || Some("barn".parse().unwrap());
        let made = init(&places, barn(), Some(Role::Worker)).unwrap();
        let (key, record) = (fs::read(places.key_file()).unwrap(), fs::read(places.node_file()).unwrap());
        for role in [None, Some(Role::Worker)] {
            assert_eq!(init(&places, barn(), role).unwrap().record, made.record, "again is no change");
        }
        for (name, role) in [("cellar".parse().ok(), None), (barn(), Some(Role::Controller)), (None, None)] {
            let error = init(&places, name, role).unwrap_err();
            assert!(matches!(error, IdentityError::Exists { .. }), "{error}");
            assert!(error.to_string().contains(&format!("remove `{}`", places.node_file().display())), "{error}");
        }
        assert_eq!((fs::read(places.key_file()).unwrap(), fs::read(places.node_file()).unwrap()), (key, record));
        fs::remove_file(places.node_file()).unwrap();
        let other = init(&places, "cellar".parse().ok(), None).unwrap();
        assert_eq!((other.key(), other.record.name.as_str()), (made.key(), "cellar"));
    }

    #[test]
    fn a_node_without_a_chosen_name_is_named_once() {
        let (_home, places) = home();
        let made = init(&places, None, None).unwrap();
        let named = init(&places, "barn".parse().ok(), Some(Role::Controller)).unwrap().record;
        assert_eq!((named.name.as_str(), named.role, named.id), ("barn", Role::Controller, made.record.id));
        let found = load(&places).unwrap().unwrap();
        assert_eq!((found.key(), &found.record), (made.key(), &named));
        assert!(matches!(init(&places, "cellar".parse().ok(), None), Err(IdentityError::Exists { .. })));
        assert_eq!(load(&places).unwrap().unwrap().record, named);
    }

    #[test]
    fn whose_machine_has_another_name_by_now_was_not_named_by_anybody() {
        let (_home, places) = home();
        let made = init(&places, None, None).unwrap();
        write_record(&places, &NodeRecord { name: "ubuntu".parse().unwrap(), ..made.record }).unwrap();
        assert_eq!(init(&places, "rig-17".parse().ok(), None).unwrap().record.name.as_str(), "rig-17");
    }

    #[test]
    fn who_chose_the_name_of_the_machine_has_chosen() {
        for made_before in [true, false] {
            let (_home, places) = home();
            let machines = describe(&NodeSecret::from_seed(&[9; 32]).unwrap().public(), None, Role::Dual, 0).name;
            let machines = if made_before { init(&places, None, None).unwrap().record.name } else { machines };
            assert_eq!(init(&places, Some(machines.clone()), None).unwrap().record.name, machines);
            for (name, role) in [("cellar".parse().unwrap(), None), (machines, Some(Role::Worker))] {
                assert!(matches!(init(&places, Some(name), role), Err(IdentityError::Exists { .. })));
            }
        }
    }

    #[test]
    fn a_damaged_or_open_key_stops_the_start_and_is_never_replaced() {
        let (_home, places) = home();
        init(&places, None, None).unwrap();
        let whole = fs::read(places.key_file()).unwrap();
        for bytes in [&whole[..31], &[whole.as_slice(), &[0]].concat(), &[], &[0; 32], &[0xff; 32]] {
            put(&places.key_file(), bytes);
            assert!(load(&places).is_err(), "{} bytes", bytes.len());
            assert!(init(&places, None, None).is_err());
            assert_eq!(fs::read(places.key_file()).unwrap(), bytes);
        }
        put(&places.key_file(), &whole);
        fs::set_permissions(places.key_file(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(&places).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_key_alone_gets_its_record_from_the_node_and_from_nobody_who_looks() {
        let (_home, places) = home();
        let made = init(&places, Some("rig-alpha".parse().unwrap()), Some(Role::Worker)).unwrap();
        fs::remove_file(places.node_file()).unwrap();
        let seen = load(&places).unwrap().unwrap();
        assert_eq!((seen.record.id, &seen.record.peer_id), (made.record.id, &made.record.peer_id));
        assert_eq!(seen.record.role, Role::Dual);
        assert!(!places.node_file().exists() && is_without_record(&places).unwrap());
        assert_eq!(finish(&places).unwrap().unwrap().record, seen.record);
        assert!(!is_without_record(&places).unwrap());
        assert_eq!(load(&places).unwrap().unwrap().record, seen.record);
    }

    #[test]
    fn a_making_that_was_cut_short_is_finished_by_the_name_that_the_next_asks_for_whoever_looked_between() {
        let (_home, places) = home();
        let made = init(&places, None, None).unwrap();
        fs::remove_file(places.node_file()).unwrap();
        let _looked = load(&places).unwrap().unwrap();
        let finished = init(&places, Some("rig-alpha".parse().unwrap()), Some(Role::Worker)).unwrap();
        assert_eq!(finished.key(), made.key());
        assert_eq!((finished.record.name.as_str(), finished.record.role), ("rig-alpha", Role::Worker));
        assert_eq!(load(&places).unwrap().unwrap().record, finished.record);
    }

    #[test]
    fn a_record_of_another_key_is_refused() {
        let (_home, places) = home();
        let made = init(&places, None, None).unwrap();
        let other = describe(&NodeSecret::from_seed(&[9; 32]).unwrap().public(), None, Role::Dual, 0);
        for (record, expected) in [
            (NodeRecord { public_key: other.public_key, ..made.record.clone() }, "public key"),
            (NodeRecord { id: other.id, ..made.record.clone() }, "id"),
            (NodeRecord { peer_id: other.peer_id, ..made.record }, "peer id"),
        ] {
            write_record(&places, &record).unwrap();
            let error = load(&places).unwrap_err();
            assert!(matches!(error, IdentityError::Contradicts { field, .. } if field == expected), "{error}");
        }
    }

    #[test]
    fn a_damaged_record_is_left_as_it_is() {
        let (_home, places) = home();
        init(&places, None, None).unwrap();
        for text in ["", "{", "{}", "[1]", "\u{feff}{}"] {
            put(&places.node_file(), text.as_bytes());
            let error = load(&places).unwrap_err();
            assert!(matches!(error, IdentityError::DamagedRecord { .. }), "{text:?}");
            assert!(error.to_string().contains("node init --name NAME --role ROLE"), "{error}");
            assert_eq!(fs::read_to_string(places.node_file()).unwrap(), text);
        }
    }

    #[test]
    fn a_lost_key_is_not_a_first_start() {
        let (_home, places) = home();
        init(&places, None, None).unwrap();
        fs::remove_file(places.key_file()).unwrap();
        assert!(matches!(load(&places), Err(IdentityError::KeyMissing { .. })));
        fs::rename(places.node_file(), places.database_file()).unwrap();
        assert!(matches!(init(&places, None, None), Err(IdentityError::KeyMissing { .. })));
        assert!(!places.key_file().exists());
    }

    #[test]
    fn a_peer_id_is_spelt_as_libp2p_spells_it() {
        // RFC 8032, section 7.1, test 1; the peer id as rust-libp2p gives it for that key.
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let key = NodeSecret::from_seed(&seed).unwrap().public();
        let theirs = libp2p::identity::ed25519::PublicKey::try_from_bytes(key.as_bytes()).unwrap();
        assert_eq!(peer_id(&key), libp2p::identity::PublicKey::from(theirs).to_peer_id().to_string());
        assert!(peer_id(&key).starts_with("12D3KooW"));
    }

    #[test]
    fn any_host_name_makes_a_node_name() {
        let id = "0123456789abcdef".parse().unwrap();
        for (host, name) in [
            ("rig-alpha", "rig-alpha"),
            ("Rig 1's box", "Rig-1-s-box"),
            ("rig.example.org.", "rig.example.org"),
            ("--", "node-012345"),
            ("", "node-012345"),
            ("localhost", "node-012345"),
            ("0123456789abcdef", "node-012345"),
            ("\u{e9}\u{e9}", "node-012345"),
        ] {
            assert_eq!(default_name(host, &id).as_str(), name, "{host:?}");
        }
        assert_eq!(default_name(&"x".repeat(200), &id).as_str().len(), 63);
    }
}
