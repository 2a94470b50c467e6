//! Every mistake in a configuration is named with its place and its cure.

use std::fs;
use std::path::Path;

use tvsl::config::{Config, ConfigError};

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("tvsl.toml"))
}

/// What a user reads about `text`.
fn complaint(text: &str) -> String {
    read(text).expect_err(text).to_string()
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
    ("[mqtt]\ntsl.enabled = true", &["tvsl.toml:2:1: mqtt.tsl: unknown section", "did you mean `tls`?"]),
    ("[camera.lens]\nxf = 500", &["camera.lens.xf: unknown key", "did you mean `fx`?"]),
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
    ("[camera]\nrate = [1]", &["camera.rate: is a list, expected a number"]),
    ("[camera]\nrate = { a = 1 }", &["camera.rate: is a section, expected a number"]),
    ("[mqtt]\nenabled = [true]", &["mqtt.enabled: is a list, expected true or false"]),
    ("[mqtt]\nhost = [\"a\"]", &["mqtt.host: is a list, expected text in quotes"]),
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
    ("[mqtt]\nprefix = \" \"", &["mqtt.prefix: has a level that is blank"]),
    ("[mqtt]\nprefix = \"tvsl/ {device}\"", &["mqtt.prefix: has a level that is blank, or has a space"]),
    ("[mqtt]\nclient_id = \" \"", &["mqtt.client_id: is blank"]),
    ("[device]\nname = \"hall\u{200b}\"", &["device.name: holds the character"]),
    ("[mqtt.home_assistant]\nformer = [\"attic\", \"a/b\"]", &["former: \"a/b\" holds /"]),
    ("[mqtt.home_assistant]\nformer = [\"\"]", &["former: \"\" is blank"]),
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
    assert_eq!(told.matches("tvsl.toml:").count(), 1, "{told}");
    for (text, fault) in [
        ("[mqtt.tsl.x]\ny = 1", "tvsl.toml:1:7: mqtt.tsl: unknown section `tsl`\n"),
        ("[mqtt.tsl.x]\n[mqtt.tsl.y]", "tvsl.toml:1:7: mqtt.tsl: unknown section `tsl`\n"),
        ("[mqtt]\ntsl.x.y = 1", "tvsl.toml:2:1: mqtt.tsl: unknown section `tsl`\n"),
        ("[a.b.c]", "tvsl.toml:1:2: a: unknown section `a`\n"),
        ("[a.a.a]\na = 1", "tvsl.toml:1:2: a: unknown section `a`\n"),
        (
            "[detection.thresholds.dog.p_w.x]",
            "tvsl.toml:1:27: detection.thresholds.dog.p_w: unknown section `p_w`\n",
        ),
    ] {
        let told = complaint(text);
        assert_eq!(told.matches("tvsl.toml:").count(), 1, "{text}: {told}");
        assert!(told.starts_with(fault), "{text}: {told}");
    }
}

#[test]
fn a_slip_is_mended_and_nothing_else_is_taken_for_one() {
    for (text, silly) in [("[engine]\nkind = \"gpu\"", "cpu"), ("[mqtt.x]\na = 1", "tls"), ("[abc]", "log")] {
        let told = complaint(text);
        assert!(!told.contains("did you mean"), "{silly} is no slip: {told}");
    }
}

#[test]
fn what_is_too_much_to_be_told_is_counted() {
    let text = |wrong: usize| (0..wrong).map(|n| format!("x{n} = 1\n")).collect::<String>();
    let lines = |text: &str| complaint(text).matches("tvsl.toml:").count();
    let last = |text: &str| complaint(text).lines().last().unwrap_or("").to_owned();
    assert_eq!(lines(&text(20)), 20);
    assert_eq!(
        (lines(&text(21)), last(&text(21))),
        (21, "tvsl.toml: has 1 more fault; is it the right file?".into())
    );
    let told = complaint(&text(40));
    assert!(told.starts_with("tvsl.toml:1:1: ") && told.contains("\ntvsl.toml:20:1: "), "the first: {told}");
    assert!(told.ends_with("\ntvsl.toml: has 20 more faults; is it the right file?\n"), "{told}");
    // Each of them costs a reading of the file.
    assert_eq!(last(&text(1000)), "tvsl.toml: has at least 30 more faults; is it the right file?");
    // What breaks a rule, and what is no TOML, count as well.
    let rules = format!("{}[mqtt]\nhost = \"\"\n", text(20));
    assert_eq!(last(&rules), "tvsl.toml: has 1 more fault; is it the right file?");
    assert_eq!(last(&"a = ,\n".repeat(25)), "tvsl.toml: has 5 more faults; is it the right file?");
}

/// The dotted names of the shipped file's keys, and of its sections that have none.
fn keys(table: &toml::Table, section: &str) -> Vec<String> {
    let below = |(name, value): (&String, &toml::Value)| match value {
        toml::Value::Table(inner) if !inner.is_empty() => keys(inner, &format!("{section}{name}.")),
        _ => vec![format!("{section}{name}")],
    };
    table.iter().flat_map(below).collect()
}

#[test]
fn a_list_or_a_section_in_place_of_any_value_is_told_without_the_words_of_the_parser() {
    const JARGON: &str = "sequence map newtype unit struct variant tuple option enum identifier byte f64 i64 u64 usize untagged";
    let mut odd = Vec::new();
    for key in keys(&toml::from_str(Config::BUILT_IN).expect("TOML"), "") {
        for value in ["[1]", "[[]]", "[\"a\"]", "[{ a = 1 }]", "{}", "{ a = 1 }", "{ a = [1] }", "{ a = {} }"]
        {
            let Err(error) = read(&format!("{key} = {value}\n")) else { continue };
            let told = error.to_string();
            let first = told.lines().next().unwrap_or("");
            let told = first.split_once(&format!("{key}: ")).map_or(first, |(_, told)| told);
            let mut words = told.split(|c: char| !c.is_alphanumeric());
            let jargon = words.find(|word| JARGON.split(' ').any(|theirs| theirs == *word));
            odd.extend(jargon.map(|word| format!("{word}: {first}")));
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
}
