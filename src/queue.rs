//! The one bounded queue between capture and analysis: a lane of frames and a lane of sound.
//!
//! A full lane is a decision ([`Policy`]): recorded input waits and loses nothing, live input sheds
//! the oldest and counts it. Nobody spins; both ends sleep on condition variables.

mod lanes;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Moment};

use crate::clock::Instant;
use crate::frame::{Frame, Samples};
use lanes::State;

/// Which of the two senses an item belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sense {
    /// Frames.
    Camera,
    /// Sound.
    Microphone,
}

impl std::fmt::Display for Sense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Sense::Camera => "camera",
            Sense::Microphone => "microphone",
        })
    }
}

/// What capture hands to analysis. Within one sense the items keep their order.
#[derive(Debug)]
pub enum Sensed {
    /// A picture.
    Frame(Frame),
    /// A block of sound.
    Sound(Samples),
    /// The sense has delivered all it ever will.
    End(Sense),
    /// The sense broke down and delivers nothing more.
    Fault(Sense, Box<dyn Error + Send + Sync>),
}

impl Sensed {
    /// The sense this item came from.
    pub fn sense(&self) -> Sense {
        match self {
            Sensed::Frame(_) => Sense::Camera,
            Sensed::Sound(_) => Sense::Microphone,
            Sensed::End(sense) | Sensed::Fault(sense, _) => *sense,
        }
    }

    fn captured(&self) -> Option<Instant> {
        match self {
            Sensed::Frame(frame) => Some(frame.captured),
            Sensed::Sound(sound) => Some(sound.captured),
            Sensed::End(_) | Sensed::Fault(..) => None,
        }
    }

    /// Room taken in the lane: one for a frame, nanoseconds for sound, none for the last words.
    fn weight(&self) -> u64 {
        match self {
            Sensed::Frame(_) => 1,
            Sensed::Sound(sound) => nanos(sound.duration()),
            Sensed::End(_) | Sensed::Fault(..) => 0,
        }
    }
}

/// What happens when a lane is full, and in which order the two lanes are emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Recorded input at its own speed: the sender waits, nothing is lost; order of arrival.
    Wait,
    /// Recorded input as fast as it is analysed: the sender waits, nothing is lost, and the lanes
    /// are merged in the order of capture time, so that every run of a recording is the same run.
    Merge,
    /// Live input: the oldest gives way and is counted; order of arrival.
    ShedOldest,
}

/// How much the lanes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Frames, at least 1.
    pub frames: usize,
    /// Sound; the block that crosses the limit still enters.
    pub sound: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frames: 4, sound: Duration::from_secs(3) }
    }
}

/// What was shed since the queue was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shed {
    /// Frames dropped unseen.
    pub frames: u64,
    /// Samples dropped unheard; they reappear as `lost_before` of the next block.
    pub samples: u64,
}

/// What waits in the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Frames.
    pub frames: usize,
    /// Sound.
    pub sound: Duration,
}

/// The receiver is gone, or this sender's group was cancelled: stop sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody receives what is captured any more")]
pub struct Closed;

/// Why [`Receiver::recv`] returned nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Empty {
    /// Nothing came within the time allowed.
    #[error("nothing was captured in time")]
    TimedOut,
    /// All senders are gone and all they sent has been received.
    #[error("capture has ended")]
    Closed,
}

/// A merging receiver waits so long for the emptier lane while the other is full: a sound track that
/// starts a minute late must not stop the pictures before it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes a queue; the receiver belongs to analysis, clones of the sender to the sources.
pub fn bounded(limits: Limits, policy: Policy) -> (Sender, Receiver) {
    let state = State::new(limits);
    let shared = Arc::new(Shared { policy, state: Mutex::new(state), ..Shared::default() });
    (Sender::new(Arc::clone(&shared), Arc::default()), Receiver(shared))
}

/// The entrance. Clones share one group, which [`Sender::cancel`] releases as a whole.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    cancelled: Arc<AtomicBool>,
}

impl Sender {
    fn new(shared: Arc<Shared>, cancelled: Arc<AtomicBool>) -> Self {
        shared.lock().senders += 1;
        Self { shared, cancelled }
    }

    /// A sender into the same queue that is cancelled apart from this one.
    pub fn group(&self) -> Sender {
        Sender::new(Arc::clone(&self.shared), Arc::default())
    }

    /// Makes every send of this group, waiting or yet to come, return [`Closed`].
    pub fn cancel(&self) {
        let _state = self.shared.lock();
        self.cancelled.store(true, Ordering::Relaxed);
        self.shared.room.notify_all();
    }

    /// Puts an item into the lane of its sense; waits for room or sheds the oldest as the policy says.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone or the group was cancelled; the item is dropped.
    pub fn send(&self, item: Sensed) -> Result<(), Closed> {
        let (sense, weight) = (item.sense(), item.weight());
        let mut state = self.shared.lock();
        while self.open(&state)? && weight > 0 && state.lane(sense).full() {
            if self.shared.policy == Policy::ShedOldest {
                state.shed_oldest(sense);
            } else {
                state = self.shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.push(item, weight);
        self.shared.arrival.notify_one();
        Ok(())
    }

    /// What was shed so far.
    pub fn shed(&self) -> Shed {
        self.shared.lock().shed
    }

    /// What waits to be received.
    pub fn load(&self) -> Load {
        self.shared.lock().load()
    }

    fn open(&self, state: &State) -> Result<bool, Closed> {
        let closed = state.receiver_gone || self.cancelled.load(Ordering::Relaxed);
        if closed { Err(Closed) } else { Ok(true) }
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        Sender::new(Arc::clone(&self.shared), Arc::clone(&self.cancelled))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.lock().senders -= 1;
        self.shared.arrival.notify_one();
    }
}

/// The exit. Dropping it makes all senders stop.
#[derive(Debug)]
pub struct Receiver(Arc<Shared>);

impl Receiver {
    /// The next item; sleeps up to `timeout` until there is one.
    ///
    /// # Errors
    /// [`Empty::TimedOut`], or [`Empty::Closed`] once all senders are gone and the queue is empty.
    pub fn recv(&self, timeout: Duration) -> Result<Sensed, Empty> {
        let began = Moment::now();
        let mut state = self.0.lock();
        loop {
            let alone = state.waited(Moment::now());
            if let Some(sense) = state.next(self.0.policy, alone >= PATIENCE) {
                let item = state.pop(sense).ok_or(Empty::Closed)?;
                self.0.room.notify_all();
                return Ok(item);
            }
            if state.senders == 0 {
                return Err(Empty::Closed);
            }
            let left =
                timeout.checked_sub(began.elapsed()).filter(|d| !d.is_zero()).ok_or(Empty::TimedOut)?;
            let nap = if alone < PATIENCE { left.min(PATIENCE - alone) } else { left };
            state = self.0.arrival.wait_timeout(state, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next frame, whatever sound comes before it, if it is there now with something behind it: what is merged needs
    /// the other to tell which comes next.
    pub fn frame(&self) -> Option<Frame> {
        let mut state = self.0.lock();
        let item = |place| state.frames.items.get(place).map(|(_, item)| item);
        // Not before a fault, which would be told before it is judged.
        let behind = matches!(item(1), Some(Sensed::Frame(_) | Sensed::End(_)));
        if !behind || !matches!(item(0), Some(Sensed::Frame(_))) {
            return None;
        }
        let frame = state.pop(Sense::Camera);
        self.0.room.notify_all();
        match frame {
            Some(Sensed::Frame(frame)) => Some(frame),
            _ => None,
        }
    }

    /// Drops what a sense has sent and nobody took: its source is gone.
    pub fn forget(&self, sense: Sense) {
        self.0.lock().forget(sense);
        self.0.room.notify_all();
    }

    /// How many frames were dropped by that so far.
    pub fn forgotten(&self) -> u64 {
        self.0.lock().forgotten
    }

    /// What waits to be received.
    pub fn load(&self) -> Load {
        self.0.lock().load()
    }

    /// What was shed so far.
    pub fn shed(&self) -> Shed {
        self.0.lock().shed
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.lock().receiver_gone = true;
        self.0.room.notify_all();
    }
}

#[derive(Debug)]
struct Shared {
    policy: Policy,
    state: Mutex<State>,
    arrival: Condvar,
    room: Condvar,
}

impl Default for Shared {
    fn default() -> Self {
        let (state, arrival, room) = Default::default();
        Self { policy: Policy::Wait, state, arrival, room }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
