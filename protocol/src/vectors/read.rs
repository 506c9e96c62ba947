//! Reads the vectors from the files, with nothing but what is public, and says of each what it must be.
use serde_json::Value;

use super::{
    made::{hex, lineages::shown},
    stored,
};
use crate::{
    bundle::BundleHead,
    cell::{
        Carried, CellGenesis, Command, DataBatch, Entry, Grant, Missed, Receipt, Recovered, Recovery, RecoveryPapers,
        Renewal, State, Support, TenantCommand,
    },
    charter::{Ballot, Claim, Invite, Motion, Stamp},
    codec,
    frame::Frame,
    id::{ContentHash, MeshId, OperatorId, TenantId},
    identity::{
        BadSignature, Envelope, Envelopes, Founding, Genesis, Keypair, Lineage, LineageError, NodeCertificate,
        PublicKey, Ruling, Signature, Signed, Statement, Succession, Verified,
    },
    outbound::{Destination, forbidden},
    record::{Inserted, Keyring, Known, Record, RecordBody, RecordSet, Refused, Settled, Shared, Tier},
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
fn lineages_are_judged_as_the_vectors_say() {
    let file = stored("lineages.json");
    let read = |value: &Value| codec::decode::<Lineage>("lineage", &bytes(value)).unwrap();
    for case in list(&file["lineages"]) {
        let lineage = read(&case["bytes"]);
        let (judged, descent) = match lineage.descent() {
            Ok(_) if lineage.verify().is_err() => ("signature", Value::Null),
            Ok(descent) => ("valid", shown(&descent)),
            Err(LineageError::Genesis) => ("Genesis", Value::Null),
            Err(LineageError::TooLong) => ("TooLong", Value::Null),
            Err(LineageError::Unreadable) => ("Unreadable", Value::Null),
            Err(LineageError::Gap(_)) => ("Gap", Value::Null),
            Err(LineageError::NotHeld(_)) => ("NotHeld", Value::Null),
            Err(LineageError::Unauthorised(_)) => ("Unauthorised", Value::Null),
            Err(LineageError::OldKey(_)) => ("OldKey", Value::Null),
        };
        assert_eq!((&case["verdict"], &case["descent"]), (&judged.into(), &descent), "{}", case["what"]);
    }
    for case in list(&file["standings"]) {
        let [one, other] = ["one", "other"].map(|it| read(&case[it]).verify().unwrap());
        assert_eq!(case["standing"], format!("{:?}", one.against(&other)), "{}", case["what"]);
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
            Motion::DOMAIN => verdict::<Motion>(&bytes),
            Ballot::DOMAIN => verdict::<Ballot>(&bytes),
            Invite::DOMAIN => verdict::<Invite>(&bytes),
            Claim::DOMAIN => verdict::<Claim>(&bytes),
            Stamp::DOMAIN => verdict::<Stamp>(&bytes),
            Ruling::DOMAIN => verdict::<Ruling>(&bytes),
            Renewal::DOMAIN => verdict::<Renewal>(&bytes),
            Support::DOMAIN => verdict::<Support>(&bytes),
            Missed::DOMAIN => verdict::<Missed>(&bytes),
            Recovery::DOMAIN => verdict::<Recovery>(&bytes),
            Carried::DOMAIN => verdict::<Carried>(&bytes),
            Grant::DOMAIN => verdict::<Grant>(&bytes),
            Receipt::DOMAIN => verdict::<Receipt>(&bytes),
            BundleHead::DOMAIN => verdict::<BundleHead>(&bytes),
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
        let known = Verified::check(Known::read(record).unwrap(), |_| false).expect("its signatures hold");
        Shared::new(known.into_inner())
    };
    let why = |reason: &Refused| format!("{reason:?}").split('(').next().unwrap().to_owned();
    for case in list(&file["each"]) {
        let judged = match RecordSet::new(mesh, home, Keyring::default()).insert(&read(case), now) {
            Inserted::Fresh => "fresh".to_owned(),
            Inserted::Refused(reason) => why(&reason),
            other => panic!("{}: {other:?}", case["what"]),
        };
        assert_eq!(case["verdict"], judged, "{}", case["what"]);
    }
    let mut set = RecordSet::new(mesh, home, Keyring::default());
    for case in list(&file["in_order"]) {
        let judged = match set.insert(&read(case), now) {
            Inserted::Fresh => "fresh".to_owned(),
            Inserted::Newer(_) => "newer".to_owned(),
            Inserted::Duplicate => "duplicate".to_owned(),
            Inserted::Stale => "stale".to_owned(),
            Inserted::Contradiction { .. } => "contradiction".to_owned(),
            Inserted::Refused(reason) => why(&reason),
        };
        assert_eq!(case["verdict"], judged, "{}", case["what"]);
        // What a word about keys has voided goes.
        set.news();
    }
}

#[test]
fn what_is_held_sums_up_as_the_vectors_say() {
    let file = stored("records.json");
    let (mesh, home) = (MeshId(array(&file["mesh"])), file["home"].as_str().unwrap().parse().unwrap());
    let now = Timestamp(file["now"].as_u64().unwrap());
    let mut set = RecordSet::new(mesh, home, Keyring::default());
    for record in list(&file["digest"]["records"]) {
        let record: Record = codec::decode("record", &bytes(record)).unwrap();
        assert_eq!(set.insert(&Shared::new(Known::read(record).unwrap()), now), Inserted::Fresh);
    }
    let sums: Vec<Value> =
        set.digest(Tier::Home, Settled::with_young(now)).iter().map(|sum| hex(&sum.to_be_bytes()).into()).collect();
    assert_eq!(&sums, list(&file["digest"]["sums"]));
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
    let survivor = State::decode(&bytes(&file["survivor"])).unwrap();
    let node = survivor.node_of(crate::id::ReplicaId(1)).unwrap();
    for case in list(&file["recoveries"]) {
        let papers: RecoveryPapers = codec::decode("recovery", &bytes(&case["bytes"])).unwrap();
        let at = Timestamp(case["at"].as_u64().unwrap());
        // Whose word it is that it was carried out, is not looked at by who says it.
        let unsigned = |carried: &Carried| Signed::seal(&Keypair::from_secret(&[1; 32]), carried);
        let judged =
            survivor.recover(papers, at, unsigned).map(|next| (next.line(), next.writer(), next.members().count()));
        match judged {
            Ok(next) => {
                assert_eq!(next, (2, 2, 1));
                assert!(case["code"].is_null(), "{}", case["what"]);
            }
            Err(refusal) => assert_eq!(case["code"], serde_json::to_value(refusal.code).unwrap(), "{}", case["what"]),
        }
    }
    for case in list(&file["recovered"]) {
        let recovered: Recovered = codec::decode("recovered", &bytes(&case["bytes"])).unwrap();
        let judged = survivor.is_ended_by(&recovered);
        assert_eq!(case["code"].is_null(), judged.as_ref().is_ok_and(|it| it.base.node == node), "{}", case["what"]);
    }
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
    for (kind, file) in [
        ("Gossip", "membership/wire"),
        ("Cell", "cell/wire"),
        ("Birth", "birth/wire"),
        ("Route", "route/wire"),
        ("Reach", "reach/find"),
    ] {
        let section = page.split_once(&format!("## protocol/src/{file}.rs\n")).unwrap().1;
        let section = section.split("\n## ").next().unwrap().split_once("### Message\n").unwrap().1;
        let rows = section.split("\n### ").next().unwrap().lines().filter(|line| line.starts_with("| "));
        let mut count = 0;
        for row in rows.skip(1) {
            let mut cells = row.split('|').map(str::trim).skip(1);
            let (number, name) = (cells.next().unwrap(), cells.next().unwrap().trim_matches('`'));
            if number.parse::<u64>().is_ok() {
                count += 1;
                assert!(has(&format!("{kind} {name}")), "{kind} {name} has no vector: add one in vectors/made/");
            }
        }
        assert!(count > 1, "the page is read as it is written");
    }
    let statements = stored("statements.json");
    let signed = page.lines().filter_map(|line| line.strip_suffix("`.")?.split_once("` is signed under `"));
    // The founding is signed by nobody, and successions have a file of their own.
    let elsewhere = [Founding::DOMAIN, Succession::DOMAIN];
    for (name, domain) in signed.filter(|(_, domain)| !elsewhere.contains(domain)) {
        let judged = list(&statements["statements"]).iter().any(|case| case["read_as"] == domain);
        assert!(judged, "{name} has no vector: add one in vectors/made/");
    }
}
