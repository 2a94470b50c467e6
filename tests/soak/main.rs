//! Hours at the real rate with a fault every few seconds, and a verdict: nothing that was promised is broken, everything
//! works again within a minute, and the device needs no more memory, descriptors or threads at the end than at the start.
//!
//! `make soak` runs it. What is done and in which order follows from `TVSL_SOAK_SEED`, how long from
//! `TVSL_SOAK_SECONDS`.

#[path = "../broker/mod.rs"]
mod broker;
mod card;
#[path = "../cards/mod.rs"]
mod cards;
#[path = "../daemon/mod.rs"]
mod daemon;
mod device;
mod faults;
mod ledger;
mod report;
#[path = "../rtsp/mod.rs"]
mod rtsp;
mod scene;
mod stage;
#[path = "../subscriber/mod.rs"]
mod subscriber;
#[path = "../support/mod.rs"]
mod support;
mod vitals;
#[path = "../wire/mod.rs"]
mod wire;

use std::time::Instant;

use report::Report;
use stage::{Stage, now};
use vitals::Vitals;

/// What was under way when a fault ended is no sign of recovery, seconds.
const UNDER_WAY: f64 = 0.5;

#[test]
#[ignore = "make soak"]
fn nothing_is_lost_and_nothing_grows() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("TVSL_SOAK_SECONDS").unwrap_or(7200) as f64;
    let seed = number("TVSL_SOAK_SEED").unwrap_or((now() * 1e6) as u64 % 1_000_000);
    println!("TVSL_SOAK_SECONDS={seconds} TVSL_SOAK_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut stage = Stage::set(&mut random);
    let mut report = Report::new(seconds);
    let ran = run(&mut stage, &mut random, &mut report, seconds);
    report.print(&stage);
    let verdict = ran.and_then(|()| report.verdict());
    if let Err(why) = verdict {
        panic!("TVSL_SOAK_SEED={seed}: {why}\n{}", stage.logs());
    }
}

fn run(
    stage: &mut Stage,
    random: &mut fastrand::Rng,
    report: &mut Report,
    seconds: f64,
) -> Result<(), String> {
    let began = Instant::now();
    let taken = recover(stage, &["steady", "mortal"], now())?;
    println!("{:8.1} s  started, both tell in {taken:.1} s", began.elapsed().as_secs_f64());
    let mut round = Vec::new();
    while began.elapsed().as_secs_f64() < seconds {
        stage.listen(2.0 + 6.0 * random.f64())?;
        stage.judge_times()?;
        let vitals = Vitals::of(stage.steady.daemon.process.id(), began.elapsed());
        report.vitals.push(vitals);
        if round.is_empty() {
            round = faults::shuffled(random);
        }
        let fault = round.pop().expect("a round holds some");
        let struck = Instant::now();
        let (before, _) = stage.ledger.latest(fault.told_on);
        let within = |why| format!("{}: {why}", fault.name);
        (fault.strike)(stage, random).map_err(within)?;
        let lasted = struck.elapsed().as_secs_f64();
        let recovered = recover(stage, fault.concerns, now()).map_err(within)?;
        if !fault.told_on.is_empty() {
            stage
                .until("it is told", |stage| stage.ledger.latest(fault.told_on).0 > before)
                .map_err(within)?;
        }
        let at = began.elapsed().as_secs_f64();
        println!(
            "{at:8.1} s  {:<42} lasted {lasted:5.1} s, recovered in {recovered:4.1} s; {:.1} MB before",
            fault.name, vitals.resident
        );
        report.recovered(fault.name, recovered);
    }
    stop(stage)
}

/// Seconds until these devices tell of something captured after `moment`.
fn recover(stage: &mut Stage, devices: &[&str], moment: f64) -> Result<f64, String> {
    let taken = stage.until("a detection arrives again", |stage| {
        devices.iter().all(|device| stage.ledger.fresh(device, moment + UNDER_WAY))
    })?;
    Ok(taken.as_secs_f64())
}

/// Both are told to stop: what was reported is ended, and nothing stays open.
fn stop(stage: &mut Stage) -> Result<(), String> {
    stage.listen(2.0)?;
    stage.judge_times()?;
    stage.stop()?;
    for device in ["steady", "mortal"] {
        let told = stage.ledger.told(device).ok_or("it told nothing")?;
        let open = told.open("no run");
        if !open.is_empty() {
            return Err(format!("{device} never ended {open:?}"));
        }
    }
    Ok(())
}
