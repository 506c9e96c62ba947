//! Listening sockets that a supervisor keeps and hands to this process and to the next: systemd's socket units, and whoever
//! speaks its protocol (`LISTEN_FDS`). While there is no process, clients wait in the socket's queue instead of being refused.
use std::net::{SocketAddr, TcpListener};

/// What was handed over and not taken yet.
#[derive(Debug, Default)]
pub struct Kept(Vec<TcpListener>);

impl Kept {
    /// The sockets meant for this process. Others than listening TCP sockets are left alone.
    #[must_use]
    pub fn from_environment() -> Self {
        let mut handed = listenfd::ListenFd::from_env();
        let sockets = (0..handed.len()).filter_map(|number| match handed.take_tcp_listener(number) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(number, %error, "a socket that was handed over is no listening TCP socket");
                None
            }
        });
        Self(sockets.collect())
    }

    /// The one that listens on an address.
    #[must_use]
    pub fn take(&mut self, addr: SocketAddr) -> Option<TcpListener> {
        let at = self.0.iter().position(|socket| socket.local_addr().is_ok_and(|own| own == addr))?;
        Some(self.0.swap_remove(at))
    }

    /// The addresses of those that nobody took.
    pub fn left(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().filter_map(|socket| socket.local_addr().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_by_its_address_and_given_once() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let mut kept = Kept(vec![socket]);
        assert!(kept.take("127.0.0.1:1".parse().unwrap()).is_none());
        assert_eq!(kept.left().collect::<Vec<_>>(), [addr]);
        assert_eq!(kept.take(addr).unwrap().local_addr().unwrap(), addr);
        assert!(kept.take(addr).is_none());
    }
}
