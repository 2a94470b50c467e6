//! What a manifest must not contradict: every fault in words that name the key and what was expected.

use std::collections::HashSet;
use std::path::{Component, Path};

use super::{Audio, FrontEnd, Graphs, Image, LogMel, Manifest, Thresholds};

impl Manifest {
    /// The first contradiction, in words that name the key.
    pub(super) fn fault(&self) -> Option<String> {
        (self.schema != 1)
            .then(|| format!("schema = {}: this program reads schema 1", self.schema))
            .or_else(|| self.image.fault())
            .or_else(|| self.audio.fault())
            .or_else(|| self.thresholds.fault())
            .or_else(|| self.classes_fault())
            .or_else(|| self.parts_fault())
            .or_else(|| self.graphs.iter().find_map(|(precision, graphs)| graphs.fault(precision)))
    }

    fn classes_fault(&self) -> Option<String> {
        let mut seen = HashSet::new();
        if self.classes.is_empty() {
            return Some("[[classes]]: expected at least one class".to_owned());
        }
        let fault = self.classes.iter().find_map(|class| {
            let own = [("p", class.p), ("p_v", class.p_v), ("p_a", class.p_a), ("map", class.map)];
            let own = own.iter().find_map(|(key, value)| {
                value.and_then(|v| probability(&format!("classes.{}.{key}", class.name), v))
            });
            if class.name.is_empty() {
                Some("classes.name is empty: expected an identifier".to_owned())
            } else if !seen.insert(&class.name) {
                Some(format!("classes.name = \"{}\" appears twice: names must differ", class.name))
            } else {
                own
            }
        });
        let mut aliases = self.classes.iter().flat_map(|class| &class.aliases);
        fault.or_else(|| {
            let twice = aliases.find(|&alias| !seen.insert(alias))?;
            Some(format!("classes.aliases: \"{twice}\" appears twice: names must differ"))
        })
    }

    fn parts_fault(&self) -> Option<String> {
        let graphs = self.graphs.get("fp32");
        let text_graph = graphs.is_some_and(|g| g.text.is_some());
        if graphs.is_none() {
            Some("[graphs.fp32] is missing: expected image, audio, stage1 and stage2".to_owned())
        } else if self.embedding.dimension == 0 {
            Some("embedding.dimension = 0: expected the length of a row of `t`".to_owned())
        } else if self.embedding.text.is_none() && !text_graph {
            Some("embedding.text is missing: expected a table of `t`, or graphs.fp32.text".to_owned())
        } else {
            None
        }
    }
}

impl Graphs {
    /// Every graph with its file, in the order of a picture's and a sound's way; that of the texts, if there is one, is the last.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let Self { image, image_head, audio, stage1, stage2, text } = self;
        let all = [
            ("image", Some(image)),
            ("image_head", image_head.as_ref()),
            ("audio", Some(audio)),
            ("stage1", Some(stage1)),
            ("stage2", Some(stage2)),
            ("text", text.as_ref()),
        ];
        all.into_iter().filter_map(|(graph, file)| Some((graph, file?)))
    }

    /// Manifest, plans and the other form of a graph are looked for beside it.
    fn fault(&self, precision: &str) -> Option<String> {
        let is_name = |file: &str| {
            let mut parts = Path::new(file).components();
            matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == file)
        };
        let (graph, file) = self.all().find(|(_, file)| !is_name(file))?;
        Some(format!(
            "graphs.{precision}.{graph} = \"{file}\": expected the name of a file in the model folder itself; move it there, with \
             the files of its weights"
        ))
    }
}

impl Image {
    fn fault(&self) -> Option<String> {
        if !(1..=1024).contains(&self.stride) {
            return Some(format!("image.stride = {}: expected 1 to 1024 pixels", self.stride));
        }
        if self.std.iter().chain(&self.mean).any(|v| !v.is_finite()) || self.std.contains(&0.0) {
            return Some("image.mean and image.std: expected numbers, std not 0".to_owned());
        }
        if !(1..=64).contains(&self.cameras) {
            return Some(format!("image.cameras = {}: expected 1 to 64 pictures in a run", self.cameras));
        }
        (!(1..=4096).contains(&self.cells_max))
            .then(|| format!("image.cells_max = {}: expected 1 to 4096 cells", self.cells_max))
    }
}

impl Audio {
    fn fault(&self) -> Option<String> {
        let rate = f64::from(self.sample_rate);
        if !(1_000..=384_000).contains(&self.sample_rate) {
            return Some(format!("audio.sample_rate = {}: expected 1000 to 384000", self.sample_rate));
        }
        if !(self.hop * rate >= 1.0 && self.hop <= self.window && self.window <= 60.0) {
            let (hop, window) = (self.hop, self.window);
            return Some(format!(
                "audio.hop = {hop}, audio.window = {window}: expected 0 < hop <= window <= 60 s"
            ));
        }
        match (self.front_end, &self.log_mel) {
            (FrontEnd::Waveform, _) => None,
            (FrontEnd::LogMel, None) => {
                Some("[audio.log_mel] is missing: front_end = \"log_mel\" needs it".to_owned())
            }
            (FrontEnd::LogMel, Some(mel)) => mel.fault(self),
        }
    }
}

impl LogMel {
    fn fault(&self, audio: &Audio) -> Option<String> {
        let rate = f64::from(audio.sample_rate);
        let hop = (self.patch_step * self.frame_step) as f64 / rate;
        let patch = (self.patch_frames * self.frame_step) as f64 / rate;
        let positive =
            [self.frame_step, self.bands, self.patch_frames, self.patch_step].iter().all(|&n| n > 0);
        if !positive || self.frame_length < self.frame_step || self.fft < self.frame_length {
            Some("audio.log_mel: expected 0 < frame_step <= frame_length <= fft; bands, patch_frames and patch_step at least 1".into())
        } else if self.fft > 65_536 || self.bands > 1_024 || self.patch_frames > 65_536 {
            Some("audio.log_mel: fft, bands or patch_frames is impossibly large".into())
        } else if !(0.0 <= self.low_hz && self.low_hz < self.high_hz && self.high_hz <= rate / 2.0) {
            Some("audio.log_mel: expected 0 <= low_hz < high_hz <= sample_rate / 2".into())
        } else if !(self.log_offset > 0.0 && self.power > 0.0) {
            Some("audio.log_mel: expected log_offset > 0 and power > 0".into())
        } else if (hop - audio.hop).abs() * rate > 0.5 {
            Some(format!("audio.hop = {}: expected patch_step x frame_step = {hop} s", audio.hop))
        } else if patch > audio.window {
            Some(format!("audio.window = {}: expected at least one patch, {patch} s", audio.window))
        } else {
            None
        }
    }
}

impl Thresholds {
    fn fault(&self) -> Option<String> {
        let all = [("p", self.p), ("p_v", self.p_v), ("p_a", self.p_a), ("map", self.map)];
        let level = !(-200.0..=0.0).contains(&self.level_dbfs);
        all.iter().find_map(|(key, value)| probability(&format!("thresholds.{key}"), *value)).or_else(|| {
            level.then(|| format!("thresholds.level_dbfs = {}: expected -200 to 0", self.level_dbfs))
        })
    }
}

fn probability(key: &str, value: f32) -> Option<String> {
    (!(0.0..=1.0).contains(&value)).then(|| format!("{key} = {value}: expected 0 to 1"))
}
