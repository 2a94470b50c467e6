//! Sound cards for tests: plug-ins of ALSA's own, of `card.c`, opened through the same code as real ones.
#![allow(dead_code, reason = "every test file uses a part")]

use std::path::PathBuf;
use std::process::Command;

use crate::support::Folder;

const CARDS: &str = "
pcm.s16 { type tvsltest format \"S16_LE\" rate 16000 channels 1 hint.description \"test card\" }
pcm.s32 { type tvsltest format \"S32_LE\" rate 48000 channels 2 hint.description \"test card\" }
pcm.float { type tvsltest format \"FLOAT_LE\" rate 44100 channels 2 hint.description \"test card\" }
pcm.plugged { type plug slave.pcm \"s32\" }
";

/// Builds the test cards into `folder`; gives the file for `ALSA_CONFIG_PATH`, with which ALSA sees them.
pub fn test_cards(folder: &Folder) -> PathBuf {
    test_cards_and(folder, "")
}

/// The same with more cards, in the words of ALSA's configuration.
pub fn test_cards_and(folder: &Folder, more: &str) -> PathBuf {
    let plug_in = folder.join("card.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cards/card.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-DPIC", "-O1", "-Wall", "-Werror", source, "-lasound", "-o"]).arg(&plug_in);
    assert!(cc.status().expect("a C compiler").success());
    let lines = format!(
        "</usr/share/alsa/alsa.conf>\npcm_type.tvsltest {{ lib \"{}\" }}\n{CARDS}{more}",
        plug_in.display()
    );
    folder.file("asound.conf", lines.as_bytes())
}
