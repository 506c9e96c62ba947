//! The control API, for CLI and dashboard: a unix socket for this machine's own user, TCP for signed requests. JSON out,
//! problem+json for every no, `OpenAPI` from the code. What a tenant wants is a statement that the *tenant* signed; this
//! API only carries it.
pub mod api;
pub mod auth;
mod bodies;
pub mod doctor;
pub mod drain;
pub mod export;
mod keys;
mod logs;
pub mod recover;
pub mod roll;
mod routes;

use std::{
    fs::File,
    net::SocketAddr,
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use auth::Door;
use bocage_protocol::id::{MeshId, NodeId};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use prometheus_client::registry::Registry;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};

pub use bodies::Bodies;
pub use logs::serve_peers;

use crate::{
    content::Contents,
    handle::NodeHandle,
    runtime::Logs,
    sources::Places,
    transport::{Mesh, Metrics},
};

/// A socket's address holds no longer path, whatever the file system allows (`sun_path`, less its last zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Connections over TCP at once; a further one is closed.
const CONNECTIONS_MAX: usize = 256;
/// Of these, from one network (see [`crate::sources`]); a further one is closed.
const CONNECTIONS_PER_SOURCE_MAX: usize = 128;
/// A caller that does not finish its headers so long is closed on.
const HEADERS_MAX: Duration = Duration::from_secs(10);
/// Bytes of headers of one request.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Requests of one HTTP/2 connection at once.
const STREAMS_MAX: u32 = 32;

/// What the API needs of its node.
pub struct Control {
    /// This node.
    pub me: NodeId,
    /// Its mesh.
    pub mesh_id: MeshId,
    /// Suffix of self-certifying hosts.
    pub zone: String,
    /// Where HTTP for apps comes in.
    pub edge: SocketAddr,
    /// The machine.
    pub node: NodeHandle,
    /// Links, for logs of instances elsewhere.
    pub mesh: Mesh,
    /// Where uploaded bytes go.
    pub content: Arc<Contents>,
    /// What apps print here.
    pub logs: Arc<Logs>,
    /// Who may ask over TCP.
    pub door: Door,
    /// Memory for what they send.
    pub bodies: Bodies,
    /// Counters.
    pub metrics: Arc<Registry>,
    /// What the transport counts.
    pub carried: Metrics,
    /// This node relays for others.
    pub relays: bool,
    /// Where the node keeps what is its own.
    pub folder: PathBuf,
    /// Told once the node has left its mesh: its process ends.
    pub leaves: watch::Sender<bool>,
}

/// Listens on a unix socket that only this user can open. A socket that a dead daemon left is taken over.
///
/// # Errors
/// When the folder does not take a socket.
pub fn listen_unix(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let (fitting, _folder) = fitting(path)?;
    let listener = UnixListener::bind(fitting)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A name of a socket that fits into a socket's address, however deep its folder lies; good while the folder is held open.
///
/// # Errors
/// When the folder cannot be opened.
pub fn fitting(path: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok((path.to_owned(), None)) };
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let folder = File::open(folder)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name), Some(folder)))
}

/// Serves both doors until the runtime stops.
pub async fn serve(control: Arc<Control>, unix: UnixListener, tcp: TcpListener) {
    let local = async {
        if let Err(error) = axum::serve(unix, routes::router(Arc::clone(&control), true)).await {
            tracing::error!(%error, "the control socket stopped listening");
        }
    };
    tokio::join!(local, serve_tcp(routes::router(Arc::clone(&control), false), tcp));
}

/// The door to the network: connections are shared out by where they come from, and none is waited for long.
async fn serve_tcp(router: axum::Router, listener: TcpListener) {
    let places = Places::new(CONNECTIONS_MAX, CONNECTIONS_PER_SOURCE_MAX);
    loop {
        let (socket, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a caller could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // Closed at once: whoever has a place already asks there.
        let Some(place) = places.take(client.ip()) else { continue };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            server
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_MAX)
                .max_buf_size(HEADER_BYTES_MAX as usize)
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEADER_BYTES_MAX);
            if let Err(error) = server.serve_connection(TokioIo::new(socket), service).await {
                tracing::trace!(%error, %client, "a caller's connection ended");
            }
            drop(place);
        });
    }
}

/// The API as a service without a listener, behind the unix socket's door (`local`) or the one that asks for signatures.
pub fn router(control: Arc<Control>, local: bool) -> axum::Router {
    routes::router(control, local)
}

/// The path of a node's own socket.
#[must_use]
pub fn socket_of(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_in_a_deep_folder_is_reached() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("f".repeat(100)).join("g".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let socket = socket_of(&deep);
        let listener = listen_unix(&socket).unwrap();
        let (short, _folder) = fitting(&socket).unwrap();
        let (connected, accepted) = tokio::join!(tokio::net::UnixStream::connect(short), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
    }
}
