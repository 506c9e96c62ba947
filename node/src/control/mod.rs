//! The control API, for CLI and dashboard: a unix socket for this machine's own user, TCP for signed requests. JSON out,
//! problem+json for every no, OpenAPI from the code. What a tenant wants is a statement that the *tenant* signed; this
//! API only carries it.
pub mod api;
pub mod auth;
mod logs;
pub mod roll;
mod routes;

use std::{
    fs::File,
    net::SocketAddr,
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use auth::Door;
use bocage_protocol::id::{MeshId, NodeId};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, UnixListener};

pub use logs::serve_peers;

use crate::{content::Contents, handle::NodeHandle, runtime::Logs, transport::Mesh};

/// A socket's address holds no longer path, whatever the file system allows (`sun_path`, less its last zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

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
    /// Counters.
    pub metrics: Arc<Registry>,
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
    let local = axum::serve(unix, routes::router(Arc::clone(&control), true));
    let remote = axum::serve(tcp, routes::router(control, false));
    let (local, remote) = tokio::join!(local.into_future(), remote.into_future());
    for ended in [local, remote] {
        if let Err(error) = ended {
            tracing::error!(%error, "the control API stopped listening");
        }
    }
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
