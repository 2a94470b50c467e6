//! Compiles the fake library, one per family, and steers it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tvsl::engine::tensorrt::{Library, plan};

/// Which TensorRT the fake pretends to be.
#[derive(Debug, Clone, Copy)]
pub struct Release {
    pub column: u8,
    pub version: [i32; 4],
}

/// One release of every family, and the oldest one, which lacks a method.
pub const RELEASES: [Release; 5] = [
    Release { column: 8, version: [8, 5, 2, 2] },
    Release { column: 8, version: [8, 6, 1, 5] },
    Release { column: 10, version: [10, 3, 0, 26] },
    Release { column: 11, version: [11, 1, 0, 106] },
    Release { column: 11, version: [1, 7, 1, 12] },
];

/// How an injected failure looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Failure {
    /// Null, false or −1.
    Refuse = 1,
    /// The address 0x228.
    Garbage = 2,
    /// Null or false after a warning and an error in the log.
    Complain = 3,
    /// The same, with the log written by a thread of TensorRT's own.
    ComplainElsewhere = 4,
    /// A handle without an implementation.
    Hollow = 5,
    /// A handle whose implementation is at the address 0x228.
    Rotten = 6,
}

/// A fake TensorRT of its own: no two share a record or a failure.
pub struct Fake {
    control: libloading::Library,
    pub path: PathBuf,
    pub library: Library,
}

impl Fake {
    pub fn new(release: Release) -> Self {
        let path = compile(release);
        let library = Library::open(&path).expect("the fake is a version that is supported");
        // SAFETY: the file was compiled from fake.c just now.
        let control = unsafe { libloading::Library::new(&path) }.expect("it is loaded already");
        Self { control, path, library }
    }

    /// Makes `method` fail from now on.
    pub fn fail(&self, method: &str, how: Failure) {
        failing(&self.control, method, how);
    }

    /// Logs a message of this severity.
    pub fn say(&self, severity: i32, message: &str) {
        let message = CString::new(message).unwrap();
        // SAFETY: fake.c declares it so; it was given a logger when it made something.
        unsafe {
            let say = self.control.get::<unsafe extern "C" fn(c_int, *const c_char)>(c"fake_say").unwrap();
            say(severity, message.as_ptr());
        }
    }

    /// Every call so far, one a line.
    pub fn calls(&self) -> Vec<String> {
        recorded(&self.control)
    }

    /// How many objects were made and not deleted.
    pub fn alive(&self) -> i32 {
        // SAFETY: fake.c declares it so.
        unsafe { self.control.get::<unsafe extern "C" fn() -> c_int>(c"fake_alive").unwrap()() }
    }
}

/// Every call so far of the fake that was loaded as `library`, one a line.
pub fn calls(library: &Path) -> Vec<String> {
    // SAFETY: it is loaded already.
    recorded(&unsafe { libloading::Library::new(library) }.expect("it is loaded already"))
}

/// Makes `method` of the fake that was loaded as `library` fail from now on.
pub fn fail(library: &Path, method: &str, how: Failure) {
    // SAFETY: it is loaded already.
    failing(&unsafe { libloading::Library::new(library) }.expect("it is loaded already"), method, how);
}

fn failing(fake: &libloading::Library, method: &str, how: Failure) {
    let method = CString::new(method).unwrap();
    // SAFETY: fake.c declares it so.
    unsafe {
        let fail = fake.get::<unsafe extern "C" fn(*const c_char, c_int)>(c"fake_fail").unwrap();
        fail(method.as_ptr(), how as c_int);
    }
}

fn recorded(fake: &libloading::Library) -> Vec<String> {
    // SAFETY: fake.c declares it so; the text ends in NUL and nobody writes it now.
    let text = unsafe {
        let calls = fake.get::<unsafe extern "C" fn() -> *const c_char>(c"fake_calls").unwrap();
        CStr::from_ptr(calls()).to_string_lossy().into_owned()
    };
    text.lines().map(str::to_owned).collect()
}

/// Where the parser of the fake at `library` lies.
pub fn parser(library: &Path) -> PathBuf {
    let name = library.file_name().unwrap().to_string_lossy();
    let name = name.replace("nvinfer", "nvonnxparser").replace("tensorrt_rtx", "tensorrt_onnxparser_rtx");
    library.with_file_name(name)
}

/// A copy of the fake in a folder of its own, named as NVIDIA names the real one, with its parser beside it.
pub fn compile(release: Release) -> PathBuf {
    static COPIES: AtomicUsize = AtomicUsize::new(0);
    let copy = COPIES.fetch_add(1, Ordering::Relaxed);
    let folder = scratch().join(format!("tensorrt-{}-{copy}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let core = match release.version[0] {
        1 => "libtensorrt_rtx.so.1".to_owned(),
        major => format!("libnvinfer.so.{major}"),
    };
    let path = folder.join(core);
    std::fs::copy(compiled(release), &path).unwrap();
    std::os::unix::fs::symlink(&path, parser(&path)).unwrap();
    path
}

/// A sidecar's text with a seal over what it says, as a build would have written it; what is no sidecar, as it is.
pub fn sealed(text: &str) -> String {
    let sidecar = serde_json::from_str::<plan::Sidecar>(text).map(plan::Sidecar::sealed);
    sidecar.map_or(text.to_owned(), |sidecar| serde_json::to_string_pretty(&sidecar).unwrap())
}

/// ONNX Runtime's library, by which the fake runs real graphs.
pub fn onnxruntime() -> PathBuf {
    let cached = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/onnxruntime/libonnxruntime.so");
    std::env::var_os("TVSL_ONNXRUNTIME").map_or(cached, PathBuf::from)
}

/// Puts a fake CUDA driver into `folder`.
pub fn compile_cuda(folder: &Path) {
    let mut compiler = Command::new("cc");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    compiler
        .args(["-shared", "-fPIC", "-g", "-O1", "-ffp-contract=off", "-o"])
        .arg(folder.join("libcuda.so"));
    // The kernel's own source lies with the binding.
    compiler.arg("-I").arg(source.join("src/engine/tensorrt"));
    compiler.arg(source.join("tests/fake_tensorrt/cuda.c"));
    assert!(compiler.status().expect("a C compiler named cc").success());
}

/// Runs the ignored test `name` of this file in a process of its own, whose `LD_LIBRARY_PATH` leads to the fakes in
/// `folder`; it finds that in `FOLDER`. What it said.
pub fn in_a_process(name: &str, folder: &Path, variables: &[(&str, &str)]) -> String {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", name, "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", folder)
        .env("FOLDER", folder)
        .env_remove("TVSL_TENSORRT");
    let output = test.envs(variables.iter().copied()).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && out.contains("1 passed"), "{name} {variables:?}: {out}{err}");
    out.into_owned()
}

/// A number that the fake driver counts, in this process.
pub fn counted(function: &CStr) -> i32 {
    // SAFETY: the fake driver is loaded already, and declares its counts so.
    unsafe {
        let cuda = libloading::Library::new("libcuda.so").unwrap();
        cuda.get::<unsafe extern "C" fn() -> c_int>(function).unwrap()()
    }
}

/// Each release is compiled once per test run.
fn compiled(release: Release) -> PathBuf {
    static DONE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let [major, minor, patch, build] = release.version;
    let path = scratch().join(format!("fake-{}-{major}.{minor}.{patch}.{build}.so", std::process::id()));
    let mut done = DONE.lock().unwrap();
    if done.insert(path.clone()) {
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-g", "-O0", "-o"]).arg(&path);
        compiler.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_tensorrt/fake.c"));
        compiler.args(["-ldl", "-lm", "-pthread"]);
        compiler.arg(format!("-DCOLUMN={}", release.column));
        for (name, value) in ["MAJOR", "MINOR", "PATCH", "BUILD"].iter().zip(release.version) {
            compiler.arg(format!("-D{name}={value}"));
        }
        if major == 1 {
            compiler.arg("-DRTX");
        }
        assert!(compiler.status().expect("a C compiler named cc").success());
    }
    path
}

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.path.parent().unwrap());
    }
}
