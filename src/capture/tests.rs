//! The way of a Jetson's camera, behind stand-ins for NVIDIA's elements.

mod nvidia;

use gstreamer::prelude::*;

use super::*;

/// The camera with the default settings inside `pipeline`, its pictures scaled to `size`.
fn open_jetsons(pipeline: &gst::Pipeline, size: Size, out: Sender) -> Result<Media, CaptureError> {
    let camera = config::Camera { source: CameraSource::Csi, ..config::Config::default().camera };
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
    let _media = open_jetsons(&pipeline, wanted, out).expect("pictures");
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
