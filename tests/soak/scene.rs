//! A network camera whose scene never ends: part of the demonstration clip, again and again without a step in time. Both
//! that sound are to be seen all the while, so a card may play them at another moment.

use std::path::Path;

use crate::support;

/// Seconds of the clip: a cat that meows, a person who sneezes, and both, with quiet between them.
const PART: std::ops::Range<usize> = 3..24;
/// Samples of its sound in a second.
pub const RATE: usize = 48_000;

/// Decodes the part into `folder`, its sound as S16 samples into `sound.raw`; gives the launch line of a server that streams it at 10 pictures a second for ever.
pub fn launch(folder: &Path) -> String {
    let clip = "filesrc location=demo/clip.webm ! decodebin !";
    let pictures = "videoconvert ! videorate ! video/x-raw,framerate=10/1 ! jpegenc ! multifilesink";
    let (numbered, sound) = (folder.join("%05d.jpg"), folder.join("sound.raw"));
    support::make(&format!("{clip} {pictures}"), &numbered);
    let samples = format!("audio/x-raw,format=S16LE,rate={RATE},channels=1");
    support::make(&format!("{clip} audioconvert ! audioresample ! {samples} ! filesink"), &sound);
    let all = std::fs::read(&sound).expect("the sound");
    let bytes = PART.start * RATE * 2..PART.end * RATE * 2;
    std::fs::write(&sound, &all[bytes]).expect("room for a file");
    let (first, last) = (PART.start * 10, PART.end * 10 - 1);
    format!(
        "( multifilesrc location={} loop=true start-index={first} stop-index={last} caps=image/jpeg,framerate=10/1 ! \
         jpegdec ! videoconvert ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=4000 ! \
         rtph264pay name=pay0 pt=96 \
         multifilesrc location={} loop=true ! rawaudioparse format=pcm pcm-format=s16le sample-rate={RATE} num-channels=1 ! \
         audioconvert ! avenc_aac bitrate=192000 ! rtpmp4gpay name=pay1 pt=97 )",
        numbered.display(),
        sound.display()
    )
}
