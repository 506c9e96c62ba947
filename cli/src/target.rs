//! Which node is asked: as the person says, or else the newest demo that runs.
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use bocage_node::control::socket_of;

use crate::{
    failure::{Exit, Failure},
    verb::demo::record,
};

/// A node's control API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Its unix socket: for this machine's own user.
    Unix(PathBuf),
    /// `host:port`: for whoever signs.
    Tcp(String),
}

/// What `--node` names: for `sim replay` a node of the simulated mesh, for all other verbs one that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A control API.
    Control(Target),
    /// By number; a folder that is called so is written `./3`.
    Simulated(u32),
}

impl FromStr for Named {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        match text.parse() {
            Ok(number) => Ok(Self::Simulated(number)),
            Err(_) => text.parse().map(Self::Control),
        }
    }
}

/// Text that names no control API.
#[derive(Debug, thiserror::Error)]
#[error("expected host:port, the path of a control.sock, or a node's folder")]
pub(crate) struct NoTarget;

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::socket(Path::new(path)));
        }
        let text = text.strip_prefix("http://").map_or(text, |rest| rest.trim_end_matches('/'));
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if let (Some(Ok(_)), false) = (port, text.contains('/')) {
            return Ok(Self::Tcp(text.to_owned()));
        }
        if text.contains('/') || Path::new(text).exists() {
            return Ok(Self::socket(Path::new(text)));
        }
        Err(NoTarget)
    }
}

impl Target {
    /// The socket itself, or that of the node whose folder this is.
    pub(crate) fn socket(path: &Path) -> Self {
        Self::Unix(if path.is_dir() { socket_of(path) } else { path.to_owned() })
    }

    /// The target named, or the newest running demo's first living node.
    pub(crate) fn find(named: Option<&Self>) -> Result<Self, Failure> {
        if let Some(target) = named {
            return Ok(target.clone());
        }
        let demo = record::newest_running();
        let node = demo.as_ref().and_then(|demo| demo.nodes.iter().find(|node| node.is_alive()));
        node.map(|node| Self::Tcp(node.control.clone())).ok_or_else(|| {
            Failure::new(Exit::Usage, "no-node", "no node is named, and no demo runs here")
                .next("name one: --node HOST:PORT (or BOCAGE_NODE); or start five: bocage demo")
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_or_a_socket() {
        let tcp = |text: &str| Target::Tcp(text.to_owned());
        assert_eq!("127.0.0.1:80".parse::<Target>().unwrap(), tcp("127.0.0.1:80"));
        assert_eq!("http://a.example:80/".parse::<Target>().unwrap(), tcp("a.example:80"));
        assert_eq!("[::1]:80".parse::<Target>().unwrap(), tcp("[::1]:80"));
        let unix = |text: &str| Target::Unix(text.into());
        assert_eq!("unix:/run/x.sock".parse::<Target>().unwrap(), unix("/run/x.sock"));
        assert_eq!("/run/x.sock".parse::<Target>().unwrap(), unix("/run/x.sock"));
        assert_eq!("./x.sock".parse::<Target>().unwrap(), unix("./x.sock"));
        assert_eq!("3".parse::<Named>().unwrap(), Named::Simulated(3));
        assert_eq!("./3".parse::<Named>().unwrap(), Named::Control(unix("./3")));
        assert!("localhost".parse::<Named>().is_err());
        assert!("localhost".parse::<Target>().is_err());
        assert!(":80".parse::<Target>().is_err());
    }
}
