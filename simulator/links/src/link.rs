//! What a link is like, one way from a host to another, and the table of all of them.
use std::{collections::BTreeMap, time::Duration};

/// One way from a host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Every packet takes at least so long.
    pub delay: Duration,
    /// Each takes up to so much longer, drawn evenly. Packets keep their order nevertheless: those behind a late one wait.
    pub jitter: Duration,
    /// Of a thousand packets, so many are lost, each by a draw of its own.
    pub lost_per_mille: u16,
    /// So many come twice.
    pub twice_per_mille: u16,
    /// So many fall behind: they take twice as long, and 5 ms more, and those sent meanwhile overtake them.
    pub behind_per_mille: u16,
    /// Nothing comes through.
    pub cut: bool,
}

impl Link {
    /// A link that only takes so long.
    #[must_use]
    pub fn taking(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }
}

/// Which link is like what.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// All that are not named below.
    usual: Link,
    /// By the hosts from and to which they go: at most one for each two hosts.
    special: BTreeMap<(usize, usize), Link>,
}

impl Table {
    pub(crate) fn all(usual: Link) -> Self {
        Self { usual, special: BTreeMap::new() }
    }

    pub(crate) fn link(&self, from: usize, to: usize) -> Link {
        self.special.get(&(from, to)).copied().unwrap_or(self.usual)
    }

    pub(crate) fn change(&mut self, from: &[usize], to: &[usize], how: impl Fn(&mut Link)) {
        for from in from {
            for to in to {
                how(self.special.entry((*from, *to)).or_insert(self.usual));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_one_way_and_healing_leaves_a_link_as_it_was_before() {
        let mut table = Table::all(Link::taking(Duration::from_millis(10)));
        let far = Link::taking(Duration::from_millis(235));
        table.change(&[0], &[1, 2], |it| *it = far);
        table.change(&[0, 3], &[1], |it| it.cut = true);
        assert_eq!((table.link(0, 1).cut, table.link(3, 1).cut), (true, true));
        assert_eq!((table.link(1, 0).cut, table.link(0, 2).cut), (false, false));
        table.change(&[0, 3], &[1], |it| it.cut = false);
        assert_eq!(table.link(0, 1), far);
        assert_eq!(table.link(3, 1), Link::taking(Duration::from_millis(10)));
    }
}
