//! `bocage operator admit`: an elector's ballot for an operator who asks. Signed here, carried by whichever node; the others
//! do so when they like.
use bocage_node::{control::roll::Motion, settings::wall};
use clap::Args;
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    roll::{Elector, Known, ballot, id_of, is_id, is_void, names, stands},
};

#[derive(Debug, Args)]
pub(crate) struct Admit {
    /// The operator's name or id, as requests lists it
    who: String,
    /// Say no instead
    #[arg(long)]
    no: bool,
    #[command(flatten)]
    elector: Elector,
}

impl Admit {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let known = self.elector.known(at).await?;
        let key = self.elector.elector_key(&known)?;
        let motion = request_of(&known, &self.who)?;
        let id = motion.id.clone();
        known.vote(&id_of(&id)?, &key, !self.no).await?;
        let after = self.elector.known(at).await?;
        let motion = after.find_motion(&id)?;
        let what = stands(motion, wall().0);
        let more = match (motion.effective_ms, names(&motion.silent)) {
            (None, silent) if !silent.is_empty() => format!(" Not heard yet: {silent}."),
            _ => String::new(),
        };
        at.say.done(
            &json!({ "motion": id, "yes": motion.yes.len(), "needed": motion.needed, "effective_ms": motion.effective_ms }),
            format!("{}: {what}.{more}", self.who),
        );
        Ok(())
    }
}

/// The newest open request of an operator.
fn request_of<'a>(known: &'a Known, who: &str) -> Result<&'a Motion, Failure> {
    let is_who = |motion: &&Motion| {
        let about = motion.about.as_ref();
        motion.matter == "admit"
            && about.is_some_and(|it| is_id(&it.operator_id, who) || (it.name == who && !is_void(motion)))
    };
    let asked: Vec<&Motion> = known.roll.motions.iter().filter(is_who).collect();
    let ids: std::collections::BTreeSet<_> =
        asked.iter().filter_map(|motion| motion.about.as_ref()).map(|about| &about.operator_id).collect();
    if ids.len() > 1 {
        return Err(Failure::new(Exit::Usage, "operator", format!("more than one operator called {who} asks"))
            .next("say its id: bocage operator requests"));
    }
    let open = asked.iter().find(|motion| motion.effective_ms.is_none()).copied();
    open.or(asked.first().copied()).ok_or_else(|| {
        Failure::new(Exit::NotFound, "not-found", format!("no operator {who} asks to be admitted"))
            .next("list who does: bocage operator requests; a newcomer asks with: bocage node join INVITE")
    })
}

impl Known {
    /// Brings a ballot of this key on a motion that the node knows.
    pub(crate) async fn vote(
        &self,
        id: &[u8; 32],
        key: &bocage_node::keyfile::KeyFile,
        yes: bool,
    ) -> Result<(), Failure> {
        let motion = self.roll.motions.iter().find(|motion| id_of(&motion.id).is_ok_and(|it| it == *id));
        if let Some(motion) = motion.filter(|_| yes) {
            self.may_name(motion, key)?;
        }
        let statements: Vec<bocage_protocol::identity::Envelope> = match motion {
            Some(motion) => crate::roll::read::<bocage_protocol::charter::Papers>(&motion.papers)?.statements,
            None => Vec::new(),
        };
        let mut said: Vec<_> = statements.into_iter().take(1).collect();
        said.push(ballot(key, *id, yes).envelope().clone());
        self.bring(said).await
    }
}
