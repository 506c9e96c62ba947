//! Nodes as people run them: one process each, in the folder `n` of its person's home.
use std::{
    net::{TcpListener, UdpSocket},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use super::Person;

/// A running node; killed when the test is over.
pub(crate) struct Running(Child);

impl Running {
    /// Ends it as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Ends it as a service manager does.
    pub(crate) fn stop(&mut self) {
        let stopped = std::process::Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(stopped.unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn free_port() -> String {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port.to_string();
        }
    }
}

/// Flags of a small node of this operator in FR.
pub(crate) fn node(name: &str) -> Vec<String> {
    node_in("FR", name)
}

/// The same, under another law.
pub(crate) fn node_in(law: &str, name: &str) -> Vec<String> {
    let port = free_port();
    let announce = format!("/ip4/127.0.0.1/udp/{port}/quic-v1");
    ["--name", name, "--jurisdiction", law, "--site", name, "--port", &port, "--announce", &announce]
        .into_iter()
        .chain(["--edge", "127.0.0.1:0", "--control", "127.0.0.1:0", "--dir", "n"])
        .chain(["--cpu", "0.5", "--memory", "512MiB", "--disk", "1GiB"])
        .map(str::to_owned)
        .collect()
}

pub(crate) fn with<'a>(words: &[&'a str], flags: &'a [String]) -> Vec<&'a str> {
    words.iter().copied().chain(flags.iter().map(String::as_str)).collect()
}

pub(crate) fn run(person: &Person) -> Running {
    run_in(person, "n", std::fs::File::create(person.path("log")).unwrap())
}

/// A node runs in this folder, and writes its log there.
pub(crate) fn run_in(person: &Person, dir: &str, log: std::fs::File) -> Running {
    run_with(person, &["--dir", dir], log)
}

/// A node runs with these flags.
pub(crate) fn run_with(person: &Person, flags: &[&str], log: std::fs::File) -> Running {
    let mut command = person.command(&[&["node", "run"], flags].concat());
    Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

pub(crate) fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    within(Duration::from_mins(1), what, is_so);
}

pub(crate) fn within(bound: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < bound, "{what}: never");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn members(person: &Person) -> Vec<String> {
    let listed = person.asks(&["operator", "list", "--dir", "n"]);
    let listed = listed.as_array().unwrap().iter().filter(|it| it["excluded_ms"].is_null());
    listed.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}
