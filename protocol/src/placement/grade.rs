//! What a set of voters survives: the one rule by which placement, founding and a running cell all judge alike.
use std::collections::BTreeMap;

use super::Grade;
use crate::{
    id::OperatorId,
    resources::{Jurisdiction, Site},
};

/// What may fail together with a voter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VoterPlace {
    /// Whose node it is.
    pub operator: OperatorId,
    /// Where it stands.
    pub site: Site,
    /// Under which law.
    pub jurisdiction: Jurisdiction,
}

/// What `voters` survive: the highest grade of which every loss leaves a majority of them.
///
/// A site is unique within its operator only, so two operators that name one site alike in one jurisdiction may stand in
/// one building or not: here they count as standing in one, so that a grade errs low.
#[must_use]
pub fn grade(voters: &[VoterPlace]) -> Grade {
    if !survives_any(voters, |voter| voter.operator) {
        return Grade::Nothing;
    }
    if !survives_any(voters, |voter| (voter.jurisdiction, &voter.site)) {
        return Grade::Operator;
    }
    if !survives_any(voters, |voter| voter.jurisdiction) {
        return Grade::Site;
    }
    Grade::Jurisdiction
}

/// Whether a majority remains whichever one of the things named by `key` is lost.
fn survives_any<'a, K: Ord>(voters: &'a [VoterPlace], key: impl Fn(&'a VoterPlace) -> K) -> bool {
    let mut lost = BTreeMap::<K, usize>::new();
    for voter in voters {
        *lost.entry(key(voter)).or_default() += 1;
    }
    !voters.is_empty() && lost.values().all(|lost| (voters.len() - lost) * 2 > voters.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(places: &[(&str, &str, &str)]) -> Vec<VoterPlace> {
        let voter = |(operator, site, law): &(&str, &str, &str)| VoterPlace {
            operator: OperatorId::of(operator.as_bytes()),
            site: Site((*site).to_owned()),
            jurisdiction: law.parse().unwrap(),
        };
        places.iter().map(voter).collect()
    }

    #[test]
    fn one_voter_or_none_survives_nothing() {
        assert_eq!(grade(&[]), Grade::Nothing);
        assert_eq!(grade(&voters(&[("ada", "attic", "FR")])), Grade::Nothing);
    }

    #[test]
    fn an_operator_whose_loss_breaks_the_majority_makes_it_nothing() {
        assert_eq!(grade(&voters(&[("ada", "a", "FR"), ("ada", "b", "DE"), ("bob", "c", "BE")])), Grade::Nothing);
        assert_eq!(grade(&voters(&[("ada", "a", "FR"), ("bob", "b", "DE")])), Grade::Nothing);
    }

    #[test]
    fn operators_that_share_a_building_survive_an_operator_only() {
        assert_eq!(grade(&voters(&[("ada", "pa3", "FR"), ("bob", "pa3", "FR"), ("eve", "c", "DE")])), Grade::Operator);
    }

    #[test]
    fn the_same_site_name_under_two_laws_is_two_sites() {
        let spread = voters(&[("ada", "home", "FR"), ("bob", "home", "DE"), ("eve", "home", "BE")]);
        assert_eq!(grade(&spread), Grade::Jurisdiction);
    }

    #[test]
    fn two_of_three_under_one_law_survive_a_site_but_not_that_law() {
        assert_eq!(grade(&voters(&[("ada", "a", "FR"), ("bob", "b", "FR"), ("eve", "c", "DE")])), Grade::Site);
    }

    #[test]
    fn five_voters_may_share_a_law_two_by_two() {
        let spread = voters(&[
            ("ada", "a", "FR"),
            ("bob", "b", "FR"),
            ("eve", "c", "DE"),
            ("dan", "d", "DE"),
            ("fay", "e", "BE"),
        ]);
        assert_eq!(grade(&spread), Grade::Jurisdiction);
    }
}
