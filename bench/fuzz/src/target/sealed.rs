//! Sealed secrets as a cell's state carries them: whoever wrote them was a tenant, whoever opens them is a host.
use std::sync::OnceLock;

use bocage_node::sealing;
use bocage_protocol::{
    cell::{Secrets, fixture},
    codec,
    identity::Keypair,
};

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "sealed",
    about: "an app's sealed secrets, opened by a host",
    run,
    seeds,
    bytes_max: 8 << 10,
    heap: Some((64, 256 << 10)),
};

fn keys() -> &'static Keypair {
    static KEYS: OnceLock<Keypair> = OnceLock::new();
    KEYS.get_or_init(|| fixture::hosts(1)[0].keys.clone())
}

fn run(bytes: &[u8]) {
    let Ok(secrets) = codec::decode::<Secrets>("secrets", bytes) else { return };
    if let Ok(values) = sealing::open_all(&secrets, keys()) {
        assert_eq!(values.len(), secrets.values.len());
    }
}

/// Written once: sealing draws fresh keys.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let tenant = fixture::Party::tenant("tess").keys;
    let holders = [(keys().node(), sealing::sealing_public(keys()))];
    let values = [("TOKEN".to_owned(), b"s3cret".to_vec()), ("OTHER".to_owned(), Vec::new())];
    vec![("two".into(), codec::encode(&sealing::seal_all(1, &tenant, &holders, &values)).to_vec())]
}
