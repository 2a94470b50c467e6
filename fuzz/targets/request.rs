//! Any bytes as the head of a web request: the answer is a whole one of HTTP.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tvsl::config::Config;
use tvsl::message::{ClassInfo, Info, ModelInfo};
use tvsl::monitor::Monitor;

static MONITOR: LazyLock<Monitor> = LazyLock::new(|| {
    let [red, something] = ["red", "something red"].map(String::from);
    Monitor::new(Info {
        schema: 1,
        revision: 0,
        device: "test".into(),
        version: "0".into(),
        model: ModelInfo { name: "tiny".into(), version: "1".into() },
        engine: "cpu".into(),
        classes: vec![ClassInfo { name: red.clone(), label: red, prompt: something }],
        lens: Config::default().camera.lens,
        masked: 0.0,
        picture: None,
    })
});

fuzz_target!(|head: &[u8]| {
    let answer = MONITOR.reply(head);
    let text = std::str::from_utf8(&answer).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    assert!(head.starts_with("HTTP/1.1 ") && (body.is_empty() || length.parse() == Ok(body.len())));
});
