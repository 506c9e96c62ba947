//! The charter, members and motions of the mesh, as this node knows them; and the way in for what operators sign.
use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use bocage_protocol::{
    charter::{CaseShown, Counted, Matter, Papers, RollShown, Version},
    codec,
    command::{Command, Reply},
    id::{ContentHash, OperatorId},
    identity::Genesis,
    refusal::Code,
    time::Timestamp,
};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::routes::{COMMAND_MAX, No, Said, Shared, ask, decode, no, unexpected};

/// All that a node knows of its mesh's charter.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Roll {
    /// What the mesh is called; none: its founding statement is not known here, so everybody counts.
    pub mesh_name: Option<String>,
    /// CBOR of the founding statement, in base64.
    pub founding: Option<String>,
    /// Whether the operator of the node that answers is a member.
    pub counts: bool,
    /// The version in force.
    pub charter: Option<Charter>,
    /// A version that was carried and is not in force yet.
    pub coming: Option<Charter>,
    /// Operators that are members, or were.
    pub operators: Vec<Operator>,
    /// Short names of tenants, for `app.name.zone`.
    #[serde(default)]
    pub aliases: Vec<Alias>,
    /// Motions, newest first.
    pub motions: Vec<Motion>,
}

/// A version of the charter.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Charter {
    /// From 0 up.
    pub version: u64,
    /// In force from then on, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Whose majority decides.
    pub electorate: Vec<Party>,
    /// So many ballots carry a motion.
    pub needed: usize,
    /// Thousandths of the electorate that carry a motion.
    pub quorum_permille: u32,
    /// Operators admitted in any 24 hours.
    pub admissions_per_day: u32,
    /// Thousandths of what its jurisdiction offers that one operator may hold, from four operators on.
    pub dominance_permille: u32,
    /// Between the vote and the day.
    pub notice_ms: u64,
    /// CBOR of all of it, in base64.
    pub document: String,
}

/// An operator by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Party {
    /// Its id.
    pub operator_id: String,
    /// What people call it.
    pub name: String,
}

/// An operator that is a member, or was.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Operator {
    /// Its id.
    pub operator_id: String,
    /// What people call it.
    pub name: String,
    /// A member from then on.
    pub since_ms: u64,
    /// None any more from then on.
    pub excluded_ms: Option<u64>,
    /// It founded the mesh.
    pub founder: bool,
    /// It decides on motions now.
    pub elector: bool,
    /// CBOR of its genesis, in base64.
    pub genesis: String,
}

/// A tenant's short name, or one that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alias {
    /// One DNS label.
    pub name: String,
    /// Whose.
    pub tenant_id: String,
    /// What people call the tenant.
    pub tenant: String,
    /// From then on; none: it is only asked for.
    pub since_ms: Option<u64>,
}

/// A motion and its ballots.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Motion {
    /// Names it.
    pub id: String,
    /// `admit`, `exclude`, `amend` or `alias`.
    pub matter: String,
    /// Which operator it is about; of `amend` and `alias`: none.
    pub about: Option<Party>,
    /// Why, of `exclude`; which version, of `amend`.
    pub reason: Option<String>,
    /// Of `alias`: which name for whom.
    #[serde(default)]
    pub alias: Option<Alias>,
    /// When it was made.
    pub made_ms: u64,
    /// Who said yes.
    pub yes: Vec<Party>,
    /// Who said no.
    pub no: Vec<Party>,
    /// Who said nothing yet.
    pub silent: Vec<Party>,
    /// So many must say yes.
    pub needed: usize,
    /// It was carried, and takes effect then.
    pub effective_ms: Option<u64>,
    /// What became of the newcomer's invite: `use N`, `used` or `expired`.
    pub invite: Option<String>,
    /// CBOR of `Papers`, in base64: the motion and what was said to it, to carry elsewhere.
    pub papers: String,
}

impl Party {
    fn of(genesis: &Genesis) -> Self {
        Self { operator_id: genesis.operator().to_string(), name: genesis.name.clone() }
    }
}

impl Alias {
    fn of(name: &str, tenant: &Genesis, since: Option<Timestamp>) -> Self {
        let (tenant_id, since_ms) = (tenant.tenant().to_string(), since.map(|at| at.0));
        Self { name: name.to_owned(), tenant_id, tenant: tenant.name.clone(), since_ms }
    }

    fn asked(matter: &Matter) -> Option<Self> {
        match matter {
            Matter::Alias { name, tenant } => Some(Self::of(name, &tenant.genesis, None)),
            Matter::Admit { .. } | Matter::Exclude { .. } | Matter::Amend(_) => None,
        }
    }
}

impl Charter {
    fn of(version: &Version) -> Self {
        let Version { charter, electors, from, .. } = version;
        Self {
            version: charter.version,
            from_ms: from.0,
            electorate: charter.electorate.iter().map(Party::of).collect(),
            needed: electors.needed,
            quorum_permille: charter.values.quorum_permille,
            admissions_per_day: charter.values.admissions_per_day,
            dominance_permille: charter.values.dominance_permille,
            notice_ms: u64::try_from(charter.values.notice.as_millis()).unwrap_or(u64::MAX),
            document: BASE64.encode(&codec::encode(charter)),
        }
    }
}

impl Motion {
    fn of(case: &CaseShown, shown: &RollShown) -> Self {
        let party = |operator: &OperatorId| {
            let electors = shown.versions.iter().flat_map(|version| &version.charter.electorate);
            let known = shown.members.iter().map(|member| &member.operator).chain(electors);
            let name = known.into_iter().find(|it| it.operator() == *operator).map(|it| it.name.clone());
            Party { operator_id: operator.to_string(), name: name.unwrap_or_default() }
        };
        let (matter, about, reason) = match &case.motion.matter {
            Matter::Admit { operator, .. } => ("admit", Some(Party::of(operator)), None),
            Matter::Exclude { operator, reason } => ("exclude", Some(party(operator)), Some(reason.clone())),
            Matter::Amend(charter) => ("amend", None, Some(format!("version {}", charter.version))),
            Matter::Alias { .. } => ("alias", None, None),
        };
        let invite = case.stamp.map(|stamp| match stamp {
            Counted::Use(number) => format!("use {}", u64::from(number) + 1),
            Counted::Used => "used".to_owned(),
            Counted::Expired => "expired".to_owned(),
        });
        Self {
            id: ContentHash(case.id).to_string(),
            matter: matter.to_owned(),
            about,
            reason,
            alias: Alias::asked(&case.motion.matter),
            made_ms: case.motion.made.0,
            yes: case.yes.iter().map(|(elector, _)| party(elector)).collect(),
            no: case.no.iter().map(party).collect(),
            silent: case.silent.iter().map(party).collect(),
            needed: case.needed,
            effective_ms: case.effective.map(|at| at.0),
            invite,
            papers: BASE64.encode(&codec::encode(&case.papers)),
        }
    }
}

impl Roll {
    /// As the machine says.
    #[must_use]
    pub fn of(shown: &RollShown) -> Self {
        let in_force = shown.versions.iter().find(|version| Some(version.charter.version) == shown.in_force);
        let coming = shown.versions.last().filter(|last| Some(last.charter.version) != shown.in_force);
        let elector = |operator: OperatorId| {
            in_force.is_some_and(|version| version.electors.all().any(|elector| elector == operator))
        };
        let operators = shown.members.iter().map(|member| Operator {
            operator_id: member.operator.operator().to_string(),
            name: member.operator.name.clone(),
            since_ms: member.since.0,
            excluded_ms: member.excluded.map(|at| at.0),
            founder: member.by.is_none(),
            elector: elector(member.operator.operator()),
            genesis: BASE64.encode(&codec::encode(&member.operator)),
        });
        let aliases = shown.aliases.iter().map(|(name, alias)| Alias::of(name, &alias.tenant, Some(alias.since)));
        let mut motions: Vec<Motion> = shown.cases.iter().map(|case| Motion::of(case, shown)).collect();
        motions.sort_by_key(|motion| std::cmp::Reverse(motion.made_ms));
        Self {
            mesh_name: shown.founding.as_ref().map(|founding| founding.name.clone()),
            founding: shown.founding.as_ref().map(|founding| BASE64.encode(&codec::encode(founding))),
            counts: shown.counts,
            charter: in_force.map(Charter::of),
            coming: coming.map(Charter::of),
            operators: operators.collect(),
            aliases: aliases.collect(),
            motions,
        }
    }
}

/// The charter, members and motions of the mesh.
#[utoipa::path(get, path = "/v1/roll", responses((status = 200, body = Roll)))]
pub(super) async fn roll(State(control): State<Shared>) -> Said<Roll> {
    let Reply::Roll(shown) = ask(&control, COMMAND_MAX, Command::Roll).await? else { return Err(unexpected()) };
    Ok(Json(Roll::of(&shown)))
}

/// Brings a motion, ballots, an invite: whatever proves itself. The body is the CBOR of `Papers`.
#[utoipa::path(post, path = "/v1/papers", request_body = Vec<u8>,
    responses((status = 204), (status = 400, body = super::api::Problem)))]
pub(super) async fn papers(State(control): State<Shared>, body: Bytes) -> Result<StatusCode, No> {
    let papers: Papers = decode("papers", &body)?;
    for statement in &papers.statements {
        statement.check().map_err(|error| no(Code::Unauthorised, error.to_string()))?;
    }
    let Reply::Done = ask(&control, COMMAND_MAX, Command::Papers(Box::new(papers))).await? else {
        return Err(unexpected());
    };
    Ok(StatusCode::NO_CONTENT)
}
