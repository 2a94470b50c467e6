//! The modes of real cameras, and which of them is chosen.

use std::str::FromStr;

use proptest::prelude::*;

use super::*;

/// A Logitech C920, as `v4l2-ctl --list-formats-ext` shows it, in the order in which GStreamer offers it.
const C920: &str = "\
    video/x-raw, format=YUY2, width=2304, height=1536, framerate=2/1; \
    video/x-raw, format=YUY2, width=1920, height=1080, framerate=5/1; \
    video/x-raw, format=YUY2, width=1280, height=720, framerate={ (fraction)10/1, (fraction)15/2, (fraction)5/1 }; \
    video/x-raw, format=YUY2, width=800, height=600, framerate={ (fraction)24/1, (fraction)20/1, (fraction)5/1 }; \
    video/x-raw, format=YUY2, width=640, height=480, framerate={ (fraction)30/1, (fraction)15/1, (fraction)5/1 }; \
    video/x-raw, format=YUY2, width=640, height=360, framerate={ (fraction)30/1, (fraction)15/1, (fraction)5/1 }; \
    video/x-raw, format=YUY2, width=320, height=180, framerate={ (fraction)30/1, (fraction)15/1, (fraction)5/1 }; \
    image/jpeg, width=1920, height=1080, framerate={ (fraction)30/1, (fraction)15/1, (fraction)5/1 }; \
    image/jpeg, width=1280, height=720, framerate={ (fraction)60/1, (fraction)30/1, (fraction)5/1 }; \
    image/jpeg, width=640, height=360, framerate={ (fraction)30/1, (fraction)15/1, (fraction)5/1 }";
/// The kernel's made-up webcam.
const VIVID: &str = "\
    video/x-raw, format=YUY2, width=320, height=180, framerate={ (fraction)1/1, (fraction)30/1, (fraction)60/1 }; \
    video/x-raw, format=YUY2, width=640, height=360, framerate={ (fraction)1/1, (fraction)30/1, (fraction)40/1 }; \
    video/x-raw, format=YUY2, width=640, height=480, framerate={ (fraction)1/1, (fraction)30/1 }; \
    video/x-raw, format=YUY2, width=1280, height=720, framerate={ (fraction)1/1, (fraction)15/1 }; \
    video/x-raw, format=YUY2, width=3840, height=2160, framerate={ (fraction)1/1, (fraction)2/1 }; \
    video/x-raw, format=NV12, width=640, height=360, framerate={ (fraction)1/1, (fraction)30/1, (fraction)40/1 }";
/// A capture card for television.
const NTSC: &str = "video/x-raw, format=UYVY, width=720, height=480, framerate=30000/1001";
/// A webcam that is slow wherever it is raw.
const SLOW_RAW: &str = "\
    video/x-raw, format=YUY2, width={ 640, 1280 }, height=480, framerate=5/1; \
    image/jpeg, width={ 640, 1280 }, height={ 480, 720 }, framerate=2997/100";
/// A capture card that scales by itself.
const SCALING: &str = "\
    video/x-raw(memory:DMABuf), format=NV12, width=640, height=360, framerate=60/1; \
    video/x-raw, format=NV12, width=[ 64, 1920, 16 ], height=[ 64, 1080, 8 ], framerate=[ 0/1, 60/1 ]; \
    video/x-bayer, width=640, height=360, framerate=30/1";

fn suits(offered: &str, (width, height): (u32, u32), framerate: f64, rate: f64) -> Option<String> {
    gst::init().expect("GStreamer");
    let camera = config::V4l2 { device: "/dev/video0".into(), width, height, framerate };
    let (caps, _) = suited(&gst::Caps::from_str(offered).expect("caps"), &camera, rate)?;
    let mode = caps.structure(0).expect("one mode");
    assert_eq!(caps.size(), 1);
    let format = mode.get::<&str>("format").unwrap_or("jpeg");
    let number = |field| mode.get::<i32>(field).expect("a number");
    let framerate = mode.get::<gst::Fraction>("framerate").map(|rate| format!(" {rate}")).unwrap_or_default();
    Some(format!("{format} {}x{}{framerate}", number("width"), number("height")))
}

#[test]
fn a_size_that_is_left_open_is_the_one_nearest_640_x_360_that_is_fast_enough() {
    let open = |offered, rate| suits(offered, (0, 0), 0.0, rate).expect("a mode");
    assert_eq!(open(C920, 10.0), "YUY2 640x360");
    assert_eq!(open(C920, 30.0), "YUY2 640x360");
    assert_eq!(open(C920, 50.0), "jpeg 1280x720", "the only one that reaches 50 a second");
    assert_eq!(open(C920, 90.0), "jpeg 1280x720", "nothing reaches 90; this comes nearest");
    assert_eq!(open(VIVID, 10.0), "YUY2 640x360");
    assert_eq!(open(SLOW_RAW, 10.0), "jpeg 640x480");
    assert_eq!(open(SLOW_RAW, 30.0), "jpeg 640x480", "29.97 is 30");
    assert_eq!(open(SLOW_RAW, 5.0), "YUY2 640x480", "raw needs no decoding");
    assert_eq!(open(SCALING, 10.0), "NV12 640x360", "in ordinary memory");
}

#[test]
fn a_mode_does_up_to_the_rate_from_which_on_another_is_faster() {
    let reach = |offered, (width, height), framerate, rate| {
        gst::init().expect("GStreamer");
        let camera = config::V4l2 { device: "/dev/video0".into(), width, height, framerate };
        suited(&gst::Caps::from_str(offered).expect("caps"), &camera, rate).expect("a mode").1
    };
    assert_eq!(reach(C920, (0, 0), 0.0, 10.0), 30.0 / REACHED);
    assert_eq!(reach(C920, (0, 0), 0.0, 50.0), f64::INFINITY, "nothing is faster");
    assert_eq!(reach(SLOW_RAW, (0, 0), 0.0, 5.0), 5.0 / REACHED);
    assert_eq!(reach(C920, (1920, 1080), 0.0, 5.0), 5.0 / REACHED, "Motion-JPEG is faster at the same size");
    assert_eq!(reach(C920, (1920, 1080), 0.0, 10.0), f64::INFINITY);
    assert_eq!(reach(C920, (1920, 1080), 5.0, 5.0), f64::INFINITY, "it is set to that");
}

#[test]
fn what_is_set_is_kept_to() {
    assert_eq!(suits(C920, (1920, 1080), 0.0, 10.0).as_deref(), Some("jpeg 1920x1080"));
    assert_eq!(suits(C920, (1920, 1080), 0.0, 5.0).as_deref(), Some("YUY2 1920x1080"));
    assert_eq!(suits(C920, (1920, 1080), 5.0, 10.0).as_deref(), Some("YUY2 1920x1080 5"));
    assert_eq!(suits(C920, (0, 0), 60.0, 10.0).as_deref(), Some("jpeg 1280x720 60"));
    assert_eq!(suits(NTSC, (0, 0), 29.97, 10.0).as_deref(), Some("UYVY 720x480 30000/1001"));
    assert_eq!(suits(C920, (640, 0), 0.0, 10.0).as_deref(), Some("YUY2 640x360"));
    assert_eq!(suits(C920, (0, 720), 0.0, 15.0).as_deref(), Some("jpeg 1280x720"));
    assert_eq!(suits(SCALING, (1280, 0), 25.0, 10.0).as_deref(), Some("NV12 1280x720 25"));
}

#[test]
fn what_is_not_offered_is_left_to_the_device_to_refuse() {
    assert_eq!(suits(C920, (641, 0), 0.0, 10.0), None);
    assert_eq!(suits(C920, (0, 0), 25.0, 10.0), None);
    assert_eq!(suits("ANY", (0, 0), 0.0, 10.0), None);
    assert_eq!(suits("EMPTY", (0, 0), 0.0, 10.0), None);
    assert_eq!(suits("video/x-raw, format=YUY2", (0, 0), 0.0, 10.0), None, "a mode without a size");
}

#[test]
fn a_device_that_was_asked_is_let_go_of_with_its_pipeline() {
    gst::init().expect("GStreamer");
    let (pipeline, source) = (gst::Pipeline::new(), gst::ElementFactory::make("videotestsrc"));
    let source = source.build().expect("an element");
    pipeline.add(&source).expect("room for an element");
    assert!(offered(&source).is_some_and(|caps| !caps.is_empty()));
    pipeline.set_state(gst::State::Null).expect("a way down");
    assert_eq!(source.current_state(), gst::State::Null);
}

fn span() -> impl Strategy<Value = Span> {
    (1u32..4000, 0u32..4000, 0u32..64).prop_map(|(min, more, step)| Span { min, max: min + more, step })
}

fn offer() -> impl Strategy<Value = Offer> {
    let side = || proptest::collection::vec(span(), 1..3);
    (any::<bool>(), side(), side(), proptest::option::of(1.0f64..120.0))
        .prop_map(|(jpeg, width, height, fastest)| Offer { jpeg, width, height, fastest })
}

fn holds(spans: &[Span], pixels: u32) -> bool {
    let on = |span: &Span| (pixels - span.min).is_multiple_of(span.step.max(1));
    spans.iter().any(|span| (span.min..=span.max).contains(&pixels) && on(span))
}

proptest! {
    #[test]
    fn the_mode_is_one_of_those_offered_and_none_is_better(
        offers in proptest::collection::vec(offer(), 0..12),
        aim in (1u32..4000, 1u32..4000),
        rate in 0.1f64..120.0,
    ) {
        let Some((at, width, height)) = choose(&offers, aim, rate) else {
            prop_assert!(offers.is_empty());
            return Ok(());
        };
        let best = &offers[at];
        prop_assert!(holds(&best.width, width) && holds(&best.height, height));
        let off = |(width, height): (u32, u32)| width.abs_diff(aim.0) + height.abs_diff(aim.1);
        for other in &offers {
            prop_assert!(other.reach(rate) <= best.reach(rate));
            if other.reach(rate) == best.reach(rate) {
                prop_assert!(off(other.nearest(aim)) >= off((width, height)));
                let as_near = off(other.nearest(aim)) == off((width, height));
                prop_assert!(!(as_near && best.jpeg && !other.jpeg));
            }
        }
    }

    #[test]
    fn of_a_range_nothing_offered_is_nearer(span in span(), wanted in 0u32..9000) {
        let nearest = span.nearest(wanted);
        let steps = (span.min..=span.max).step_by(span.step.max(1) as usize);
        prop_assert_eq!(steps.map(|pixels| pixels.abs_diff(wanted)).min(), Some(nearest.abs_diff(wanted)));
    }
}

#[test]
fn a_jetsons_sensor_is_told_from_a_camera() {
    gst::init().expect("GStreamer");
    let bare = |offered: &str| of_bare_sensor(&gst::Caps::from_str(offered).expect("caps"));
    assert!(bare(
        "video/x-bayer, format=rggb, width=3280, height=2464, framerate=21/1; video/x-bayer, format=gbrg"
    ));
    assert!(![C920, VIVID, SCALING, "ANY", "EMPTY"].into_iter().any(bare));
}
