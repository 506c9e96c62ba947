//! Secrets on their way: sealed to a public key, so that only its owner reads them (X25519 and XSalsa20-Poly1305, by the
//! `crypto_box` library). The machine carries the sealed bytes and never sees inside.
//!
//! An app has one *data key*, itself a pair: values are sealed to its public half, its secret half is wrapped for the
//! tenant and for each node that has a vote or lease. A host can read what it runs; who else is kept out, and how far,
//! stands in `docs/threat-model.md`.
use bocage_protocol::{
    cell::Secrets,
    codec::Blob,
    id::NodeId,
    identity::{Keypair, PublicKey},
};
use crypto_box::{SecretKey, aead::OsRng};

/// Sealed bytes do not open with this key, or were changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("these secrets are not sealed for this key")]
pub struct NotForUs;

/// The pair that secrets are sealed to, derived from a signing key so that there is one file to keep.
#[must_use]
pub fn sealing_key(keys: &Keypair) -> SecretKey {
    SecretKey::from(blake3::derive_key("bocage 2026-11 sealing key", &keys.secret()))
}

/// Its public half, as certificates carry it.
#[must_use]
pub fn sealing_public(keys: &Keypair) -> PublicKey {
    PublicKey(*sealing_key(keys).public_key().as_bytes())
}

/// Seals bytes to a public key.
///
/// # Panics
/// Never for fewer than 2³⁸ bytes.
#[must_use]
pub fn seal(to: PublicKey, bytes: &[u8]) -> Blob {
    let to = crypto_box::PublicKey::from(to.0);
    to.seal(&mut OsRng, bytes).expect("a message shorter than the cipher's bound seals").into()
}

/// Opens bytes that were sealed to `key`.
///
/// # Errors
/// When they were not, or were changed.
pub fn open(key: &SecretKey, sealed: &[u8]) -> Result<Vec<u8>, NotForUs> {
    key.unseal(sealed).map_err(|_| NotForUs)
}

/// Secrets under a new data key, for the tenant and each of `holders`.
#[must_use]
pub fn seal_all(
    generation: u64,
    tenant: &Keypair,
    holders: &[(NodeId, PublicKey)],
    values: &[(String, Vec<u8>)],
) -> Secrets {
    let data_key = SecretKey::generate(&mut OsRng);
    let public = PublicKey(*data_key.public_key().as_bytes());
    Secrets {
        key_generation: generation,
        wraps: holders.iter().map(|(node, to)| (*node, seal(*to, &data_key.to_bytes()))).collect(),
        own: seal(sealing_public(tenant), &data_key.to_bytes()),
        values: values.iter().map(|(name, value)| (name.clone(), seal(public, value))).collect(),
    }
}

/// The values, for a node that holds a wrap or for the tenant.
///
/// # Errors
/// When there is no wrap for these keys, or something was changed.
pub fn open_all(secrets: &Secrets, keys: &Keypair) -> Result<Vec<(String, Vec<u8>)>, NotForUs> {
    if secrets.values.is_empty() {
        return Ok(Vec::new());
    }
    let mine = secrets.wraps.iter().filter(|(node, _)| *node == keys.node()).map(|(_, wrap)| wrap);
    let key = sealing_key(keys);
    let opened = mine.chain([&secrets.own]).find_map(|wrap| open(&key, wrap).ok()).ok_or(NotForUs)?;
    let data_key = SecretKey::from(<[u8; 32]>::try_from(opened).map_err(|_| NotForUs)?);
    secrets.values.iter().map(|(name, sealed)| Ok((name.clone(), open(&data_key, sealed)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_and_holder_read_the_secrets_and_nobody_else_does() {
        let [tenant, holder, other] = [1, 2, 3].map(|byte| Keypair::from_secret(&[byte; 32]));
        let values = vec![("TOKEN".to_owned(), b"s3cret".to_vec())];
        let secrets = seal_all(1, &tenant, &[(holder.node(), sealing_public(&holder))], &values);
        assert_eq!(open_all(&secrets, &tenant).unwrap(), values);
        assert_eq!(open_all(&secrets, &holder).unwrap(), values);
        assert_eq!(open_all(&secrets, &other), Err(NotForUs));
    }
}
