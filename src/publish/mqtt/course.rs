//! Another broker, other topics or another access while the daemon runs.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tracing::info;

use super::link::Tcp;
use super::{Ends, Listener, keep_connected};
use crate::config::Config;
use crate::message::{Info, Settings};
use crate::publish::{Former, Teller};

/// What a device is told by: its settings, and what it says of itself with them.
#[derive(Debug, Clone)]
pub struct Course {
    /// Broker and topics.
    pub config: Config,
    /// What the device is.
    pub info: Info,
    /// What subscribers can change.
    pub settings: Settings,
}

/// [`run`](super::run)s by the newest `course` until `stop` is notified. With another one it says goodbye, and connects anew as that
/// says; what the broker has not acknowledged until then is sent there. What was left under `former` names is taken back.
pub async fn follow(
    course: watch::Receiver<Course>,
    teller: &Teller<'_>,
    former: Former,
    listener: impl Listener,
    stop: Arc<Notify>,
) {
    follow_between(course, Ends { teller, listener: &listener, dialer: &Tcp }, former, &stop).await;
}

/// [`follow`]s between these ends.
pub(super) async fn follow_between(
    mut course: watch::Receiver<Course>,
    ends: Ends<'_>,
    mut former: Former,
    stop: &Notify,
) {
    let mut now = course.borrow_and_update().clone();
    while until_another(&mut course, &now.config, ends, &mut former, stop).await {
        now = course.borrow_and_update().clone();
        info!("another broker, other topics or another access: connecting anew");
        former.follow(&now.config);
        ends.teller.moved(&now.config, now.info.clone(), now.settings.clone());
    }
}

/// Keeps connected until another course is set, and says goodbye; `false`: until the end.
async fn until_another(
    course: &mut watch::Receiver<Course>,
    config: &Config,
    ends: Ends<'_>,
    former: &mut Former,
    stop: &Notify,
) -> bool {
    let over = Notify::new();
    let mut running = pin!(keep_connected(config, ends, former, &over));
    let another = tokio::select! {
        () = &mut running => return false,
        () = stop.notified() => false,
        // Nobody who could tell of another one is there any more: the end.
        changed = course.changed() => changed.is_ok(),
    };
    over.notify_one();
    running.await;
    another
}
