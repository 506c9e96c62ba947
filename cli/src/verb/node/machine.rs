//! What this machine has, against which an offer is checked: who offers more than that is refused by nobody but the first
//! app that fails on it.
use std::{fs, path::Path};

use bocage_node::settings::OfferSettings;

use crate::{
    failure::{Exit, Failure},
    say,
};

/// A machine's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) cpu_millis: u64,
    pub(crate) memory_mib: u64,
    /// Free on the disk of the node's folder.
    pub(crate) disk_gib: u64,
}

impl Machine {
    /// This one. What cannot be found out is taken to be without end.
    pub(crate) fn here(folder: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(u64::MAX / 1_000, |cores| cores.get() as u64);
        Self {
            cpu_millis: cores * 1_000,
            memory_mib: memory_mib().unwrap_or(u64::MAX),
            disk_gib: disk_gib(folder).unwrap_or(u64::MAX),
        }
    }

    /// Whether an offer is within it.
    pub(crate) fn check(&self, offer: &OfferSettings) -> Result<(), Failure> {
        let beyond = |what: &str, offered: String, has: String, flag: &str| {
            let what = format!("the offer is beyond this machine: {offered} of {what} are offered, and it has {has}");
            Err(Failure::new(Exit::Usage, "offer-beyond-machine", what)
                .next(format!("offer less, and leave some for the machine itself: {flag}")))
        };
        let cores = |millis: u64| format!("{}.{:03}", millis / 1_000, millis % 1_000);
        let mib = |mib: u64| say::in_bytes(mib.saturating_mul(1 << 20));
        if offer.cpu_millis > self.cpu_millis {
            return beyond("cores", cores(offer.cpu_millis), cores(self.cpu_millis), "--cpu CORES");
        }
        if offer.memory_mib > self.memory_mib {
            return beyond("memory", mib(offer.memory_mib), mib(self.memory_mib), "--memory BYTES");
        }
        if offer.disk_gib > self.disk_gib {
            let (offered, has) = (format!("{} GiB", offer.disk_gib), format!("{} GiB free", self.disk_gib));
            return beyond("disk", offered, has, "--disk BYTES");
        }
        Ok(())
    }

    /// The offer, or half of the machine where that is less.
    pub(crate) fn at_most_half(&self, offer: OfferSettings) -> OfferSettings {
        OfferSettings {
            cpu_millis: offer.cpu_millis.min(self.cpu_millis / 2),
            memory_mib: offer.memory_mib.min(self.memory_mib / 2),
            disk_gib: offer.disk_gib.min(self.disk_gib / 2),
            ..offer
        }
    }
}

/// `MemTotal` of `/proc/meminfo`.
fn memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib >> 10)
}

/// Free where the folder is, or will be.
fn disk_gib(folder: &Path) -> Option<u64> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize) >> 30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::offer::set::euro;

    #[test]
    fn an_offer_beyond_the_machine_is_refused_by_the_resource_that_it_lacks() {
        let machine = Machine { cpu_millis: 4_000, memory_mib: 8_192, disk_gib: 100 };
        let offer = OfferSettings {
            cpu_millis: 4_000,
            memory_mib: 8_192,
            disk_gib: 100,
            currency: euro(),
            cpu_core_month: 1,
            memory_gib_month: 1,
            disk_gib_month: 1,
        };
        assert!(machine.check(&offer).is_ok());
        for (more, flag) in [
            (OfferSettings { cpu_millis: 4_001, ..offer }, "--cpu"),
            (OfferSettings { memory_mib: 8_193, ..offer }, "--memory"),
            (OfferSettings { disk_gib: 101, ..offer }, "--disk"),
        ] {
            let failure = machine.check(&more).unwrap_err();
            assert!(failure.next.unwrap().contains(flag), "{}", failure.what);
        }
        let here = Machine::here(Path::new("/nowhere/at/all"));
        assert!(here.cpu_millis >= 1_000 && here.memory_mib > 0 && here.disk_gib < u64::MAX);
    }
}
