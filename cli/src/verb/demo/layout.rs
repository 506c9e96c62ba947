//! The folders of a demo: one a node, made as `node init` makes them, by operators who found the mesh together.
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use bocage_node::settings::{
    Folder, ListenSettings, MeshSettings, NodeSettings, OfferSettings, Settings, SettingsError, wall,
};
use bocage_protocol::{id::NodeId, identity::Founding, resources::Site, wire::WIRE_NEWEST};

use super::{
    hedge::{PLANTS, Plant},
    record::NodeRecord,
    shown,
};
use crate::{
    failure::{Exit, Failure},
    verb::{
        keys::make,
        node::{edit, init, make::modest},
    },
};

/// Each node dials so many others first.
const BOOTSTRAP: usize = 2;
/// A pair of ports, UDP and TCP of one number, is looked for so often.
const PORT_TRIES: usize = 100;

/// Ports of one node, still held so that no other takes them.
struct Ports {
    mesh: (UdpSocket, TcpListener),
    edge: TcpListener,
    control: TcpListener,
}

/// Makes the folders of `count` operators' nodes; nothing runs yet. `mixed_wire`: every second one speaks the previous wire
/// version.
pub(super) fn lay_out(dir: &Path, count: usize, mixed_wire: bool) -> Result<Vec<NodeRecord>, Failure> {
    let plants = &PLANTS[..count];
    let ports: Vec<_> = plants
        .iter()
        .map(|_| Ports::take())
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::io("no free ports on 127.0.0.1", &error))?;
    let folder = |plant: &Plant| dir.join(plant.operator);
    let keys: Vec<_> = plants
        .iter()
        .map(|plant| {
            init::operator(&folder(plant).join("keys/operator.key"), Some(plant.operator), make::Recovery::default())
                .map(|(key, _)| key)
        })
        .collect::<Result<_, _>>()?;
    let geneses = keys.iter().map(|key| key.genesis().expect("an operator's key file has a genesis"));
    let founding = Founding { name: "demo".to_owned(), operators: geneses.collect(), founded: wall() };
    let mut nodes = Vec::new();
    for ((plant, key), ports) in plants.iter().zip(&keys).zip(&ports) {
        let folder = folder(plant);
        let mut settings = settings(plant, &founding, ports).map_err(|error| Failure::io("a port", &error))?;
        settings.mesh.wire_newest = (mixed_wire && nodes.len() % 2 == 1).then_some(WIRE_NEWEST - 1);
        let node = Folder::create(&folder, &settings, key, wall()).map_err(|error| no_folder(&error))?;
        init::keep(&folder.join("keys/founding"), &founding)?;
        let listens = settings.listen.mesh.first().expect("a node of the demo listens on QUIC");
        nodes.push((folder, settings.listen.clone(), node, format!("{listens}{}", init::peer_suffix(node))));
    }
    for (number, (folder, ..)) in nodes.iter().enumerate() {
        let others = (1..=BOOTSTRAP).map(|step| nodes[(number + step) % count].3.clone());
        edit::bootstrap(folder, &others.collect::<Vec<_>>())?;
    }
    let record = |((folder, listen, node, _), plant): ((PathBuf, ListenSettings, NodeId, String), &Plant)| NodeRecord {
        operator: plant.operator.to_owned(),
        jurisdiction: plant.jurisdiction.to_owned(),
        site: plant.site.to_owned(),
        pid: 0,
        node_id: node.to_string(),
        control: listen.control.to_string(),
        edge: listen.edge.to_string(),
        dir: folder,
    };
    Ok(nodes.into_iter().zip(plants).map(record).collect())
}

/// Takes the folders away again: their ports were taken by somebody else.
pub(super) fn clear(nodes: &[NodeRecord]) -> Result<(), Failure> {
    for node in nodes {
        fs::remove_dir_all(&node.dir).map_err(|error| Failure::io(shown(&node.dir), &error))?;
    }
    Ok(())
}

fn settings(plant: &Plant, founding: &Founding, ports: &Ports) -> std::io::Result<Settings> {
    let port = ports.mesh.0.local_addr()?.port();
    Ok(Settings {
        mesh: MeshSettings {
            id: Some(founding.mesh()),
            zone: "localhost".to_owned(),
            bootstrap: Vec::new(),
            wire_newest: None,
        },
        node: NodeSettings {
            jurisdiction: plant.jurisdiction.parse().expect("the hedge grows under real law"),
            site: Site(plant.site.to_owned()),
            domains: Vec::new(),
        },
        listen: ListenSettings {
            mesh: vec![format!("/ip4/127.0.0.1/udp/{port}/quic-v1"), format!("/ip4/127.0.0.1/tcp/{port}")],
            announce: Vec::new(),
            edge: ports.edge.local_addr()?,
            control: ports.control.local_addr()?,
            mdns: false,
        },
        offer: Some(OfferSettings { cpu_millis: 2_000, ..modest() }),
        relay: None,
    })
}

fn no_folder(error: &SettingsError) -> Failure {
    Failure::new(Exit::Failed, "node-folder", error.to_string())
}

impl Ports {
    fn take() -> std::io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Self { mesh: pair()?, edge: TcpListener::bind(any)?, control: TcpListener::bind(any)? })
    }
}

/// A UDP and a TCP port of one number.
fn pair() -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut last = None;
    for _ in 0..PORT_TRIES {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("it was tried more than once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_folder_ports_of_its_own_and_two_others_to_dial() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = lay_out(dir.path(), 5, false).unwrap();
        let mut ports: Vec<_> = nodes.iter().flat_map(|node| [node.control.clone(), node.edge.clone()]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 10);
        let mut meshes = Vec::new();
        for node in &nodes {
            let folder = Folder::open(&node.dir, wall()).unwrap();
            let bootstrap = &folder.settings.mesh.bootstrap;
            assert_eq!(bootstrap.len(), 2);
            assert!(bootstrap.iter().all(|address| bocage_node::transport::node_of_address(address).is_some()));
            assert!(!bootstrap.iter().any(|address| address.contains(&init::peer_suffix(folder.identity.node()))));
            assert_eq!(folder.founding.unwrap().operators.len(), 5);
            meshes.push(folder.mesh);
        }
        meshes.dedup();
        assert_eq!(meshes.len(), 1, "they found one mesh");
        clear(&nodes).unwrap();
        assert!(!nodes[0].dir.exists());
    }
}
