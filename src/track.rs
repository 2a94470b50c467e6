//! Regions to lasting identities: a barking dog is one event, not forty.

use std::time::Duration;

use crate::clock::Instant;
use crate::config;
use crate::model::{ClassId, Score};
use crate::regions::Region;

/// A class that is heard and seen in one frame, with the places where it is, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// How sure.
    pub score: Score,
    /// Nothing unseen is heard more plainly, for which this could be mistaken.
    pub unrivalled: bool,
    /// Where.
    pub regions: Vec<Region>,
}

/// What happened to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is there now and was not before.
    Start,
    /// It is still there.
    Update,
    /// It has been gone for the hold time.
    End,
}

/// One sounding thing over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Track {
    /// Its identity, never used again by the same [`Tracker`].
    pub id: u64,
    /// Its class.
    pub class: ClassId,
    /// How sure, when last seen.
    pub score: Score,
    /// Where, when last seen.
    pub region: Region,
    /// When it was first seen.
    pub started: Instant,
    /// When it was last seen.
    pub seen: Instant,
    /// What happened now.
    pub event: Event,
}

/// Gives detections lasting identities. Pure: time is an argument.
///
/// A region continues the track of its class that it overlaps most or, failing that, lies nearest to.
/// A track starts once it has lasted `start_after` (until then a short absence forgets it), or at once
/// where it is the best place of a class that is `sure`, rather heard than not and unrivalled, and ends once it has been gone for
/// `hold`, so that short gaps neither start nor end anything.
#[derive(Debug)]
pub struct Tracker {
    config: config::Tracking,
    live: Vec<Live>,
    next_id: u64,
    now: Instant,
}

#[derive(Debug)]
struct Live {
    track: Track,
    /// It is the best place of its class, and nothing unseen is heard more plainly.
    plain: bool,
    started: bool,
    fresh: bool,
}

impl Tracker {
    /// A tracker that knows nothing yet.
    pub fn new(config: &config::Tracking) -> Self {
        Self { config: config.clone(), live: Vec::new(), next_id: 1, now: Instant::ZERO }
    }

    /// Goes on with other settings; what is there stays.
    pub fn configure(&mut self, config: &config::Tracking) {
        self.config = config.clone();
    }

    /// Takes what one frame shows. Gives the start or update of every track that is present and the
    /// end of every track that is over, ends last. Where time runs backwards everything ends first.
    pub fn update(&mut self, now: Instant, detections: &[Detection]) -> Vec<Track> {
        let mut over = if now < self.now { self.finish() } else { Vec::new() };
        self.now = now;
        self.live.iter_mut().for_each(|live| live.fresh = false);
        for detection in detections {
            self.place(now, detection);
        }
        let mut events: Vec<Track> =
            self.live.iter_mut().filter_map(|live| live.report(now, &self.config)).collect();
        over.extend(self.sweep(now));
        events.append(&mut over);
        events
    }

    /// The classes whose events have started and are not over.
    pub fn going(&self) -> Vec<ClassId> {
        self.live.iter().filter(|live| live.started).map(|live| live.track.class).collect()
    }

    /// Ends every track, as when the source is over.
    pub fn finish(&mut self) -> Vec<Track> {
        self.live.drain(..).filter(|live| live.started).map(Live::end).collect()
    }

    /// Lets the regions of one class continue its tracks, closest pairs first; what is left is new.
    fn place(&mut self, now: Instant, detection: &Detection) {
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for (t, live) in self.live.iter().enumerate() {
            let same = live.track.class == detection.score.class && !live.fresh;
            for (r, region) in detection.regions.iter().enumerate().filter(|_| same) {
                pairs.extend(self.closeness(&live.track.region, region).map(|close| (close, t, r)));
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut placed = vec![false; detection.regions.len()];
        for (_, t, r) in pairs {
            let live = &mut self.live[t];
            if !live.fresh && !placed[r] {
                live.see(now, detection, r);
                placed[r] = true;
            }
        }
        for (r, _) in placed.iter().enumerate().filter(|(_, placed)| !**placed) {
            self.live.push(Live::new(self.next_id, now, detection, r));
            self.next_id += 1;
        }
    }

    /// How well two regions match, 0–2: overlap first, then nearness; `None` when they do not.
    fn closeness(&self, a: &Region, b: &Region) -> Option<f32> {
        let overlap = a.rect.iou(&b.rect);
        let ((ax, ay), (bx, by)) = (a.rect.centre(), b.rect.centre());
        let distance = (ax - bx).hypot(ay - by);
        if overlap > 0.0 && overlap >= self.config.iou {
            Some(1.0 + overlap)
        } else {
            (distance <= NEAR).then(|| 1.0 - distance.min(1.0))
        }
    }

    /// Removes what has been gone too long and gives the ends of what had started.
    fn sweep(&mut self, now: Instant) -> Vec<Track> {
        let (hold, patience) = (self.config.hold, self.config.start_after.max(FORGET));
        let gone = |live: &mut Live| {
            now.since(live.track.seen) > if live.started { hold } else { patience.min(hold) }
        };
        self.live.extract_if(.., gone).filter(|live| live.started).map(Live::end).collect()
    }
}

/// A track that has not started yet is forgotten after this absence.
const FORGET: Duration = Duration::from_millis(250);

/// Regions without overlap are still the same object if their centres are this near, as a share of
/// the picture's sides.
const NEAR: f32 = 0.2;

/// Least probability that it is heard, by the sound alone, for an event that starts at once: a crack in the sound resembles
/// nothing and a little of everything.
const HEARD: f32 = 0.5;

impl Live {
    fn new(id: u64, now: Instant, detection: &Detection, place: usize) -> Self {
        let (score, region) = (detection.score, detection.regions[place]);
        let track =
            Track { id, class: score.class, score, region, started: now, seen: now, event: Event::Start };
        Self { track, plain: detection.unrivalled && place == 0, started: false, fresh: true }
    }

    fn see(&mut self, now: Instant, detection: &Detection, place: usize) {
        self.track =
            Track { score: detection.score, region: detection.regions[place], seen: now, ..self.track };
        (self.plain, self.fresh) = (detection.unrivalled && place == 0, true);
    }

    /// Start or update, if it is present and has lasted long enough, or is plain enough, to be believed.
    fn report(&mut self, now: Instant, config: &config::Tracking) -> Option<Track> {
        let lasted = now.since(self.track.started) >= config.start_after;
        let score = &self.track.score;
        let sure = self.plain && score.p >= config.sure && score.p_audio >= HEARD;
        if !self.fresh || !(self.started || lasted || sure) {
            return None;
        }
        self.track.event = if self.started { Event::Update } else { Event::Start };
        self.started = true;
        Some(self.track)
    }

    fn end(self) -> Track {
        Track { event: Event::End, ..self.track }
    }
}
