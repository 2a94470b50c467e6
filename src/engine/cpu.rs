//! ONNX Runtime on the CPU, loaded at run time.

use std::borrow::Cow;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{Outlet, TensorElementType, TensorRef};

use super::value::told;
use super::{Easel, Engine, EngineError, Graph, Input, Port, Tensor};
use crate::config;

const LIBRARY: &str = "libonnxruntime.so";

/// The runtime allows one environment in a process, so it is made once and kept.
static RUNTIME: Mutex<Option<Environment>> = Mutex::new(None);

#[derive(Clone)]
struct Cpu {
    environment: Environment,
    threads: usize,
}

/// Opens the CPU back end, loading the runtime library on first use.
pub(super) fn open(config: &config::Engine) -> Result<Arc<dyn Engine>, EngineError> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let environment = match &*runtime {
        Some(environment) => environment.clone(),
        None => runtime.insert(start(&candidates(config))?).clone(),
    };
    Ok(Arc::new(Cpu { environment, threads: config.threads }))
}

/// Where the library is looked for, first to last, as `config/tvsl.toml` tells users: what the configuration or the environment
/// names, and nothing else then; otherwise wherever one is put by the set-up, by a package or by hand.
fn candidates(config: &config::Engine) -> Vec<PathBuf> {
    let named = Some(config.library.clone()).filter(|p| !p.as_os_str().is_empty());
    let variable = env::var_os("TVSL_ONNXRUNTIME").filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(only) = named.or(variable) {
        return vec![only];
    }
    let home = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
    let beside = home.iter().flat_map(|dir| [dir.join(LIBRARY), dir.join("../lib/tvsl").join(LIBRARY)]);
    let roots = env::current_dir().ok().into_iter().chain(home.clone());
    let cached = roots.flat_map(|root| {
        root.ancestors().map(|dir| dir.join(".cache/onnxruntime").join(LIBRARY)).collect::<Vec<_>>()
    });
    let system = [Path::new("/usr/lib/tvsl").join(LIBRARY), PathBuf::from(LIBRARY)];
    let mut all: Vec<PathBuf> = Vec::new();
    for path in beside.chain(cached).chain(system) {
        if !all.contains(&path) {
            all.push(path);
        }
    }
    all
}

fn start(candidates: &[PathBuf]) -> Result<Environment, EngineError> {
    let mut looked = Vec::new();
    for path in candidates {
        let by_loader = path.components().count() == 1;
        if !by_loader && !path.is_file() {
            looked.push(format!("  {}: no such file", path.display()));
            continue;
        }
        match ort::init_from(path) {
            Ok(builder) => {
                tracing::debug!(library = %path.display(), "ONNX Runtime loaded");
                let environment = builder.with_name("tvsl").with_telemetry(false).with_logger(Arc::new(log));
                return environment.build().map_err(|error| EngineError::Start(error.to_string()));
            }
            Err(error) => looked.push(format!("  {}: {error}", path.display())),
        }
    }
    Err(EngineError::NoLibrary { looked })
}

fn log(level: ort::logging::LogLevel, _category: &str, _id: &str, _location: &str, message: &str) {
    use ort::logging::LogLevel;
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::debug!(target: "onnxruntime", "error: {message}"),
        LogLevel::Warning => tracing::debug!(target: "onnxruntime", "{message}"),
        _ => tracing::trace!(target: "onnxruntime", "{message}"),
    }
}

impl Engine for Cpu {
    fn name(&self) -> &'static str {
        super::CPU
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        let session = self.open(file, self.threads)?;
        let (inputs, outputs) = (ports(file, session.inputs())?, ports(file, session.outputs())?);
        let (engine, easel) = (self.clone(), Easel::default());
        Ok(Box::new(CpuGraph { engine, file: file.to_path_buf(), session, inputs, outputs, easel }))
    }
}

impl Cpu {
    fn open(&self, file: &Path, threads: usize) -> Result<Session, EngineError> {
        let session = self.session(threads).and_then(|mut builder| builder.commit_from_file(file));
        session.map_err(|error| EngineError::Load { file: file.to_path_buf(), reason: error.to_string() })
    }

    /// Threads sleep between runs: spinning costs three times the CPU at ten frames a second. Where a model has its
    /// weights in int8, they are made real when it loads; left to itself, the library would round what they are multiplied with as well.
    fn session(&self, threads: usize) -> ort::Result<SessionBuilder> {
        Ok(Session::builder(&self.environment)?
            .with_execution_providers([ep::CPU::default().with_arena_allocator(true).build()])?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_config_entry("session.disable_quant_qdq", "1")?
            .with_config_entry("session.use_device_allocator_for_initializers", "1")?)
    }
}

fn ports(file: &Path, outlets: &[Outlet]) -> Result<Vec<Port>, EngineError> {
    outlets.iter().map(|outlet| port(file, outlet)).collect()
}

fn port(file: &Path, outlet: &Outlet) -> Result<Port, EngineError> {
    let kind = outlet.dtype();
    match (kind.tensor_type(), kind.tensor_shape()) {
        (Some(TensorElementType::Float32), Some(shape)) => {
            let shape = shape.iter().map(|&axis| usize::try_from(axis).ok()).collect();
            Ok(Port { name: outlet.name().to_owned(), shape })
        }
        _ => Err(EngineError::Type {
            file: file.to_path_buf(),
            port: outlet.name().to_owned(),
            found: format!("{kind:?}"),
        }),
    }
}

struct CpuGraph {
    engine: Cpu,
    file: PathBuf,
    session: Session,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    easel: Easel,
}

impl Graph for CpuGraph {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn one_thread(&mut self, one: bool) -> Result<bool, EngineError> {
        let spare = self.engine.threads > 1;
        if spare {
            // The one before works until this one does, and goes on if it does not.
            self.session = self.engine.open(&self.file, if one { 1 } else { self.engine.threads })?;
        }
        Ok(spare)
    }

    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
        let Self { file, session, easel, .. } = self;
        let nothing = Tensor::default();
        let laid = match inputs.iter().find_map(|(_, input)| input.picture()) {
            Some(picture) => easel.lay(picture),
            None => &nothing,
        };
        let here = inputs.iter().map(|&(name, input)| Ok((name, input.on_host(laid)?)));
        let tensors = here.collect::<Result<Vec<_>, EngineError>>()?;
        let failed = |reason| EngineError::Run { file: file.clone(), reason, inputs: told(inputs) };
        run(session, &tensors).map_err(|error| failed(error.to_string()))
    }
}

fn run(session: &mut Session, inputs: &[(&str, Cow<'_, Tensor>)]) -> ort::Result<Vec<Tensor>> {
    let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
    for (name, tensor) in inputs {
        values.push((
            *name,
            TensorRef::from_array_view((tensor.shape.as_slice(), tensor.data.as_slice()))?.into(),
        ));
    }
    let outputs = session.run(values)?;
    outputs
        .values()
        .map(|value| {
            let (shape, data) = value.try_extract_tensor::<f32>()?;
            let shape = shape.iter().map(|&axis| axis as usize).collect();
            Ok(Tensor { shape, data: data.to_vec() })
        })
        .collect()
}
