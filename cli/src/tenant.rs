//! In whose name: the tenant's key, and the commands that it signs.
use std::path::PathBuf;

use bocage_node::{
    keyfile::{KeyFile, KeyFileError, Kind},
    settings::wall,
};
use bocage_protocol::{
    cell::{TenantAction, TenantCommand},
    id::{CellId, OpId, SessionId, TenantId},
    identity::{Genesis, Keypair, Signed},
};

use crate::{
    control::Signer,
    failure::{Exit, Failure},
    folders,
    say::Say,
    verb::keys::{beside, make::Recovery},
};

/// The name of a key that is made along the way.
const NAME: &str = "tenant";
/// A party has no more keys in its life, recoveries and mishaps included.
const RETIRED_MAX: u64 = 64;

/// Somebody who owns apps.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) path: PathBuf,
    pub(crate) key: KeyFile,
    pub(crate) genesis: Genesis,
}

impl Tenant {
    /// The key that is named, or the usual one.
    pub(crate) fn load(named: Option<&PathBuf>) -> Result<Self, Failure> {
        let path = path(named)?;
        match KeyFile::load(&path, Kind::Tenant) {
            Ok(key) => Ok(Self::of(path, key)),
            Err(error @ KeyFileError::Missing(_)) => Err(no_key(&error).next("make one: bocage login")),
            Err(error) => Err(no_key(&error)),
        }
    }

    /// The same; where there is none, it is made. `Some`: it was, and its recovery keys are these.
    pub(crate) fn load_or_make(
        named: Option<&PathBuf>,
        name: Option<&str>,
        recovery: Recovery,
    ) -> Result<(Self, Option<Vec<PathBuf>>), Failure> {
        let path = path(named)?;
        if path.exists() {
            return Ok((Self::load(Some(&path))?, None));
        }
        match recovery.checked()?.make(Kind::Tenant, name.unwrap_or(NAME), &path) {
            Ok((key, apart)) => Ok((Self::of(path, key), Some(apart))),
            // Another command made it in the meantime.
            Err(KeyFileError::Exists(_)) => Ok((Self::load(Some(&path))?, None)),
            Err(error) => Err(no_key(&error)),
        }
    }

    /// The same, with a word to the person when it was made.
    pub(crate) fn at_first_use(named: Option<&PathBuf>, say: Say) -> Result<Self, Failure> {
        let (tenant, made) = Self::load_or_make(named, None, Recovery::default())?;
        if made.is_some() {
            say.step(format!("Made your tenant key: {}. Whoever has it is you: keep a copy.", tenant.path.display()));
        }
        Ok(tenant)
    }

    fn of(path: PathBuf, key: KeyFile) -> Self {
        let genesis = key.genesis().expect("a tenant's key file has a genesis");
        Self { path, key, genesis }
    }

    pub(crate) fn id(&self) -> TenantId {
        self.genesis.tenant()
    }

    pub(crate) fn signer(&self) -> Signer {
        self.key.clone().into()
    }

    /// The key, and those before it that are kept beside it: what was sealed to one of them still opens.
    pub(crate) fn keypairs(&self) -> impl Iterator<Item = Keypair> {
        let retired = (0..RETIRED_MAX).map(|number| beside(&self.path, &format!(".retired-{number}")));
        let retired = retired.filter_map(|path| KeyFile::load_any(&path).ok());
        std::iter::once(self.key.keys.clone()).chain(retired.map(|key| key.keys))
    }

    /// A command under an op of its own. Sent twice it happens once.
    pub(crate) fn command(&self, cell: Option<CellId>, action: TenantAction) -> Signed<TenantCommand> {
        let mut session = [0; 16];
        getrandom::fill(&mut session).expect("the operating system gives randomness");
        self.command_as(cell, OpId { session: SessionId(session), seq: 1 }, action)
    }

    /// A command under this op.
    pub(crate) fn command_as(&self, cell: Option<CellId>, op: OpId, action: TenantAction) -> Signed<TenantCommand> {
        let command = TenantCommand { tenant: self.id(), cell, op, issued: wall(), action };
        Signed::seal(&self.key.keys, &command)
    }
}

fn path(named: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    named.map_or_else(folders::tenant_key, |path| Ok(path.clone()))
}

fn no_key(error: &KeyFileError) -> Failure {
    Failure::new(Exit::Unauthorised, "no-key", error.to_string())
}
