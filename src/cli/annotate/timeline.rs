//! What sounded when, as bars on a terminal.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::journal::{Found, Span};

/// Characters of a bar.
const WIDTH: usize = 56;

/// The summary: one bar for each class, and what was written where.
pub(super) fn summary(found: &Found, took: Duration, pictures: usize, out: &Path) -> String {
    let mut text = String::new();
    let length = found.seconds.max(1e-3);
    for label in labels(&found.spans) {
        let spans: Vec<&Span> = found.spans.iter().filter(|span| span.label == label).collect();
        let highest = spans.iter().map(|span| span.p).fold(0.0, f32::max);
        let _ = writeln!(text, "{label:<20.20} {} p {highest:.2}", bar(&spans, length));
        let times: Vec<String> = spans.iter().map(|s| format!("{:.1}–{:.1} s", s.start, s.end)).collect();
        let _ = writeln!(text, "{:<20} {}", "", shortened(&times));
    }
    if found.spans.is_empty() {
        text.push_str("nothing is both heard and seen\n");
    } else {
        let _ = writeln!(text, "{:<20} 0{:>width$.1} s", "", length, width = WIDTH - 3);
    }
    let (frames, speed) = (found.frames, found.frames as f64 / took.as_secs_f64().max(1e-3));
    let _ = writeln!(
        text,
        "\n{frames} frames of {length:.1} s analysed in {:.1} s ({speed:.0} a second); \
         {} messages in {} and {pictures} pictures beside it",
        took.as_secs_f64(),
        found.messages,
        out.join("detections.jsonl").display()
    );
    text
}

/// Every label once, in the order of their first sound.
fn labels(spans: &[Span]) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for span in spans {
        if !labels.contains(&span.label.as_str()) {
            labels.push(&span.label);
        }
    }
    labels
}

/// A line with a block wherever one of the spans lies.
fn bar(spans: &[&Span], length: f64) -> String {
    let cell = |i: usize| (i as f64 / WIDTH as f64 * length, (i + 1) as f64 / WIDTH as f64 * length);
    let sounds = |(from, to): (f64, f64)| spans.iter().any(|s| s.start < to && from <= s.end);
    (0..WIDTH).map(|i| if sounds(cell(i)) { '█' } else { '·' }).collect()
}

/// The first few of the times, and how many more there are.
fn shortened(times: &[String]) -> String {
    const FEW: usize = 4;
    let shown = times[..times.len().min(FEW)].join(", ");
    if times.len() > FEW { format!("{shown} and {} more", times.len() - FEW) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_blocks_where_it_sounds() {
        let span = Span::example("dog", 0.0, 5.0);
        let bar = bar(&[&span], 10.0);
        assert_eq!(bar.chars().count(), WIDTH);
        assert_eq!(bar.chars().filter(|c| *c == '█').count(), WIDTH / 2 + 1);
        assert!(bar.starts_with('█') && bar.ends_with('·'));
    }

    #[test]
    fn many_times_are_shortened() {
        let times: Vec<String> = (0..6).map(|i| i.to_string()).collect();
        assert_eq!(shortened(&times), "0, 1, 2, 3 and 2 more");
        assert_eq!(shortened(&times[..2]), "0, 1");
    }
}
