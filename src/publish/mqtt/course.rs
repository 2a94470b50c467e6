//! Another broker, other topics or another access while the daemon runs.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tracing::info;

use super::{Listener, keep_connected};
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
    mut course: watch::Receiver<Course>,
    teller: &Teller<'_>,
    mut former: Former,
    listener: impl Listener,
    stop: Arc<Notify>,
) {
    let mut now = course.borrow_and_update().clone();
    while until_another(&mut course, &now.config, teller, &mut former, &listener, &stop).await {
        now = course.borrow_and_update().clone();
        info!("another broker, other topics or another access: connecting anew");
        former.follow(&now.config);
        teller.moved(&now.config, now.info.clone(), now.settings.clone());
    }
}

/// Keeps connected until another course is set, and says goodbye; `false`: until the end.
async fn until_another(
    course: &mut watch::Receiver<Course>,
    config: &Config,
    teller: &Teller<'_>,
    former: &mut Former,
    listener: &dyn Listener,
    stop: &Notify,
) -> bool {
    let over = Notify::new();
    let mut running = pin!(keep_connected(config, teller, former, listener, &over));
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
