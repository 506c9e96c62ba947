//! Whatever is signed, by the domain that its envelope names: read, and written again to the same bytes.
use bocage_node::control::auth::ControlRequest;
use bocage_protocol::{
    cell::fixture::{FOUNDED, mesh},
    cell::{DataBatch, Grant, Receipt, Renewal, Support, TenantCommand},
    codec,
    identity::{Envelope, Genesis, NodeCertificate, Signed, Statement},
    record::RecordBody,
};

use super::{Target, world};

pub(super) const TARGET: Target = Target {
    name: "statement",
    about: "signed statements of every kind",
    run,
    seeds: world::statements,
    bytes_max: 32 << 10,
    heap: Some((64, 64 << 10)),
};

fn run(bytes: &[u8]) {
    let Ok(envelope) = codec::decode::<Envelope>("envelope", bytes) else { return };
    let _ = envelope.digest();
    match envelope.domain.as_str() {
        Genesis::DOMAIN => {
            if let Some(genesis) = open::<Genesis>(bytes) {
                let _ = (genesis.operator(), genesis.tenant());
            }
        }
        NodeCertificate::DOMAIN => {
            open::<NodeCertificate>(bytes);
            if let Ok(signed) = codec::decode("certificate", bytes) {
                let _ = NodeCertificate::accept(&signed, mesh(), FOUNDED).map_err(|error| error.to_string());
            }
        }
        RecordBody::DOMAIN => drop(open::<RecordBody>(bytes)),
        TenantCommand::DOMAIN => drop(open::<TenantCommand>(bytes)),
        DataBatch::DOMAIN => drop(open::<DataBatch>(bytes)),
        Renewal::DOMAIN => drop(open::<Renewal>(bytes)),
        Support::DOMAIN => drop(open::<Support>(bytes)),
        Grant::DOMAIN => drop(open::<Grant>(bytes)),
        Receipt::DOMAIN => drop(open::<Receipt>(bytes)),
        ControlRequest::DOMAIN => drop(open::<ControlRequest>(bytes)),
        _ => {}
    }
}

fn open<T: Statement + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let signed = codec::decode::<Signed<T>>("statement", bytes).ok()?;
    let statement = signed.open().ok()?;
    let again =
        codec::decode::<T>("statement", &codec::encode(&statement)).expect("what was read can be written and read");
    assert_eq!(statement, again);
    let _ = format!("{statement:?}");
    Some(statement)
}
