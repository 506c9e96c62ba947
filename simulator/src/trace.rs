//! The trace: one hash over every input and output of every node, with its time. Two runs that differ anywhere, if only
//! by a delivery moved by 1 ns, have different traces; so equal hashes in two processes mean equal runs.
use std::{convert::Infallible, fmt};

use bocage_protocol::{
    codec::Blob,
    command::{Command, Reply},
    frame::Frame,
    io::{Input, LinkChange, Output},
    notice::Notice,
    route::RouteDelta,
    store,
    wire::{WIRE_NEWEST, Wire},
};
use minicbor::{Encode, encode};

/// A fast streaming hash of 128 bits, the same on every machine. Not for adversaries: for noticing differences.
///
/// Two lanes of folded multiplication, the idea of wyhash.
#[derive(Clone, Debug)]
pub(crate) struct Mixer {
    lanes: [u64; 2],
    /// Bytes that do not fill a word yet, in its low end.
    tail: u64,
    tail_bits: u32,
    len: u64,
}

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xe703_7ed1_a0b4_28db;
const THIRD: u64 = 0x8ebc_6af0_9c88_c6e3;

impl Default for Mixer {
    fn default() -> Self {
        Self { lanes: [FIRST, SECOND], tail: 0, tail_bits: 0, len: 0 }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "both halves are taken")]
const fn fold(x: u64, y: u64) -> u64 {
    let product = (x as u128) * (y as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Mixer {
    /// Takes a number in.
    pub(crate) fn word(&mut self, word: u64) {
        let [first, second] = self.lanes;
        self.lanes = [fold(first ^ word, SECOND).wrapping_add(second), fold(second ^ word ^ FIRST, THIRD) ^ first];
    }

    /// Takes numbers in.
    pub(crate) fn words<const N: usize>(&mut self, words: [u64; N]) {
        for word in words {
            self.word(word);
        }
    }

    /// Takes bytes in; the same however they are cut into calls.
    pub(crate) fn bytes(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        while let Some((chunk, rest)) = bytes.split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            if self.tail_bits == 0 {
                self.word(word);
            } else {
                self.word(self.tail | (word << self.tail_bits));
                self.tail = word >> (64 - self.tail_bits);
            }
            bytes = rest;
        }
        for byte in bytes {
            self.tail |= u64::from(*byte) << self.tail_bits;
            self.tail_bits += 8;
            if self.tail_bits == 64 {
                let word = std::mem::take(&mut self.tail);
                self.tail_bits = 0;
                self.word(word);
            }
        }
    }

    /// Takes the encoding of a value in.
    pub(crate) fn value<T: Encode<()>>(&mut self, value: &T) {
        match minicbor::encode(value, &mut *self) {
            Ok(()) => {}
            Err(_) => unreachable!("a mixer takes every byte"),
        }
    }

    /// Takes a value in as it is shown: for rare ones without an encoding.
    pub(crate) fn shown(&mut self, value: &impl fmt::Debug) {
        fmt::Write::write_fmt(self, format_args!("{value:?}")).expect("a mixer takes every byte");
    }

    /// Bytes taken in so far.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// The hash of all that was taken in.
    pub(crate) fn finish(&self) -> u128 {
        let mut last = self.clone();
        last.word(self.tail);
        last.word(self.len);
        last.word(SECOND);
        (u128::from(last.lanes[0]) << 64) | u128::from(last.lanes[1])
    }
}

impl encode::Write for Mixer {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.bytes(bytes);
        Ok(())
    }
}

impl fmt::Write for Mixer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// Most frames are shorter.
const FRAME_BYTES_OFTEN: usize = 1 << 10;

/// A frame's hash and its length on the wire, made once when it is sent and shared by all who receive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameMark {
    pub(crate) digest: u128,
    pub(crate) size_bytes: u64,
}

impl FrameMark {
    pub(crate) fn of(wire: u16, frame: &Frame) -> Self {
        // As a whole: encoders write a few bytes at a time, and a mixer takes words.
        let mut bytes = Vec::with_capacity(FRAME_BYTES_OFTEN);
        match minicbor::encode_with((wire, frame), &mut bytes, &mut Wire(wire)) {
            Ok(()) => {}
            Err(_) => unreachable!("a vector takes every byte"),
        }
        let mut mixer = Mixer::default();
        mixer.bytes(&bytes);
        Self { digest: mixer.finish(), size_bytes: mixer.len() }
    }
}

/// Which way a step went, and of which machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Opened = 1,
    Input = 2,
    Timeout = 3,
    Output = 4,
    StoreInput = 5,
    StoreTimeout = 6,
    StoreOutput = 7,
    Fault = 8,
}

/// The hash of a whole run so far.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    mixer: Mixer,
}

impl Trace {
    /// Something happened.
    pub(crate) fn note(&mut self, at: u64, node: u32, way: Way, digest: u128) {
        self.mixer.word(at);
        self.mixer.word((u64::from(node) << 8) | way as u64);
        let bytes = digest.to_le_bytes();
        let (low, high) = bytes.split_at(8);
        for half in [low, high] {
            self.mixer.word(u64::from_le_bytes(half.try_into().expect("half of sixteen bytes")));
        }
    }

    /// The hash so far.
    pub(crate) fn hash(&self) -> u128 {
        self.mixer.finish()
    }
}

fn add_frame(mixer: &mut Mixer, mark: FrameMark) {
    mixer.bytes(&mark.digest.to_le_bytes());
}

/// What guests do is no rare command.
fn is_of_a_guest(command: &Command) -> bool {
    matches!(command, Command::GuestRead { .. } | Command::Write { .. })
}

/// The hash of an input of a node. `mark` is that of the frame in it.
pub(crate) fn of_input(input: &Input, mark: Option<FrameMark>) -> u128 {
    let mut mixer = Mixer::default();
    match input {
        Input::Received { from, frame } => {
            mixer.word(1);
            mixer.bytes(&from.0);
            add_frame(&mut mixer, mark.unwrap_or_else(|| FrameMark::of(WIRE_NEWEST, frame)));
        }
        Input::Datagram { from, bytes } => {
            mixer.word(5);
            mixer.bytes(&from.0);
            mixer.bytes(bytes);
        }
        Input::Persisted(write) => {
            mixer.word(2);
            mixer.word(write.0);
        }
        Input::Link { peer, change: LinkChange::RoundTrip(round_trip) } => {
            mixer.word(3);
            mixer.bytes(&peer.0);
            mixer.words([round_trip.as_secs(), u64::from(round_trip.subsec_nanos())]);
        }
        Input::Command { context, command } if is_of_a_guest(command) => {
            mixer.words([4, context.request.0, context.deadline.as_nanos()]);
            mixer.value(&context.op);
            match &**command {
                Command::GuestRead { instance, seen, queries } => mixer.value(&(instance, seen, queries)),
                Command::Write { instance, generation, writes } => mixer.value(&(instance, generation, writes)),
                other => mixer.shown(other),
            }
        }
        Input::Link { .. }
        | Input::PersistFailed(..)
        | Input::Loaded { .. }
        | Input::Transferred { .. }
        | Input::Instance { .. }
        | Input::Reading(_)
        | Input::Command { .. } => mixer.shown(input),
    }
    mixer.finish()
}

/// The hash of an output of a node. `mark` is that of the frame in it.
pub(crate) fn of_output(output: &Output, mark: Option<FrameMark>) -> u128 {
    let mut mixer = Mixer::default();
    match output {
        Output::Send { to, wire, frame } => {
            mixer.word(1);
            mixer.bytes(&to.0);
            add_frame(&mut mixer, mark.unwrap_or_else(|| FrameMark::of(*wire, frame)));
        }
        Output::Persist { write, batch } => {
            mixer.word(2);
            mixer.word(write.0);
            mixer.value(batch);
        }
        Output::Provide { content, bytes } => {
            mixer.word(3);
            mixer.bytes(&content.0);
            mixer.bytes(bytes);
        }
        Output::Notice(Notice::Applied { cell, line, index, digest }) => {
            mixer.words([4, *line, *index]);
            mixer.bytes(&cell.0);
            mixer.bytes(digest);
        }
        Output::Serve(RouteDelta::Put(route)) => {
            mixer.word(5);
            mixer.value(&(route.cell, route.tenant, &route.app, &route.hosts));
            for target in &route.targets {
                mixer.value(&(target.instance, target.node));
                let round_trip = u64::try_from(target.round_trip.as_nanos()).unwrap_or(u64::MAX);
                mixer.words([target.generation, u64::from(target.local), u64::from(target.up), round_trip]);
            }
        }
        Output::Reply { request, result: Ok(Reply::Cells(cells)) } => {
            mixer.words([6, request.0]);
            for description in cells {
                mixer.value(&**description);
            }
        }
        Output::Reply { request, result: Ok(Reply::Applied(applied)) } => {
            mixer.words([7, request.0]);
            mixer.value(applied);
        }
        Output::Reply { request, result: Ok(Reply::GuestRead { answered, age, stale }) } => {
            let age = age.map_or(u64::MAX, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX - 1));
            mixer.words([8, request.0, age, u64::from(*stale)]);
            mixer.value(answered);
        }
        Output::Datagram { to, bytes } => {
            mixer.word(9);
            mixer.bytes(&to.0);
            mixer.bytes(bytes);
        }
        Output::Dial { .. }
        | Output::Reserve { .. }
        | Output::Hangup { .. }
        | Output::Load { .. }
        | Output::Transfer { .. }
        | Output::Withdraw { .. }
        | Output::Run(_)
        | Output::Serve(_)
        | Output::Keys(_)
        | Output::Recertify { .. }
        | Output::Reply { .. }
        | Output::Notice(_) => mixer.shown(output),
    }
    mixer.finish()
}

/// The hash of a block verb that a store asks for; of its bytes too.
pub(crate) fn of_store_output(output: &store::Output) -> u128 {
    let mut mixer = Mixer::default();
    match output {
        store::Output::Write { op, segment, offset, bytes } => {
            mixer.words([1, op.0, segment.0, *offset]);
            mixer.bytes(bytes);
        }
        store::Output::Sync { op, segment } => mixer.words([2, op.0, segment.0]),
        store::Output::Persisted(write) => mixer.words([3, write.0]),
        store::Output::Create { .. }
        | store::Output::Read { .. }
        | store::Output::Trim { .. }
        | store::Output::Booted(_)
        | store::Output::Unopened(_)
        | store::Output::PersistFailed(..)
        | store::Output::Loaded { .. } => mixer.shown(output),
    }
    mixer.finish()
}

/// The hash of a report on a block verb.
pub(crate) fn of_store_input(input: &store::Input) -> u128 {
    let mut mixer = Mixer::default();
    match input {
        store::Input::Done { op, bytes } => {
            let bytes = bytes.as_ref().map_or(&[][..], Blob::as_ref);
            mixer.words([1, op.0, bytes.len() as u64]);
            mixer.bytes(without_zeros(bytes));
        }
        store::Input::Persist { write, .. } => mixer.words([2, write.0]),
        store::Input::Load { .. } | store::Input::Failed { .. } => mixer.shown(input),
    }
    mixer.finish()
}

/// Bytes without the zeros at their end, by whole pages: most of a preallocated segment.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    const PAGE: [u8; 4_096] = [0; 4_096];
    let zeros = bytes.rchunks_exact(PAGE.len()).take_while(|page| **page == PAGE).count();
    &bytes[..bytes.len() - zeros * PAGE.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_does_not_depend_on_how_bytes_were_cut() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut whole = Mixer::default();
        whole.bytes(&bytes);
        for cut in [1, 3, 7, 8, 9, 100] {
            let mut parts = Mixer::default();
            bytes.chunks(cut).for_each(|chunk| parts.bytes(chunk));
            assert_eq!(parts.finish(), whole.finish(), "cut into {cut}");
        }
    }

    #[test]
    fn every_bit_and_the_length_count() {
        let hash = |bytes: &[u8]| {
            let mut mixer = Mixer::default();
            mixer.bytes(bytes);
            mixer.finish()
        };
        let zeros = [0; 24];
        let mut seen = vec![hash(&zeros), hash(&zeros[..23]), hash(&[])];
        for bit in 0..24 * 8 {
            let mut changed = zeros;
            changed[bit / 8] ^= 1 << (bit % 8);
            seen.push(hash(&changed));
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn a_step_moved_by_a_nanosecond_changes_the_trace() {
        let run = |at| {
            let mut trace = Trace::default();
            trace.note(1, 1, Way::Input, 7);
            trace.note(at, 1, Way::Output, 8);
            trace.hash()
        };
        assert_ne!(run(10), run(11));
        assert_eq!(run(10), run(10));
    }
}
