//! Which figures a report has, made from the rows of its runs.
use std::collections::{BTreeMap, BTreeSet};

use super::figure::{Axis, Figure, Line, Mark};
use crate::results::Row;

/// A figure with more lines shows none of them.
const LINES_MAX: usize = 14;

/// Rows of one variant, of all its runs.
pub(crate) struct OfVariant {
    pub(crate) name: String,
    pub(crate) runs: usize,
    pub(crate) rows: Vec<Row>,
}

const fn axis(what: &'static str, unit: &'static str) -> Axis {
    Axis { what, unit, tenfold: false }
}

const TIME: Axis = axis("time since the mesh stood", "s");
const SHARE: Axis = axis("share", "1");

/// All figures that there are rows for.
pub(crate) fn all(variants: &[OfVariant]) -> Vec<Figure> {
    let marks = marks(variants);
    let figures = [
        samples(
            variants,
            "detect",
            "Time to detect a death",
            "From a node's death until others counted it as down: the first of them, and each.",
            &[("detect_first_ms", "first"), ("detect_ms", "each")],
        ),
        samples(
            variants,
            "converge",
            "Time to converge",
            "From when all faults were over until every node knew the same and every app took writes; one sample a run.",
            &[("converge_ms", "")],
        ),
        samples(
            variants,
            "offers",
            "Time until an offer's change is known",
            "To 99 % of the honest nodes of its jurisdiction.",
            &[("offer_known_ms", "")],
        ),
        over_time(variants, "availability", "Availability by country", "availability", Label::Law, &marks)
            .map(|figure| Figure {
                caption: "Of clients' attempts that began within each interval at an edge there, the share that was answered; \
                          mean over the runs. Shaded: faults."
                    .into(),
                y: axis("answered", "1"),
                ..figure
            }),
        latency(variants),
        over_time(variants, "bytes", "Bytes that a node sends", "sent_bytes_per_node_s", Label::Law, &marks).map(
            |figure| Figure {
                caption: "By node and second, mean over the nodes of a jurisdiction and over the runs.".into(),
                y: axis("sent", "B/s"),
                ..figure
            },
        ),
        over_time(variants, "live-nodes", "Nodes that run", "live_nodes", Label::Law, &marks).map(|figure| Figure {
            caption: "Mean over the runs.".into(),
            y: axis("nodes", "1"),
            ..figure
        }),
        counted(variants, "leaders", "Leader changes", "leader_change", "leader changes", &marks),
        counted(variants, "repairs", "Replicas opened to mend cells", "repair", "repairs", &marks),
        over_time(variants, "largest-share", "Concentration: the largest share", "largest_share", Label::Held, &marks)
            .map(|figure| Figure {
                caption: "Of nodes, votes and leases, how much the largest operator and the largest jurisdiction hold.".into(),
                y: SHARE,
                ..figure
            }),
        over_time(variants, "herfindahl", "Concentration: Herfindahl index", "herfindahl", Label::Held, &marks).map(
            |figure| Figure {
                caption: "The sum of the squares of all shares: 1 if one party has all.".into(),
                y: axis("index", "1"),
                ..figure
            },
        ),
        over_time(variants, "nakamoto", "Concentration: Nakamoto coefficient", "nakamoto", Label::Held, &marks).map(
            |figure| Figure {
                caption: "How few parties together hold more than half.".into(),
                y: axis("parties", "1"),
                ..figure
            },
        ),
    ];
    figures.into_iter().flatten().collect()
}

/// The faults of the first run, begin and end: the same in all runs where the scenario names whom and when.
fn marks(variants: &[OfVariant]) -> Vec<Mark> {
    /// Random churn is too much to shade.
    const MARKS_MAX: usize = 40;
    let Some(first) = variants.first() else { return Vec::new() };
    let seed = first.rows.first().map(|row| row.seed);
    let mut marks: Vec<Mark> = Vec::new();
    for row in first.rows.iter().filter(|row| Some(row.seed) == seed) {
        let what = row.kind.as_deref().unwrap_or_default();
        match &*row.measure {
            "fault_begins" => marks.push(Mark { what: what.to_owned(), from: row.time_s, until: None }),
            "fault_heals" => {
                if let Some(mark) = marks.iter_mut().find(|mark| mark.what == what && mark.until.is_none()) {
                    mark.until = Some(row.time_s);
                }
            }
            _ => {}
        }
    }
    if marks.len() > MARKS_MAX { Vec::new() } else { marks }
}

fn line_name(variants: &[OfVariant], variant: &str, of: &str) -> String {
    match (variants.len() > 1, of.is_empty()) {
        (false, _) => of.to_owned(),
        (true, true) => variant.to_owned(),
        (true, false) => format!("{variant}: {of}"),
    }
}

/// The share of samples that do not exceed each value.
fn samples(
    variants: &[OfVariant],
    name: &'static str,
    title: &'static str,
    caption: &str,
    measures: &[(&str, &str)],
) -> Option<Figure> {
    let mut lines = Vec::new();
    for variant in variants {
        for (measure, shown) in measures {
            let values = variant.rows.iter().filter(|row| row.measure == *measure).map(|row| row.value);
            lines.push(cumulated(line_name(variants, &variant.name, shown), values));
        }
    }
    figure(Figure {
        name,
        title,
        caption: caption.to_owned(),
        x: axis("time", "ms"),
        y: SHARE,
        steps: true,
        lines,
        marks: Vec::new(),
    })
}

fn latency(variants: &[OfVariant]) -> Option<Figure> {
    let mut lines = Vec::new();
    for variant in variants {
        for kind in ["write", "read"] {
            let of_kind = |row: &&Row| row.measure == "operation_ms" && row.kind.as_deref() == Some(kind);
            let values = variant.rows.iter().filter(of_kind).map(|row| row.value);
            lines.push(cumulated(line_name(variants, &variant.name, kind), values));
        }
    }
    figure(Figure {
        name: "latency",
        title: "What clients wait for",
        caption: "An operation from its first attempt to its answer, repetitions included.".into(),
        x: Axis { tenfold: true, ..axis("time", "ms") },
        y: SHARE,
        steps: true,
        lines,
        marks: Vec::new(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
fn cumulated(name: String, values: impl Iterator<Item = f64>) -> Line {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let all = values.len() as f64;
    let start = values.first().map(|first| (*first, 0.0));
    let points = start.into_iter().chain(values.iter().zip(1..).map(|(value, rank)| (*value, f64::from(rank) / all)));
    Line { name, points: points.collect() }
}

/// What tells lines apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    /// The jurisdiction.
    Law,
    /// What is held, by whom.
    Held,
}

/// The mean of all rows of one time, by label.
fn over_time(
    variants: &[OfVariant],
    name: &'static str,
    title: &'static str,
    measure: &str,
    label: Label,
    marks: &[Mark],
) -> Option<Figure> {
    let mut lines = Vec::new();
    for variant in variants {
        // Milliseconds, for floats are no keys.
        let mut by_label: BTreeMap<String, BTreeMap<u64, (f64, u32)>> = BTreeMap::new();
        for row in variant.rows.iter().filter(|row| row.measure == measure) {
            let of = match label {
                Label::Law => row.jurisdiction.clone().unwrap_or_default().into_owned(),
                Label::Held => {
                    let part = |text: &Option<std::borrow::Cow<'static, str>>| text.clone().unwrap_or_default();
                    format!("{} by {}", part(&row.kind), part(&row.by))
                }
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "times are not negative, and short"
            )]
            let at = (row.time_s * 1_000.0).round() as u64;
            let (total, count) = by_label.entry(of).or_default().entry(at).or_default();
            *total += row.value;
            *count += 1;
        }
        for (of, points) in by_label {
            #[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
            let points = points.into_iter().map(|(at, (total, count))| (at as f64 / 1_000.0, total / f64::from(count)));
            lines.push(Line { name: line_name(variants, &variant.name, &of), points: points.collect() });
        }
    }
    figure(Figure {
        name,
        title,
        caption: String::new(),
        x: TIME,
        y: SHARE,
        steps: false,
        lines,
        marks: marks.to_vec(),
    })
}

/// How often something happened by each time, in the mean of a variant's runs.
#[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
fn counted(
    variants: &[OfVariant],
    name: &'static str,
    title: &'static str,
    measure: &str,
    what: &'static str,
    marks: &[Mark],
) -> Option<Figure> {
    let mut lines = Vec::new();
    for variant in variants {
        let mut times: Vec<f64> =
            variant.rows.iter().filter(|row| row.measure == measure).map(|row| row.time_s).collect();
        times.sort_unstable_by(f64::total_cmp);
        let runs = variant.runs.max(1) as f64;
        let counted = times.iter().zip(1..).map(|(at, count)| (*at, f64::from(count) / runs));
        let mut points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0)).chain(counted).collect();
        // It stays so to the end.
        let end = variant.rows.iter().map(|row| row.time_s).fold(0.0, f64::max);
        points.push((end, points[points.len() - 1].1));
        lines.push(Line { name: line_name(variants, &variant.name, ""), points });
    }
    figure(Figure {
        name,
        title,
        caption: "Since the mesh stood, by run; mean over the runs.".into(),
        x: TIME,
        y: axis(what, "1"),
        steps: true,
        lines,
        marks: marks.to_vec(),
    })
}

/// A figure without points is none; of too many lines those of the first variants are shown.
fn figure(mut figure: Figure) -> Option<Figure> {
    figure.lines.retain(|line| !line.points.is_empty());
    let names: BTreeSet<&str> = figure.lines.iter().map(|line| line.name.as_str()).collect();
    if names.len() > LINES_MAX {
        let left_out = figure.lines.len() - LINES_MAX;
        figure.lines.truncate(LINES_MAX);
        let more = format!(" {left_out} more lines are left out: make a report of one variant's folder.");
        figure.caption.push_str(&more);
    }
    (!figure.lines.is_empty()).then_some(figure)
}
