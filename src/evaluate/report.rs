//! Outcomes of scenes to the figures of a report.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::bootstrap::{Bootstrap, Figure, Part};
use super::calibration::calibration_error;
use super::metrics::{self, compare};
use super::outcome::{Boxed, Outcome, Place};
use super::scenes::Kind;
use crate::model::ClassId;

/// Figures under their published names, in the order of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures(pub Vec<(&'static str, Figure)>);

impl Figures {
    /// The figure of this name.
    pub fn get(&self, name: &str) -> Option<&Figure> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, figure)| figure)
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, figure) in &self.0 {
            map.serialize_entry(name, figure)?;
        }
        map.end()
    }
}

/// One class's part of a report.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ClassReport {
    /// Its name in the model.
    pub class: String,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Everything `tvsl eval` says.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// Name and version of the model.
    pub model: String,
    /// How the figures were taken.
    pub protocol: String,
    /// Scenes judged.
    pub scenes: usize,
    /// Scenes judged, by kind.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Scenes left out since the model knows none of their sources.
    pub scenes_left_out: usize,
    /// Classes that the model lacks, with how often scenes named them.
    pub classes_left_out: BTreeMap<String, usize>,
    /// The figures over all scenes.
    #[serde(flatten)]
    pub figures: Figures,
    /// Where sources are, under the names of the published tables.
    #[serde(flatten)]
    pub published: Figures,
    /// The figures of each class that occurs.
    pub classes: Vec<ClassReport>,
}

/// The figures over all scenes.
pub fn figures(outcomes: &[Outcome]) -> Figures {
    let draws = Bootstrap::new(outcomes.len());
    let mut figures = set_figures(outcomes, &draws);
    figures.extend(false_rates(outcomes, &draws));
    figures.extend(place_figures(outcomes, &draws, |_| true));
    figures.push(("swapped_audio_f1", f1(outcomes, &draws, |o| o.swapped.as_ref())));
    figures.push(("text_shuffled_f1", f1(outcomes, &draws, |o| Some(&o.shuffled))));
    Figures(figures)
}

fn set_figures(outcomes: &[Outcome], draws: &Bootstrap) -> Vec<(&'static str, Figure)> {
    let hits = |o: &Outcome| compare(&o.reported, &o.truth).hits;
    vec![
        ("set_precision", ratio(outcomes, draws, |o| Some((hits(o), o.reported.len())))),
        ("set_recall", ratio(outcomes, draws, |o| Some((hits(o), o.truth.len())))),
        ("set_f1", f1(outcomes, draws, |o| Some(&o.reported))),
        ("class_map", class_map(outcomes, draws)),
        ("exact_set", ratio(outcomes, draws, |o| Some((usize::from(is_exact(o)), 1)))),
        ("calibration_error", calibration_error(outcomes, draws, None)),
    ]
}

fn is_exact(outcome: &Outcome) -> bool {
    let counts = compare(&outcome.reported, &outcome.truth);
    counts.extra == 0 && counts.missed == 0
}

fn false_rates(outcomes: &[Outcome], draws: &Bootstrap) -> Vec<(&'static str, Figure)> {
    let any = |kind| {
        ratio(outcomes, draws, move |o| (o.kind == kind).then(|| (usize::from(!o.reported.is_empty()), 1)))
    };
    vec![
        (
            "silent_false_rate",
            ratio(outcomes, draws, |o| Some((compare(&o.reported, &o.silent).hits, o.silent.len()))),
        ),
        ("off_screen_false_rate", any(Kind::OffScreen)),
        ("silence_false_rate", any(Kind::Silence)),
    ]
}

fn place_figures(
    outcomes: &[Outcome],
    draws: &Bootstrap,
    counts: impl Fn(&Place) -> bool,
) -> Vec<(&'static str, Figure)> {
    let mean = |of: &dyn Fn(&Place) -> Option<f64>| {
        let places = |(scene, outcome): (usize, &Outcome)| {
            let values: Vec<f64> = outcome.places.iter().filter(|p| counts(p)).filter_map(of).collect();
            values.into_iter().map(move |part| Part { scene, part, whole: 1.0 })
        };
        let parts: Vec<Part> = outcomes.iter().enumerate().flat_map(places).collect();
        draws.share(parts.len(), &parts)
    };
    let boxed = |of: fn(&Boxed) -> f64| mean(&move |place| place.boxed.as_ref().map(of));
    let mixed =
        |place: &Place| place.boxed.as_ref().filter(|b| !b.others.is_empty()).map(|b| share(b.iou >= 0.3));
    vec![
        ("pointing", boxed(|b| share(b.pointed))),
        ("iou_at_30", boxed(|b| share(b.iou >= 0.3))),
        ("iou_at_50", boxed(|b| share(b.iou >= 0.5))),
        ("mean_iou", boxed(|b| b.iou)),
        ("auc", boxed(|b| metrics::success_area(b.iou))),
        ("ciou_at_30", mean(&mixed)),
        ("cap", boxed(|b| b.precision)),
        ("duet_half", mean(&|place| place.half.map(share))),
    ]
}

/// The measures of the published tables: scenes with one boxed source apart from those with several, and each of
/// those by source or by frame, which is a scene.
pub fn published_figures(outcomes: &[Outcome]) -> Figures {
    let draws = Bootstrap::new(outcomes.len());
    let mean = |many: bool, of: &dyn Fn(&[&Boxed]) -> Vec<f64>| {
        let samples = |(scene, outcome): (usize, &Outcome)| {
            let boxed = outcome.boxed();
            let values = if (boxed.len() > 1) == many { of(&boxed) } else { Vec::new() };
            values.into_iter().map(move |part| Part { scene, part, whole: 1.0 })
        };
        let parts: Vec<Part> = outcomes.iter().enumerate().flat_map(samples).collect();
        draws.share(parts.len(), &parts)
    };
    let sources = |many, of: fn(&Boxed) -> f64| mean(many, &|boxed| boxed.iter().map(|b| of(b)).collect());
    let frames = |of: fn(f64) -> f64| mean(true, &|boxed| vec![of(mean_iou(boxed))]);
    Figures(vec![
        ("single_ap", sources(false, |b| b.precision)),
        ("single_iou_at_50", sources(false, |b| share(b.iou >= 0.5))),
        ("single_auc", sources(false, |b| metrics::success_area(b.iou))),
        ("duet_cap", sources(true, |b| b.precision)),
        ("duet_piap", mean(true, &|boxed| vec![best_precision(boxed)])),
        ("duet_ciou_at_30", sources(true, |b| share(b.iou >= 0.3))),
        ("duet_ciou_at_30_by_frame", frames(|iou| share(iou >= 0.3))),
        ("duet_auc", sources(true, |b| metrics::success_area(b.iou))),
        ("duet_auc_by_frame", frames(metrics::success_area)),
    ])
}

fn mean_iou(boxed: &[&Boxed]) -> f64 {
    boxed.iter().map(|b| b.iou).sum::<f64>() / boxed.len() as f64
}

/// Mean average precision when the maps may be given to the sources in any way.
fn best_precision(boxed: &[&Boxed]) -> f64 {
    let row = |(i, b): (usize, &&Boxed)| {
        let mut row = b.others.clone();
        row.insert(i, b.precision);
        row
    };
    let rows: Vec<Vec<f64>> = boxed.iter().enumerate().map(row).collect();
    metrics::best_pairing(&rows) / boxed.len() as f64
}

fn share(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// Σ part ÷ Σ whole of what `of` counts in each scene; the wholes are the samples.
fn ratio(outcomes: &[Outcome], draws: &Bootstrap, of: impl Fn(&Outcome) -> Option<(usize, usize)>) -> Figure {
    let counted = outcomes.iter().enumerate().filter_map(|(scene, o)| Some((scene, of(o)?)));
    let counted: Vec<_> = counted.filter(|(_, (_, whole))| *whole > 0).collect();
    let part = |&(scene, (part, whole)): &(usize, (usize, usize))| Part {
        scene,
        part: part as f64,
        whole: whole as f64,
    };
    let parts: Vec<Part> = counted.iter().map(part).collect();
    draws.share(counted.iter().map(|(_, (_, whole))| whole).sum(), &parts)
}

/// 2 hits ÷ (2 hits + extra + missed), summed over the scenes that were so judged; they are the samples.
fn f1(
    outcomes: &[Outcome],
    draws: &Bootstrap,
    reported: impl Fn(&Outcome) -> Option<&Vec<ClassId>>,
) -> Figure {
    let twice = |o: &Outcome| {
        let counts = compare(reported(o)?, &o.truth);
        Some((2 * counts.hits, 2 * counts.hits + counts.extra + counts.missed))
    };
    let n = outcomes.iter().filter(|o| reported(o).is_some()).count();
    Figure { n, ..ratio(outcomes, draws, twice) }
}

/// Mean over the classes with a positive of the average precision of p over the scenes; the classes
/// are the samples.
fn class_map(outcomes: &[Outcome], draws: &Bootstrap) -> Figure {
    let classes = outcomes.first().map_or(0, |o| o.p.len());
    let ranked: Vec<_> = (0..classes).filter_map(|class| Ranking::of(outcomes, class)).collect();
    draws.figure(ranked.len(), |times| {
        let values: Vec<f64> = ranked.iter().filter_map(|ranking| ranking.precision(times)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    })
}

/// The scenes in falling order of one class's p.
struct Ranking(Vec<(f32, bool, usize)>);

impl Ranking {
    /// `None` when no scene holds the class.
    fn of(outcomes: &[Outcome], class: ClassId) -> Option<Self> {
        let scene = |(scene, o): (usize, &Outcome)| (o.p[class], o.truth.contains(&class), scene);
        let mut scenes: Vec<_> = outcomes.iter().enumerate().map(scene).collect();
        scenes.sort_by(|a, b| b.0.total_cmp(&a.0));
        scenes.iter().any(|(_, positive, _)| *positive).then_some(Self(scenes))
    }

    fn precision(&self, times: Option<&[u16]>) -> Option<f64> {
        let weight = |scene: usize| times.map_or(1.0, |times| f64::from(times[scene]));
        metrics::average_precision_of_ranked(
            self.0.iter().map(|&(p, positive, scene)| (p, positive, weight(scene))),
        )
    }
}

/// The figures of one class; `None` when no scene names it and it is never reported.
pub fn class_figures(outcomes: &[Outcome], class: ClassId) -> Option<Figures> {
    let has = |classes: &[ClassId]| usize::from(classes.contains(&class));
    let hit = |o: &Outcome| has(&o.reported) * has(&o.truth);
    let occurs = |o: &Outcome| has(&o.truth) + has(&o.silent) + has(&o.reported) > 0;
    if !outcomes.iter().any(occurs) {
        return None;
    }
    let draws = Bootstrap::new(outcomes.len());
    let ranking = Ranking::of(outcomes, class);
    let positives = outcomes.iter().map(|o| has(&o.truth)).sum();
    let twice = |o: &Outcome| Some((2 * hit(o), has(&o.reported) + has(&o.truth)));
    let mut figures = vec![
        ("set_precision", ratio(outcomes, &draws, |o| Some((hit(o), has(&o.reported))))),
        ("set_recall", ratio(outcomes, &draws, |o| Some((hit(o), has(&o.truth))))),
        ("set_f1", Figure { n: positives, ..ratio(outcomes, &draws, twice) }),
        ("calibration_error", calibration_error(outcomes, &draws, Some(class))),
        ("average_precision", draws.figure(positives, |times| ranking.as_ref()?.precision(times))),
        (
            "silent_false_rate",
            ratio(outcomes, &draws, |o| Some((has(&o.silent) * has(&o.reported), has(&o.silent)))),
        ),
    ];
    figures.extend(place_figures(outcomes, &draws, |place| place.class == class));
    Some(Figures(figures))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(kind: Kind, truth: &[usize], silent: &[usize], p: &[f32], reported: &[usize]) -> Outcome {
        Outcome {
            kind,
            truth: truth.into(),
            silent: silent.into(),
            p: p.into(),
            reported: reported.into(),
            swapped: (kind != Kind::Silence).then(Vec::new),
            shuffled: reported.into(),
            places: vec![],
        }
    }

    fn found(class: usize, iou: f64, pointed: bool, others: &[f64], half: Option<bool>) -> Place {
        let boxed = Boxed { iou, pointed, precision: iou, others: others.into() };
        Place { class, boxed: Some(boxed), half }
    }

    /// Five scenes, one of each kind, of a model with three classes.
    fn five() -> Vec<Outcome> {
        let mut single = outcome(Kind::Single, &[0], &[], &[0.9, 0.1, 0.1], &[0]);
        single.places = vec![found(0, 0.6, true, &[], None)];
        let mut duet = outcome(Kind::Duet, &[0, 1], &[], &[0.8, 0.2, 0.7], &[0, 2]);
        duet.places =
            vec![found(0, 0.4, true, &[0.7], Some(true)), found(1, 0.2, false, &[0.3], Some(false))];
        vec![
            single,
            duet,
            outcome(Kind::SilentObject, &[1], &[0, 2], &[0.7, 0.6, 0.1], &[0, 1]),
            outcome(Kind::OffScreen, &[], &[], &[0.1, 0.1, 0.6], &[2]),
            outcome(Kind::Silence, &[], &[], &[0.1, 0.1, 0.1], &[]),
        ]
    }

    fn assert_figure(figures: &Figures, name: &str, value: f64, n: usize) {
        let figure = figures.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert!((figure.value.unwrap() - value).abs() < 1e-9, "{name}: {figure:?}, expected {value}");
        assert_eq!(figure.n, n, "{name}");
        assert!(figure.low <= figure.value && figure.value <= figure.high, "{name}: {figure:?}");
    }

    /// Worked by hand: reports are {0} {0,2} {0,1} {2} {}, truths {0} {0,1} {1} {} {}; hits 1, 1, 1.
    #[test]
    fn sets_and_false_rates_are_as_worked_by_hand() {
        let figures = figures(&five());
        assert_figure(&figures, "set_precision", 3.0 / 6.0, 6);
        assert_figure(&figures, "set_recall", 3.0 / 4.0, 4);
        assert_figure(&figures, "set_f1", 6.0 / 10.0, 5);
        assert_figure(&figures, "exact_set", 2.0 / 5.0, 5);
        assert_figure(&figures, "silent_false_rate", 1.0 / 2.0, 2);
        assert_figure(&figures, "off_screen_false_rate", 1.0, 1);
        assert_figure(&figures, "silence_false_rate", 0.0, 1);
        assert_figure(&figures, "swapped_audio_f1", 0.0, 4);
        assert_figure(&figures, "text_shuffled_f1", 0.6, 5);
    }

    /// Class 0 ranks its positives 1st and 2nd (AP 1), class 1 its own 1st and 2nd (AP 1), class 2 has none.
    #[test]
    fn class_map_averages_over_classes_with_a_positive() {
        assert_figure(&figures(&five()), "class_map", 1.0, 2);
        let mut scenes = five();
        scenes[3].p[0] = 0.85;
        // Class 0 now ranks its positives 1st and 3rd: (1 + 2/3) / 2.
        assert_figure(&figures(&scenes), "class_map", (5.0 / 6.0 + 1.0) / 2.0, 2);
    }

    #[test]
    fn places_are_averaged_over_sources() {
        let figures = figures(&five());
        assert_figure(&figures, "pointing", 2.0 / 3.0, 3);
        assert_figure(&figures, "iou_at_30", 2.0 / 3.0, 3);
        assert_figure(&figures, "iou_at_50", 1.0 / 3.0, 3);
        assert_figure(&figures, "mean_iou", 0.4, 3);
        assert_figure(&figures, "ciou_at_30", 0.5, 2);
        assert_figure(&figures, "cap", 0.4, 3);
        assert_figure(&figures, "duet_half", 0.5, 2);
        // 0.6, 0.4 and 0.2 reach 13, 9 and 5 of the 21 thresholds.
        assert_figure(&figures, "auc", (12.5 + 8.5 + 4.5) / 20.0 / 3.0, 3);
    }

    /// One single of IoU and precision 0.6. One duet of IoU 0.4 and 0.2, mean 0.3, whose maps have a precision of 0.4 and 0.2
    /// on their own boxes (mean 0.3) and of 0.7 and 0.3 on each other's (mean 0.5).
    #[test]
    fn published_measures_are_as_worked_by_hand() {
        let figures = published_figures(&five());
        assert_figure(&figures, "single_ap", 0.6, 1);
        assert_figure(&figures, "single_iou_at_50", 1.0, 1);
        assert_figure(&figures, "single_auc", 12.5 / 20.0, 1);
        assert_figure(&figures, "duet_cap", 0.3, 2);
        assert_figure(&figures, "duet_piap", 0.5, 1);
        assert_figure(&figures, "duet_ciou_at_30", 0.5, 2);
        assert_figure(&figures, "duet_auc", (8.5 + 4.5) / 2.0 / 20.0, 2);
    }

    /// By source 0.5 and 0.2 reach 0.3 once in two, by frame their mean of 0.35 does: 8 of the 21 thresholds.
    #[test]
    fn a_frame_counts_once_with_the_mean_of_its_sources() {
        let mut duet = outcome(Kind::Duet, &[0, 1], &[], &[0.8, 0.7, 0.1], &[0, 1]);
        duet.places = vec![found(0, 0.5, true, &[0.0], None), found(1, 0.2, true, &[0.0], None)];
        let figures = published_figures(&[duet]);
        assert_figure(&figures, "duet_ciou_at_30", 0.5, 2);
        assert_figure(&figures, "duet_ciou_at_30_by_frame", 1.0, 1);
        assert_figure(&figures, "duet_auc_by_frame", 7.5 / 20.0, 1);
        assert_eq!(figures.get("single_ap").map(|figure| figure.value), Some(None), "no scene of one source");
    }

    #[test]
    fn a_class_is_judged_by_itself() {
        let figures = class_figures(&five(), 0).unwrap();
        assert_figure(&figures, "set_precision", 2.0 / 3.0, 3);
        assert_figure(&figures, "set_recall", 1.0, 2);
        assert_figure(&figures, "silent_false_rate", 1.0, 1);
        assert_figure(&figures, "average_precision", 1.0, 2);
        assert_figure(&figures, "pointing", 1.0, 2);
    }

    #[test]
    fn figures_serialise_under_their_names() {
        let json = serde_json::to_value(figures(&five())).unwrap();
        assert_eq!(json["set_recall"]["value"], 0.75);
        assert_eq!(json["set_recall"]["n"], 4);
        assert!(json["set_recall"]["low"].as_f64() <= json["set_recall"]["high"].as_f64());
    }
}
