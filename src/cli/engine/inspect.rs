//! `tvsl engine inspect`: what each plan was built from and for, and what its layers compute in. The sidecars tell their
//! part on any machine; the layers need the GPU.

use std::fmt::Write;
use std::path::Path;

use gstreamer::glib;
use serde_json::Value;

use super::super::{Failure, print};
use crate::engine::tensorrt::plan::{self, Shelf, Sidecar};
use crate::engine::tensorrt::{TensorRt, TensorRtError};

/// Prints the plans of `files`, which lie on `shelf`.
pub(super) fn run(
    files: &[std::path::PathBuf],
    shelf: &Shelf,
    tensorrt: Result<&TensorRt, &TensorRtError>,
) -> Result<(), Failure> {
    let mut faults = Vec::new();
    for file in files {
        let plan = shelf.plan(file);
        match plan::describe(&plan) {
            Ok(sidecar) => print(&facts(&plan, &sidecar))?,
            Err(fault) => {
                faults.push(fault.to_string());
                continue;
            }
        }
        let Ok(tensorrt) = tensorrt else { continue };
        match tensorrt.engine(file).and_then(|engine| engine.information()) {
            Ok(json) => print(&layers(&json))?,
            Err(fault) => faults.push(fault.to_string()),
        }
    }
    if let Err(reason) = tensorrt {
        print(&format!(
            "\nThe layers are told by the GPU that the plans are for, and here is none that can be used: {reason}\n"
        ))?;
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Failed(faults.join("\n"))) }
}

/// What a sidecar says.
fn facts(plan: &Path, sidecar: &Sidecar) -> String {
    let mut text = format!("{}\n  built for  {}\n", plan.display(), sidecar.target);
    let _ = writeln!(text, "  built on   {}, in {:.1} s", date(sidecar.built), sidecar.seconds);
    for (name, sha256) in &sidecar.sources {
        let _ = writeln!(text, "  built from {name} {sha256}");
    }
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

/// A moment in seconds since 1970, for people.
fn date(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| glib::DateTime::from_unix_utc(seconds).ok());
    let told = moment.and_then(|moment| moment.format("%Y-%m-%d %H:%M UTC").ok());
    told.map_or_else(|| format!("{seconds} s after 1970"), Into::into)
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
        assert_eq!(date(1_790_000_000), "2026-09-21 14:13 UTC");
    }
}
