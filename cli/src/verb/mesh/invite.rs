//! `bocage mesh invite`: an elector's yes to an operator whom he does not name. The node that is asked counts the uses; it
//! must run when the invite is used.
use std::time::Duration;

use bocage_node::settings::wall;
use bocage_protocol::{
    charter::{Invite as Statement, InviteId, Token},
    id::NodeId,
    identity::{Keypair, Signed},
};
use clap::Args;
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    roll::Elector,
    say,
    verb::node::init::peer_suffix,
};

/// An invite is valid so long at most: whoever finds an old one finds nothing.
const EXPIRES_MAX: Duration = Duration::from_hours(30 * 24);
/// Addresses in a token.
const ADDRESSES_MAX: usize = 4;

#[derive(Debug, Args)]
pub(crate) struct Invite {
    #[command(flatten)]
    elector: Elector,
    /// How long it is valid, such as 24h or 7d
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = time)]
    expires: Duration,
    /// How many operators may come with it
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    uses: u32,
    /// Where newcomers dial first [default: what this node announces]; may be given again
    #[arg(long, value_name = "ADDR")]
    address: Vec<String>,
}

impl Invite {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let known = self.elector.known(at).await?;
        let key = self.elector.elector_key(&known)?;
        let status = known.control.status().await?;
        let witness = status.node_id.parse::<NodeId>().map_err(|error| {
            Failure::new(Exit::Failed, "other-version", format!("the node's answer cannot be read: {error}"))
        })?;
        let addresses = if self.address.is_empty() { reachable(&status.addresses) } else { self.address.clone() };
        let addresses: Vec<String> = addresses.into_iter().map(|address| with_peer(address, witness)).collect();
        if addresses.is_empty() {
            return Err(Failure::new(Exit::Usage, "address", "this node does not know where others reach it")
                .next("say it: --address /ip4/203.0.113.7/udp/4001/quic-v1, or listen.announce in bocage.toml"));
        }
        let (mut id, mut bearer) = ([0; 16], [0; 32]);
        getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut bearer)).map_err(|error| {
            Failure::new(Exit::Failed, "random", format!("the operating system gives no randomness: {error}"))
        })?;
        let invite = Statement {
            mesh: known.charter.mesh,
            charter: known.charter.hash(),
            id: InviteId(id),
            bearer: Keypair::from_secret(&bearer).public(),
            witness,
            uses: self.uses,
            expires: wall() + self.expires.min(EXPIRES_MAX),
            made: wall(),
        };
        let signed = Signed::seal(&key.keys, &invite);
        let token = Token {
            founding: known.founding.clone(),
            invites: vec![signed.envelope().clone()],
            bearer,
            addresses: addresses.into_iter().take(ADDRESSES_MAX).collect(),
        };
        let text = token.text();
        let needed = known.charter.needed();
        let more = needed.saturating_sub(1);
        if more > 0 {
            let others: Vec<_> = known
                .charter
                .electorate
                .iter()
                .filter(|it| it.key != key.keys.public())
                .map(|it| it.name.as_str())
                .collect();
            at.say.step(format!(
                "This mesh asks for {needed} ballots; the invite carries yours. {more} more of {} must either sign it too, \
                 before it is used (bocage mesh cosign INVITE), or admit who comes (bocage operator admit NAME).",
                others.join(", ")
            ));
        }
        at.say.step(format!(
            "For {}, until {}. Whoever has it may use it. This node must run when it is used.",
            say::counted(self.uses as usize, "operator"),
            say::time(invite.expires.0),
        ));
        at.say.result(
            &json!({ "invite": text, "expires_ms": invite.expires.0, "uses": self.uses, "ballots": 1, "needed": needed }),
            |_| format!("{text}\n"),
        );
        Ok(())
    }
}

/// What others can dial: not the addresses that only this machine or this link knows, unless there are no others.
fn reachable(addresses: &[String]) -> Vec<String> {
    let starts = ["/ip4/127.", "/ip6/::1/", "/ip6/fe80:", "/ip4/169.254."];
    let local = |address: &&String| starts.iter().any(|start| address.starts_with(start));
    let mut far: Vec<String> = addresses.iter().filter(|address| !local(address)).cloned().collect();
    if far.is_empty() {
        far = addresses.to_vec();
    }
    far
}

fn with_peer(address: String, node: NodeId) -> String {
    if address.contains("/p2p/") { address } else { address + &peer_suffix(node) }
}

/// `90s`, `30m`, `24h`, `7d`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 30m, 24h or 7d");
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("7d"), Ok(Duration::from_hours(7 * 24)));
        for wrong in ["", "7", "d", "7 days", "-1h", "1.5h", "99999999999999999999d", "1é"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_names_what_others_can_dial() {
        let address = |text: &str| text.to_owned();
        let all = [address("/ip4/127.0.0.1/udp/1/quic-v1"), address("/ip4/203.0.113.7/udp/1/quic-v1")];
        assert_eq!(reachable(&all), [all[1].clone()]);
        assert_eq!(
            reachable(&[address("/ip6/fe80::1/udp/1/quic-v1"), all[1].clone()]),
            [all[1].clone()],
            "of one link"
        );
        assert_eq!(reachable(&all[..1]), [all[0].clone()], "on one machine there is nothing else");
    }
}
