//! How a node is: how each peer is reached, why not better, what to do; its clock, certificate and disk. What is wrong is
//! judged here, purely, from what the machine and this machine say.
use std::{path::Path, time::Duration};

use bocage_protocol::{
    command::NodeStatus,
    io::Over,
    reach::{LinkShown, Nat, Odd, Openness, ReachShown},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A clock this far off its peers' median is worth a word: statements are ordered by wall time.
const CLOCK_OFF: Duration = Duration::from_secs(1);
/// Beyond this the node signs nothing: `reach` says so itself.
const CLOCK_WRONG: Duration = Duration::from_secs(30);
/// A certificate that ends so soon is worth a word.
const EXPIRES_SOON: Duration = Duration::from_hours(30 * 24);
/// Less free disk than this is worth a word: the store and a component or two need it.
const DISK_LOW_BYTES: u64 = 1 << 30;

/// How a node is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// This node.
    pub node_id: String,
    /// Whether others can dial it: `announced`, `tested`, `closed`, `unknown` or `local`.
    pub openness: String,
    /// What its NAT does: `none`, `steady` (holes can be punched), `shifting` (they cannot) or `unknown`.
    pub nat: String,
    /// Where it says that it is, best first.
    pub announced: Vec<String>,
    /// Where peers see it.
    pub seen: Vec<String>,
    /// Nodes that relay for it.
    pub relays: Vec<String>,
    /// What it carries for others; nothing: it does not relay.
    pub relaying: Option<Relaying>,
    /// Its clock less its peers' median, in milliseconds.
    pub clock_off_ms: i64,
    /// When its certificate ends, in milliseconds since the Unix epoch.
    pub certificate_expires_ms: u64,
    /// Free where its folder is; nothing: the system does not say.
    pub disk_free_bytes: Option<u64>,
    /// Peers, linked or wanted.
    pub peers: Vec<Reached>,
    /// What is wrong or could be better, the worst first.
    pub findings: Vec<Finding>,
}

/// What a relay carries for others.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Relaying {
    /// Circuits now.
    pub circuits: i64,
    /// Bytes since the node started.
    pub bytes: u64,
}

/// How one peer is reached.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Reached {
    /// Who.
    pub node_id: String,
    /// What its operator is called; nothing: it never introduced itself.
    pub operator: Option<String>,
    /// The law it answers to.
    pub jurisdiction: Option<String>,
    /// The place that fails together.
    pub site: Option<String>,
    /// `quic`, `tcp`, `relay` or `none`.
    pub path: String,
    /// The node that carries the link, if it is relayed.
    pub relay: Option<String>,
    /// Measured, in microseconds.
    pub round_trip_us: Option<u64>,
    /// Its clock less this node's, in milliseconds.
    pub clock_off_ms: Option<i64>,
    /// Why it is not reached better.
    pub why: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Something that is wrong or could be better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// It keeps the node from its work.
    pub wrong: bool,
    /// What.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// What the machine around the node says.
#[derive(Clone, Debug)]
pub(super) struct Around {
    pub(super) now: Timestamp,
    pub(super) certificate_expires: Timestamp,
    pub(super) disk_free_bytes: Option<u64>,
    pub(super) relaying: Option<Relaying>,
}

/// Free bytes where a folder is.
pub(super) fn disk_free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

impl Health {
    pub(super) fn of(status: &NodeStatus, reach: ReachShown, around: Around) -> Self {
        let findings = findings(status, &reach, &around);
        let text = |nodes: Vec<bocage_protocol::id::NodeId>| nodes.iter().map(ToString::to_string).collect();
        Self {
            node_id: status.node.to_string(),
            openness: match reach.openness {
                Openness::Announced => "announced",
                Openness::Tested(_) => "tested",
                Openness::Closed => "closed",
                Openness::Unknown => "unknown",
                Openness::Local => "local",
            }
            .into(),
            nat: match reach.nat {
                Nat::None => "none",
                Nat::Steady => "steady",
                Nat::Shifting => "shifting",
                Nat::Unknown => "unknown",
            }
            .into(),
            announced: reach.announced,
            seen: reach.seen,
            relays: text(reach.relays),
            relaying: around.relaying,
            clock_off_ms: status.clock_off_ms,
            certificate_expires_ms: around.certificate_expires.0,
            disk_free_bytes: around.disk_free_bytes,
            peers: reach.links.into_iter().map(Reached::of).collect(),
            findings,
        }
    }
}

impl Reached {
    fn of(link: LinkShown) -> Self {
        let (path, relay) = match link.over {
            Some(Over::Quic) => ("quic", None),
            Some(Over::Tcp) => ("tcp", None),
            Some(Over::Relay(relay)) => ("relay", Some(relay.to_string())),
            None => ("none", None),
        };
        let (operator, jurisdiction, site) = match link.place {
            Some((operator, jurisdiction, site)) => {
                (Some(operator), Some(jurisdiction.to_string()), Some(site.to_string()))
            }
            None => (None, None, None),
        };
        Self {
            node_id: link.node.to_string(),
            operator,
            jurisdiction,
            site,
            path: path.into(),
            relay,
            round_trip_us: link.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            clock_off_ms: link.clock_off_ms,
            why: link.why,
            advice: link.advice,
        }
    }
}

fn findings(status: &NodeStatus, reach: &ReachShown, around: &Around) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |wrong: bool, what: String, advice: &str| found.push(Finding { wrong, what, advice: advice.into() });
    if let Some(fault) = &status.disk {
        find(true, format!("the disk failed: {fault}"), "mend or replace it, then restart the node");
    }
    if around.certificate_expires <= around.now {
        find(
            true,
            "the certificate has expired: no peer talks to this node".into(),
            "have its operator certify it anew",
        );
    } else if around.certificate_expires <= around.now + EXPIRES_SOON {
        let days = around.certificate_expires.since(around.now).as_secs() / (24 * 3_600);
        find(false, format!("the certificate ends in {days} days"), "have its operator certify it anew in time");
    }
    let off = Duration::from_millis(status.clock_off_ms.unsigned_abs());
    if off > CLOCK_OFF {
        let way = if status.clock_off_ms > 0 { "ahead of" } else { "behind" };
        let what = format!("the clock is {} ms {way} its peers'", off.as_millis());
        find(off > CLOCK_WRONG, what, "set it, and keep it by NTP: timedatectl set-ntp true");
    }
    if let Some(free) = around.disk_free_bytes.filter(|free| *free < DISK_LOW_BYTES) {
        let what = format!("{} MiB are free on its disk", free >> 20);
        find(free < DISK_LOW_BYTES / 16, what, "make room, or lower what it offers: bocage offer set");
    }
    if !reach.links.iter().any(|link| link.over.is_some()) {
        find(
            true,
            "no peer is linked".into(),
            "let UDP and TCP out, and name a member that runs in mesh.bootstrap; a node that is alone in its mesh waits \
             for its first peer",
        );
    }
    if let Some(addresses) = &status.keys.double {
        find(
            true,
            format!("another process runs with this node's key, at {}", addresses.join(", ")),
            "stop one of the two, and make it anew with bocage node init: one folder is one node, never copy it",
        );
    }
    if status.keys.contradicted.iter().any(|one| one.barred && one.node == status.node) {
        find(
            true,
            "this node has contradicted itself: it gets no new votes and leases".into(),
            "if its folder was copied or set back, stop one of the two and make it anew with bocage node init; then explain \
             it: bocage keys resolve",
        );
    }
    if let Some(why) = &status.keys.void {
        find(true, format!("the certificate counts no more: {why}"), "have its operator certify it: bocage node renew");
    }
    for Odd { peer, says, usual } in &reach.odd {
        find(
            false,
            format!("node {} says that this node is at {says}; the others see it at {usual}", peer.short()),
            "nothing follows from its word: it lies about addresses, or reaches this node another way; ask its operator",
        );
    }
    if let Some(advice) = &reach.advice {
        let what = match reach.openness {
            Openness::Closed => "peers cannot dial this node: it is reached through relays or by punched holes only",
            Openness::Announced | Openness::Tested(_) | Openness::Unknown | Openness::Local => {
                "nobody has dialled this node from outside yet"
            }
        };
        find(false, what.into(), advice);
    }
    found.sort_by_key(|finding| !finding.wrong);
    found
}

#[cfg(test)]
mod tests {
    use bocage_protocol::{
        away::AwayShown,
        command::KeysShown,
        id::{NodeId, OperatorId},
        resources::Site,
    };

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn status() -> NodeStatus {
        NodeStatus {
            node: NodeId([1; 32]),
            operator: OperatorId([2; 32]),
            operator_name: "alder".into(),
            jurisdiction: "FR".parse().unwrap(),
            site: Site("rennes".into()),
            offer: None,
            peers: Vec::new(),
            known_nodes: 2,
            records: 2,
            cells: 0,
            leases: 0,
            away: AwayShown::default(),
            to_hand_over: 0,
            draining: None,
            disk: None,
            neighbours: 1,
            addresses: Vec::new(),
            turned_away: None,
            last_clock_ms: None,
            clock_off_ms: 0,
            keys: KeysShown::default(),
        }
    }

    fn reach() -> ReachShown {
        let link = LinkShown {
            node: NodeId([3; 32]),
            place: None,
            over: Some(Over::Relay(NodeId([4; 32]))),
            round_trip: None,
            clock_off_ms: Some(3),
            why: Some("its own addresses do not answer".into()),
            advice: Some("forward UDP port 4001".into()),
        };
        ReachShown {
            openness: Openness::Tested(2),
            nat: Nat::Steady,
            announced: Vec::new(),
            seen: Vec::new(),
            odd: Vec::new(),
            relays: Vec::new(),
            offers_relay: false,
            advice: None,
            links: vec![link],
        }
    }

    fn around() -> Around {
        Around {
            now: NOW,
            certificate_expires: NOW + 2 * EXPIRES_SOON,
            disk_free_bytes: Some(64 << 30),
            relaying: None,
        }
    }

    #[test]
    fn a_sound_node_has_no_findings_and_a_relayed_peer_says_by_whom_and_why() {
        let health = Health::of(&status(), reach(), around());
        assert_eq!(health.findings, []);
        let peer = &health.peers[0];
        assert_eq!((peer.path.as_str(), peer.relay.clone()), ("relay", Some(NodeId([4; 32]).to_string())));
        assert!(peer.why.is_some() && peer.advice.is_some());
    }

    #[test]
    fn a_clock_ten_minutes_off_and_an_expired_certificate_are_wrong_and_come_before_what_could_be_better() {
        let status = NodeStatus { clock_off_ms: -600_000, ..status() };
        let around = Around { certificate_expires: NOW, disk_free_bytes: Some(512 << 20), ..around() };
        let findings = Health::of(&status, reach(), around).findings;
        let wrong: Vec<bool> = findings.iter().map(|finding| finding.wrong).collect();
        assert_eq!(wrong, [true, true, false]);
        assert!(findings.iter().any(|finding| finding.what.contains("600000 ms behind")), "{findings:?}");
    }

    #[test]
    fn a_second_process_with_its_key_is_wrong_and_a_relay_that_lies_about_its_address_is_named() {
        let keys = KeysShown { double: Some(vec!["/ip4/192.0.2.7/udp/4001/quic-v1".into()]), ..KeysShown::default() };
        let (says, usual) = ("/ip4/192.0.2.9/udp/9/quic-v1".to_owned(), "/ip4/192.0.2.1/udp/4001/quic-v1".to_owned());
        let odd = vec![Odd { peer: NodeId([4; 32]), says, usual }];
        let findings = Health::of(&NodeStatus { keys, ..status() }, ReachShown { odd, ..reach() }, around()).findings;
        assert!(findings[0].wrong && findings[0].what.contains("192.0.2.7"), "{findings:?}");
        assert!(findings[0].advice.contains("stop one of the two"), "{findings:?}");
        assert!(!findings[1].wrong && findings[1].what.contains("192.0.2.9"), "{findings:?}");
    }

    #[test]
    fn a_node_without_any_link_is_told_so() {
        let reach = ReachShown { links: Vec::new(), ..reach() };
        let findings = Health::of(&status(), reach, around()).findings;
        assert!(findings[0].wrong && findings[0].what.contains("no peer"), "{findings:?}");
    }
}
