//! What can be done to the bytes of any message, and to an envelope inside.
use bocage_protocol::{
    codec::{self, Blob},
    identity::{Envelope, Keypair, PublicKey, Signature, Signed, Statement},
    random::Rng,
};

/// The bytes with one thing done to them; what it was.
pub(super) fn damage(bytes: &[u8], rng: &mut Rng) -> (&'static str, Vec<u8>) {
    let mut out = bytes.to_vec();
    let at = rng.index(out.len()).unwrap_or(0);
    match rng.below(4) {
        0 => {
            out[at] ^= 1 << rng.below(8);
            ("forged: a bit flipped", out)
        }
        1 => {
            for _ in 0..=rng.below(8) {
                let at = rng.index(out.len()).unwrap_or(0);
                out[at] = rng.next().to_be_bytes()[0];
            }
            ("forged: bytes replaced", out)
        }
        2 => {
            out.truncate(at);
            ("truncated", out)
        }
        _ => {
            let more = 1 + rng.index(40).unwrap_or(0);
            out.extend((0..more).map(|n| bytes[(at + n) % bytes.len()]));
            ("extended", out)
        }
    }
}

/// A signed statement with one part of its envelope taken from elsewhere. Every one of them must fail its check.
pub(super) fn graft<T: Statement>(signed: &Signed<T>, other: &Envelope, rng: &mut Rng) -> (&'static str, Signed<T>) {
    let mut envelope = signed.envelope().clone();
    let what = match rng.below(6) {
        0 => {
            envelope.signature = other.signature;
            "forged: another statement's signature"
        }
        1 => {
            envelope.key = other.key;
            "re-signed: another party's name on it"
        }
        2 => {
            envelope.payload = flip(&envelope.payload, rng);
            "forged: payload changed under the signature"
        }
        3 => {
            envelope.payload = extend(&envelope.payload, rng);
            "forged: payload extended under the signature"
        }
        4 => {
            envelope.signature = Signature(std::array::from_fn(|_| rng.next().to_be_bytes()[0]));
            "forged: a signature made up"
        }
        _ => {
            envelope.key = PublicKey(std::array::from_fn(|_| rng.next().to_be_bytes()[0]));
            "forged: a key made up"
        }
    };
    (what, carry(&envelope))
}

/// The same payload, really signed, but as a statement of another kind; then called by its own name again.
pub(super) fn other_domain<T: Statement>(signed: &Signed<T>, by: &Keypair) -> Signed<T> {
    #[derive(minicbor::Encode, minicbor::Decode)]
    #[cbor(transparent)]
    struct Elsewhere(#[n(0)] Blob);
    impl Statement for Elsewhere {
        const DOMAIN: &'static str = "bocage/v1/elsewhere";
    }
    let elsewhere = Signed::seal(by, &Elsewhere(signed.envelope().payload.clone()));
    let mut envelope = signed.envelope().clone();
    envelope.signature = elsewhere.envelope().signature;
    envelope.key = by.public();
    carry(&envelope)
}

/// An envelope as a statement that claims to be a `T`.
pub(super) fn carry<T>(envelope: &Envelope) -> Signed<T> {
    codec::decode("envelope", &codec::encode(envelope)).expect("an envelope is how a statement is encoded")
}

fn flip(bytes: &[u8], rng: &mut Rng) -> Blob {
    let mut out = bytes.to_vec();
    if let Some(at) = rng.index(out.len()) {
        out[at] ^= 1 << rng.below(8);
    }
    out.into()
}

fn extend(bytes: &[u8], rng: &mut Rng) -> Blob {
    let mut out = bytes.to_vec();
    out.push(rng.next().to_be_bytes()[0]);
    out.into()
}
