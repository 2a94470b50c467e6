//! What a part is told, and what it answers. Random faults: `supervise/tests.rs`.

use super::*;

fn told(part: &mut Lifecycle) -> bool {
    let health = part.news(Part::Camera, Moment::of_recording(Instant::ZERO));
    health.is_some_and(|health| health.part == Part::Camera)
}

#[test]
fn waits_grow_while_it_fails_and_are_short_again_after_it_worked() {
    let mut part = Lifecycle::new(Instant::ZERO);
    let waits: Vec<u64> = (0..7).map(|_| part.lost("no", Instant::ZERO, 1.0).as_millis() as u64).collect();
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    let at = Instant::from_secs_f64(100.0);
    assert!(part.begin(at));
    part.opened(at);
    part.delivered(at);
    assert_eq!(part.lost("again", at, 1.0), MOST, "a moment of life proves nothing");
    let at = at + MOST;
    assert!(part.begin(at) && !part.begin(at));
    part.opened(at);
    part.delivered(at + STEADY);
    assert_eq!(part.lost("again", at + STEADY, 1.0), FIRST);
}

#[test]
fn complaints_come_and_go_and_are_told_once() {
    let mut part = Lifecycle::new(Instant::ZERO);
    assert!(part.begin(Instant::ZERO));
    part.opened(Instant::ZERO);
    part.complain(Some("clips"), Instant::ZERO);
    assert_eq!(part.state(), State::Starting, "nothing was delivered yet");
    part.delivered(Instant::ZERO);
    let later = Instant::from_secs_f64(5.0);
    part.complain(Some("clips"), later);
    part.complain(Some("clips"), later + STEADY);
    assert_eq!((part.state(), part.reason(), part.since()), (State::Degraded, "clips", later));
    assert!(part.delivers() && told(&mut part) && !told(&mut part));
    part.delivered(later + STEADY);
    assert_eq!(part.state(), State::Degraded, "a delivery answers no complaint");
    part.complain(None, later + STEADY);
    assert_eq!((part.state(), part.reason()), (State::Running, ""));
}

#[test]
fn what_cannot_be_relied_on_ends_the_silence_and_nothing_else() {
    let at = Instant::from_secs_f64;
    let mut part = Lifecycle::new(at(0.0));
    part.stirred(at(0.0));
    assert_eq!(part.silence(at(9.0)), Duration::ZERO, "it is not open");
    assert_eq!(part.lost("frozen", at(0.0), 1.0), FIRST);
    assert!(part.begin(at(1.0)));
    part.opened(at(1.0));
    part.stirred(at(8.0));
    assert_eq!(part.silence(at(9.0)), Duration::from_secs(1));
    assert_eq!((part.state(), part.reason()), (State::Failed, "frozen"));
    assert_eq!(part.lost("frozen", at(9.0), 1.0), FIRST * 2, "the waits go on growing");
}

#[test]
fn a_try_that_drags_on_has_failed_and_is_the_only_one() {
    let at = Instant::from_secs_f64;
    let mut part = Lifecycle::new(at(0.0));
    assert!(told(&mut part), "that it starts is told");
    part.drag("hangs", at(0.0));
    assert_eq!(part.state(), State::Starting, "nothing is tried yet");
    assert!(part.begin(at(1.0)));
    assert_eq!(part.trying(at(31.0)), Duration::from_secs(30));
    part.drag("hangs", at(31.0));
    assert!(told(&mut part));
    assert_eq!((part.state(), part.reason()), (State::Failed, "hangs"));
    assert!(!part.begin(at(1e6)), "it goes on");
    part.opened(at(1e6));
    part.delivered(at(1e6));
    assert_eq!((part.state(), part.trying(at(2e6))), (State::Running, Duration::ZERO));
}

#[test]
fn what_is_opened_anew_on_purpose_is_not_lost_until_that_fails() {
    let at = Instant::from_secs_f64;
    let mut part = Lifecycle::new(at(0.0));
    assert!(part.begin(at(0.0)));
    part.opened(at(0.0));
    part.delivered(at(1.0));
    assert!(told(&mut part));
    part.renew(at(2.0));
    assert!(part.begin(at(2.0)) && part.delivers());
    part.opened(at(4.0));
    part.delivered(at(5.0));
    assert!(!told(&mut part) && part.since() == at(1.0));
    part.renew(at(6.0));
    assert!(part.begin(at(6.0)));
    part.lost("gone", at(7.0), 1.0);
    assert!(told(&mut part));
    assert_eq!((part.state(), part.since()), (State::Failed, at(7.0)));
}
