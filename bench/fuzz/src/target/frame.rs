//! Frames as peers send them: read, checked, written again.
use bocage_protocol::{frame::Frame, wire::WireRange};

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
    let spoken = WireRange::default();
    let Ok(frame) = Frame::decode(bytes, spoken) else { return };
    for version in spoken.oldest()..=spoken.newest() {
        let again =
            Frame::decode(&frame.encode(version), spoken).expect("a frame that was read can be written and read");
        assert_eq!(frame, again, "a frame is the same after it was written and read");
    }
    let again = frame.clone();
    let _ = frame.urgency();
    // Signatures count as valid: what is behind them is read too.
    if let Ok(frame) = frame.check(|_| true) {
        assert_eq!(frame.into_inner(), again);
    }
}

#[cfg(test)]
mod tests {
    use bocage_protocol::wire::WIRE_OLDEST;

    use super::*;
    use crate::corpus;

    /// The seeds were written by that version's own code.
    #[test]
    fn what_the_previous_version_wrote_is_read_and_written_alike() {
        let of_it = |(_, bytes): &(String, Vec<u8>)| u16::from(bytes[1]) == WIRE_OLDEST;
        let frames: Vec<_> = corpus::load(&TARGET).unwrap().into_iter().filter(of_it).collect();
        assert!(frames.len() > 40, "{} frames", frames.len());
        for (name, bytes) in frames {
            let frame = Frame::decode(&bytes, WireRange::up_to(WIRE_OLDEST).unwrap()).unwrap();
            assert!(*frame.encode(WIRE_OLDEST) == *bytes, "{name}");
        }
    }
}
