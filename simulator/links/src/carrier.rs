//! The thread between all devices: it reads what hosts send, and hands over what has arrived.
use std::{
    io::ErrorKind,
    net::Ipv4Addr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Instant,
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tun_rs::SyncDevice;

use crate::{Shared, flight::Flight, lock, namespace::LinksError};

/// So many packets of one device are read before it is the others' turn.
const READ_MAX: usize = 64;
/// Where an IPv4 header says to whom it goes.
const DESTINATION: std::ops::Range<usize> = 16..20;

#[derive(Debug)]
pub(crate) struct Carrier {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

/// What the thread owns. Devices go with it.
struct Hub {
    devices: Vec<SyncDevice>,
    addresses: Vec<Ipv4Addr>,
    flight: Flight,
    shared: Arc<Mutex<Shared>>,
    began: Instant,
}

impl Carrier {
    pub(crate) fn start(
        devices: Vec<SyncDevice>,
        addresses: Vec<Ipv4Addr>,
        flight: Flight,
        shared: Arc<Mutex<Shared>>,
    ) -> Result<Self, LinksError> {
        let failed = |error| LinksError::new("a thread that carries packets", error);
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let stopped = stop.try_clone().map_err(failed)?;
        let mut hub = Hub { devices, addresses, flight, shared, began: Instant::now() };
        let carry = move || while hub.turn(&stopped) {};
        let thread = std::thread::Builder::new().name("links".to_owned()).spawn(carry).map_err(failed)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // An event counter takes a one. What the thread came to it has said.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Hub {
    /// Waits until something is to be done, and does it; false: it is over.
    fn turn(&mut self, stop: &OwnedFd) -> bool {
        let mut watched: Vec<PollFd<'_>> = self.devices.iter().map(|it| PollFd::new(it, PollFlags::IN)).collect();
        watched.push(PollFd::new(stop, PollFlags::IN));
        let wait = self.flight.next_due().map(|due| due.saturating_sub(self.began.elapsed()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut watched, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("devices cannot be waited for: {error}"),
        }
        let ready: Vec<bool> = watched.iter().map(|it| !it.revents().is_empty()).collect();
        if ready.last() == Some(&true) {
            return false;
        }
        self.hand_over();
        for (from, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
            self.read(from);
        }
        true
    }

    fn read(&mut self, from: usize) {
        let mut bytes = [0; crate::MTU as usize];
        for _ in 0..READ_MAX {
            let length = match self.devices[from].recv(&mut bytes) {
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
                Err(error) => panic!("host {from}'s device: {error}"),
            };
            let packet = &bytes[..length];
            let mut shared = lock(&self.shared);
            let Shared { table, counts } = &mut *shared;
            match self.addresses.iter().position(|address| Some(*address) == destination(packet)) {
                Some(to) => {
                    let now = self.began.elapsed();
                    self.flight.set_out(now, (from, to), &table.link(from, to), packet, counts);
                }
                None => counts.astray += 1,
            }
        }
    }

    fn hand_over(&mut self) {
        while let Some(packet) = self.flight.arrived(self.began.elapsed()) {
            let mut shared = lock(&self.shared);
            if shared.table.link(packet.from, packet.to).cut {
                shared.counts.cut += 1;
                continue;
            }
            match self.devices[packet.to].send(&packet.bytes) {
                Ok(_) => shared.counts.arrived += 1,
                // A host that takes no more loses it, as any does.
                Err(_) => shared.counts.overflowed += 1,
            }
        }
    }
}

/// To whom a packet goes, if it is IPv4.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let is_ip4 = packet.first()? >> 4 == 4;
    let octets: [u8; 4] = packet.get(DESTINATION)?.try_into().ok()?;
    is_ip4.then(|| octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_headers_of_ip4_go_to_somebody() {
        let mut packet = [0_u8; 20];
        packet[0] = 0x45;
        packet[DESTINATION].copy_from_slice(&[198, 51, 100, 2]);
        assert_eq!(destination(&packet), Some(Ipv4Addr::new(198, 51, 100, 2)));
        assert_eq!(destination(&packet[..19]), None);
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[]), None);
    }
}
