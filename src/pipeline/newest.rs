//! The newest items of each setting: who floods one keeps nobody from another.

use std::collections::VecDeque;

use crate::config::Overrides;

/// Puts `item` last. Where `most` wait already whose `key` is the same setting, as all are that are none, the oldest of
/// them gives way; whether one did.
pub(super) fn push<T>(items: &mut VecDeque<T>, item: T, most: usize, key: impl Fn(&T) -> &str) -> bool {
    let setting = Overrides::setting(key(&item));
    let same = |other: &T| Overrides::setting(key(other)) == setting;
    let oldest =
        items.iter().position(&same).filter(|_| items.iter().filter(|other| same(other)).count() >= most);
    let gives_way = oldest.is_some_and(|oldest| items.remove(oldest).is_some());
    items.push_back(item);
    gives_way
}
