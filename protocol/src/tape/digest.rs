//! A hash of an output: enough to see that a node did again what it did, without keeping all that it did.
use std::{convert::Infallible, fmt};

use minicbor::encode;

use crate::io::Output;

/// How long a digest is.
pub const DIGEST_BYTES: usize = 16;

/// Of one output.
pub type Digest = [u8; DIGEST_BYTES];

struct Hasher(blake3::Hasher);

impl encode::Write for Hasher {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.update(bytes);
        Ok(())
    }
}

impl fmt::Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// The digest of an output: of its bytes where it goes out as bytes, of the output as it is shown where it stays on this
/// machine.
#[must_use]
pub fn digest(output: &Output) -> Digest {
    let mut hasher = Hasher(blake3::Hasher::new());
    match output {
        Output::Send { to, wire, frame } => {
            hasher.0.update(&[1]);
            hasher.0.update(&to.0);
            hasher.0.update(&frame.encode(*wire));
        }
        Output::Persist { write, batch } => {
            hasher.0.update(&[2]);
            hasher.0.update(&write.0.to_le_bytes());
            match minicbor::encode(batch, &mut hasher) {
                Ok(()) => {}
                Err(_) => unreachable!("a hasher takes every byte"),
            }
        }
        Output::Provide { content, bytes } => {
            hasher.0.update(&[3]);
            hasher.0.update(&content.0);
            hasher.0.update(bytes);
        }
        Output::Datagram { to, bytes } => {
            hasher.0.update(&[5]);
            hasher.0.update(&to.0);
            hasher.0.update(bytes);
        }
        Output::Dial { .. }
        | Output::Reserve { .. }
        | Output::Hangup { .. }
        | Output::Load { .. }
        | Output::Transfer { .. }
        | Output::Withdraw { .. }
        | Output::Run(_)
        | Output::Serve(_)
        | Output::Recertify { .. }
        | Output::Keys(_)
        | Output::Reply { .. }
        | Output::Notice(_) => {
            hasher.0.update(&[4]);
            fmt::Write::write_fmt(&mut hasher, format_args!("{output:?}")).expect("a hasher takes every byte");
        }
    }
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&hasher.0.finalize().as_bytes()[..DIGEST_BYTES]);
    digest
}
