//! The bodies of requests, read within a bound that all of them share: what is announced is not believed, what arrives is
//! counted before it is kept.
use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bocage_protocol::refusal::{Code, Refusal};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// No body is longer: a component of 64 MiB is a large one.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Bytes of all bodies at once; beyond it a request is refused `full`.
const BODIES_BYTES_MAX: usize = 256 << 20;
/// A body that has not arrived after so long is given up.
const BODY_WITHIN: Duration = Duration::from_mins(5);
/// A body of which nothing arrives for so long is given up.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// Memory for bodies.
#[derive(Debug)]
pub struct Bodies {
    memory: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { memory: Arc::new(Semaphore::new(BODIES_BYTES_MAX)) }
    }
}

impl Bodies {
    /// All of a body, and the memory that it takes for as long as the permit is held.
    ///
    /// # Errors
    /// When it is too long, breaks off or stalls (`invalid`), or others take all memory now (`full`). Nothing was done.
    pub(super) async fn read(&self, body: Body) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
        let late = |_| Refusal::definite(Code::Invalid, format!("the body took longer than {BODY_WITHIN:?}"));
        tokio::time::timeout(BODY_WITHIN, self.gather(body)).await.map_err(late)?
    }

    async fn gather(&self, mut body: Body) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
        let invalid = |why: String| Refusal::definite(Code::Invalid, why);
        let mut memory = self.room(0)?;
        let mut whole = Vec::new();
        loop {
            let frame = tokio::time::timeout(SILENT_MAX, body.frame()).await;
            let frame = frame.map_err(|_| invalid(format!("nothing of the body came for {SILENT_MAX:?}")))?;
            let Some(frame) = frame else { return Ok((whole.into(), memory)) };
            let frame = frame.map_err(|error| invalid(format!("the body broke off: {error}")))?;
            let Ok(piece) = frame.into_data() else { continue };
            if whole.len() + piece.len() > BODY_BYTES_MAX {
                return Err(invalid(format!("the body is longer than {BODY_BYTES_MAX} bytes")));
            }
            memory.merge(self.room(piece.len())?);
            whole.extend_from_slice(&piece);
        }
    }

    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let full = || {
            Refusal::definite(Code::Full, "this node reads too many long requests at once; nothing was done, try again")
        };
        let permits = u32::try_from(bytes).map_err(|_| full())?;
        Arc::clone(&self.memory).try_acquire_many_owned(permits).map_err(|_| full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_costs_what_arrived_and_gives_it_back() {
        let bodies = Bodies { memory: Arc::new(Semaphore::new(100)) };
        let (whole, memory) = bodies.read(Body::from(vec![7; 60])).await.unwrap();
        assert_eq!(whole.len(), 60);
        assert_eq!(bodies.memory.available_permits(), 40);
        let refusal = bodies.read(Body::from(vec![7; 60])).await.unwrap_err();
        assert_eq!(refusal.code, Code::Full);
        assert_eq!(bodies.memory.available_permits(), 40, "what was refused holds nothing");
        drop(memory);
        assert!(bodies.read(Body::from(vec![7; 60])).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_or_breaks_off_is_refused() {
        let bodies = Bodies::default();
        let long = futures::stream::iter((0..1_025).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 64 << 10]))));
        assert_eq!(bodies.read(Body::from_stream(long)).await.unwrap_err().code, Code::Invalid);
        let broken = futures::stream::iter([Ok(Bytes::from("half")), Err(std::io::Error::other("gone"))]);
        assert_eq!(bodies.read(Body::from_stream(broken)).await.unwrap_err().code, Code::Invalid);
        assert_eq!(bodies.memory.available_permits(), BODIES_BYTES_MAX);
    }
}
