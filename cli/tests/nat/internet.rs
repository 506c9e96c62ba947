//! A small internet of network namespaces on this machine: hosts with public addresses on one bridge, and homes behind
//! routers that masquerade with nft. Nothing of it is in the machine's own network, and all of it goes when it is dropped.
//!
//! ```text
//!     198.51.100.0/24 ─── bridge ───┬── public host
//!                                   └── router (nft masquerade) ── 192.168.N.0/24 ── host at home
//! ```
use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bocage_links::{LinksError, Namespace};

/// How a router translates. Both drop what comes unasked from outside, as home routers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nat {
    /// Keeps the port, the same for every peer: holes can be punched.
    Steady,
    /// Another port for every peer: holes cannot be punched.
    Shifting,
}

/// A machine in it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    namespace: Arc<Namespace>,
    /// Its own address.
    pub(crate) ip: String,
}

/// Gone when dropped; each host goes when its hoster does.
pub(crate) struct Internet {
    /// Where the bridge is.
    net: Namespace,
    routers: Vec<Namespace>,
    hosts: u8,
}

const HOW: &str = "This test makes network namespaces with NAT. It needs root (or CAP_NET_ADMIN and CAP_SYS_ADMIN), iproute2 \
                   and nftables: run it as root after `apt-get install -y iproute2 nftables`";

impl Internet {
    pub(crate) fn new() -> Self {
        for tool in ["ip", "nft", "curl"] {
            let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            // `ip` knows no --version but is there.
            assert!(found.is_ok(), "{tool} is not installed. {HOW}");
        }
        let net = made(Namespace::new("net"));
        ip(&["-n", net.name(), "link", "add", "bridge0", "type", "bridge"]);
        ip(&["-n", net.name(), "link", "set", "bridge0", "up"]);
        Self { net, routers: Vec::new(), hosts: 0 }
    }

    /// A cable from a namespace to the bridge.
    fn connect(&self, namespace: &Namespace, device: &str, number: u8) -> String {
        let (net, end, namespace) = (self.net.name(), format!("p{number}"), namespace.name());
        ip(&["link", "add", device, "netns", namespace, "type", "veth", "peer", "name", &end, "netns", net]);
        ip(&["-n", net, "link", "set", &end, "master", "bridge0", "up"]);
        let public = format!("198.51.100.{number}");
        ip(&["-n", namespace, "addr", "add", &format!("{public}/24"), "dev", device]);
        ip(&["-n", namespace, "link", "set", device, "up"]);
        public
    }

    /// A machine with a public address.
    pub(crate) fn public(&mut self, name: &str) -> Host {
        self.hosts += 1;
        let namespace = made(Namespace::new(name));
        let ip = self.connect(&namespace, "eth0", self.hosts);
        Host { namespace: Arc::new(namespace), ip }
    }

    /// A machine behind a router of its own.
    pub(crate) fn at_home(&mut self, name: &str, nat: Nat) -> Host {
        self.hosts += 1;
        let number = self.hosts;
        let (router, host) = (made(Namespace::new(&format!("{name}-router"))), made(Namespace::new(name)));
        self.connect(&router, "wan", number);
        let (lan, namespace) = (router.name(), host.name());
        ip(&["link", "add", "lan", "netns", lan, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
        let (gateway, address) = (format!("192.168.{number}.1"), format!("192.168.{number}.2"));
        ip(&["-n", lan, "addr", "add", &format!("{gateway}/24"), "dev", "lan"]);
        ip(&["-n", lan, "link", "set", "lan", "up"]);
        ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
        ip(&["-n", namespace, "route", "add", "default", "via", &gateway]);
        let ports = match nat {
            Nat::Steady => "",
            Nat::Shifting => " random,fully-random",
        };
        let rules = format!(
            "table ip nat {{\n chain post {{\n  type nat hook postrouting priority 100;\n  oifname \"wan\" \
             masquerade{ports}\n }}\n}}\ntable ip firewall {{\n chain input {{\n  type filter hook input priority 0; \
             policy drop;\n  iifname \"lan\" accept\n  iifname \"lo\" accept\n  ct state established,related accept\n \
             }}\n chain forward {{\n  type filter hook forward priority 0; policy drop;\n  iifname \"lan\" accept\n  ct \
             state established,related accept\n }}\n}}\n"
        );
        run_in(&router, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], "");
        run_in(&router, &["nft", "-f", "-"], &rules);
        self.routers.push(router);
        Host { namespace: Arc::new(host), ip: address }
    }
}

impl Host {
    /// A program on this machine.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.namespace.command(program)
    }

    /// A request to a program on this machine: status and who answered.
    pub(crate) fn http(&self, port: u16, host: &str, path: &str) -> (u16, String) {
        let output = self
            .command("curl")
            .args(["-s", "-m", "2", "-D", "-", "-o", "/dev/null", "-H", &format!("Host: {host}")])
            .arg(format!("http://127.0.0.1:{port}{path}"))
            .output()
            .expect("curl runs");
        let head = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let by = head.lines().find_map(|line| line.strip_prefix("x-bocage-node: ")).unwrap_or("").trim().to_owned();
        (status, by)
    }

    /// A daemon on this machine, its log in its folder.
    pub(crate) fn daemon(&self, folder: &Path) -> Daemon {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a log");
        let child = self
            .command(env!("CARGO_BIN_EXE_bocage"))
            .args(["node", "run", "--dir"])
            .arg(folder)
            .env(
                "BOCAGE_LOG",
                std::env::var("BOCAGE_LOG")
                    .as_deref()
                    .unwrap_or("info,bocage_node::transport=debug,libp2p_dcutr=debug,libp2p_relay=debug"),
            )
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        Daemon(child)
    }
}

/// Killed when dropped.
pub(crate) struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(args: &[&str]) {
    made(bocage_links::ip(args));
}

fn made<T>(made: Result<T, LinksError>) -> T {
    made.unwrap_or_else(|error| panic!("{error}"))
}

fn run_in(namespace: &Namespace, args: &[&str], input: &str) {
    let mut command = namespace.command(args[0]);
    let command = command.args(&args[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ip runs");
    child.stdin.take().expect("it has one").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}\n{HOW}", args.join(" "));
}
