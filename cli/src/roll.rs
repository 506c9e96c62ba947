//! The charter, members and motions as a node tells them, and what an operator signs about them, at home with his own key.
use std::path::PathBuf;

use bocage_node::{
    control::roll::{Motion as MotionShown, Operator, Roll},
    keyfile::{KeyFile, Kind},
    settings::wall,
};
use bocage_protocol::{
    charter::{Ballot, Charter, Matter, Motion, Papers},
    codec,
    id::ContentHash,
    identity::{Envelope, Founding, Signed},
};
use clap::Args;
use data_encoding::BASE64;

use crate::{
    control::Control,
    failure::{Exit, Failure},
    folders,
    invocation::Invocation,
    verb::offer::Whose,
};

/// Whose key signs, and which node carries it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Elector {
    /// The node's folder [default: `$XDG_DATA_HOME/bocage/node`]
    #[arg(long, value_name = "FOLDER", env = "BOCAGE_DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The operator's key file [default: keys/operator.key in the node's folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: Option<PathBuf>,
}

/// A mesh's roll, read by somebody who may sign.
pub(crate) struct Known {
    pub(crate) control: Control,
    pub(crate) roll: Roll,
    pub(crate) charter: Charter,
    pub(crate) founding: Founding,
}

impl Elector {
    pub(crate) fn control(&self, at: &Invocation) -> Result<Control, Failure> {
        Whose { dir: self.dir.clone(), operator_key: self.operator_key.clone() }.control(at)
    }

    /// The operator's key.
    pub(crate) fn key(&self) -> Result<KeyFile, Failure> {
        let path = match &self.operator_key {
            Some(path) => path.clone(),
            None => self.dir.clone().map_or_else(folders::node, Ok)?.join("keys/operator.key"),
        };
        KeyFile::load(&path, Kind::Operator).map_err(|error| {
            Failure::new(Exit::Unauthorised, "no-key", error.to_string())
                .next("name it: --operator-key FILE, or the node's folder: --dir FOLDER")
        })
    }

    /// What the node knows.
    pub(crate) async fn known(&self, at: &Invocation) -> Result<Known, Failure> {
        let control = self.control(at)?;
        let roll: Roll = control.get("/v1/roll").await?;
        let (Some(charter), Some(founding)) = (&roll.charter, &roll.founding) else {
            return Err(Failure::new(
                Exit::Conflict,
                "no-charter",
                "this node does not know how its mesh was founded yet",
            )
            .next("it learns it from its peers: bocage node status shows whether it has any"));
        };
        let (charter, founding) = (read(&charter.document)?, read(founding)?);
        Ok(Known { control, roll, charter, founding })
    }

    /// The key of an elector under the charter in force.
    pub(crate) fn elector_key(&self, known: &Known) -> Result<KeyFile, Failure> {
        let key = self.key()?;
        let genesis = key.genesis().expect("an operator's key file has a genesis");
        if known.charter.electors().signs(genesis.operator(), key.keys.public()) {
            return Ok(key);
        }
        let electors: Vec<_> = known.charter.electorate.iter().map(|elector| elector.name.as_str()).collect();
        let what = format!("{} is no elector of this mesh; these are: {}", genesis.name, electors.join(", "));
        Err(Failure::new(Exit::Unauthorised, "no-elector", what)
            .next("ask one of them; the next version of the charter may list you: bocage charter amend"))
    }

    /// Casts this elector's ballot on a motion: the motion as it stands then.
    pub(crate) async fn cast(
        &self,
        at: &Invocation,
        known: &Known,
        id: &str,
        yes: bool,
    ) -> Result<MotionShown, Failure> {
        let key = self.elector_key(known)?;
        known.vote(&id_of(id)?, &key, yes).await?;
        self.known(at).await?.find_motion(id).cloned()
    }
}

impl Known {
    /// A motion under the charter in force, opened by `key`.
    pub(crate) fn motion(&self, key: &KeyFile, matter: Matter) -> Signed<Motion> {
        let motion = Motion { mesh: self.charter.mesh, charter: self.charter.hash(), matter, made: wall() };
        Signed::seal(&key.keys, &motion)
    }

    /// Brings papers to the node.
    pub(crate) async fn bring(&self, statements: Vec<Envelope>) -> Result<(), Failure> {
        self.control.papers(&Papers { statements, founding: None }).await
    }

    /// The motion of this id, or the beginning of one.
    pub(crate) fn find_motion(&self, id: &str) -> Result<&MotionShown, Failure> {
        let mut found = self.roll.motions.iter().filter(|motion| !id.is_empty() && motion.id.starts_with(id));
        match (found.next(), found.next()) {
            (Some(motion), None) => Ok(motion),
            (Some(_), Some(_)) => {
                Err(Failure::new(Exit::Usage, "motion", format!("more than one motion begins with {id}")))
            }
            (None, _) => Err(Failure::new(Exit::NotFound, "not-found", format!("there is no motion {id}"))
                .next("list them: bocage charter show, bocage operator requests")),
        }
    }

    /// The operator of this name or id.
    pub(crate) fn find_operator(&self, who: &str) -> Result<&Operator, Failure> {
        let mut found = self.roll.operators.iter().filter(|it| it.name == who || is_id(&it.operator_id, who));
        match (found.next(), found.next()) {
            (Some(operator), None) => Ok(operator),
            (Some(_), Some(_)) => {
                Err(Failure::new(Exit::Usage, "operator", format!("more than one operator is called {who}"))
                    .next("say its id: bocage operator list --output json"))
            }
            (None, _) => Err(Failure::new(Exit::NotFound, "not-found", format!("no operator is called {who}"))
                .next("list them: bocage operator list")),
        }
    }
}

/// A ballot on a motion.
pub(crate) fn ballot(key: &KeyFile, motion: [u8; 32], yes: bool) -> Signed<Ballot> {
    let elector = key.genesis().expect("an operator's key file has a genesis").operator();
    Signed::seal(&key.keys, &Ballot { motion, elector, yes, at: wall() })
}

/// A motion's id as text.
pub(crate) fn id_of(text: &str) -> Result<[u8; 32], Failure> {
    let id: Result<ContentHash, _> = text.parse();
    id.map(|id| id.0).map_err(|error| Failure::new(Exit::Usage, "motion", error.to_string()))
}

/// CBOR in base64, as the control API sends documents.
pub(crate) fn read<T: for<'b> minicbor::Decode<'b, ()>>(text: &str) -> Result<T, Failure> {
    let wrong = |why: String| {
        Failure::new(Exit::Failed, "other-version", format!("the node's answer cannot be read: {why}"))
            .next("node and CLI are of different versions? bocage --version, and GET /version of the node")
    };
    let bytes = BASE64.decode(text.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    codec::decode("document", &bytes).map_err(|error| wrong(error.to_string()))
}

/// Whether `text` is this id, or begins it as lists show it.
pub(crate) fn is_id(id: &str, text: &str) -> bool {
    text.len() >= crate::say::short(id).len() && id.starts_with(text)
}

/// A request whose invite does not count, and that no elector wants: whoever made it was told so, and is gone.
pub(crate) fn is_void(motion: &MotionShown) -> bool {
    motion.yes.is_empty() && void_invite(motion).is_some()
}

/// Why its invite does not count, if it has one that does not.
fn void_invite(motion: &MotionShown) -> Option<&str> {
    motion.invite.as_deref().filter(|invite| matches!(*invite, "used" | "expired"))
}

/// How a motion stands, in a few words.
pub(crate) fn stands(motion: &MotionShown, now_ms: u64) -> String {
    match motion.effective_ms {
        Some(at) if at <= now_ms => "carried".to_owned(),
        Some(at) => format!("carried, from {}", crate::say::time(at)),
        None => {
            let invite = void_invite(motion).map(|why| format!(", invite {why}")).unwrap_or_default();
            format!("{} of {}{invite}", motion.yes.len(), motion.needed)
        }
    }
}

/// Names, in one line.
pub(crate) fn names(parties: &[bocage_node::control::roll::Party]) -> String {
    parties.iter().map(|party| party.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// How the ballots on a motion stand, as a document.
pub(crate) fn tally(motion: &MotionShown) -> serde_json::Value {
    let MotionShown { id, yes, needed, effective_ms, .. } = motion;
    serde_json::json!({ "motion": id, "yes": yes.len(), "needed": needed, "effective_ms": effective_ms })
}

/// The same in words, with those that were not heard while that matters.
pub(crate) fn told(about: &str, motion: &MotionShown) -> String {
    let unheard = match (motion.effective_ms, names(&motion.silent)) {
        (None, silent) if !silent.is_empty() => format!(" Not heard yet: {silent}."),
        _ => String::new(),
    };
    format!("{about}: {}.{unheard}", stands(motion, wall().0))
}
