//! Any bytes written to `set/KEY`, one wish after another: what is taken outlasts a restart, and a decision follows from it.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tvsl::config::{Config, Overrides};
use tvsl::message::one_line;
use tvsl::model::{Decision, Manifest, Score};

static MODEL: LazyLock<Manifest> = LazyLock::new(|| {
    let text = include_str!("../../tests/data/tiny/manifest.toml");
    Manifest::parse(text, Path::new("manifest.toml")).expect("the tests' model")
});

fuzz_target!(|wishes: Vec<(u8, &[u8])>| {
    let mut overrides = Overrides::default();
    for (key, payload) in wishes {
        let changed = overrides.with(Overrides::KEYS[usize::from(key) % Overrides::KEYS.len()], payload);
        match changed.and_then(|changed| decide(&changed).map(|()| changed)) {
            Ok(changed) => {
                let saved = serde_json::to_vec(&changed).expect("settings are JSON");
                assert_eq!(serde_json::from_slice::<Overrides>(&saved).expect("they are read again"), changed);
                overrides = changed;
            }
            Err(why) => assert!(!why.is_empty() && !one_line(&why).contains(char::is_control)),
        }
    }
});

/// What the daemon does with settings: whatever they are, what is surely heard and seen is told if it is asked for.
fn decide(overrides: &Overrides) -> Result<(), String> {
    let config = overrides.over(&Config::default());
    let decision = Decision::new(&MODEL, &config.detection, None).map_err(|error| error.to_string())?;
    let asked = &config.detection.classes;
    let sure = |class| Score { class, p: 1.0, p_audio: 1.0, p_visual: 1.0 };
    let scores: Vec<Score> = (0..MODEL.classes.len()).map(sure).collect();
    let told = decision.keeping(config.tracking.keep).select(&scores, 0.0, &[0]);
    let wanted = |score: &&Score| asked.is_empty() || asked.contains(&MODEL.classes[score.class].name);
    assert_eq!(told.len(), scores.iter().filter(wanted).count(), "{overrides:?}");
    Ok(())
}
