//! Links between real processes on one machine: hosts in network namespaces of their own, and between each two of them a link
//! one way with a delay, jitter, losses, packets that come twice or fall behind, or a cut; all of it may change while they run.
//! It is for tests, benches and `bocage sim validate`, and no part of a daemon.
//!
//! ```text
//!   host 0: its programs ─ TUN ─┐                        ┌─ TUN ─ its programs: host 1
//!   198.51.100.1                ├── one thread: table, ──┤        198.51.100.2
//!   host 2: its programs ─ TUN ─┘   draws, heap by time  └─ TUN ─ its programs: host 3
//! ```
//!
//! The kernel's own emulator, `tc netem`, does less and is missing from many kernels; this needs only TUN devices. IPv4 between
//! the hosts is carried, and nothing else: no multicast, so mDNS finds nobody, no IPv6, and no way out of these hosts. How wide
//! a link is, is not emulated.
//!
//! What befalls a packet is drawn from the seed, for each link by itself: it is a function of how many packets that link
//! carried before. When it arrives is up to the machine, but never before its delay is over.
//!
//! Read: what a link is like (`link`), what befalls a packet (`flight`, pure), the thread that carries (`carrier`), and where
//! hosts live (`namespace`).
#![forbid(unsafe_code)]

mod link;
mod flight;
mod carrier;
mod namespace;

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use carrier::Carrier;
pub use flight::Counts;
use flight::Flight;
pub use link::Link;
use link::Table;
pub use namespace::{LinksError, Namespace, ip};
use tun_rs::{DeviceBuilder, SyncDevice};

/// There are at most so many hosts: their addresses are of one `/24`. More are refused.
pub const HOSTS_MAX: usize = 250;
/// The net of all hosts: of documentation (RFC 5737), so it is nobody's, and nodes take it for one that is routed everywhere.
const NET: [u8; 3] = [198, 51, 100];
const PREFIX: u8 = 24;
/// As on most lines of the internet.
const MTU: u16 = 1_500;

/// Hosts, and the links between them. All of it goes when this is dropped: packets under way, devices, what runs on the hosts,
/// and their namespaces, in this order.
#[derive(Debug)]
pub struct Links {
    _carrier: Carrier,
    hosts: Vec<Host>,
    shared: Arc<Mutex<Shared>>,
}

/// A machine of its own, as far as its programs can tell.
#[derive(Debug)]
pub struct Host {
    /// Where its programs run.
    pub namespace: Namespace,
    /// Where the others reach it.
    pub address: Ipv4Addr,
}

/// What the carrier reads and callers change.
#[derive(Debug, Default)]
struct Shared {
    table: Table,
    counts: Counts,
}

impl Links {
    /// A host of each of these names, and links like `link` between all of them.
    pub fn raise(names: &[&str], seed: u64, link: Link) -> Result<Self, LinksError> {
        if names.len() > HOSTS_MAX {
            return Err(LinksError::new(format!("{} hosts", names.len()), format!("there may be {HOSTS_MAX}")));
        }
        let (mut hosts, mut devices) = (Vec::new(), Vec::new());
        for (name, number) in names.iter().zip(1..) {
            let [a, b, c] = NET;
            let host = Host { namespace: Namespace::new(name)?, address: Ipv4Addr::new(a, b, c, number) };
            devices.push(host.device()?);
            hosts.push(host);
        }
        let addresses = hosts.iter().map(|host| host.address).collect();
        let shared = Arc::new(Mutex::new(Shared { table: Table::all(link), counts: Counts::default() }));
        let carrier = Carrier::start(devices, addresses, Flight::new(seed), Arc::clone(&shared))?;
        Ok(Self { _carrier: carrier, hosts, shared })
    }

    /// All hosts, in the order of their names.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// From now on, the links from each of these to each of those are like this.
    pub fn set(&self, from: &[usize], to: &[usize], link: Link) {
        self.shared().table.change(from, to, |it| *it = link);
    }

    /// Nothing comes through from these to those, and what is under way there is lost. The way back is as it was.
    pub fn cut(&self, from: &[usize], to: &[usize]) {
        self.shared().table.change(from, to, |it| it.cut = true);
    }

    /// What `cut` did is over.
    pub fn heal(&self, from: &[usize], to: &[usize]) {
        self.shared().table.change(from, to, |it| it.cut = false);
    }

    /// Nothing comes through between these and all others, both ways.
    pub fn cut_off(&self, these: &[usize]) {
        let others = self.others(these);
        self.cut(these, &others);
        self.cut(&others, these);
    }

    /// What `cut_off` did is over.
    pub fn rejoin(&self, these: &[usize]) {
        let others = self.others(these);
        self.heal(these, &others);
        self.heal(&others, these);
    }

    /// What befell all packets so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared().counts
    }

    fn others(&self, these: &[usize]) -> Vec<usize> {
        (0..self.hosts.len()).filter(|host| !these.contains(host)).collect()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Host {
    /// The device by which it reaches the others, opened inside: it is where the thread is that opens it.
    fn device(&self) -> Result<SyncDevice, LinksError> {
        let open = || {
            let built = DeviceBuilder::new().name("links0").mtu(MTU).ipv4(self.address, PREFIX, None).build_sync()?;
            built.set_nonblocking(true).map(|()| built)
        };
        let opened = self.namespace.within(open)?;
        opened.map_err(|error| LinksError::new("a TUN device", error))
    }
}

/// Nothing between locking and unlocking is left half done, so what a panicking thread held is whole.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
