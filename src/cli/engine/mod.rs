//! `tvsl engine`: TensorRT plans of the model for the GPU of this machine.

mod build;
mod chain;
mod fault;
mod inspect;
mod recipe;
mod trial;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{Common, Failure};
use crate::config::{self, EngineKind};
use crate::engine::tensorrt::{Precision, Settings, Shelf, TensorRt, manifest_sum};
use crate::engine::{self, Engine};
use crate::model::manifest::Graphs;
use crate::model::{Manifest, Model};

pub(super) use build::in_the_background;

/// Build, show and verify the TensorRT plans of the model
///
/// A plan serves one model on one GPU with one version of TensorRT; `build` makes it on the device that
/// will run it, as [engine.tensorrt] of the configuration says. It lies in the folder `tensorrt` of the
/// model folder, beside a sidecar that says what it depends on. `inspect` and `verify` see the service's
/// own too if the configuration lies in /etc/tvsl, which takes `sudo`.
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
    ///
    /// A plan takes its place only after it has computed what the CPU engine computes.
    Build {
        /// Leave plans alone that are good
        #[arg(long)]
        missing: bool,
        /// Build this ONNX file's plan, although it is good, to ask for half as much workspace
        #[arg(long, hide = true, value_name = "FILE")]
        less: Vec<PathBuf>,
        /// End with the process that started this one
        #[arg(long, hide = true)]
        for_parent: bool,
    },
    /// Show what the plans were built from and for, and the precision of every layer
    Inspect,
    /// Run the model's golden inputs on TensorRT and on the CPU, and compare
    Verify,
}

/// A model folder, and the two engines that can run it.
struct Kit {
    folder: PathBuf,
    manifest: Manifest,
    /// SHA-256 of its file, as that stood before it was read.
    manifest_sum: String,
    tensorrt: TensorRt,
    /// What TensorRT is compared with.
    cpu: Arc<dyn Engine>,
    /// Rows of sound that a window gives.
    rows: i64,
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    if let Action::Build { for_parent: true, .. } = arguments.action {
        let end = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        end.map_err(|error| Failure::Failed(format!("tying this build to its service: {error}")))?;
    }
    let (config, _) = common.settings()?;
    // A build puts what it makes among its caller's.
    let config = match arguments.action {
        Action::Build { .. } => config,
        Action::Inspect | Action::Verify => config.of_service(),
    };
    let hidden = config.closed_state().map(super::for_root);
    let missed = |failure: Failure| failure.and(hidden.as_deref());
    let folder = match arguments.model {
        Some(folder) => folder,
        None => config.model_dir()?,
    };
    let manifest_sum = manifest_sum(&folder).unwrap_or_default();
    let manifest = Manifest::read(&folder).map_err(Failure::failed)?;
    let shelf = Shelf::new(config.engine.tensorrt.spare.clone());
    let opened = TensorRt::open(Settings::from(&config.engine.tensorrt));
    let opened = opened.map(|tensorrt| tensorrt.with_plans_on(shelf.clone()));
    if let Action::Inspect = arguments.action {
        return inspect::run(&files(&folder, &manifest)?, &shelf, opened.as_ref()).map_err(missed);
    }
    let tensorrt = opened.map_err(|error| match arguments.action {
        Action::Verify => Failure::Failed(format!(
            "this device is not ready for TensorRT, and the CPU does its part: {}. Then `tvsl engine build` makes the plans",
            error.with_cure()
        )),
        Action::Build { .. } | Action::Inspect => fault::told(error),
    })?;
    let cpu = engine::choose(&config::Engine { kind: EngineKind::Cpu, ..config.engine });
    let cpu = cpu.map_err(Failure::failed)?;
    // A model that cannot be opened has no use for plans.
    Model::open(&folder, cpu.as_ref()).map_err(Failure::failed)?;
    let rows = recipe::rows(&manifest, &folder.join(&graphs(&folder, &manifest)?.audio), cpu.as_ref())?;
    let kit = Kit { folder, manifest, manifest_sum, tensorrt, cpu, rows };
    match arguments.action {
        Action::Build { missing, less, .. } => build::run(&kit, missing, &less),
        Action::Verify => verify::run(&kit).map_err(missed),
        Action::Inspect => Ok(()),
    }
}

/// The graphs of the model in `folder`.
fn graphs<'a>(folder: &Path, manifest: &'a Manifest) -> Result<&'a Graphs, Failure> {
    let missing = || Failure::Failed(format!("{}: the model has no [graphs.fp32]", folder.display()));
    manifest.precision("fp32").ok_or_else(missing)
}

/// Its ONNX files; that of the texts, if there is one, is the last.
fn files(folder: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>, Failure> {
    Ok(graphs(folder, manifest)?.all().map(|(_, file)| folder.join(file)).collect())
}

impl Kit {
    /// The model's graphs.
    fn graphs(&self) -> Result<&Graphs, Failure> {
        graphs(&self.folder, &self.manifest)
    }

    /// Their ONNX files.
    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        files(&self.folder, &self.manifest)
    }

    /// Whether half precision is configured, but the model has nothing that may be computed so.
    fn asks_in_vain_for_half(&self) -> bool {
        let (family, settings) = (self.tensorrt.library().family(), self.tensorrt.settings());
        settings.precision == Precision::Fp16 && !recipe::halves(&self.manifest, family)
    }
}

/// A file's name without its ending, for people.
fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
