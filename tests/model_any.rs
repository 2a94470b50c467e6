//! One code path for every model: a model with another front end, aspect, dimension and a text graph
//! runs through the same code as the default one.

mod tiny;

use std::time::Duration;

use tiny::{BLUE, GREEN, RED, hum, stripes};
use tvsl::clock::Instant;
use tvsl::frame::Samples;
use tvsl::geometry::Size;
use tvsl::model::{Hearing, HeatMap, Model, Score, Vision};
use tvsl::regions::regions;

const SIZE: Size = Size::new(160, 90);

fn at(seconds: f64) -> Instant {
    Instant::from_secs_f64(seconds)
}

fn model() -> Model {
    tiny::open(tiny::folder()).expect("the tiny model opens")
}

/// What `model` makes of these colours side by side and a second of these bands.
fn perceive(model: &mut Model, colours: &[usize], bands: &[usize]) -> (Vision, Hearing) {
    model.forget_sound();
    model.hear(&hum(bands, 0.0, 1.0)).expect("it hears");
    let vision = model.see(&stripes(colours, SIZE, 1.0)).expect("it sees");
    (vision, model.heard(at(1.0)).expect("it heard"))
}

fn scores(model: &mut Model, colours: &[usize], bands: &[usize]) -> Vec<Score> {
    let (vision, hearing) = perceive(model, colours, bands);
    model.detect(&vision, &hearing).expect("stage 1 runs")
}

fn maps(model: &mut Model, colours: &[usize], bands: &[usize], asked: &[usize]) -> Vec<HeatMap> {
    let (vision, hearing) = perceive(model, colours, bands);
    model.localize(&vision, &hearing, asked).expect("stage 2 runs")
}

#[test]
fn only_what_is_heard_and_seen_is_found() {
    let scores = scores(&mut model(), &[RED, GREEN], &[GREEN, BLUE]);
    let [red, green, blue] = [RED, GREEN, BLUE].map(|class| scores[class]);
    assert!(green.p > 0.9 && green.p_audio > 0.9 && green.p_visual > 0.9);
    assert!(red.p < 0.1 && red.p_visual > 0.9 && red.p_audio < 0.1, "seen, not heard: {red:?}");
    assert!(blue.p < 0.1 && blue.p_visual < 0.1 && blue.p_audio > 0.9, "heard, not seen: {blue:?}");
}

#[test]
fn two_classes_have_two_maps() {
    let maps = maps(&mut model(), &[RED, GREEN], &[RED, GREEN], &[GREEN, RED]);
    let best: Vec<_> = maps.iter().map(|map| regions(map, 0.5)[0]).collect();
    assert_eq!([maps[0].class, maps[1].class], [GREEN, RED]);
    assert!(best[0].rect.x0 > 0.4 && best[0].peak.0 > 0.5, "green is right: {:?}", best[0]);
    assert!(best[1].rect.x1 < 0.6 && best[1].peak.0 < 0.5, "red is left: {:?}", best[1]);
}

#[test]
fn asking_for_no_class_gives_no_map() {
    assert!(maps(&mut model(), &[RED], &[RED], &[]).is_empty());
}

#[test]
fn permuted_text_permutes_the_scores() {
    let copy = tiny::Copy::new();
    for (from, to) in
        [("tokens = [1]", "tokens = [9]"), ("tokens = [3]", "tokens = [1]"), ("tokens = [9]", "tokens = [3]")]
    {
        copy.edit(from, to);
    }
    let plain = scores(&mut model(), &[RED, GREEN], &[RED, BLUE]);
    let swapped = scores(&mut copy.open().expect("the copy opens"), &[RED, GREEN], &[RED, BLUE]);
    for (class, other) in [(RED, BLUE), (GREEN, GREEN), (BLUE, RED)] {
        assert_eq!(Score { class, ..plain[other] }, swapped[class]);
    }
    assert_ne!(plain[RED], swapped[RED]);
}

#[test]
fn sound_is_encoded_once_per_hop_however_it_arrives() {
    let (mut whole, mut parts) = (model(), model());
    let sound = hum(&[RED, BLUE], 0.0, 2.1);
    whole.hear(&sound).expect("it hears");
    for (n, block) in sound.mono.chunks(37).enumerate() {
        let start = at(n as f64 * 37.0 / f64::from(tiny::RATE));
        parts.hear(&Samples::new(start, tiny::RATE, block.to_vec())).expect("it hears");
        parts.see(&stripes(&[RED], SIZE, 0.0)).expect("it sees");
    }
    assert_eq!((whole.hops(), parts.hops()), (8, 8));
    for until in [0.1, 0.9, 1.3, 2.0, 2.1] {
        assert_eq!(
            whole.heard(at(until)).expect("it heard").rows,
            parts.heard(at(until)).expect("it heard").rows
        );
    }
}

#[test]
fn a_frame_hears_nothing_that_came_after_it() {
    let mut model = model();
    model.hear(&hum(&[], 0.0, 1.0)).expect("it hears");
    model.hear(&hum(&[RED], 1.0, 1.0)).expect("it hears");
    let (before, after) = (model.heard(at(1.0)).expect("it heard"), model.heard(at(2.0)).expect("it heard"));
    assert!(before.rows.data.iter().all(|&v| v == 0.0));
    assert_eq!(before.level_dbfs, tvsl::model::SILENCE_DBFS);
    assert!(after.rows.data.iter().any(|&v| v > 0.4));
    assert!((after.level_dbfs - 20.0 * 0.45f32.log10()).abs() < 0.1);
    assert_eq!((after.start, after.end), (at(1.0), at(2.0)));
}

#[test]
fn lost_sound_is_silence_on_a_true_time_line() {
    let mut model = model();
    model.hear(&hum(&[RED], 0.0, 0.5)).expect("it hears");
    let lost = Samples { lost_before: Duration::from_millis(250), ..hum(&[BLUE], 0.75, 0.25) };
    model.hear(&lost).expect("it hears");
    let hearing = model.heard(at(1.0)).expect("it heard");
    assert_eq!(model.hops(), 4);
    let quarter = |row: usize, class: usize| hearing.rows.data[row * 3 + class] > 0.2;
    assert_eq!([0, 1, 2, 3].map(|row| quarter(row, RED)), [true, true, false, false]);
    assert_eq!([0, 1, 2, 3].map(|row| quarter(row, BLUE)), [false, false, false, true]);
}

#[test]
fn a_short_memory_leaves_out_what_is_over() {
    let mut model = model();
    model.hear(&hum(&[RED], 0.0, 0.5)).expect("it hears");
    model.hear(&hum(&[BLUE], 0.5, 0.5)).expect("it hears");
    let all = model.heard(at(1.0)).expect("it heard").rows.data;
    let mut lately =
        |memory| model.heard_lately(at(1.0), Duration::from_millis(memory)).expect("it heard").rows.data;
    assert_eq!(lately(0).len(), 3);
    assert_eq!((lately(300), lately(60_000)), (all[6..].to_vec(), all));
    let mut heard = |memory, class: usize| lately(memory).chunks_exact(3).any(|row| row[class] > 0.2);
    assert!(!heard(300, RED) && heard(300, BLUE) && heard(600, RED));
}

#[test]
fn sound_that_stopped_long_ago_is_silence() {
    let mut model = model();
    model.hear(&hum(&[RED], 0.0, 1.0)).expect("it hears");
    let later = model.heard(at(5.0)).expect("it heard");
    assert!(later.rows.data.iter().all(|&v| v == 0.0));
    assert_eq!(later.level_dbfs, tvsl::model::SILENCE_DBFS);
}

#[test]
fn time_that_runs_backwards_starts_anew() {
    let mut model = model();
    model.hear(&hum(&[RED], 100.0, 1.0)).expect("it hears");
    model.hear(&hum(&[BLUE], 0.0, 1.0)).expect("it hears");
    let rows = model.heard(at(1.0)).expect("it heard").rows.data;
    assert!(rows.chunks_exact(3).all(|row| row[RED] < 0.2 && row[BLUE] > 0.2), "{rows:?}");
}

#[test]
fn a_picture_of_any_size_is_scaled_to_the_grid() {
    let mut model = model();
    for size in [Size::new(64, 64), Size::new(1, 500), Size::new(33, 17), Size::new(640, 360)] {
        let vision = model.see(&stripes(&[GREEN], size, 0.0)).expect("it sees");
        let cells = vision.cells.tensor().expect("they are here");
        assert_eq!(cells.shape, [1, 16, 3]);
        assert!(cells.data.chunks_exact(3).all(|cell| cell == [0.0, 1.0, 0.0]));
    }
}
