//! A broken model folder or broken input is a clear error or harmless, never a crash.

mod tiny;

use std::fs;
use std::path::Path;

use tiny::{Copy, GREEN, RED, hum, stripes};
use tvsl::clock::Instant;
use tvsl::frame::{Frame, Samples};
use tvsl::geometry::Size;

/// Opening the spoilt copy must fail with words that hold all of these.
#[track_caller]
fn refuses(copy: &Copy, words: &[&str]) {
    let error = copy.open().err().expect("a spoilt folder is refused").to_string();
    for word in words {
        assert!(error.contains(word), "expected {word:?} in: {error}");
    }
}

#[test]
fn a_missing_manifest_or_file_is_named() {
    for name in ["manifest.toml", "image.onnx", "weights.bin", "text.onnx"] {
        let copy = Copy::new();
        fs::remove_file(copy.path(name)).expect("it was there");
        refuses(&copy, &[name, "model folder", "cure"]);
    }
}

#[test]
fn an_altered_file_is_named_with_its_checksum() {
    for name in ["audio.onnx", "weights.bin"] {
        let copy = Copy::new();
        let mut bytes = copy.read(name);
        bytes[20] ^= 1;
        copy.replace(name, &bytes, false);
        refuses(&copy, &[name, "altered", "SHA-256", "Cure"]);
    }
}

#[test]
fn a_damaged_graph_with_a_true_checksum_is_refused() {
    for name in ["image.onnx", "audio.onnx", "stage1.onnx", "stage2.onnx", "text.onnx"] {
        let bytes = Copy::new().read(name);
        for damaged in [&bytes[..bytes.len() / 2], &bytes[..0], b"no graph at all"] {
            let copy = Copy::new();
            copy.replace(name, damaged, true);
            refuses(&copy, &[name]);
        }
    }
}

#[test]
fn truncated_external_data_is_refused() {
    let copy = Copy::new();
    let bytes = copy.read("weights.bin");
    copy.replace("weights.bin", &bytes[..bytes.len() / 2], true);
    refuses(&copy, &["audio.onnx", "cannot be loaded"]);
}

#[test]
fn a_wrong_dimension_is_found_in_the_graphs() {
    let copy = Copy::new();
    copy.edit("dimension = 3", "dimension = 4");
    refuses(&copy, &["`t`", "[3, 3]", "[3, 4]"]);
}

#[test]
fn swapped_graphs_are_found_by_their_tensors() {
    let copy = Copy::new();
    copy.edit("image = \"image.onnx\"", "image = \"audio.onnx\"");
    refuses(&copy, &["graph `image`", "`image`", "sound"]);
    let copy = Copy::new();
    copy.edit("image = \"image.onnx\"", "image = \"image.onnx\"\nimage_head = \"stage1.onnx\"");
    refuses(&copy, &["graph `image`", "`features` is not there"]);
}

/// Of the default model: what makes `V` is not named, changed with what it makes it of, altered, or gone.
#[test]
fn a_picture_without_its_head_is_refused() {
    let named = "image_head = \"image-head.onnx\"\n";
    let copy = || Copy::of(Path::new("engines/default"));
    let lacking = copy();
    lacking.edit(named, "");
    refuses(&lacking, &["graph `image`", "`V` is not there (it has features)", "graphs.fp32.image_head"]);
    let changed = copy();
    changed.edit(named, "image_head = \"image.onnx\"\n");
    changed.edit("image = \"image.onnx\"", "image = \"image-head.onnx\"");
    refuses(&changed, &["graph `image`", "`image` is not there (it has features)"]);
    let altered = copy();
    altered.replace("image-head.onnx", b"no graph at all", true);
    refuses(&altered, &["image-head.onnx"]);
    fs::remove_file(altered.path("image-head.onnx")).expect("it was there");
    refuses(&altered, &["image-head.onnx", "model folder", "cure"]);
}

#[test]
fn manifest_contradictions_name_the_key() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("schema = 1", "schema = 2", &["schema = 2", "schema 1"]),
        ("stride = 16", "stryde = 16", &["stryde", "stride"]),
        ("stride = 16", "stride = 0", &["image.stride = 0"]),
        ("cells_max = 16", "cells_max = 0", &["image.cells_max"]),
        ("cells_max = 16", "cells_max = 16\ncameras = 0", &["image.cameras"]),
        ("std = [255.0", "std = [0.0", &["image.std"]),
        ("hop = 0.25", "hop = 9.0", &["audio.hop = 9"]),
        ("sample_rate = 8000", "sample_rate = 0", &["audio.sample_rate"]),
        ("\"waveform\"", "\"log_mel\"", &["audio.log_mel", "missing"]),
        ("p_v = 0.5", "p_v = 1.5", &["thresholds.p_v = 1.5"]),
        ("level_dbfs = -55.0", "level_dbfs = 3.0", &["thresholds.level_dbfs"]),
        ("name = \"green\"", "name = \"red\"", &["\"red\" appears twice"]),
        ("\"light green\"", "\"red\"", &["aliases", "\"red\" appears twice"]),
        ("text = \"text.onnx\"\n", "", &["embedding.text"]),
        ("[graphs.fp32]", "[graphs.fp16]", &["graphs.fp32"]),
        (
            "image = \"image.onnx\"",
            "image = \"below/image.onnx\"",
            &["graphs.fp32.image = \"below/image.onnx\"", "in the model folder itself; move it there"],
        ),
        ("text = \"text.onnx\"", "text = \"text.onnx/\"", &["graphs.fp32.text = \"text.onnx/\""]),
        (
            "image = \"image.onnx\"",
            "image = \"image.onnx\"\nimage_head = \"../head.onnx\"",
            &["graphs.fp32.image_head = \"../head.onnx\"", "in the model folder itself"],
        ),
        (
            "image = \"image.onnx\"",
            "image = \"image.onnx\"\nimage_head = \"head.onnx\"",
            &["[[files]] lacks \"head.onnx\""],
        ),
        ("path = \"weights.bin\"", "path = \"../weights.bin\"", &["inside the folder"]),
        ("path = \"image.onnx\"", "path = \"weights.bin\"", &["[[files]] lacks \"image.onnx\""]),
    ];
    for (from, to, words) in cases {
        let copy = Copy::new();
        copy.edit(from, to);
        let mut expected = vec!["manifest.toml"];
        expected.extend(*words);
        refuses(&copy, &expected);
    }
}

#[test]
fn broken_samples_and_empty_blocks_are_harmless() {
    let mut model = tiny::open(tiny::folder()).expect("the tiny model opens");
    let nothing = hum(&[RED], 0.0, 0.0);
    model.hear(&nothing).expect("an empty block is no sound");
    let mono = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].repeat(4_000);
    model.hear(&Samples { mono, ..nothing }).expect("it is silence");
    let hearing = model.heard(Instant::from_secs_f64(1.0)).expect("it heard");
    assert!(hearing.rows.data.iter().all(|v| v.is_finite()) && hearing.level_dbfs.is_finite());
    let vision = model.see(&stripes(&[GREEN], Size::new(64, 64), 1.0)).expect("it sees");
    assert!(model.detect(&vision, &hearing).expect("stage 1 runs").iter().all(|s| s.p < 0.1));
}

#[test]
fn sound_of_another_rate_and_torn_frames_are_errors() {
    let mut model = tiny::open(tiny::folder()).expect("the tiny model opens");
    let other = Samples::new(Instant::ZERO, 44_100, vec![0.0; 10]);
    assert!(model.hear(&other).unwrap_err().to_string().contains("44100"));
    let frame = stripes(&[RED], Size::new(8, 8), 0.0);
    let torn = Frame { rgb: frame.rgb[1..].to_vec(), ..frame };
    assert!(model.see(&torn).unwrap_err().to_string().contains("191 bytes"));
}

#[test]
fn a_class_outside_the_model_is_an_error() {
    let mut model = tiny::open(tiny::folder()).expect("the tiny model opens");
    let vision = model.see(&stripes(&[RED], Size::new(8, 8), 0.0)).expect("it sees");
    let hearing = model.heard(Instant::ZERO).expect("it heard");
    assert!(model.localize(&vision, &hearing, &[7]).is_err());
    assert!(model.localize(&vision, &hearing, &[usize::MAX]).is_err());
}
