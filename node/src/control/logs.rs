//! What an app prints, from all nodes that run it: this node's own lines, and those that it fetches from its peers.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use bocage_protocol::id::{CellId, NodeId};
use bytes::Bytes;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    sync::{broadcast::error::RecvError, mpsc},
};

use super::{
    Control,
    routes::{Known, No, describe},
};
use crate::{
    runtime::{LogLine, Logs},
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
) -> Result<Response, No> {
    let description = describe(&control, known, cell).await?;
    let hosts: BTreeSet<NodeId> = description.leases.iter().map(|lease| lease.node).collect();
    let (lines, mut gathered) = mpsc::channel::<Bytes>(LINES_MAX);
    for host in hosts {
        let lines = lines.clone();
        if host == control.me {
            let logs = Arc::clone(&control.logs);
            tokio::spawn(async move { own(&logs, cell, how.follow, &lines).await });
        } else {
            let mesh = control.mesh.clone();
            tokio::spawn(async move { of_peer(&mesh, host, cell, how.follow, &lines).await });
        }
    }
    drop(lines);
    let body = futures::stream::poll_fn(move |cx| gathered.poll_recv(cx).map(|line| line.map(Ok::<_, No2>)));
    Ok(([("content-type", "application/jsonl")], Body::from_stream(body)).into_response())
}

type No2 = std::convert::Infallible;

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

/// Asks a peer's node for its lines: 32 bytes of cell, one byte of follow, then lines until either side closes.
///
/// A peer that hosts the app knows what it prints; that the *tenant* asks was checked by the node that he asked. Which
/// nodes may ask is bounded by the cell's own members and hosts.
async fn of_peer(mesh: &Mesh, host: NodeId, cell: CellId, follow: bool, lines: &mpsc::Sender<Bytes>) {
    let Ok(Ok(mut stream)) = tokio::time::timeout(PEER_MAX, mesh.open(host, Purpose::Logs)).await else { return };
    let mut request = cell.0.to_vec();
    request.push(u8::from(follow));
    if stream.write_all(&request).await.is_err() || stream.flush().await.is_err() {
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
pub async fn serve_peers(mesh: Mesh, logs: Arc<Logs>) {
    let Some(mut incoming) = mesh.incoming(Purpose::Logs) else { return };
    while let Some((_, stream)) = incoming.recv().await {
        let logs = Arc::clone(&logs);
        tokio::spawn(async move {
            let _ = answer(stream, &logs).await;
        });
    }
}

async fn answer(mut stream: MeshStream, logs: &Logs) -> std::io::Result<()> {
    let mut request = [0; 33];
    tokio::time::timeout(PEER_MAX, stream.read_exact(&mut request)).await??;
    let mut cell = CellId::default();
    cell.0.copy_from_slice(&request[..32]);
    let (lines, mut gathered) = mpsc::channel(LINES_MAX);
    let source = own(logs, cell, request[32] != 0, &lines);
    let sink = async {
        while let Some(line) = gathered.recv().await {
            stream.write_all(&line).await?;
            stream.flush().await?;
        }
        Ok::<_, std::io::Error>(())
    };
    tokio::pin!(source, sink);
    tokio::select! {
        () = &mut source => {}
        result = &mut sink => return result,
    }
    // What is still queued goes out; then the stream ends.
    drop(lines);
    let _ = tokio::time::timeout(PEER_MAX, sink).await;
    stream.shutdown().await
}
