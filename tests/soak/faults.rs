//! What is done to the devices, their cameras, their microphone and their broker.

use fastrand::Rng;

use crate::card;
use crate::rtsp::Server;
use crate::stage::{EVERY, STALL, Stage, now};

/// Something that breaks, and is well again when `strike` returns.
pub struct Fault {
    pub name: &'static str,
    /// Who has to tell something new after it.
    pub concerns: &'static [&'static str],
    /// A topic that tells of it, so that it certainly happened; empty: `strike` has made certain.
    pub told_on: &'static str,
    /// How often it comes in a round of all.
    pub weight: u32,
    pub strike: fn(&mut Stage, &mut Rng) -> Result<(), String>,
}

const STEADY: &[&str] = &["steady"];
const MORTAL: &[&str] = &["mortal"];
const BOTH: &[&str] = &["steady", "mortal"];
const CAMERA: &str = "tvsl/steady/health/camera";
const CONNECTION: &str = "tvsl/steady/status";
const NOTHING: &str = "";

#[rustfmt::skip]
pub const FAULTS: &[Fault] = &[
    Fault { name: "camera hangs up", concerns: STEADY, told_on: CAMERA, weight: 3, strike: camera_hangs_up },
    Fault { name: "camera gone 1-15 s", concerns: STEADY, told_on: CAMERA, weight: 3, strike: camera_gone },
    Fault { name: "camera silent, connection open", concerns: STEADY, told_on: CAMERA, weight: 2, strike: camera_silent },
    Fault { name: "sound card pulled out", concerns: STEADY, told_on: NOTHING, weight: 3, strike: card::pulled_out },
    Fault { name: "sound card falls silent, does not open", concerns: STEADY, told_on: NOTHING, weight: 2, strike: card::falls_silent },
    Fault { name: "sound card's opening hangs", concerns: STEADY, told_on: NOTHING, weight: 1, strike: card::hangs },
    Fault { name: "sound card gives digital silence", concerns: STEADY, told_on: NOTHING, weight: 1, strike: card::digital_silence },
    Fault { name: "sound card overruns now and then", concerns: STEADY, told_on: NOTHING, weight: 1, strike: card::overruns },
    Fault { name: "sound card never read in time", concerns: STEADY, told_on: NOTHING, weight: 1, strike: card::never_read_in_time },
    Fault { name: "sound of the stream, which hangs up", concerns: STEADY, told_on: NOTHING, weight: 2, strike: other_sound },
    Fault { name: "connection to the broker cut", concerns: STEADY, told_on: CONNECTION, weight: 3, strike: wire_cut },
    Fault { name: "connection to the broker half-open", concerns: STEADY, told_on: CONNECTION, weight: 2, strike: wire_half_open },
    Fault { name: "broker's answers lost 1-10 s", concerns: STEADY, told_on: CONNECTION, weight: 2, strike: answers_lost },
    Fault { name: "broker paused 1-120 s", concerns: BOTH, told_on: NOTHING, weight: 2, strike: broker_paused },
    Fault { name: "broker stopped 1-20 s", concerns: BOTH, told_on: CONNECTION, weight: 2, strike: broker_stopped },
    Fault { name: "broker killed, its state deleted", concerns: BOTH, told_on: CONNECTION, weight: 1, strike: broker_wiped },
    Fault { name: "settings reloaded", concerns: STEADY, told_on: NOTHING, weight: 1, strike: reloaded },
    Fault { name: "camera's settings reloaded", concerns: STEADY, told_on: NOTHING, weight: 1, strike: camera_reloaded },
    Fault { name: "wrong file refused", concerns: STEADY, told_on: NOTHING, weight: 1, strike: wrong_file },
    Fault { name: "switched off and on over MQTT", concerns: STEADY, told_on: NOTHING, weight: 1, strike: switched },
    Fault { name: "threshold changed over MQTT", concerns: STEADY, told_on: NOTHING, weight: 1, strike: threshold },
    Fault { name: "device paused 1-5 s", concerns: STEADY, told_on: NOTHING, weight: 2, strike: device_paused },
    Fault { name: "device killed", concerns: MORTAL, told_on: NOTHING, weight: 4, strike: device_killed },
    Fault { name: "device killed while the broker is paused", concerns: BOTH, told_on: NOTHING, weight: 2, strike: device_killed_unheard },
];

/// Every fault as often as its weight says, in random order.
pub fn shuffled(random: &mut Rng) -> Vec<&'static Fault> {
    let mut faults: Vec<_> = FAULTS.iter().flat_map(|fault| (0..fault.weight).map(move |_| fault)).collect();
    random.shuffle(&mut faults);
    faults
}

/// From `least` to `most` seconds, as often short as long.
pub fn seconds(random: &mut Rng, least: f64, most: f64) -> f64 {
    least * (most / least).powf(random.f64())
}

fn camera_hangs_up(stage: &mut Stage, _: &mut Rng) -> Result<(), String> {
    stage.camera.as_ref().expect("it runs between faults").close();
    Ok(())
}

fn camera_gone(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.camera = None;
    let gone = now();
    stage.listen(seconds(random, 1.0, 15.0))?;
    stage.away(gone, now());
    stage.camera = Some(Server::on(stage.camera_port, &stage.launch));
    Ok(())
}

fn camera_silent(stage: &mut Stage, _: &mut Rng) -> Result<(), String> {
    stage.camera_wire.forget();
    let silent = now();
    stage.away(silent, silent + STALL - 0.5);
    stage.listen(STALL)
}

/// For a while the sound is that of the camera's stream, whose end is then the microphone's too.
fn other_sound(stage: &mut Stage, _: &mut Rng) -> Result<(), String> {
    let heard = |stage: &mut Stage, what| {
        let moment = now();
        stage.until(what, |stage| stage.ledger.fresh("steady", moment + 0.5))
    };
    stage.microphone = "media";
    reload(stage, "")?;
    heard(stage, "the stream's sound is heard")?;
    stage.camera.as_ref().expect("it runs between faults").close();
    heard(stage, "the stream's sound is heard again")?;
    stage.microphone = "alsa";
    reload(stage, "")
}

fn wire_cut(stage: &mut Stage, _: &mut Rng) -> Result<(), String> {
    stage.broker_wire.cut();
    Ok(())
}

fn wire_half_open(stage: &mut Stage, _: &mut Rng) -> Result<(), String> {
    stage.broker_wire.forget();
    Ok(())
}

fn answers_lost(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.broker_wire.lose_answers();
    stage.listen(seconds(random, 1.0, 10.0))?;
    stage.broker_wire.cut();
    Ok(())
}

fn broker_paused(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.broker().signal("STOP");
    stage.listen(seconds(random, 1.0, 120.0))?;
    stage.broker().signal("CONT");
    Ok(())
}

fn broker_stopped(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.broker.take().expect("it runs between faults").stop();
    stage.listen(seconds(random, 1.0, 20.0))?;
    stage.start_broker();
    Ok(())
}

/// Here and only here may numbers jump.
fn broker_wiped(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.wiped += 1;
    stage.broker = None;
    let _ = std::fs::remove_file(stage.place.path("mosquitto.db")); // it writes one when it is stopped
    stage.listen(seconds(random, 1.0, 10.0))?;
    stage.start_broker();
    let wiped = stage.wiped;
    stage.until("the subscriber is there again", |stage| stage.ledger.sessions == wiped)?;
    // What the broker took before the subscriber was there again reached nobody, the starts of sources among it.
    stage.mortal.started.clear();
    Ok(())
}

fn reload(stage: &mut Stage, lines: &str) -> Result<(), String> {
    let before = stage.steady.read_again;
    stage.configure(lines);
    stage.until("a new configuration is read", |stage| stage.steady.read_again > before)?;
    Ok(())
}

fn reloaded(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    reload(stage, &format!("tracking.hold = {:.3}", 0.15 + 0.1 * random.f64()))
}

fn camera_reloaded(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    reload(stage, &format!("camera.frozen = {:.3}", 30.0 + random.f64()))
}

fn wrong_file(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    let configuration =
        |stage: &mut Stage| stage.ledger.latest("tvsl/steady/health/configuration").1["state"].clone();
    stage.configure("camera.rate = \"many\"");
    stage.until("a wrong file is told", |stage| configuration(stage) == "degraded")?;
    stage.listen(seconds(random, 1.0, 4.0))?;
    stage.configure("");
    stage.until("the right file is told", |stage| configuration(stage) == "ok")?;
    Ok(())
}

fn switched(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    wished(stage, "enable", "false")?;
    let off = now();
    stage.listen(seconds(random, 2.0, 8.0))?;
    stage.away(off, now());
    wished(stage, "enable", "true")
}

fn threshold(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    wished(stage, "thresholds", &format!("{{\"cat\": {{\"p\": {:.2}}}}}", 0.3 + 0.3 * random.f64()))?;
    if stage.wish("thresholds", "{\"cat\": {\"p\": 7}}")? {
        return Err("a threshold of 7 is accepted".into());
    }
    stage.listen(seconds(random, 1.0, 4.0))?;
    wished(stage, "thresholds", "null")
}

fn wished(stage: &mut Stage, key: &str, payload: &str) -> Result<(), String> {
    if stage.wish(key, payload)? { Ok(()) } else { Err(format!("{key} = {payload} is refused")) }
}

fn device_paused(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.steady.daemon.signal("STOP");
    stage.listen(seconds(random, 1.0, 5.0))?;
    stage.steady.daemon.signal("CONT");
    Ok(())
}

fn device_killed(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.listen(seconds(random, 0.1, 5.0))?;
    killed(stage, random, |_| Ok(()))
}

fn device_killed_unheard(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.broker().signal("STOP");
    stage.listen(seconds(random, 1.0, 20.0))?;
    killed(stage, random, |stage| {
        stage.broker().signal("CONT");
        Ok(())
    })
}

/// Kills the device, starts it again, does `then`, and waits until the crash has left nothing open and lost nothing but the
/// last interval.
fn killed(
    stage: &mut Stage,
    random: &mut Rng,
    then: fn(&mut Stage) -> Result<(), String>,
) -> Result<(), String> {
    let dead = now();
    stage.mortal.kill();
    let run = stage.ledger.told("mortal").map(|told| told.run().to_owned()).unwrap_or_default();
    std::thread::sleep(std::time::Duration::from_secs_f64(seconds(random, 0.1, 3.0)));
    stage.mortal.start_again();
    stage.listen(seconds(random, 0.1, 3.0))?;
    then(stage)?;
    stage.until("what a crash interrupted is ended", |stage| {
        let told = stage.ledger.told("mortal").expect("it told before");
        told.run() != run && told.open(told.run()).is_empty()
    })?;
    let started = std::mem::take(&mut stage.mortal.started);
    let told = stage.ledger.told("mortal").expect("it told before");
    match started.iter().find(|(id, when)| **when < dead - EVERY - 0.5 && !told.knows(id)) {
        Some((id, when)) => {
            Err(format!("the start of {id} was not told, which was {:.1} s before the crash", dead - when))
        }
        None => Ok(()),
    }
}
