//! `tvsl engine verify`: the plans of this device, held against the CPU engine.

use super::super::{Failure, print};
use super::Bench;
use super::trial::Trial;
use crate::engine::Engine;

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let cpu = bench.cpu()?;
    print(&format!("{}: {}\n", bench.tensorrt.target(), bench.tensorrt.settings()))?;
    let mut agree = true;
    for file in bench.files()? {
        let mut graph = bench.tensorrt.load(&file).map_err(Failure::failed)?;
        let trial = Trial::new(&bench.folder, &bench.manifest, &file, cpu.as_ref())?;
        for finding in trial.run(graph.as_mut())? {
            agree &= finding.good;
            print(&finding.text)?;
        }
    }
    let verdict = "TensorRT and the CPU differ; set engine.tensorrt.precision = \"fp32\" and build again, or set \
                   engine.kind = \"cpu\"";
    match agree {
        true => print("this device is ready: TensorRT computes what the CPU computes\n"),
        false => Err(Failure::Failed(verdict.to_owned())),
    }
}
