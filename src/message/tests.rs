//! Messages for tests, and the lives of sources.

use super::*;

fn place() -> Place {
    Place { rect: [0.2, 0.2, 0.4, 0.6], pixels: [128, 72, 256, 216], peak: [0.3, 0.4], score: 1.0 }
}

/// A sounding dog with this id.
pub(crate) fn dog(id: &str, p: f32, event: Phase) -> Sounding {
    Sounding {
        id: id.into(),
        event,
        class: "dog".into(),
        label: "dog".into(),
        prompt: "the sound of a dog barking".into(),
        p,
        p_audio: 0.8,
        p_visual: 0.9,
        region: place(),
        bearing: None,
        since: 100.0,
    }
}

pub(crate) fn class() -> ClassInfo {
    ClassInfo { name: "dog".into(), label: "dog".into(), prompt: "the sound of a dog barking".into() }
}

/// A device of that configuration that reports dogs.
pub(crate) fn info(config: &crate::config::Config) -> Info {
    Info {
        schema: SCHEMA,
        revision: 0,
        device: config.device.name.clone(),
        version: "0".into(),
        model: ModelInfo { name: "none".into(), version: "0".into() },
        engine: "none".into(),
        classes: vec![class()],
        lens: config.camera.lens.clone(),
        masked: 0.0,
        picture: None,
    }
}

/// A message at a time, Unix seconds.
pub(crate) fn message(captured: f64, detections: Vec<Sounding>, ended: Vec<Ended>) -> Message {
    Message {
        schema: SCHEMA,
        device: "test".into(),
        run: "00000001".into(),
        sequence: 1,
        missed: 0,
        late: false,
        frame: FrameStamp { captured, width: 640, height: 360 },
        sound: SoundStamp { start: captured - 3.0, end: captured, level_dbfs: -20.0 },
        published: captured + 0.1,
        clock_synced: Some(true),
        detections,
        ended,
    }
}

/// The detections with this number.
pub(crate) fn detections(sequence: u64) -> Report {
    let message = message(100.0, vec![dog("1-1", 0.9, Phase::Update)], vec![]);
    Report::Detections(Box::new(Message { sequence, ..message }))
}

/// The event with this number.
pub(crate) fn event(sequence: u64) -> Report {
    let mut chronicle = Chronicle::new(Duration::ZERO);
    let mut events = chronicle.follow(&message(100.0, vec![dog("1-1", 0.9, Phase::Start)], vec![]));
    let event = events.pop().expect("a start");
    Report::Event(Box::new(EventMessage { sequence, ..event }))
}

/// The answer to the wish with this number, which stands in its stamp and in its setting.
pub(crate) fn answer(number: u64) -> [Report; 2] {
    let (config, changed) = (crate::config::Config::default(), crate::config::Overrides::default());
    let settings = Settings { sensitivity: number as f32, ..Settings::new(&config, &changed) };
    let answer = Answer {
        schema: SCHEMA,
        device: "test".into(),
        key: "sensitivity".into(),
        accepted: true,
        reason: String::new(),
        published: number as f64,
        clock_synced: None,
    };
    [Report::Settings(Box::new(settings)), Report::Answer(answer)]
}

/// Whether dogs sound.
pub(crate) fn state(state: OnOff) -> Report {
    Report::State(Box::new(ClassState {
        schema: SCHEMA,
        device: "test".into(),
        run: "00000001".into(),
        class: "dog".into(),
        label: "dog".into(),
        state,
        last: None,
        sources: vec![],
        ending: vec![],
        published: 100.0,
        clock_synced: None,
    }))
}

#[test]
fn a_life_is_told_from_start_to_end() {
    let mut chronicle = Chronicle::new(Duration::from_secs(1));
    let mut told = Vec::new();
    for (step, p) in [0.6, 0.9, 0.6].into_iter().enumerate() {
        let sign = if step == 0 { Phase::Start } else { Phase::Update };
        told.extend(chronicle.follow(&message(100.0 + step as f64 * 0.6, vec![dog("1-1", p, sign)], vec![])));
    }
    assert_eq!(chronicle.sounding("dog").len(), 1);
    let ended = Ended { id: "1-1".into(), class: "dog".into(), last: 101.2 };
    told.extend(chronicle.follow(&message(102.0, vec![], vec![ended])));
    let phases: Vec<EventPhase> = told.iter().map(|event| event.event).collect();
    assert_eq!(phases, [EventPhase::Start, EventPhase::Update, EventPhase::End], "one update a second");
    assert_eq!(told.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let end = &told[2].source;
    assert_eq!((end.p, end.p_peak, end.p_mean), (0.6, 0.9, 0.7));
    assert_eq!((end.started, end.last, end.duration), (100.0, 101.2, 1.2));
    assert!(chronicle.sounding("dog").is_empty());
}

#[test]
fn an_end_of_what_never_started_is_no_event() {
    let ended = Ended { id: "1-9".into(), class: "dog".into(), last: 101.2 };
    assert_eq!(Chronicle::new(Duration::ZERO).follow(&message(102.0, vec![], vec![ended])), []);
}
