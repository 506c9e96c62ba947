//! Hosters who have never met, each an operator of his own with a node on a machine of the small internet.
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bocage_node::{
    control::doctor::{Health, Reached},
    keyfile::{KeyFile, Kind},
    settings::{Folder, ListenSettings, MeshSettings, NodeSettings, OfferSettings, RelaySettings, Settings, wall},
    transport::peer_of,
};
use bocage_protocol::{identity::Founding, resources::Site};

use crate::{
    common::{self, Person, Said},
    internet::{Daemon, Host},
};

const MESH_PORT: u16 = 4001;
const EDGE_PORT: u16 = 8080;

/// What a hoster brings.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) jurisdiction: &'static str,
    pub(crate) host: Host,
    /// Relays for others and is dialled first; offers nothing else.
    pub(crate) relay: bool,
}

pub(crate) struct Hoster {
    pub(crate) name: &'static str,
    pub(crate) host: Host,
    pub(crate) folder: PathBuf,
    pub(crate) id: String,
    daemon: Option<Daemon>,
}

/// Everybody's folders, made; nobody runs yet.
pub(crate) fn found(home: &Path, plans: Vec<Plan>) -> Vec<Hoster> {
    let now = wall();
    let operators: Vec<KeyFile> = plans.iter().map(|plan| KeyFile::generate(Kind::Operator, plan.name, now)).collect();
    let founding = Founding {
        name: "nat".into(),
        operators: operators.iter().map(|operator| operator.genesis().expect("an operator")).collect(),
        founded: now,
    };
    let mut bootstrap = Vec::new();
    let mut hosters = Vec::new();
    for (plan, operator) in plans.into_iter().zip(&operators) {
        let mesh = vec![format!("/ip4/0.0.0.0/udp/{MESH_PORT}/quic-v1"), format!("/ip4/0.0.0.0/tcp/{MESH_PORT}")];
        let at = format!("/ip4/{}/udp/{MESH_PORT}/quic-v1", plan.host.ip);
        let announce = if plan.relay { vec![at.clone()] } else { Vec::new() };
        let settings = Settings {
            mesh: MeshSettings {
                id: Some(founding.mesh()),
                zone: "localhost".into(),
                bootstrap: bootstrap.clone(),
                wire_newest: None,
            },
            node: NodeSettings {
                jurisdiction: plan.jurisdiction.parse().expect("a jurisdiction"),
                site: Site(plan.name.to_owned()),
                domains: Vec::new(),
            },
            listen: ListenSettings {
                mesh,
                announce,
                edge: ([127, 0, 0, 1], EDGE_PORT).into(),
                control: ([127, 0, 0, 1], EDGE_PORT + 1).into(),
                mdns: false,
            },
            offer: (!plan.relay).then(|| OfferSettings {
                cpu_millis: 2_000,
                memory_mib: 1_024,
                disk_gib: 10,
                currency: "EUR".parse().expect("a currency"),
                cpu_core_month: 400,
                memory_gib_month: 100,
                disk_gib_month: 5,
            }),
            relay: plan.relay.then_some(RelaySettings {
                offer: true,
                bytes_per_second_max: 8 << 20,
                peer_bytes_per_second_max: None,
            }),
        };
        let folder = home.join(plan.name);
        let node = Folder::create(&folder, &settings, operator, now).expect("a folder");
        if plan.relay {
            bootstrap.push(format!("{at}/p2p/{}", peer_of(node).expect("a key")));
        }
        let id = node.to_string();
        hosters.push(Hoster { name: plan.name, host: plan.host, folder, id, daemon: None });
    }
    hosters
}

impl Hoster {
    pub(crate) fn starts(&mut self) {
        self.daemon = Some(self.host.daemon(&self.folder));
    }

    pub(crate) fn dies(&mut self) {
        self.daemon = None;
    }

    /// Types a command on its machine.
    pub(crate) fn types(&self, person: &Person, args: &[&str]) -> Said {
        let typed = person.command(args);
        let mut command = self.host.command(env!("CARGO_BIN_EXE_bocage"));
        command.args(args).current_dir(person.home.path());
        for (name, value) in typed.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        common::said(command.output().expect("the binary runs"))
    }

    /// What `bocage doctor` says; nothing while the node does not answer.
    pub(crate) fn health(&self, person: &Person) -> Option<Health> {
        let folder = self.folder.to_str().expect("a path in UTF-8");
        let said = person.types(&["doctor", "--node", folder, "--output", "json"]);
        serde_json::from_str(&said.out).ok()
    }

    /// How it reaches another.
    pub(crate) fn reaches(&self, person: &Person, other: &Self) -> Option<Reached> {
        self.health(person)?.peers.into_iter().find(|peer| peer.node_id == other.id)
    }

    pub(crate) fn http(&self, host: &str, path: &str) -> (u16, String) {
        self.host.http(EDGE_PORT, host, path)
    }

    /// The last lines of its log, for whoever reads a failure.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let mut doctor = self.host.command(env!("CARGO_BIN_EXE_bocage"));
        let doctor = doctor.args(["doctor", "--output", "json", "--node"]).arg(&self.folder).output().expect("it runs");
        let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
        format!("--- {}\n{}\n{doctor}\n", self.name, lines[lines.len().saturating_sub(60)..].join("\n"))
    }
}

/// Waits until it is so, and says how long that took.
pub(crate) fn until(hosters: &[Hoster], what: &str, max: Duration, mut so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !so() {
        if began.elapsed() > max {
            let logs: String = hosters.iter().map(Hoster::log).collect();
            panic!("not within {max:?}: {what}\n{logs}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}
