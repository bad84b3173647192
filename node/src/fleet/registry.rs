//! Who is registered. Decisions are made here and carried out once they are stored.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use miner_ctrl_protocol::name::MAX_NAME;
use miner_ctrl_protocol::{NodeId, NodeName, PeerKey, Permission, Role};

use super::reputation::Reputation;
use crate::identity;

/// Most registered peers: twice the largest fleet that was measured, some 20 MB in all.
pub const MAX_PEERS: usize = 10_000;

/// Most addresses kept for a peer: a few networks, each with IPv4 and IPv6. Each one costs a dial.
pub const MAX_ADDRESSES: usize = 8;

/// Longest address, bytes: a DNS name of 253, transport and peer id fit.
pub const MAX_ADDRESS: usize = 400;

/// Longest agent that is kept, characters: a program and its version.
const MAX_AGENT: usize = 64;

/// A registered peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Who it is.
    pub key: PeerKey,
    /// Its handle, from the key.
    pub id: NodeId,
    /// libp2p's spelling of its key.
    pub peer_id: String,
    /// What we call it.
    pub name: NodeName,
    /// What it is for, by its own word.
    pub role: Role,
    /// What it may ask of us.
    pub permission: Permission,
    /// Where to dial it, best first.
    pub addresses: Vec<String>,
    /// Unix time of the first pairing, seconds.
    pub paired_at: u64,
    /// Unix time of the last sign of life, seconds.
    pub last_seen: Option<u64>,
    /// Where it was last. Who comes from there is let in before those that nobody knows.
    pub ip: Option<IpAddr>,
    /// Program and version, by its own word.
    pub agent: Option<String>,
    /// How it answers.
    pub reputation: Reputation,
}

impl Peer {
    /// Puts the address that works first; a new one pushes out the last of too many.
    ///
    /// Returns whether anything changed.
    pub fn prefer_address(&mut self, address: &str) -> bool {
        if address.len() > MAX_ADDRESS || self.addresses.first().is_some_and(|first| first == address) {
            return false;
        }
        self.addresses.retain(|known| known != address);
        self.addresses.insert(0, address.to_owned());
        self.addresses.truncate(MAX_ADDRESSES);
        true
    }

    /// Whether this name is its own, in any case.
    ///
    /// # Errors
    /// [`RegistryError::Known`].
    pub(crate) fn is_called(&self, name: &NodeName) -> Result<(), RegistryError> {
        if fold(&self.name) == fold(name) {
            return Ok(());
        }
        Err(RegistryError::Known { name: self.name.clone(), other: name.clone() })
    }

    /// Takes the program and version that it gave, without what could disturb a terminal.
    pub fn set_agent(&mut self, agent: &str) {
        let fit: String = agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect();
        self.agent = (!fit.is_empty()).then_some(fit);
    }
}

/// A peer to register.
#[derive(Debug, Clone)]
pub struct NewPeer {
    /// Who it is, from the connection.
    pub key: PeerKey,
    /// What the operator calls it; left out, its own name, or the one we have for it already. One that is registered under
    /// another name is not renamed by this.
    pub name: Option<NodeName>,
    /// What it calls itself.
    pub own_name: NodeName,
    /// What it is for, by its own word.
    pub role: Role,
    /// Where to dial it, best first.
    pub addresses: Vec<String>,
    /// What it may ask of us.
    pub permission: Permission,
    /// Unix time, seconds.
    pub now: u64,
}

/// Why a peer cannot be registered or changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No more fit.
    #[error("there are {MAX_PEERS} peers already: remove some first")]
    Full,
    /// Another key has the same handle. Made on purpose, or once in 2^64.
    #[error("another peer, {name}, has the same node id {id}: one of them imitates the other")]
    IdTaken {
        /// The handle.
        id: NodeId,
        /// Who has it.
        name: NodeName,
    },
    /// It is registered under another name. Who adds what answers at an address may have meant another node, which had that
    /// address before, and everybody goes by the name that is there.
    #[error(
        "that is {name}, which is paired already: to have it at this address, leave the name out; to rename it, \
         `miner-ctrl peer rename {name} {other}`"
    )]
    Known {
        /// The name that it has.
        name: NodeName,
        /// The one that it was to get.
        other: NodeName,
    },
    /// Another peer is called so.
    #[error("the name {name} belongs to peer {id}: choose another")]
    NameTaken {
        /// The name, as it is registered.
        name: NodeName,
        /// Who has it.
        id: NodeId,
    },
    /// An address that is none, or one too many.
    #[error("{0}")]
    Addresses(String),
    /// Not registered.
    #[error("no such peer: {0}")]
    Unknown(NodeId),
}

/// The registered peers. Names are unique whatever their case, and so are handles.
#[derive(Debug, Default)]
pub struct Registry {
    by_key: HashMap<PeerKey, Arc<Peer>>,
    /// By name in lower case, so that it is also the order in which peers are shown.
    by_name: BTreeMap<String, PeerKey>,
    by_id: HashMap<NodeId, PeerKey>,
    /// This node's own name: a peer that says it is called so gets another.
    own: Option<String>,
}

fn fold(name: &NodeName) -> String {
    name.as_str().to_ascii_lowercase()
}

impl Registry {
    /// Keeps peers from being called as this node is, unless an operator says so.
    pub(super) fn reserve(&mut self, own: &NodeName) {
        self.own = Some(fold(own));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// One of them.
    #[must_use]
    pub fn peer(&self, key: &PeerKey) -> Option<&Arc<Peer>> {
        self.by_key.get(key)
    }

    /// One of them, to change what is nobody's decision (see [`Registry::put`] for the rest).
    pub(super) fn peer_mut(&mut self, key: &PeerKey) -> Option<&mut Peer> {
        self.by_key.get_mut(key).map(Arc::make_mut)
    }

    /// All of them, by name.
    pub fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.by_name.values().filter_map(|key| self.by_key.get(key))
    }

    /// What a peer would be once registered: checked, not yet taken in.
    ///
    /// A key that is registered already keeps its history and its name.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn admit(&self, new: NewPeer) -> Result<Peer, RegistryError> {
        let id = new.key.node_id();
        let known = self.by_key.get(&new.key);
        if known.is_none() && self.by_key.len() >= MAX_PEERS {
            return Err(RegistryError::Full);
        }
        if let Some(other) = self.by_id.get(&id).filter(|other| **other != new.key) {
            let name = self.by_key.get(other).map_or(new.own_name, |peer| peer.name.clone());
            return Err(RegistryError::IdTaken { id, name });
        }
        let name = match (new.name, known) {
            (Some(name), None) => {
                self.check_name(&name, &new.key)?;
                name
            }
            (name, Some(known)) => {
                name.map_or(Ok(()), |name| known.is_called(&name))?;
                known.name.clone()
            }
            (None, None) => self.free_name(new.own_name, &id),
        };
        let given = check_addresses(new.addresses)?;
        // An empty list says that it dialled us, not that the addresses we know are wrong.
        let addresses = match known {
            Some(known) if given.is_empty() => known.addresses.clone(),
            _ => given,
        };
        Ok(Peer {
            key: new.key,
            id,
            peer_id: identity::peer_id(&new.key),
            name,
            role: new.role,
            permission: new.permission,
            addresses,
            paired_at: known.map_or(new.now, |known| known.paired_at),
            last_seen: Some(new.now),
            ip: known.and_then(|known| known.ip),
            agent: known.and_then(|known| known.agent.clone()),
            reputation: known.map(|known| known.reputation).unwrap_or_default(),
        })
    }

    /// What a peer would be under another name, or with another permission.
    ///
    /// # Errors
    /// [`RegistryError::NameTaken`] or [`RegistryError::Unknown`].
    pub fn altered(
        &self,
        key: &PeerKey,
        name: Option<NodeName>,
        permission: Option<Permission>,
    ) -> Result<Peer, RegistryError> {
        let mut peer = self.known(key)?.clone();
        if let Some(name) = name {
            self.check_name(&name, key)?;
            peer.name = name;
        }
        peer.permission = permission.unwrap_or(peer.permission);
        Ok(peer)
    }

    /// Takes a checked peer in, in place of what was known of its key.
    pub fn put(&mut self, peer: Peer) {
        if let Some(known) = self.by_key.get(&peer.key) {
            self.by_name.remove(&fold(&known.name));
        }
        self.by_name.insert(fold(&peer.name), peer.key);
        self.by_id.insert(peer.id, peer.key);
        self.by_key.insert(peer.key, Arc::new(peer));
    }

    /// Forgets a peer.
    pub fn remove(&mut self, key: &PeerKey) -> Option<Arc<Peer>> {
        let peer = self.by_key.remove(key)?;
        self.by_name.remove(&fold(&peer.name));
        self.by_id.remove(&peer.id);
        Some(peer)
    }

    fn known(&self, key: &PeerKey) -> Result<&Peer, RegistryError> {
        self.by_key.get(key).map(|peer| &**peer).ok_or_else(|| RegistryError::Unknown(key.node_id()))
    }

    fn check_name(&self, name: &NodeName, key: &PeerKey) -> Result<(), RegistryError> {
        match self.by_name.get(&fold(name)).filter(|holder| *holder != key).and_then(|holder| self.by_key.get(holder)) {
            Some(holder) => Err(RegistryError::NameTaken { name: holder.name.clone(), id: holder.id }),
            None => Ok(()),
        }
    }

    /// The name itself, or the first of `name-2`, `name-3`, … that is free.
    fn free_name(&self, name: NodeName, id: &NodeId) -> NodeName {
        let is_free = |name: &NodeName| {
            let name = fold(name);
            !self.by_name.contains_key(&name) && self.own.as_ref() != Some(&name)
        };
        if is_free(&name) {
            return name;
        }
        (2..=MAX_PEERS + 2)
            .filter_map(|number| {
                let suffix = format!("-{number}");
                let base = &name.as_str()[..name.as_str().len().min(MAX_NAME - suffix.len())];
                format!("{base}{suffix}").parse::<NodeName>().ok()
            })
            .find(is_free)
            // More suffixes than peers were tried, so one was free; were it otherwise, the handle is unique.
            .or_else(|| format!("node-{id}").parse().ok())
            .unwrap_or(name)
    }
}

fn check_addresses(addresses: Vec<String>) -> Result<Vec<String>, RegistryError> {
    let mut kept: Vec<String> = Vec::new();
    for address in addresses {
        if address.is_empty() || address.len() > MAX_ADDRESS || address.chars().any(char::is_control) {
            return Err(RegistryError::Addresses(format!("an address has 1 to {MAX_ADDRESS} printable characters")));
        }
        if !kept.contains(&address) {
            kept.push(address);
        }
    }
    if kept.len() > MAX_ADDRESSES {
        return Err(RegistryError::Addresses(format!("a peer has at most {MAX_ADDRESSES} addresses")));
    }
    Ok(kept)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use miner_ctrl_dashboard::NodeError;
    use miner_ctrl_protocol::smsg::NodeSecret;
    use proptest::prelude::*;

    /// The key of a node of this number; the same each time.
    pub(in crate::fleet) fn key(number: u32) -> PeerKey {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        NodeSecret::from_seed(&seed).unwrap().public()
    }

    /// A peer of this number that calls itself so.
    pub(in crate::fleet) fn new_peer(number: u32, own_name: &str) -> NewPeer {
        NewPeer {
            key: key(number),
            name: None,
            own_name: own_name.parse().unwrap(),
            role: Role::Worker,
            addresses: vec![format!("/ip4/10.0.0.1/tcp/{}/ws", number % 60_000)],
            permission: Permission::None,
            now: 1_000,
        }
    }

    fn registry(names: &[&str]) -> Registry {
        let mut registry = Registry::default();
        for (number, name) in (1..).zip(names) {
            let peer = registry.admit(new_peer(number, name)).unwrap();
            registry.put(peer);
        }
        registry
    }

    fn names(registry: &Registry) -> Vec<&str> {
        registry.peers().map(|peer| peer.name.as_str()).collect()
    }

    fn resolve(registry: &Registry, text: &str) -> Result<PeerKey, NodeError> {
        crate::fleet::resolve::resolve(registry.peers().map(|peer| &**peer), text)
    }

    #[test]
    fn a_name_that_a_peer_gives_itself_gets_a_number_when_it_is_taken() {
        let long = "x".repeat(63);
        let registry = registry(&["rig", "RIG", "rig", "rig-4", &long, &long]);
        assert_eq!(names(&registry), ["rig", "RIG-2", "rig-3", "rig-4", &format!("{}-2", &long[..61]), &long]);
    }

    #[test]
    fn a_name_that_the_operator_gives_is_refused_when_it_is_taken() {
        let mut registry = registry(&["alpha", "beta"]);
        let name: NodeName = "ALPHA".parse().unwrap();
        let new = NewPeer { name: Some(name.clone()), ..new_peer(9, "gamma") };
        assert!(matches!(registry.admit(new), Err(RegistryError::NameTaken { .. })));
        assert!(matches!(registry.altered(&key(2), Some(name.clone()), None), Err(RegistryError::NameTaken { .. })));
        let peer = registry.altered(&key(1), Some(name), None).unwrap();
        registry.put(peer);
        assert_eq!(names(&registry), ["ALPHA", "beta"]);
    }

    #[test]
    fn pairing_again_keeps_name_history_and_first_date() {
        let mut registry = registry(&["alpha"]);
        registry.peer_mut(&key(1)).unwrap().reputation.record(super::super::reputation::Outcome::Answered);
        let peer = registry.altered(&key(1), Some("barn".parse().unwrap()), None).unwrap();
        registry.put(peer);
        let again = NewPeer { now: 2_000, addresses: vec![], ..new_peer(1, "alpha") };
        let peer = registry.admit(again).unwrap();
        assert_eq!((peer.name.as_str(), peer.paired_at, peer.last_seen), ("barn", 1_000, Some(2_000)));
        assert_eq!(peer.reputation.successes(), 1);
        assert_eq!(peer.addresses.len(), 1);
        registry.put(peer);
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn pairing_again_renames_nobody() {
        let mut registry = registry(&["alpha"]);
        let again = |name: &str| NewPeer { name: Some(name.parse().unwrap()), ..new_peer(1, "alpha") };
        let refused = registry.admit(again("beta")).unwrap_err();
        assert!(matches!(refused, RegistryError::Known { .. }), "{refused:?}");
        assert!(refused.to_string().contains("`miner-ctrl peer rename alpha beta`"), "{refused}");
        let peer = registry.admit(again("Alpha")).unwrap();
        registry.put(peer);
        assert_eq!(names(&registry), ["alpha"]);
    }

    #[test]
    fn another_key_with_the_same_id_is_refused() {
        let mut registry = registry(&["alpha"]);
        let id = key(2).node_id();
        let imitated = Peer { id, ..registry.peer(&key(1)).unwrap().as_ref().clone() };
        registry.put(imitated);
        assert!(matches!(registry.admit(new_peer(2, "beta")), Err(RegistryError::IdTaken { .. })));
    }

    #[test]
    fn addresses_are_bounded_and_the_one_that_works_comes_first() {
        let at = |addresses| Registry::default().admit(NewPeer { addresses, ..new_peer(1, "alpha") });
        assert!(at((0..9).map(|port| format!("/ip4/10.0.0.1/tcp/{port}/ws")).collect()).is_err());
        assert!(at(vec!["x".repeat(MAX_ADDRESS + 1)]).is_err());
        assert!(at(vec!["a\u{1b}[2J".into()]).is_err());
        let mut peer = at(vec!["a".into(), "b".into(), "a".into()]).unwrap();
        assert!(peer.prefer_address("b"));
        assert!(!peer.prefer_address("b"));
        assert_eq!(peer.addresses, ["b", "a"]);
    }

    #[test]
    fn an_agent_cannot_disturb_a_terminal() {
        let mut peer = registry(&["alpha"]).peer(&key(1)).unwrap().as_ref().clone();
        peer.set_agent(&format!("miner-ctrl/0.1\u{1b}[2J{}", "x".repeat(100)));
        assert_eq!(peer.agent.as_ref().unwrap().chars().count(), MAX_AGENT);
        assert!(!peer.agent.unwrap().contains('\u{1b}'));
    }

    #[test]
    fn a_person_may_write_name_id_peer_id_or_the_first_half_of_an_id() {
        let registry = registry(&["rig-alpha", "rig-beta", "rig"]);
        let peer = registry.peer(&key(1)).unwrap();
        let id = peer.id.to_string();
        for text in ["rig-alpha", "RIG-Alpha", &id, &id.to_uppercase(), &id[..8], &peer.peer_id, " rig-alpha "] {
            assert_eq!(resolve(&registry, text), Ok(key(1)), "{text}");
        }
        assert_eq!(resolve(&registry, "rig"), Ok(key(3)), "an exact name comes before longer ones");
        for text in ["", "rig-gamma", "\u{1f600}", &"x".repeat(1000)] {
            assert!(
                matches!(resolve(&registry, text), Err(NodeError::UnknownPeer { similar, .. }) if similar.is_empty()),
                "{text}"
            );
        }
    }

    #[test]
    fn the_beginning_of_a_name_names_nobody_and_those_that_begin_so_are_told() {
        let mut registry = registry(&["rig-2", "rig-20"]);
        let known = |registry: &Registry, number| registry.peer(&key(number)).unwrap().id.to_string();
        let (two, twenty) = (known(&registry, 1), known(&registry, 2));
        assert_eq!(resolve(&registry, "rig-2"), Ok(key(1)));
        registry.remove(&key(1));
        let unknown = |asked: &str| {
            let (asked, similar) = (asked.to_owned(), vec![format!("rig-20 ({twenty})")]);
            Err(NodeError::UnknownPeer { asked, similar })
        };
        assert_eq!(resolve(&registry, "rig-2"), unknown("rig-2"));
        // A few digits of an id may be a name that is gone as well.
        assert_eq!(resolve(&registry, &twenty[..7]), unknown(&twenty[..7]));
        assert!(matches!(resolve(&registry, &two[..8]), Err(NodeError::UnknownPeer { .. })));
    }

    #[test]
    fn a_name_cannot_imitate_the_peer_id_of_another() {
        let victim = identity::peer_id(&key(1));
        let mut registry = Registry::default();
        for (number, name) in [(2, victim.as_str()), (1, "victim")] {
            let peer = registry.admit(new_peer(number, name)).unwrap();
            registry.put(peer);
        }
        assert_eq!(resolve(&registry, &victim), Ok(key(1)));
    }

    #[test]
    fn a_name_cannot_imitate_the_beginning_of_the_id_of_another() {
        let victim = key(1).node_id().to_string();
        for order in [[1, 2], [2, 1]] {
            let mut registry = Registry::default();
            for number in order {
                let name = if number == 1 { "victim" } else { &victim[..8] };
                let peer = registry.admit(new_peer(number, name)).unwrap();
                registry.put(peer);
            }
            let Err(NodeError::AmbiguousPeer { candidates, .. }) = resolve(&registry, &victim[..8]) else {
                panic!("one of the two was guessed");
            };
            assert_eq!(candidates.len(), 2);
            assert_eq!(resolve(&registry, &victim[..9]), Ok(key(1)));
            assert_eq!(resolve(&registry, &key(2).node_id().to_string()), Ok(key(2)));
        }
    }

    #[test]
    fn a_peer_that_is_called_as_this_node_is_gets_another_name() {
        let mut registry = Registry::default();
        registry.reserve(&"desk".parse().unwrap());
        assert_eq!(registry.admit(new_peer(1, "Desk")).unwrap().name.as_str(), "Desk-2");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_happens_names_and_ids_stay_unique_and_lead_back(
            steps in prop::collection::vec((0u32..12, "[aAbB]{1,2}", 0u8..4), 0..60)
        ) {
            let mut registry = Registry::default();
            for (number, name, action) in steps {
                let name: NodeName = name.parse().unwrap();
                let planned = match action {
                    0 => registry.admit(new_peer(number, name.as_str())),
                    1 => registry.admit(NewPeer { name: Some(name), ..new_peer(number, "own") }),
                    2 => registry.altered(&key(number), Some(name), None),
                    _ => { registry.remove(&key(number)); continue }
                };
                if let Ok(peer) = planned { registry.put(peer) }
            }
            prop_assert_eq!(registry.by_name.len(), registry.len());
            prop_assert_eq!(registry.by_id.len(), registry.len());
            prop_assert_eq!(registry.peers().count(), registry.len());
            for peer in registry.peers() {
                prop_assert_eq!(resolve(&registry, peer.name.as_str()), Ok(peer.key));
                prop_assert_eq!(resolve(&registry, &peer.id.to_string()), Ok(peer.key));
                prop_assert_eq!(resolve(&registry, &peer.peer_id), Ok(peer.key));
            }
        }
    }
}
