//! A guest's stdout and stderr: cut into lines for the app's logs.
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::runtime::Stream;

use super::app::App;

/// The longest line; a longer one is split here.
const LINE_BYTES_MAX: usize = 4 << 10;
/// The most that is taken at once.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// One output of one request. Clones write to the same line.
#[derive(Clone)]
pub(super) struct Output(Arc<Lines>);

struct Lines {
    app: Arc<App>,
    stream: Stream,
    unfinished: Mutex<Vec<u8>>,
}

impl Output {
    pub(super) fn new(app: Arc<App>, stream: Stream) -> Self {
        Self(Arc::new(Lines { app, stream, unfinished: Mutex::new(Vec::new()) }))
    }
}

impl Lines {
    fn take(&self, mut bytes: &[u8]) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - unfinished.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(room.min(bytes.len()));
            unfinished.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[end.map_or(taken, |end| end + 1)..];
            if end.is_some() || unfinished.len() == LINE_BYTES_MAX {
                self.app.print(self.stream, &unfinished);
                unfinished.clear();
            }
        }
    }
}

impl Drop for Lines {
    /// What the guest printed last need not end in a line's end.
    fn drop(&mut self) {
        let unfinished = self.unfinished.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !unfinished.is_empty() {
            self.app.print(self.stream, unfinished);
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
