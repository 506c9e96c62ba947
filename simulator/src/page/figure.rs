//! A figure: lines over one pair of axes, drawn as SVG, and said as CSV and Vega-Lite for whoever draws it anew.
use std::ops::Range;

use plotters::{
    backend::SVGBackend,
    chart::ChartBuilder,
    drawing::{DrawingAreaErrorKind, IntoDrawingArea},
    element::{PathElement, Rectangle, Text},
    series::LineSeries,
    style::{Color, IntoFont, RGBColor, ShapeStyle},
};

/// The size of a drawing, in pixels.
const SIZE: (u32, u32) = (900, 340);

/// Where the names of lines stand beside it, and how long one may be.
const NAMES: (u32, usize) = (230, 34);

/// No drawing has more points in a line: more cannot be told apart in it. The CSV has them all.
const POINTS_MAX: usize = 2_000;

/// Okabe and Ito's colours: colour-blind people tell them apart, too.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];

/// A time at which a fault began and one at which it healed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) what: String,
    pub(crate) from: f64,
    /// None if it did not heal, or was over at once.
    pub(crate) until: Option<f64>,
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// An axis: what it says, and in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// Each ten times the one before; nothing below 0.1 is shown.
    pub(crate) tenfold: bool,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    /// For its files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) caption: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// A line goes on as it was until its next point.
    pub(crate) steps: bool,
    pub(crate) lines: Vec<Line>,
    pub(crate) marks: Vec<Mark>,
}

impl Axis {
    fn label(self) -> String {
        if self.unit == "1" { self.what.to_owned() } else { format!("{} ({})", self.what, self.unit) }
    }

    /// Where a number stands on it.
    fn place(self, value: f64) -> f64 {
        if self.tenfold { value.max(0.1).log10() } else { value }
    }

    /// What stands at a place of it.
    fn shown(self, place: f64) -> String {
        number(if self.tenfold { 10_f64.powf(place) } else { place })
    }
}

impl Figure {
    /// From nothing to the greatest number.
    fn range(&self, axis: Axis, of: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
        let values = || self.lines.iter().flat_map(|line| &line.points).map(|point| axis.place(of(point)));
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let low = if axis.tenfold { low.floor() } else { low.min(0.0) };
        let high = if high > low { high } else { low + 1.0 };
        low..high + (high - low) * 0.03
    }

    /// The drawing.
    pub(crate) fn svg(&self) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let named = self.lines.len() > 1 || self.lines.iter().any(|line| !line.name.is_empty());
            let (width, longest) = NAMES;
            let (drawing, names) = root.split_horizontally(if named { SIZE.0 - width } else { SIZE.0 });
            let (across, up) = (self.range(self.x, |(x, _)| *x), self.range(self.y, |(_, y)| *y));
            let mut chart = ChartBuilder::on(&drawing)
                .margin(8)
                .x_label_area_size(42)
                .y_label_area_size(64)
                .build_cartesian_2d(across.clone(), up.clone())?;
            for mark in &self.marks {
                let until = mark.until.unwrap_or(mark.from).min(across.end).max(mark.from + across.end / 400.0);
                let band = ShapeStyle::from(&RGBColor(200, 60, 60).mix(0.13)).filled();
                chart.draw_series([Rectangle::new([(mark.from, up.start), (until, up.end)], band)])?;
            }
            let faint = RGBColor(128, 128, 128).mix(0.25);
            chart
                .configure_mesh()
                .light_line_style(RGBColor(128, 128, 128).mix(0.0))
                .bold_line_style(faint)
                .axis_style(RGBColor(128, 128, 128))
                .x_desc(self.x.label())
                .y_desc(self.y.label())
                .label_style(("sans-serif", 13))
                .axis_desc_style(("sans-serif", 14))
                .x_label_formatter(&|x| self.x.shown(*x))
                .y_label_formatter(&|y| self.y.shown(*y))
                .draw()?;
            let mut row = 24;
            for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
                let style = ShapeStyle::from(colour).stroke_width(2);
                let place = |(x, y): &(f64, f64)| (self.x.place(*x), self.y.place(*y));
                let points: Vec<(f64, f64)> = line.points.iter().map(place).collect();
                let points = if self.steps { stepped(&points) } else { points };
                chart.draw_series(LineSeries::new(thinned(points), style))?;
                if named {
                    let name: String = line.name.chars().take(longest).collect();
                    names.draw(&PathElement::new([(4, row), (22, row)], style))?;
                    names.draw(&Text::new(name, (28, row - 7), ("sans-serif", 12).into_font()))?;
                    row += 20;
                }
            }
            root.present()?;
        }
        Ok(svg)
    }

    /// Every point of every line.
    pub(crate) fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["line", "x", "y"])?;
        for line in &self.lines {
            for (x, y) in &line.points {
                writer.write_record([&line.name, &x.to_string(), &y.to_string()])?;
            }
        }
        writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    }

    /// The same figure in Vega-Lite, with its points in the CSV beside it.
    pub(crate) fn vega_lite(&self) -> serde_json::Value {
        let axis = |field: &str, axis: Axis| {
            let scale = if axis.tenfold { "log" } else { "linear" };
            serde_json::json!({
                "field": field, "type": "quantitative", "title": axis.label(), "scale": { "type": scale },
            })
        };
        let interpolate = if self.steps { "step-after" } else { "linear" };
        let mut layers = vec![serde_json::json!({
            "mark": { "type": "line", "interpolate": interpolate },
            "encoding": {
                "x": axis("x", self.x),
                "y": axis("y", self.y),
                "color": { "field": "line", "type": "nominal", "title": null },
            },
        })];
        if !self.marks.is_empty() {
            let marks: Vec<_> = self
                .marks
                .iter()
                .map(|mark| serde_json::json!({ "what": mark.what, "x": mark.from, "until": mark.until.unwrap_or(mark.from) }))
                .collect();
            let bands = serde_json::json!({
                "data": { "values": marks },
                "mark": { "type": "rect", "opacity": 0.15, "color": "#c83c3c", "tooltip": true },
                "encoding": {
                    "x": { "field": "x", "type": "quantitative" },
                    "x2": { "field": "until" },
                },
            });
            layers.insert(0, bands);
        }
        serde_json::json!({
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "title": self.title,
            "description": self.caption,
            "data": { "url": format!("{}.csv", self.name) },
            "width": 640,
            "height": 260,
            "layer": layers,
        })
    }
}

/// A line that goes on as it was until its next point.
fn stepped(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let Some(first) = points.first() else { return Vec::new() };
    let corners = points.windows(2).flat_map(|pair| [(pair[1].0, pair[0].1), pair[1]]);
    std::iter::once(*first).chain(corners).collect()
}

/// No more points than can be told apart: each keeps its place, the last one stays.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(POINTS_MAX).max(1);
    let last = points.len().saturating_sub(1);
    points.into_iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last).map(|(_, point)| point).collect()
}

/// A number for people: no more digits than tell it from its neighbours.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        _ => format!("{value:.3}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        Figure {
            name: "latency",
            title: "Latency",
            caption: "What clients waited.".into(),
            x: Axis { what: "time", unit: "ms", tenfold: true },
            y: Axis { what: "share", unit: "1", tenfold: false },
            steps: true,
            lines: vec![Line { name: "write".into(), points: vec![(1.0, 0.5), (3.0, 1.0)] }],
            marks: vec![Mark { what: "cut".into(), from: 1.0, until: Some(2.0) }],
        }
    }

    #[test]
    fn a_figure_is_drawn_and_said_in_numbers() {
        let svg = figure().svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("write") && svg.contains("time (ms)"), "{svg}");
        assert_eq!(String::from_utf8(figure().csv().unwrap()).unwrap(), "line,x,y\nwrite,1,0.5\nwrite,3,1\n");
        let vega = figure().vega_lite();
        assert_eq!(vega["data"]["url"], "latency.csv");
        assert_eq!(vega["layer"].as_array().unwrap().len(), 2, "the line, and the band of the cut");
    }

    #[test]
    fn a_step_goes_across_before_it_goes_up() {
        assert_eq!(stepped(&[(1.0, 1.0), (2.0, 5.0)]), [(1.0, 1.0), (2.0, 1.0), (2.0, 5.0)]);
        let many: Vec<_> = (0..10_001).map(|at| (f64::from(at), 0.0)).collect();
        let thin = thinned(many);
        assert!(thin.len() <= POINTS_MAX + 1 && thin.last() == Some(&(10_000.0, 0.0)));
    }
}
