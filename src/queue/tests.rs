//! The queue against every promise it makes.

use super::*;
use crate::geometry::Size;
use proptest::prelude::*;
use std::sync::mpsc;
use std::thread;

const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(5);

fn frame(ms: u64) -> Sensed {
    let size = Size::new(1, 1);
    Sensed::Frame(Frame {
        captured: Instant::from_nanos(ms * 1_000_000),
        size,
        source: size,
        rgb: vec![0; 3],
    })
}

/// 10 ms of sound.
fn sound(ms: u64) -> Sensed {
    Sensed::Sound(Samples::new(Instant::from_nanos(ms * 1_000_000), 1000, vec![0.0; 10]))
}

fn limits(frames: usize, sound_ms: u64) -> Limits {
    Limits { frames, sound: Duration::from_millis(sound_ms) }
}

/// `f40` for a frame taken at 40 ms, `s40+10` for sound after 10 ms lost, `end`, `fault`.
fn name(item: &Sensed) -> String {
    let ms = item.captured().map_or(0, |at| at.as_nanos() / 1_000_000);
    match item {
        Sensed::Frame(_) => format!("f{ms}"),
        Sensed::Sound(s) if s.lost_before.is_zero() => format!("s{ms}"),
        Sensed::Sound(s) => format!("s{ms}+{}", s.lost_before.as_millis()),
        Sensed::End(_) => "end".into(),
        Sensed::Fault(..) => "fault".into(),
    }
}

fn drain(receiver: &Receiver) -> Vec<String> {
    std::iter::from_fn(|| receiver.recv(NOW).ok()).map(|item| name(&item)).collect()
}

#[test]
fn live_input_sheds_the_oldest_counts_it_and_shows_the_gap() -> Result<(), Closed> {
    let (sender, receiver) = bounded(limits(2, 20), Policy::ShedOldest);
    for ms in [0, 10, 20, 30, 40] {
        sender.send(frame(ms))?;
        sender.send(sound(ms))?;
    }
    assert_eq!(drain(&receiver), ["f30", "s30+30", "f40", "s40"]);
    assert_eq!(receiver.shed(), Shed { frames: 3, samples: 30 });
    Ok(())
}

#[test]
fn the_next_frame_is_given_before_the_sound_that_comes_before_it_unless_it_is_the_last() -> Result<(), Closed>
{
    let (sender, receiver) = bounded(limits(3, 100), Policy::Merge);
    sender.send(sound(0))?;
    sender.send(frame(5))?;
    assert_eq!(receiver.frame(), None, "what comes next is told by it");
    sender.send(frame(15))?;
    sender.send(sound(10))?;
    sender.send(sound(20))?;
    sender.send(Sensed::End(Sense::Camera))?;
    let frame = receiver.frame().expect("there is one behind it");
    assert_eq!((name(&Sensed::Frame(frame)).as_str(), receiver.load().frames), ("f5", 1));
    assert_eq!(drain(&receiver), ["s0", "s10", "f15", "end", "s20"]);
    assert_eq!(receiver.frame(), None);
    Ok(())
}

#[test]
fn last_words_are_never_shed_and_never_wait() -> Result<(), Closed> {
    let (sender, receiver) = bounded(limits(1, 10), Policy::ShedOldest);
    sender.send(frame(0))?;
    sender.send(Sensed::Fault(Sense::Camera, "unplugged".into()))?;
    sender.send(frame(50))?;
    sender.send(Sensed::End(Sense::Camera))?;
    assert_eq!(drain(&receiver), ["fault", "f50", "end"]);
    Ok(())
}

#[test]
fn merging_delivers_in_order_of_capture_whatever_the_arrival() -> Result<(), Closed> {
    let (sender, receiver) = bounded(limits(9, 900), Policy::Merge);
    for ms in [0, 10, 20] {
        sender.send(sound(ms))?;
    }
    assert_eq!(receiver.recv(NOW).unwrap_err(), Empty::TimedOut, "a frame may still come before");
    for ms in [5, 15] {
        sender.send(frame(ms))?;
    }
    assert_eq!(drain(&receiver), ["s0", "f5", "s10", "f15"]);
    sender.send(Sensed::End(Sense::Camera))?;
    assert_eq!(drain(&receiver), ["end", "s20"]);
    Ok(())
}

#[test]
fn merging_loses_patience_with_an_empty_lane_when_the_other_is_full_however_often_it_is_asked()
-> Result<(), Closed> {
    for pause in [SOON, PATIENCE / 10] {
        let (sender, receiver) = bounded(limits(1, 10), Policy::Merge);
        sender.send(frame(0))?;
        let next = || (0..20).find_map(|_| receiver.recv(pause).ok());
        assert_eq!(name(&next().expect("a frame")), "f0");
        // It is lost once, until something comes of the other.
        sender.send(frame(1))?;
        assert_eq!(name(&receiver.recv(NOW).expect("a frame")), "f1");
        sender.send(sound(2))?;
        sender.send(frame(3))?;
        assert_eq!(drain(&receiver), ["s2"], "patient again");
    }
    Ok(())
}

#[test]
fn recorded_input_waits_and_loses_nothing() {
    for policy in [Policy::Wait, Policy::Merge] {
        let (sender, receiver) = bounded(limits(1, 10), policy);
        let sender_of_sound = sender.clone();
        let sight = thread::spawn(move || (0..200).try_for_each(|i| sender.send(frame(i))));
        let hearing = thread::spawn(move || (0..200).try_for_each(|i| sender_of_sound.send(sound(i))));
        let mut names = Vec::new();
        while let Ok(item) = receiver.recv(SOON) {
            names.push(name(&item));
        }
        assert!(sight.join().expect("no panic").is_ok() && hearing.join().expect("no panic").is_ok());
        for kind in ["f", "s"] {
            let got: Vec<_> = names.iter().filter(|n| n.starts_with(kind)).cloned().collect();
            assert_eq!(got, (0..200).map(|i| format!("{kind}{i}")).collect::<Vec<_>>());
        }
        assert_eq!(receiver.shed(), Shed::default());
    }
}

#[test]
fn cancelling_or_dropping_the_receiver_releases_a_waiting_sender() -> Result<(), Closed> {
    for cancel in [true, false] {
        let (sender, receiver) = bounded(limits(1, 10), Policy::Wait);
        let group = sender.group();
        group.send(frame(0))?;
        let (waiter, (done, outcome)) = (group.clone(), mpsc::channel());
        thread::spawn(move || done.send(waiter.send(frame(1))));
        if cancel {
            group.cancel();
            assert_eq!(outcome.recv_timeout(SOON), Ok(Err(Closed)));
            assert_eq!(drain(&receiver), ["f0"]);
            assert_eq!(sender.send(frame(2)), Ok(()), "the other group goes on");
        } else {
            drop(receiver);
            assert_eq!(outcome.recv_timeout(SOON), Ok(Err(Closed)));
        }
    }
    Ok(())
}

#[test]
fn the_receiver_ends_after_the_last_item_of_the_last_sender() -> Result<(), Closed> {
    let (sender, receiver) = bounded(Limits::default(), Policy::Wait);
    sender.send(frame(0))?;
    assert_eq!(drain(&receiver), ["f0"]);
    assert_eq!(receiver.recv(NOW).unwrap_err(), Empty::TimedOut);
    sender.send(frame(1))?;
    drop(sender);
    assert_eq!(drain(&receiver), ["f1"]);
    assert_eq!(receiver.recv(SOON).unwrap_err(), Empty::Closed);
    Ok(())
}

proptest! {
    /// Whatever the interleaving: bounds hold, order is kept, and nothing vanishes uncounted.
    #[test]
    fn a_live_queue_accounts_for_everything(ops in proptest::collection::vec(0u8..3, 0..200)) {
        let (sender, receiver) = bounded(limits(3, 30), Policy::ShedOldest);
        let (mut sent, mut got, mut stamps) = ([0u64; 2], [0u64; 2], [None; 2]);
        let mut time_line = Duration::ZERO;
        let mut take = |item: Sensed| {
            let lane = usize::from(item.sense() == Sense::Microphone);
            assert!(item.captured() > stamps[lane]);
            stamps[lane] = item.captured();
            got[lane] += 1;
            if let Sensed::Sound(s) = item {
                time_line += s.lost_before;
                assert_eq!(time_line, s.captured.since(Instant::ZERO));
                time_line += s.duration();
            }
        };
        for op in ops {
            match op {
                0 => { sender.send(frame(sent[0])).expect("open"); sent[0] += 1; }
                1 => { sender.send(sound(sent[1] * 10)).expect("open"); sent[1] += 1; }
                _ => { receiver.recv(NOW).map(&mut take).ok(); }
            }
            let state = receiver.0.lock();
            prop_assert!(state.frames.items.len() <= 3 && state.sound.items.len() <= 3);
        }
        while let Ok(item) = receiver.recv(NOW) { take(item); }
        let shed = receiver.shed();
        prop_assert_eq!(sent[0], got[0] + shed.frames);
        prop_assert_eq!(sent[1], got[1] + shed.samples / 10);
    }
}
