//! `tvsl engine build`: one plan after the other, each proved before it takes its place.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::super::{Failure, print};
use super::trial::Trial;
use super::{Bench, recipe, stem};
use crate::engine::tensorrt::{BuildOptions, Builder, Built, Network, TensorRtError, plan};
use crate::engine::{self, Engine};

/// Below this many MiB of workspace a build that ran out of memory is not tried again.
const LEAST_WORKSPACE: usize = 64;

pub(super) fn run(bench: &Bench, missing: bool) -> Result<(), Failure> {
    print(&format!("building for {}: {}\n", bench.tensorrt.target(), bench.tensorrt.settings()))?;
    bench.tensorrt.device().bind().map_err(Failure::failed)?;
    let cpu = bench.cpu()?;
    let files = bench.files()?;
    for (number, file) in (1..).zip(&files) {
        let counted = format!("{number} of {}, {}", files.len(), stem(file));
        if missing && bench.tensorrt.load(file).is_ok() {
            print(&format!("{counted}: good already\n"))?;
            continue;
        }
        print(&format!("{counted}: building\n"))?;
        print(&format!("{counted}: {}\n", build_one(bench, file, cpu.as_ref())?))?;
    }
    Ok(())
}

/// Builds the plan of `file`, and puts it in its place if it computes what `cpu` computes.
fn build_one(bench: &Bench, file: &Path, cpu: &dyn Engine) -> Result<String, Failure> {
    let start = Instant::now();
    let (built, options) = compile(bench, file).map_err(Failure::failed)?;
    let mut graph = bench.tensorrt.graph(file, &built.plan).map_err(Failure::failed)?;
    let findings = Trial::new(&bench.folder, &bench.manifest, file, cpu)?.run(graph.as_mut())?;
    if let Some(bad) = findings.iter().find(|finding| !finding.good) {
        return Err(Failure::Failed(format!(
            "{}: the new plan is not used, because it does not compute what the CPU computes: {}. The plan before \
             it, if there is one, stays. Cure: engine.tensorrt.precision = \"fp32\", or engine.kind = \"cpu\"",
            plan::path(file).display(),
            bad.text.trim_end()
        )));
    }
    let (target, settings) = (bench.tensorrt.target(), bench.tensorrt.settings());
    let sidecar =
        plan::store(file, &built, settings, &options, target, start.elapsed()).map_err(Failure::failed)?;
    Ok(format!(
        "{}, {:.1} MB, {:.1} s",
        plan::path(file).display(),
        built.plan.bytes().len() as f64 / 1e6,
        sidecar.seconds
    ))
}

fn compile(bench: &Bench, file: &Path) -> Result<(Built, BuildOptions), TensorRtError> {
    let mut builder = bench.tensorrt.library().builder()?;
    let mut network = builder.network()?;
    network.parse_onnx(file)?;
    let mut options = recipe::options(&bench.manifest, &network.tensors()?, bench.tensorrt.settings());
    let built = within_memory(&mut builder, &network, &mut options, file)?;
    Ok((built, options))
}

/// A build that runs out of memory is tried again with half the workspace.
fn within_memory(
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

/// Builds what is missing in a process of its own, which may take gigabytes and minutes and may even die
/// without harm to the service.
pub(in crate::cli) fn in_the_background(config: Option<PathBuf>) -> engine::Build {
    Box::new(move |folder| {
        let program = std::env::current_exe().map_err(|error| format!("this program's file: {error}"))?;
        let mut build = Command::new(&program);
        build.args(["engine", "build", "--missing", "--model"]).arg(folder);
        build.args(config.iter().flat_map(|file| ["--config".as_ref(), file.as_os_str()]));
        build.stdin(Stdio::null()).stdout(Stdio::null()); // the service's own messages go there
        let status = build.status().map_err(|error| format!("{}: {error}", program.display()))?;
        let reason = || format!("`tvsl engine build` ended with {status}; the log above says why");
        status.success().then_some(()).ok_or_else(reason)
    })
}
