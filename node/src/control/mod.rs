//! The control API, for CLI and dashboard: a unix socket for this machine's own user, TCP for signed requests. JSON out,
//! problem+json for every no, OpenAPI from the code. What a tenant wants is a statement that the *tenant* signed; this
//! API only carries it.
pub mod api;
pub mod auth;
mod logs;
mod routes;

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use auth::Door;
use bocage_protocol::id::{MeshId, NodeId};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, UnixListener};

pub use logs::serve_peers;

use crate::{content::Contents, handle::NodeHandle, runtime::Logs, transport::Mesh};

/// What the API needs of its node.
pub struct Control {
    /// This node.
    pub me: NodeId,
    /// Its mesh.
    pub mesh_id: MeshId,
    /// Suffix of self-certifying hosts.
    pub zone: String,
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
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
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
