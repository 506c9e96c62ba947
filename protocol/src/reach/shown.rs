//! How each peer is reached, why not better, and what to do about it, in words: what `bocage doctor` says. Pure.
use std::time::Duration;

use super::{
    Nat, Odd, Openness, Reach, address,
    peer::{Peer, State},
};
use crate::{
    id::NodeId,
    io::Over,
    membership::Address,
    resources::{Jurisdiction, Site},
};

/// How this node reaches and is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct ReachShown {
    /// Whether others can dial it.
    pub openness: Openness,
    /// What stands between it and them.
    pub nat: Nat,
    /// Where it says that it is, best first.
    pub announced: Vec<Address>,
    /// Where peers see it.
    pub seen: Vec<Address>,
    /// Who sees it where nobody else does.
    pub odd: Vec<Odd>,
    /// Who relays for it.
    pub relays: Vec<NodeId>,
    /// It relays for others.
    pub offers_relay: bool,
    /// What to do so that it is reached better, if anything.
    pub advice: Option<String>,
    /// All peers that it has a link to, or wants one to.
    pub links: Vec<LinkShown>,
}

/// How one peer is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkShown {
    /// Who.
    pub node: NodeId,
    /// What its operator is called, and where it stands, once it has introduced itself.
    pub place: Option<(String, Jurisdiction, Site)>,
    /// What the link goes over; nothing: there is none.
    pub over: Option<Over>,
    /// Measured.
    pub round_trip: Option<Duration>,
    /// Its clock less this node's, in milliseconds.
    pub clock_off_ms: Option<i64>,
    /// Why it is not reached better.
    pub why: Option<String>,
    /// What to do.
    pub advice: Option<String>,
}

impl Reach {
    /// How this node reaches and is reached.
    #[must_use]
    pub fn shown(&self) -> ReachShown {
        let links = self.peers.iter().filter(|(_, peer)| peer.has_link() || peer.is_needed());
        ReachShown {
            openness: self.own.openness(),
            nat: self.own.nat(),
            announced: self.own.said().to_vec(),
            seen: self.own.seen().into_iter().collect(),
            odd: self.own.odd(),
            relays: self.relays.agreeing().collect(),
            offers_relay: self.offers_relay,
            advice: self.advice(),
            links: links.map(|(node, peer)| self.link_shown(*node, peer)).collect(),
        }
    }

    fn link_shown(&self, node: NodeId, peer: &Peer) -> LinkShown {
        let place = peer
            .certificate
            .as_ref()
            .map(|certificate| (certificate.operator.name.clone(), certificate.jurisdiction, certificate.site.clone()));
        let (why, advice) = self.why(node, peer).unzip();
        LinkShown {
            node,
            place,
            over: peer.over,
            round_trip: peer.round_trip.filter(|_| peer.has_link()),
            clock_off_ms: peer.clock_off_ms,
            why,
            advice,
        }
    }

    /// Why a peer is not reached better, and what to do.
    fn why(&self, node: NodeId, peer: &Peer) -> Option<(String, String)> {
        let open = self.to_open();
        match (peer.over, &peer.state) {
            (Some(Over::Quic), _) => None,
            (Some(Over::Tcp), _) => Some((
                "QUIC did not get through: UDP is blocked somewhere on the way".into(),
                format!("let UDP pass out of both networks, and in to the ports that the nodes listen on ({open})"),
            )),
            (Some(Over::Relay(_)), _) => {
                let why = match (self.own.nat(), &peer.punch_failed, &peer.direct_failed) {
                    (Nat::Shifting, _, _) => {
                        "this node's NAT gives each peer another port, so that no hole can be punched".to_owned()
                    }
                    (_, Some(why), _) => format!("both sides dialled at one moment and did not meet: {why}"),
                    (_, None, Some(why)) => format!("its own addresses do not answer: {why}"),
                    (_, None, None) => "it is only just linked: it is tried directly in a moment".to_owned(),
                };
                Some((why, format!("one of the two must be open: {open}; or IPv6 on both")))
            }
            (None, State::Dialling { .. }) => Some(("it is being dialled".into(), "wait a moment".into())),
            (None, _) if !self.book.knows(node) => Some((
                "nobody has said where it is".into(),
                "name an address of a member in mesh.bootstrap; others then say where it is".into(),
            )),
            (None, _) => {
                let why = peer.direct_failed.clone().unwrap_or_else(|| "it was not dialled yet".into());
                Some((
                    format!("no address of it answers: {why}"),
                    "ask its operator whether it runs and whether its ports are open, and look at this node's own \
                     network"
                        .into(),
                ))
            }
        }
    }

    /// What its operator can do so that this node is reached better.
    fn advice(&self) -> Option<String> {
        match self.own.openness() {
            Openness::Announced | Openness::Tested(_) | Openness::Local => None,
            Openness::Unknown => {
                Some(format!("nobody has tried to dial this node yet; to be sure: {}", self.to_open()))
            }
            Openness::Closed => Some(format!("peers cannot dial this node: {}", self.to_open())),
        }
    }

    fn to_open(&self) -> String {
        let port = self.own.udp_port().unwrap_or("of listen.mesh");
        let seen = self.own.seen().into_iter().find_map(|address| {
            let (ip, _) = address.split_once("/udp/")?;
            matches!(address::scope(&address), address::Scope::Ip4 | address::Scope::Ip6)
                .then(|| format!("{ip}/udp/{port}/quic-v1"))
        });
        let announced = seen.unwrap_or_else(|| format!("/ip4/<public address>/udp/{port}/quic-v1"));
        format!("forward UDP port {port} to this node and set listen.announce = [\"{announced}\"]")
    }
}
