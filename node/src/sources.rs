//! Who may have how much of something scarce, by where he comes from: addresses are cheap, but those of one network are
//! one party's. A source is an IPv4 /24 or an IPv6 /48.
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The network that an address is counted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source([u8; 6]);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self([4, 0, 0, a, b, c])
            }
            IpAddr::V6(address) => {
                let mut first = [0; 6];
                first.copy_from_slice(&address.octets()[..6]);
                Self(first)
            }
        }
    }
}

/// Places, of which no source may have more than its share.
#[derive(Debug)]
pub struct Places {
    all_max: usize,
    source_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: BTreeMap<Source, usize>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    source: Source,
    of: Arc<Places>,
}

impl Places {
    /// So many in all, and so many for one source.
    #[must_use]
    pub fn new(all_max: usize, source_max: usize) -> Arc<Self> {
        Arc::new(Self { all_max, source_max, taken: Mutex::default() })
    }

    /// A place for somebody from there; `None`: all are taken, or all that this source may have.
    #[must_use]
    pub fn take(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let source = Source::from(from);
        let mut taken = self.lock();
        let share = taken.by_source.get(&source).copied().unwrap_or(0);
        if taken.all >= self.all_max || share >= self.source_max {
            return None;
        }
        taken.all += 1;
        taken.by_source.insert(source, share + 1);
        Some(Place { source, of: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(share) = taken.by_source.get_mut(&self.source) {
            *share = share.saturating_sub(1);
            if *share == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_network_cannot_take_every_place() {
        let places = Places::new(4, 3);
        let held: Vec<_> = (1..=3).map(|n| places.take(ip(&format!("192.0.2.{n}"))).unwrap()).collect();
        assert!(places.take(ip("192.0.2.9")).is_none(), "its share is taken");
        let other = places.take(ip("198.51.100.1")).expect("there is room for others");
        assert!(places.take(ip("203.0.113.1")).is_none(), "all are taken");
        drop(held);
        assert!(places.take(ip("192.0.2.9")).is_some());
        drop(other);
        assert!(places.lock().by_source.is_empty(), "nobody is remembered who holds no place");
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        assert_eq!(Source::from(ip("192.0.2.1")), Source::from(ip("::ffff:192.0.2.200")));
        assert_ne!(Source::from(ip("192.0.2.1")), Source::from(ip("192.0.3.1")));
        assert_eq!(Source::from(ip("2001:db8:1::1")), Source::from(ip("2001:db8:1:ffff::2")));
        assert_ne!(Source::from(ip("2001:db8:1::1")), Source::from(ip("2001:db8:2::1")));
    }
}
