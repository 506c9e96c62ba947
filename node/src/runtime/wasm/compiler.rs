//! Who makes machine code of a component.
//!
//! A compiler reads what a stranger wrote, and takes tens of megabytes of memory for it. So a daemon has another process
//! do it, which the system bounds and whose memory it takes back whole. A fault of the compiler ends that process, and
//! nothing else.
use std::{
    ffi::OsString,
    io::{self, Read, Write},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};
use wasmtime::Engine;

use super::{WasmConfig, engine};
use crate::runtime::StartError;

/// A component that compiles for longer is refused.
const COMPILE_MAX: Duration = Duration::from_mins(2);
/// Memory that a compiler's process may take. The allocator reserves one of these at its start.
const COMPILER_BYTES_MAX: u64 = 4 << 30;
/// Compiled code that is taken from it; of its complaint, so much.
const CODE_BYTES_MAX: u64 = 1 << 30;
const COMPLAINT_BYTES_MAX: u64 = 4 << 10;

/// Who compiles.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// This process.
    #[default]
    Here,
    /// A process of its own for each component: one that calls [`compile`].
    Process {
        /// Which program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
}

impl Compiler {
    /// The machine code of a component, for an engine of the same settings.
    pub(super) async fn compile(&self, engine: &Engine, component: Bytes) -> Result<Vec<u8>, StartError> {
        match self {
            Self::Here => {
                let engine = engine.clone();
                blocking(move || engine.precompile_component(&component).map_err(|error| words(&error))).await
            }
            Self::Process { program, arguments } => {
                let mut command = Command::new(program);
                command.args(arguments).env_clear().kill_on_drop(true);
                run(command, &component, COMPILE_MAX).await
            }
        }
    }
}

pub(super) fn words(error: &wasmtime::Error) -> StartError {
    StartError::Compile(format!("{error:#}"))
}

/// On a thread that may compute for long, or wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| Err(failed(&panicked)))
}

fn failed(why: &dyn std::fmt::Display) -> StartError {
    StartError::Compile(format!("the compiler failed: {why}"))
}

/// Gives a component to a compiler's process, and takes what it makes of it in the time that it may take.
async fn run(command: Command, component: &[u8], most: Duration) -> Result<Vec<u8>, StartError> {
    timeout(most, exchange(command, component)).await.unwrap_or_else(|_| {
        let most = most.as_secs();
        Err(StartError::Compile(format!("it takes longer than {most} s to compile: make it smaller")))
    })
}

async fn exchange(mut command: Command, component: &[u8]) -> Result<Vec<u8>, StartError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().map_err(|error| failed(&error))?;
    let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
    let give = async {
        if let Some(mut stdin) = stdin {
            // One that ends before it has read all says why.
            let _ = stdin.write_all(component).await;
        }
    };
    let ((), code, complaint) = tokio::join!(give, read(stdout, CODE_BYTES_MAX), read(stderr, COMPLAINT_BYTES_MAX));
    let status = process.wait().await.map_err(|error| failed(&error))?;
    if status.success() {
        return code.map_err(|error| failed(&error));
    }
    Err(complained(status, &complaint.unwrap_or_default()))
}

async fn read(from: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(bytes_max).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn complained(status: ExitStatus, complaint: &[u8]) -> StartError {
    let complaint = String::from_utf8_lossy(complaint);
    match complaint.trim() {
        said if status.code() == Some(1) && !said.is_empty() => StartError::Compile(said.to_owned()),
        "" => failed(&status),
        said => failed(&format!("{status}: {said}")),
    }
}

/// What a compiler's process does: a component comes in, machine code goes out. From here on the process may take only as much of
/// the machine as a compiler should, and is the first to go where memory runs out.
///
/// # Errors
/// In words, when the component cannot be compiled, or not be read or written.
pub fn compile(mut from: impl Read, mut to: impl Write) -> Result<(), String> {
    let most = |most| Rlimit { current: Some(most), maximum: Some(most) };
    let bounded = setrlimit(Resource::Data, most(COMPILER_BYTES_MAX))
        .and_then(|()| setrlimit(Resource::Cpu, most(COMPILE_MAX.as_secs())));
    bounded.map_err(|error| format!("the compiler cannot be bounded: {error}"))?;
    // Some systems forbid it; then the kernel chooses by itself.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let mut component = Vec::new();
    from.read_to_end(&mut component).map_err(|error| format!("the component cannot be read: {error}"))?;
    let engine = engine::engine(&WasmConfig::new("")).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&component).map_err(|error| format!("{error:#}"))?;
    to.write_all(&code).and_then(|()| to.flush()).map_err(|error| format!("the code cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(program: &str, arguments: &[&str]) -> Compiler {
        Compiler::Process { program: program.into(), arguments: arguments.iter().map(Into::into).collect() }
    }

    async fn refusal(compiler: Compiler) -> String {
        let component = Bytes::from(vec![0; 1 << 20]);
        compiler.compile(&Engine::default(), component).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_a_compiler_writes_is_the_code() {
        let component = Bytes::from(vec![7; 1 << 20]);
        let code = process("/bin/cat", &[]).compile(&Engine::default(), component.clone()).await.unwrap();
        assert_eq!(code, component);
    }

    #[tokio::test]
    async fn a_compiler_that_fails_says_why() {
        let said = refusal(process("/bin/sh", &["-c", "echo no function may be so long >&2; exit 1"])).await;
        assert!(said.ends_with("no function may be so long"), "{said}");
        let said = refusal(process("/bin/sh", &["-c", "kill -ABRT $$"])).await;
        assert!(said.contains("the compiler failed: signal: 6"), "{said}");
        let said = refusal(process("/nowhere/bocage", &[])).await;
        assert!(said.contains("the compiler failed: No such file"), "{said}");
    }

    #[tokio::test]
    async fn a_compiler_that_does_not_end_is_ended() {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000").kill_on_drop(true);
        let component = vec![0; 1 << 20];
        let said = run(command, &component, Duration::from_secs(1)).await.unwrap_err().to_string();
        assert!(said.contains("longer than 1 s"), "{said}");
    }
}
