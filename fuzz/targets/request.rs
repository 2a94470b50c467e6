//! Any bytes as the head of a web request: the answer is a whole one of HTTP.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tvsl::config::Config;
use tvsl::monitor::Monitor;

static MONITOR: LazyLock<Monitor> = LazyLock::new(|| {
    let model = json!({"name": "tiny", "version": "1"});
    let red = json!({"name": "red", "label": "red", "prompt": "something red"});
    let about = json!({"schema": 1, "revision": 0, "device": "test", "version": "0", "model": model, "engine": "cpu",
        "classes": [red], "lens": Config::default().camera.lens});
    Monitor::new(serde_json::from_value(about).expect("what `info` tells"))
});

fuzz_target!(|head: &[u8]| {
    let answer = MONITOR.reply(head);
    let text = std::str::from_utf8(&answer).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    assert!(head.starts_with("HTTP/1.1 ") && (body.is_empty() || length.parse() == Ok(body.len())));
});
