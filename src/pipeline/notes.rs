//! What is to be written down waits here, bounded: flash may take seconds, and others tell as fast as they like. Of settings
//! and names only the newest count.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::newest;
use crate::clock::{Clock, Instant};
use crate::config::Overrides;
use crate::publish::Name;

/// Answers that wait for each setting, at most, and for those that are none; the oldest gives way. All together they are
/// no more than the publisher keeps.
const MOST_ANSWERS: usize = 12;

/// What is to be written down, and who is to be answered then.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Waiting {
    /// The settings that are in force now, if they may be others than before.
    pub settings: Option<Overrides>,
    /// What is to be answered.
    pub answers: VecDeque<Answer>,
    /// Names under which something may be left at the broker.
    pub names: Option<Vec<Name>>,
}

/// The setting that was wished for, and why it is not in force if it is not.
type Answer = (String, Result<(), String>);

/// Takes notes and waits for nobody.
#[derive(Clone)]
pub(super) struct Notes {
    waiting: Arc<Mutex<Waiting>>,
    bell: SyncSender<()>,
}

/// Who writes them down.
pub(super) struct Noted {
    waiting: Arc<Mutex<Waiting>>,
    bell: Receiver<()>,
}

/// Both ends.
pub(super) fn notes() -> (Notes, Noted) {
    let (waiting, (bell, rung)) = (Arc::default(), sync_channel(1));
    (Notes { waiting: Arc::clone(&waiting), bell }, Noted { waiting, bell: rung })
}

impl Notes {
    /// A wish for the setting `key` was judged: the settings that are in force now, or why it is refused.
    pub fn judged(&self, key: &str, result: Result<&Overrides, String>) {
        self.note(|waiting| {
            let granted = result.map(|settings| waiting.settings = Some(settings.clone()));
            newest::push(&mut waiting.answers, (key.into(), granted), MOST_ANSWERS, |(key, _)| key);
        });
    }

    /// Something may be left at the broker under these names.
    pub fn names(&self, names: Vec<Name>) {
        self.note(|waiting| waiting.names = Some(names));
    }

    fn note(&self, take: impl FnOnce(&mut Waiting)) {
        take(&mut open(&self.waiting));
        // A bell that rings already will do; without anybody to hear it nothing is written down.
        self.bell.try_send(()).ok();
    }
}

impl Noted {
    /// Waits for notes; `false`: nobody takes any more, and all are read.
    pub fn wait(&self) -> bool {
        self.bell.recv().is_ok()
    }

    /// Lets more come until settings are `due`, if some are to be written and as long as somebody takes notes.
    pub fn gather(&self, due: impl Fn(&Overrides) -> Instant, clock: &dyn Clock) {
        let left = || {
            let due = open(&self.waiting).settings.as_ref().map(&due)?;
            Some(due.since(clock.now())).filter(|left| !left.is_zero())
        };
        while left().is_some_and(|left| self.bell.recv_timeout(left).is_ok()) {}
    }

    /// Takes all of them.
    pub fn take(&self) -> Waiting {
        std::mem::take(&mut open(&self.waiting))
    }
}

fn open(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_wishes_are_judged_the_newest_settings_and_answers_wait() {
        let (notes, noted) = notes();
        let settings = |number: usize| Overrides { sensitivity: Some(number as f32), ..Overrides::default() };
        notes.judged("enable", Err("is no JSON".into()));
        for number in 0..10_000 {
            notes.judged("sensitivity", Ok(&settings(number)));
            notes.judged(&format!("no-setting-{number}"), Err("there is none".into()));
        }
        drop(notes);
        assert!(noted.wait(), "what was noted last is read");
        let waiting = noted.take();
        assert_eq!(waiting.settings, Some(settings(9_999)));
        assert_eq!(waiting.answers.len(), 1 + 2 * MOST_ANSWERS, "bounded");
        let enable = ("enable".into(), Err("is no JSON".into()));
        assert_eq!(waiting.answers.front(), Some(&enable), "no flood of others takes its place");
        assert_eq!(waiting.answers.back(), Some(&("no-setting-9999".into(), Err("there is none".into()))));
        assert!(!noted.wait() && noted.take() == Waiting::default());
    }
}
