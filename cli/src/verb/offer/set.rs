//! `bocage offer set`: change what a node offers, now; and in its settings, where they are at hand, so that it stays so.
use std::path::Path;

use bocage_node::settings::OfferSettings;
use bocage_protocol::resources::Currency;
use clap::Args;
use serde_json::{Value, json};

use super::Whose;
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    quantity::{Bytes, Cores},
    target::Target,
    verb::node::edit,
};

/// What a machine offers, in flags. Also those of `node init`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Terms {
    /// Cores
    #[arg(long, value_name = "CORES")]
    pub(crate) cpu: Option<Cores>,
    /// Memory, such as 2GiB
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory: Option<Bytes>,
    /// Disk, such as 20GiB
    #[arg(long, value_name = "BYTES")]
    pub(crate) disk: Option<Bytes>,
    /// Currency of the prices: an ISO 4217 code
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<Currency>,
    /// Price of a core and month, in cents
    #[arg(long, value_name = "CENTS")]
    pub(crate) cpu_price: Option<u64>,
    /// Price of a GiB of memory and month, in cents
    #[arg(long, value_name = "CENTS")]
    pub(crate) memory_price: Option<u64>,
    /// Price of a GiB of disk and month, in cents
    #[arg(long, value_name = "CENTS")]
    pub(crate) disk_price: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    terms: Terms,
    /// Offer nothing any more; what runs stays
    #[arg(long, conflicts_with_all = ["cpu", "memory", "disk", "currency", "cpu_price", "memory_price", "disk_price"])]
    nothing: bool,
}

impl Terms {
    /// These terms, and `before` where nothing is said.
    pub(crate) fn over(&self, before: &OfferSettings) -> OfferSettings {
        OfferSettings {
            cpu_millis: self.cpu.map_or(before.cpu_millis, |cores| cores.0),
            memory_mib: self.memory.map_or(before.memory_mib, |bytes| bytes.0 >> 20),
            disk_gib: self.disk.map_or(before.disk_gib, |bytes| bytes.0 >> 30),
            currency: self.currency.unwrap_or(before.currency),
            cpu_core_month: self.cpu_price.unwrap_or(before.cpu_core_month),
            memory_gib_month: self.memory_price.unwrap_or(before.memory_gib_month),
            disk_gib_month: self.disk_price.unwrap_or(before.disk_gib_month),
        }
    }

    /// Whether no flag says anything.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { cpu, memory, disk, currency, cpu_price, memory_price, disk_price } = self;
        let quantities = cpu.is_none() && memory.is_none() && disk.is_none() && currency.is_none();
        quantities && cpu_price.is_none() && memory_price.is_none() && disk_price.is_none()
    }
}

impl Set {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        if self.terms.is_empty() && !self.nothing {
            return Err(Failure::new(Exit::Usage, "nothing-to-set", "no flag says what to change")
                .next("such as: bocage offer set --memory 4GiB; or --nothing to withdraw it"));
        }
        let control = self.whose.control(at)?;
        let before = control.status().await?.offer;
        let offer = (!self.nothing).then(|| self.terms.over(&before.as_ref().map_or_else(nothing, settings)));
        control.put_json("/v1/offer", &offer.as_ref().map(asked)).await?;
        let folder = match &control.target {
            Target::Unix(socket) => socket.parent().map(Path::to_owned),
            Target::Tcp(address) => self.whose.dir.clone().or_else(|| crate::verb::demo::record::folder_of(address)),
        };
        let kept = folder.map(|folder| edit::offer(&folder, offer.as_ref())).transpose()?;
        let said = match (offer.is_some(), kept.is_some()) {
            (true, true) => "The offer is changed, also in bocage.toml.",
            (true, false) => "The offer is changed. Change bocage.toml on the node too: a restart reads it from there.",
            (false, true) => "The offer is withdrawn, also in bocage.toml. What runs stays.",
            (false, false) => "The offer is withdrawn, until a restart reads it from bocage.toml. What runs stays.",
        };
        at.say.done(&control.status().await?.offer, said);
        Ok(())
    }
}

/// Nothing, for nothing.
fn nothing() -> OfferSettings {
    OfferSettings {
        cpu_millis: 0,
        memory_mib: 0,
        disk_gib: 0,
        currency: euro(),
        cpu_core_month: 0,
        memory_gib_month: 0,
        disk_gib_month: 0,
    }
}

/// What prices are in where nobody says otherwise.
pub(crate) fn euro() -> Currency {
    "EUR".parse().expect("three capital letters are a currency")
}

/// An offer as a node tells it, in the units of settings.
fn settings(offer: &bocage_node::control::api::Offer) -> OfferSettings {
    let cents = |micro: u64| micro.saturating_mul(730).div_ceil(1_000_000);
    OfferSettings {
        cpu_millis: offer.cpu_millis,
        memory_mib: offer.memory_bytes >> 20,
        disk_gib: offer.disk_bytes >> 30,
        currency: offer.currency.parse().unwrap_or_else(|_| euro()),
        cpu_core_month: cents(offer.cpu_core_hour_micro),
        memory_gib_month: cents(offer.memory_gib_hour_micro),
        disk_gib_month: cents(offer.disk_gib_hour_micro),
    }
}

/// An offer as the control API wants it.
fn asked(offer: &OfferSettings) -> Value {
    let terms = offer.terms();
    json!({
        "cpu_millis": terms.total.cpu_millis,
        "memory_bytes": terms.total.memory_bytes,
        "disk_bytes": terms.total.disk_bytes,
        "currency": terms.price.currency,
        "cpu_core_hour_micro": terms.price.cpu_core_hour,
        "memory_gib_hour_micro": terms.price.memory_gib_hour,
        "disk_gib_hour_micro": terms.price.disk_gib_hour,
    })
}
