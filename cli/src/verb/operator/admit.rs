//! `bocage operator admit`: an elector's ballot for an operator who asks. Signed here, carried by whichever node; the others
//! do so when they like.
use bocage_node::control::roll::Motion;
use clap::Args;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    roll::{Elector, Known, ballot, id_of, is_id, is_void, tally, told},
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
        let id = request_of(&known, &self.who)?.id.clone();
        let motion = self.elector.cast(at, &known, &id, !self.no).await?;
        at.say.done(&tally(&motion), told(&self.who, &motion));
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
