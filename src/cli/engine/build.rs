//! `tvsl engine build`: one plan after the other, each proved before it takes its place.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::super::{Failure, print};
use super::chain::{self, Outcome};
use super::fault::{MEMORY, told};
use super::recipe::{self, Form};
use super::trial::Trial;
use super::{Kit, stem};
use crate::engine::tensorrt::plan::{self, Turn};
use crate::engine::tensorrt::{BuildOptions, Built, Precision, Settings, Sources, TensorRtError};
use crate::engine::{self, Engine, Unbuilt};

/// How often a build that goes on says so.
const EVERY: Duration = Duration::from_secs(10);

/// No plan is built with less workspace than so many MiB because memory ran out.
const LEAST_WORKSPACE: usize = 64;

/// Builds plans: those of `less` to ask for less memory than they do, and of the others what is `missing`; where neither is
/// asked for, all.
pub(super) fn run(kit: &Kit, missing: bool, less: &[PathBuf]) -> Result<(), Failure> {
    print(&format!("building for {}: {}\n", kit.tensorrt.target(), kit.tensorrt.settings()))?;
    if kit.asks_in_vain_for_half() {
        tracing::warn!(
            "for {} this model has no encoder in half precision: plans are fp32",
            kit.tensorrt.library().version()
        );
    }
    kit.tensorrt.device().bind().map_err(Failure::failed)?;
    let files = kit.files()?;
    if let Some(stranger) = less.iter().find(|file| !files.contains(file)) {
        let (file, folder) = (stranger.display(), kit.folder.display());
        return Err(Failure::Failed(format!("{file}: is no graph of the model in {folder}")));
    }
    let _turn = turn(kit)?;
    let mut expected = None;
    let mut faults = Vec::new();
    for (number, file) in (1..).zip(&files) {
        let counted = format!("{number} of {}, {}", files.len(), stem(file));
        let lessened = less.contains(file);
        if !lessened && !missing && !less.is_empty() {
            continue;
        }
        match (missing && !lessened).then(|| kit.tensorrt.load(file)) {
            Some(Ok(_)) => {
                print(&format!("{counted}: good already\n"))?;
                continue;
            }
            // Building it again would only take more of what is lacking, and might put a worse plan in its place.
            Some(Err(fault)) if fault.passing() => {
                print(&format!("{counted}: NOT USABLE NOW and left as it is, see below\n"))?;
                let told = format!("{}: the plan cannot be loaded now: {fault}", file.display());
                faults.push(Failure::Lacking(told));
                continue;
            }
            Some(Err(_)) | None => {}
        }
        print(&format!("{counted}: building\n"))?;
        let tell = |seconds: u64| {
            // Nobody may be there to read it; the build goes on.
            let _ = print(&format!("{counted}: building for {seconds} s now\n"));
        };
        let build = || {
            let workspace = workspace(kit, file, lessened)?;
            build_one(kit, file, workspace, by_the_cpu(kit, &mut expected)?)
        };
        match patiently(EVERY, tell, build) {
            Ok(done) => print(&format!("{counted}: {done}\n"))?,
            Err(fault) => {
                print(&format!("{counted}: FAILED, see below\n"))?;
                faults.push(fault);
            }
        }
    }
    verdict(files.len(), &faults)
}

/// What the CPU computes, which takes long and is not always needed.
fn by_the_cpu<'a>(kit: &Kit, known: &'a mut Option<Outcome>) -> Result<&'a Outcome, Failure> {
    Ok(match known {
        Some(outcome) => outcome,
        none => none.insert(chain::run(kit, &mut |file| kit.cpu.load(file).map_err(Failure::failed))?),
    })
}

/// Builds beside each other would only take memory and time from each other, and put each other's files away.
fn turn(kit: &Kit) -> Result<Turn, Failure> {
    let folder = kit.folder.display();
    let waits = || tracing::info!("{folder}: plans of it are being built already; waiting for that");
    Turn::take(&kit.folder, waits).map_err(Failure::failed)
}

/// Does `work`, and tells the seconds that it has taken at the end of `every` interval.
fn patiently<T>(every: Duration, tell: impl Fn(u64) + Send, work: impl FnOnce() -> T) -> T {
    let (working, done) = channel::<()>();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while done.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                tell(start.elapsed().as_secs());
            }
        });
        let result = work();
        drop(working);
        result
    })
}

/// One graph that cannot be built takes nothing from the others: on the GPU they still run.
fn verdict(all: usize, faults: &[Failure]) -> Result<(), Failure> {
    if faults.is_empty() {
        return Ok(());
    }
    let mut reasons: Vec<_> = faults.iter().map(Failure::text).collect();
    reasons.dedup(); // what is wrong with TensorRT itself is wrong for each of them
    let told = format!(
        "{} of {all} graphs have no new plan, and the CPU, or the plan before it, does their part:\n{}",
        faults.len(),
        reasons.join("\n")
    );
    let lacking = faults.iter().any(|fault| matches!(fault, Failure::Lacking(_)));
    Err(if lacking { Failure::Lacking(format!("{told}\n{MEMORY}")) } else { Failure::Failed(told) })
}

/// The workspace in MiB to build the plan of `file` with: half of what it asks for now, if it is to be `lessened`.
fn workspace(kit: &Kit, file: &Path, lessened: bool) -> Result<usize, Failure> {
    let asked = kit.tensorrt.settings().workspace_mib;
    let plans = kit.tensorrt.shelf().plans(file);
    let found = plans.first().filter(|_| lessened).and_then(|plan| plan::describe(plan).ok());
    let Some(sidecar) = found else { return Ok(asked) };
    let asks = sidecar.options.workspace_mib;
    let little = || {
        let file = file.display();
        Failure::Lacking(format!(
            "{file}: its plan finds no memory, although it asks for {asks} MiB of workspace only"
        ))
    };
    halved(asks.min(asked)).ok_or_else(little)
}

/// Half of a workspace that was too much, if that is worth a try.
fn halved(workspace_mib: usize) -> Option<usize> {
    Some(workspace_mib / 2).filter(|half| *half >= LEAST_WORKSPACE)
}

/// Builds the plan of `file`, in single precision if half does harm, and puts it in its place if it computes what the CPU
/// computes, alone and in the whole.
fn build_one(kit: &Kit, file: &Path, workspace_mib: usize, expected: &Outcome) -> Result<String, Failure> {
    let start = Instant::now();
    let asked = kit.tensorrt.settings();
    let place = kit.tensorrt.shelf().place(file);
    let (mut note, mut either) = ("", "");
    let mut tried = within_memory(kit, file, Settings { workspace_mib, ..asked }, expected)?;
    if let Tried::Bad { why, options } = &tried
        && options.precision == Precision::Fp16
    {
        tracing::warn!("{}: in half precision {why}. It is built in single precision", file.display());
        (note, either) = (" because fp16 does harm", ", in single precision either");
        let workspace_mib = options.workspace_mib;
        let single = Settings { precision: Precision::Fp32, workspace_mib, ..asked };
        tried = within_memory(kit, file, single, expected)?;
    }
    let Candidate { sources, built, options } = match &tried {
        Tried::Good(candidate) => candidate,
        Tried::Bad { why, .. } => {
            return Err(Failure::Failed(format!(
                "{}: there is no new plan{either}, because {why}. The plan before it, if there is one, stays. \
                 Cure: engine.kind = \"cpu\"",
                place.display()
            )));
        }
    };
    let (target, took) = (kit.tensorrt.target(), start.elapsed());
    let sidecar = plan::store(&place, sources, built, asked, options, target, took).map_err(told)?;
    if options.workspace_mib < asked.workspace_mib {
        let (file, asks) = (file.display(), options.workspace_mib);
        tracing::warn!(
            "{file}: its plan asks for {asks} MiB of workspace from now on; `tvsl engine build` gives it all again"
        );
    }
    Ok(format!(
        "{}, {}{note}, {:.1} MB, {:.1} s",
        place.display(),
        options.precision,
        built.plan.bytes().len() as f64 / 1e6,
        sidecar.milliseconds as f64 / 1e3
    ))
}

/// What came of a try at a plan. One for which memory runs out, when it is built or when it runs, is built again with half
/// the workspace.
fn within_memory(
    kit: &Kit,
    file: &Path,
    mut settings: Settings,
    expected: &Outcome,
) -> Result<Tried, Failure> {
    loop {
        let tried = match Tried::build(kit, file, settings) {
            Err(error) if !error.out_of_memory() => return Err(told(error)),
            built => built.map_err(told).and_then(|built| built.proved(kit, file, expected)),
        };
        match (tried, halved(settings.workspace_mib)) {
            (Err(Failure::Lacking(why)), Some(half)) => {
                settings.workspace_mib = half;
                tracing::warn!("{why}; trying again with {half} MiB of workspace");
            }
            (Err(Failure::Lacking(why)), None) => {
                let asked = settings.workspace_mib;
                return Err(Failure::Lacking(format!("even with {asked} MiB of workspace {why}")));
            }
            (tried, _) => return tried,
        }
    }
}

/// A plan that is still to be put in its place.
struct Candidate {
    sources: Sources,
    built: Built,
    options: BuildOptions,
}

/// What came of a try.
enum Tried {
    Good(Candidate),
    /// None that could be used, with these options.
    Bad {
        why: String,
        options: BuildOptions,
    },
}

impl Tried {
    /// Builds a plan that is still to be proved.
    fn build(kit: &Kit, file: &Path, settings: Settings) -> Result<Self, TensorRtError> {
        let compiled = recipe::compiled(&kit.manifest, file, kit.tensorrt.library().family(), settings);
        let sources = Sources::of([file, &compiled], Some(&kit.manifest_sum))?;
        let (options, built) = compile(kit, file, &compiled, settings)?;
        Ok(match built {
            Err(error) if error.unbuildable() => {
                Self::Bad { why: format!("TensorRT finds no way to compute it: {error}"), options }
            }
            built => Self::Good(Candidate { sources, built: built?, options }),
        })
    }

    /// Finds out whether it computes what the CPU computes.
    fn proved(self, kit: &Kit, file: &Path, expected: &Outcome) -> Result<Self, Failure> {
        let Self::Good(candidate) = self else { return Ok(self) };
        Ok(match candidate.fault(kit, file, expected)? {
            None => Self::Good(candidate),
            Some(fault) => {
                let why = format!("it does not compute what the CPU computes: {fault}");
                Self::Bad { why, options: candidate.options }
            }
        })
    }
}

impl Candidate {
    /// What it computes otherwise than the CPU, if anything.
    fn fault(&self, kit: &Kit, file: &Path, expected: &Outcome) -> Result<Option<String>, Failure> {
        let mut graph = kit.tensorrt.graph(file, &self.built.plan).map_err(told)?;
        let findings = Trial::new(kit, file)?.run(graph.as_mut())?;
        let judged = chain::with(kit, file, graph)?;
        let whole = chain::compare(expected, &judged);
        let mut findings = findings.into_iter().map(|finding| (finding.text, finding.good)).chain([whole]);
        Ok(findings.find(|(_, good)| !good).map(|(text, _)| text.trim_end().to_owned()))
    }
}

/// What the builder makes of the ONNX file `compiled`, and with which options.
fn compile(
    kit: &Kit,
    file: &Path,
    compiled: &Path,
    settings: Settings,
) -> Result<(BuildOptions, Result<Built, TensorRtError>), TensorRtError> {
    let library = kit.tensorrt.library();
    let mut builder = library.builder()?;
    let mut network = builder.network()?;
    network.parse_onnx(compiled)?;
    let form = Form::of(library.family(), file, compiled);
    let options = recipe::options(&kit.manifest, kit.rows, &network.tensors()?, settings, form);
    let place = kit.tensorrt.shelf().place(file);
    let timings = std::fs::read(plan::timing_cache_path(&place)).unwrap_or_default();
    let built = builder.build(&mut network, &options, &timings);
    Ok((options, built))
}

/// How often it is asked whether a build is still wanted.
const ASKED: Duration = Duration::from_millis(250);

/// Builds what is missing in a process of its own, which may take gigabytes and minutes and may even die
/// without harm to the service. It is ended when nobody wants its plans any more.
pub(in crate::cli) fn in_the_background(config: Option<PathBuf>) -> engine::Build {
    Box::new(move |job, wanted| {
        let failed = |reason| Unbuilt { reason, lacking: false };
        let program = std::env::current_exe();
        let program = program.map_err(|error| failed(format!("this program's file: {error}")))?;
        let mut build = Command::new(&program);
        build.args(["engine", "build", "--for-parent", "--model"]).arg(job.folder);
        build.args(job.missing.then_some("--missing"));
        build.args(job.less.iter().flat_map(|file| ["--less".as_ref(), file.as_os_str()]));
        build.args(config.iter().flat_map(|file| ["--config".as_ref(), file.as_os_str()]));
        build.stdin(Stdio::null()).stdout(Stdio::null()); // the service's own messages go there
        let status = ended(&mut build, wanted);
        let status = status.map_err(|error| failed(format!("{}: {error}", program.display())))?;
        // SIGKILL is how the kernel ends a process for want of memory.
        let killed = status.signal() == Some(9);
        let lacking = killed || status.code() == Some(i32::from(Failure::LACKING));
        let reason = || format!("`tvsl engine build` ended with {status}; the log above says why");
        status.success().then_some(()).ok_or_else(|| Unbuilt { reason: reason(), lacking })
    })
}

/// How long a build that was ended may take to be over: one that the GPU's driver holds is not over until that lets it go.
const ENDING: Duration = Duration::from_secs(2);

/// Runs `build` to its end, or ends it when it is not `wanted` any more.
fn ended(build: &mut Command, wanted: &dyn Fn() -> bool) -> std::io::Result<ExitStatus> {
    let mut process = build.spawn()?;
    while wanted() {
        if let Some(status) = within(&mut process, ASKED)? {
            return Ok(status);
        }
    }
    process.kill()?;
    within(&mut process, ENDING)?.ok_or_else(|| {
        tracing::debug!(
            "`tvsl engine build`, process {}, was ended and is left although it goes on",
            process.id()
        );
        std::io::Error::new(std::io::ErrorKind::TimedOut, "it was ended, and goes on")
    })
}

/// How `process` ended, if it does within `most`.
fn within(process: &mut Child, most: Duration) -> std::io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        let status = process.try_wait()?;
        if status.is_some() || began.elapsed() >= most {
            return Ok(status);
        }
        std::thread::sleep(ASKED.min(most) / 5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_is_not_wanted_is_ended_and_none_is_waited_for_without_a_bound() {
        let mut long = Command::new("sleep");
        let began = Instant::now();
        let status = ended(long.arg("60"), &|| began.elapsed() < Duration::from_millis(100));
        assert_eq!(status.expect("it ends").signal(), Some(9));
        let mut process = long.spawn().expect("a process");
        assert_eq!(within(&mut process, Duration::from_millis(50)).expect("it runs"), None);
        process.kill().expect("a process that can be ended");
        assert!(within(&mut process, Duration::from_secs(10)).expect("it ended").is_some());
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn long_work_is_told_of_until_it_is_done() {
        let (told, wait) = channel();
        let tell = move |seconds| assert!(told.send(seconds).is_ok());
        let result = patiently(Duration::from_millis(1), tell, || [wait.recv(), wait.recv()]);
        assert!(result.iter().all(Result::is_ok), "{result:?}");
        wait.iter().for_each(drop); // ends only because nobody tells any more
        assert_eq!(patiently(Duration::from_secs(3600), |_| panic!("too early"), || 7), 7);
    }
}
