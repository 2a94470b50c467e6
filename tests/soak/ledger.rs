//! What subscribers were told, held to what docs/mqtt.md promises.

use std::collections::HashMap;

use serde_json::Value;

/// Everything that was told, and everything in it that must not be.
#[derive(Default)]
pub struct Ledger {
    devices: HashMap<String, Told>,
    /// The latest payload of every other topic, and how many there were.
    latest: HashMap<String, (u64, Value)>,
    /// How often the broker forgot the subscriber.
    pub sessions: u32,
    pub messages: u64,
    /// Broken promises.
    pub wrong: Vec<String>,
}

/// What one device told.
#[derive(Default)]
pub struct Told {
    pub events: Numbers,
    pub detections: Numbers,
    /// When the pictures of its detections were captured, Unix seconds, as they came.
    pub captured: Vec<f64>,
    /// What each event said, by run and number.
    said: HashMap<(String, u64), String>,
    lives: HashMap<String, Life>,
    /// The broker lost what was told before then, Unix seconds: those sources may lack a start or an end.
    excused: f64,
}

/// The sequence numbers of one topic.
#[derive(Default)]
pub struct Numbers {
    last: HashMap<String, u64>,
    run: String,
    /// The broker has lost its state since the last message.
    forgotten: bool,
    pub told: u64,
    pub repeats: u64,
    pub jumps: u64,
    pub dropped: u64,
}

#[derive(Default)]
struct Life {
    /// Unix seconds.
    started: f64,
    ends: u32,
}

impl Ledger {
    /// Takes a line of the subscriber.
    pub fn hear(&mut self, line: &str) {
        if line == "ready" {
            self.sessions += 1;
            for told in self.devices.values_mut() {
                (told.events.forgotten, told.detections.forgotten) = (true, true);
            }
            return;
        }
        if line == "away" {
            return;
        }
        self.messages += 1;
        let (path, payload) = line.split_once(' ').unwrap_or((line, ""));
        let mut levels = path.splitn(3, '/');
        let (Some("tvsl"), Some(device), Some(topic)) = (levels.next(), levels.next(), levels.next()) else {
            return self.wrong.push(line.into());
        };
        let value = serde_json::from_str(payload).unwrap_or_else(|_| Value::from(payload));
        let judged = match topic {
            "events" => self.devices.entry(device.into()).or_default().event(&value),
            "detections" => self.devices.entry(device.into()).or_default().detection(&value),
            _ => {
                let latest = self.latest.entry(path.into()).or_default();
                *latest = (latest.0 + 1, value);
                Ok(())
            }
        };
        self.wrong.extend(judged.err().map(|why| format!("{why}: {line}")));
    }

    pub fn told(&self, device: &str) -> Option<&Told> {
        self.devices.get(device)
    }

    /// Whether a device has told of a picture that was captured after `moment`.
    pub fn fresh(&self, device: &str, moment: f64) -> bool {
        self.told(device).is_some_and(|told| told.captured.last().is_some_and(|captured| *captured > moment))
    }

    /// Forgets when pictures were captured, except the last.
    pub fn forget_times(&mut self) {
        for told in self.devices.values_mut() {
            told.captured.drain(..told.captured.len().saturating_sub(1));
        }
    }

    /// How many payloads a topic had, and the latest.
    pub fn latest(&self, topic: &str) -> (u64, Value) {
        self.latest.get(topic).cloned().unwrap_or_default()
    }
}

impl Told {
    fn event(&mut self, event: &Value) -> Result<(), String> {
        if event["missed"] != 0 {
            return Err("an event was dropped".into());
        }
        let (jumps, number) = (self.events.jumps, event["sequence"].as_u64().unwrap_or_default());
        let key = (text(&event["run"]).to_owned(), number);
        let says = format!("{} {}", event["event"], event["source"]["id"]);
        if !self.events.take(event)? {
            let same = self.said.get(&key).is_some_and(|said| *said == says);
            return same.then_some(()).ok_or("another event than before under its number".into());
        }
        self.said.insert(key, says);
        if self.events.jumps > jumps {
            self.excused = event["published"].as_f64().unwrap_or_default();
        }
        self.live(event)
    }

    /// The life of the event's source: one start, and one end after it.
    fn live(&mut self, event: &Value) -> Result<(), String> {
        let id = text(&event["source"]["id"]);
        let started = event["source"]["started"].as_f64().ok_or("no time of start")?;
        // Its start or its own end may have fallen into the last interval before a crash; then the next run ends it.
        let interrupted = event["event"] == "end" && event["interrupted"] == true;
        match (event["event"] == "start", self.lives.contains_key(id)) {
            (true, true) => return Err("started twice".into()),
            (false, false) if started >= self.excused && !interrupted => return Err("never started".into()),
            _ => {}
        }
        let life = self.lives.entry(id.into()).or_insert(Life { started, ends: 0 });
        if life.ends > 0 && !(interrupted && life.ends == 1) {
            return Err("goes on after its end".into());
        }
        life.ends += u32::from(event["event"] == "end");
        Ok(())
    }

    fn detection(&mut self, message: &Value) -> Result<(), String> {
        if self.detections.take(message)? {
            self.captured.push(message["frame"]["captured"].as_f64().ok_or("no stamp")?);
        }
        Ok(())
    }

    pub fn sources(&self) -> usize {
        self.lives.len()
    }

    /// Whether the start of a source was told.
    pub fn knows(&self, id: &str) -> bool {
        self.lives.contains_key(id)
    }

    /// Sources without an end whose id does not begin with `run`.
    pub fn open(&self, run: &str) -> Vec<&str> {
        let open = |(id, life): &(&String, &Life)| {
            life.ends == 0 && life.started >= self.excused && !id.starts_with(run)
        };
        self.lives.iter().filter(open).map(|(id, _)| id.as_str()).collect()
    }

    /// The run that told last.
    pub fn run(&self) -> &str {
        &self.events.run
    }

    pub fn runs(&self) -> usize {
        self.events.last.len()
    }
}

impl Numbers {
    /// Takes a message; gives whether it is new.
    fn take(&mut self, message: &Value) -> Result<bool, String> {
        let run = text(&message["run"]);
        let number = message["sequence"].as_u64().ok_or("no number")?;
        let missed = message["missed"].as_u64().ok_or("nothing of what was missed")?;
        let forgotten = std::mem::take(&mut self.forgotten);
        let last = self.last.entry(run.into()).or_default();
        if number <= *last {
            self.repeats += 1;
            return Ok(false);
        }
        let between = number - *last - 1;
        let known = *last;
        *last = number;
        self.run = run.into();
        self.told += 1;
        self.dropped += missed;
        if between > missed {
            if !forgotten {
                return Err(format!("number {number} comes right after {known}"));
            }
            self.jumps += 1;
        }
        Ok(true)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
