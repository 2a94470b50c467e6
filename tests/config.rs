//! The configuration: the shipped file is the default, and every mistake is named with its place and cure.

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

/// A mistake, and the words that a user must find in the answer.
const MISTAKES: &[(&str, &[&str])] = &[
    // Keys.
    ("[camera]\nsorce = \"file\"", &["tvsl.toml:2:1: camera.sorce: unknown key", "did you mean `source`?"]),
    ("[camra]\nrate = 1", &["tvsl.toml:1:2: camra: unknown section", "did you mean `camera`?"]),
    ("[mqtt]\nhostname = \"a\"", &["mqtt.hostname: unknown key", "did you mean `host`?"]),
    ("[camera]\nurl = \"rtsp://a\"", &["camera.url: unknown key", "`url` belongs in [camera.rtsp]"]),
    ("[microphone]\ndevice = \"hw:0\"", &["`device` belongs in [microphone.alsa]"]),
    ("port = 1883", &["tvsl.toml:1:1: port: unknown key", "`port` belongs in [monitor] or [mqtt]"]),
    ("[log]\nzzz = 1", &["log.zzz: unknown key", "keys of [log]: `level`, `format`"]),
    ("[detection.thresholds.dog]\np_w = 0.5", &["detection.thresholds.dog.p_w: unknown key"]),
    // Words.
    (
        "[camera]\nsource = \"v4l\"",
        &["tvsl.toml:2:10: camera.source: \"v4l\" is not known", "did you mean \"v4l2\"?"],
    ),
    ("[camera]\nsource = \"V4L2\"", &["did you mean \"v4l2\"?"]),
    (
        "[camera]\nsource = \"usb\"",
        &["expected \"v4l2\", \"csi\", \"rtsp\", \"file\", \"test\", \"pipeline\""],
    ),
    ("[microphone]\nsource = \"off\"", &["microphone.source: \"off\" is not known", "\"none\""]),
    ("[engine]\nkind = \"gpu\"", &["engine.kind: \"gpu\" is not known"]),
    (
        "[engine.tensorrt]\nrebuild = \"always\"",
        &["engine.tensorrt.rebuild: \"always\" is not known", "\"never\""],
    ),
    ("[engine.tensorrt]\nlost = \"gpu\"", &["engine.tensorrt.lost: \"gpu\" is not known", "\"exit\""]),
    (
        "[engine.tensorrt]\nprecision = \"fp8\"",
        &["engine.tensorrt.precision: \"fp8\" is not known", "\"fp16\""],
    ),
    (
        "[monitor]\naddress = \"localhost\"",
        &["monitor.address", "expected one in numbers, such as \"127.0.0.1\""],
    ),
    ("[log]\nlevel = \"warning\"", &["did you mean \"warn\"?"]),
    // Types.
    (
        "[mqtt]\nport = \"1883\"",
        &["mqtt.port: is the text \"1883\", expected a whole number", "without quotes: 1883"],
    ),
    ("[mqtt]\nhost = 10", &["mqtt.host: is the number 10, expected text in quotes", "in quotes: \"10\""]),
    (
        "[mqtt]\nenabled = \"true\"",
        &["mqtt.enabled: is the text \"true\", expected true or false", "quotes: true"],
    ),
    ("[mqtt]\nenabled = 1", &["mqtt.enabled: is the number 1, expected true or false"]),
    ("[camera]\nrate = true", &["camera.rate: is true, expected a number"]),
    ("[engine]\nthreads = 1.5", &["engine.threads: is the number 1.5, expected a whole number"]),
    ("[detection]\nclasses = \"dog\"", &["expected a list in brackets", "[\"dog\"]"]),
    ("[detection]\nclasses = [1]", &["detection.classes: is the number 1, expected text in quotes"]),
    ("camera = \"v4l2\"", &["tvsl.toml:1:10: camera: is the text \"v4l2\", expected a section of keys"]),
    ("[[log]]\nlevel = \"info\"", &["log: is a list, expected a section", "write [log] once"]),
    ("window = [0.1]", &["window: is a list, expected a section"]),
    ("[mqtt.port]\na = 1", &["mqtt.port: is a section, expected a whole number"]),
    (
        "[microphone.alsa]\nchannel = \"left\"",
        &["microphone.alsa.channel: is the text \"left\", expected \"mix\" or"],
    ),
    ("[microphone.alsa]\nchannel = -1", &["expected \"mix\" or the number of a channel"]),
    // Ranges.
    (
        "[camera]\nrate = 0",
        &["tvsl.toml:2:8: camera.rate: 0 is out of range, expected pictures in a second from 0.01"],
    ),
    ("[camera]\nrate = -5", &["camera.rate: -5 is out of range"]),
    ("[camera]\nrate = nan", &["camera.rate: NaN is out of range"]),
    ("[camera]\nthrottled_rate = -1", &["camera.throttled_rate: -1 is out of range"]),
    (
        "[service]\nstart_within = 300",
        &["service.start_within: 300 is out of range, expected seconds from 0 to 240"],
    ),
    ("[camera]\nrate = inf", &["camera.rate: inf is out of range"]),
    ("[camera.test]\nwidth = 0", &["camera.test.width: 0 is out of range, expected pixels from 16"]),
    ("[mqtt]\nport = 0", &["mqtt.port: 0 is out of range, expected a port from 1 to 65535"]),
    ("[mqtt]\nport = 70000", &["mqtt.port: 70000 is out of range"]),
    ("[mqtt]\npicture_kilobytes = 300", &["mqtt.picture_kilobytes: 300 is out of range", "from 4 to 250"]),
    ("[mqtt.store]\nevery = 0", &["mqtt.store.every: 0 is out of range, expected seconds from 0.1"]),
    ("[mqtt.store]\nmegabytes = 0", &["mqtt.store.megabytes: 0 is out of range, expected megabytes from 1"]),
    ("[mqtt.store]\nhours = -1", &["mqtt.store.hours: -1 is out of range, expected hours from 0.01"]),
    ("[mqtt]\nkeep_alive = 0", &["mqtt.keep_alive: 0 is out of range, expected seconds from 5"]),
    ("[engine]\nthreads = 0", &["engine.threads: 0 is out of range"]),
    (
        "[engine.tensorrt]\nworkspace = 8",
        &["engine.tensorrt.workspace: 8 is out of range, expected MiB from 16"],
    ),
    (
        "[engine.tensorrt]\nlevel = 6",
        &["engine.tensorrt.level: 6 is out of range, expected a level from 0 to 5"],
    ),
    (
        "[engine.tensorrt]\nkeep_warm = -0.1",
        &["engine.tensorrt.keep_warm: -0.1 is out of range, expected seconds from 0"],
    ),
    ("[window]\nmemory = -1", &["window.memory: -1 is out of range, expected seconds from 0"]),
    ("[window]\nwait = -1", &["window.wait: -1 is out of range, expected seconds from 0"]),
    ("[tracking]\nkeep = -1", &["tracking.keep: -1 is out of range, expected log-odds from 0 to 10"]),
    ("[tracking]\niou = 1.1", &["tracking.iou: 1.1 is out of range, expected a share from 0 to 1"]),
    ("[detection]\nsensitivity = 50", &["detection.sensitivity: 50 is out of range"]),
    ("[detection.thresholds]\ndog = { p = 70 }", &["detection.thresholds.dog.p: 70 is out of range"]),
    ("[detection.audio_floor]\ndog = -0.1", &["detection.audio_floor.dog: -0.1 is out of range"]),
    (
        "[microphone.alsa]\nrate = 16",
        &["microphone.alsa.rate: 16 is out of range", "or 0 for the device's choice"],
    ),
    // Texts.
    ("[model]\npath = \"\"", &["model.path: is empty, expected a path"]),
    ("[device]\nname = \"a/b\"", &["device.name: holds /, expected one level of a topic"]),
    ("[device]\nname = \"a+\"", &["device.name: holds the MQTT wildcard +"]),
    ("[mqtt]\nprefix = \"tvsl/#\"", &["mqtt.prefix: holds the MQTT wildcard #"]),
    (
        "[mqtt]\nprefix = \"tvsl/{devcie}\"",
        &["mqtt.prefix: holds a placeholder that is not known", "{device}"],
    ),
    ("[mqtt]\nprefix = \"/tvsl\"", &["mqtt.prefix: has an empty level"]),
    ("[mqtt]\nprefix = \"$SYS/tvsl\"", &["mqtt.prefix: starts with $"]),
    ("[mqtt]\nprefix = \"a\\u0000b\"", &["mqtt.prefix: holds the character"]),
    ("[mqtt]\nprefix = \"a\\uD800b\"", &["tvsl.toml:2:"]),
    ("[mqtt]\nhost = \"\"", &["mqtt.host: is empty"]),
    ("[mqtt]\nhost = \"mqtt://broker\"", &["mqtt.host: \"mqtt://broker\" is a URL, expected only the host"]),
    ("[mqtt]\nhost = \"broker:1883\"", &["mqtt.host: \"broker:1883\" holds a port", "the key port"]),
    ("[mqtt]\nhost = \"my broker\"", &["mqtt.host: \"my broker\" is no host"]),
    // Between keys.
    (
        "[microphone]\nsource = \"media\"",
        &[
            "tvsl.toml:2:10: microphone.source: \"media\" takes the camera's sound track, and a \"v4l2\" camera has none",
            "expected \"alsa\" or \"none\"",
        ],
    ),
    ("[camera]\nsource = \"csi\"\n[microphone]\nsource = \"media\"", &["a \"csi\" camera has none"]),
    (
        "[camera]\nsource = \"file\"",
        &["camera.file.path: is empty, but camera.source is \"file\"", "clip.mp4"],
    ),
    ("[camera]\nsource = \"rtsp\"", &["camera.rtsp.url: is empty", "rtsp://"]),
    ("[camera]\nsource = \"pipeline\"", &["camera.pipeline.launch: is empty"]),
    ("[camera.v4l2]\ndevice = \"\"", &["tvsl.toml:2:10: camera.v4l2.device: is empty"]),
    ("[camera.rtsp]\nurl = \"http://camera/\"", &["camera.rtsp.url: is no RTSP address", "expected rtsp://"]),
    ("[detection]\nclasses = [\"dog\", \"\"]", &["detection.classes: holds an empty name"]),
    // No TOML.
    ("[camera]\nrate = 7,5", &["tvsl.toml:2:9:", "decimals take a point: rate = 7.5"]),
    ("[camera]\nsource = file", &["tvsl.toml:2:", "text takes quotes: source = \"file\""]),
    ("[model]\npath = /opt/model", &["tvsl.toml:2:", "text takes quotes: path = \"/opt/model\""]),
    ("[mqtt]\nenabled = yes", &["tvsl.toml:2:", "expected enabled = true"]),
    ("[mqtt]\nenabled = True", &["tvsl.toml:2:", "expected enabled = true"]),
    ("[mqtt]\nhost = “broker”", &["tvsl.toml:2:", "plain quotes"]),
    ("[mqtt\nport = 1", &["tvsl.toml:1:6: unclosed table"]),
    ("[tracking]\niou = 1e300", &["tracking.iou: 1e300 is out of range"]),
    ("[mqtt]\nport = 1\nport = 2", &["tvsl.toml:3:1:", "duplicate key"]),
    ("[mqtt]\nhost = \"a", &["tvsl.toml:2:"]),
    ("[mqtt]\nport = 99999999999999999999", &["tvsl.toml:2:"]),
];

#[test]
fn every_mistake_is_named_with_its_place_and_cure() {
    let mut lacking = Vec::new();
    for (text, words) in MISTAKES {
        let told = complaint(text);
        let absent = words.iter().filter(|word| !told.contains(**word));
        lacking.extend(absent.map(|word| format!("{text}\n→ lacks: {word}\n{told}")));
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn the_line_is_shown_with_the_place_marked() {
    let told = complaint("# ä comment\n[camera]\nrate = 0  # pictures\n");
    let expected = "\
tvsl.toml:3:8: camera.rate: 0 is out of range, expected pictures in a second from 0.01 to 1000
   3 | rate = 0  # pictures
     |        ^
";
    assert_eq!(told, expected);
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let told = complaint("[mqtt]\nport = 0\nhots = \"a\"\n[camera]\nsource = \"v4l\"\nrate = \"x\"\n");
    let places = ["tvsl.toml:2:8", "tvsl.toml:3:1", "tvsl.toml:5:10", "tvsl.toml:6:8"];
    let found = places.map(|place| told.find(place).unwrap_or_else(|| panic!("{place} is missing:\n{told}")));
    assert!(found.is_sorted(), "{told}");
    let told = complaint("a = ,\nb = ,\n");
    assert!(told.contains("tvsl.toml:1:") && told.contains("tvsl.toml:2:"), "{told}");
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_do_no_harm() {
    assert_eq!(accepted("\u{FEFF}[mqtt]\r\nport = 1884\r\n").mqtt.port, 1884);
    let told = complaint("[mqtt]\r\nport = 0\r\n");
    assert!(told.contains("tvsl.toml:2:8: mqtt.port") && told.contains("   2 | port = 0\n"), "{told:?}");
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        Config::load(&path).expect_err(name).to_string()
    };
    let binary = file("binary.toml", b"[mqtt]\nhost = \"\xff\"\n");
    assert!(
        binary.ends_with("binary.toml:2: is not text in UTF-8 (byte 0xff); save it as UTF-8"),
        "{binary}"
    );
    let huge = file("huge.toml", &vec![b'#'; 2 << 20]);
    assert!(huge.contains("is larger than 1048576 bytes; is it the right file?"), "{huge}");
    let absent = Config::load(&folder.path().join("absent.toml")).expect_err("absent").to_string();
    assert!(absent.contains("absent.toml: cannot be read: No such file"), "{absent}");
    let directory = Config::load(folder.path()).expect_err("a folder").to_string();
    assert!(directory.contains("cannot be read: Is a directory"), "{directory}");
    let endless = Config::load(Path::new("/dev/zero")).expect_err("endless").to_string();
    assert!(endless.contains("is larger than"), "{endless}");
}

#[test]
fn the_same_fault_is_told_once() {
    let told = complaint(&format!("x = {}", "[".repeat(200_000)));
    assert_eq!(told.matches("unclosed array").count(), 1, "{told}");
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
fn a_user_has_one_name_and_a_password_has_a_user() {
    assert!(complaint("[mqtt]\npassword_file = \"p\"").contains("set username or username_file too"));
    assert_eq!(accepted("[mqtt]\nusername_file = \"u\"\npassword_file = \"p\"").mqtt.username, "");
    let both = complaint("[mqtt]\nusername = \"hall\"\nusername_file = \"u\"");
    assert!(both.contains("stands beside username"), "{both}");
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
