//! What a member of a cell may send to another: raft's messages in our encoding, proposals, reads; `[[from, after_ms,
//! message]…]`, into a replica that has just started from its disk. What gets past the letter box is stepped by raft.
use std::{collections::VecDeque, time::Duration};

use bocage_protocol::{
    cell::{CellConfig, Input, Message, Output, Replica, fixture::FOUNDED},
    codec::{self, Blob},
    machine::Machine,
    random::Seed,
    time::{Instant, Now},
};

use super::{Target, world};

pub(super) const TARGET: Target = Target {
    name: "letter",
    about: "messages of a cell's members into a replica: raft's step behind our letter box",
    run,
    seeds: world::letters,
    bytes_max: 32 << 10,
    heap: None,
};

fn run(bytes: &[u8]) {
    let Ok(letters) = codec::decode::<Vec<(u8, u64, Blob)>>("letters", bytes) else { return };
    let cell = world::cell();
    let mut now = Now { instant: Instant::START, wall: FOUNDED + Duration::from_mins(1) };
    let me = cell.hosts[0].identity();
    let mut replica = Replica::open(CellConfig::default(), Seed([1; 32]), me, cell.id, cell.boot.clone(), now)
        .expect("the replica of the fixture opens");
    drain(&mut replica, now);
    for (from, after_ms, message) in letters.into_iter().take(64) {
        let Ok(message) = codec::decode::<Message>("message of a cell", &message) else { continue };
        // As the transport does, but that every signature counts as valid.
        if message.check(&mut |_| true).is_err() {
            continue;
        }
        let after = Duration::from_millis(after_ms.min(5_000));
        now = Now { instant: now.instant + after, wall: now.wall + after };
        replica.handle_timeout(now);
        drain(&mut replica, now);
        let from = cell.hosts[usize::from(from) % cell.hosts.len()].node();
        replica.handle_input(now, Input::Received { from, message });
        drain(&mut replica, now);
    }
    assert_eq!(replica.stopped(), None, "nothing that a peer sends stops a replica");
}

/// Writes are durable at once; whatever is fetched is not there.
fn drain(replica: &mut Replica, now: Now) {
    let mut inputs = VecDeque::new();
    for _ in 0..20_000 {
        while let Some(output) = replica.poll_output() {
            match output {
                Output::Persist { write, .. } => inputs.push_back(Input::Persisted(write)),
                Output::Fetch { content, .. } => inputs.push_back(Input::Fetched { content, bytes: None }),
                Output::Send { .. }
                | Output::Provide { .. }
                | Output::Withdraw { .. }
                | Output::Outcome { .. }
                | Output::Answers { .. }
                | Output::Described(_)
                | Output::Seek(_)
                | Output::Left
                | Output::Ended(_)
                | Output::Carried { .. }
                | Output::Sleeps(_)
                | Output::Notice(_) => {}
            }
        }
        let Some(input) = inputs.pop_front() else { return };
        replica.handle_input(now, input);
    }
    panic!("the replica does not come to rest");
}
