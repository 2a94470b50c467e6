//! The line for `systemctl status`: how many pictures are judged, and what was last heard and seen. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::message::Message;

/// The rate is that of so much time.
const SPAN: Duration = Duration::from_secs(10);

/// What the line is made of.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// When pictures were judged, within [`SPAN`].
    judged: VecDeque<Instant>,
    /// The labels that were last reported, and when.
    last: Option<(String, Instant)>,
}

impl Status {
    /// A picture was judged, with `message` for those who listen.
    pub fn judged(&mut self, message: Option<&Message>, now: Instant) {
        self.judged.push_back(now);
        while self.judged.front().is_some_and(|first| now.since(*first) > SPAN) {
            self.judged.pop_front();
        }
        let detections = message.iter().flat_map(|message| &message.detections);
        let labels: Vec<&str> = detections.map(|detection| detection.label.as_str()).collect();
        if !labels.is_empty() {
            self.last = Some((labels.join(", "), now));
        }
    }

    /// The line at `now`.
    pub fn line(&self, now: Instant) -> String {
        let time = self.judged.front().map_or(0.0, |first| now.since(*first).as_secs_f64());
        let rate = if time > 0.0 { (self.judged.len() - 1) as f64 / time } else { 0.0 };
        let last = match &self.last {
            None => "nothing was both heard and seen yet".into(),
            Some((labels, at)) => match now.since(*at) {
                age if age < Duration::from_secs(1) => format!("now: {labels}"),
                age => format!("last: {labels}, {} ago", rough(age)),
            },
        };
        format!("{rate:.1} pictures/s; {last}")
    }
}

/// A time in its largest unit.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_the_last_detection_ages() {
        let at = |seconds| Instant::from_secs_f64(seconds);
        let mut status = Status::default();
        assert_eq!(status.line(at(0.0)), "0.0 pictures/s; nothing was both heard and seen yet");
        (0..=300).for_each(|picture| status.judged(None, at(f64::from(picture) / 10.0)));
        assert_eq!(status.line(at(30.0)), "10.0 pictures/s; nothing was both heard and seen yet");
        status.last = Some(("dog, cat".into(), at(30.0)));
        assert_eq!(status.line(at(30.5)), "9.5 pictures/s; now: dog, cat");
        for (age, told) in [(42.0, "42 s"), (150.0, "2 min"), (10_000.0, "2 h"), (200_000.0, "2 days")] {
            assert!(
                status.line(at(30.0 + age)).ends_with(&format!("; last: dog, cat, {told} ago")),
                "{told}"
            );
        }
    }
}
