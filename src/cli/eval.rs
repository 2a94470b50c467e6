//! `tvsl eval`: how right is a model on labelled scenes?

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::{Common, Failure, logging};
use crate::analysis;
use crate::capture;
use crate::engine;
use crate::evaluate::bootstrap::Figure;
use crate::evaluate::judge::Judge;
use crate::evaluate::report::{ClassReport, Figures, Report};
use crate::evaluate::{self, scenes};
use crate::model::Model;

/// Not wrapped by the parser: at most 80 columns.
const FORMAT: &str = "\
A scenes file is JSON, its paths relative to its folder:

  {\"scenes\": [{\"image\": \"a.jpg\", \"audio\": \"a.wav\", \"kind\": \"duet\",
    \"sources\": [{\"class\": \"dog\", \"boxes\": [[0.1, 0.2, 0.4, 0.9]]},
                {\"class\": \"cat\"}],
    \"silent\": [\"cow\"]}]}

kind     single, duet, silent_object, off_screen or silence; in the last two
         nothing is to be reported
audio    leave it out for digital silence
sources  what sounds; boxes [x0, y0, x1, y1] are shares of the picture, upright
         as its EXIF says, and may be left out when unknown; \"half\": \"left\" or
         \"right\" says where a source of a duet is when its boxes are unknown
silent   classes that are seen and do not sound
class    a name or alias of the model's manifest (tvsl check --classes); others
         are reported and left out";

/// Score a model on labelled scenes
///
/// Judges every scene with the thresholds of `run`, over whole windows of sound (`run` judges a frame with the last
/// `window.memory` seconds). Prints each measure with the number of samples behind it and its 95 % bootstrap interval:
/// over all scenes, under the names of the published tables, and by class; then how they were taken.
#[derive(Args, Debug)]
#[command(after_help = FORMAT)]
pub(super) struct Arguments {
    /// The scenes
    #[arg(value_name = "SCENES.json")]
    scenes: PathBuf,
    /// Model folder, in place of the configured one
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    let (config, _) = common.settings()?;
    super::readable(&arguments.scenes, "give the path of a JSON file with the key `scenes`")?;
    let read = scenes::read(&arguments.scenes).map_err(Failure::failed)?;
    read.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    capture::init().map_err(Failure::failed)?;
    let folder = arguments.model.map_or_else(|| config.model_dir(), Ok)?;
    let engine = engine::choose(&config.engine).map_err(Failure::failed)?;
    let model = Model::configured(&folder, engine.as_ref(), &config).map_err(Failure::failed)?;
    let decision = analysis::decision(model.manifest(), &config);
    let mut judge = Judge::new(model, decision.map_err(|error| Failure::model(&config, error))?);
    for (index, scene) in read.scenes.iter().enumerate() {
        let contradictions = judge.contradictions(scene);
        contradictions.iter().for_each(|what| tracing::warn!("scenes[{index}].{what}"));
    }
    let judged = judge.judge(&read.scenes, progress).map_err(Failure::failed)?;
    for (class, times) in &judged.classes_left_out {
        tracing::warn!("class \"{class}\" is not in the model: left out, {times} times");
    }
    let report = evaluate::report(judged, judge.model().manifest());
    if report.scenes == 0 {
        let names: Vec<_> = report.classes_left_out.keys().map(String::as_str).collect();
        return Err(Failure::Failed(format!(
            "{}: no scene is left to score, since the model lacks their classes ({}); `tvsl check --classes` lists its own",
            arguments.scenes.display(),
            names.join(", ")
        )));
    }
    super::print(&if arguments.json { json(&report)? } else { table(&report) })
}

/// Shows on a terminal how far the work is; erases itself at the end.
fn progress(done: usize, total: usize) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    if done == total {
        logging::note("\r\x1b[K");
    } else if done.is_multiple_of(5) {
        let full = 30 * done / total.max(1);
        let (percent, rest) = (100 * done / total.max(1), 30 - full);
        logging::note(&format!("\r{percent:>4} % [{}{}]", "=".repeat(full), " ".repeat(rest)));
    }
}

fn json(report: &Report) -> Result<String, Failure> {
    serde_json::to_string_pretty(report).map(|text| text + "\n").map_err(Failure::failed)
}

/// The report for people, at most 100 columns wide.
fn table(report: &Report) -> String {
    let mut out = format!("model   {}\nscenes  {}: {}\n", report.model, report.scenes, kinds(report));
    if report.scenes_left_out > 0 || !report.classes_left_out.is_empty() {
        let names: Vec<_> = report.classes_left_out.keys().map(String::as_str).collect();
        let (scenes, names) = (report.scenes_left_out, names.join(", "));
        let _ = writeln!(out, "left out  {scenes} scenes; classes that the model lacks: {names}");
    }
    out.push_str(&figure_table("", &report.figures));
    if report.published.0.iter().any(|(_, figure)| figure.n > 0) {
        out.push_str(&figure_table("as published tables do", &report.published));
    }
    out.push_str(&class_table(&report.classes));
    let _ = writeln!(out, "\n{}", wrapped(&report.protocol, 100));
    out
}

fn kinds(report: &Report) -> String {
    let of = |kind: scenes::Kind| {
        let count = report.kinds.get(kind.name()).copied().unwrap_or(0);
        (count > 0).then(|| format!("{count} {}", kind.name()))
    };
    scenes::Kind::ALL.into_iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

fn figure_table(heading: &str, figures: &Figures) -> String {
    let mut out = format!("\n{heading:<24}{:>8}   {:<15}{:>6}\n", "value", "95 % interval", "n");
    for (name, figure) in &figures.0 {
        let (value, n) = (shown(figure.value), figure.n);
        let _ = writeln!(out, "{name:<24}{value:>8}   {:<15}{n:>6}", interval(figure));
    }
    out
}

/// Columns of the table of classes: heading and figure.
const COLUMNS: [(&str, &str); 8] = [
    ("precis.", "set_precision"),
    ("recall", "set_recall"),
    ("f1", "set_f1"),
    ("AP", "average_precision"),
    ("silent", "silent_false_rate"),
    ("pointing", "pointing"),
    ("IoU>=.3", "iou_at_30"),
    ("IoU>=.5", "iou_at_50"),
];

fn class_table(classes: &[ClassReport]) -> String {
    let mut out = format!("\n{:<21}{:>4}", "class", "n");
    COLUMNS.iter().for_each(|(heading, _)| out.push_str(&format!(" {heading:>8}")));
    out.push('\n');
    for ClassReport { class, figures } in classes {
        let n = figures.get("set_recall").map_or(0, |figure| figure.n);
        let _ = write!(out, "{class:<21.21}{n:>4}");
        for (_, name) in COLUMNS {
            let value = figures.get(name).and_then(|figure| figure.value);
            let _ = write!(out, "{:>9}", shown(value));
        }
        out.push('\n');
    }
    out
}

fn shown(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.3}"))
}

fn interval(figure: &Figure) -> String {
    match (figure.low, figure.high) {
        (Some(low), Some(high)) => format!("{low:.3} – {high:.3}"),
        _ => "-".into(),
    }
}

/// The text in lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].chars().count() + 1 + word.chars().count() > width {
            lines.push(word.into());
        } else {
            let gap = if lines[last].is_empty() { "" } else { " " };
            lines[last] += &format!("{gap}{word}");
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("one two three four", 9), "one two\nthree\nfour");
        assert_eq!(wrapped("unbreakable", 3), "unbreakable");
    }
}
