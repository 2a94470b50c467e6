//! What waits for the broker: bounded, and the oldest gives way, so that analysis never waits.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A bounded store of messages between the analysis thread and the publisher's task.
#[derive(Debug)]
pub struct Outbox {
    most: usize,
    state: Mutex<State>,
    arrival: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    dropped: u64,
}

impl Outbox {
    /// An outbox of at most `most` messages.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), state: Mutex::default(), arrival: Notify::new() }
    }

    /// Puts a message in; where there is no room, the oldest is dropped and counted. Never waits.
    pub fn put(&self, message: Vec<u8>) {
        let mut state = self.lock();
        if state.waiting.len() >= self.most {
            state.waiting.pop_front();
            state.dropped += 1;
        }
        state.waiting.push_back(message);
        drop(state);
        self.arrival.notify_one();
    }

    /// Takes the oldest message out, if there is one.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.lock().waiting.pop_front()
    }

    /// Puts a message back that was taken and could not be sent, as the oldest; if newer ones have
    /// filled the outbox meanwhile, it is dropped and counted.
    pub fn put_back(&self, message: Vec<u8>) {
        let mut state = self.lock();
        if state.waiting.len() < self.most {
            state.waiting.push_front(message);
        } else {
            state.dropped += 1;
        }
    }

    /// Waits until something was put in since the last wait.
    pub async fn arrival(&self) {
        self.arrival.notified().await;
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// How many messages were dropped.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_gives_way() {
        let outbox = Outbox::new(2);
        (1..=3).for_each(|n| outbox.put(vec![n]));
        assert_eq!((outbox.waiting(), outbox.dropped()), (2, 1));
        assert_eq!(outbox.take(), Some(vec![2]));
        outbox.put_back(vec![2]);
        assert_eq!((outbox.take(), outbox.take(), outbox.take()), (Some(vec![2]), Some(vec![3]), None));
    }

    proptest! {
        /// Every message is waiting, taken or counted as dropped; what is taken comes in order.
        #[test]
        fn nothing_vanishes(most in 1usize..8, ops in prop::collection::vec(0u8..3, 0..200)) {
            let outbox = Outbox::new(most);
            let (mut put, mut taken) = (0u64, Vec::new());
            for op in ops {
                match op {
                    0 => { put += 1; outbox.put(put.to_le_bytes().to_vec()); }
                    1 => taken.extend(outbox.take()),
                    _ => { if let Some(message) = outbox.take() { outbox.put_back(message); } }
                }
                prop_assert_eq!(put, outbox.waiting() as u64 + taken.len() as u64 + outbox.dropped());
            }
            let order: Vec<u64> = taken.iter().map(|m| u64::from_le_bytes(m[..].try_into().unwrap())).collect();
            prop_assert!(order.is_sorted());
        }
    }
}
