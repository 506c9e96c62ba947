//! `bocage doctor`: how a node reaches each peer, why not better, what to do; its clock, certificate and disk.
use std::{fmt::Write as _, process::ExitCode};

use bocage_node::control::doctor::{Finding, Health, Reached};
use clap::Args;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
    verb::offer::Whose,
};

/// Ends with 1 when something keeps the node from its work.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    whose: Whose,
}

impl Doctor {
    pub(crate) async fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let health = self.whose.control(at)?.doctor().await?;
        at.say.result(&health, shown);
        let wrong = health.findings.iter().any(|finding| finding.wrong);
        Ok(if wrong { Exit::Failed.into() } else { ExitCode::SUCCESS })
    }
}

fn shown(health: &Health) -> String {
    let mut text = format!("{}\n", say::bold(&say::short(&health.node_id)));
    let open = match health.openness.as_str() {
        "announced" => "its operator says where",
        "tested" => "peers got through to it",
        "closed" => "peers cannot dial it",
        "local" => "from this machine only",
        _ => "nobody has tried yet",
    };
    let nat = match health.nat.as_str() {
        "none" => "none",
        "steady" => "one port for all peers: holes can be punched",
        "shifting" => "another port for each peer: holes cannot be punched",
        _ => "not known yet",
    };
    let _ = writeln!(text, "reached      {open}\nnat          {nat}");
    for address in &health.announced {
        let _ = writeln!(text, "announces    {address}");
    }
    for relay in &health.relays {
        let _ = writeln!(text, "relayed by   {}", say::short(relay));
    }
    if let Some(relaying) = &health.relaying {
        let circuits = usize::try_from(relaying.circuits).unwrap_or_default();
        let _ = writeln!(
            text,
            "relays       {} now, {} carried",
            say::counted(circuits, "circuit"),
            say::in_bytes(relaying.bytes)
        );
    }
    let _ = writeln!(text, "clock        {} ms off its peers'", health.clock_off_ms);
    let _ = writeln!(text, "certificate  until {}", say::time(health.certificate_expires_ms));
    if let Some(free) = health.disk_free_bytes {
        let _ = writeln!(text, "disk         {} free", say::in_bytes(free));
    }
    text.push_str("\npeers\n");
    text.push_str(&say::table(
        ["NODE", "OPERATOR", "LAW", "PATH", "ROUND TRIP", "CLOCK"],
        health.peers.iter().map(row),
    ));
    for peer in &health.peers {
        if let (Some(why), Some(advice)) = (&peer.why, &peer.advice) {
            let _ = write!(text, "\n{}  {why}\n          → {advice}\n", say::bold(&say::short(&peer.node_id)));
        }
    }
    text.push('\n');
    for Finding { wrong, what, advice } in &health.findings {
        let what = if *wrong { say::red(what) } else { what.clone() };
        let _ = writeln!(text, "{what}\n          → {advice}");
    }
    if health.findings.is_empty() {
        let _ = writeln!(text, "{}", say::green("nothing is wrong with this node"));
    }
    text
}

fn row(peer: &Reached) -> [String; 6] {
    let unknown = || "?".to_owned();
    let path = match &peer.relay {
        Some(relay) => format!("relayed by {}", say::short(relay)),
        None => peer.path.clone(),
    };
    [
        say::short(&peer.node_id),
        peer.operator.clone().unwrap_or_else(unknown),
        peer.jurisdiction.clone().unwrap_or_else(unknown),
        path,
        peer.round_trip_us.map_or_else(unknown, |us| format!("{}.{:03} ms", us / 1_000, us % 1_000)),
        peer.clock_off_ms.map_or_else(unknown, |ms| format!("{ms:+} ms")),
    ]
}
