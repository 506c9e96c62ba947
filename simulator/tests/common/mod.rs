//! What several of these tests run, and look for.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use bocage_simulator::{Property, Report, Scenario};

/// Twelve nodes of eleven operators in two jurisdictions; the last two are one operator's: in most tests it lies.
pub(crate) fn twelve(more: &str) -> Scenario {
    let text = format!(
        r#"
        name = "twelve"
        duration_s = 40
        settle_s = 45
        [[population]]
        jurisdiction = "FR"
        operators = 6
        [[population]]
        jurisdiction = "DE"
        operators = 4
        [[population]]
        jurisdiction = "FR"
        operators = 1
        nodes = 2
        [[app]]
        name = "guestbook"
        [workload]
        offer_changes_per_minute = 60
        {more}"#
    );
    Scenario::parse(&text).unwrap()
}

/// Four nodes in two countries, one app, a crash and a cut; `more` besides.
pub(crate) fn small(more: &str) -> String {
    format!(
        r#"
name = "small"
story = "Four nodes see a crash and a cut."
duration_s = 20
settle_s = 45
[[population]]
jurisdiction = "FR"
operators = 3
[[population]]
jurisdiction = "DE"
[[app]]
name = "guestbook"
[workload]
clients = 2
think_ms = 300
offer_changes_per_minute = 20
[[fault]]
at_s = 3
for_s = 12
what = "power"
who = {{ any = 1 }}
[[fault]]
at_s = 5
for_s = 4
what = "cut"
who = {{ jurisdiction = "DE" }}
{more}"#
    )
}

pub(crate) fn violates(report: &Report, property: Property) -> bool {
    report.violations.iter().any(|violation| violation.property == property)
}
