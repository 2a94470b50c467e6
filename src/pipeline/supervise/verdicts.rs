//! What came of subscribers' wishes, in the log: for each setting once a minute, however many there are.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::clock::Instant;
use crate::config::Overrides;
use crate::message::one_line;
use crate::tally::Tally;

/// The verdicts of each setting, the granted ones apart. Those for no setting are of one kind, or a stranger could make
/// a kind of each.
#[derive(Debug, Default)]
pub(super) struct Verdicts(BTreeMap<(Option<&'static str>, bool), Kind>);

#[derive(Debug, Default)]
struct Kind {
    tally: Tally,
    /// The newest.
    verdict: Verdict,
}

/// What came of a wish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Verdict {
    key: String,
    refused: Option<String>,
}

impl Verdicts {
    /// A wish for `key` was judged.
    pub fn judged(&mut self, key: &str, result: &Result<(), String>) {
        let kind = self.0.entry((Overrides::setting(key), result.is_ok())).or_default();
        kind.tally.count(1);
        kind.verdict = Verdict { key: one_line(key), refused: result.clone().err() };
    }

    /// Says what is to be said.
    pub fn tell(&mut self, now: Instant) {
        for (times, Verdict { key, refused }) in self.due(now) {
            let times = (times > 1).then_some(times);
            match refused {
                None => info!(key, times, "changed over MQTT"),
                Some(why) => warn!(key, times, "a change over MQTT is refused: {why}"),
            }
        }
    }

    /// The newest verdict of every kind that is to be said, and how many it stands for.
    fn due(&mut self, now: Instant) -> Vec<(u64, Verdict)> {
        let due = |kind: &mut Kind| Some((kind.tally.due(now)?, kind.verdict.clone()));
        self.0.values_mut().filter_map(due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_wishes_there_are_a_setting_has_two_lines_in_a_minute() {
        let (mut verdicts, mut said) = (Verdicts::default(), Vec::new());
        for number in 0..60_000 {
            verdicts.judged("enable", &Ok(()));
            verdicts.judged("enable", &Err("is no JSON".into()));
            verdicts.judged(&format!("no-setting-{number}"), &Err("there is no such setting".into()));
            said.extend(verdicts.due(Instant::from_secs_f64(f64::from(number) / 1000.0 + 0.5)));
        }
        let times: Vec<_> = said.iter().map(|(times, _)| *times).collect();
        assert_eq!(times, [1, 1, 1], "{said:?}");
        let said = verdicts.due(Instant::from_secs_f64(60.5));
        let verdict = |key: &str, refused: Option<&str>| {
            (59_999, Verdict { key: key.into(), refused: refused.map(str::to_owned) })
        };
        let expected = [
            verdict("no-setting-59999", Some("there is no such setting")),
            verdict("enable", Some("is no JSON")),
            verdict("enable", None),
        ];
        assert_eq!(said, expected, "the newest, with how many it stands for");
    }
}
