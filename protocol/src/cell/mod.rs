//! A cell: the raft group that holds an app's agreed state. It knows nothing of its node but inputs and outputs.
//!
//! Read in this order: what enters the log and what it answers (`command`), how a cell is born (`genesis`), what it says
//! of itself (`description`), how it goes on after its majority is lost (`recovery`), what replicas and callers say to each
//! other (`wire`).
mod command;
mod genesis;
mod description;
mod capture;
mod recovery;
mod wire;
mod io;
pub mod state;
mod replica;

pub use capture::{CAPTURE_FORMAT, Capture, CapturedStore};
pub use command::{
    Answer, Barrier, Command, DataBatch, Entry, Evidence, InstanceState, Missed, Outcome, Query, Release, Relief,
    Renewal, Repair, Secrets, Support, TenantAction, TenantCommand, Versioned, Workload, Write,
};
pub use description::{Description, LeaseInfo, Member, ReleaseInfo};
pub use genesis::{Candidate, CellGenesis, Founder, Grant, Receipt, Role};
pub use io::{CellConfig, Input, Need, Output, Seeking};
pub use recovery::{
    Base, Carried, Holding, KeptLine, RECOVERERS_MAX, RECOVERY_VALID_MAX, Recovered, Recovery, RecoveryPapers, Report,
};
pub(crate) use replica::MEMBER_ASKED;
pub use replica::{Kept, PIECE_BYTES_MAX, Replica, Slumber, Standing};
#[cfg(any(test, feature = "fixtures"))]
pub use state::fixture;
pub use state::{Effects, Membership, State};
pub use wire::{Answered, Applied, Message, RaftMessage, Reached, SnapshotOffer};
