//! Sound and frames in, identities out: the whole analysis on simulated time.

mod tiny;

use std::time::Duration;

use tiny::{BLUE, GREEN, RED, hum, stripes};
use tvsl::analysis::{Analysed, Analysis};
use tvsl::clock::Instant;
use tvsl::config::Config;
use tvsl::geometry::Size;
use tvsl::track::Event;

const SIZE: Size = Size::new(128, 72);

fn analysis() -> Analysis {
    let model = tiny::open(tiny::folder()).expect("the tiny model opens");
    Analysis::new(model, &Config::default()).expect("the default configuration fits any model")
}

/// Ten frames a second of red left and green right, with sound that `bands(n)` names for frame n.
fn play(analysis: &mut Analysis, frames: usize, bands: impl Fn(usize) -> Vec<usize>) -> Vec<Analysed> {
    (0..frames)
        .map(|n| {
            let start = n as f64 * 0.1;
            analysis.push_sound(&hum(&bands(n), start, 0.1)).expect("it hears");
            analysis.push_frame(&mut stripes(&[RED, GREEN], SIZE, start + 0.1)).expect("it judges")
        })
        .collect()
}

/// (frame, event, class) of every start and end.
fn events(analysed: &[Analysed]) -> Vec<(usize, Event, usize)> {
    let all =
        analysed.iter().enumerate().flat_map(|(n, a)| a.tracks.iter().map(move |t| (n, t.event, t.class)));
    all.filter(|(_, event, _)| *event != Event::Update).collect()
}

#[test]
fn a_sound_starts_and_ends_the_event_of_what_is_seen() {
    let mut analysis = analysis();
    let heard = play(&mut analysis, 60, |n| if (10..30).contains(&n) { vec![GREEN, BLUE] } else { vec![] });
    let events = events(&heard);
    let [(start, Event::Start, GREEN), (end, Event::End, GREEN)] = events[..] else {
        panic!("one start and one end of green, found {events:?}");
    };
    assert!((11..=16).contains(&start), "sound from frame 10, started at {start}");
    assert!((31..=50).contains(&end), "sound until frame 30, ended at {end}");
    let there = &heard[20];
    assert_eq!(there.detections.len(), 1);
    assert!(there.detections[0].regions[0].rect.x0 > 0.4, "green is right");
    assert_eq!(there.maps[0].class, GREEN);
    assert!(analysis.finish().is_empty());
}

/// Left of the middle is masked from a moment on.
#[test]
fn what_is_masked_ends_and_what_is_not_goes_on() {
    let (mut analysis, both) = (analysis(), |_| vec![RED, GREEN]);
    let before = play(&mut analysis, 20, both).pop().expect("frames were judged");
    let of = |analysed: &Analysed, class| analysed.tracks.iter().find(|t| t.class == class).map(|t| t.id);
    let green = of(&before, GREEN);
    assert!(of(&before, RED).is_some() && green.is_some());
    let text = "[detection]\nmasks = [[0.0, 0.0, 0.5, 1.0]]";
    let masked = Config::parse(text, std::path::Path::new("test.toml")).expect("a configuration");
    analysis.configure(&masked).expect("a mask fits any model");
    let mut frame = stripes(&[RED, GREEN], SIZE, 2.1);
    analysis.push_sound(&hum(&[RED, GREEN], 2.0, 0.1)).expect("it hears");
    let judged = analysis.push_frame(&mut frame).expect("it judges");
    assert_eq!(judged.detections.iter().map(|d| d.score.class).collect::<Vec<_>>(), [GREEN]);
    assert_eq!(of(&judged, GREEN), green, "the same event goes on");
    assert!(
        judged.detections[0].regions.iter().all(|region| region.rect.x0 >= 0.5),
        "{:?}",
        judged.detections
    );
    let left = frame.rgb.chunks_exact(3).zip(0u32..).filter(|(_, n)| n % SIZE.width < SIZE.width / 2);
    let neutral = analysis.model().manifest().image.neutral();
    assert!(left.clone().count() > 0 && left.into_iter().all(|(pixel, _)| pixel == neutral));
}

#[test]
fn the_audio_graph_runs_per_hop_and_never_per_frame() {
    let mut analysis = analysis();
    play(&mut analysis, 50, |_| vec![RED]);
    assert_eq!(analysis.model().hops(), 20, "5 s of sound in hops of 0.25 s");
    for n in 0..50 {
        analysis.push_frame(&mut stripes(&[RED], SIZE, 5.0 + f64::from(n) * 0.001)).expect("it judges");
    }
    assert_eq!(analysis.model().hops(), 20);
    assert_eq!(analysis.finish().len(), 1, "what goes on ends with the source");
}

#[test]
fn a_frame_tells_the_sound_it_was_judged_with_and_what_it_cost() {
    let last = play(&mut analysis(), 20, |_| vec![RED]).pop().expect("frames were judged");
    let at = Instant::from_secs_f64;
    assert_eq!((last.captured, last.sound.start, last.sound.end), (at(2.0), at(1.0), at(2.0)));
    assert!((last.sound.level_dbfs - 20.0 * 0.45f32.log10()).abs() < 0.1);
    assert_eq!(last.scores.len(), 3);
    let timing = last.timing;
    assert!(timing.image > Duration::ZERO && timing.stage1 > Duration::ZERO);
    assert!(timing.total >= timing.image + timing.audio + timing.stage1 + timing.stage2);
}

#[test]
fn without_sound_nothing_sounds() {
    let mut analysis = analysis();
    for n in 0..20 {
        let judged = analysis.push_frame(&mut stripes(&[RED], SIZE, f64::from(n) * 0.1)).expect("it judges");
        assert!(judged.detections.is_empty() && judged.tracks.is_empty());
        assert_eq!(judged.sound.level_dbfs, tvsl::model::SILENCE_DBFS);
        assert_eq!((judged.sound.start, judged.sound.end), (judged.captured, judged.captured));
    }
}
