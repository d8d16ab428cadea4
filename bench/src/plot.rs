//! A plot of an outcome: a bar for each subject in each situation, with a line from the least sample
//! to the most. SVG, with the reader's own fonts.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{number, unique};
use crate::work::{Better, Outcome, Series};

const WIDTH: u32 = 860;
const BAR: i32 = 20;
const HEAD: i32 = 46;
const GROUP: i32 = 26;
/// Where bars begin and end.
const LEFT: i32 = 270;
const RIGHT: i32 = 760;
/// Above this ratio of the longest bar to the shortest the scale is logarithmic.
const TOO_FAR: f64 = 30.0;

const OURS: RGBColor = RGBColor(204, 85, 0);
const OTHERS: RGBColor = RGBColor(122, 142, 168);
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(130, 134, 142);

/// # Panics
/// When the file cannot be written.
pub fn write(path: &Path, outcome: &Outcome) {
    let situations = unique(outcome.series.iter().map(|series| series.at.as_str()));
    let height = HEAD
        + i32::try_from(situations.len()).expect("few") * GROUP
        + i32::try_from(outcome.series.len()).expect("few") * BAR
        + 12;
    let area = SVGBackend::new(path, (WIDTH, height.unsigned_abs())).into_drawing_area();
    draw(&area, outcome, &situations).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(area: &Area<'_>, outcome: &Outcome, situations: &[&str]) -> Drawn {
    // Dark pages have no ink that is readable on both.
    area.fill(&WHITE)?;
    let scale = Scale::of(&outcome.series);
    let better = match outcome.better {
        Better::Lower => "shorter is better",
        Better::Higher => "longer is better",
    };
    let how = if scale.logarithmic { ", logarithmic" } else { "" };
    text(area, &outcome.title, (12, 12), 16, &INK, HPos::Left)?;
    let caption = format!("{}; {better}{how}", outcome.unit);
    text(area, &caption, (12, 32), 12, &FAINT, HPos::Left)?;
    let mut y = HEAD;
    for situation in situations {
        text(area, situation, (12, y + GROUP / 2), 13, &INK, HPos::Left)?;
        y += GROUP;
        for series in outcome.series.iter().filter(|series| series.at == *situation) {
            bar(area, series, &scale, y)?;
            y += BAR;
        }
    }
    area.present()?;
    Ok(())
}

fn bar(area: &Area<'_>, series: &Series, scale: &Scale, y: i32) -> Drawn {
    let color = if series.subject.starts_with("event_source") { OURS } else { OTHERS };
    let middle = y + BAR / 2;
    let end = scale.at(series.median());
    text(area, &series.subject, (LEFT - 8, middle), 12, &INK, HPos::Right)?;
    area.draw(&Rectangle::new([(LEFT, y + 3), (end, y + BAR - 3)], color.filled()))?;
    let (least, most) = (scale.at(series.least()), scale.at(series.most()));
    area.draw(&PathElement::new([(least, middle), (most, middle)], INK.stroke_width(1)))?;
    for x in [least, most] {
        area.draw(&PathElement::new([(x, middle - 3), (x, middle + 3)], INK.stroke_width(1)))?;
    }
    let value = number(series.median());
    text(area, &value, (end.max(most) + 6, middle), 12, &INK, HPos::Left)
}

fn text(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: i32,
    color: &RGBColor,
    side: HPos,
) -> Drawn {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(color)
        .pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text, at, style))?;
    Ok(())
}

/// Values to places on the page.
struct Scale {
    logarithmic: bool,
    low: f64,
    high: f64,
}

impl Scale {
    fn of(series: &[Series]) -> Self {
        let medians = || series.iter().map(Series::median).filter(|median| *median > 0.0);
        let shortest = medians().fold(f64::INFINITY, f64::min);
        let high = series.iter().map(Series::most).fold(f64::MIN_POSITIVE, f64::max);
        let least = series.iter().map(Series::least).fold(f64::INFINITY, f64::min);
        let logarithmic = least > 0.0 && high / shortest > TOO_FAR;
        // A bar on a logarithmic scale begins somewhere: at the power of ten below the least.
        let low = if logarithmic { 10_f64.powf(least.log10().floor()) } else { 0.0 };
        Self { logarithmic, low, high }
    }

    fn at(&self, value: f64) -> i32 {
        let part = if self.logarithmic {
            (value / self.low).log(self.high / self.low)
        } else {
            value / self.high
        };
        LEFT + (part.clamp(0.0, 1.0) * f64::from(RIGHT - LEFT)).round() as i32
    }
}
