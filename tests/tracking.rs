//! What is heard and seen becomes lasting identities: one event per sounding thing, started soon and
//! ended once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tvsl::clock::Instant;
use tvsl::config::Tracking;
use tvsl::geometry::Rect;
use tvsl::model::Score;
use tvsl::regions::Region;
use tvsl::track::{Detection, Event, Track, Tracker};

fn settings() -> Tracking {
    Tracking {
        start_after: Duration::from_millis(200),
        sure: 0.95,
        hold: Duration::from_millis(800),
        iou: 0.1,
        keep: 0.0,
    }
}

fn at(seconds: f64) -> Instant {
    Instant::from_secs_f64(seconds)
}

fn region(x: f32) -> Region {
    let rect = Rect { x0: x, y0: 0.3, x1: x + 0.2, y1: 0.7 };
    Region { rect, peak: rect.centre(), score: 1.0 }
}

fn detection(class: usize, places: &[f32]) -> Detection {
    let score = Score { class, p: 0.9, p_audio: 0.9, p_visual: 0.9 };
    Detection { score, unrivalled: true, regions: places.iter().map(|&x| region(x)).collect() }
}

/// Frame, identity and class of a start or an end.
type Moment = (usize, u64, usize);

/// Ten frames a second: `present(n)` is what frame n shows. Gives the starts and the ends.
fn play(frames: usize, present: impl Fn(usize) -> Vec<Detection>) -> (Vec<Moment>, Vec<Moment>) {
    let mut tracker = Tracker::new(&settings());
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for n in 0..frames {
        for track in tracker.update(at(n as f64 * 0.1), &present(n)) {
            match track.event {
                Event::Start => starts.push((n, track.id, track.class)),
                Event::End => ends.push((n, track.id, track.class)),
                Event::Update => {}
            }
        }
    }
    (starts, ends)
}

#[test]
fn only_the_best_place_of_a_class_starts_at_once() {
    let (starts, _) = play(5, |_| {
        let mut sure = detection(0, &[0.1, 0.7]);
        (sure.score.p, sure.score.p_audio) = (0.99, 0.6);
        vec![sure]
    });
    assert_eq!(starts, [(0, 1, 0), (2, 2, 0)], "a part that fell off for a frame or two would be an event");
}

#[test]
fn a_barking_dog_is_one_event() {
    let barks = |n: usize| {
        if n < 50 && n % 8 < 3 { vec![detection(4, &[0.1 + 0.01 * (n % 3) as f32])] } else { vec![] }
    };
    let (starts, ends) = play(80, barks);
    assert_eq!(starts, [(2, 1, 4)], "started as soon as it had lasted 0.2 s");
    assert_eq!(ends, [(58, 1, 4)], "ended once it had been gone for more than 0.8 s");
}

#[test]
fn a_flash_in_one_frame_starts_nothing() {
    let (starts, ends) = play(30, |n| if n % 9 == 0 { vec![detection(0, &[0.5])] } else { vec![] });
    assert!(starts.is_empty() && ends.is_empty());
}

#[test]
fn what_is_sure_starts_at_once_and_a_single_doubtful_moment_never() {
    let mut tracker = Tracker::new(&settings());
    let heard = |class: usize, p: f32, p_audio: f32, unrivalled: bool| {
        let found = detection(class, &[0.1]);
        vec![Detection { score: Score { p, p_audio, ..found.score }, unrivalled, ..found }]
    };
    let one = |class, p, unrivalled| heard(class, p, 0.6, unrivalled);
    assert_eq!(tracker.update(at(0.0), &one(0, 0.95, true)).len(), 1, "sure");
    assert!(tracker.update(at(0.1), &one(1, 0.94, true)).is_empty(), "not sure, and one moment only");
    assert!(
        tracker.update(at(0.2), &one(2, 0.99, false)).is_empty(),
        "something unseen is heard more plainly"
    );
    assert!(tracker.update(at(0.3), &heard(3, 0.99, 0.4, true)).is_empty(), "it is rather not heard");
    assert!((4..20).all(|n| tracker.update(at(0.1 * f64::from(n)), &[]).iter().all(|t| t.class == 0)));
}

#[test]
fn two_of_a_class_keep_their_identities_while_they_move() {
    let mut tracker = Tracker::new(&settings());
    for n in 0..20 {
        let (left, right) = (0.05 + 0.01 * n as f32, 0.7 - 0.01 * n as f32);
        let places = if n % 2 == 0 { [left, right] } else { [right, left] };
        for track in tracker.update(at(n as f64 * 0.1), &[detection(1, &places)]) {
            assert_eq!(track.id, if track.region.rect.x0 < 0.37 { 1 } else { 2 }, "frame {n}");
        }
    }
}

#[test]
fn classes_never_share_an_identity() {
    let (starts, _) = play(10, |n| vec![detection(n / 5, &[0.4])]);
    assert_eq!(starts.iter().map(|&(_, id, class)| (id, class)).collect::<Vec<_>>(), [(1, 0), (2, 1)]);
}

#[test]
fn the_end_of_the_source_and_time_that_runs_backwards_end_everything() {
    let mut tracker = Tracker::new(&Tracking { start_after: Duration::ZERO, ..settings() });
    let event = |tracks: &[Track]| tracks.iter().map(|t| (t.event, t.id)).collect::<Vec<_>>();
    assert_eq!(event(&tracker.update(at(9.0), &[detection(0, &[0.1])])), [(Event::Start, 1)]);
    let rewound = tracker.update(at(0.0), &[detection(0, &[0.1])]);
    assert_eq!(event(&rewound), [(Event::Start, 2), (Event::End, 1)]);
    assert_eq!(event(&tracker.finish()), [(Event::End, 2)]);
    assert!(tracker.finish().is_empty());
}

/// What one frame shows: how long after the one before, and the places of each class.
fn frames() -> impl Strategy<Value = Vec<(u32, BTreeMap<usize, Vec<f32>>)>> {
    let places = prop::collection::vec(0f32..0.8, 0..4);
    let shown = prop::collection::btree_map(0usize..3, places, 0..3);
    prop::collection::vec((0u32..1500, shown), 0..60)
}

proptest! {
    #[test]
    fn every_start_has_one_end_and_no_identity_comes_twice(frames in frames()) {
        let mut tracker = Tracker::new(&settings());
        let (mut live, mut used, mut now) = (BTreeMap::new(), BTreeSet::new(), Instant::ZERO);
        let mut note = |tracks: Vec<Track>, now: Instant| -> Result<(), TestCaseError> {
            let mut seen = BTreeSet::new();
            for track in tracks {
                prop_assert!(seen.insert(track.id), "an identity has one event per frame");
                prop_assert!(track.started <= track.seen && track.seen <= now);
                match track.event {
                    Event::Start => {
                        prop_assert!(used.insert(track.id), "no identity starts twice");
                        live.insert(track.id, track.class);
                    }
                    Event::Update => prop_assert_eq!(live.get(&track.id), Some(&track.class)),
                    Event::End => prop_assert_eq!(live.remove(&track.id), Some(track.class)),
                }
            }
            Ok(())
        };
        for (step, shown) in frames {
            now = now + Duration::from_millis(step.into());
            let detections: Vec<_> = shown.iter().map(|(&class, places)| detection(class, places)).collect();
            note(tracker.update(now, &detections), now)?;
        }
        note(tracker.finish(), now)?;
        prop_assert!(live.is_empty(), "every start has its end");
    }
}
