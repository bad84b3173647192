//! Who holds how many of the places that strangers share, and who makes room.
//!
//! IPv4 addresses are counted one by one. An IPv6 host may choose its addresses from a /64, and one site may be given a /48,
//! 65 536 of those (RFC 6177): a place is counted for both.

use std::net::{IpAddr, Ipv6Addr};

/// The host that an address is one of.
pub(crate) fn host(ip: IpAddr) -> IpAddr {
    first_bits(ip, 64)
}

/// The site that an address is one of.
pub(crate) fn site(ip: IpAddr) -> IpAddr {
    first_bits(ip, 48)
}

fn first_bits(ip: IpAddr, bits: u32) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - bits)))),
        ip => ip,
    }
}

/// Which of the holders, oldest first, gives its place to one who comes. The site that holds most makes room if it has at
/// least two more than the newcomer's site; else the newcomer's own does, by the same rule among its hosts. What goes is the
/// last one of the fullest host. Two that hold as many do not drive each other out, and of one host who came first stays:
/// else a flood of its own would push out the one that is meant.
pub(crate) fn who_yields(holders: &[IpAddr], newcomer: IpAddr) -> Option<usize> {
    let held = |of: fn(IpAddr) -> IpAddr, one: IpAddr| holders.iter().filter(|other| of(**other) == one).count();
    let own = site(newcomer);
    let fullest = holders.iter().map(|holder| site(*holder)).max_by_key(|one| held(site, *one))?;
    let is_fuller = held(site, fullest) >= held(site, own) + 2;
    let yields = if is_fuller { fullest } else { own };
    let hosts = holders.iter().filter(|holder| site(**holder) == yields).map(|holder| host(*holder));
    let most = hosts.max_by_key(|one| held(host, *one))?;
    let goes = is_fuller || held(host, most) >= held(host, host(newcomer)) + 2;
    goes.then(|| holders.iter().rposition(|holder| host(*holder) == most)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_one_of_a_host_and_of_a_site() {
        assert_eq!(host(ip("2001:db8:1:2::3")), ip("2001:db8:1:2::"));
        assert_eq!(site(ip("2001:db8:1:2::3")), ip("2001:db8:1::"));
        for one in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!((host(ip(one)), site(ip(one))), (ip("192.0.2.1"), ip("192.0.2.1")));
        }
    }

    #[test]
    fn who_holds_most_makes_room_with_what_came_last() {
        let four: Vec<IpAddr> = (0..16).map(|n| ip(&format!("192.0.2.{}", n / 4))).collect();
        let most = who_yields(&four, ip("198.51.100.1")).unwrap();
        assert_eq!(most % 4, 3, "the last of its host");
        assert_eq!(who_yields(&four, ip("192.0.2.1")), None, "each has as many");
        // One site that has a host for each place.
        let site: Vec<IpAddr> = (0..16).map(|n| ip(&format!("2001:db8:1:{n:x}::1"))).collect();
        assert_eq!(who_yields(&site, ip("198.51.100.1")), Some(15));
        assert_eq!(who_yields(&site, ip("2001:db8:1:ffff::1")), None);
        assert_eq!(who_yields(&site, ip("2001:db8:2:1::1")), Some(15));
        // Beside one host that has some more than each of those, which is the only one of its site.
        let mixed: Vec<IpAddr> = [ip("192.0.2.1"); 3].into_iter().chain(site[..12].iter().copied()).collect();
        assert_eq!(who_yields(&mixed, ip("198.51.100.1")), Some(14));
        assert_eq!(who_yields(&mixed, ip("192.0.2.1")), Some(14));
        // Within its site, a host that has most goes before its neighbours.
        let crowded: Vec<IpAddr> = [ip("2001:db8:1:a0::1"); 3].into_iter().chain(site[..9].iter().copied()).collect();
        assert_eq!(who_yields(&crowded, ip("198.51.100.1")), Some(2));
        assert_eq!(who_yields(&crowded, ip("2001:db8:1:a1::1")), Some(2));
        assert_eq!(who_yields(&crowded, ip("2001:db8:1:a0::2")), None);
    }

    #[test]
    fn two_that_hold_as_many_do_not_drive_each_other_out() {
        let both = [ip("192.0.2.1"), ip("192.0.2.2")];
        assert_eq!(who_yields(&both, ip("192.0.2.3")), None);
        assert_eq!(who_yields(&both, ip("192.0.2.1")), None);
        assert_eq!(who_yields(&[], ip("192.0.2.1")), None);
    }
}
