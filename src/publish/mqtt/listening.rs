//! What comes from the broker: wishes, what an earlier run left there, what is left under former names.

use std::time::Duration;

use rumqttc::Publish;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::link::Link;
use super::{LOOK, Publisher};
use crate::message::{ClassState, Report, Wish};

/// No setting has a longer name than this, in bytes.
const LONGEST_KEY: usize = 64;

impl Publisher<'_> {
    /// What an earlier run may have told that this one does not tell anew.
    pub(super) fn told_before(&self) -> [String; 2] {
        ["state/+", "health/+"].map(|topic| self.config.topic(topic))
    }

    /// Takes wishes, and reads the states that an earlier run left; our own, coming back, says that those
    /// were all.
    pub(super) fn hear(&mut self, link: &Link, message: &Publish) {
        let topic = String::from_utf8_lossy(&message.topic);
        if let Some(key) = topic.strip_prefix(&self.config.topic("set/")) {
            if key.len() > LONGEST_KEY {
                return self.pass_over(key);
            }
            let (payload, retained) = (message.payload.to_vec(), message.retain);
            self.listener.wish(Wish { key: key.into(), payload, retained });
        } else if let Some(left) = self.former.hear(&topic, &message.payload, message.retain) {
            self.teller.left_behind(left);
        } else if self.teller.overhear(&topic, &message.payload, message.retain) {
            debug!(%topic, "heard of Home Assistant");
        } else if let Some(part) =
            topic.strip_prefix(&self.config.topic("health/")).filter(|_| message.retain)
        {
            self.teller.earlier_part(part);
        } else if message.retain {
            match serde_json::from_slice::<ClassState>(&message.payload) {
                Ok(state) if self.config.topic(&Report::state_topic(&state.class)) == topic => {
                    self.teller.earlier(state);
                }
                Ok(_) => debug!(%topic, "a retained state is of another class than its topic"),
                Err(error) => debug!("a retained state is not ours: {error}"),
            }
        } else if self.earlier.insert(link.broker.clone()) {
            self.attempt(link.client.try_unsubscribe_many(self.told_before()));
        }
    }

    /// Says of a wish that it has no answer; once a minute, however many there are.
    fn pass_over(&mut self, key: &str) {
        self.long_keys.count(1);
        if let Some(wishes) = self.long_keys.due(self.teller.now()) {
            warn!(
                wishes,
                bytes = key.len(),
                "a wish whose key is longer than {LONGEST_KEY} bytes is not answered"
            );
        }
    }

    /// Looks what became of former names.
    pub(super) fn settle(&mut self, link: &mut Link) {
        link.look = Instant::now() + LOOK;
        let pending = self.teller.outbox().store().takes_back();
        let asked = link.asked.map_or(Duration::ZERO, |asked| asked.elapsed());
        let settled = self.former.settle(asked, pending);
        for name in &settled.taken {
            let (device, topics) = (&name.device, &name.topics);
            warn!(
                "another client is online as {device:?}, a former name of this device ({topics}status): what is there is left \
                 alone"
            );
        }
        self.teller.left_behind(settled.left);
        if settled.over {
            self.listener.names(self.former.names());
        }
    }
}
