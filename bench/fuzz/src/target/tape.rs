//! A record of a tape: whoever plays one has it from somebody else.
use bocage_protocol::{
    codec::Blob,
    command::Command,
    context::Context,
    id::{CellId, RequestId, WriteId},
    identity::Verified,
    io::{Input, LinkChange},
    store::CellBoot,
    tape::{End, Record},
    time::{Instant, Now},
};

use super::{Target, world};

pub(super) const TARGET: Target = Target {
    name: "tape",
    about: "a record of a tape that somebody else recorded",
    run,
    seeds,
    bytes_max: 64 << 10,
    heap: None,
};

fn run(bytes: &[u8]) {
    let Ok(record) = Record::decode(bytes) else { return };
    let again = Record::decode(&record.encode()).expect("a record that was read can be written and read");
    assert_eq!(record, again, "a record is the same after it was written and read");
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let from = world::hosts()[1].node();
    let step = |input: Option<&Input>| Record::step(Now::default(), input);
    let command =
        |command| Input::Command { context: Context::until(RequestId(1), Instant::START), command: Box::new(command) };
    let mut all = vec![
        ("timeout".to_owned(), step(None)),
        ("persisted".to_owned(), step(Some(&Input::Persisted(WriteId(1))))),
        ("link".to_owned(), step(Some(&Input::Link { peer: from, change: LinkChange::Down }))),
        ("command".to_owned(), step(Some(&command(Command::Resolve { host: "guestbook.localhost".into() })))),
        ("offer".to_owned(), step(Some(&command(Command::Offer(None))))),
        ("keyed".to_owned(), Record::keyed(&"key".into(), &"value".into())),
        ("cell".to_owned(), Record::cell(CellId([1; 32]), &CellBoot::default())),
        ("done".to_owned(), Record::Done { signatures: Vec::new(), outputs: Blob::from(vec![7; 32]) }.encode()),
        ("end".to_owned(), Record::End(End::Stopped).encode()),
    ];
    for (name, frame) in world::all_frames() {
        let input = Input::Received { from, frame: Verified::own(frame) };
        all.push((format!("frame-{name}"), step(Some(&input))));
    }
    all.into_iter().map(|(name, record)| (name, record.to_vec())).collect()
}
