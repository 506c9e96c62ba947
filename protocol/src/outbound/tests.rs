use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn at(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Each block by its first and its last address, and the addresses beside it.
#[test]
fn no_address_inside_of_a_hosters_house_is_reached() {
    for address in [
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.0",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.255",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b::192.168.1.1",
        "64:ff9b:1::808:808",
        "100::1",
        "2001::1",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff:ffff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(forbidden(at(address)).is_some(), "{address}");
    }
}

#[test]
fn the_open_internet_is_open() {
    for address in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2a01:4f8::1",
        "3ffe::1",
    ] {
        assert_eq!(forbidden(at(address)), None, "{address}");
    }
}

#[test]
fn a_machine_and_its_neighbours_behind_the_same_router_are_too_near() {
    assert!(too_near(at("93.184.216.34"), at("93.184.216.34")).is_some());
    assert!(too_near(at("93.184.216.34"), at("::ffff:93.184.216.34")).is_some());
    assert!(too_near(at("2a01:4f8:1:2::5"), at("2a01:4f8:1:2:ffff::9")).is_some());
    assert_eq!(too_near(at("93.184.216.34"), at("93.184.216.35")), None);
    assert_eq!(too_near(at("2a01:4f8:1:2::5"), at("2a01:4f8:1:3::5")), None);
}

#[test]
fn a_destination_means_its_scheme_host_and_port_and_nothing_beside() {
    let covers =
        |allowed: &str, scheme, host: &str, port| allowed.parse::<Destination>().unwrap().covers(scheme, host, port);
    assert!(covers("https://api.example.org", Scheme::Https, "api.example.org", 443));
    assert!(covers("https://api.example.org", Scheme::Https, "API.Example.ORG", 443));
    assert!(!covers("https://api.example.org", Scheme::Http, "api.example.org", 443));
    assert!(!covers("https://api.example.org", Scheme::Https, "api.example.org", 8443));
    for other in ["example.org", "x.api.example.org", "api.example.org.evil.net", "api.example.org.", "apiXexample.org"]
    {
        assert!(!covers("https://api.example.org", Scheme::Https, other, 443), "{other}");
    }
    assert!(covers("http://*.example.net:8080", Scheme::Http, "a.b.example.net", 8080));
    for other in ["example.net", ".example.net", "evilexample.net", "a.example.net.evil.org", "a.example.net."] {
        assert!(!covers("http://*.example.net:8080", Scheme::Http, other, 8080), "{other}");
    }
    assert!(covers("http://1.1.1.1", Scheme::Http, "1.1.1.1", 80));
    assert!(covers("https://[2606:4700::1111]", Scheme::Https, "[2606:4700:0::1111]", 443));
    assert!(!covers("http://1.1.1.1", Scheme::Http, "0x1010101", 80));
}

#[test]
fn a_destination_is_written_back_as_it_is_written() {
    for text in [
        "https://api.example.org",
        "http://*.example.net:8080",
        "http://1.1.1.1",
        "https://[2606:4700::1111]:8443",
        "https://xn--bcher-kva.example",
        "http://api.example.org:443",
    ] {
        assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
    }
    assert_eq!("https://api.example.org:443".parse::<Destination>().unwrap().to_string(), "https://api.example.org");
}

#[test]
fn what_is_no_destination_is_told_what_to_write() {
    for text in [
        "",
        "api.example.org",
        "https://",
        "ftp://example.org",
        "*://example.org",
        "HTTPS://example.org",
        "https://localhost",
        "https://intranet",
        "https://Example.org",
        "https://example.org/path",
        "https://example.org/",
        "https://user@example.org",
        "https://example.org?x",
        "https://*",
        "https://*.org",
        "https://a.*.example.org",
        "https://example.org:*",
        "https://example.org:0",
        "https://example.org:65536",
        "https://example.org:080",
        "https://example.org:+80",
        "http://mx.example.org:25",
        "https://example.org.",
        "https://10.0.0.1",
        "https://127.0.0.1:8080",
        "https://[::1]",
        "https://[fd00:ec2::254]",
        "https://127.1",
        "https://a.0x7f",
        "https://2130706433",
        "https://bücher.example",
        "https://ex ample.org",
        "https://[::1",
        "https://-a.example.org",
        "https://*.*.example.org",
        "https://a..b",
    ] {
        let error = text.parse::<Destination>().expect_err(text);
        assert!(!error.what.is_empty() && !error.help.is_empty());
    }
    assert!("https://a.example.org".repeat(20).parse::<Destination>().is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_what_is_read_reads_back(text in "(http|https|.{0,4})(://|:)[a-z0-9.*:\\[\\]-]{0,40}.{0,4}") {
        if let Ok(destination) = text.parse::<Destination>() {
            proptest::prop_assert_eq!(destination.to_string().parse::<Destination>(), Ok(destination));
        }
    }

    /// However an IPv4 address is dressed up as one of IPv6, it is judged as what it is.
    #[test]
    fn a_forbidden_address_is_forbidden_in_every_dress(bits in proptest::prelude::any::<u32>()) {
        let plain = Ipv4Addr::from_bits(bits);
        let mapped = plain.to_ipv6_mapped();
        let [a, b, c, d] = plain.octets().map(u16::from);
        let translated = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d);
        let judged = forbidden(plain.into());
        proptest::prop_assert_eq!(forbidden(mapped.into()), judged);
        proptest::prop_assert_eq!(forbidden(translated.into()), judged);
    }
}
