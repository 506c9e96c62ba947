//! How fast a run goes that somebody looks at, and what a page may ask about it.
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Simulated seconds in one second; none: as fast as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Option<f64>", into = "Option<f64>")]
pub(crate) struct Speed(Option<f64>);

impl Speed {
    /// Slower looks like standing still.
    const LEAST: f64 = 0.01;
    /// Faster is `max`.
    const MOST: f64 = 100_000.0;

    pub(super) const fn per_second(self) -> Option<f64> {
        self.0
    }
}

impl TryFrom<Option<f64>> for Speed {
    type Error = String;

    fn try_from(speed: Option<f64>) -> Result<Self, String> {
        match speed {
            Some(speed) if !(Self::LEAST..=Self::MOST).contains(&speed) => {
                Err(format!("simulated seconds in one second, from {} to {}, or max", Self::LEAST, Self::MOST))
            }
            _ => Ok(Self(speed)),
        }
    }
}

impl From<Speed> for Option<f64> {
    fn from(speed: Speed) -> Self {
        speed.0
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // No number at all is refused like one that is out of range.
        let number = if text == "max" { None } else { Some(text.parse().unwrap_or(f64::NAN)) };
        number.try_into()
    }
}

/// What a page asks for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum Asked {
    Pause,
    Go,
    /// While paused: on by a second.
    Step,
    Speed {
        speed: Speed,
    },
}

/// How fast a run goes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Pace {
    pub(super) paused: bool,
    pub(super) speed: Speed,
    /// While paused: a step was asked for and is not gone yet. Asked for again meanwhile, it is still one.
    #[serde(skip)]
    pub(super) steps: bool,
    /// Raised by each change.
    #[serde(skip)]
    pub(super) changes: u64,
}

impl Pace {
    pub(super) const fn new(speed: Speed) -> Self {
        Self { paused: false, speed, steps: false, changes: 0 }
    }

    pub(super) const fn change(&mut self, asked: Asked) {
        match asked {
            Asked::Pause => self.paused = true,
            Asked::Go => (self.paused, self.steps) = (false, false),
            Asked::Step => self.steps = self.paused,
            Asked::Speed { speed } => self.speed = speed,
        }
        self.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_within_reason_or_max() {
        assert_eq!("2.5".parse(), Ok(Speed(Some(2.5))));
        assert_eq!("max".parse(), Ok(Speed(None)));
        for wrong in ["0", "-1", "fast", "nan", "inf", ""] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
        assert!(matches!(
            serde_json::from_str(r#"{"do":"speed","speed":null}"#),
            Ok(Asked::Speed { speed: Speed(None) })
        ));
        assert!(serde_json::from_str::<Asked>(r#"{"do":"speed","speed":0.0}"#).is_err());
    }

    #[test]
    fn only_a_paused_run_steps_and_one_that_goes_on_has_forgotten_the_step() {
        let mut pace = Pace::new(Speed(None));
        pace.change(Asked::Step);
        assert!(!pace.steps);
        pace.change(Asked::Pause);
        pace.change(Asked::Step);
        assert!(pace.paused && pace.steps);
        pace.change(Asked::Go);
        assert!(!pace.paused && !pace.steps);
    }
}
