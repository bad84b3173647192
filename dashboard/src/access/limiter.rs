//! How often somebody may try. No bans: they lock out the owner.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// Tries of one address at once: a person who mistypes.
const BURST: f64 = 5.0;

/// After that, one try in this time.
const PAUSE: Duration = Duration::from_secs(6);

/// Tries of all addresses together in a minute: a guesser with many addresses gets no further.
const PER_MINUTE: f64 = 60.0;

/// Addresses remembered. Each counts for half a minute after its last try.
const MAX_ADDRESSES: usize = 4096;

/// Fills up with time; each try takes one out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) const fn full(size: f64, now: Instant) -> Self {
        Self { left: size, at: now }
    }

    /// Takes one out, or says how long until there is one.
    pub(super) fn take(&mut self, size: f64, each: Duration, now: Instant) -> Result<(), Duration> {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since / each.as_secs_f64()).min(size);
        self.at = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            Ok(())
        } else {
            Err(each.mul_f64(1.0 - self.left))
        }
    }
}

/// One bucket for each of many, never more than a fixed number.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    size: f64,
    each: Duration,
    most: usize,
    buckets: HashMap<K, Bucket>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(super) fn new(size: f64, each: Duration, most: usize) -> Self {
        Self { size, each, most, buckets: HashMap::new() }
    }

    pub(super) fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let (size, each) = (self.size, self.each);
        if self.buckets.len() >= self.most && !self.buckets.contains_key(&key) {
            // Who has not tried for so long has a full bucket, as has a newcomer.
            let refilled = each.mul_f64(size);
            self.buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < refilled);
            if self.buckets.len() >= self.most {
                return Err(each);
            }
        }
        self.buckets.entry(key).or_insert_with(|| Bucket::full(size, now)).take(size, each, now)
    }
}

/// Tries to sign in.
#[derive(Debug)]
pub(super) struct Tries {
    of: Buckets<IpAddr>,
    all: Bucket,
}

impl Tries {
    pub(super) fn new(now: Instant) -> Self {
        Self { of: Buckets::new(BURST, PAUSE, MAX_ADDRESSES), all: Bucket::full(PER_MINUTE, now) }
    }

    /// Counts a try, or says how long to wait.
    pub(super) fn take(&mut self, from: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        self.of.take(network(from.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))), now)?;
        self.all.take(PER_MINUTE, Duration::from_secs(60).div_f64(PER_MINUTE), now)
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(n.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn five_tries_then_one_in_six_seconds() {
        let mut tries = Tries::new(Instant::now());
        for _ in 0..5 {
            assert!(tries.take(v4(1), Instant::now()).is_ok());
        }
        let wait = tries.take(v4(1), Instant::now()).unwrap_err();
        assert!(wait <= PAUSE && wait > PAUSE.mul_f64(0.9), "{wait:?}");
        assert!(tries.take(v4(2), Instant::now()).is_ok(), "another address is not held up");
        tokio::time::advance(PAUSE).await;
        assert!(tries.take(v4(1), Instant::now()).is_ok());
        assert!(tries.take(v4(1), Instant::now()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_together_get_sixty_a_minute() {
        let mut tries = Tries::new(Instant::now());
        let taken = (0..200).filter(|n| tries.take(v4(*n), Instant::now()).is_ok()).count();
        assert_eq!(taken, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_is_one_and_the_table_has_an_end() {
        let mut buckets = Buckets::new(BURST, PAUSE, 2);
        for n in 0..2 {
            assert!(buckets.take(n, Instant::now()).is_ok());
        }
        assert!(buckets.take(2, Instant::now()).is_err());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(buckets.take(2, Instant::now()).is_ok());
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff:1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), network("192.0.2.1".parse().unwrap()));
    }
}
