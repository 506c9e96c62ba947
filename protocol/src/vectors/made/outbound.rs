//! What guests may reach.
use serde_json::{Value, json};

use crate::outbound::{Destination, forbidden};

pub(super) fn outbound() -> Value {
    let address = |text: &str| {
        let forbidden = forbidden(text.parse().unwrap());
        json!({ "address": text, "reached": forbidden.is_none() })
    };
    let destination = |text: &str| json!({ "text": text, "lawful": text.parse::<Destination>().is_ok() });
    let addresses = [
        "1.1.1.1",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "172.32.0.0",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b::10.0.0.1",
        "2606:4700::1111",
        "2001:db8::1",
        "2002:7f00:1::",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
    ];
    let destinations = [
        "https://api.example.org",
        "http://*.example.net:8080",
        "https://[2606:4700::1111]",
        "https://localhost",
        "https://*",
        "https://10.0.0.1",
        "https://a.example.org/path",
        "ftp://example.org",
        "http://example.org:25",
        "https://Example.org",
        "http://127.1",
    ];
    json!({
        "about": "Addresses that guests may reach, and entries of allowed_outbound_hosts that every replica takes or refuses.",
        "addresses": addresses.map(address).to_vec(),
        "destinations": destinations.map(destination).to_vec(),
    })
}
