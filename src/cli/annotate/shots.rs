//! The pictures: the recording decoded once more in full size, with what was found drawn over it.

use std::io;
use std::path::Path;

use super::journal::Shot;
use crate::capture;
use crate::cli::Failure;
use crate::frame::Frame;
use crate::geometry::Size;
use crate::picture::{self, Canvas};
use crate::pipeline::Stop;

/// Pictures are at most so wide and high.
const LARGEST: Size = Size::new(1280, 1280);
/// So many pictures at most: a long recording is not to fill the disk.
const MOST: usize = 240;
/// The greatest distance in seconds between an analysed frame and the picture drawn for it.
const APART: f64 = 1e-3;

/// Removes the pictures that were drawn into `out` before, and nothing else.
pub(super) fn clear(out: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(out)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_drawn) && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a file is called as [`write`] calls pictures.
fn is_drawn(name: &str) -> bool {
    let Some((time, names)) = name.split_once("s-") else { return false };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let stamped = time
        .split_once('.')
        .is_some_and(|(whole, rest)| whole.len() >= 5 && rest.len() == 2 && digits(whole) && digits(rest));
    stamped && names.ends_with(".png")
}

/// Draws the shots of a clip, or of a picture that stands still, into `out`, until it is to stop; tells how many.
pub(super) fn draw(input: &Path, shots: &[Shot], out: &Path, stop: &Stop) -> Result<usize, Failure> {
    if stop.asked() {
        return Ok(0);
    }
    let mut chosen = thinned(shots).into_iter().peekable();
    let mut frames = capture::read_pictures(input, Some(LARGEST)).map_err(Failure::failed)?;
    let (mut last, mut drawn) = (None, 0);
    while let Some(shot) = chosen.peek().filter(|_| !stop.asked()) {
        match frames.next().transpose().map_err(Failure::failed)? {
            Some(frame) if shot.captured.seconds_from(frame.captured) > APART => last = Some(frame),
            Some(frame) => {
                write(&frame, shot, out)?;
                (last, drawn) = (Some(frame), drawn + 1);
                chosen.next();
            }
            None => break,
        }
    }
    let Some(last) = last else { return Ok(drawn) };
    for shot in chosen.take_while(|_| !stop.asked()) {
        write(&last, shot, out)?;
        drawn += 1;
    }
    Ok(drawn)
}

/// At most [`MOST`] of the shots, evenly spread.
fn thinned(shots: &[Shot]) -> Vec<&Shot> {
    let kept = shots.len().min(MOST);
    if kept < shots.len() {
        tracing::warn!("only {kept} of {} pictures are drawn; fewer are made with --every", shots.len());
    }
    (0..kept).map(|i| &shots[i * shots.len() / kept]).collect()
}

fn write(frame: &Frame, shot: &Shot, out: &Path) -> Result<(), Failure> {
    let mut canvas = Canvas::new(frame.size, frame.rgb.clone());
    canvas.heat(&heat(shot, frame.size));
    picture::draw_marks(&mut canvas, &shot.marks);
    let time = shot.captured.as_secs_f64();
    let names = if shot.labels.is_empty() { "nothing".into() } else { shot.labels.join(" + ") };
    let told = if shot.labels.is_empty() { "nothing is both heard and seen" } else { &names };
    let level = format!("sound {:.0} dBFS", shot.level_dbfs).replace('-', "−");
    picture::caption(&mut canvas, &format!("{time:.1} s   {told}"), &level);
    let file = format!("{time:08.2}s-{}.png", names.replace(" + ", "+").replace([' ', '/'], "-"));
    picture::write_png(&canvas, &out.join(file)).map_err(Failure::failed)
}

/// The hottest of all maps at each point of the picture.
fn heat(shot: &Shot, size: Size) -> Vec<f32> {
    let mut hottest = vec![0.0f32; size.width as usize * size.height as usize];
    for map in shot.maps.iter().filter_map(|map| map.normalised(size)) {
        hottest.iter_mut().zip(map).for_each(|(most, value)| *most = most.max(value));
    }
    hottest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_drawn_here_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept =
            ["detections.jsonl", "0001.00s-cat.png", "00001.0s-cat.png", "00001.00s-cat.jpg", "cat.png"];
        let drawn = ["00001.25s-cat.png", "00000.00s-nothing.png", "123456.00s-cat+dog.png"];
        for name in kept.iter().chain(&drawn) {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        std::fs::create_dir(folder.path().join("00002.00s-cat.png")).expect("a folder");
        clear(folder.path()).expect("a folder that can be read");
        let there = |name: &&str| folder.path().join(name).exists();
        assert!(kept.iter().all(there) && there(&"00002.00s-cat.png"));
        assert!(!drawn.iter().any(there));
    }
}
