//! What an app prints, from all nodes that run it: this node's own lines, and those that it fetches from its peers.
use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{OriginalUri, Path, Query, State},
    http::{HeaderMap, HeaderValue},
    response::{IntoResponse as _, Response},
};
use bocage_protocol::{
    codec::{self, Blob},
    command::{Command, Reply},
    id::{CellId, NodeId},
};
use bytes::Bytes;
use minicbor::{Decode, Encode};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    sync::{broadcast::error::RecvError, mpsc},
};

use super::{
    Control,
    auth::AUTHORIZATION,
    routes::{Known, No, describe},
};
use crate::{
    handle::Ask,
    runtime::{LogLine, Logs},
    settings::wall,
    transport::{Mesh, MeshStream, Purpose},
};

/// Lines on their way to one reader; a slow one slows its sources, and they drop their oldest.
const LINES_MAX: usize = 256;
/// A longer line is cut by the runtime; this is what a peer may send us.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// A peer that does not answer so long is left out.
const PEER_MAX: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
pub(super) struct How {
    #[serde(default)]
    follow: bool,
}

/// Lines of an app, one JSON object each.
pub(super) async fn logs(
    State(control): State<Arc<Control>>,
    known: Known,
    Path(cell): Path<CellId>,
    Query(how): Query<How>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, No> {
    let asked = codec::encode(&Asked {
        cell,
        follow: how.follow,
        path: uri.path_and_query().map_or_else(String::new, ToString::to_string),
        authorization: headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok().map(str::to_owned)),
    });
    let description = describe(&control, known, cell).await?;
    let hosts: BTreeSet<NodeId> = description.leases.iter().map(|lease| lease.node).collect();
    let (lines, mut gathered) = mpsc::channel::<Bytes>(LINES_MAX);
    for host in hosts {
        let lines = lines.clone();
        if host == control.me {
            let logs = Arc::clone(&control.logs);
            tokio::spawn(async move { own(&logs, cell, how.follow, &lines).await });
        } else {
            let (mesh, asked) = (control.mesh.clone(), asked.clone());
            tokio::spawn(async move { of_peer(&mesh, host, &asked, &lines).await });
        }
    }
    drop(lines);
    let body = futures::stream::poll_fn(move |cx| gathered.poll_recv(cx).map(|line| line.map(Ok::<_, Infallible>)));
    Ok(([("content-type", "application/jsonl")], Body::from_stream(body)).into_response())
}

async fn own(logs: &Logs, cell: CellId, follow: bool, lines: &mpsc::Sender<Bytes>) {
    if !follow {
        for line in logs.tail(cell) {
            if lines.send(json(&line)).await.is_err() {
                return;
            }
        }
        return;
    }
    let (tail, mut news) = logs.follow(cell);
    for line in tail {
        if lines.send(json(&line)).await.is_err() {
            return;
        }
    }
    loop {
        let line = tokio::select! {
            line = news.recv() => line,
            () = lines.closed() => return,
        };
        match line {
            Ok(line) => {
                if lines.send(json(&line)).await.is_err() {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

fn json(line: &LogLine) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// What a node asks another: lines of an app, for the tenant who signed, or for itself if it hosts the app too.
#[derive(Debug, Encode, Decode)]
struct Asked {
    #[n(0)]
    cell: CellId,
    #[n(1)]
    follow: bool,
    /// The path that the tenant signed.
    #[n(2)]
    path: String,
    /// The tenant's signature; none when he asked through his own node's socket.
    #[n(3)]
    authorization: Option<String>,
}

/// A request is no longer.
const ASKED_BYTES_MAX: usize = 4 << 10;

/// Fetches a peer's lines until either side closes.
async fn of_peer(mesh: &Mesh, host: NodeId, asked: &Blob, lines: &mpsc::Sender<Bytes>) {
    let Ok(Ok(mut stream)) = tokio::time::timeout(PEER_MAX, mesh.open(host, Purpose::Logs)).await else { return };
    let Ok(len) = u16::try_from(asked.len()) else { return };
    let sent = async {
        stream.write_all(&len.to_be_bytes()).await?;
        stream.write_all(asked).await?;
        stream.flush().await
    };
    if sent.await.is_err() {
        return;
    }
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(bytes) if bytes > 0) || lines.send(line.into()).await.is_err() {
            return;
        }
    }
}

/// Answers peers that ask for an app's lines.
pub async fn serve_peers(control: Arc<Control>) {
    let Some(mut incoming) = control.mesh.incoming(Purpose::Logs) else { return };
    while let Some((from, stream)) = incoming.recv().await {
        let control = Arc::clone(&control);
        tokio::spawn(async move {
            let _ = answer(from, stream, &control).await;
        });
    }
}

async fn answer(from: NodeId, mut stream: MeshStream, control: &Control) -> std::io::Result<()> {
    let asked = tokio::time::timeout(PEER_MAX, async {
        let len = usize::from(stream.read_u16().await?);
        let mut asked = vec![0; len.min(ASKED_BYTES_MAX)];
        stream.read_exact(&mut asked).await?;
        Ok::<_, std::io::Error>(asked)
    });
    let Ok(asked) = codec::decode::<Asked>("request for logs", &asked.await??) else { return Ok(()) };
    if !may_read(from, &asked, control).await {
        return stream.shutdown().await;
    }
    let (lines, mut gathered) = mpsc::channel(LINES_MAX);
    let source = own(&control.logs, asked.cell, asked.follow, &lines);
    tokio::pin!(source);
    let mut ended = false;
    loop {
        let line = tokio::select! {
            () = &mut source, if !ended => {
                ended = true;
                continue;
            }
            line = gathered.recv() => line,
            () = std::future::ready(()), if ended => gathered.try_recv().ok(),
        };
        let Some(line) = line else { return stream.shutdown().await };
        stream.write_all(&line).await?;
        stream.flush().await?;
    }
}

/// Who hosts an app can read what it prints; its tenant may, wherever he asks.
async fn may_read(from: NodeId, asked: &Asked, control: &Control) -> bool {
    let reply = control.node.ask(Ask::within(PEER_MAX), Command::Cells).await;
    let Ok(Reply::Cells(cells)) = reply else { return false };
    let Some(description) = cells.iter().find(|description| description.cell == asked.cell) else { return false };
    let Some(authorization) = &asked.authorization else {
        return description.members.iter().any(|member| member.node == from)
            || description.leases.iter().any(|lease| lease.node == from);
    };
    let Ok(value) = HeaderValue::from_str(authorization) else { return false };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let caller = control.door.check(&headers, "GET", &asked.path, b"", wall(), &control.node.keyring());
    asked.path.contains(&asked.cell.to_string()) && caller.is_ok_and(|caller| caller.is_tenant(description.tenant))
}
