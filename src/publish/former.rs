//! Names under which this device told before: what it left there is taken back, once it is sure that nobody else tells
//! under them.
//!
//! Pure: what the broker says and the time are arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::home_assistant::{discovered_at, matches, node};
use crate::config::Config;
use crate::message::Presence;

/// Names that are remembered, at most; the oldest give way.
const MOST: usize = 8;
/// So long after it was asked a broker has told all that it keeps.
const ALL_TOLD: Duration = Duration::from_secs(5);
/// So long a client that another pushed off may take to come back: the longest wait between two tries, and some more. Its
/// status says `stopped` until then, if the one that pushed it off did so.
const BACK: Duration = Duration::from_secs(15);
/// Beyond one and a half of its signs of life a broker gives a client up that vanished.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// Where a device tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// Name of the device.
    pub device: String,
    /// Start of its topics, with the `/` behind it.
    pub topics: String,
    /// Start of the topics that Home Assistant discovers from.
    pub discovery: String,
}

impl Name {
    /// Where the device of `config` tells.
    pub fn of(config: &Config) -> Self {
        Self {
            device: config.device.name.clone(),
            topics: config.topic(""),
            discovery: discovered_at(config),
        }
    }

    /// The same under another name of the device.
    fn called(config: &Config, device: &str) -> Self {
        let mut config = config.clone();
        config.device.name = device.into();
        Self::of(&config)
    }

    /// What it keeps at the broker beside its `status`.
    fn kept(&self) -> Vec<String> {
        ["info", "settings", "health/+", "state/+"].map(|topic| format!("{}{topic}", self.topics)).into()
    }

    fn announcements(&self) -> String {
        format!("{}/+/{}/+/config", self.discovery, node(&self.device))
    }

    fn status(&self) -> String {
        format!("{}status", self.topics)
    }
}

/// A retained message of a former name.
pub(super) type Left = (String, Vec<u8>);

/// The former names, and what the broker says of them.
#[derive(Debug)]
pub struct Former {
    now: Name,
    past: Vec<Past>,
    /// How long a client may be gone before the broker says so.
    patience: Duration,
}

#[derive(Debug)]
struct Past {
    name: Name,
    /// Whether this device remembers it; otherwise the configuration lists it.
    remembered: bool,
    who: Who,
    /// What is there, until it is known whose it is.
    left: Vec<Left>,
}

/// Who tells under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Unknown,
    Somebody,
    /// Its status says so, which may be this device's own word.
    Gone,
    Nobody,
}

impl Past {
    fn new(name: Name, remembered: bool) -> Self {
        Self { name, remembered, who: Who::Unknown, left: vec![] }
    }

    /// What is not the present one's too, to be listened to.
    fn filters(&self, now: &Name) -> Vec<String> {
        let mut filters = Vec::new();
        if self.name.topics != now.topics {
            filters.push(self.name.status());
            filters.extend(self.name.kept());
        }
        if self.name.announcements() != now.announcements() {
            filters.push(self.name.announcements());
        }
        filters
    }

    /// Whether a message was left there by this device.
    fn owns(&self, now: &Name, topic: &str, payload: &[u8]) -> bool {
        let own = || {
            let message: Value = serde_json::from_slice(payload).unwrap_or_default();
            message["device"] == self.name.device.as_str()
        };
        let kept = self.name.kept().iter().any(|filter| matches(filter, topic));
        matches(&self.name.announcements(), topic) || (kept && !topic.starts_with(&now.topics) && own())
    }

    fn becomes(&mut self, who: Who) -> Vec<Left> {
        self.who = who;
        if who == Who::Nobody { std::mem::take(&mut self.left) } else { vec![] }
    }
}

/// What came of waiting.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Settled {
    /// To be taken back.
    pub left: Vec<Left>,
    /// Names that are somebody else's by now.
    pub taken: Vec<Name>,
    /// Names of which nothing is left, or that are not this device's any more: forgotten.
    pub over: bool,
}

impl Former {
    /// The former names of the device of `config`: those that it remembers, and those that `config` lists.
    pub fn new(config: &Config, remembered: Vec<Name>) -> Self {
        let past = remembered.into_iter().map(|name| Past::new(name, true)).collect();
        let mut former = Self { now: Name::of(config), past, patience: Duration::ZERO };
        former.follow(config);
        former
    }

    /// The device is what `config` says from now on.
    pub(super) fn follow(&mut self, config: &Config) {
        self.patience = config.mqtt.keep_alive.mul_f64(1.5) + GIVEN_UP;
        let before = std::mem::replace(&mut self.now, Name::of(config));
        self.past.retain(|past| past.remembered);
        self.past.push(Past::new(before, true));
        self.past.drain(..self.past.len().saturating_sub(MOST));
        let listed = config.mqtt.home_assistant.former.iter().map(|device| Name::called(config, device));
        self.past.extend(listed.map(|name| Past::new(name, false)));
        let mut known = vec![self.now.clone()];
        self.past.retain(|past| {
            let new = !known.contains(&past.name);
            known.push(past.name.clone());
            new
        });
    }

    /// What is to be remembered: every name that may have left something, the present one last.
    pub(super) fn names(&self) -> Vec<Name> {
        let past = self.past.iter().filter(|past| past.remembered).map(|past| past.name.clone());
        past.chain([self.now.clone()]).collect()
    }

    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        !self.past.is_empty()
    }

    /// What is to be listened to on a new connection, for each name.
    pub(super) fn ask(&mut self) -> Vec<Vec<String>> {
        for past in &mut self.past {
            past.left.clear();
            past.who = if past.name.topics == self.now.topics { Who::Nobody } else { Who::Unknown };
        }
        self.past.iter().map(|past| past.filters(&self.now)).collect()
    }

    /// Takes a message of such a topic, and gives what is to be taken back; `None`: it is of another.
    pub(super) fn hear(&mut self, topic: &str, payload: &[u8], retained: bool) -> Option<Vec<Left>> {
        let now = &self.now;
        if let Some(past) = self.past.iter_mut().find(|past| past.name.status() == topic) {
            let online = payload == Presence::Online.word().as_bytes();
            return Some(past.becomes(if online { Who::Somebody } else { Who::Gone }));
        }
        let past = self.past.iter_mut().find(|past| past.owns(now, topic, payload))?;
        if retained && !payload.is_empty() {
            past.left.push((topic.into(), payload.into()));
        }
        Some(past.becomes(past.who))
    }

    /// What is settled so long after it was asked; `pending`: something that is taken back is still on its way.
    pub(super) fn settle(&mut self, asked: Duration, pending: bool) -> Settled {
        let (mut settled, patience) = (Settled::default(), self.patience);
        for past in &mut self.past {
            if past.who == Who::Unknown && asked >= ALL_TOLD || past.who == Who::Gone && asked >= BACK {
                settled.left.extend(past.becomes(Who::Nobody));
            }
        }
        let pending = pending || !settled.left.is_empty();
        self.past.retain(|past| {
            let taken = past.who == Who::Somebody && asked >= patience;
            settled.taken.extend(taken.then(|| past.name.clone()));
            let done = past.who == Who::Nobody && asked >= ALL_TOLD && !pending;
            settled.over |= taken || done;
            !(taken || done)
        });
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const NONE: Duration = Duration::ZERO;
    /// Longer than any broker takes to tell.
    const LATER: Duration = Duration::from_secs(6);

    fn named(device: &str, more: &str) -> Config {
        let text = format!("device.name = \"{device}\"\nmqtt.keep_alive = 20\n{more}");
        Config::parse(&text, Path::new("test")).expect("a configuration")
    }

    /// A device that was `attic` and is `hall` now.
    fn renamed() -> Former {
        let mut former = Former::new(&named("hall", ""), vec![Name::of(&named("attic", ""))]);
        former.ask();
        former
    }

    fn info(device: &str) -> Vec<u8> {
        format!(r#"{{"schema":1,"device":"{device}"}}"#).into_bytes()
    }

    fn topics(left: Vec<Left>) -> Vec<String> {
        left.into_iter().map(|(topic, _)| topic).collect()
    }

    #[test]
    fn what_a_stopped_device_left_is_taken_back_and_its_name_forgotten() {
        let mut former = renamed();
        assert_eq!(
            former.hear("tvsl/attic/info", &info("attic"), true),
            Some(vec![]),
            "whose it is, is not known"
        );
        assert_eq!(
            former.hear("tvsl/attic/status", b"stopped", true),
            Some(vec![]),
            "somebody may come back"
        );
        assert_eq!(former.settle(LATER, false), Settled::default());
        assert_eq!(topics(former.settle(BACK, false).left), ["tvsl/attic/info"]);
        let discovery = "homeassistant/sensor/tvsl_attic/level/config";
        assert_eq!(topics(former.hear(discovery, b"{}", true).expect("its own")), [discovery]);
        assert_eq!(former.settle(BACK, true), Settled::default(), "until the broker has taken all back");
        assert!(former.settle(BACK, false).over);
        assert_eq!(former.names(), [Name::of(&named("hall", ""))]);
    }

    #[test]
    fn who_was_pushed_off_a_name_by_this_device_comes_back_to_it() {
        let mut former = renamed();
        former.hear("tvsl/attic/info", &info("attic"), true);
        former.hear("tvsl/attic/status", b"stopped", true); // its own word, as it left the name
        assert_eq!(former.settle(LATER, false), Settled::default());
        former.hear("tvsl/attic/status", b"online", false);
        assert_eq!(former.settle(BACK, false), Settled::default());
        assert_eq!(former.settle(Duration::from_secs(40), false).taken, [Name::of(&named("attic", ""))]);
    }

    #[test]
    fn a_name_that_somebody_tells_under_is_left_alone_and_told() {
        let mut former = renamed();
        former.hear("tvsl/attic/info", &info("attic"), true);
        former.hear("tvsl/attic/status", b"online", true);
        assert_eq!(former.hear("tvsl/attic/state/dog", &info("attic"), true), Some(vec![]));
        assert_eq!(
            former.settle(Duration::from_secs(39), false),
            Settled::default(),
            "its will may still come"
        );
        let settled = former.settle(Duration::from_secs(40), false);
        assert_eq!(
            (settled.taken, settled.left, settled.over),
            (vec![Name::of(&named("attic", ""))], vec![], true)
        );
        assert!(!former.any());
    }

    #[test]
    fn a_connection_of_its_own_that_the_broker_gives_up_late_was_its_own() {
        let mut former = renamed();
        former.hear("tvsl/attic/status", b"online", true);
        former.hear("tvsl/attic/info", &info("attic"), true);
        assert_eq!(former.hear("tvsl/attic/status", b"offline", false), Some(vec![]), "its will");
        assert_eq!(topics(former.settle(BACK, false).left), ["tvsl/attic/info"]);
    }

    #[test]
    fn without_a_status_nobody_is_there() {
        let mut former = renamed();
        former.hear("tvsl/attic/info", &info("attic"), true);
        assert_eq!(former.settle(NONE, false), Settled::default());
        let settled = former.settle(LATER, false);
        assert_eq!((topics(settled.left), settled.over), (vec!["tvsl/attic/info".into()], false));
        assert!(former.settle(LATER, false).over);
    }

    #[test]
    fn what_is_of_others_is_left() {
        let mut former = renamed();
        former.hear("tvsl/attic/status", b"stopped", true);
        for (topic, payload, retained) in [
            ("tvsl/attic/info", info("cellar"), true),
            ("tvsl/attic/info", b"no JSON".to_vec(), true),
            ("tvsl/attic/events", info("attic"), true),
            ("tvsl/attic/set/enable", b"true".to_vec(), true),
            ("homeassistant/sensor/tvsl_attic2/level/config", b"{}".to_vec(), true),
        ] {
            assert_eq!(former.hear(topic, &payload, retained), None, "{topic}");
        }
        assert_eq!(
            former.hear("tvsl/attic/info", &info("attic"), false),
            Some(vec![]),
            "told now, by somebody"
        );
        // Its own topics below those of before.
        let before = named("state", "mqtt.prefix = \"tvsl\"");
        let mut former = Former::new(&named("state", ""), vec![Name::of(&before)]);
        former.ask();
        former.hear("tvsl/status", b"stopped", true);
        assert_eq!(former.hear("tvsl/state/info", &info("state"), true), None);
    }

    #[test]
    fn names_are_remembered_once_bounded_and_not_when_only_listed() {
        let listed = "mqtt.home_assistant.former = [\"cellar\", \"attic\", \"hall\"]";
        let mut former = Former::new(&named("hall", listed), vec![Name::of(&named("attic", ""))]);
        let devices =
            |former: &Former| former.names().into_iter().map(|name| name.device).collect::<Vec<_>>();
        assert_eq!((devices(&former), former.ask().len()), (vec!["attic".into(), "hall".into()], 2));
        (0..20).for_each(|number| former.follow(&named(&format!("room{number}"), "")));
        assert_eq!(devices(&former).len(), MOST + 1);
        former.follow(&named("room15", ""));
        assert_eq!(devices(&former).iter().filter(|device| *device == "room15").count(), 1);
    }

    #[test]
    fn another_prefix_of_the_same_name_leaves_its_announcements() {
        let mut former = Former::new(
            &named("hall", ""),
            vec![Name::of(&named("hall", "mqtt.prefix = \"site/{device}\""))],
        );
        assert_eq!(
            former.ask(),
            [[
                "site/hall/status",
                "site/hall/info",
                "site/hall/settings",
                "site/hall/health/+",
                "site/hall/state/+"
            ]]
        );
        let other = named("hall", "mqtt.home_assistant.prefix = \"ha\"");
        let mut former = Former::new(&named("hall", ""), vec![Name::of(&other)]);
        assert_eq!(former.ask(), [["ha/+/tvsl_hall/+/config"]]);
        assert_eq!(
            topics(former.hear("ha/sensor/tvsl_hall/level/config", b"{}", true).expect("its own")).len(),
            1
        );
    }
}
