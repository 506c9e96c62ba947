//! How long nodes of systems that were watched stayed, and stayed away: fits of the Failure Trace Archive (B. Javadi,
//! D. Kondo, A. Iosup, D. Epema, *The Failure Trace Archive*, JPDC 2013), carried over from `OpenDC` (MIT).
use bocage_protocol::random::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chance;

const TABLE: &str = include_str!("../../data/churn.csv");

/// A system that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// A grid of French universities, 2006.
    #[serde(rename = "grid5000-2006")]
    Grid5000,
    /// A cluster of the Los Alamos laboratory, 2005.
    #[serde(rename = "lanl-2005")]
    Lanl,
    /// Name servers, 2004.
    #[serde(rename = "name-servers-2004")]
    NameServers,
    /// Desktops of Microsoft, 1999.
    #[serde(rename = "desktops-1999")]
    Desktops,
    /// Idle processors of Notre Dame, 2007.
    #[serde(rename = "notre-dame-2007")]
    NotreDame,
    /// A network for sharing files, 2003.
    #[serde(rename = "overnet-2003")]
    Overnet,
    /// Machines of many universities, 2005.
    #[serde(rename = "planetlab-2005")]
    PlanetLab,
    /// Callers, 2006.
    #[serde(rename = "skype-2006")]
    Skype,
    /// Web sites, 2002.
    #[serde(rename = "web-sites-2002")]
    WebSites,
}

/// Which distribution was fitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Shape and scale.
    #[default]
    Weibull,
    /// Median and deviation of the logarithm.
    Lognormal,
}

/// A fit: a scale in seconds and a shape in thousandths, of a Weibull distribution; or a median and a sigma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    family: Family,
    seconds: u64,
    per_mille: u64,
}

impl Model {
    /// As a scenario says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grid5000 => "grid5000-2006",
            Self::Lanl => "lanl-2005",
            Self::NameServers => "name-servers-2004",
            Self::Desktops => "desktops-1999",
            Self::NotreDame => "notre-dame-2007",
            Self::Overnet => "overnet-2003",
            Self::PlanetLab => "planetlab-2005",
            Self::Skype => "skype-2006",
            Self::WebSites => "web-sites-2002",
        }
    }

    /// How long a node stays, and how long it stays away.
    pub(crate) fn fits(self, family: Family) -> [Fit; 2] {
        let name = if family == Family::Weibull { "weibull" } else { "lognormal" };
        let rows = TABLE.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let row = rows.into_iter().find(|row| row[0] == self.name() && row[1] == name);
        let row = row.expect("the table that ships has every model");
        let number = |cell: usize| row[cell].parse().expect("the table that ships holds numbers");
        [2, 4].map(|first| Fit { family, per_mille: number(first), seconds: number(first + 1) })
    }
}

impl Fit {
    /// So many seconds.
    pub(crate) fn draw(self, rng: &mut Rng) -> u64 {
        match self.family {
            Family::Weibull => chance::weibull(rng.next(), self.per_mille, self.seconds),
            Family::Lognormal => chance::lognormal(rng, self.seconds, self.per_mille),
        }
    }
}

#[cfg(test)]
mod tests {
    use bocage_protocol::random::Seed;

    use super::*;

    const ALL: [Model; 9] = [
        Model::Grid5000,
        Model::Lanl,
        Model::NameServers,
        Model::Desktops,
        Model::NotreDame,
        Model::Overnet,
        Model::PlanetLab,
        Model::Skype,
        Model::WebSites,
    ];

    #[test]
    fn every_model_has_both_fits_and_the_name_it_is_written_with() {
        for model in ALL {
            assert_eq!(serde_json::to_value(model).unwrap(), model.name());
            for family in [Family::Weibull, Family::Lognormal] {
                assert!(model.fits(family).iter().all(|fit| fit.seconds > 0 && fit.per_mille > 0));
            }
        }
    }

    #[test]
    fn callers_stay_and_stay_away_about_as_long_as_they_did() {
        // The exponential fits of the same trace say 16.27 and 14.31 hours on the average.
        let mut rng = Seed([9; 32]).rng();
        let mut mean = |fit: Fit| (0..20_000).map(|_| fit.draw(&mut rng)).sum::<u64>() / 20_000;
        let hours = Model::Skype.fits(Family::Weibull).map(|fit| mean(fit) / 360);
        assert!(hours[0].abs_diff(163) < 20 && hours[1].abs_diff(143) < 20, "tenths of hours: {hours:?}");
    }
}
