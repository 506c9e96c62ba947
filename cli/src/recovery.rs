//! A recovery as a file: text, to be sent to those who must sign. Holds no secret.
use std::{fs, path::Path};

use bocage_protocol::{
    cell::{Recovery, RecoveryPapers},
    codec,
    identity::Verified,
};
use data_encoding::BASE64URL_NOPAD;

use crate::failure::{Exit, Failure};

/// What such a file begins with.
const PREFIX: &str = "bocage-recovery-1.";
/// One with all its signatures is far shorter.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads one. Every signature in it holds.
pub(crate) fn read(path: &Path) -> Result<(RecoveryPapers, Recovery), Failure> {
    let broken = |why: &str| {
        Failure::new(Exit::Usage, "recovery", format!("{} is no recovery: {why}", path.display()))
            .next("ask for the file again, or make one: bocage recover APP")
    };
    let size = fs::metadata(path).map_err(|error| Failure::io(path.display(), &error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(broken("it is far too long"));
    }
    let text = fs::read_to_string(path).map_err(|error| Failure::io(path.display(), &error))?;
    let bytes = text.trim().strip_prefix(PREFIX).and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
    let papers = bytes.and_then(|bytes| codec::decode::<RecoveryPapers>("recovery", &bytes).ok());
    let papers = papers.ok_or_else(|| broken("it is cut off or changed"))?;
    let papers = Verified::check(papers, |_| false).map_err(|error| broken(&error.to_string()))?.into_inner();
    let recovery = papers.statement.open().map_err(|_| broken("what was signed cannot be read"))?;
    Ok((papers, recovery))
}

/// Writes one, in the place of what was there.
pub(crate) fn write(path: &Path, papers: &RecoveryPapers) -> Result<(), Failure> {
    let text = format!("{PREFIX}{}\n", BASE64URL_NOPAD.encode(&codec::encode(papers)));
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| Failure::io(path.display(), &error))
}
