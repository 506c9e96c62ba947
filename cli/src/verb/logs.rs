//! `bocage logs APP`: what an app prints, on all its hosts.
use bytes::{Buf as _, BytesMut};
use clap::Args;
use http_body_util::BodyExt as _;
use serde::Deserialize;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
};

/// A line longer than this is not one of ours.
const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Which app
    app: String,
    /// Go on with every new line, until interrupted
    #[arg(long, short)]
    follow: bool,
}

/// A line, as far as people look at it.
#[derive(Deserialize)]
struct Line {
    at: u64,
    instance: Instance,
    stream: String,
    text: String,
}

#[derive(Deserialize)]
struct Instance {
    number: u64,
}

impl Logs {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        let follow = self.follow;
        let mut body = control.stream(&format!("/v1/cells/{cell}/logs?follow={follow}")).await?.into_body();
        let mut text = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Failure::new(Exit::Failed, "lost", format!("the node broke off: {error}"))
                    .next(format!("go on through another node: bocage logs {} --node CONTROL", self.app))
            })?;
            if let Some(data) = frame.data_ref() {
                text.extend_from_slice(data);
            }
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                print(&text[..end], at.say.is_json());
                text.advance(end + 1);
            }
            if text.len() > LINE_BYTES_MAX {
                text.clear();
            }
        }
        Ok(())
    }
}

fn print(line: &[u8], json: bool) {
    let text = String::from_utf8_lossy(line);
    match serde_json::from_slice::<Line>(line) {
        Ok(line) if !json => {
            let mark = if line.stream == "stderr" { say::red("!") } else { " ".to_owned() };
            let head = say::dim(&format!("{} #{}", say::time(line.at), line.instance.number));
            say::to_stdout(&format!("{head}{mark} {}\n", line.text));
        }
        Ok(_) | Err(_) => say::to_stdout(&format!("{text}\n")),
    }
}
