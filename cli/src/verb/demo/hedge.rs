//! Who hosts in a demo: operators called after the plants of a hedge, each at home somewhere.

/// An operator of the demo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plant {
    pub(super) operator: &'static str,
    pub(super) jurisdiction: &'static str,
    pub(super) site: &'static str,
}

const fn plant(operator: &'static str, jurisdiction: &'static str, site: &'static str) -> Plant {
    Plant { operator, jurisdiction, site }
}

/// A demo has at most so many: as many as the alphabet has hedge plants for.
pub(super) const OPERATORS_MAX: u64 = PLANTS.len() as u64;

/// In the order in which they come. Guelder, hazel and ivy rent from one hall: their sites fail together, and bear one
/// name to say so.
pub(super) const PLANTS: [Plant; 20] = [
    plant("alder", "FR", "paris"),
    plant("birch", "FR", "lyon"),
    plant("cornel", "DE", "falkenstein"),
    plant("dogrose", "BE", "brussels"),
    plant("elder", "CN", "shanghai"),
    plant("furze", "ES", "madrid"),
    plant("guelder", "NL", "amsterdam-hall-1"),
    plant("hazel", "NL", "amsterdam-hall-1"),
    plant("ivy", "NL", "amsterdam-hall-1"),
    plant("juniper", "FI", "helsinki"),
    plant("laurel", "IT", "milan"),
    plant("maple", "CA", "montreal"),
    plant("nettle", "IE", "dublin"),
    plant("oak", "GB", "leeds"),
    plant("privet", "PL", "warsaw"),
    plant("quince", "PT", "porto"),
    plant("rowan", "SE", "lulea"),
    plant("spindle", "CH", "zurich"),
    plant("thorn", "AT", "vienna"),
    plant("yew", "JP", "osaka"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn five_operators_stand_in_four_jurisdictions_at_five_sites() {
        let first = &PLANTS[..5];
        let laws: Vec<_> = first.iter().map(|plant| plant.jurisdiction).collect();
        assert_eq!(laws, ["FR", "FR", "DE", "BE", "CN"]);
        assert_eq!(first.iter().map(|plant| plant.site).collect::<BTreeSet<_>>().len(), 5);
    }

    #[test]
    fn of_nine_operators_three_share_a_site() {
        let sites: Vec<_> = PLANTS[..9].iter().map(|plant| plant.site).collect();
        assert_eq!(sites.iter().filter(|site| **site == "amsterdam-hall-1").count(), 3);
        let names: BTreeSet<_> = PLANTS.iter().map(|plant| plant.operator).collect();
        assert_eq!(names.len(), PLANTS.len());
    }
}
