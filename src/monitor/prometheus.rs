//! The figures in Prometheus' text format 0.0.4.

use std::fmt::Write;

use super::figures::Figures;
use super::histogram::Histogram;
use super::host::Host;
use crate::clock::Instant;
use crate::message::{HealthState, Info, Part};

/// The page `/metrics`.
pub(super) fn page(about: &Info, figures: &Figures, host: &Host, now: Instant) -> String {
    let mut page = Page::default();
    let model = format!("{} {}", about.model.name, about.model.version);
    page.family("tvsl_build_info", "gauge", "What runs; always 1.");
    let labels = [("version", about.version.as_str()), ("model", &model), ("engine", &about.engine)];
    page.sample("tvsl_build_info", &labels, 1.0);
    page.one("tvsl_uptime_seconds", "gauge", "Time since the start.", figures.uptime(now).as_secs_f64());
    page.one(
        "tvsl_ready",
        "gauge",
        "1 if sources are found when they sound.",
        f64::from(figures.ready(now).is_empty()),
    );
    frames(&mut page, figures, now);
    times(&mut page, figures);
    parts(&mut page, figures);
    broker(&mut page, figures);
    machine(&mut page, figures, host);
    page.0
}

fn frames(page: &mut Page, figures: &Figures, now: Instant) {
    let progress = figures.progress;
    page.one("tvsl_frames_analysed_total", "counter", "Pictures that were judged.", figures.analysed as f64);
    page.one("tvsl_frames_per_second", "gauge", "Pictures judged in a second, lately.", figures.rate(now));
    let name = "tvsl_frames_dropped_total";
    page.family(name, "counter", "Pictures that were not judged, by cause.");
    let causes = [
        ("slow", progress.shed.frames),
        ("sense_away", progress.unjudged),
        ("closed", progress.forgotten),
        ("failed", progress.misjudged),
        ("disabled", progress.disabled),
        ("throttled", progress.throttled),
    ];
    causes.iter().for_each(|(cause, count)| page.sample(name, &[("cause", cause)], *count as f64));
    let samples = progress.shed.samples as f64;
    page.one(
        "tvsl_samples_dropped_total",
        "counter",
        "Samples of sound shed because the analysis was slow.",
        samples,
    );
    page.one("tvsl_sound_gaps_total", "counter", "Gaps in the sound, by overruns too.", progress.gaps as f64);
    let lost = progress.lost.as_secs_f64();
    page.one("tvsl_sound_lost_seconds_total", "counter", "Sound that is missing in the gaps.", lost);
    page.one("tvsl_model_failures_total", "counter", "Failures of the model.", progress.failed as f64);
    page.one(
        "tvsl_queue_frames",
        "gauge",
        "Pictures that wait for the analysis.",
        progress.load.frames as f64,
    );
    let waiting = progress.load.sound.as_secs_f64();
    page.one("tvsl_queue_sound_seconds", "gauge", "Sound that waits for the analysis.", waiting);
    if let Some(level) = figures.level {
        page.one("tvsl_sound_level_dbfs", "gauge", "Level of the last sound.", level.into());
    }
    page.family("tvsl_events_started_total", "counter", "Events that started, by class.");
    for (class, count) in &figures.events {
        page.sample("tvsl_events_started_total", &[("class", class)], *count as f64);
    }
}

fn times(page: &mut Page, figures: &Figures) {
    page.family("tvsl_stage_seconds", "histogram", "Time spent on a picture, by stage.");
    for (stage, histogram) in &figures.stages {
        page.histogram("tvsl_stage_seconds", &[("stage", stage)], histogram);
    }
    let help = "What the GPU spent on a picture, by graph; laying it out (picture) is a part of image.";
    page.family("tvsl_gpu_seconds", "histogram", help);
    for (stage, histogram) in &figures.gpu {
        page.histogram("tvsl_gpu_seconds", &[("stage", stage)], histogram);
    }
    let help = "From the capture of a picture to its message being handed to the publisher.";
    page.family("tvsl_capture_to_publish_seconds", "histogram", help);
    page.histogram("tvsl_capture_to_publish_seconds", &[], &figures.published);
}

fn parts(page: &mut Page, figures: &Figures) {
    page.family("tvsl_part_state", "gauge", "1 for the state that a part is in.");
    for (part, known) in &figures.parts {
        let states = [
            ("starting", HealthState::Starting),
            ("ok", HealthState::Ok),
            ("degraded", HealthState::Degraded),
            ("failed", HealthState::Failed),
        ];
        for (word, state) in states {
            let labels = [("part", part.name()), ("state", word)];
            page.sample("tvsl_part_state", &labels, f64::from(known.health.state == state));
        }
    }
    page.family("tvsl_part_losses_total", "counter", "How often a part was lost.");
    for (part, known) in &figures.parts {
        page.sample("tvsl_part_losses_total", &[("part", part.name())], known.losses as f64);
    }
}

fn broker(page: &mut Page, figures: &Figures) {
    let Some(outgoing) = figures.outgoing else { return };
    let connected = f64::from(outgoing.connected);
    page.one("tvsl_broker_connected", "gauge", "1 while there is a connection to the broker.", connected);
    let made = outgoing.connections as f64;
    page.one("tvsl_broker_connections_total", "counter", "Connections made to the broker.", made);
    page.one(
        "tvsl_queue_messages",
        "gauge",
        "Messages that the broker has not got yet.",
        outgoing.waiting as f64,
    );
    page.one(
        "tvsl_messages_in_flight",
        "gauge",
        "Messages sent and not acknowledged.",
        outgoing.in_flight as f64,
    );
    let name = "tvsl_messages_dropped_total";
    page.family(name, "counter", "Messages that the broker never got, by cause.");
    let overflow = outgoing.dropped.saturating_sub(outgoing.refused);
    for (cause, count) in [("overflow", overflow), ("refused", outgoing.refused)] {
        page.sample(name, &[("cause", cause)], count as f64);
    }
}

fn machine(page: &mut Page, figures: &Figures, host: &Host) {
    let process = [
        ("process_resident_memory_bytes", "Memory in use.", host.resident_bytes),
        ("process_open_fds", "Open files and connections.", host.open_files),
        ("process_threads", "Threads.", host.threads),
    ];
    for (name, help, value) in process {
        if let Some(value) = value {
            page.one(name, "gauge", help, value as f64);
        }
    }
    page.family("tvsl_temperature_celsius", "gauge", "How hot the machine is, by sensor.");
    for (sensor, degrees) in &host.heat.temperatures {
        page.sample("tvsl_temperature_celsius", &[("sensor", sensor)], *degrees);
    }
    // One look sees no want of power, which lasts for moments; the analysis compares its looks.
    let slowed =
        figures.parts.get(&Part::Machine).is_some_and(|part| part.health.state == HealthState::Degraded);
    let throttled = f64::from(slowed || !host.heat.throttled.is_empty());
    page.one("tvsl_throttled", "gauge", "1 while the machine slows itself down.", throttled);
    let name = "tvsl_power_events_total";
    page.family(name, "counter", "Times that the machine slowed itself down for want of power, by cause.");
    for (cause, count) in &host.heat.power_events {
        page.sample(name, &[("cause", cause)], *count as f64);
    }
    if let Some(mode) = &host.heat.power_mode {
        page.family("tvsl_power_mode", "gauge", "The machine's power mode; always 1.");
        page.sample("tvsl_power_mode", &[("mode", mode)], 1.0);
    }
}

/// A page as it is written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        let ends = histogram.cumulative().map(|(end, count)| (end.to_string(), count));
        for (end, count) in ends.chain([("+Inf".to_owned(), histogram.count())]) {
            self.sample(&bucket, &[labels, &[("le", end.as_str())]].concat(), count as f64);
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum());
        self.sample(&format!("{name}_count"), labels, histogram.count() as f64);
    }

    fn line(&mut self, line: std::fmt::Arguments) {
        // A string takes everything.
        let _ = writeln!(self.0, "{line}");
    }
}

/// The text of a label between its quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::super::figures::{Outgoing, Progress};
    use super::*;
    use crate::config::Config;
    use crate::heat::Heat;
    use crate::message::{Health, ModelInfo};

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.sample("x", &[("class", "a \"b\"\\\n")], 1.5);
        assert_eq!(page.0, "x{class=\"a \\\"b\\\"\\\\\\n\"} 1.5\n");
    }

    /// A page with everything on it.
    fn whole() -> String {
        let about = Info {
            schema: 1,
            revision: 0,
            device: "hall".into(),
            version: "1".into(),
            model: ModelInfo { name: "tiny".into(), version: "1".into() },
            engine: "cpu".into(),
            classes: Vec::new(),
            lens: Config::default().camera.lens,
            masked: 0.0,
            picture: None,
        };
        let mut figures = Figures::new(Instant::ZERO);
        let (outgoing, mut progress) =
            (Outgoing { dropped: 3, refused: 1, ..Outgoing::default() }, Progress::default());
        (progress.disabled, progress.unjudged, progress.throttled, progress.shed.frames) = (4, 5, 6, 7);
        (progress.forgotten, progress.misjudged) = (8, 9);
        (progress.gaps, progress.lost) = (2, Duration::from_millis(1500));
        figures.turned(progress, Some(outgoing), Instant::ZERO);
        figures.level = Some(-30.0);
        figures.events.insert("dog".into(), 1);
        let (state, reason) = (HealthState::Degraded, "hot".into());
        figures.health(Health { part: Part::Machine, state, reason, since: 0.0, clock_synced: None });
        let heat = Heat {
            temperatures: [("cpu".into(), 71.5)].into(),
            throttled: Vec::new(),
            power_events: [("under-voltage", 3)].into(),
            power_mode: Some("15W".into()),
        };
        let host = Host { resident_bytes: Some(1), threads: Some(2), open_files: Some(3), heat };
        page(&about, &figures, &host, Instant::ZERO)
    }

    #[test]
    fn drops_broker_and_machine_are_told() {
        let page = whole();
        for line in [
            "tvsl_frames_dropped_total{cause=\"slow\"} 7",
            "tvsl_frames_dropped_total{cause=\"sense_away\"} 5",
            "tvsl_frames_dropped_total{cause=\"disabled\"} 4",
            "tvsl_frames_dropped_total{cause=\"throttled\"} 6",
            "tvsl_frames_dropped_total{cause=\"closed\"} 8",
            "tvsl_frames_dropped_total{cause=\"failed\"} 9",
            "tvsl_sound_gaps_total 2",
            "tvsl_sound_lost_seconds_total 1.5",
            "tvsl_messages_dropped_total{cause=\"overflow\"} 2",
            "tvsl_messages_dropped_total{cause=\"refused\"} 1",
            "tvsl_part_state{part=\"machine\",state=\"degraded\"} 1",
            "tvsl_temperature_celsius{sensor=\"cpu\"} 71.5",
            "tvsl_throttled 1",
            "tvsl_power_events_total{cause=\"under-voltage\"} 3",
            "tvsl_power_mode{mode=\"15W\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "no {line} in\n{page}");
        }
    }

    #[test]
    fn every_family_is_documented_as_what_it_is() {
        let table = include_str!("../../docs/metrics.md");
        let rows: BTreeSet<(&str, &str)> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .map(|(name, rest)| (name, rest.split(" | ").next().unwrap_or_default()))
            .collect();
        let page = whole();
        let told = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        assert_eq!(told.collect::<BTreeSet<_>>(), rows);
    }
}
