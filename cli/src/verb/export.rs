//! `bocage export APP`: all of an app in one file, as of one moment, signed by its tenant.
//!
//! What has come lies in a folder beside the file until all has, so that an export that was cut off goes on where it stopped,
//! as far as the app has not changed.
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bocage_node::control::{export::Captured, recover::Survey};
use bocage_protocol::{
    cell::{Capture, Workload},
    id::{CellId, ContentHash},
};
use clap::Args;
use serde::Serialize;

use crate::{
    bundle::Parts,
    control::Control,
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
};

/// An app that changes faster than it is read is tried so often.
const ATTEMPTS_MAX: u32 = 5;
/// A cell makes one capture a second; a young one has not agreed on the rules by which it makes any.
const CAPTURE_WITHIN: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bocage export guestbook\n  bocage export guestbook backup/guestbook.tar\n  \
    bocage export guestbook --line 1 before-the-fire.tar      what is kept of a line that a recovery ended\n\n\
    The file holds what the app's instances wrote and may be read by whoever has it; secrets stay sealed to your key.")]
pub(crate) struct Export {
    /// Which app
    app: String,
    /// Where to [default: APP.bundle.tar]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// What a node keeps of a line that a recovery has ended: what was written there and is not in the app
    #[arg(long, value_name = "N")]
    line: Option<u64>,
}

/// What was exported.
#[derive(Debug, Serialize)]
struct Exported {
    app: String,
    file: PathBuf,
    /// All up to this index of the cell's log.
    index: u64,
    /// The cell's time then, in milliseconds since the Unix epoch.
    time_ms: u64,
    keys: usize,
    size_bytes: u64,
}

impl Export {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let file = self.file.unwrap_or_else(|| PathBuf::from(format!("{}.bundle.tar", self.app)));
        if file.exists() {
            return Err(Failure::new(Exit::Conflict, "exists", format!("{} exists already", file.display()))
                .next("name another file, or move that one away"));
        }
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        let cell = match self.line {
            Some(line) => kept(&control, cell, line).await?,
            None => cell,
        };
        let coming = Coming::beside(&file)?;
        let (capture, state) = coming.state(&control, cell).await?;
        let Workload::Component { hash, .. } = capture.release.workload else {
            let what = format!("{} is no WASM component, and this version exports nothing else", self.app);
            return Err(Failure::new(Exit::Failed, "unsupported", what));
        };
        let component = coming.component(&control, cell, hash).await?;
        Parts { state: &state, component: (hash, &component) }.write(&tenant, &coming.0.join("bundle"), &file)?;
        coming.done()?;
        let size_bytes = fs::metadata(&file).map_err(|error| Failure::io(file.display(), &error))?.len();
        let (index, time_ms, keys) = (capture.index, capture.time.0, capture.keys());
        let exported = Exported { app: self.app, file, index, time_ms, keys, size_bytes };
        at.say.result(&exported, |it| {
            let keys = say::counted(it.keys, "key");
            format!("{}: {keys}, {}, as of index {}\n", it.file.display(), say::in_bytes(it.size_bytes), it.index)
        });
        Ok(())
    }
}

/// Where what has come lies until all has.
struct Coming(PathBuf);

/// A piece is not there any more, or something else is wrong.
enum Broken {
    Gone,
    Failed(Failure),
}

impl Coming {
    fn beside(file: &Path) -> Result<Self, Failure> {
        let mut name = file.as_os_str().to_owned();
        name.push(".part");
        let folder = PathBuf::from(name);
        fs::create_dir_all(&folder).map_err(|error| Failure::io(folder.display(), &error))?;
        Ok(Self(folder))
    }

    fn done(&self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.0).map_err(|error| Failure::io(self.0.display(), &error))
    }

    /// All of the app's state, as of one index.
    async fn state(&self, control: &Control, cell: CellId) -> Result<(Capture, Vec<u8>), Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let Captured { content, size_bytes } = captured(control, cell).await?;
            control.say.step(format!("reading {} of state", say::in_bytes(size_bytes)));
            let content: ContentHash = content.parse().expect("a node names bytes by their hash");
            self.keep_only("state", content)?;
            let path = |offset: u64| format!("/v1/cells/{cell}/capture/{content}?offset={offset}");
            match self.read("state", content, control, path).await {
                Ok(bytes) => {
                    let capture = Capture::decode(&bytes).map_err(|error| {
                        Failure::new(Exit::Failed, "other-version", format!("the app's state cannot be read: {error}"))
                            .next("node and CLI are of different versions? bocage --version, and GET /version of the node")
                    })?;
                    return Ok((capture, bytes));
                }
                Err(Broken::Gone) => control.say.step("it went away while it was read; once more"),
                Err(Broken::Failed(failure)) => return Err(failure),
            }
        }
        let what = format!("the app's state went away {ATTEMPTS_MAX} times while it was read");
        Err(Failure::new(Exit::Failed, "restless", what).next("its leader changes too often: bocage status APP"))
    }

    async fn component(&self, control: &Control, cell: CellId, hash: ContentHash) -> Result<Vec<u8>, Failure> {
        control.say.step(format!("reading the component {}", say::short(&hash.to_string())));
        self.keep_only("component", hash)?;
        let path = |offset: u64| format!("/v1/cells/{cell}/components/{hash}?offset={offset}");
        self.read("component", hash, control, path).await.map_err(|broken| match broken {
            Broken::Failed(failure) => failure,
            Broken::Gone => {
                let what = format!("none of the app's hosts gives its component {hash}");
                Failure::new(Exit::Failed, "no-component", what).next("look whether they are up: bocage status APP")
            }
        })
    }

    fn path(&self, what: &str, content: ContentHash) -> PathBuf {
        self.0.join(format!("{what}-{content}"))
    }

    /// What came of another state is of no use.
    fn keep_only(&self, what: &str, content: ContentHash) -> Result<(), Failure> {
        let keep = self.path(what, content);
        let sweep = || {
            for entry in fs::read_dir(&self.0)? {
                let path = entry?.path();
                let is_what =
                    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(what));
                if is_what && path != keep {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        };
        sweep().map_err(|error| Failure::io(self.0.display(), &error))
    }

    /// Goes on where the file ends.
    async fn read(
        &self,
        what: &str,
        content: ContentHash,
        control: &Control,
        at: impl Fn(u64) -> String,
    ) -> Result<Vec<u8>, Broken> {
        let path = self.path(what, content);
        let failed = |error| Broken::Failed(Failure::io(path.display(), &error));
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        let mut offset = file.metadata().map_err(failed)?.len();
        loop {
            let piece = control.octets(&at(offset)).await.map_err(|failure| match failure.exit {
                Exit::NotFound => Broken::Gone,
                _ => Broken::Failed(failure),
            })?;
            if piece.is_empty() {
                break;
            }
            file.write_all(&piece).map_err(failed)?;
            offset += piece.len() as u64;
        }
        let bytes = fs::read(&path).map_err(failed)?;
        if ContentHash::of(&bytes) == content {
            return Ok(bytes);
        }
        // It was cut off in the middle of a write, or somebody wrote into it.
        fs::remove_file(&path).map_err(failed)?;
        Err(Broken::Gone)
    }
}

/// As what a line that has ended is read. Of several that keep it, the one that holds most.
async fn kept(control: &Control, cell: CellId, line: u64) -> Result<CellId, Failure> {
    let survey: Survey = control.get(&format!("/v1/cells/{cell}/survey")).await?;
    let found = survey.kept.iter().filter(|kept| kept.line == line).max_by_key(|kept| kept.index);
    let found = found.and_then(|kept| kept.cell.parse().ok());
    found.ok_or_else(|| {
        let what = format!("no node that could be asked keeps anything of line {line} of {}", survey.app);
        Failure::new(Exit::NotFound, "not-found", what)
            .next("the node that keeps it said so when it came back; ask it: --node HOST:PORT")
    })
}

async fn captured(control: &Control, cell: CellId) -> Result<Captured, Failure> {
    let began = Instant::now();
    loop {
        match control.capture(cell).await {
            Err(failure)
                if matches!(failure.code.as_str(), "full" | "unsupported") && began.elapsed() < CAPTURE_WITHIN =>
            {
                control.say.detail(format!("{}; asking again", failure.what));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            result => return result,
        }
    }
}
