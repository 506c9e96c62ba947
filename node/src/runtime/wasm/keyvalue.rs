//! `wasi:keyvalue` over the cell: how a guest's calls become reads with one barrier and writes with ops.
//!
//! **Reads.** At home the first read of a request goes through the leader. Later ones need only be as new as what the request
//! has seen, because whatever was acknowledged before the request began lies behind that index already. A write of its own
//! counts as seen. Away a copy may answer, whose age is kept: the oldest of a request goes out with the answer.
//!
//! **Writes.** An op is what makes a repeated write harmless. Under an `Idempotency-Key` it must be the same op when the
//! request is repeated, elsewhere, by a fresh instance. It must also be *another* op when the repeated request does
//! something else than the first attempt did, as it will if the first attempt died half-way: a mere count of the writes
//! would give the second write of the first attempt and the first of the second attempt one op, and the cell would answer
//! with the result of a write that was never asked for. So an op's session is the hash of key, and content; its number
//! counts repetitions of the same content within one request.
//!
//! **Converging stores** go the same way: the machine knows by their names that it answers for them here, at no index of the cell.
//! Compare-and-swap is refused there by the machine; nothing else differs.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bocage_protocol::{
    cell::{Answer, Outcome, Query, Versioned, Write},
    codec,
    id::{OpId, SessionId},
    refusal::{Certainty, Code, Refusal},
};
use wasmtime::component::{HasData, Resource, ResourceTable};

use super::app::App;
use crate::runtime::Read;

// Generated: its visibilities and lints are not ours.
#[allow(unreachable_pub, clippy::pedantic)]
mod wit {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue.wit",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": super::Bucket,
            "wasi:keyvalue/atomics.cas": super::Cas,
        },
    });
}

use wit::wasi::keyvalue::{
    atomics::{self, CasError},
    batch,
    store::{self, Error, KeyResponse},
};

/// Queries or writes that a cell takes at once.
const BATCH_MAX: usize = 64;
/// Keys of one `get-many`.
const GET_MANY_MAX: usize = 256;
/// Bytes of values that one `get-many` gives.
const GET_MANY_BYTES_MAX: usize = 16 << 20;
/// Keys of one page of `list-keys`.
const PAGE_KEYS: u32 = 1_000;
/// Bytes of a store's name, of a key, of a value: what the cell takes.
const STORE_BYTES_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 1_024;
const VALUE_BYTES_MAX: usize = 1 << 20;
/// Compare-and-swap handles that a request holds at once: each holds a value.
const CAS_MAX: usize = 16;
/// Different writes of one request whose repetitions are told apart.
const WRITES_MAX: u64 = 4_096;

/// An open store. Nothing but its name.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Bucket {
    store: String,
}

/// A key as it was.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Cas {
    store: String,
    key: String,
    was: Option<Versioned>,
}

/// What one request has read and written so far.
pub(super) struct Session {
    app: Arc<App>,
    ops: Ops,
    /// The highest index that this request depends on; `None` before its first read or write.
    seen: Option<u64>,
    /// What its reads rested on.
    rested: Arc<OldestRead>,
    cas_held: usize,
}

/// The age of the oldest state that a request has read, as far as it has come. Shared with who answers for it.
#[derive(Debug, Default)]
pub(super) struct OldestRead(AtomicU64);

impl OldestRead {
    fn note(&self, age: Option<Duration>) {
        // One more than the milliseconds, so that 0 is nothing.
        let age = age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX - 1) + 1);
        self.0.fetch_max(age, Relaxed);
    }

    /// `None`: all of it was current, or nothing was read.
    pub(super) fn age(&self) -> Option<Duration> {
        self.0.load(Relaxed).checked_sub(1).map(Duration::from_millis)
    }
}

/// Names the ops of a request's writes.
enum Ops {
    /// Nobody can repeat the request: any session will do, and a count.
    Once { session: SessionId, written: u64 },
    /// See above.
    Repeatable { key: SessionId, written: u64, repetitions: BTreeMap<SessionId, u64> },
}

impl Session {
    pub(super) fn new(app: Arc<App>, key: Option<SessionId>) -> Self {
        let ops = match key {
            Some(key) => Ops::Repeatable { key, written: 0, repetitions: BTreeMap::new() },
            None => Ops::Once { session: SessionId(rand_session()), written: 0 },
        };
        Self { app, ops, seen: None, rested: Arc::default(), cas_held: 0 }
    }

    /// What its reads rest on, while it runs and after.
    pub(super) fn rested(&self) -> Arc<OldestRead> {
        self.rested.clone()
    }

    async fn read(&mut self, queries: Vec<Query>) -> Result<Vec<Answer>, Error> {
        let asked = queries.len();
        let Read { answered, age } =
            self.app.state.read(self.app.instance, self.app.generation, self.seen, queries).await?;
        self.rested.note(age);
        self.depend(answered.index);
        if answered.answers.len() != asked {
            return Err(strange());
        }
        Ok(answered.answers)
    }

    /// What was read or written rests on this index of the cell; 0: on none, for it was of a converging store.
    fn depend(&mut self, index: u64) {
        if index > 0 {
            self.seen = self.seen.max(Some(index));
        }
    }

    async fn value(&mut self, store: &str, key: String) -> Result<Option<Versioned>, Error> {
        let query = Query::Get { store: store.to_owned(), key: checked(key)? };
        match self.read(vec![query]).await?.pop() {
            Some(Answer::Value(value)) => Ok(value),
            Some(_) | None => Err(strange()),
        }
    }

    /// Ends well only if the writes were made or a `Swap` found another version.
    async fn write(&mut self, writes: Vec<Write>) -> Result<Outcome, Error> {
        let op = self.ops.of(&writes)?;
        let applied = self.app.state.write(self.app.instance, self.app.generation, op, writes).await?;
        self.depend(applied.index);
        match applied.outcome {
            Outcome::Refused(refusal) => Err(refusal.into()),
            outcome @ (Outcome::Written { .. } | Outcome::Conflict { .. }) => Ok(outcome),
            Outcome::Released(_) | Outcome::Done => Err(strange()),
        }
    }

    /// For writes that nothing can conflict with.
    async fn put(&mut self, writes: Vec<Write>) -> Result<(), Error> {
        if writes.is_empty() {
            return Ok(());
        }
        match self.write(writes).await? {
            Outcome::Written { .. } => Ok(()),
            Outcome::Conflict { .. } | Outcome::Released(_) | Outcome::Done | Outcome::Refused(_) => Err(strange()),
        }
    }
}

impl Ops {
    fn of(&mut self, writes: &[Write]) -> Result<OpId, Error> {
        match self {
            Self::Once { session, written } => {
                *written += 1;
                Ok(OpId { session: *session, seq: *written })
            }
            Self::Repeatable { key, written, repetitions } => {
                *written += 1;
                if *written > WRITES_MAX {
                    return Err(definite("a request with an Idempotency-Key makes at most 4,096 writes"));
                }
                let mut named = b"guest".to_vec();
                named.extend_from_slice(&key.0);
                named.extend_from_slice(&codec::encode(&writes.to_vec()));
                let session = SessionId::of(&named);
                let seq = repetitions.entry(session).or_default();
                *seq += 1;
                Ok(OpId { session, seq: *seq })
            }
        }
    }
}

fn rand_session() -> [u8; 16] {
    let mut bytes = [0; 16];
    // The operating system's random numbers fail only where the daemon could not have made its keys either; a session of
    // zeros would then at worst answer with another request's outcome, so rather stop.
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes
}

/// The part of a guest's store that these calls use.
pub(super) struct KeyValue<'a> {
    pub(super) table: &'a mut ResourceTable,
    pub(super) session: &'a mut Session,
}

/// Names [`KeyValue`] to the linker.
pub(super) struct HasKeyValue;

impl HasData for HasKeyValue {
    type Data<'a> = KeyValue<'a>;
}

/// Gives guests the interfaces of this file.
pub(super) fn link<T: Send + 'static>(
    linker: &mut wasmtime::component::Linker<T>,
    view: fn(&mut T) -> KeyValue<'_>,
) -> wasmtime::Result<()> {
    store::add_to_linker::<T, HasKeyValue>(linker, view)?;
    atomics::add_to_linker::<T, HasKeyValue>(linker, view)?;
    batch::add_to_linker::<T, HasKeyValue>(linker, view)
}

impl KeyValue<'_> {
    fn store(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<String> {
        Ok(self.table.get(bucket)?.store.clone())
    }

    fn hold(&mut self, cas: Cas) -> wasmtime::Result<Result<Resource<Cas>, Error>> {
        if self.session.cas_held >= CAS_MAX {
            return Ok(Err(definite("a request holds at most 16 compare-and-swap handles; drop one")));
        }
        self.session.cas_held += 1;
        Ok(Ok(self.table.push(cas)?))
    }

    fn release(&mut self, cas: Resource<Cas>) -> wasmtime::Result<Cas> {
        let cas = self.table.delete(cas)?;
        self.session.cas_held -= 1;
        Ok(cas)
    }

    async fn look(&mut self, store: String, key: String) -> Result<Cas, Error> {
        let was = self.session.value(&store, key.clone()).await?;
        Ok(Cas { store, key, was })
    }
}

impl store::Host for KeyValue<'_> {
    async fn open(&mut self, identifier: String) -> wasmtime::Result<Result<Resource<Bucket>, Error>> {
        if identifier.is_empty() || identifier.len() > STORE_BYTES_MAX {
            return Ok(Err(Error::NoSuchStore));
        }
        Ok(Ok(self.table.push(Bucket { store: identifier })?))
    }
}

impl store::HostBucket for KeyValue<'_> {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let store = self.store(&bucket)?;
        Ok(self.session.value(&store, key).await.map(bytes))
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let store = self.store(&bucket)?;
        Ok(match set(store, key, value) {
            Ok(write) => self.session.put(vec![write]).await,
            Err(error) => Err(error),
        })
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> wasmtime::Result<Result<(), Error>> {
        let store = self.store(&bucket)?;
        Ok(match checked(key) {
            Ok(key) => self.session.put(vec![Write::Delete { store, key }]).await,
            Err(error) => Err(error),
        })
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> wasmtime::Result<Result<bool, Error>> {
        let store = self.store(&bucket)?;
        Ok(self.session.value(&store, key).await.map(|value| value.is_some()))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<String>,
    ) -> wasmtime::Result<Result<KeyResponse, Error>> {
        let store = self.store(&bucket)?;
        let after = match cursor.map(checked).transpose() {
            Ok(after) => after,
            Err(error) => return Ok(Err(error)),
        };
        let query = Query::List { store, prefix: String::new(), after, limit: PAGE_KEYS };
        Ok(match self.session.read(vec![query]).await.map(|mut answers| answers.pop()) {
            Ok(Some(Answer::Keys { keys, more })) => {
                let cursor = more.then(|| keys.last().cloned()).flatten();
                Ok(KeyResponse { keys, cursor })
            }
            Ok(Some(_) | None) => Err(strange()),
            Err(error) => Err(error),
        })
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for KeyValue<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> wasmtime::Result<Result<i64, Error>> {
        let store = self.store(&bucket)?;
        let key = match checked(key) {
            Ok(key) => key,
            Err(error) => return Ok(Err(error)),
        };
        Ok(match self.session.write(vec![Write::Increment { store, key, delta }]).await {
            Ok(Outcome::Written { counters, .. }) => counters.first().copied().ok_or_else(strange),
            Ok(Outcome::Conflict { .. } | Outcome::Released(_) | Outcome::Done | Outcome::Refused(_)) => Err(strange()),
            Err(error) => Err(error),
        })
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> wasmtime::Result<Result<(), CasError>> {
        let Cas { store, key, was } = self.release(cas)?;
        if let Err(error) = fits(&value) {
            return Ok(Err(CasError::StoreError(error)));
        }
        let expected = was.map_or(0, |was| was.version);
        let swap = Write::Swap { store: store.clone(), key: key.clone(), expected, value: Some(value.into()) };
        let fresh = match self.session.write(vec![swap]).await {
            Ok(Outcome::Written { .. }) => return Ok(Ok(())),
            Ok(Outcome::Conflict { .. }) => self.look(store, key).await,
            Ok(Outcome::Released(_) | Outcome::Done | Outcome::Refused(_)) => Err(strange()),
            Err(error) => Err(error),
        };
        Ok(Err(match fresh {
            Ok(fresh) => match self.hold(fresh)? {
                Ok(cas) => CasError::CasFailed(cas),
                Err(error) => CasError::StoreError(error),
            },
            Err(error) => CasError::StoreError(error),
        }))
    }
}

impl atomics::HostCas for KeyValue<'_> {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> wasmtime::Result<Result<Resource<Cas>, Error>> {
        let store = self.store(&bucket)?;
        match self.look(store, key).await {
            Ok(cas) => self.hold(cas),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn current(&mut self, cas: Resource<Cas>) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        Ok(Ok(bytes(self.table.get(&cas)?.was.clone())))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.release(cas)?;
        Ok(())
    }
}

impl batch::Host for KeyValue<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<(String, Option<Vec<u8>>)>, Error>> {
        let store = self.store(&bucket)?;
        Ok(self.session.get_many(&store, keys).await)
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let store = self.store(&bucket)?;
        let writes = pairs.into_iter().map(|(key, value)| set(store.clone(), key, value)).collect();
        Ok(self.session.put_many(writes).await)
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let store = self.store(&bucket)?;
        let delete = |key| Ok(Write::Delete { store: store.clone(), key: checked(key)? });
        let writes = keys.into_iter().map(delete).collect();
        Ok(self.session.put_many(writes).await)
    }
}

impl Session {
    async fn get_many(&mut self, store: &str, keys: Vec<String>) -> Result<Vec<(String, Option<Vec<u8>>)>, Error> {
        if keys.len() > GET_MANY_MAX {
            return Err(definite("get-many takes at most 256 keys"));
        }
        let mut pairs = Vec::with_capacity(keys.len());
        let mut room = GET_MANY_BYTES_MAX;
        for keys in keys.chunks(BATCH_MAX) {
            let get = |key: &String| Ok(Query::Get { store: store.to_owned(), key: checked(key.clone())? });
            let queries = keys.iter().map(get).collect::<Result<_, Error>>()?;
            for (key, answer) in keys.iter().zip(self.read(queries).await?) {
                let Answer::Value(value) = answer else { return Err(strange()) };
                let value = bytes(value);
                room = room
                    .checked_sub(value.as_ref().map_or(0, Vec::len))
                    .ok_or_else(|| definite("get-many gives at most 16 MiB; ask for fewer keys"))?;
                pairs.push((key.clone(), value));
            }
        }
        Ok(pairs)
    }

    async fn put_many(&mut self, writes: Result<Vec<Write>, Error>) -> Result<(), Error> {
        let writes = writes?;
        if writes.len() > BATCH_MAX {
            return Err(definite("a batch that is all or none has at most 64 keys"));
        }
        self.put(writes).await
    }
}

fn bytes(value: Option<Versioned>) -> Option<Vec<u8>> {
    value.map(|value| value.value.to_vec())
}

fn set(store: String, key: String, value: Vec<u8>) -> Result<Write, Error> {
    fits(&value)?;
    Ok(Write::Set { store, key: checked(key)?, value: value.into() })
}

fn checked(key: String) -> Result<String, Error> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(definite("a key has 1 to 1,024 bytes"));
    }
    Ok(key)
}

fn fits(value: &[u8]) -> Result<(), Error> {
    if value.len() > VALUE_BYTES_MAX { Err(definite("a value has at most 1 MiB")) } else { Ok(()) }
}

fn definite(why: &str) -> Error {
    Error::Other(format!("definite: {why}"))
}

/// The cell answered something else than was asked. Whether a write was made is then unknown.
fn strange() -> Error {
    Error::Other("indefinite: the cell's answer does not fit the question".to_owned())
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match (refusal.certainty, refusal.code) {
            (Certainty::Definite, Code::NotFound) => Self::NoSuchStore,
            (Certainty::Definite, Code::Unauthorised | Code::Fenced) => Self::AccessDenied,
            (
                Certainty::Definite,
                Code::Conflict
                | Code::Unplaceable
                | Code::Full
                | Code::Timeout
                | Code::Unreachable
                | Code::Invalid
                | Code::Unsupported
                | Code::DiskFailed
                | Code::Expired
                | Code::NotLeader
                | Code::InstanceFailed,
            ) => Self::Other(format!("definite: {}", refusal.detail)),
            (Certainty::Indefinite, _) => Self::Other(format!("indefinite: {}", refusal.detail)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: &str) -> Vec<Write> {
        vec![Write::Delete { store: "s".into(), key: key.into() }]
    }

    fn repeatable(key: &str) -> Ops {
        Ops::Repeatable { key: SessionId::of(key.as_bytes()), written: 0, repetitions: BTreeMap::new() }
    }

    #[test]
    fn a_repeated_request_names_the_writes_that_it_repeats_alike_and_only_those() {
        let (mut first, mut again) = (repeatable("key"), repeatable("key"));
        let claim = first.of(&write("claim")).unwrap();
        let entry = first.of(&write("entry")).unwrap();
        // The first attempt died behind its writes; the second need not claim again and writes the entry at once.
        assert_eq!(again.of(&write("entry")).unwrap(), entry);
        assert_ne!(claim, entry);
        assert_ne!(repeatable("another").of(&write("claim")).unwrap(), claim);
    }

    #[test]
    fn the_same_write_twice_in_one_request_is_two_ops() {
        let mut ops = repeatable("key");
        assert_ne!(ops.of(&write("tally")).unwrap(), ops.of(&write("tally")).unwrap());
    }
}
