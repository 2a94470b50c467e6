//! Any bytes written to `set/KEY`, one wish after another: what is taken outlasts a restart.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tvsl::config::{Config, Overrides};
use tvsl::message::one_line;

fuzz_target!(|wishes: Vec<(u8, &[u8])>| {
    let mut overrides = Overrides::default();
    for (key, payload) in wishes {
        match overrides.with(Overrides::KEYS[usize::from(key) % Overrides::KEYS.len()], payload) {
            Ok(changed) => {
                let _ = changed.over(&Config::default());
                let saved = serde_json::to_vec(&changed).expect("settings are JSON");
                assert_eq!(serde_json::from_slice::<Overrides>(&saved).expect("they are read again"), changed);
                overrides = changed;
            }
            Err(why) => assert!(!why.is_empty() && !one_line(&why).contains(char::is_control)),
        }
    }
});
