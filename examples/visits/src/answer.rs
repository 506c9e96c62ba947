//! An HTTP answer, written through a `wasi:io` stream.
use wasip2::{
    http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam},
    io::streams::{OutputStream, StreamError},
};

/// What is sent back.
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Answer {
    pub fn json(status: u16, body: String) -> Self {
        Self::new(status, "application/json", body)
    }

    /// A sentence for people.
    pub fn text(status: u16, why: impl Into<String>) -> Self {
        let mut why = why.into();
        why.push('\n');
        Self::new(status, "text/plain; charset=utf-8", why)
    }

    fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type", content_type.into())], body: body.into() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends it. A client that went away meanwhile is nobody's fault.
    pub fn send(mut self, out: ResponseOutparam) {
        self.headers.push(("content-length", self.body.len().to_string().into_bytes()));
        let headers: Vec<_> = self.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let response = OutgoingResponse::new(Fields::from_list(&headers).expect("these headers are well formed"));
        response.set_status_code(self.status).expect("the statuses used here exist");
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        let sent = write(&stream, &self.body);
        drop(stream);
        if sent.is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}

/// Writes all of `bytes`, as many at once as the host takes.
fn write(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let (now, rest) = bytes.split_at(room.min(bytes.len()));
        stream.write(now)?;
        bytes = rest;
    }
    stream.flush()
}
