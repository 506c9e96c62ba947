//! `bocage mesh cosign`: a second elector's yes on an invite, so that whoever comes with it waits for nobody.
use bocage_protocol::{charter::Token, identity::Signed};
use clap::Args;
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    roll::Elector,
    verb::node::bad_token,
};

#[derive(Debug, Args)]
pub(crate) struct Cosign {
    /// The invite that another elector made
    invite: String,
    #[command(flatten)]
    elector: Elector,
}

impl Cosign {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let mut token = Token::parse(&self.invite).map_err(|error| bad_token(&error))?;
        let invite = token.usable(bocage_node::settings::wall()).map_err(|error| bad_token(&error))?;
        let known = self.elector.known(at).await?;
        let key = self.elector.elector_key(&known)?;
        if invite.mesh != known.charter.mesh || invite.charter != known.charter.hash() {
            let what = "this invite is into another mesh, or under a version of the charter that is no longer in force";
            return Err(Failure::new(Exit::Conflict, "other-mesh", what).next("make a new one: bocage mesh invite"));
        }
        let signed = Signed::seal(&key.keys, &invite);
        if !token.invites.contains(signed.envelope()) {
            token.invites.push(signed.envelope().clone());
        }
        let (ballots, needed) = (token.invites.len(), known.charter.needed());
        let text = token.text();
        at.say.step(format!("It carries {ballots} of {needed} ballots now. Hand on this one instead of the first:"));
        at.say.result(&json!({ "invite": text, "ballots": ballots, "needed": needed }), |_| format!("{text}\n"));
        Ok(())
    }
}
