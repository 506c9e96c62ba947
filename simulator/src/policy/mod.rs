//! Policies by name: who says who is down, where apps go, how nodes gossip. A scenario chooses each in `[knobs]`; what ships is
//! called `bocage`. Others stand here as examples, and whoever uses this crate adds his own by [`add`] before he reads a
//! scenario that names it. A daemon knows none of them: in a real mesh everybody decides alike.
mod gossip;
mod random;
pub mod swim;

use std::sync::{Arc, Mutex, PoisonError};

use bocage_protocol::{
    membership::{self, detector::Detection},
    placement::Placing,
    policies::Policies,
};

use crate::scenario::{Knobs, nearest};
use swim::Swim;

/// What ships.
pub(crate) const SHIPPED: &str = "bocage";

/// No process knows more names of its own making: each is one that somebody wrote down in code.
const ADDED_MAX: usize = 1_000;

/// A policy that a scenario may choose.
#[derive(Clone, Debug)]
pub enum Policy {
    /// Says who is down: `knobs.detector`.
    Detector(Arc<dyn Detection>),
    /// Says where an app goes: `knobs.placement`.
    Placement(Arc<dyn Placing>),
    /// Changes the numbers by which nodes gossip: `knobs.gossip`. Numbers that the scenario says by themselves come after it.
    Gossip(fn(&mut membership::Config)),
}

/// Why a policy was not added. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// What a scenario meant by it would depend on when it was read.
    #[error("there is a {kind} called \"{name}\" already: choose another name")]
    Taken {
        /// As in `[knobs]`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Names are there for people.
    #[error("this process has added {ADDED_MAX} policies already: add each once, at the start")]
    TooMany,
}

/// A policy with its name.
type Named = (String, Policy);

/// Those that were added. A name once added stays what it is.
static ADDED: Mutex<Vec<Named>> = Mutex::new(Vec::new());

/// Adds a policy under a name of its own, for all scenarios that this process reads from now on.
///
/// # Errors
/// When the name is taken, or very many were added.
pub fn add(name: &str, policy: Policy) -> Result<(), NotAdded> {
    let kind = policy.kind();
    if names(kind).iter().any(|taken| taken == name) {
        return Err(NotAdded::Taken { kind, name: name.to_owned() });
    }
    let mut added = ADDED.lock().unwrap_or_else(PoisonError::into_inner);
    if added.len() >= ADDED_MAX {
        return Err(NotAdded::TooMany);
    }
    added.push((name.to_owned(), policy));
    Ok(())
}

impl Policy {
    /// The key of `[knobs]` that chooses it.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Detector(_) => "detector",
            Self::Placement(_) => "placement",
            Self::Gossip(_) => "gossip",
        }
    }
}

/// All of one kind, what ships aside.
fn all(kind: &str) -> Vec<Named> {
    let swim = |name: &str, swim: Swim| (name.to_owned(), Policy::Detector(Arc::new(swim)));
    let ours = [
        swim("swim", Swim::PLAIN),
        swim("swim-lifeguard", Swim::LAN),
        swim("swim-lifeguard-wan", Swim::WAN),
        ("random".to_owned(), Policy::Placement(Arc::new(random::Random))),
        ("eager".to_owned(), Policy::Gossip(gossip::eager)),
    ];
    let added = ADDED.lock().unwrap_or_else(PoisonError::into_inner);
    ours.into_iter().chain(added.iter().cloned()).filter(|(_, policy)| policy.kind() == kind).collect()
}

/// Every name that a kind may have in a scenario.
pub(crate) fn names(kind: &str) -> Vec<String> {
    let others = all(kind).into_iter().map(|(name, _)| name);
    std::iter::once(SHIPPED.to_owned()).chain(others).collect()
}

/// What is meant by a name that is not there.
pub(crate) fn help(kind: &str, name: &str) -> Option<String> {
    let names = names(kind);
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    (!known.contains(&name)).then(|| nearest(name, &known))
}

/// The policies of a scenario, found once for all of its nodes.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) policies: Policies,
    gossip: Option<fn(&mut membership::Config)>,
}

impl Chosen {
    /// # Panics
    /// When a name is not there: whoever reads a scenario from a file is told before, in words.
    pub(crate) fn of(knobs: &Knobs) -> Self {
        let mut this = Self { policies: Policies::default(), gossip: None };
        for (kind, name) in knobs.policies() {
            let name = name.get_ref();
            if name == SHIPPED {
                continue;
            }
            let found = all(kind).into_iter().find(|(known, _)| known == name);
            let (_, policy) = found.unwrap_or_else(|| panic!("there is no {kind} called \"{name}\""));
            match policy {
                Policy::Detector(detection) => this.policies.detector = Some(detection),
                Policy::Placement(placing) => this.policies.placement = Some(placing),
                Policy::Gossip(set) => this.gossip = Some(set),
            }
        }
        this
    }

    /// How nodes gossip, before the scenario's own numbers.
    pub(crate) fn membership(&self) -> membership::Config {
        let mut config = membership::Config::default();
        self.gossip.iter().for_each(|set| set(&mut config));
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_one_thing_of_its_kind() {
        let lazy = Policy::Gossip(|config| config.repair *= 2);
        add("lazy", lazy.clone()).unwrap();
        let taken = add("lazy", lazy).unwrap_err();
        assert!(taken.to_string().contains("a gossip called \"lazy\""), "{taken}");
        add("bocage", Policy::Placement(Arc::new(random::Random))).unwrap_err();
        assert!(names("gossip").contains(&"lazy".to_owned()) && !names("placement").contains(&"lazy".to_owned()));
        let knobs = Knobs { gossip: toml::Spanned::new(0..0, "lazy".to_owned()), ..Knobs::default() };
        assert_eq!(Chosen::of(&knobs).membership().repair, membership::Config::default().repair * 2);
    }
}
