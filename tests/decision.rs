//! Which classes count as heard and seen: the model's thresholds, the user's, and the robot's noise.

mod tiny;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tiny::{BLUE, GREEN, RED};
use tvsl::clock::Instant;
use tvsl::config::{Config, Detection, Thresholds, Tracking};
use tvsl::geometry::Rect;
use tvsl::model::{Background, BackgroundLearner, Decision, Manifest, Score};
use tvsl::regions::Region;
use tvsl::track::{self, Tracker};

const LOUD: f32 = -20.0;
const REGION: Region =
    Region { rect: Rect { x0: 0.2, y0: 0.2, x1: 0.6, y1: 0.8 }, peak: (0.4, 0.5), score: 1.0 };

fn manifest() -> Manifest {
    Manifest::read(tiny::folder()).expect("the manifest reads")
}

fn plain() -> Detection {
    Config::default().detection
}

fn score(class: usize, p: f32, p_visual: f32, p_audio: f32) -> Score {
    Score { class, p, p_audio, p_visual }
}

fn selected(config: &Detection, background: Option<&Background>, scores: &[Score]) -> Vec<usize> {
    let decision = Decision::new(&manifest(), config, background).expect("the classes are known");
    decision.select(scores, LOUD, &[]).iter().map(|score| score.class).collect()
}

#[test]
fn each_sense_must_pass_by_itself() {
    let scores = [score(RED, 0.9, 0.4, 0.9), score(GREEN, 0.9, 0.9, 0.4), score(BLUE, 0.4, 0.9, 0.9)];
    assert!(selected(&plain(), None, &scores).is_empty());
    let scores = [score(RED, 0.6, 0.9, 0.9), score(GREEN, 0.8, 0.5, 0.5), score(BLUE, f32::NAN, 1.0, 1.0)];
    assert_eq!(selected(&plain(), None, &scores), [GREEN, RED], "most probable first");
}

#[test]
fn nothing_sounds_below_the_level_gate() {
    let decision = Decision::new(&manifest(), &plain(), None).expect("the classes are known");
    let scores = [score(RED, 1.0, 1.0, 1.0)];
    assert!(decision.select(&scores, -55.1, &[RED]).is_empty());
    assert_eq!(decision.select(&scores, -55.0, &[]).len(), 1);
}

#[test]
fn sensitivity_moves_every_threshold_in_log_odds() {
    let scores = [score(RED, 0.3, 0.3, 0.3)];
    let with = |sensitivity| selected(&Detection { sensitivity, ..plain() }, None, &scores);
    assert!(with(0.0).is_empty() && with(0.84).is_empty(), "0.3 lies 0.847 below 0.5");
    assert_eq!(with(0.85), [RED]);
    assert!(
        selected(&Detection { sensitivity: -3.0, ..plain() }, None, &[score(RED, 0.9, 0.9, 0.9)]).is_empty()
    );
}

#[test]
fn what_goes_on_may_fall_below_its_thresholds_but_not_below_the_floor() {
    let rule = |audio_floor| {
        let config = Detection { audio_floor: BTreeMap::from([("red".into(), audio_floor)]), ..plain() };
        Decision::new(&manifest(), &config, None).expect("the classes are known").keeping(0.85)
    };
    let weak = [score(RED, 0.3, 0.3, 0.3), score(GREEN, 0.3, 0.3, 0.3)];
    let kept = |floor, going: &[usize]| rule(floor).select(&weak, LOUD, going).len();
    assert_eq!((kept(0.0, &[]), kept(0.0, &[RED]), kept(0.0, &[RED, GREEN, RED])), (0, 1, 2));
    assert_eq!((kept(0.31, &[RED]), kept(0.31, &[GREEN])), (0, 1), "the fan is never kept");
    assert!(rule(0.0).select(&[score(RED, 0.29, 0.9, 0.9)], LOUD, &[RED]).is_empty());
}

proptest! {
    /// One class in one place: the true Schmitt trigger, whatever the scores.
    #[test]
    fn a_class_starts_at_its_threshold_and_goes_on_to_the_lower_one(
        keep in 0f32..3.0, ps in prop::collection::vec(0f32..1.0, 1..60),
    ) {
        let rule = Decision::new(&manifest(), &plain(), None).expect("no class is named").keeping(keep);
        let instant = Tracking { start_after: Duration::ZERO, sure: 1.0, hold: Duration::ZERO, iou: 0.1, keep };
        let mut tracker = Tracker::new(&instant);
        let lower = 1.0 / (1.0 + keep.exp());
        let mut on = false;
        for (n, &p) in ps.iter().enumerate().filter(|(_, p)| (**p - lower).abs() > 1e-5) {
            on = p >= 0.5 || (on && p > lower);
            let selected = rule.select(&[score(RED, p, 1.0, 1.0)], LOUD, &tracker.going());
            prop_assert_eq!(selected.len() == 1, on, "p = {} at {}", p, n);
            let found: Vec<_> = selected.iter().map(|&score| track::Detection { score, unrivalled: true, regions: vec![REGION] }).collect();
            tracker.update(Instant::from_secs_f64(n as f64), &found);
        }
    }
}

#[test]
fn the_user_lists_classes_and_sets_thresholds_and_floors() {
    let scores = [RED, GREEN, BLUE].map(|class| score(class, 0.6, 0.6, 0.6));
    let only = Detection { classes: vec!["blue".into()], ..plain() };
    assert_eq!(selected(&only, None, &scores), [BLUE]);
    let strict = Thresholds { p: Some(0.7), ..Thresholds::default() };
    let own = Detection {
        thresholds: BTreeMap::from([("red".into(), strict)]),
        audio_floor: BTreeMap::from([("green".into(), 0.61)]),
        ..plain()
    };
    assert_eq!(selected(&own, None, &scores), [BLUE]);
}

#[test]
fn a_class_the_model_lacks_is_named_with_the_nearest_and_all_there_are() {
    let wrong = Detection { classes: vec!["gren".into()], ..plain() };
    let error = Decision::new(&manifest(), &wrong, None).unwrap_err().to_string();
    assert!(
        error.contains("detection.classes") && error.contains("\"gren\"") && error.contains("\"green\""),
        "{error}"
    );
    assert!(error.ends_with("It knows these 3:\n  red, green, blue"), "all that would do: {error}");
    let part = Detection { classes: vec!["dark blue".into()], ..plain() };
    let error = Decision::new(&manifest(), &part, None).unwrap_err().to_string();
    assert!(error.contains("\"blue\""), "the class that it is part of: {error}");
}

#[test]
fn a_long_list_of_classes_is_broken_into_lines() {
    let manifest = Manifest::read(Path::new("engines/default")).expect("the manifest reads");
    let wrong = Detection { classes: vec!["dgo".into()], ..plain() };
    let error = Decision::new(&manifest, &wrong, None).unwrap_err().to_string();
    let (first, list) = error.split_once('\n').expect("a list in lines of its own");
    assert!(first.contains("the nearest is \"dog\"") && first.ends_with("these 51:"), "{first}");
    assert!(list.lines().all(|line| line.starts_with("  ") && line.chars().count() <= 98), "{list}");
    let names: Vec<&str> = list.split(',').map(str::trim).collect();
    assert!(
        names.iter().eq(&manifest.classes.iter().map(|class| class.name.as_str()).collect::<Vec<_>>()),
        "{list}"
    );
}

#[test]
fn a_learned_background_silences_what_the_robot_itself_sounds_like() {
    let mut learner = BackgroundLearner::new(&manifest());
    for n in 0..200 {
        let wobble = 0.1 * (n % 10) as f32 / 10.0;
        learner.observe(&[
            score(RED, 0.0, 0.0, 0.6 + wobble),
            score(GREEN, 0.0, 0.0, 0.01),
            score(BLUE, 0.0, 0.0, 0.2),
        ]);
    }
    assert_eq!(learner.observations(), 200);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("background.toml");
    fs::write(&file, learner.profile().to_toml()).expect("it writes");
    let learned = Background::read(&file).expect("what was written reads back");
    let noise = [score(RED, 0.9, 0.9, 0.69), score(GREEN, 0.6, 0.9, 0.6)];
    assert_eq!(selected(&plain(), None, &noise), [RED, GREEN]);
    assert_eq!(selected(&plain(), Some(&learned), &noise), [GREEN], "the fan is no red thing");
    assert_eq!(selected(&plain(), Some(&learned), &[score(RED, 0.9, 0.9, 0.9)]), [RED], "a clearer one is");
}

#[test]
fn a_broken_background_is_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("background.toml");
    let refused = |text: &str| {
        fs::write(&file, text).expect("it writes");
        Background::read(&file).unwrap_err().to_string()
    };
    assert!(refused("[audio_floor]\nred = 1.5").contains("audio_floor.red = 1.5"));
    assert!(refused("floor = 1").contains("background.toml"));
    assert!(Background::read(&dir.path().join("none.toml")).unwrap_err().to_string().contains("none.toml"));
}
