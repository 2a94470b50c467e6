//! `tvsl engine inspect`: what each plan was built from and for, and what its layers compute in. The sidecars tell their
//! part on any machine; the layers need the GPU.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::super::{Failure, print};
use crate::engine::tensorrt::plan::{self, Sidecar};
use crate::engine::tensorrt::{PlanFault, Shelf, TensorRt, TensorRtError};

/// Prints the plans of `files`, which lie on `shelf`.
pub(super) fn run(
    files: &[std::path::PathBuf],
    shelf: &Shelf,
    tensorrt: Result<&TensorRt, &TensorRtError>,
) -> Result<(), Failure> {
    let mut faults = Vec::new();
    for file in files {
        let plans = shelf.plans(file);
        let (texts, own): (Vec<_>, Vec<_>) = plans.iter().map(|plan| about(plan, file, tensorrt)).unzip();
        print(&texts.concat())?;
        let good = own.iter().any(Option::is_none);
        let own = own.into_iter().flatten().map(|fault| fault.to_string());
        match good {
            true => own.for_each(|fault| tracing::warn!("{fault}; the other one serves")),
            false if plans.is_empty() => {
                faults.push(PlanFault::Missing { file: shelf.place(file) }.to_string());
            }
            false => faults.extend(own),
        }
    }
    if let Err(reason) = tensorrt {
        print(&format!(
            "\nThe layers are told by the GPU that the plans are for, and here is none that can be used: {reason}\n"
        ))?;
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Failed(faults.join("\n"))) }
}

/// What there is to say of a plan of `onnx`, and why it cannot be used if it cannot.
fn about(
    plan: &Path,
    onnx: &Path,
    tensorrt: Result<&TensorRt, &TensorRtError>,
) -> (String, Option<TensorRtError>) {
    let sidecar = match plan::describe(plan) {
        Ok(sidecar) => sidecar,
        Err(fault) => return (String::new(), Some(fault)),
    };
    let text = facts(plan, &sidecar);
    let Ok(tensorrt) = tensorrt else { return (text, None) };
    match tensorrt.engine(plan, onnx).and_then(|engine| engine.information()) {
        Ok(json) => (text + &layers(&json), None),
        Err(fault) => (text, Some(fault)),
    }
}

/// What a sidecar says.
fn facts(plan: &Path, sidecar: &Sidecar) -> String {
    let mut text = format!("{}\n  built for  {}\n", plan.display(), sidecar.target);
    let _ =
        writeln!(text, "  built on   {}, in {:.1} s", date(sidecar.built), sidecar.milliseconds as f64 / 1e3);
    for (name, sha256) in &sidecar.sources {
        let _ = writeln!(text, "  built from {name} {sha256}");
    }
    let _ = writeln!(text, "  compiled   {}", sidecar.compiled);
    let options = &sidecar.options;
    let _ = writeln!(text, "  asked for  {}", sidecar.settings);
    let (precision, workspace) = (options.precision, options.workspace_mib);
    let _ = writeln!(text, "  computes   {precision}, with {workspace} MiB of workspace at most");
    for range in &options.ranges {
        let (input, min, opt, max) = (&range.input, &range.min, &range.opt, &range.max);
        let _ = writeln!(text, "  takes      {input} from {min:?} to {max:?}, fastest at {opt:?}");
    }
    let _ = writeln!(text, "  plan       {}", sidecar.plan_sha256);
    text
}

/// A moment in seconds since 1970, for people. Years begin in March here, so that a leap day is the last of its year: the
/// first was in the year 0, and 1970 began 719 468 days later.
fn date(seconds: u64) -> String {
    const CYCLE: u64 = 146_097; // days of 400 years
    let (days, minutes) = (seconds / 86_400 + 719_468, seconds % 86_400 / 60);
    let (cycles, day) = (days / CYCLE, days % CYCLE);
    let year = (day - day / 1_460 + day / 36_524 - day / (CYCLE - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March; five months of 31 and 30 days have 153
    let day = day - (153 * month + 2) / 5 + 1;
    let year = 400 * cycles + year + month / 10;
    format!("{year:04}-{:02}-{day:02} {:02}:{:02} UTC", (month + 2) % 12 + 1, minutes / 60, minutes % 60)
}

/// A line for every layer in what TensorRT's inspector wrote; all of it as it is, if it is written in another way.
fn layers(json: &str) -> String {
    let whole: Value = serde_json::from_str(json).unwrap_or_default();
    let Some(layers) = whole["Layers"].as_array() else { return format!("{json}\n") };
    let mut text = format!("  {} layers\n", layers.len());
    for layer in layers {
        // Plans that were built without details have nothing but names.
        let name = layer["Name"].as_str().or(layer.as_str()).unwrap_or("?");
        let _ = writeln!(
            text,
            "    {:<5} {:<18} {name}",
            precision(layer),
            layer["LayerType"].as_str().unwrap_or("")
        );
    }
    text
}

/// What a layer computes in; if it does not say so, what it gives.
fn precision(layer: &Value) -> &'static str {
    let gives = layer["Outputs"].as_array().and_then(|outputs| outputs.first()?["Format/Datatype"].as_str());
    let said = layer["Precision"].as_str().or(gives).unwrap_or("").to_lowercase();
    let names = [("fp16", "fp16"), ("half", "fp16"), ("int8", "int8"), ("fp32", "fp32"), ("float", "fp32")];
    names.iter().find(|(word, _)| said.contains(word)).map_or("-", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_a_line_each_with_what_they_compute_in() {
        let json = r#"{"Layers": [
            {"Name": "conv", "LayerType": "CaskConvolution", "Outputs": [{"Format/Datatype": "Channel major FP16 format"}]},
            {"Name": "norm", "LayerType": "Reduce", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]},
            {"Name": "told", "Precision": "INT8"},
            "only a name"
        ]}"#;
        let text = layers(json);
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[0], ["4", "layers"]);
        assert_eq!(lines[1], ["fp16", "CaskConvolution", "conv"]);
        assert_eq!(lines[2], ["fp32", "Reduce", "norm"]);
        assert_eq!(lines[3], ["int8", "told"]);
        assert_eq!(lines[4], ["-", "only", "a", "name"]);
        assert_eq!(layers("no JSON"), "no JSON\n");
    }

    #[test]
    fn moments_are_dates() {
        let known = [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59 UTC"),
            (1_790_000_000, "2026-09-21 14:13 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ];
        for (seconds, told) in known {
            assert_eq!(date(seconds), told);
        }
    }
}
