//! The configuration: the shipped file is the default, and what differs is laid over it. Mistakes: config_mistakes.rs.

use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tvsl::config::{CameraSource, Channel, Config, ConfigError, MicrophoneSource};

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("tvsl.toml"))
}

fn accepted(text: &str) -> Config {
    read(text).unwrap_or_else(|error| panic!("refused: {text}\n{error}"))
}

/// What a user reads about `text`.
fn complaint(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_shipped_file_is_the_default() {
    assert_eq!(accepted(Config::BUILT_IN), Config::default());
}

/// No field has a default of its own: without the shipped file's line a key is missing. (Every key of the
/// types is therefore in the file; unknown ones are refused, so the file has no others.)
#[test]
fn every_key_of_the_types_is_in_the_shipped_file() {
    let whole: toml::Table = toml::from_str(Config::BUILT_IN).expect("TOML");
    let mut left_out = 0;
    for path in leaves(&whole, &[]) {
        let mut table = whole.clone();
        remove(&mut table, &path);
        let missing = table.try_into::<Config>().expect_err(&path.join(".")).to_string();
        let key = path.last().expect("a key");
        assert!(missing.contains(&format!("missing field `{key}`")), "{path:?}: {missing}");
        left_out += 1;
    }
    assert!(left_out > 30, "only {left_out} keys");
}

fn leaves(table: &toml::Table, path: &[String]) -> Vec<Vec<String>> {
    let deeper = |(key, value): (&String, &toml::Value)| {
        let path = [path, std::slice::from_ref(key)].concat();
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => leaves(inner, &path),
            _ => vec![path],
        }
    };
    table.iter().flat_map(deeper).collect()
}

fn remove(table: &mut toml::Table, path: &[String]) {
    match path {
        [first, rest @ ..] if !rest.is_empty() => {
            remove(table[first].as_table_mut().expect("a section"), rest);
        }
        [last, ..] => drop(table.remove(last)),
        [] => {}
    }
}

#[test]
fn every_key_of_the_shipped_file_is_commented() {
    let lines = Config::BUILT_IN.lines().collect::<Vec<_>>();
    let bare = lines.iter().enumerate().filter(|(n, line)| {
        let key = line.split_once('=').is_some_and(|(key, _)| !key.starts_with('#'));
        // Keys in a row share the comment above the first.
        let above = lines[..*n].iter().rev().find(|line| !line.contains('=') || line.starts_with('#'));
        key && !above.is_some_and(|line| line.starts_with('#'))
    });
    assert_eq!(bare.collect::<Vec<_>>(), Vec::<(usize, &&str)>::new());
}

/// Every TOML snippet of the documentation is a configuration that is accepted.
#[test]
fn the_snippets_of_the_documentation_are_right() {
    let text = fs::read_to_string(root().join("README.md")).expect("README.md");
    let snippets = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest));
    let mut count = 0;
    for snippet in snippets {
        accepted(snippet);
        count += 1;
    }
    assert!(count > 0, "README.md shows no configuration");
}

#[test]
fn a_file_holds_only_what_differs() {
    let config = accepted("camera.source = \"file\"\ncamera.file.path = \"a.mp4\"\n[tracking]\nhold = 2\n");
    assert_eq!(config.camera.source, CameraSource::File);
    assert_eq!(config.camera.file.path, PathBuf::from("a.mp4"));
    assert_eq!(config.tracking.hold, Duration::from_secs(2));
    assert_eq!(config.tracking.iou, Config::default().tracking.iou);
    assert_eq!(config.mqtt, Config::default().mqtt);
}

#[test]
fn names_are_filled_in() {
    let config = accepted("device.name = \"hall\"");
    assert_eq!(config.topic("detections"), "tvsl/hall/detections");
    assert_eq!(config.mqtt.client_id, "tvsl-hall");
    assert!(!Config::default().device.name.is_empty());
    let config = accepted("device.name = \"hall\"\n[mqtt]\nprefix = \"site/{device}/av\"\nclient_id = \"x\"");
    assert_eq!(
        (config.topic("status").as_str(), config.mqtt.client_id.as_str()),
        ("site/hall/av/status", "x")
    );
}

#[test]
fn a_channel_is_the_mix_or_a_number() {
    assert_eq!(accepted("microphone.alsa.channel = 3").microphone.alsa.channel, Channel::Index(3));
    assert_eq!(accepted("microphone.alsa.channel = \"mix\"").microphone.alsa.channel, Channel::Mix);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_do_no_harm() {
    assert_eq!(accepted("\u{FEFF}[mqtt]\r\nport = 1884\r\n").mqtt.port, 1884);
    let told = complaint("[mqtt]\r\nport = 0\r\n");
    assert!(told.contains("tvsl.toml:2:8: mqtt.port") && told.contains("   2 | port = 0\n"), "{told:?}");
}

#[test]
fn relative_paths_lead_beside_the_file_if_it_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tvsl.toml");
    fs::write(&path, "camera.source = \"file\"\ncamera.file.path = \"clip.mp4\"\n").expect("a file");
    assert_eq!(Config::load(&path).expect("right").camera.file.path, PathBuf::from("clip.mp4"));
    fs::write(folder.path().join("clip.mp4"), "").expect("a file");
    assert_eq!(Config::load(&path).expect("right").camera.file.path, folder.path().join("clip.mp4"));
}

#[test]
fn a_model_is_looked_for_beside_the_file_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, model) = (folder.path().join("tvsl.toml"), folder.path().join("engines/default"));
    fs::create_dir_all(&model).expect("a folder");
    fs::write(model.join("manifest.toml"), "").expect("a file");
    fs::write(&file, "").expect("a file");
    let mut config = Config::load(&file).expect("nothing is wrong with it");
    assert_eq!(config.model_dir().expect("the model beside the file"), model);
    config.model.path = "/absent/model".into();
    let told = config.model_dir().expect_err("absent").to_string();
    assert!(told.contains("no manifest.toml in /absent/model"), "{told}");
}

#[test]
fn passwords_stay_out_of_what_is_shown() {
    let shown = |url: &str| {
        let mut camera = Config::default().camera.rtsp;
        camera.url = url.into();
        camera.public_url()
    };
    assert_eq!(shown("rtsp://admin:p@ss@10.0.0.9/1?a=@"), "rtsp://***@10.0.0.9/1?a=***");
    assert_eq!(
        shown("rtsp://a:p?s@10.0.0.9/1?channel=2&pwd=x&y"),
        "rtsp://***@10.0.0.9/1?channel=***&pwd=***&***"
    );
    assert_eq!(shown("rtsp://10.0.0.9/1"), "rtsp://10.0.0.9/1");
    let told = complaint("[mqtt]\npassword = \"geheim\"\n");
    assert!(told.contains("unknown key `password`") && told.contains("2 | password = ***"), "{told}");
    assert!(!told.contains("geheim"), "{told}");
}

/// Values as people and accidents write them.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:?}")),
        "\\PC{0,12}".prop_map(|s| format!("{s:?}")),
        Just("[1, \"a\"]".into()),
        Just("{ p = 2, source = 3 }".into()),
        Just("1979-05-27".into()),
        "\\PC{0,8}",
    ]
}

/// The dotted names of all keys and sections of the shipped file, and some that are not there.
fn key() -> impl Strategy<Value = String> {
    let whole: toml::Table = toml::from_str(Config::BUILT_IN).expect("TOML");
    let mut keys = leaves(&whole, &[]).iter().map(|path| path.join(".")).collect::<Vec<_>>();
    keys.extend(
        ["camera", "mqtt.x", "detection.thresholds.dog", "detection.audio_floor.dog"].map(String::from),
    );
    proptest::sample::select(keys)
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}(\n\\PC{0,60}){0,4}") {
        let _ = read(&text);
    }

    #[test]
    fn no_value_makes_it_panic(lines in proptest::collection::vec((key(), value()), 1..8)) {
        let text = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect::<String>();
        match read(&text) {
            Ok(config) => {
                prop_assert!(config.camera.rate > 0.0 && config.mqtt.port > 0);
                prop_assert!(config.microphone.source != MicrophoneSource::Media || config.camera.source.has_sound());
            }
            Err(error) => prop_assert!(error.to_string().starts_with("tvsl.toml:"), "{error}"),
        }
    }
}

#[test]
fn a_lens_is_a_field_of_view_or_a_whole_calibration() {
    let whole = "[camera.lens]\nfx = 500\nfy = 500\ncx = 320\ncy = 240\nwidth = 640\nheight = 480";
    assert_eq!(accepted(whole).camera.lens.fx, 500.0);
    assert!(complaint("[camera.lens]\nfx = 500").contains("fy is not"));
    assert!(complaint(&format!("{whole}\nfield_of_view = 60")).contains("beside a field of view"));
    assert!(complaint("[camera.lens]\ndistortion = [0.1]").contains("four or five"));
}

#[test]
fn who_a_device_is_to_its_broker_stands_in_files_and_a_password_has_a_user() {
    assert!(complaint("[mqtt]\npassword_file = \"p\"").contains("set username_file too"));
    accepted("[mqtt]\nusername_file = \"u\"\npassword_file = \"p\"");
    for name in ["username", "password"] {
        let here = complaint(&format!("[mqtt]\n{name} = \"hall\""));
        assert!(here.contains(&format!("did you mean `{name}_file`")), "{here}");
    }
}

#[test]
fn a_mask_is_a_box_or_corners_and_anything_else_is_explained() {
    let masks =
        accepted("[detection]\nmasks = [[0, 0.2, 0.3, 0.7], [[0.8, 0], [1, 0], [1, 0.5]]]").detection.masks;
    assert_eq!(masks.len(), 2);
    for (point, hidden) in
        [([0.1, 0.5], true), ([0.1, 0.1], false), ([0.95, 0.2], true), ([0.85, 0.4], false)]
    {
        assert_eq!(masks.cover(point), hidden, "{point:?}");
    }
    for (wrong, told) in [
        ("[0.0, 0.0, 0.5, 1.0]", "mask 1: is no shape"),
        ("[[0.0, 0.0, 0.5]]", "mask 1: is no shape"),
        ("[[0.0, 0.0, 1.0, 1.0], [[0.0, 0.0], [0.5, 0.5]]]", "mask 2: has 2 corners"),
        (
            "[[0.0, 0.0, 640, 360]]",
            "mask 1: 640 is out of range, expected a share of the picture from 0 to 1",
        ),
        ("[[0.5, 0.0, 0.2, 1.0]]", "mask 1: encloses nothing, expected [left, top, right, bottom]"),
        ("\"left\"", "expected a list in brackets"),
    ] {
        let text = complaint(&format!("[detection]\nmasks = {wrong}"));
        assert!(text.starts_with("tvsl.toml:2:9: detection.masks: ") && text.contains(told), "{text}");
    }
}
