//! What half precision may not see: softmax, norms, and the front end of sound. The loudest sound there is goes through a
//! front end in Rust, in single precision, and even rounded it would be heard the same.

use std::path::Path;

use tvsl::config::{Config, Engine, EngineKind};
use tvsl::engine::tensorrt::onnx::Model;
use tvsl::engine::{self, Tensor};
use tvsl::model::{Manifest, Spectrogram};

/// The largest number of half precision.
const HALF: f32 = 65_504.0;

/// As half precision holds it, with 11 significant bits.
fn halved(value: f32) -> f32 {
    let scaled = value * 8193.0;
    scaled - (scaled - value)
}

/// A patch of a square wave of 440 Hz at full scale.
fn square_wave(manifest: &Manifest) -> Tensor {
    let settings = manifest.audio.log_mel.as_ref().expect("the default model hears log-mel patches");
    let rate = manifest.audio.sample_rate;
    let wave = (0..3 * rate).map(|n| if (n * 880 / rate).is_multiple_of(2) { 1.0 } else { -1.0 });
    let mut frames = Vec::new();
    Spectrogram::new(settings, rate).push(wave, &mut frames);
    frames.truncate(settings.patch_frames * settings.bands);
    Tensor::new([1, settings.patch_frames, settings.bands], frames).expect("a whole patch in three seconds")
}

#[test]
fn a_square_wave_at_full_scale_is_heard_the_same_if_it_is_rounded() {
    let folder = Path::new("engines/default");
    let manifest = Manifest::read(folder).expect("the default model");
    let patch = square_wave(&manifest);
    let loudest = patch.data.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(loudest.is_finite() && loudest < HALF / 1000.0, "{loudest}");

    let cpu = Engine { kind: EngineKind::Cpu, ..Config::default().engine };
    let engine = engine::choose(&cpu).expect("the CPU's engine");
    let heard = |graph: &str, data: Vec<f32>| {
        let patch = Tensor { shape: patch.shape.clone(), data };
        let mut audio = engine.load(&folder.join(graph)).expect("a graph");
        audio.run(&[("sound", (&patch).into())]).expect("it runs").remove(0).data
    };
    let exact = heard("audio.onnx", patch.data.clone());
    let product =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let rounded = heard("audio.onnx", patch.data.iter().map(|value| halved(*value)).collect());
    let cosine = product(&exact, &rounded) / (product(&exact, &exact) * product(&rounded, &rounded)).sqrt();
    println!("loudest band {loudest:.2}, cosine {cosine:.6}");
    assert!(exact.iter().chain(&rounded).all(|value| value.is_finite() && value.abs() < HALF));
    assert!(cosine >= 0.999, "{cosine}");
}

/// Convolutions and what may stand between them: what an FP16 plan of the default model is made of.
const HALVED: [&str; 5] = ["Add", "Cast", "Clip", "Conv", "Identity"];

#[test]
fn what_is_computed_in_half_precision_has_no_softmax_and_no_norm() {
    let folder = Path::new("engines/default");
    let manifest = Manifest::read(folder).expect("the default model");
    let (whole, halved) = (manifest.precision("fp32").unwrap(), manifest.precision("fp16").unwrap());
    for ((graph, single), (_, half)) in whole.all().zip(halved.all()) {
        let is_clean = |file: &String| {
            let bytes = std::fs::read(folder.join(file)).expect("a graph");
            let model = Model::read(&bytes).expect("an ONNX file");
            model.operators().iter().all(|operator| HALVED.contains(operator))
        };
        assert_eq!(
            single != half,
            is_clean(single) && is_clean(half),
            "{graph}: only what is harmless is halved, and nothing else is harmless"
        );
    }
}
