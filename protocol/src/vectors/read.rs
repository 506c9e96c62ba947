//! Reads the vectors from the files, with nothing but what is public, and says of each what it must be.
use serde_json::Value;

use super::{made::hex, stored};
use crate::{
    cell::{CellGenesis, Command, DataBatch, Entry, Grant, Receipt, Renewal, State, Support, TenantCommand},
    codec,
    frame::Frame,
    id::{ContentHash, MeshId, OperatorId, TenantId},
    identity::{
        BadSignature, Envelope, Envelopes, Founding, Genesis, Keypair, NodeCertificate, PublicKey, Signature, Signed,
        Statement, Verified,
    },
    outbound::{Destination, forbidden},
    record::{Inserted, Known, Record, RecordBody, RecordSet, Shared},
    refusal::Code,
    time::Timestamp,
    wire::WireRange,
};

fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn list(value: &Value) -> &Vec<Value> {
    let list = value.as_array().unwrap();
    assert!(!list.is_empty());
    list
}

#[test]
fn keys_sign_and_ids_name_as_the_vectors_say() {
    let keys = stored("keys.json");
    for pair in list(&keys["ed25519"]) {
        let secret = Keypair::from_secret(&array(&pair["secret"]));
        let envelope = Envelope {
            domain: pair["domain"].as_str().unwrap().to_owned(),
            payload: bytes(&pair["payload"]).into(),
            key: PublicKey(array(&pair["public"])),
            signature: Signature(array(&pair["signature"])),
        };
        assert_eq!((secret.public(), secret.secret()), (envelope.key, array(&pair["secret"])));
        assert_eq!(pair["node_id"], secret.node().to_string());
        envelope.check().unwrap();
        assert_eq!(bytes(&pair["message"]), [envelope.domain.as_bytes(), &[0], &envelope.payload].concat());
    }
    for id in list(&keys["ids"]) {
        let bytes = bytes(&id["bytes"]);
        let named = match id["of"].as_str().unwrap() {
            "operator" => OperatorId::of(&bytes).to_string(),
            "tenant" => TenantId::of(&bytes).to_string(),
            "mesh" => MeshId::of(&bytes).to_string(),
            "content" => ContentHash::of(&bytes).to_string(),
            other => panic!("ids of {other} are not read yet"),
        };
        assert_eq!(id["id"], named);
    }
}

/// What a reader says of bytes that shall be a signed `T`.
fn verdict<T: Statement>(bytes: &[u8]) -> &'static str {
    let Ok(signed) = codec::decode::<Signed<T>>("signed statement", bytes) else { return "malformed" };
    match signed.verify() {
        Ok(_) => "valid",
        Err(BadSignature::Invalid { .. }) => "signature",
        Err(BadSignature::WrongDomain { .. }) => "domain",
        Err(BadSignature::Payload(_)) => "malformed",
    }
}

#[test]
fn statements_are_judged_as_the_vectors_say() {
    for case in list(&stored("statements.json")["statements"]) {
        let bytes = bytes(&case["bytes"]);
        let judged = match case["read_as"].as_str().unwrap() {
            Genesis::DOMAIN => verdict::<Genesis>(&bytes),
            NodeCertificate::DOMAIN => verdict::<NodeCertificate>(&bytes),
            RecordBody::DOMAIN => verdict::<RecordBody>(&bytes),
            TenantCommand::DOMAIN => verdict::<TenantCommand>(&bytes),
            DataBatch::DOMAIN => verdict::<DataBatch>(&bytes),
            Renewal::DOMAIN => verdict::<Renewal>(&bytes),
            Support::DOMAIN => verdict::<Support>(&bytes),
            Grant::DOMAIN => verdict::<Grant>(&bytes),
            Receipt::DOMAIN => verdict::<Receipt>(&bytes),
            other => panic!("{other} is not read yet"),
        };
        assert_eq!(case["verdict"], judged, "{}", case["what"]);
    }
}

#[test]
fn frames_are_judged_as_the_vectors_say() {
    for case in list(&stored("frames.json")["frames"]) {
        let bytes = bytes(&case["bytes"]);
        let judged = match Frame::decode(&bytes, WireRange::default()) {
            Err(_) => "malformed",
            Ok(frame) => {
                if let Some(version) = case["version"].as_u64() {
                    let again = frame.encode(u16::try_from(version).unwrap());
                    assert_eq!(hex(&again), case["bytes"].as_str().unwrap(), "{}", case["what"]);
                }
                if frame.check(|_| false).is_ok() { "valid" } else { "signature" }
            }
        };
        assert_eq!(case["verdict"], judged, "{}", case["what"]);
    }
}

/// A node of the previous version reads what is meant for it, and nothing else.
#[test]
fn the_previous_version_reads_its_own_frames_alone() {
    let previous = WireRange::up_to(1).unwrap();
    for case in list(&stored("frames.json")["frames"]).iter().filter(|case| case["verdict"] == "valid") {
        let read = Frame::decode(&bytes(&case["bytes"]), previous).is_ok();
        assert_eq!(read, case["version"] == 1, "{}", case["what"]);
    }
}

#[test]
fn records_are_judged_as_the_vectors_say() {
    let file = stored("records.json");
    let (mesh, home) = (MeshId(array(&file["mesh"])), file["home"].as_str().unwrap().parse().unwrap());
    let now = Timestamp(file["now"].as_u64().unwrap());
    let read = |case: &Value| {
        let record: Record = codec::decode("record", &bytes(&case["bytes"])).unwrap();
        let record = Verified::check(record, |_| false).expect("its signatures hold").into_inner();
        Shared::new(Known::read(record).unwrap())
    };
    for case in list(&file["each"]) {
        let judged = match RecordSet::new(mesh, home).insert(&read(case), now) {
            Inserted::Fresh => "fresh".to_owned(),
            Inserted::Refused(reason) => format!("{reason:?}"),
            other => panic!("{}: {other:?}", case["what"]),
        };
        assert_eq!(case["verdict"], judged, "{}", case["what"]);
    }
    let mut set = RecordSet::new(mesh, home);
    for case in list(&file["in_order"]) {
        let judged = match set.insert(&read(case), now) {
            Inserted::Fresh => "fresh",
            Inserted::Newer(_) => "newer",
            Inserted::Duplicate => "duplicate",
            Inserted::Stale => "stale",
            Inserted::Contradiction { .. } => "contradiction",
            Inserted::Refused(reason) => panic!("{}: {reason}", case["what"]),
        };
        assert_eq!(case["verdict"], judged, "{}", case["what"]);
    }
}

#[test]
fn a_cell_comes_to_the_state_that_the_vectors_say() {
    let file = stored("cells.json");
    let genesis: CellGenesis = codec::decode("cell genesis", &bytes(&file["genesis"])).unwrap();
    assert_eq!(file["cell"], genesis.cell().to_string());
    let mut state = State::found(&genesis).unwrap();
    assert_eq!(file["digest"], hex(&state.digest()));
    for case in list(&file["entries"]) {
        let entry: Entry = codec::decode("cell entry", &bytes(&case["bytes"])).unwrap();
        for envelope in signatures(&entry.command) {
            envelope.check().expect("whose command it is, is checked at apply; that it is signed, before");
        }
        let effects = state.apply(case["index"].as_u64().unwrap(), &entry);
        assert_eq!(case["outcome"], hex(&codec::encode(&effects.outcome)), "{}", case["what"]);
        assert_eq!(case["digest"], hex(&state.digest()), "{}", case["what"]);
    }
    assert_eq!(file["state"], hex(&state.encode()));
    assert_eq!(State::decode(&bytes(&file["state"])).unwrap().digest(), state.digest());
    for case in list(&file["refused"]) {
        let genesis: CellGenesis = codec::decode("cell genesis", &bytes(&case["genesis"])).unwrap();
        let refused: Code = State::found(&genesis).unwrap_err().code;
        assert_eq!(case["code"], serde_json::to_value(refused).unwrap(), "{}", case["what"]);
    }
}

fn signatures(command: &Command) -> Vec<&Envelope> {
    let mut envelopes = Vec::new();
    command.envelopes(&mut envelopes);
    envelopes
}

#[test]
fn guests_are_let_out_as_the_vectors_say() {
    let file = stored("outbound.json");
    for case in list(&file["addresses"]) {
        let address = case["address"].as_str().unwrap().parse().unwrap();
        assert_eq!(case["reached"], forbidden(address).is_none(), "{address}");
    }
    for case in list(&file["destinations"]) {
        let text = case["text"].as_str().unwrap();
        assert_eq!(case["lawful"], text.parse::<Destination>().is_ok(), "{text}");
    }
}

/// The names of an enum's variants, or the domains of statements, as `docs/encodings.md` has them from the code.
fn encodings() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/encodings.md");
    std::fs::read_to_string(path).unwrap()
}

/// A kind that is added to the code without a vector fails here.
#[test]
fn every_frame_and_every_statement_has_a_vector() {
    let page = encodings();
    let frames = stored("frames.json");
    let has = |wanted: &str| {
        list(&frames["frames"]).iter().any(|case| {
            let rest = case["what"].as_str().unwrap().strip_prefix(wanted);
            case["verdict"] == "valid" && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',']))
        })
    };
    for (kind, file) in [("Gossip", "membership"), ("Cell", "cell"), ("Birth", "birth"), ("Route", "route")] {
        let section = page.split_once(&format!("## protocol/src/{file}/wire.rs\n")).unwrap().1;
        let section = section.split("\n## ").next().unwrap().split_once("### Message\n").unwrap().1;
        let rows = section.split("\n### ").next().unwrap().lines().filter(|line| line.starts_with("| "));
        let mut count = 0;
        for row in rows.skip(1) {
            let mut cells = row.split('|').map(str::trim).skip(1);
            let (number, name) = (cells.next().unwrap(), cells.next().unwrap().trim_matches('`'));
            if number.parse::<u64>().is_ok() {
                count += 1;
                assert!(has(&format!("{kind} {name}")), "{kind} {name} has no vector: add one in vectors/made.rs");
            }
        }
        assert!(count > 2, "the page is read as it is written");
    }
    let statements = stored("statements.json");
    let signed = page.lines().filter_map(|line| line.strip_suffix("`.")?.split_once("` is signed under `"));
    for (name, domain) in signed.filter(|(_, domain)| *domain != Founding::DOMAIN) {
        let judged = list(&statements["statements"]).iter().any(|case| case["read_as"] == domain);
        assert!(judged, "{name} has no vector: add one in vectors/made.rs");
    }
}
