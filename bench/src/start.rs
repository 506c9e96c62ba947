//! From the command to an app that answers at every edge.
use crate::{demo::Bocage, table::Figure};

/// Seconds, as promised.
const AT_MOST: f64 = 10.0;

pub(crate) fn measure(bocage: &Bocage, runs: usize) -> anyhow::Result<Vec<Figure>> {
    let mut took = Vec::new();
    for run in 0..runs {
        let demo = bocage.demo()?;
        eprintln!("start {}: {:?}", run + 1, demo.took);
        took.push(demo.took.as_secs_f64());
    }
    Ok(vec![Figure::worst("demo: mesh up and app answering", "s", AT_MOST, took)])
}
