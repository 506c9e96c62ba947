//! Withheld records: the liar says that it has what others said, for its headers go out; the records themselves it gives
//! to nobody, neither down the tree nor when asked.
use bocage_protocol::{frame::Frame, id::NodeId};

use super::{Lie, Stage, is_by, with_records};

pub(super) struct Withheld;

impl Lie for Withheld {
    fn leaves(&mut self, stage: &mut Stage, _: NodeId, frame: Frame) -> Option<Frame> {
        let me = stage.identity.node();
        Some(with_records(frame, |parcel| {
            if is_by(parcel, me) {
                return Some(parcel.clone());
            }
            *stage.touched += 1;
            None
        }))
    }
}
