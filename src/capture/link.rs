//! Elements of GStreamer, made and linked.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::CaptureError;

/// Makes an element; what is missing is named with its package.
pub(super) fn make(element: &str) -> Result<gst::Element, CaptureError> {
    gst::ElementFactory::make(element).build().map_err(|_| CaptureError::element(element))
}

/// A filter that lets only `caps` pass.
pub(super) fn only(caps: gst::Caps) -> Result<gst::Element, CaptureError> {
    let filter = make("capsfilter")?;
    filter.set_property("caps", caps);
    Ok(filter)
}

/// Adds elements to a bin and links each to the next.
pub(super) fn chain(bin: &gst::Bin, elements: &[gst::Element]) -> Result<(), CaptureError> {
    let linked = bin.add_many(elements).and_then(|()| gst::Element::link_many(elements));
    linked.map_err(|error| CaptureError::GStreamer(error.to_string()))
}
