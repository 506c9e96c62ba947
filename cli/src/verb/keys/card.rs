//! A party as text that it may show to everybody: its genesis, signed by its first key. Holds no secret.
use bocage_node::keyfile::{KeyFile, Kind};
use bocage_protocol::{
    codec,
    identity::{Genesis, Party, Signed},
};
use data_encoding::BASE64URL_NOPAD;

use crate::failure::{Exit, Failure};

/// What a card begins with.
const PREFIX: &str = "bocage-party-1.";

/// The card of whoever this key is, if that is an operator or tenant.
pub(crate) fn of(key: &KeyFile) -> Option<String> {
    let party = matches!(key.kind, Kind::Operator | Kind::Tenant);
    let genesis = key.signed_genesis().filter(|_| party)?;
    Some(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&codec::encode(&genesis))))
}

/// The operator whose card this is.
pub(crate) fn read(text: &str) -> Result<Genesis, Failure> {
    let bytes = text.trim().strip_prefix(PREFIX).and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
    let signed = bytes.and_then(|bytes| codec::decode::<Signed<Genesis>>("card", &bytes).ok());
    let own = |signed: &Signed<Genesis>| signed.verify().is_ok_and(|genesis| genesis.key == signed.key());
    let genesis = signed.filter(own).and_then(|signed| signed.open().ok());
    let genesis = genesis.ok_or_else(|| bad("it is cut off or changed"))?;
    if genesis.party == Party::Operator { Ok(genesis) } else { Err(bad("it is a tenant's, not an operator's")) }
}

fn bad(why: &str) -> Failure {
    Failure::new(Exit::Usage, "card", format!("this is no operator's card: {why}"))
        .next("the operator shows it with: bocage keys show FOLDER/keys/operator.key")
}
