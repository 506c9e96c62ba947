//! Names and connections, as the system has them. A trait, so that a test can stand for the internet; what may be reached
//! is judged by whoever calls, not here.
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    pin::Pin,
    sync::Arc,
};

use tokio::{net::TcpStream, sync::Semaphore};

/// Names looked up at once. The system's resolver holds a thread each; further ones wait, within their request's time.
const LOOKUPS_MAX: usize = 32;

/// The addresses of a name, some time.
pub type Addresses<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;
/// A connection, some time.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>>;
/// One of this host's own addresses, some time.
pub type OwnAddress<'a> = Pin<Box<dyn Future<Output = io::Result<IpAddr>> + Send + 'a>>;

/// The network around this host.
pub trait Network: Send + Sync {
    /// The addresses that a name stands for now, best first.
    fn resolve<'a>(&'a self, name: &'a str) -> Addresses<'a>;

    /// The address that this host would speak from.
    fn source(&self, to: SocketAddr) -> OwnAddress<'_>;

    /// Connects to this very address.
    fn connect(&self, to: SocketAddr) -> Connecting<'_>;
}

/// The system's resolver and sockets.
pub struct SystemNetwork {
    lookups: Arc<Semaphore>,
}

impl Default for SystemNetwork {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Network for SystemNetwork {
    fn resolve<'a>(&'a self, name: &'a str) -> Addresses<'a> {
        Box::pin(async move {
            let permit = self.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
            // A lookup cannot be called off: the thread holds its permit until the resolver gives up.
            let name = name.to_owned();
            let lookup = tokio::task::spawn_blocking(move || {
                let found =
                    (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect());
                drop(permit);
                found
            });
            lookup.await.map_err(io::Error::other)?
        })
    }

    fn source(&self, to: SocketAddr) -> OwnAddress<'_> {
        // A datagram socket that is connected has chosen its route and sent nothing.
        let source = move || {
            let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
            socket.connect(to)?;
            Ok(socket.local_addr()?.ip())
        };
        Box::pin(std::future::ready(source()))
    }

    fn connect(&self, to: SocketAddr) -> Connecting<'_> {
        Box::pin(TcpStream::connect(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_tells_when_an_address_is_this_machine() {
        let network = SystemNetwork::default();
        let here = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(network.source(here).await.unwrap(), here.ip());
        let found = network.resolve("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
    }
}
