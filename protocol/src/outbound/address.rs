//! Which addresses a guest never reaches, whatever name stood for them: those that mean something else at each host. A
//! guest that could ask for them would speak from inside of its hoster's house.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Of IPv4: where it begins, how many bits count, what it is (IANA's registry of special-purpose addresses).
const V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::UNSPECIFIED, 8, "this host itself (0.0.0.0/8)"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address (RFC 1918)"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "an address behind a provider's NAT (RFC 6598)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's metadata service"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address, where clouds keep their metadata"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address (RFC 1918)"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "kept for protocols (RFC 6890)"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "an address for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a relay of 6to4"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address (RFC 1918)"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "an address for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "an address for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "an address for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved or broadcast address"),
];

/// Of IPv6, the same: what stands in `2000::/3` and is not of the open internet.
const V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "kept for protocols (Teredo, ORCHID, benchmarks)"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "an address for documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "an address of 6to4"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "an address for documentation"),
];

/// What this address is, if it is one that no guest reaches; `None`: a host of the open internet.
#[must_use]
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => forbidden_v6(address),
    }
}

/// Why a guest does not reach `target` from a host that would speak to it as `source`: it is this machine, or stands
/// beside it behind the same router. Of IPv6 all addresses are public, and a home's firewall stands in front of all.
#[must_use]
pub fn too_near(source: IpAddr, target: IpAddr) -> Option<&'static str> {
    let (source, target) = (source.to_canonical(), target.to_canonical());
    if source == target {
        return Some("this machine itself");
    }
    match (source, target) {
        (IpAddr::V6(source), IpAddr::V6(target)) if source.octets()[..8] == target.octets()[..8] => {
            Some("on this machine's own network (the same /64)")
        }
        _ => None,
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    let begins = |base: Ipv4Addr, bits: u32| (address.to_bits() ^ base.to_bits()) >> (32 - bits) == 0;
    V4.iter().find(|(base, bits, _)| begins(*base, *bits)).map(|(_, _, kind)| *kind)
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = address.to_ipv4_mapped() {
        return forbidden_v4(inner);
    }
    let begins = |base: Ipv6Addr, bits: u32| (address.to_bits() ^ base.to_bits()) >> (128 - bits) == 0;
    // NAT64 (RFC 6052) is how a host without IPv4 reaches the internet of it, and whatever else its translator reaches.
    if begins(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96) {
        let [.., a, b, c, d] = address.octets();
        return forbidden_v4(Ipv4Addr::new(a, b, c, d));
    }
    if !begins(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3) {
        return Some(match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => "this host itself (::)",
            [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
            [first, ..] if first & 0xffc0 == 0xfe80 => "a link-local address",
            [first, ..] if first & 0xfe00 == 0xfc00 => "a private address (RFC 4193), where a cloud keeps its metadata",
            [first, ..] if first & 0xff00 == 0xff00 => "a multicast address",
            _ => "not an address of the open internet (outside of 2000::/3)",
        });
    }
    V6.iter().find(|(base, bits, _)| begins(*base, *bits)).map(|(_, _, kind)| *kind)
}
