//! Memory, descriptors and threads of a process, and whether they grow.

use std::fs;
use std::time::Duration;

/// A process at one moment.
#[derive(Clone, Copy)]
pub struct Vitals {
    /// Since the start, hours.
    pub hours: f64,
    /// Resident memory, MB.
    pub resident: f64,
    /// Of it what is in no file, MB: pages of files come and go as the kernel needs room.
    pub own: f64,
    pub descriptors: f64,
    pub threads: f64,
}

impl Vitals {
    pub fn of(process: u32, since: Duration) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process that lives");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux");
            line.trim_start_matches(':').split_whitespace().next().and_then(|word| word.parse::<f64>().ok())
        };
        Self {
            hours: since.as_secs_f64() / 3600.0,
            resident: field("VmRSS").expect("a number") / 1024.0,
            own: field("RssAnon").expect("a number") / 1024.0,
            descriptors: fs::read_dir(format!("/proc/{process}/fd")).expect("our own process").count() as f64,
            threads: field("Threads").expect("a number"),
        }
    }
}

/// The slope of a kind of memory over time by least squares, MB an hour, and half of its interval of 95 %, which counts
/// that one value is like the one before it.
pub fn slope(vitals: &[Vitals], of: fn(&Vitals) -> f64) -> (f64, f64) {
    let count = vitals.len() as f64;
    let mean = |of: &dyn Fn(&Vitals) -> f64| vitals.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(&|v| v.hours), mean(&of));
    let spread: f64 = vitals.iter().map(|v| (v.hours - time).powi(2)).sum();
    let slope = vitals.iter().map(|v| (v.hours - time) * (of(v) - memory)).sum::<f64>() / spread;
    let rest: Vec<f64> = vitals.iter().map(|v| of(v) - memory - slope * (v.hours - time)).collect();
    let squares: f64 = rest.iter().map(|r| r * r).sum();
    let alike = rest.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / squares.max(f64::MIN_POSITIVE);
    let alike = alike.clamp(0.0, 0.99);
    let apart = (count * (1.0 - alike) / (1.0 + alike)).max(3.0);
    (slope, 1.96 * (squares / count / (apart - 2.0).max(1.0) / (spread / count)).sqrt())
}

/// Medians of the first and of the last third.
pub fn early_and_late(vitals: &[Vitals], of: fn(&Vitals) -> f64) -> (f64, f64) {
    let third = vitals.len().div_ceil(3);
    let median_of = |part: &[Vitals]| median(part.iter().map(of).collect());
    (median_of(&vitals[..third]), median_of(&vitals[vitals.len() - third..]))
}

/// The median of at least one value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { 0.5 * (values[half - 1] + values[half]) }
}
