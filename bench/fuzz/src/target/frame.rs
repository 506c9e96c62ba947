//! Frames as peers send them: read, checked, written again.
use bocage_protocol::frame::Frame;

use super::{Target, world};

pub(super) const TARGET: Target = Target {
    name: "frame",
    about: "what a peer sends on a stream of frames",
    run,
    seeds: world::frames,
    bytes_max: 64 << 10,
    heap: Some((160, 16 << 10)),
};

fn run(bytes: &[u8]) {
    let Ok(frame) = Frame::decode(bytes) else { return };
    let again = Frame::decode(&frame.encode()).expect("a frame that was read can be written and read");
    assert_eq!(frame, again, "a frame is the same after it was written and read");
    let _ = frame.urgency();
    // Signatures count as valid: what is behind them is read too.
    if let Ok(frame) = frame.check(|_| true) {
        assert_eq!(frame.into_inner(), again);
    }
}
