//! The files of `examples/three-hosters` are what this version takes, and fit together: settings, firewall, unit.
use std::{collections::BTreeSet, fs, path::PathBuf};

use bocage_node::{settings::Settings, transport::node_of_address};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn hosters() -> Vec<Settings> {
    let text = ["alder", "birch", "cornel"].map(|name| read(&format!("examples/three-hosters/{name}.toml")));
    text.iter().map(|text| toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))).collect()
}

#[test]
fn three_hosters_are_of_one_mesh_at_three_sites_under_three_laws() {
    let hosters = hosters();
    let meshes: BTreeSet<_> = hosters.iter().map(|it| it.mesh.id.expect("it founded or joined it")).collect();
    let sites: BTreeSet<_> = hosters.iter().map(|it| it.node.site.to_string()).collect();
    let laws: BTreeSet<_> = hosters.iter().map(|it| it.node.jurisdiction).collect();
    assert_eq!((meshes.len(), sites.len(), laws.len()), (1, 3, 3));
    for hoster in &hosters {
        assert!(!hoster.mesh.bootstrap.is_empty());
        for address in &hoster.mesh.bootstrap {
            let (_, place) = node_of_address(address).unwrap_or_else(|| panic!("{address}"));
            let announced = hosters.iter().any(|other| other.listen.announce.contains(&place));
            assert!(announced, "{address} is where one of the three is");
        }
        assert!(hoster.offer.is_some_and(|offer| offer.terms().total.memory_bytes > 0));
    }
}

/// The number behind the last `/udp/` or `/tcp/` of an address.
fn port(address: &str) -> String {
    let mut parts = address.split('/').skip_while(|part| *part != "udp" && *part != "tcp");
    let protocol = parts.next().unwrap();
    format!("{protocol} dport {} accept", parts.next().unwrap())
}

#[test]
fn the_firewall_opens_what_the_settings_listen_on_and_not_the_control_api() {
    let rules = read("examples/three-hosters/nftables.conf");
    let rules: Vec<&str> = rules.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    for hoster in hosters() {
        for address in &hoster.listen.mesh {
            assert!(rules.contains(&port(address).as_str()), "{address}");
        }
        let edge = format!("tcp dport {} accept", hoster.listen.edge.port());
        assert!(rules.contains(&edge.as_str()), "{edge}");
        assert!(hoster.listen.control.ip().is_loopback());
        let control = hoster.listen.control.port().to_string();
        assert!(!rules.iter().any(|rule| rule.contains(&control)), "the control API is not opened");
    }
    assert_eq!(
        rules.iter().filter(|rule| rule.contains('{')).count(),
        rules.iter().filter(|rule| rule.contains('}')).count()
    );
}

#[test]
fn the_unit_runs_the_node_of_the_folder_that_the_walk_through_makes() {
    let (unit, walk) = (read("packaging/bocage.service"), read("docs/hosting.md"));
    let folder = "--dir /var/lib/bocage/node";
    assert!(unit.lines().any(|line| line.starts_with("ExecStart=") && line.contains(folder)));
    assert!(walk.contains(folder) && walk.contains("examples/three-hosters"));
}
