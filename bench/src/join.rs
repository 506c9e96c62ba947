//! From an empty machine to a member that hosts: two commands, with an invite.
use std::{
    net::{TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{demo::Bocage, table::Figure};

/// Seconds, as promised.
const AT_MOST: f64 = 30.0;
/// A newcomer that hosts nothing by then never will.
const GIVE_UP: Duration = Duration::from_mins(2);

/// Nodes of FR that have room for it are in its plan: placed, or left out because it needs but one.
const APP: &str = "app = \"measured\"\n[component]\npath = \"app.wasm\"\n[place]\nhome = [\"FR\"]\nvoters = 1\n";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It is over either way.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Three hosters are there, each invited by the one before; the fourth is measured, again and again.
pub(crate) fn measure(bocage: &Bocage, runs: usize) -> anyhow::Result<Vec<Figure>> {
    let home = tempfile::tempdir()?;
    let alder = home.path().join("alder");
    asks(bocage, &alder, &with("alder", "FR", &["mesh", "found", "measured"]))?;
    let mut running = vec![run(bocage, &alder)?];
    until("alder runs", || asks(bocage, &alder, &["operator", "list"]).is_ok())?;
    for (name, law) in [("birch", "DE"), ("cornel", "BE")] {
        let invite = invite(bocage, &alder)?;
        let folder = home.path().join(name);
        asks(bocage, &folder, &with(name, law, &["node", "join", &invite]))?;
        running.push(run(bocage, &folder)?);
    }
    let app = home.path().join("bocage.toml");
    std::fs::write(home.path().join("app.wasm"), include_bytes!("../../examples/guestbook/guestbook.wasm"))?;
    std::fs::write(&app, APP)?;
    let mut took = Vec::new();
    for number in 0..runs {
        let name = format!("newcomer-{number}");
        let folder = home.path().join(&name);
        let invite = invite(bocage, &alder)?;
        let began = Instant::now();
        asks(bocage, &folder, &with(&name, "FR", &["node", "join", &invite]))?;
        let node = run(bocage, &folder)?;
        // It hosts once alder's node takes it into account when it places an app.
        until("the newcomer runs", || asks(bocage, &folder, &["node", "status", "--node"]).is_ok())?;
        let id = asks(bocage, &folder, &["node", "status", "--node"])?["node_id"].clone();
        until("apps are placed there", || is_candidate(bocage, &alder, &app, &id))?;
        eprintln!("join {}: {:?}", number + 1, began.elapsed());
        took.push(began.elapsed().as_secs_f64());
        drop(node);
        until("alder forgets it", || {
            let who = ["operator", "exclude", name.as_str()];
            let _ = asks(bocage, &alder, &who);
            asks(bocage, &alder, &["node", "status", "--node"]).is_ok_and(|status| status["known_nodes"] == 1)
        })?;
    }
    drop(running);
    Ok(vec![Figure::worst("from an empty machine to a member that hosts, with an invite", "s", AT_MOST, took)])
}

fn is_candidate(bocage: &Bocage, alder: &Path, app: &Path, node: &Value) -> bool {
    let Some(app) = app.to_str() else { return false };
    let Ok(plan) = asks(bocage, alder, &["plan", app, "--node"]) else { return false };
    let nodes = ["placed", "rejected"].map(|list| plan[list].as_array().cloned().unwrap_or_default()).concat();
    nodes.iter().any(|it| it["node_id"] == *node)
}

fn invite(bocage: &Bocage, folder: &Path) -> anyhow::Result<String> {
    let made = asks(bocage, folder, &["mesh", "invite"])?;
    Ok(made["invite"].as_str().context("an invite")?.to_owned())
}

/// Flags of a small node.
fn with<'a>(name: &'a str, law: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    // The port is drawn in `asks`: a word that ends in "=" is filled in there.
    let flags = ["--name", name, "--jurisdiction", law, "--site", name, "--port", "=", "--announce", "="];
    let small =
        ["--edge", "127.0.0.1:0", "--control", "127.0.0.1:0", "--cpu", "0.5", "--memory", "512MiB", "--disk", "1GiB"];
    words.iter().copied().chain(flags).chain(small).collect()
}

fn asks(bocage: &Bocage, folder: &Path, words: &[&str]) -> anyhow::Result<Value> {
    let port = free_port()?;
    let announce = format!("/ip4/127.0.0.1/udp/{port}/quic-v1");
    let mut command = Command::new(bocage.path());
    for (at, word) in words.iter().enumerate() {
        match (*word, words.get(at.wrapping_sub(1))) {
            ("=", Some(&"--port")) => command.arg(&port),
            ("=", _) => command.arg(&announce),
            (word, _) => command.arg(word),
        };
    }
    if words.last() == Some(&"--node") {
        command.arg(folder)
    } else {
        command.arg("--dir").arg(folder)
    };
    let output = command.args(["--output", "json"]).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn run(bocage: &Bocage, folder: &Path) -> anyhow::Result<Running> {
    let mut command = Command::new(bocage.path());
    command.args(["node", "run", "--dir"]).arg(folder);
    Ok(Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_so() {
        ensure!(began.elapsed() < GIVE_UP, "{what}: not within {} s", GIVE_UP.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn free_port() -> anyhow::Result<String> {
    loop {
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port.to_string());
        }
    }
}
