//! `tvsl engine`: TensorRT plans of the model for the GPU of this machine.

mod recipe;
mod verify;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};

use super::{Common, Failure};
use crate::engine::tensorrt::{BuildOptions, Builder, Built, Network, TensorRt, TensorRtError, plan};
use crate::model::Manifest;

/// Below this many MiB of workspace a build that ran out of memory is not tried again.
const LEAST_WORKSPACE: usize = 64;

/// Build, show and verify the TensorRT plans of the model
///
/// A plan serves one model on one GPU with one version of TensorRT; `build` makes it on the device that
/// will run it. It lies in the folder `tensorrt` of the model folder, beside a sidecar that says what it
/// depends on. The engines "auto" and "tensorrt" use it from the next start on.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Model folder instead of the configured one
    #[arg(long, global = true, value_name = "DIR")]
    model: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Compile every graph of the model for this GPU; takes minutes
    Build(Build),
    /// Show what the plans were built from and for, and the precision of every layer
    Inspect,
    /// Run the model's golden inputs on TensorRT and on the CPU, and compare
    Verify,
}

#[derive(Args, Debug)]
struct Build {
    /// Most scratch memory that a layer may use, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    workspace: u32,
    /// How hard to look for faster kernels, 0 to 5
    #[arg(long, value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(u8).range(..=5))]
    level: u8,
    /// Compute in single precision throughout
    #[arg(long)]
    fp32: bool,
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    let (config, _) = common.settings()?;
    let folder = match arguments.model {
        Some(folder) => folder,
        None => config.model_dir()?,
    };
    let manifest = Manifest::read(&folder).map_err(Failure::failed)?;
    let tensorrt = TensorRt::open().map_err(Failure::failed)?;
    match arguments.action {
        Action::Build(options) => build(&folder, &manifest, &tensorrt, &options),
        Action::Inspect => inspect(&folder, &manifest, &tensorrt),
        Action::Verify => verify::run(&folder, &manifest, &tensorrt, &config.engine),
    }
}

/// The model's ONNX files.
fn files(folder: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>, Failure> {
    let graphs = manifest
        .precision("fp32")
        .ok_or_else(|| Failure::Failed(format!("{}: the model has no [graphs.fp32]", folder.display())))?;
    let names = [&graphs.image, &graphs.audio, &graphs.stage1, &graphs.stage2];
    Ok(names.map(|name| folder.join(name)).to_vec())
}

fn build(folder: &Path, manifest: &Manifest, tensorrt: &TensorRt, asked: &Build) -> Result<(), Failure> {
    super::print(&format!("building for {}\n", tensorrt.target()))?;
    tensorrt.device().bind().map_err(Failure::failed)?;
    for file in files(folder, manifest)? {
        let line = build_one(&file, manifest, tensorrt, asked).map_err(Failure::failed)?;
        super::print(&line)?;
    }
    Ok(())
}

fn build_one(
    file: &Path,
    manifest: &Manifest,
    tensorrt: &TensorRt,
    asked: &Build,
) -> Result<String, TensorRtError> {
    let start = Instant::now();
    let mut builder = tensorrt.library().builder()?;
    let mut network = builder.network()?;
    network.parse_onnx(file)?;
    let mut options = recipe::options(manifest, &network.tensors()?, asked);
    let built = build_within_memory(&mut builder, &network, &mut options, file)?;
    let sidecar = plan::store(file, &built, &options, tensorrt.target(), start.elapsed())?;
    Ok(format!(
        "{}: {} layers, {:.1} MB, {:.1} s\n",
        plan::path(file).display(),
        network.layers(),
        built.plan.bytes().len() as f64 / 1e6,
        sidecar.seconds
    ))
}

/// A build that runs out of memory is tried again with half the workspace.
fn build_within_memory(
    builder: &mut Builder,
    network: &Network,
    options: &mut BuildOptions,
    file: &Path,
) -> Result<Built, TensorRtError> {
    let timings = std::fs::read(plan::timing_cache_path(file)).unwrap_or_default();
    loop {
        match builder.build(network, options, &timings) {
            Err(error) if error.out_of_memory() && options.workspace_mib / 2 >= LEAST_WORKSPACE => {
                options.workspace_mib /= 2;
                tracing::warn!("{error}; trying again with {} MiB of workspace", options.workspace_mib);
            }
            outcome => return outcome,
        }
    }
}

fn inspect(folder: &Path, manifest: &Manifest, tensorrt: &TensorRt) -> Result<(), Failure> {
    for file in files(folder, manifest)? {
        let sidecar = plan::describe(&file).map_err(Failure::failed)?;
        let mut text = format!("{}\n  built for  {}\n", plan::path(&file).display(), sidecar.target);
        for (name, sha256) in &sidecar.sources {
            let _ = writeln!(text, "  built from {name} {sha256}");
        }
        let _ = writeln!(text, "  options    {:?}", sidecar.options);
        let _ = writeln!(text, "  plan       {} ({:.1} s)", sidecar.plan_sha256, sidecar.seconds);
        super::print(&text)?;
        let layers =
            tensorrt.engine(&file).and_then(|engine| engine.information()).map_err(Failure::failed)?;
        super::print(&format!("{layers}\n"))?;
    }
    Ok(())
}
