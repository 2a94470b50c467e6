//! `tvsl devices`: what there is to see, hear and compute with.

use clap::Args;
use serde::Serialize;

use super::nodes::{Nodes, Refused};
use super::{Common, Failure};
use crate::capture::{self, CameraFound, MicrophoneFound, Mode};
use crate::config::{self, EngineKind};
use crate::engine;
use crate::engine::tensorrt::{Device, Gpu};

/// List cameras with their modes, microphones, GPUs and engines
///
/// The names that it shows are those that belong into the configuration; they stay the same after
/// replugging wherever the system knows such a name. Opens no camera and no microphone.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Everything that was found.
#[derive(Serialize)]
pub(super) struct Devices {
    cameras: Vec<CameraFound>,
    microphones: Vec<MicrophoneFound>,
    /// What keeps this user from cameras or sound cards, which are then missing above.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
    gpus: Vec<Gpu>,
    engines: Vec<EngineFound>,
}

/// A way to run the model.
#[derive(Serialize)]
struct EngineFound {
    /// Its word in the configuration.
    kind: &'static str,
    /// Whether it starts here.
    usable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    common.log_errors_only()?;
    let devices = found(common)?;
    super::print(&if arguments.json { super::json(&devices)? } else { devices.table() })
}

/// Looks for everything.
pub(super) fn found(common: &Common) -> Result<Devices, Failure> {
    // The only thing it needs of a configuration is where a library may lie; a wrong one is no obstacle.
    let config = common.find().map(|(config, _)| config).unwrap_or_default();
    Ok(Devices {
        cameras: capture::cameras().map_err(Failure::failed)?,
        microphones: capture::microphones(),
        refused: Nodes::here().refused,
        gpus: Device::first().and_then(|device| device.gpu()).into_iter().collect(),
        engines: engines(&config.engine),
    })
}

fn engines(config: &config::Engine) -> Vec<EngineFound> {
    let kinds = [("cpu", EngineKind::Cpu), ("tensorrt", EngineKind::TensorRt)];
    kinds
        .map(|(name, kind)| {
            let problem = engine::choose(&config::Engine { kind, ..config.clone() }).err();
            EngineFound { kind: name, usable: problem.is_none(), problem: problem.map(|e| e.to_string()) }
        })
        .into()
}

impl Devices {
    fn table(&self) -> String {
        let cameras = self.cameras.iter().map(camera).collect();
        let microphones = self.microphones.iter().map(microphone).collect();
        let gpus = self.gpus.iter().map(|gpu| {
            format!("  {}, compute capability {}, CUDA {}\n", gpu.name, gpu.compute_capability, gpu.driver)
        });
        let engines = self.engines.iter().map(|engine| {
            let problem =
                engine.problem.as_deref().map_or("usable".into(), |why| format!("not usable: {why}"));
            format!("  {:<10}{}\n", engine.kind, problem.replace('\n', "\n            "))
        });
        let refused = self.refused.iter().map(|refused| {
            section("Permissions", "", vec![format!("  {}; cure: {}\n", refused.problem, refused.cure)])
        });
        section("Cameras", "[camera.v4l2] device", cameras)
            + &section("Microphones", "[microphone.alsa] device", microphones)
            + &refused.collect::<String>()
            + &section("GPUs", "", gpus.collect())
            + &section("Engines", "[engine] kind", engines.collect())
    }
}

fn section(title: &str, key: &str, lines: Vec<String>) -> String {
    let key = if key.is_empty() { String::new() } else { format!(" (for {key})") };
    let lines = if lines.is_empty() { "  none\n".into() } else { lines.concat() };
    format!("{title}{key}\n{lines}\n")
}

/// What is said of a camera that [camera.v4l2] cannot use.
const SENSOR: &str = "      a CSI sensor, of no use for [camera.v4l2]: set [camera] source = \"csi\"\n";

fn camera(camera: &CameraFound) -> String {
    let now =
        if camera.device == camera.node { String::new() } else { format!(" ({})", camera.node.display()) };
    let modes: String = camera.modes.iter().map(mode).collect();
    let sensor = if camera.is_bare_sensor() { SENSOR } else { "" };
    format!("  {}\n    {}{now}\n{sensor}{modes}", camera.name, camera.device.display())
}

fn mode(mode: &Mode) -> String {
    let rates: Vec<String> = mode.framerates.iter().map(|rate| format!("{rate:.4}")).collect();
    let rates = rates.iter().map(|rate| rate.trim_end_matches('0').trim_end_matches('.'));
    let rates = rates.collect::<Vec<_>>().join(", ");
    format!("      {:<12}{} x {} at {rates}/s\n", mode.format, mode.width, mode.height)
}

fn microphone(microphone: &MicrophoneFound) -> String {
    let MicrophoneFound { device, description, stable } = microphone;
    let mark = if *stable { "stable name" } else { "" };
    format!("  {}\n", format!("{device:<34}{mark:<13}{description}").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Devices {
        Devices { cameras: vec![], microphones: vec![], refused: None, gpus: vec![], engines: vec![] }
    }

    #[test]
    fn who_may_not_open_what_is_there_is_told_so_and_not_only_that_there_is_none() {
        let problem = "this user may not open /dev/video0".into();
        let devices = Devices { refused: Some(Refused { problem, cure: "`join`" }), ..nothing() };
        let table = devices.table();
        assert!(
            table.contains("Permissions\n  this user may not open /dev/video0; cure: `join`\n"),
            "{table}"
        );
        let json = serde_json::to_value(&devices).expect("JSON");
        assert_eq!(json["refused"]["cure"], "`join`", "{json}");
    }

    #[test]
    fn a_sensor_is_listed_with_the_source_that_can_use_it() {
        let mode =
            |format: &str| Mode { format: format.into(), width: 640, height: 480, framerates: vec![30.0] };
        let found = |modes| CameraFound {
            name: "imx219".into(),
            device: "/dev/video0".into(),
            node: "/dev/video0".into(),
            modes,
        };
        let sensor = camera(&found(vec![mode("video/x-bayer")]));
        assert!(sensor.contains("source = \"csi\""), "{sensor}");
        let webcam = camera(&found(vec![mode("YUY2"), mode("video/x-bayer")]));
        assert!(!webcam.contains("csi"), "{webcam}");
    }

    #[test]
    fn the_table_shows_what_belongs_into_the_configuration() {
        let mode = Mode { format: "YUY2".into(), width: 640, height: 480, framerates: vec![30.0, 29.97] };
        let camera = CameraFound {
            name: "Webcam".into(),
            device: "/dev/v4l/by-id/usb-Webcam".into(),
            node: "/dev/video0".into(),
            modes: vec![mode],
        };
        let (device, description) = ("plughw:CARD=Webcam,DEV=0".into(), "Webcam, USB Audio".into());
        let microphone = MicrophoneFound { device, description, stable: true };
        let devices = Devices { cameras: vec![camera], microphones: vec![microphone], ..nothing() };
        let table = devices.table();
        assert!(!table.contains("Permissions"), "nothing is kept from this user: {table}");
        for part in [
            "    /dev/v4l/by-id/usb-Webcam (/dev/video0)\n",
            "      YUY2        640 x 480 at 30, 29.97/s\n",
            "  plughw:CARD=Webcam,DEV=0          stable name  Webcam, USB Audio\n",
            "GPUs\n  none\n",
        ] {
            assert!(table.contains(part), "{part} is missing:\n{table}");
        }
    }
}
