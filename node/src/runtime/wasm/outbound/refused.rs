//! Why a guest's request came to nothing: one line in the app's log for people, one code of `wasi:http` for the guest.
use std::{error::Error as _, io, net::IpAddr};

use wasmtime_wasi_http::Error as HttpError;

#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The manifest does not name it.
    #[error("the manifest does not allow this host")]
    NotAllowed,
    /// No manifest can.
    #[error("it would go to {address}, {kind}, and an app reaches public hosts only; no manifest can allow this")]
    Prohibited { address: IpAddr, kind: &'static str },
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    #[error("{max} requests {whose} are under way, and no more may be: wait for some of them first")]
    Crowded { max: usize, whose: &'static str },
    #[error("its host's name cannot be resolved: {0}")]
    Unresolved(#[source] io::Error),
    #[error("its host cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    #[error("its host took too long to {0}")]
    TooSlow(&'static str),
    #[error("its host did not prove who it is: {0}")]
    Tls(#[source] io::Error),
    #[error("its host broke off: {0}")]
    Broken(#[source] hyper::Error),
}

impl Refused {
    /// What the app's log says of a request to `target`.
    pub(super) fn line(&self, target: &str) -> String {
        match self {
            Self::NotAllowed => format!(
                "bocage: refused the request to {target}: {self}. If it should, write under [component] \
                 allowed_outbound_hosts = [\"{target}\"] and deploy again"
            ),
            Self::Prohibited { .. } | Self::Malformed(_) | Self::Crowded { .. } => {
                format!("bocage: refused the request to {target}: {self}")
            }
            Self::Unresolved(_) | Self::Unreachable(_) | Self::TooSlow(_) | Self::Tls(_) | Self::Broken(_) => {
                format!("bocage: the request to {target} failed: {self}")
            }
        }
    }
}

impl From<Refused> for HttpError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotAllowed | Refused::Prohibited { .. } => Self::HttpRequestDenied,
            Refused::Malformed(_) => Self::HttpRequestUriInvalid,
            Refused::Crowded { .. } => Self::ConnectionLimitReached,
            Refused::Unresolved(_) => Self::DnsError { rcode: None, info_code: None },
            Refused::Unreachable(_) => Self::ConnectionRefused,
            Refused::TooSlow("answer") => Self::HttpResponseTimeout,
            Refused::TooSlow(_) => Self::ConnectionTimeout,
            Refused::Tls(_) => Self::TlsCertificateError,
            Refused::Broken(error) => match error.source().and_then(|cause| cause.downcast_ref::<Self>()) {
                Some(Self::HttpRequestBodySize(bytes)) => Self::HttpRequestBodySize(*bytes),
                _ => Self::Hyper(error),
            },
        }
    }
}
