//! What a soak found, in a table, and its verdict.

use std::collections::BTreeMap;

use crate::stage::Stage;
use crate::vitals::{Vitals, early_and_late, median, slope};

/// Most MB an hour by which resident memory may grow.
const SLOPE: f64 = 1.0;
/// A shorter run, in seconds, does not tell a slope: the heap moves by five megabytes within half an hour, and back.
const SHORT: f64 = 3600.0;
/// Most MB by which memory may grow in one, between the medians of the first and the last third.
const MOVES: f64 = 10.0;
/// Most descriptors or threads by which the last third may exceed the first.
const MORE: f64 = 2.0;

pub struct Report {
    /// How long it was to last.
    seconds: f64,
    /// Seconds that each kind of fault took to recover.
    recoveries: BTreeMap<&'static str, Vec<f64>>,
    pub vitals: Vec<Vitals>,
}

impl Report {
    pub fn new(seconds: f64) -> Self {
        Self { seconds, recoveries: BTreeMap::new(), vitals: Vec::new() }
    }

    pub fn recovered(&mut self, fault: &'static str, seconds: f64) {
        self.recoveries.entry(fault).or_default().push(seconds);
    }

    /// Those after the warm-up: 15 % of the time, at least five minutes, at most half of it.
    fn warm(&self) -> &[Vitals] {
        let warm_up = (0.15 * self.seconds).max(300.0).min(0.5 * self.seconds) / 3600.0;
        &self.vitals[self.vitals.partition_point(|vitals| vitals.hours < warm_up)..]
    }

    pub fn print(&self, stage: &Stage) {
        println!("\n| fault | times | recovered in, median | at worst |\n|---|---|---|---|");
        for (name, times) in &self.recoveries {
            let (median, worst) = (median(times.clone()), times.iter().copied().fold(0.0, f64::max));
            println!("| {name} | {} | {median:.1} s | {worst:.1} s |", times.len());
        }
        let messages = stage.ledger.messages;
        println!(
            "\n{messages} messages, every one as its schema says; broker's state deleted {} times",
            stage.wiped
        );
        for device in ["steady", "mortal"] {
            let Some(told) = stage.ledger.told(device) else { continue };
            println!(
                "{device}: {} sources in {} runs, {} events ({} repeats, {} jumps, all allowed), {} detections ({} dropped and \
                 counted)",
                told.sources(),
                told.runs(),
                told.events.told,
                told.events.repeats,
                told.events.jumps,
                told.detections.told,
                told.detections.dropped
            );
        }
        self.print_vitals();
    }

    fn print_vitals(&self) {
        let warm = self.warm();
        if warm.len() < 6 {
            return println!("too short for a word on memory");
        }
        println!("steady: {} readings after the warm-up", warm.len());
        for (name, of) in [("memory", RESIDENT), ("of it in no file", OWN)] {
            let ((slope, within), (from, to)) = (slope(warm, of), early_and_late(warm, of));
            println!("steady: {name} {slope:+.2} MB/h ± {within:.2}, {from:.1} to {to:.1} MB");
        }
        for (name, of) in COUNTS {
            let (early, late) = early_and_late(warm, of);
            println!("steady: {name} {early} to {late}");
        }
    }

    pub fn verdict(&self) -> Result<(), String> {
        let warm = self.warm();
        if warm.len() < 6 {
            return Ok(());
        }
        let ((slope, within), (from, to)) = (slope(warm, RESIDENT), early_and_late(warm, RESIDENT));
        let grows = if self.seconds < SHORT { to > from + MOVES } else { slope > SLOPE };
        if grows {
            return Err(format!(
                "memory grows from {from:.1} to {to:.1} MB, {slope:.2} ± {within:.2} MB an hour"
            ));
        }
        for (name, of) in COUNTS {
            let (early, late) = early_and_late(warm, of);
            if late > early + MORE {
                return Err(format!("{name} grow from {early} to {late}"));
            }
        }
        Ok(())
    }
}

const RESIDENT: fn(&Vitals) -> f64 = |v| v.resident;
const OWN: fn(&Vitals) -> f64 = |v| v.own;
type Count = (&'static str, fn(&Vitals) -> f64);
const COUNTS: [Count; 2] = [("descriptors", |v| v.descriptors), ("threads", |v| v.threads)];
