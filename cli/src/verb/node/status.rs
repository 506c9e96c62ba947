//! `bocage node status`: what a node knows of itself and its mesh.
use std::fmt::Write as _;

use bocage_node::{
    control::api::{Node, Trust},
    settings::wall,
};
use clap::Args;

use crate::{
    failure::Failure,
    invocation::Invocation,
    say,
    verb::offer::{self, Whose},
};

/// A certificate that ends sooner is worth a warning.
const WARN_MS: i128 = 60 * 86_400_000;

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    whose: Whose,
}

impl Status {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let status = self.whose.control(at)?.status().await?;
        at.say.result(&status, shown);
        Ok(())
    }
}

fn shown(node: &Node) -> String {
    let Node { operator, jurisdiction, site, known_nodes, records, cells, leases, .. } = node;
    let mut text = format!("{}  {operator}, {jurisdiction}, {site}\n", say::bold(&say::short(&node.node_id)));
    let _ = writeln!(text, "id    {}\nmesh  {}, zone {}", node.node_id, node.mesh, node.zone);
    let _ = writeln!(
        text,
        "knows {} of its jurisdiction, {}",
        say::counted(*known_nodes, "node"),
        say::counted(*records, "record")
    );
    let _ = writeln!(text, "holds {}, {}", say::counted(*cells, "replica"), say::counted(*leases, "lease"));
    if node.draining_since_ms.is_some() {
        text.push_str("draining: it gets no new votes and leases; see how far it is: bocage node drain\n");
    }
    if let Some(fault) = &node.disk_fault {
        let what = format!("the disk failed: {fault}. It acknowledges nothing until it is mended and restarted");
        let _ = writeln!(text, "{}", say::red(&what));
    }
    if node.clock_off_ms.unsigned_abs() > 1_000 {
        let _ = writeln!(text, "{}", say::red(&format!("its clock is {} ms off its peers'", node.clock_off_ms)));
    }
    text.push_str(&keys(&node.keys));
    text.push_str("\nlinks\n");
    text.push_str(&say::table(
        ["NODE", "OPERATOR", "LAW", "SITE", "ROUND TRIP", "WIRE"],
        node.peers.iter().map(|peer| {
            let trip = match peer.round_trip_us {
                0 => "?".to_owned(),
                us => format!("{}.{:03} ms", us / 1_000, us % 1_000),
            };
            let short = say::short(&peer.node_id);
            [short, peer.operator.clone(), peer.jurisdiction.clone(), peer.site.clone(), trip, peer.wire.to_string()]
        }),
    ));
    match &node.offer {
        Some(offer) => {
            let _ = write!(text, "\noffer\n{}", offer::shown(offer));
        }
        None => text.push_str("\nIt offers nothing.\n"),
    }
    text
}

/// What is to be done about keys, and how old they are.
fn keys(keys: &Trust) -> String {
    let mut text = String::new();
    let left_ms = i128::from(keys.certificate_expires_ms) - i128::from(wall().0);
    let days = left_ms / 86_400_000;
    let _ = writeln!(text, "keys  operator's serial {}, certificate for {days} days more", keys.serial);
    if left_ms < WARN_MS {
        let what = format!("its certificate ends in {days} days: bocage node renew --operator-key FILE");
        let _ = writeln!(text, "{}", say::red(&what));
    }
    if let Some(why) = &keys.void {
        let _ = writeln!(text, "{}", say::red(&format!("its certificate counts no more: {why}")));
    }
    if let Some(addresses) = &keys.double {
        let what = format!(
            "another process runs with this node's key, at {}: stop one of the two, and make it anew with bocage node init",
            addresses.join(", ")
        );
        let _ = writeln!(text, "{}", say::red(&what));
    }
    for one in &keys.contradicted {
        let of = one.operator.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let bar = if one.barred { "it gets no new votes and leases" } else { "its operator has explained it" };
        let what = format!("node {}{of} has contradicted itself: {bar}", say::short(&one.node_id));
        let _ = writeln!(text, "{}", if one.barred { say::red(&what) } else { what });
    }
    text
}
