//! One topic whose every message counts: in order, bounded, the oldest gives way and is counted.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::message::Report;

/// Longest wait for its turn that does not make a report late.
const PROMPT: Duration = Duration::from_secs(2);

/// Numbered reports, oldest first: first those in flight, then those that wait.
#[derive(Debug)]
pub(super) struct Lane {
    most: usize,
    items: VecDeque<Item>,
    /// How many of `items`, from the front, are in flight.
    flying: usize,
    /// Number of the next report.
    next: u64,
    dropped: u64,
    /// Those of them that the next report put in has to tell of.
    untold: u64,
}

#[derive(Debug)]
struct Item {
    number: u64,
    /// Reports that gave way right before this one.
    missed: u64,
    late: bool,
    /// When it was put in.
    since: Instant,
    acknowledged: bool,
    report: Report,
}

impl Lane {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), items: VecDeque::new(), flying: 0, next: 0, dropped: 0, untold: 0 }
    }

    /// Takes a report; returns the one that gives way to it, if one does.
    pub(super) fn put(&mut self, report: Report, late: bool, now: Instant) -> Option<Report> {
        let number = self.next;
        self.next += 1;
        let missed = std::mem::take(&mut self.untold);
        self.items.push_back(Item { number, missed, late, since: now, acknowledged: false, report });
        if self.items.len() > self.most { self.give_way() } else { None }
    }

    /// Holds at most so many from now on; returns what gives way.
    pub(super) fn bound(&mut self, most: usize) -> Vec<Report> {
        self.most = most.max(1);
        (self.most..self.items.len()).map_while(|_| self.give_way()).collect()
    }

    /// Drops the oldest that is not in flight; the one after it tells. (All in flight and full: the
    /// new one waits beyond the bound, which is at most the window.)
    fn give_way(&mut self) -> Option<Report> {
        if self.flying + 1 >= self.items.len() {
            return None;
        }
        let oldest = self.items.remove(self.flying)?;
        self.dropped += 1;
        self.items[self.flying].missed += 1 + oldest.missed;
        Some(oldest.report)
    }

    /// Puts back what an earlier run left, with its number; all of it before anything else.
    pub(super) fn restore(&mut self, number: u64, missed: u64, report: Report) {
        self.next = self.next.max(number);
        self.put(report, true, Instant::ZERO);
        self.items.back_mut().into_iter().for_each(|item| item.missed += missed);
    }

    /// Drops from the oldest on what is not in flight, while `old` says so; the newest stays and tells. Returns what gives
    /// way.
    pub(super) fn give_way_while(&mut self, old: impl Fn(u64, &Report) -> bool) -> Vec<Report> {
        let mut gone = Vec::new();
        while self.items.get(self.flying).is_some_and(|item| old(item.number, &item.report)) {
            match self.give_way() {
                Some(report) => gone.push(report),
                None => break,
            }
        }
        gone
    }

    /// What is not acknowledged from a number on, in order: its number, how many gave way right before it,
    /// and itself.
    pub(super) fn kept(&self, from: u64) -> impl Iterator<Item = (u64, u64, &Report)> {
        let first = self.items.partition_point(|item| item.number < from);
        let kept = self.items.range(first..).filter(|item| !item.acknowledged);
        kept.map(|item| (item.number, item.missed, &item.report))
    }

    /// Those that wait, oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Report> {
        self.items.range(self.flying..).map(|item| &item.report)
    }

    /// The oldest that waits, which is in flight from `now` on.
    pub(super) fn next(&mut self, now: Instant) -> Option<(u64, Report)> {
        let item = self.items.get(self.flying)?;
        self.flying += 1;
        let late = item.late || now.since(item.since) > PROMPT;
        Some((item.number, item.report.clone().marked(item.missed, late)))
    }

    /// Brokers acknowledge in order; one that does not is believed too, and order is kept. Returns what the broker has now,
    /// and all that came before it.
    pub(super) fn acknowledge(&mut self, number: u64) -> Vec<Report> {
        let flying = self.items.iter_mut().take(self.flying);
        flying.filter(|item| item.number == number).for_each(|item| item.acknowledged = true);
        let there = self.items.iter().take(self.flying).take_while(|item| item.acknowledged).count();
        self.flying -= there;
        self.items.drain(..there).map(|item| item.report).collect()
    }

    /// Drops one in flight that nobody would take, and returns it; the one after it tells.
    pub(super) fn refuse(&mut self, number: u64) -> Option<Report> {
        let flying = self.items.iter().take(self.flying);
        let at = flying.take_while(|item| item.number <= number).position(|item| item.number == number)?;
        let gone = self.items.remove(at)?;
        let missed = 1 + gone.missed;
        self.flying -= 1;
        match self.items.range_mut(at..).find(|item| !item.acknowledged) {
            Some(after) => after.missed += missed,
            None => self.untold += missed,
        }
        Some(gone.report)
    }

    pub(super) fn recall(&mut self) {
        self.flying = 0;
        self.items.retain(|item| !item.acknowledged);
        self.items.iter_mut().for_each(|item| item.late = true);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flying
    }

    /// Whether nothing waits for its turn.
    pub(super) fn is_sent(&self) -> bool {
        self.flying == self.items.len()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
