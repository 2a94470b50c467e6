//! What the daemon tells over HTTP: figures that Prometheus' own parser reads, and no request that harms it.

mod broker;
mod daemon;
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use broker::{Broker, OPEN, free_port};
use daemon::{Daemon, PATIENCE, Place, hum, red};
use serde_json::Value;

/// A daemon that listens, and its port.
struct Service {
    daemon: Daemon,
    port: u16,
    place: Place,
}

impl Service {
    /// One that plays a clip for ever.
    fn playing() -> Self {
        let place = Place::new();
        let clip = place.path("clip.mkv");
        let streams = format!("{} ! queue ! m. {} ! queue ! m.", red(3), hum(3));
        support::make(&format!("{streams} matroskamux name=m ! filesink"), &clip);
        Self::new(place, |place, more| place.plays(&clip, more))
    }

    fn new(place: Place, config: impl Fn(&Place, &str) -> std::path::PathBuf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let more = format!("[mqtt]\nenabled = false\n[monitor]\nport = {port}\n");
        let daemon = Daemon::start(&config(&place, &more));
        daemon.log.find(|line| line.contains("/metrics"));
        Self { daemon, port, place }
    }

    /// Sends `request` as it stands; gives what comes back.
    fn say(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and its end");
        answer
    }

    /// Status and body of a page.
    fn get(&self, path: &str) -> (u16, String) {
        let answer = self.say(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.to_lowercase().contains(&format!("content-length: {}", body.len())), "{head}");
        (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.into())
    }

    /// Asks for a page until it is as `wanted`.
    fn until(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let (code, body) = self.get(path);
            if wanted(code, &body) {
                return body;
            }
            assert!(began.elapsed() < PATIENCE, "{path} stays {code}: {body}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The samples of a page as the reference parser reads them, `name{labels}` to value.
fn parsed(page: &str) -> Option<Value> {
    const PARSER: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
key = lambda s: s.name + ''.join(f' {k}={v}' for k, v in sorted(s.labels.items()))
families = list(text_string_to_metric_families(sys.stdin.read()))
print(json.dumps({key(sample): sample.value for family in families for sample in family.samples}))
";
    // Debian's, which its packages are for.
    let python = "/usr/bin/python3";
    let found = Command::new(python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("skipped: python3-prometheus-client absent (make setup-test installs it)");
        return None;
    }
    let mut parser = Command::new(python)
        .args(["-c", PARSER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    parser.stdin.take().expect("its input").write_all(page.as_bytes()).expect("it reads");
    let output = parser.wait_with_output().expect("its end");
    assert!(output.status.success(), "the page is wrong:\n{page}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn figures_status_and_verdicts_can_be_read() {
    let service = Service::playing();
    service.until("/ready", |code, _| code == 200);
    assert_eq!(service.get("/health").0, 200);
    let page = service.until("/metrics", |_, page| page.contains("tvsl_events_started_total{class=\"red\"}"));
    if let Some(figures) = parsed(&page) {
        let figure = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("no {name} in\n{page}"));
        let frames = figure("tvsl_frames_analysed_total");
        assert!(frames >= 1.0 && figure("tvsl_stage_seconds_count stage=total") == frames, "{page}");
        assert_eq!(figure("tvsl_stage_seconds_bucket le=+Inf stage=image"), frames, "{page}");
        assert!(figure("tvsl_capture_to_publish_seconds_sum") > 0.0, "{page}");
        assert!(figure("tvsl_events_started_total class=red") >= 1.0, "{page}");
        assert!(figure("process_resident_memory_bytes") > 1e6, "{page}");
    }
    let (code, text) = service.get("/status");
    let status: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &status["device"], &status["ready"]), (200, &"test".into(), &true.into()), "{text}");
    assert!(status["frames"]["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{text}");
    assert!(status["latency"]["total"]["p99"].as_f64().is_some_and(|seconds| seconds > 0.0), "{text}");
}

#[test]
fn the_broker_the_drops_and_the_lost_sound_are_counted() {
    let (place, port) = (Place::new(), free_port());
    let broker = Broker::start(&place, port, OPEN);
    let service = Service::new(place, |place, more| {
        let more = more.replace("enabled = false", &format!("port = {port}"));
        place.config(&format!("[camera]\nsource = \"test\"\n[microphone]\nsource = \"none\"\n{more}"))
    });
    let page = service.until("/metrics", |_, page| {
        page.contains("\ntvsl_broker_connected 1\n")
            && page.contains("tvsl_part_state{part=\"broker\",state=\"ok\"} 1")
    });
    if let Some(figures) = parsed(&page) {
        assert_eq!(figures["tvsl_broker_connections_total"], 1.0, "{page}");
        let dropped =
            ["overflow", "refused"].map(|cause| format!("tvsl_messages_dropped_total cause={cause}"));
        let names = ["tvsl_queue_messages", "tvsl_messages_in_flight"].map(str::to_owned);
        for name in names.iter().chain(&dropped) {
            assert!(figures[name].is_number(), "no {name} in\n{page}");
        }
        for cause in ["slow", "sense_away", "closed", "failed", "disabled", "throttled"] {
            let name = format!("tvsl_frames_dropped_total cause={cause}");
            assert!(figures[&name].is_number(), "no {name} in\n{page}");
        }
        assert_eq!(figures["tvsl_sound_gaps_total"], 0.0, "{page}");
        assert_eq!(figures["tvsl_part_state part=machine state=failed"], 0.0, "{page}");
    }
    drop(broker);
    service.until("/metrics", |_, page| page.contains("tvsl_broker_connected 0"));
    service.until("/metrics", |_, page| page.contains("tvsl_part_state{part=\"broker\",state=\"failed\"} 1"));
    let status = service.until("/status", |_, page| page.contains("\"connected\": false"));
    assert!(status.contains(&format!("127.0.0.1:{port}: ")), "which one, and why: {status}");
    service.until("/ready", |code, _| code == 200); // sources are found whoever hears of them
}

#[test]
fn a_lost_camera_is_alive_but_not_ready() {
    let camera = "[camera]\nsource = \"v4l2\"\nv4l2.device = \"/dev/v4l/by-id/none\"\n[microphone]\nsource = \"none\"\n";
    let service = Service::new(Place::new(), |place, more| place.config(&format!("{camera}{more}")));
    service.daemon.log.find(|line| line.contains("trying again"));
    service.until("/ready", |_, missing| missing.contains("camera: camera /dev/v4l/by-id/none"));
    assert_eq!((service.get("/ready").0, service.get("/health").0), (503, 200));
    if let Some(figures) = parsed(&service.get("/metrics").1) {
        assert_eq!(figures["tvsl_part_state part=camera state=failed"], 1.0);
        assert_eq!(figures["tvsl_part_losses_total part=camera"], 1.0);
    }
}

#[test]
fn what_is_switched_off_is_not_ready_and_has_no_level() {
    let text = |more: &str, on: bool| {
        format!(
            "[camera]\nsource = \"test\"\n[microphone]\nsource = \"media\"\n{more}[detection]\nenable = {on}\n"
        )
    };
    let service = Service::new(Place::new(), |place, more| place.config(&text(more, false)));
    let switch = |on| {
        let more = format!("[mqtt]\nenabled = false\n[monitor]\nport = {}\n", service.port);
        service.place.config(&text(&more, on));
        service.daemon.signal("HUP");
    };
    let level = |page: &str| page.contains("\ntvsl_sound_level_dbfs ");
    for _ in 0..2 {
        service.until("/ready", |code, told| {
            let told: Value = serde_json::from_str(told).expect("JSON");
            code == 503 && told["missing"] == serde_json::json!(["switched off"])
        });
        let page = service.get("/metrics").1;
        assert!(page.contains("\ntvsl_ready 0\n") && !level(&page), "{page}");
        assert!(!service.get("/status").1.contains("level_dbfs"));
        switch(true);
        service.until("/ready", |code, _| code == 200);
        service.until("/metrics", |_, page| level(page));
        switch(false);
    }
}

#[test]
fn bad_requests_are_refused_and_change_nothing() {
    let mut service = Service::playing();
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(100_000));
    let bad: [(&[u8], &str); 6] = [
        (b"\0\xff\r\n\r\n", "400"),
        (b"GET metrics HTTP/1.1\r\n\r\n", "400"),
        (b"GET /nothing HTTP/1.1\r\n\r\n", "404"),
        (b"DELETE /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\nsomething", "405"),
        (b"GET /metrics HTTP/3\r\n\r\n", "505"),
        (long.as_bytes(), "431"),
    ];
    for (request, code) in bad {
        let answer = service.say(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{code}: {answer}");
    }
    let head = service.say(b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "a head without a body: {head}");
    // Connections that never ask are let go: others are heard at once, and only few are held.
    let mute: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, service.port)).expect("a connection"))
        .collect();
    assert_eq!(service.get("/health").0, 200);
    let files = std::fs::read_dir(format!("/proc/{}/fd", service.daemon.process.id())).expect("its files");
    assert!(files.count() < 200);
    drop(mute);
    service.daemon.signal("TERM");
    assert!(service.daemon.end().success());
}

/// The addresses at which a process listens, as the kernel writes them.
fn listens(process: u32) -> Vec<String> {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).expect("its files").flatten();
    let own: Vec<String> = files
        .filter_map(|file| std::fs::read_link(file.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["tcp", "tcp6"]
        .map(|table| std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines());
    let columns = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
    // Local address, state (0A: it listens) and inode.
    let open = columns.filter(|row| row.len() > 9 && row[3] == "0A" && own.iter().any(|own| own == row[9]));
    open.map(|row| row[1].to_owned()).collect()
}

#[test]
fn it_does_not_listen_unless_configured() {
    assert_eq!(tvsl::config::Config::default().monitor.listens(), None);
    let service = Service::playing();
    let port = format!("0100007F:{:04X}", service.port);
    assert_eq!(listens(service.daemon.process.id()), [port], "127.0.0.1 and nowhere else");
    let place = Place::new();
    let port = free_port();
    let _broker = Broker::start(&place, port, OPEN);
    let silent =
        Daemon::start(&place.plays(&service.place.path("clip.mkv"), &format!("[mqtt]\nport = {port}\n")));
    silent.messages.find(|line| line.contains("\"red\""));
    silent.log.find(|line| line.contains("broker"));
    let open = listens(silent.process.id());
    assert!(open.is_empty(), "{open:?}");
}
