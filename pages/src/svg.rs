//! Small charts as SVG that takes its colours from the style sheet of the page.

use std::fmt::Write as _;

use crate::html::escape;
use crate::words::number;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 208.0;
/// Room for the numbers of the axes and their names, px.
const LEFT: f64 = 50.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 38.0;
/// Lines that can be told apart by colour; more are drawn alike.
pub const COLOURS: usize = 5;
/// Points drawn of one line: more than the chart has pixels to show.
const MOST_POINTS: usize = 400;
/// Up to this many points each has a dot.
const MOST_DOTS: usize = 64;

/// Numbers beyond this are no measurements, and their differences would overflow.
const LARGEST: f64 = 1e100;

/// A line of a chart.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Points in the order of x. What is not finite, or not positive on a logarithmic axis, is left out.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over a linear x axis.
#[derive(Debug, Clone)]
pub struct Chart<'a> {
    /// What it shows, for those who cannot see it.
    pub title: &'a str,
    /// Name of the x axis.
    pub x: &'a str,
    /// Unit or short name of the y axis; its name is in the caption.
    pub y: &'a str,
    /// The lines.
    pub lines: &'a [Line],
    /// Whether the y axis is logarithmic. Otherwise it begins at zero, where the numbers are not negative.
    pub logarithmic: bool,
    /// Whether x counts things and so has whole numbers only.
    pub counted: bool,
    /// A line across.
    pub limit: Option<f64>,
}

impl Chart<'_> {
    /// The chart; `None` when there is nothing to draw.
    #[must_use]
    pub fn render(&self) -> Option<String> {
        let usable = |&(x, y): &(f64, f64)| {
            x.abs() < LARGEST
                && y.abs() < LARGEST
                && if self.logarithmic { y > 1.0 / LARGEST } else { y == 0.0 || y.abs() > 1.0 / LARGEST }
        };
        let lines: Vec<Vec<(f64, f64)>> =
            self.lines.iter().map(|line| line.points.iter().copied().filter(usable).collect()).collect();
        let limit = self.limit.filter(|limit| usable(&(0.0, *limit)));
        let all = || lines.iter().flatten();
        let x = Axis::linear(extent(all().map(|point| point.0))?, self.counted);
        let values = all().map(|point| point.1).chain(limit);
        let y = if self.logarithmic { Axis::logarithmic(extent(values)?) } else { Axis::from_zero(extent(values)?) };
        let place_x = |value: f64| LEFT + x.share(value) * (WIDTH - LEFT - RIGHT);
        let place_y = |value: f64| HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM);

        let mut out = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(self.title)
        );
        for tick in &y.ticks {
            let at = place_y(*tick);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                number(*tick)
            );
        }
        for tick in &x.ticks {
            let _ = write!(
                out,
                "<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                place_x(*tick),
                HEIGHT - BOTTOM + 16.0,
                number(*tick)
            );
        }
        let _ = write!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{0:.1}H{1:.1}\"/><text class=\"name middle\" x=\"{2:.1}\" y=\"{3:.1}\">{4}</text>\
             <text class=\"name middle\" transform=\"translate(11 {5:.1}) rotate(-90)\">{6}</text>",
            HEIGHT - BOTTOM,
            WIDTH - RIGHT,
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 4.0,
            escape(self.x),
            f64::midpoint(TOP, HEIGHT - BOTTOM),
            escape(self.y),
        );
        if let Some(limit) = limit {
            let at = place_y(limit);
            let _ = write!(out, "<path class=\"limit\" d=\"M{LEFT} {at:.1}H{:.1}\"/>", WIDTH - RIGHT);
        }
        for (index, points) in lines.iter().enumerate() {
            let colour = if lines.len() <= COLOURS { format!("c{index}") } else { "many".to_owned() };
            let mut path = String::new();
            let step = points.len().div_ceil(MOST_POINTS).max(1);
            for (at, (px, py)) in points.iter().step_by(step).chain(points.last()).enumerate() {
                let _ = write!(path, "{}{:.1} {:.1}", if at == 0 { "M" } else { "L" }, place_x(*px), place_y(*py));
            }
            if !path.is_empty() {
                let _ = write!(out, "<path class=\"line {colour}\" d=\"{path}\"/>");
            }
            if points.len() <= MOST_DOTS && lines.len() <= COLOURS {
                for (px, py) in points {
                    let (cx, cy) = (place_x(*px), place_y(*py));
                    let _ = write!(
                        out,
                        "<circle class=\"dot {colour}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2.4\"><title>{}: {}</title></circle>",
                        number(*px),
                        number(*py)
                    );
                }
            }
        }
        out.push_str("</svg>");
        Some(out)
    }
}

/// A bar of a share between 0 and 1.
#[must_use]
pub fn bar(share: f64) -> String {
    let width = 100.0 * if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    format!(
        "<svg class=\"share\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"whole\" width=\"100\" height=\"8\"/><rect class=\"part\" width=\"{width:.2}\" height=\"8\"/></svg>"
    )
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |found, value| match found {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    ticks: Vec<f64>,
}

impl Axis {
    fn linear((low, high): (f64, f64), counted: bool) -> Self {
        let (low, high) = if low < high { (low, high) } else { (low - 0.5, high + 0.5) };
        let step = round_up((high - low) / 6.0);
        let step = if counted { step.max(1.0).round() } else { step };
        Self { low, high, logarithmic: false, ticks: ticks(low, high, step) }
    }

    fn from_zero((low, high): (f64, f64)) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
        let step = round_up((high - low) / 4.0);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { low, high, logarithmic: false, ticks: ticks(low, high, step) }
    }

    /// From a power of ten to another one, with those between as ticks; with 1, 2 and 5 of each where there are few.
    fn logarithmic((low, high): (f64, f64)) -> Self {
        let (first, last) = (low.log10().floor(), high.log10().ceil());
        let last = if first < last { last } else { first + 1.0 };
        let every = ((last - first) / 5.0).ceil().max(1.0);
        let powers = ticks(first, last, every).into_iter().map(|power| 10f64.powf(power));
        let ticks = if last - first <= 2.0 {
            powers
                .flat_map(|power| [power, 2.0 * power, 5.0 * power])
                .filter(|tick| tick.log10() <= last + 1e-9)
                .collect()
        } else {
            powers.collect()
        };
        Self { low: first, high: last, logarithmic: true, ticks }
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.log10() } else { value };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, at least `value`.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let choices = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    choices.into_iter().find(|choice| *choice >= value * (1.0 - 1e-9)).unwrap_or(power * 10.0)
}

fn ticks(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step - 1e-9).ceil();
    let count = ((high / step + 1e-9).floor() - first).max(0.0) as usize + 1;
    // Of a multiple, so that 0.1 + 0.2 does not show.
    (0..count.min(24)).map(|index| (first + index as f64) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chart(points: Vec<(f64, f64)>, logarithmic: bool) -> Option<String> {
        let lines = [Line { name: "a".to_owned(), points }];
        Chart { title: "t", x: "x", y: "y", lines: &lines, logarithmic, counted: false, limit: Some(0.5) }.render()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(Axis::from_zero((0.0, 0.37)).ticks, [0.0, 0.1, 0.2, 0.30000000000000004, 0.4]);
        assert_eq!(Axis::logarithmic((0.002, 0.9)).ticks.len(), 4);
        assert_eq!(Axis::linear((1.0, 30.0), true).ticks, [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        assert_eq!(Axis::linear((1.0, 2.0), true).ticks, [1.0, 2.0]);
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert!(chart(vec![], false).is_none());
        assert!(chart(vec![(1.0, f64::NAN)], false).is_none());
        assert!(chart(vec![(1.0, -1.0)], true).is_none());
    }

    proptest! {
        #[test]
        fn every_point_is_inside(points in prop::collection::vec((-1e6f64..1e6, prop::num::f64::ANY), 1..40), logarithmic: bool) {
            if let Some(shown) = chart(points, logarithmic) {
                prop_assert!(!shown.contains("NaN") && !shown.contains("inf"), "{}", shown);
            }
        }
    }
}
