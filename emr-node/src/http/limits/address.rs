//! The client address of a request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

/// The number of bits of an IPv6 address that identify the network. A client that has one address of a /64 has all of
/// them.
const NETWORK: u32 = 64;
/// The number of bits that identify a site. A provider gives a site up to 65,536 networks.
const SITE: u32 = 48;

/// A client's address: an IPv4 address, or an IPv6 address without its lower 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address of a request without one, which happens only in tests.
    pub(crate) const UNKNOWN: Self = Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED));

    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(long) if long.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(long) => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & (u128::MAX << (128 - NETWORK)))),
            short @ IpAddr::V4(_) => short,
        })
    }

    /// The site that the address belongs to: for IPv6 the /48, for IPv4 the address itself.
    pub(crate) fn site(&self) -> Self {
        Self(match self.0 {
            IpAddr::V6(long) => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & (u128::MAX << (128 - SITE)))),
            short @ IpAddr::V4(_) => short,
        })
    }

    /// Whether the client is on this machine.
    pub(crate) const fn is_this_machine(&self) -> bool {
        self.0.is_loopback()
    }
}

/// The last hop in `X-Forwarded-For`, which the proxy in front of this node added. The client could have written the
/// others. `None` if the request has no such header: then no proxy forwarded it. A hop that is not an address is
/// [`ClientAddress::UNKNOWN`], so that nobody passes for the proxy by what they write into the header.
pub(super) fn forwarded(headers: &HeaderMap) -> Option<ClientAddress> {
    let header = headers.get_all("x-forwarded-for").iter().next_back()?;
    let last = header.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
    Some(std::str::from_utf8(last).ok().and_then(|hop| address_of(hop.trim())).unwrap_or(ClientAddress::UNKNOWN))
}

fn address_of(last: &str) -> Option<ClientAddress> {
    let bare = last.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>().ok().or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(ClientAddress::of)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(text: &str) -> ClientAddress {
        ClientAddress::of(text.parse().expect("an address"))
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!(of("2001:db8:1:2::1").site(), of("2001:db8:1:ffff::9").site());
        assert_ne!(of("2001:db8:1:2::1").site(), of("2001:db8:2:2::1").site());
        assert_eq!(of("192.0.2.1").site(), of("192.0.2.1"));
        assert!(
            of("::1").is_this_machine()
                && of("127.0.0.2").is_this_machine()
                && of("::ffff:127.0.0.1").is_this_machine()
        );
        assert!(!of("::2").is_this_machine() && !of("192.0.2.1").is_this_machine());
        assert!(!ClientAddress::UNKNOWN.is_this_machine());
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn only_the_last_hop_counts() {
        let said = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", HeaderValue::from_static(value));
            }
            forwarded(&headers)
        };
        assert_eq!(said(&["192.0.2.1"]), Some(of("192.0.2.1")));
        assert_eq!(said(&["203.0.113.9, 192.0.2.1"]), Some(of("192.0.2.1")));
        assert_eq!(said(&["203.0.113.9", "192.0.2.1:4711"]), Some(of("192.0.2.1")));
        assert_eq!(said(&["[2001:db8::1]:80"]), said(&["2001:db8::2"]));
        assert_eq!(said(&[]), None);
        for unknown in [&["unknown"][..], &["192.0.2.1, "], &["192.0.2.1", "_hidden"]] {
            assert_eq!(said(unknown), Some(ClientAddress::UNKNOWN), "{unknown:?}");
        }
        // What the client wrote before the last hop need not be text.
        let mut headers = HeaderMap::new();
        let bytes = HeaderValue::from_bytes(b"\xff, 203.0.113.9").expect("a header");
        headers.append("x-forwarded-for", bytes);
        assert_eq!(forwarded(&headers), Some(of("203.0.113.9")));
        headers.append("x-forwarded-for", HeaderValue::from_bytes(b"127.0.0.1, \xff").expect("a header"));
        assert_eq!(forwarded(&headers), Some(ClientAddress::UNKNOWN));
    }
}
