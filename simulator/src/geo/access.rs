//! Access classes: what lies between a node and the first city-to-city line. The numbers are assumptions in the usual order
//! of size, not measurements; a scenario may set its own (`[[network.access]]`).
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a node is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// A server's port.
    Datacentre,
    /// An office's own fibre, as fast up as down.
    BusinessFibre,
    /// A home's copper: slow up, with a deep buffer.
    Dsl,
    /// A radio cell.
    Mobile,
}

/// What a line of a class is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which class.
    pub class: Access,
    /// From the node to its city or back, one way, while nothing waits.
    pub delay_us: u64,
    /// A frame is late by so much on average, beyond all other jitter.
    pub jitter_us: u64,
    /// From the node.
    pub up_mbit: u64,
    /// To the node.
    pub down_mbit: u64,
    /// What may wait to be sent. A frame that finds no room there is dropped, as by a link's full send queue.
    pub up_buffer_kib: u64,
    /// What may wait on the provider's side. What finds no room there is held back at its sender, and counted.
    pub down_buffer_kib: u64,
}

impl Access {
    /// All classes.
    pub(crate) const ALL: [Self; 4] = [Self::Datacentre, Self::BusinessFibre, Self::Dsl, Self::Mobile];

    /// Its line, unless a scenario says otherwise.
    pub(crate) fn line(self) -> Line {
        let line = |delay_us, jitter_us, [up_mbit, down_mbit]: [u64; 2], [up, down]: [u64; 2]| Line {
            class: self,
            delay_us,
            jitter_us,
            up_mbit,
            down_mbit,
            up_buffer_kib: up,
            down_buffer_kib: down,
        };
        match self {
            Self::Datacentre => line(50, 5, [1_000, 1_000], [8_192, 8_192]),
            Self::BusinessFibre => line(1_000, 50, [500, 500], [4_096, 4_096]),
            Self::Dsl => line(8_000, 500, [10, 50], [512, 1_024]),
            Self::Mobile => line(25_000, 5_000, [15, 60], [1_024, 2_048]),
        }
    }
}

impl Line {
    /// What is wrong with it, if anything.
    pub(crate) fn validate(&self) -> Result<(), String> {
        /// A second of delay is no access, and so much a second fits into the integers of a run.
        const DELAY_US_MAX: u64 = 2_000_000;
        const MBIT_MAX: u64 = 1_000_000;
        const BUFFER_KIB_MAX: u64 = 1 << 20;
        let within = |what: &str, value: u64, least: u64, most: u64| {
            let fits = (least..=most).contains(&value);
            if fits { Ok(()) } else { Err(format!("{what} = {value} must be {least} to {most}")) }
        };
        within("delay_us", self.delay_us, 0, DELAY_US_MAX)?;
        within("jitter_us", self.jitter_us, 0, DELAY_US_MAX)?;
        within("up_mbit", self.up_mbit, 1, MBIT_MAX)?;
        within("down_mbit", self.down_mbit, 1, MBIT_MAX)?;
        within("up_buffer_kib", self.up_buffer_kib, 64, BUFFER_KIB_MAX)?;
        within("down_buffer_kib", self.down_buffer_kib, 64, BUFFER_KIB_MAX)
    }
}
