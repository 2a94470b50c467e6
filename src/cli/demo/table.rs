//! What a person sees of the demonstration: a live table of messages, a progress bar, a verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::evaluate::clip::{Outcome, Truth, Verdict};
use crate::message::{Message, Phase, Sounding};

const BAR: usize = 30;

/// What is about to happen, and the head of the table.
pub(super) fn opening(truth: &Truth, port: u16) -> String {
    let mut text = format!(
        "tvsl run plays {} ({:.0} s); its messages arrive through mosquitto on 127.0.0.1:{port}\n\nWhat truly happens:\n",
        truth.clip.display(),
        truth.seconds
    );
    for source in &truth.sources {
        let spans: Vec<String> = source.sounding.iter().map(|(a, b)| format!("{a:.0}–{b:.0} s")).collect();
        let place =
            source.place.map_or("off screen: must not be reported", |[x0, _, x1, _]| side((x0 + x1) / 2.0));
        let _ = writeln!(text, "  {:<10} {:<22} {place}", source.class, spans.join(", "));
    }
    text + "\nWhat a subscriber is told:\n    time          class      p     heard  seen   where   box (pixels)\n"
}

fn side(x: f32) -> &'static str {
    match x {
        x if x < 0.4 => "left",
        x if x > 0.6 => "right",
        _ => "middle",
    }
}

/// The live part. On a terminal the last line is a progress bar; elsewhere only the rows are written.
pub(super) struct Table {
    seconds: f64,
    live: bool,
    now: BTreeMap<String, String>,
    messages: usize,
}

impl Table {
    pub fn new(truth: &Truth) -> Self {
        Self {
            seconds: truth.seconds,
            live: std::io::stdout().is_terminal(),
            now: BTreeMap::new(),
            messages: 0,
        }
    }

    /// A row for everything that starts or ends; what goes on is in the last line.
    pub fn message(&mut self, message: &Message, start: f64) {
        self.messages += 1;
        let time = message.frame.captured - start;
        for sounding in &message.detections {
            if sounding.event == Phase::Start {
                self.row(&format!("{time:>6.1} s  start  {}", described(sounding)));
            }
            self.now.insert(sounding.id.clone(), sounding.label.clone());
        }
        for ended in &message.ended {
            self.now.remove(&ended.id);
            self.row(&format!("{time:>6.1} s  end    {}", ended.class));
        }
    }

    pub fn status(&mut self, word: &str) {
        self.row(&format!("           status {word}"));
    }

    pub fn progress(&mut self, start: Option<f64>) {
        let Some(start) = start.filter(|_| self.live) else { return };
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let time = (wall - start).clamp(0.0, self.seconds);
        let full = (time / self.seconds * BAR as f64) as usize;
        let names: Vec<&str> = self.now.values().map(String::as_str).collect();
        let now = if names.is_empty() { "–".into() } else { names.join(", ") };
        self.draw(&format!(
            "  [{}{}] {time:>4.1} s  {} messages  now: {now}",
            "█".repeat(full),
            "░".repeat(BAR - full),
            self.messages
        ));
    }

    /// Removes the progress bar.
    pub fn done(&self) {
        self.draw("");
    }

    /// What cannot be written here is told with the verdict.
    fn row(&self, text: &str) {
        self.draw("");
        let _ = writeln!(std::io::stdout(), "  {text}");
    }

    fn draw(&self, text: &str) {
        if self.live {
            let mut out = std::io::stdout();
            let _ = write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush());
        }
    }
}

fn described(s: &Sounding) -> String {
    let [x0, y0, x1, y1] = s.region.pixels;
    let middle = (s.region.rect[0] + s.region.rect[2]) / 2.0;
    format!(
        "{:<10} {:>4.2}  {:>4.2}   {:>4.2}   {:<6}  {x0},{y0} – {x1},{y1}",
        s.label,
        s.p,
        s.p_audio,
        s.p_visual,
        side(middle)
    )
}

/// The verdict: every interval of the truth, and what was made up.
pub(super) fn closing(verdict: &Verdict, messages: usize) -> String {
    let mut text = String::from(
        "\nHeld against the truth:\n    class      sounding     found  ids  onset   offset  overlap  peak inside\n",
    );
    verdict.outcomes.iter().for_each(|outcome| text += &line(outcome));
    for report in &verdict.false_reports {
        let _ = writeln!(
            text,
            "    {:<10} at {:.1} s, in {} messages: NOT TRUE",
            report.class, report.time, report.frames
        );
    }
    let found = verdict.outcomes.iter().filter(|outcome| outcome.found).count();
    let _ = writeln!(
        text,
        "\n{found} of {} sources found, {} false reports, {messages} messages: {}",
        verdict.outcomes.len(),
        verdict.false_reports.len(),
        if verdict.is_right() { "as it should be" } else { "NOT as it should be" }
    );
    text
}

fn line(outcome: &Outcome) -> String {
    let seconds = |value: Option<f64>| value.map_or("–".into(), |v| format!("{v:.2} s"));
    let share = |value: Option<f32>| value.map_or("–".into(), |v| format!("{:.0} %", v * 100.0));
    format!(
        "    {:<10} {:>4.1}–{:<4.1} s  {:<5}  {:<4} {:<7} {:<7} {:<8} {}\n",
        outcome.class,
        outcome.span.0,
        outcome.span.1,
        if outcome.found { "yes" } else { "NO" },
        outcome.identities,
        seconds(outcome.onset),
        seconds(outcome.offset),
        share(outcome.iou),
        share(outcome.pointing)
    )
}
