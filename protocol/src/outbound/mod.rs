//! Where an app's requests may go: what its manifest allows, and which addresses no manifest can. Both are pure, so that
//! whoever signs, agrees on and runs a release judges alike; the node resolves and connects between the two.
//!
//! Spelled as in Spin's `allowed_outbound_hosts`: scheme, host, port if it is not the scheme's own. A host is a name, `*.`
//! before a name for all names below it, or a public address.
//!
//! ```
//! # use bocage_protocol::outbound::{Destination, Scheme};
//! let allowed: Destination = "http://*.example.net:8080".parse().unwrap();
//! assert!(allowed.covers(Scheme::Http, "eu.api.example.net", 8080));
//! assert!(!allowed.covers(Scheme::Http, "example.net", 8080));
//! ```
mod address;

use std::{fmt, net::IpAddr, str::FromStr};

pub use address::{forbidden, too_near};

/// A release names at most so many destinations.
pub const DESTINATIONS_MAX: usize = 64;
/// Where mail is handed over. It is not sent by HTTP, and who tries has his hoster's address barred by half of the world.
const MAIL_PORTS: [u16; 3] = [25, 465, 587];
/// A destination is no longer than this, in bytes.
const DESTINATION_BYTES_MAX: usize = 300;

/// One entry of `allowed_outbound_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    scheme: Scheme,
    host: Host,
    port: u16,
}

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Readable by everybody on the way.
    Http,
    /// Under TLS, the certificate checked.
    Https,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// This name.
    Name(String),
    /// All names below this one, but not it.
    Below(String),
    Address(IpAddr),
}

/// Text that is no destination: what is wrong, and what to write. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct DestinationError {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub help: &'static str,
}

impl Scheme {
    /// The port that a request without one goes to.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// As URLs say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Destination {
    /// Whether a request to this host and port is meant. `host` as in a URL: an IPv6 address in brackets.
    #[must_use]
    pub fn covers(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        if self.scheme != scheme || self.port != port {
            return false;
        }
        let host = host.to_ascii_lowercase();
        match &self.host {
            Host::Name(name) => *name == host,
            Host::Below(name) => {
                host.strip_suffix(name).and_then(|rest| rest.strip_suffix('.')).is_some_and(|below| !below.is_empty())
            }
            Host::Address(address) => address_in(&host) == Some(*address),
        }
    }

    /// What to write to allow exactly this request's host.
    #[must_use]
    pub fn spelled(scheme: Scheme, host: &str, port: u16) -> String {
        let (name, host) = (scheme.as_str(), host.to_ascii_lowercase());
        if port == scheme.port() { format!("{name}://{host}") } else { format!("{name}://{host}:{port}") }
    }
}

/// The address that a URL's host is, if it is one.
#[must_use]
pub fn address_in(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        const WHOLE: &str =
            "write scheme and host, such as \"https://api.example.org\" or \"http://*.example.net:8080\"";
        let wrong = |what: String, help| Err(DestinationError { what, help });
        if text.len() > DESTINATION_BYTES_MAX {
            return wrong(format!("{} bytes are too many for a host", text.len()), WHOLE);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong(format!("{text:?} does not say how to get there"), WHOLE);
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => {
                return wrong(
                    format!("{scheme:?} is no way out"),
                    "an app speaks \"http://\" or \"https://\" to others",
                );
            }
        };
        if rest.contains(['/', '?', '#', '@']) {
            let help = "name scheme, host and port only: what is allowed is the whole host";
            return wrong(format!("{text:?} is more than a host"), help);
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => match port.parse() {
                Ok(port @ 1..) if port.to_string().len() == rest.len() - host.len() - 1 => (host, port),
                Ok(_) | Err(_) => {
                    return wrong(format!("{port:?} is no port"), "one from 1 to 65535, without leading zeros");
                }
            },
            _ => (rest, scheme.port()),
        };
        if MAIL_PORTS.contains(&port) {
            return wrong(format!("port {port} is for mail"), "name a port where HTTP is spoken");
        }
        Ok(Self { scheme, host: Host::read(host)?, port })
    }
}

impl Host {
    fn read(host: &str) -> Result<Self, DestinationError> {
        const NAME: &str = "lower case, with a dot, such as \"api.example.org\"; other letters as xn--…";
        let wrong = |what: String, help| Err(DestinationError { what, help });
        if let Some(address) = address_in(host) {
            return match forbidden(address) {
                None => Ok(Self::Address(address)),
                Some(kind) => wrong(
                    format!("{address} is {kind}"),
                    "an app reaches public addresses only: no manifest can allow others",
                ),
            };
        }
        if let Some(name) = host.strip_prefix("*.") {
            return if is_name(name) {
                Ok(Self::Below(name.to_owned()))
            } else {
                wrong(format!("{host:?} leaves too much open"), "*. stands before a name with a dot: \"*.example.net\"")
            };
        }
        if host.contains('*') {
            let help = "name the hosts; *. may stand before a name: \"https://*.example.net\"";
            return wrong(format!("{host:?} leaves too much open"), help);
        }
        if is_name(host) {
            Ok(Self::Name(host.to_owned()))
        } else {
            wrong(format!("{host:?} is not a host name"), NAME)
        }
    }
}

/// A DNS name in lower case with a dot that no resolver takes for an address.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let lawful = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(lawful) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(label)
        && last.starts_with(|first: char| first.is_ascii_lowercase())
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Below(name) => format!("*.{name}"),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        };
        f.write_str(&Self::spelled(self.scheme, &host, self.port))
    }
}

#[cfg(test)]
mod tests;
