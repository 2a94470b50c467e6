//! `tvsl engine verify`: whether this device is ready for TensorRT, in one screen.

use std::path::Path;

use super::super::{Failure, print};
use super::fault::MEMORY;
use super::trial::Trial;
use super::{Kit, chain, stem};
use crate::engine::Engine;
use crate::engine::tensorrt::{Gpu, TensorRt};

/// Runs of each graph that are timed.
const TIMED: u32 = 20;

pub(super) fn run(kit: &Kit) -> Result<(), Failure> {
    print(&machine(&kit.tensorrt))?;
    let note = if kit.asks_in_vain_for_half() {
        "; fp32 in truth: the model has no encoder in half precision"
    } else {
        ""
    };
    print(&format!("plans   {}{note}\n", kit.tensorrt.settings()))?;
    let ([mut differing, mut unusable], mut lacking) = ([0; 2], false);
    for file in kit.files()? {
        match graph(kit, &file) {
            Ok((lines, good)) => {
                differing += usize::from(!good);
                print(&lines)?;
            }
            Err(fault) => {
                unusable += 1;
                lacking |= matches!(fault, Failure::Lacking(_));
                print(&format!("{:<10} NOT USABLE: {}\n", stem(&file), fault.text()))?;
            }
        }
    }
    if unusable == 0 {
        let (line, good) = whole(kit)?;
        differing += usize::from(!good);
        print(&line)?;
    }
    let verdict = match (unusable, differing) {
        (0, 0) => return print("this device is ready: TensorRT computes what the CPU computes\n"),
        (0, _) => {
            "TensorRT and the CPU differ; set engine.tensorrt.precision = \"fp32\" and build again, or set engine.kind = \
             \"cpu\""
                .to_owned()
        }
        (unusable, _) => format!(
            "this device is not ready: {unusable} of its plans cannot be used, and the CPU does their part; cure: `tvsl \
             engine build`{}",
            if lacking { format!(". {MEMORY}") } else { String::new() }
        ),
    };
    Err(Failure::Failed(verdict))
}

/// What there is, beside the plans.
fn machine(tensorrt: &TensorRt) -> String {
    let Gpu { name, compute_capability, driver, .. } = &tensorrt.target().gpu;
    let device = tensorrt.device();
    let memory = if device.is_integrated() { "memory shared with the host" } else { "memory of its own" };
    let pictures =
        if device.lays_pictures() { "the GPU" } else { "the CPU: the driver does not take the kernel" };
    format!(
        "GPU     {name}, SM {compute_capability}, CUDA {driver}, {memory}; pictures are laid out by {pictures}\n\
         library {} from {}\n",
        tensorrt.library().version(),
        tensorrt.library().path().display(),
    )
}

/// What all plans together make of picture and sound.
fn whole(kit: &Kit) -> Result<(String, bool), Failure> {
    let expected = chain::run(kit, &mut |file| kit.cpu.load(file).map_err(Failure::failed))?;
    let found = chain::run(kit, &mut |file| kit.tensorrt.load(file).map_err(Failure::failed))?;
    Ok(chain::compare(&expected, &found))
}

/// What one plan computes, how fast, and whether that is right.
fn graph(kit: &Kit, file: &Path) -> Result<(String, bool), Failure> {
    let mut graph = kit.tensorrt.load(file).map_err(Failure::failed)?;
    let findings = Trial::new(kit, file)?.run(graph.as_mut())?;
    let mut lines: String = findings.iter().map(|finding| finding.text.as_str()).collect();
    if let Some(time) = graph.repeat(TIMED).map_err(Failure::failed)? {
        lines += &format!("{:<10} {:.2} ms a run\n", stem(file), time.as_secs_f64() * 1e3);
    }
    Ok((lines, findings.iter().all(|finding| finding.good)))
}
