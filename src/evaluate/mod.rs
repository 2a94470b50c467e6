//! How good a model is: labelled scenes in, measures with intervals out.

pub mod clip;

pub mod metrics;

pub mod bootstrap;

mod calibration;

pub mod scenes;

pub mod exchange;

pub mod outcome;

pub mod judge;

pub mod report;

use crate::model::Manifest;
use judge::Judged;
use report::{ClassReport, Report};

/// The report on judged scenes.
pub fn report(judged: Judged, manifest: &Manifest) -> Report {
    let Judged { outcomes, scenes_left_out, classes_left_out } = judged;
    let class = |(id, class): (usize, &crate::model::manifest::Class)| {
        let figures = report::class_figures(&outcomes, id)?;
        Some(ClassReport { class: class.name.clone(), figures })
    };
    let count = |kind: scenes::Kind| outcomes.iter().filter(|o| o.kind == kind).count();
    Report {
        model: format!("{} {}", manifest.name, manifest.version),
        protocol: protocol(manifest),
        scenes: outcomes.len(),
        kinds: scenes::Kind::ALL.map(|kind| (kind.name(), count(kind))).into(),
        scenes_left_out,
        classes_left_out,
        figures: report::figures(&outcomes),
        published: report::published_figures(&outcomes),
        classes: manifest.classes.iter().enumerate().filter_map(class).collect(),
    }
}

/// How the figures are taken, in words.
fn protocol(manifest: &Manifest) -> String {
    let (t, audio) = (&manifest.thresholds, &manifest.audio);
    format!(
        "A class is reported when in any window p >= {}, p_v >= {}, p_a >= {} (or its own thresholds in the \
         manifest) and the window's level is at least {} dBFS: the thresholds of `run`. Windows: {} s laid end to end, \
         the last one up to the end of the sound, all of each heard, where `run` judges a frame with the last \
         window.memory seconds; shorter sound is set in digital silence. Localisation: \
         source-wise unless a name says by frame, class given, in the window of its highest p; heat map interpolated bicubically, min-max \
         normalised over the picture without its padding; the mask is the union of the published regions (boxes \
         around connected places of heat >= {}, or the class's own `map`), compared with the union of the \
         labelled boxes on a {r} x {r} raster; auc: thresholds 0 to 1 in steps of 0.05; ap, cap: average precision \
         of the raster positions ranked by heat; ciou_at_30: sources of scenes with several boxed sources; \
         single: scenes with one boxed source; duet: with several; piap: by frame, the mean of cap when the maps \
         may be given to the sources in any way; by_frame: the mean IoU of a scene's sources is held against the \
         threshold; \
         duet_half: peak of the map in the source's half. class_map: mean over classes with a positive of the \
         average precision of the highest p over scenes. calibration_error: mean distance between p and the share that is true, \
         in ten bins, over the classes that a scene gives p >= 0.1. swapped_audio_f1: sounds exchanged between scenes that \
         share no sounding class, scenes without such a partner left out; text_shuffled_f1: every class given another one's text. Intervals: 95 %, 1000 \
         bootstrap draws of scenes, seed fixed. A class is known by the \
         manifest's name or aliases.",
        t.p,
        t.p_v,
        t.p_a,
        t.level_dbfs,
        audio.window,
        t.map,
        r = outcome::RASTER,
    )
}
