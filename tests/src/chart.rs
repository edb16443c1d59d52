//! Pictures of dashboards as SVG, from data that a real Prometheus gave. Not Grafana: it shows what a
//! dashboard shows, so that people can see it without one.

use std::fmt::Write as _;

use crate::dashboard::{Dashboard, Kind, Panel, Place};
use crate::prometheus::{Series, Window};

/// Pixels per column and row of Grafana's grid.
const COLUMN: f64 = 50.0;
const ROW: f64 = 30.0;
/// Pixels around a panel, and above the first.
const GAP: f64 = 6.0;
const HEADER: f64 = 46.0;
/// Distinguishable for most people, on the dark ground below.
const COLOURS: [&str; 8] = [
    "#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#c0d8ff",
];

/// A dashboard with the data of each panel, in order.
pub fn draw(dashboard: &Dashboard, data: &[Vec<(String, Series)>], window: Window) -> String {
    let rows = dashboard.panels.iter().map(|panel| {
        let Place { y, height, .. } = panel.place;
        y + height
    });
    let width = 24.0 * COLUMN + 2.0 * GAP;
    let height = HEADER + f64::from(rows.max().unwrap_or_default()) * ROW + GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"Inter,Helvetica,Arial,sans-serif\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#111217\"/>\n"
    );
    label(&mut svg, (14.0, 30.0), 18, "#ccccdc", &dashboard.title);
    for (panel, series) in dashboard.panels.iter().zip(data) {
        draw_panel(&mut svg, panel, series, window);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where a panel's content is.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

fn draw_panel(svg: &mut String, panel: &Panel, series: &[(String, Series)], window: Window) {
    let Place {
        x,
        y,
        width,
        height,
    } = panel.place;
    let frame = Frame {
        left: GAP + f64::from(x) * COLUMN + GAP / 2.0,
        top: HEADER + f64::from(y) * ROW + GAP / 2.0,
        width: f64::from(width) * COLUMN - GAP,
        height: f64::from(height) * ROW - GAP,
    };
    let Frame {
        left,
        top,
        width,
        height,
    } = frame;
    rectangle(svg, frame, "#181b1f");
    label(svg, (left + 10.0, top + 20.0), 12, "#ccccdc", &panel.title);
    match panel.kind {
        Kind::Stat => {
            let values: Vec<String> = series
                .iter()
                .map(|(_, series)| last(series))
                .map(|value| {
                    value.map_or_else(|| "no data".to_owned(), |value| shown(value, &panel.unit))
                })
                .collect();
            let text = if values.is_empty() {
                "no data".to_owned()
            } else {
                values.join("  ")
            };
            let place = (left + 10.0, top + height / 2.0 + 24.0);
            label(svg, place, 30, "#73bf69", &text);
        }
        Kind::TimeSeries => {
            let plot = Frame {
                left: left + 60.0,
                top: top + 32.0,
                width: width - 74.0,
                height: height - 78.0,
            };
            draw_lines(svg, plot, &panel.unit, series, window);
        }
    }
}

fn draw_lines(
    svg: &mut String,
    plot: Frame,
    unit: &str,
    series: &[(String, Series)],
    window: Window,
) {
    let values = || {
        let points = series.iter().flat_map(|(_, series)| &series.points);
        points.map(|(_, value)| *value).filter(|v| v.is_finite())
    };
    let highest = values().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        let middle = (
            plot.left + plot.width / 2.0 - 24.0,
            plot.top + plot.height / 2.0,
        );
        label(svg, middle, 12, "#8e8e99", "no data");
        return;
    }
    let lowest = values().fold(0.0, f64::min);
    let top = if highest > lowest {
        highest
    } else {
        lowest + 1.0
    };
    let bottom = plot.top + plot.height;
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        let y = bottom - share * plot.height;
        let right = plot.left + plot.width;
        line(svg, &[(plot.left, y), (right, y)], "#2c3235", 1.0);
        let text = shown(lowest + share * (top - lowest), unit);
        label(svg, (plot.left - 54.0, y + 4.0), 10, "#8e8e99", &text);
    }
    let minutes = (window.end - window.start) / 60.0;
    let earlier = format!("-{minutes:.0} min");
    label(svg, (plot.left, bottom + 14.0), 10, "#8e8e99", &earlier);
    let now = (plot.left + plot.width - 20.0, bottom + 14.0);
    label(svg, now, 10, "#8e8e99", "now");
    for (index, (_, one)) in series.iter().enumerate() {
        // A gap in the data is a gap in the line.
        for stretch in one
            .points
            .chunk_by(|a, b| b.0 - a.0 <= window.step * 1.5 && a.1.is_finite() && b.1.is_finite())
        {
            let points: Vec<_> = stretch
                .iter()
                .filter(|(_, value)| value.is_finite())
                .map(|(time, value)| {
                    let x = (time - window.start) / (window.end - window.start);
                    let y = (value - lowest) / (top - lowest);
                    (plot.left + x * plot.width, bottom - y * plot.height)
                })
                .collect();
            line(svg, &points, colour(index), 1.5);
        }
    }
    let mut x = plot.left;
    for (index, (legend, _)) in series.iter().enumerate() {
        // About as wide as it will be; what does not fit is told as a number.
        let needed = 24.0 + 5.6 * f64::from(u16::try_from(legend.len()).unwrap_or(u16::MAX));
        if x + needed > plot.left + plot.width {
            let rest = format!("and {} more", series.len() - index);
            label(svg, (x, bottom + 32.0), 10, "#8e8e99", &rest);
            break;
        }
        let y = bottom + 28.5;
        line(svg, &[(x, y), (x + 12.0, y)], colour(index), 3.0);
        label(svg, (x + 16.0, bottom + 32.0), 10, "#ccccdc", legend);
        x += needed;
    }
}

fn colour(index: usize) -> &'static str {
    COLOURS.iter().cycle().nth(index).unwrap_or(&"#ffffff")
}

fn last(series: &Series) -> Option<f64> {
    series.points.last().map(|(_, value)| *value)
}

/// A value with its unit, as Grafana would write it.
fn shown(value: f64, unit: &str) -> String {
    let scaled = |steps: &[(f64, &str)]| {
        let step = steps.iter().find(|(size, _)| value.abs() >= *size);
        let (size, name) = step.or_else(|| steps.last()).copied().unwrap_or((1.0, ""));
        format!("{}{name}", rounded(value / size))
    };
    match unit {
        "bytes" => scaled(&[
            (f64::from(1 << 30), " GiB"),
            (f64::from(1 << 20), " MiB"),
            (f64::from(1 << 10), " KiB"),
            (1.0, " B"),
        ]),
        "percentunit" => format!("{}%", rounded(value * 100.0)),
        "s" => scaled(&[(86400.0, " d"), (3600.0, " h"), (60.0, " min"), (1.0, " s")]),
        "ops" | "reqps" => format!("{}/s", rounded(value)),
        _ => scaled(&[(1e6, " M"), (1e3, " K"), (1.0, "")]),
    }
}

fn rounded(value: f64) -> String {
    let digits = if value.abs() >= 100.0 || value.fract() == 0.0 {
        0
    } else if value.abs() >= 1.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

fn rectangle(svg: &mut String, frame: Frame, colour: &str) {
    let Frame {
        left,
        top,
        width,
        height,
    } = frame;
    add(
        svg,
        format_args!(
            "<rect x=\"{left:.0}\" y=\"{top:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" rx=\"3\" fill=\"{colour}\"/>\n"
        ),
    );
}

fn line(svg: &mut String, points: &[(f64, f64)], colour: &str, width: f64) {
    let points: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    add(
        svg,
        format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n",
            points.join(" ")
        ),
    );
}

fn label(svg: &mut String, (x, y): (f64, f64), size: u8, colour: &str, text: &str) {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    add(
        svg,
        format_args!(
            "<text x=\"{x:.0}\" y=\"{y:.0}\" font-size=\"{size}\" fill=\"{colour}\">{text}</text>\n"
        ),
    );
}

fn add(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    svg.write_fmt(text).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let cases = [
            (0.0, "short", "0"),
            (1234.0, "short", "1.2 K"),
            (57_597_952.0, "bytes", "54.9 MiB"),
            (0.8925, "percentunit", "89.2%"),
            (7_775_200.0, "s", "90.0 d"),
            (0.583, "ops", "0.58/s"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(shown(value, unit), text, "{value} {unit}");
        }
    }
}
