//! The way of a Jetson's camera, behind stand-ins for NVIDIA's elements, and what does not stop.

mod nvidia;

use std::sync::mpsc::channel;

use gstreamer::prelude::*;

use super::*;

/// A camera with the default settings inside `pipeline`, its pictures scaled to `size`.
fn open(
    source: CameraSource,
    pipeline: &gst::Pipeline,
    size: Size,
    out: Sender,
) -> Result<Media, CaptureError> {
    let camera = config::Camera { source, ..config::Config::default().camera };
    let most = Rate::new(f64::INFINITY);
    let origin = sources::open(&camera, &most, pipeline.upcast_ref(), false, true)?;
    let delivery = Arc::new(delivery(&origin, Pace::Live, out));
    let wants = Wants { pictures: Some((Arc::new(move |_| size), most)), sound: None };
    Media::start(pipeline.clone(), origin, wants, delivery, false)
}

/// What an element is called by whoever makes one; nothing, if it was made by its type.
fn kind(element: &gst::Element) -> String {
    element.factory().map_or_else(String::new, |factory| factory.name().into())
}

#[test]
fn the_image_processor_of_a_jetson_scales_what_its_camera_delivers() {
    init().expect("GStreamer");
    nvidia::register();
    let (pipeline, wanted) = (Media::pipeline(), Size::new(384, 216));
    let (out, receiver) = queue::bounded(Limits::default(), Policy::ShedOldest);
    let _media = open(CameraSource::Csi, &pipeline, wanted, out).expect("pictures");
    let Ok(Sensed::Frame(frame)) = receiver.recv(Duration::from_secs(10)) else { panic!("no picture") };
    assert_eq!((frame.source, frame.size), (nvidia::SENSOR, wanted));
    assert_eq!(frame.rgb, nvidia::COLOUR.repeat(384 * 216));

    let elements: Vec<_> = pipeline.iterate_elements().into_iter().flatten().collect();
    assert!(elements.iter().all(|element| kind(element) != "videoscale"), "the CPU scales");
    let processor = elements.iter().find(|element| kind(element) == "nvvidconv").expect("the processor");
    let next =
        processor.static_pad("src").and_then(|pad| pad.peer()?.parent_element()).expect("what follows");
    assert_eq!(kind(&next), "capsfilter");
    let caps = next.property::<gst::Caps>("caps");
    let side = |name| caps.structure(0).and_then(|structure| structure.get::<i32>(name).ok());
    assert_eq!((side("width"), side("height")), (Some(384), Some(216)), "{caps}");
}

/// Its thread is held where it hands over a picture, as one that locked itself up.
#[test]
fn what_can_be_opened_again_and_does_not_stop_is_left_behind() {
    init().expect("GStreamer");
    let pipeline = Media::pipeline();
    let (out, receiver) = queue::bounded(Limits::default(), Policy::ShedOldest);
    let media = open(CameraSource::Test, &pipeline, Size::new(64, 36), out).expect("pictures");
    assert!(matches!(receiver.recv(Duration::from_secs(10)), Ok(Sensed::Frame(_))));
    let sink = pipeline.iterate_sinks().into_iter().flatten().next().expect("a sink");
    let ((held, holds), (let_go, lets_go)) = (channel(), channel::<()>());
    let lets_go = Mutex::new(lets_go);
    sink.static_pad("sink").expect("a pad").add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        held.send(()).ok();
        lets_go.lock().expect("one thread").recv().ok();
        gst::PadProbeReturn::Ok
    });
    holds.recv_timeout(Duration::from_secs(10)).expect("a picture");
    let (closed, closes) = channel();
    std::thread::spawn(move || {
        drop(media);
        closed.send(()).ok();
    });
    closes.recv_timeout(Duration::from_secs(60)).expect("it is waited for");
    assert_ne!(pipeline.current_state(), gst::State::Null, "it did stop");
    drop(let_go);
}
