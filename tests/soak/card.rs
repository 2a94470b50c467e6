//! The sound card that one device hears: it plays what its camera's stream does, and is lost in every way that a card is.

use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::cards::test_cards_and;
use crate::faults::seconds;
use crate::scene::RATE;
use crate::stage::{Stage, now};
use crate::support::Folder;

/// The card's name.
pub const CARD: &str = "scene";

pub struct Card {
    folder: Folder,
    /// For `ALSA_CONFIG_PATH`.
    cards: PathBuf,
}

impl Card {
    /// One that plays the samples in the file `sound`.
    pub fn new(sound: &Path) -> Self {
        let folder = Folder::new("soak-card");
        let format = format!("type tvsltest format \"S16_LE\" rate {RATE} channels 1");
        let card = format!("pcm.{CARD} {{ {format} file \"{}\" }}\n", sound.display());
        let cards = test_cards_and(&folder, &card);
        Self { folder, cards }
    }

    /// For a daemon that shall see it.
    pub fn environment(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("ALSA_CONFIG_PATH", self.cards.clone()),
            ("TVSL_TEST_UNPLUGGED", self.folder.join("unplugged")),
            ("TVSL_TEST_HANGS", self.folder.join("hangs")),
            ("TVSL_TEST_SOUND", self.folder.join("sound")),
        ]
    }

    /// Has it do as `word` in that file says, from now on.
    fn tell(&self, file: &str, word: &str) {
        self.folder.file(file, word.as_bytes());
    }

    /// Takes that back.
    fn forget(&self, file: &str) {
        std::fs::remove_file(self.folder.join(file)).expect("it was told");
    }
}

/// The microphone's health is this within the time that everything has.
fn becomes(stage: &mut Stage, state: &str) -> Result<(), String> {
    let health = |stage: &mut Stage| stage.ledger.latest("tvsl/steady/health/microphone").1["state"] == state;
    stage.until(&format!("the microphone is {state}"), health).map(drop)
}

/// A fault that makes the microphone `state`; from then on until it is over, in up to `most` seconds, nothing is told.
fn deaf(
    stage: &mut Stage,
    random: &mut Rng,
    (file, word, state): (&str, &str, &str),
    most: f64,
) -> Result<(), String> {
    stage.card.tell(file, word);
    becomes(stage, state)?;
    let deaf = now();
    stage.listen(seconds(random, 1.0, most))?;
    stage.away(deaf, now());
    stage.card.forget(file);
    becomes(stage, "ok")
}

pub fn pulled_out(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    deaf(stage, random, ("unplugged", "pulled", "failed"), 15.0)
}

/// It is there, says nothing of what ails it, and opens no more.
pub fn falls_silent(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    deaf(stage, random, ("unplugged", "", "failed"), 15.0)
}

pub fn hangs(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.card.tell("hangs", "");
    stage.card.tell("unplugged", "pulled");
    becomes(stage, "failed")?;
    let deaf = now();
    stage.card.forget("unplugged");
    stage.listen(seconds(random, 1.0, 15.0))?;
    stage.away(deaf, now());
    stage.card.forget("hangs");
    becomes(stage, "ok")
}

pub fn digital_silence(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    deaf(stage, random, ("sound", "silent", "degraded"), 8.0)
}

pub fn never_read_in_time(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    deaf(stage, random, ("sound", "busy", "failed"), 8.0)
}

/// Now and then, and what lies between is still told.
pub fn overruns(stage: &mut Stage, random: &mut Rng) -> Result<(), String> {
    stage.card.tell("sound", "late");
    becomes(stage, "degraded")?;
    stage.listen(seconds(random, 1.0, 8.0))?;
    stage.card.forget("sound");
    becomes(stage, "ok")
}
