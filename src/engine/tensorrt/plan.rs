//! Plans on disk: each lies beside a sidecar that says what it was built from and for, and is loaded
//! only if all of that still holds. A plan is code: one whose hash is not the sidecar's is never
//! handed to TensorRT.
//!
//! For `DIR/image.onnx` these are `DIR/tensorrt/image.plan` and `DIR/tensorrt/image.plan.json`; where nothing can be
//! written there, as in an installed package, they lie in a folder of the model's own elsewhere: see [`Shelf`](super::Shelf).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::builder::{BuildOptions, Built};
use super::error::TensorRtError;
use super::network::Direction;
use super::runtime::{CudaEngine, Plan};
use super::sources::{Known, MANIFEST, Sources, file_error, sha256, sums, unlike};
use super::target::{PlanFault, Settings, Target};
use crate::bounded;
use crate::config::Precision;

/// Raised with every change of this format, or of what plans are built for from the same model and configuration: a plan
/// of another one is built again.
pub const SCHEMA: u32 = 9;

/// Everything a plan depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it was built for.
    pub target: Target,
    /// What it was built from: SHA-256 of the ONNX file, of its external data and of the manifest, by file name.
    pub sources: BTreeMap<String, String>,
    /// The ONNX file that was compiled: the graph's own, or its form in half precision.
    pub compiled: String,
    /// What the configuration asked for.
    pub settings: Settings,
    /// How it was built in the end.
    pub options: BuildOptions,
    /// SHA-256 of the plan.
    pub plan_sha256: String,
    /// When it was built, in seconds since 1970.
    pub built: u64,
    /// How long that took; a whole number, so that it is read as it was written.
    pub milliseconds: u64,
    /// SHA-256 of all the rest. What a graph is built with follows from sources, settings and schema by the recipe, so facts
    /// that are not what the build wrote are not what this program would build.
    pub seal: String,
}

/// What sidecars of every schema have.
#[derive(Deserialize)]
struct Dated {
    schema: u32,
}

impl Sidecar {
    /// The same, vouched for as it is now.
    pub fn sealed(mut self) -> Self {
        self.seal = self.sum();
        self
    }

    fn sum(&self) -> String {
        let rest = Self { seal: String::new(), ..self.clone() };
        // It is made of numbers, words and lists of them, which can always be written.
        sha256(&serde_json::to_vec(&rest).unwrap_or_default())
    }

    /// Whether the plan was built in the way that its settings lead to: with no more memory, and in single precision where
    /// half does harm, for the GPU at hand.
    fn follows_its_settings(&self) -> bool {
        let (asked, built) = (self.settings, &self.options);
        let precision = [asked.precision, Precision::Fp32].contains(&built.precision);
        let searched = built.level == asked.level && built.workspace_mib <= asked.workspace_mib;
        precision && searched && built.capability.is_none()
    }
}

/// The plan of an ONNX file in its model folder.
pub fn path(onnx: &Path) -> PathBuf {
    let folder = onnx.parent().unwrap_or(Path::new(".")).join("tensorrt");
    folder.join(onnx.file_name().unwrap_or_default()).with_extension("plan")
}

/// The sidecar of a plan.
pub fn sidecar_path(plan: &Path) -> PathBuf {
    plan.with_extension("plan.json")
}

/// Kernel timings, kept for the next build of the same folder.
pub fn timing_cache_path(plan: &Path) -> PathBuf {
    plan.with_file_name("timing.cache")
}

/// Where a plan lies between its sidecar's taking its place and its own.
fn fresh(plan: &Path) -> PathBuf {
    plan.with_extension("plan.fresh")
}

/// Whether there is a plan, in its place or on its way there.
pub(super) fn is_there(plan: &Path) -> bool {
    plan.exists() || fresh(plan).exists()
}

/// The right to build the plans of a model, as long as it lives: on a machine one process has it at a time, wherever its
/// plans lie.
pub struct Turn(#[allow(dead_code, reason = "closing the file gives the right back")] Option<fs::File>);

impl Turn {
    /// Takes that of the model in `folder`; if another process has it now, says so to `waits` and waits. Where files cannot
    /// be locked, as on some networks, everybody has it.
    ///
    /// # Errors
    /// If the model's manifest cannot be read.
    pub fn take(folder: &Path, waits: impl FnOnce()) -> Result<Self, TensorRtError> {
        let file = folder.join(MANIFEST);
        // It is there in any case, and is only read: the model may be another user's.
        let lock = fs::File::open(&file).map_err(|error| file_error(&file, error))?;
        let locked = match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => {
                waits();
                lock.lock()
            }
            Err(fs::TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        if let Err(error) = &locked {
            tracing::debug!("{}: cannot be locked: {error}", file.display());
        }
        Ok(Self(locked.is_ok().then_some(lock)))
    }
}

/// Writes a plan with its sidecar and the timing cache, and puts them in place in one step: whatever ends this meanwhile, the
/// plan before it, or this one, is there and good. Whoever does this has the model's [`Turn`].
///
/// # Errors
/// If a file cannot be read or written, or [`PlanFault::Changed`]: what it was built from is not what it was any more.
pub fn store(
    plan: &Path,
    sources: &Sources,
    built: &Built,
    settings: Settings,
    options: &BuildOptions,
    target: &Target,
    took: Duration,
) -> Result<Sidecar, TensorRtError> {
    sources.hold()?;
    finish(plan)?;
    let compiled = sources.compiled();
    let sidecar = Sidecar {
        schema: SCHEMA,
        target: target.clone(),
        sources: sources.sums().clone(),
        compiled: compiled.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        settings,
        options: options.clone(),
        plan_sha256: sha256(built.plan.bytes()),
        built: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        milliseconds: took.as_millis().try_into().unwrap_or(u64::MAX),
        seal: String::new(),
    }
    .sealed();
    let json = serde_json::to_vec_pretty(&sidecar).map_err(io::Error::from);
    let (described, fresh) = (sidecar_path(plan), fresh(plan));
    replace(&timing_cache_path(plan), &built.timing_cache)?;
    replace(&fresh, built.plan.bytes())?;
    // From here on it is this plan that is meant, and that is found in either place.
    replace(&described, &json.map_err(|error| file_error(&described, error))?)?;
    settle(&fresh, plan).map_err(|error| file_error(plan, error))?;
    Ok(sidecar)
}

/// Puts the plan in its place that an interrupted [`store`] left on its way there, if it is the one that the sidecar describes.
fn finish(plan: &Path) -> Result<(), TensorRtError> {
    let fresh = fresh(plan);
    let meant = |bytes: &Vec<u8>| describe(plan).is_ok_and(|sidecar| sidecar.plan_sha256 == sha256(bytes));
    match bounded::read(&fresh, bounded::MODEL).ok().filter(meant) {
        Some(_) => settle(&fresh, plan).map_err(|error| file_error(plan, error)),
        None => Ok(()),
    }
}

/// Renames a file within its folder; that outlasts a power cut.
fn settle(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    fs::File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads the sidecar of a plan.
///
/// # Errors
/// [`PlanFault::Missing`] or [`PlanFault::Sidecar`].
pub fn describe(plan: &Path) -> Result<Sidecar, TensorRtError> {
    let file = sidecar_path(plan);
    let wrong = |reason| PlanFault::Sidecar { file: file.clone(), reason };
    let text = match bounded::read(&file, bounded::TEXT) {
        Ok(text) if is_there(plan) => text,
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(wrong(format!("cannot be read: {error}")).into());
        }
        _ => return Err(PlanFault::Missing { file: plan.to_owned() }.into()),
    };
    let alien = |error| wrong(format!("is no sidecar of a plan: {error}"));
    let Dated { schema } = serde_json::from_slice(&text).map_err(alien)?;
    if schema != SCHEMA {
        return Err(wrong(format!("has schema {schema}, expected {SCHEMA}")).into());
    }
    let sidecar: Sidecar = serde_json::from_slice(&text).map_err(alien)?;
    if sidecar.seal != sidecar.sum() {
        return Err(wrong("was altered after the build that wrote it".to_owned()).into());
    }
    if !sidecar.follows_its_settings() {
        let reason = format!("has options that contradict its settings, which are {}", sidecar.settings);
        return Err(wrong(reason).into());
    }
    Ok(sidecar)
}

/// Whether a plan that may be loaded was also built as asked; one that was not still computes the same.
///
/// # Errors
/// [`PlanFault::Settings`].
pub fn as_asked(plan: &Path, sidecar: &Sidecar, asked: Settings) -> Result<(), PlanFault> {
    if sidecar.settings == asked {
        return Ok(());
    }
    Err(PlanFault::Settings { file: plan.to_owned(), built_with: sidecar.settings, asked })
}

/// Whether a plan takes the shapes that its sidecar says, of every input whose extents are open and of no other.
///
/// # Errors
/// [`PlanFault::Sidecar`], or what TensorRT refused.
pub fn takes_its_shapes(plan: &Path, sidecar: &Sidecar, engine: &CudaEngine) -> Result<(), TensorRtError> {
    let wrong = |reason| Err(PlanFault::Sidecar { file: sidecar_path(plan), reason }.into());
    let tensors = engine.tensors()?;
    let inputs: Vec<_> = tensors.iter().filter(|tensor| tensor.direction == Direction::Input).collect();
    let ranges = &sidecar.options.ranges;
    for said in ranges {
        let name = &said.input;
        let Some(input) = inputs.iter().find(|input| input.label() == *name) else {
            return wrong(format!("says what shapes `{name}` may have, but the plan has no such input"));
        };
        let found = engine.range(&input.name, 0)?;
        if found != *said {
            return wrong(format!(
                "says that `{name}` may be {:?} to {:?}, but the plan takes {:?} to {:?}",
                said.min, said.max, found.min, found.max
            ));
        }
    }
    let said = |name: &str| ranges.iter().any(|range| range.input == name);
    let mut open = inputs.iter().filter(|input| input.shape.contains(&-1)).map(|input| input.label());
    match open.find(|name| !said(name)) {
        Some(name) => {
            wrong(format!("does not say what shapes `{name}` may have, which the plan leaves open"))
        }
        None => Ok(()),
    }
}

/// Reads `plan` of `onnx` if it was built for `device`, from these very files, and is unaltered.
///
/// # Errors
/// The [`PlanFault`] that says what does not hold.
pub(super) fn load(
    plan: &Path,
    onnx: &Path,
    device: &Target,
    known: &Known,
) -> Result<(Plan, Sidecar), TensorRtError> {
    let sidecar = describe(plan)?;
    let loaded = load_as(plan, onnx, device, known, sidecar.clone());
    if !matches!(loaded, Err(TensorRtError::Plan(PlanFault::Altered { .. }))) {
        return loaded;
    }
    // Another may have taken its place between the reading of the one file and of the other.
    let now = describe(plan)?;
    if now == sidecar { loaded } else { load_as(plan, onnx, device, known, now) }
}

fn load_as(
    plan: &Path,
    onnx: &Path,
    device: &Target,
    known: &Known,
    sidecar: Sidecar,
) -> Result<(Plan, Sidecar), TensorRtError> {
    let file = plan.to_owned();
    if sidecar.target != *device {
        let (built_for, device) = (Box::new(sidecar.target), Box::new(device.clone()));
        return Err(PlanFault::Target { file, built_for, device }.into());
    }
    let sources = sums([onnx, &onnx.with_file_name(&sidecar.compiled)], known)?;
    if let Some(source_file) = unlike(&sources, &sidecar.sources).map(str::to_owned) {
        return Err(PlanFault::Source { file, source_file }.into());
    }
    let good = |bytes: &Vec<u8>| sha256(bytes) == sidecar.plan_sha256;
    if let Some(bytes) = bounded::read(&fresh(plan), bounded::MODEL).ok().filter(good) {
        return Ok((Plan::new(bytes), sidecar));
    }
    let bytes = bounded::read(&file, bounded::MODEL).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => PlanFault::Missing { file: file.clone() },
        _ => PlanFault::Unreadable { file: file.clone(), reason: error.to_string() },
    })?;
    if !good(&bytes) {
        let found = sha256(&bytes);
        return Err(PlanFault::Altered { file, expected: sidecar.plan_sha256, found }.into());
    }
    Ok((Plan::new(bytes), sidecar))
}

/// Writes `file` so that a reader sees the old content or the new, never a part.
fn replace(file: &Path, content: &[u8]) -> Result<(), TensorRtError> {
    let write = || {
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        let fresh = file.with_extension("new");
        let mut out = fs::File::create(&fresh)?;
        out.write_all(content)?;
        out.sync_all()?;
        settle(&fresh, file)
    };
    write().map_err(|reason| file_error(file, reason))
}
