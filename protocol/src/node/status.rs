//! What a node says of itself when a person asks.
use super::Node;
use crate::{
    command::{ContradictedShown, DrainShown, KeysShown, NodeStatus, PeerShown},
    time::Timestamp,
};

impl Node {
    /// Nodes of this jurisdiction with a presence in force. What is known of others depends on whom this node works with.
    fn known_here(&self) -> usize {
        let here = self.identity.certificate().jurisdiction;
        self.market.inventory().present().filter(|(_, place, _)| place.jurisdiction == here).count()
    }

    pub(super) fn status(&self) -> NodeStatus {
        let certificate = self.identity.certificate();
        let peers = self.reach.linked().map(|(node, certificate, round_trip)| PeerShown {
            node,
            operator_name: certificate.operator.name.clone(),
            jurisdiction: certificate.jurisdiction,
            site: certificate.site.clone(),
            wire: self.reach.wire(node).unwrap_or_default(),
            round_trip_us: round_trip.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        });
        NodeStatus {
            node: self.identity.node(),
            operator: certificate.operator_id(),
            operator_name: certificate.operator.name.clone(),
            jurisdiction: certificate.jurisdiction,
            site: certificate.site.clone(),
            offer: self.departure.terms().map(|terms| (terms, self.leases.used())),
            peers: peers.collect(),
            known_nodes: self.known_here(),
            records: self.membership.records().len(),
            cells: self.cells.len(),
            leases: self.leases.held(),
            away: self.away.shown(),
            to_hand_over: self.cells.to_hand_over(),
            draining: self.departure.since(),
            neighbours: self.membership.neighbours().count(),
            addresses: self.reach.own_addresses(),
            turned_away: self.reach.turned_away().cloned(),
            last_clock_ms: self.reach.last_clock_ms(),
            disk: self.disk_failed.clone(),
            clock_off_ms: self.reach.clock_off_ms(),
            keys: self.keys_shown(),
        }
    }

    pub(super) fn drain_shown(&self, now: Timestamp) -> DrainShown {
        let descriptions: Vec<_> = self.leases.descriptions().collect();
        let replicas: Vec<_> = self.cells.ids().collect();
        let cells = descriptions.iter().map(std::convert::AsRef::as_ref);
        let down = |node| self.market.inventory().is_down(node);
        self.departure.progress(now, self.identity.node(), cells, &replicas, down)
    }

    fn keys_shown(&self) -> KeysShown {
        let records = self.membership.records();
        let keyring = records.keyring();
        let certificate = self.identity.certificate();
        let counts = keyring.counts(certificate, self.identity.signed_certificate().key());
        let contradicted = keyring.contradicted().map(|(node, version)| {
            let by = records.certificate(&node);
            ContradictedShown {
                node,
                operator_name: by.map(|by| by.certificate.operator.name.clone()),
                version,
                barred: by.is_none_or(|by| keyring.barred(by.operator, node).is_some()),
            }
        });
        KeysShown {
            serial: keyring.serial(certificate.operator_id().into()),
            certificate_expires: certificate.expires,
            void: counts.err().map(|why| why.to_string()),
            double: self.membership.double().map(<[_]>::to_vec),
            contradicted: contradicted.collect(),
            words: keyring.len(),
        }
    }
}
