//! Connections of one network at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::access::network;

/// Connections of one address, or of one IPv6 network: a browser opens six, so ten browsers behind one address. Whoever
/// has one address alone cannot take all places.
pub(crate) const OF_ONE: usize = 64;

/// Who is connected how often.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    crowd: Crowd,
    network: IpAddr,
}

impl Crowd {
    /// Takes one more in; none when there are enough of it.
    pub(crate) fn join(&self, address: IpAddr) -> Option<Member> {
        let network = network(address);
        let mut counts = self.counts();
        let count = counts.entry(network).or_default();
        // An entry without anybody is never left behind: who is refused was here before.
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        Some(Member { crowd: self.clone(), network })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.crowd.counts().entry(self.network) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_and_gets_it_back() {
        let crowd = Crowd::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut members: Vec<_> = (0..OF_ONE).map(|_| crowd.join(one).unwrap()).collect();
        assert!(crowd.join(one).is_none());
        assert!(crowd.join(other).is_some(), "others are not held up");
        members.pop();
        members.push(crowd.join(one).unwrap());
        assert!(crowd.join(one).is_none());
        drop(members);
        assert!(crowd.counts().is_empty(), "nothing is remembered of who is gone");
    }

    #[test]
    fn a_network_of_ipv6_is_one() {
        let crowd = Crowd::default();
        let members: Vec<_> =
            (0..OF_ONE).map(|n| crowd.join(format!("2001:db8::{n:x}").parse().unwrap()).unwrap()).collect();
        assert!(crowd.join("2001:db8::ffff:1".parse().unwrap()).is_none());
        assert!(crowd.join("2001:db8:0:1::1".parse().unwrap()).is_some());
        drop(members);
    }
}
