//! `bocage node status`: what a node knows of itself and its mesh.
use std::fmt::Write as _;

use bocage_node::control::api::Node;
use clap::Args;

use crate::{
    failure::Failure,
    invocation::Invocation,
    say,
    verb::offer::{self, Whose},
};

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
    if let Some(fault) = &node.disk_fault {
        let what = format!("the disk failed: {fault}. It acknowledges nothing until it is mended and restarted");
        let _ = writeln!(text, "{}", say::red(&what));
    }
    if node.clock_off_ms.unsigned_abs() > 1_000 {
        let _ = writeln!(text, "{}", say::red(&format!("its clock is {} ms off its peers'", node.clock_off_ms)));
    }
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
