//! Stand-ins for the elements of a Jetson: a camera that delivers into the image processor's memory, and the processor, which alone
//! takes pictures from there and gives them the size that is asked for.

use std::sync::LazyLock;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;

use crate::geometry::Size;

/// The camera's pictures: those of the default settings.
pub const SENSOR: Size = Size::new(1280, 720);
/// What the processor makes of every pixel.
pub const COLOUR: [u8; 3] = [200, 100, 50];

glib::wrapper! {
    pub struct Camera(ObjectSubclass<Sensor>) @extends gst::Bin, gst::Element, gst::Object;
}

glib::wrapper! {
    pub struct Processor(ObjectSubclass<Scaler>) @extends gst::Element, gst::Object;
}

/// From now on GStreamer makes the stand-ins under the names of NVIDIA's elements.
pub fn register() {
    let register = |name, kind| gst::Element::register(None, name, gst::Rank::NONE, kind);
    register("nvarguscamerasrc", Camera::static_type()).expect("a free name");
    register("nvvidconv", Processor::static_type()).expect("a free name");
}

#[derive(Default)]
pub struct Sensor;

#[glib::object_subclass]
impl ObjectSubclass for Sensor {
    const NAME: &'static str = "TvslTestSensor";
    type Type = Camera;
    type ParentType = gst::Bin;
}

impl ObjectImpl for Sensor {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> =
            LazyLock::new(|| vec![glib::ParamSpecInt::builder("sensor-id").build()]);
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, _value: &glib::Value, _property: &glib::ParamSpec) {}

    fn constructed(&self) {
        self.parent_constructed();
        let caps = gst::Caps::builder("video/x-raw").features(["memory:NVMM"]).field("format", "NV12");
        let caps = caps.field("width", SENSOR.width as i32).field("height", SENSOR.height as i32);
        let caps = caps.field("framerate", gst::Fraction::new(30, 1)).build();
        let callbacks = gstreamer_app::AppSrcCallbacks::builder().need_data(|source, _| {
            source.push_buffer(gst::Buffer::with_size(64).expect("memory")).ok(); // only the processor could read it
        });
        let source = gstreamer_app::AppSrc::builder().caps(&caps).is_live(true).do_timestamp(true);
        let source = source.format(gst::Format::Time).callbacks(callbacks.build()).build();
        self.obj().add(&source).expect("room for an element");
        let exit = gst::GhostPad::with_target(&source.static_pad("src").expect("a pad")).expect("a pad");
        self.obj().add_pad(&exit).expect("room for a pad");
    }
}

impl GstObjectImpl for Sensor {}

impl ElementImpl for Sensor {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        metadata()
    }
}

impl BinImpl for Sensor {}

pub struct Scaler {
    entrance: gst::Pad,
    exit: gst::Pad,
}

#[glib::object_subclass]
impl ObjectSubclass for Scaler {
    const NAME: &'static str = "TvslTestScaler";
    type Type = Processor;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let template = |name| class.pad_template(name).expect("a template");
        let entrance = gst::Pad::builder_from_template(&template("sink"))
            .chain_function(|_, parent, buffer| {
                Scaler::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |scaler| scaler.scale(&buffer),
                )
            })
            .event_function(|pad, parent, event| {
                Scaler::catch_panic_pad_function(parent, || false, |scaler| scaler.tell(pad, event))
            });
        let exit = gst::Pad::from_template(&template("src"));
        Self { entrance: entrance.build(), exit }
    }
}

impl ObjectImpl for Scaler {
    fn constructed(&self) {
        self.parent_constructed();
        self.obj().add_pad(&self.entrance).expect("room for a pad");
        self.obj().add_pad(&self.exit).expect("room for a pad");
    }
}

impl GstObjectImpl for Scaler {}

impl ElementImpl for Scaler {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        metadata()
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let always = gst::PadPresence::Always;
            let caps = gst::Caps::builder("video/x-raw");
            let taken = caps.features(["memory:NVMM"]).build();
            let given = gst::Caps::builder("video/x-raw").field("format", "RGBA").build();
            [("sink", gst::PadDirection::Sink, taken), ("src", gst::PadDirection::Src, given)]
                .map(|(name, way, caps)| gst::PadTemplate::new(name, way, always, &caps).expect("a template"))
                .into()
        });
        &TEMPLATES
    }
}

impl Scaler {
    /// Settles on what is asked for behind it, once it knows what comes; all else goes on as it is.
    fn tell(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        if event.type_() != gst::EventType::Caps {
            return gst::Pad::event_default(pad, Some(&*self.obj()), event);
        }
        let mut asked = self.exit.peer_query_caps(Some(&self.exit.pad_template_caps()));
        asked.fixate();
        self.exit.push_event(gst::event::Caps::new(&asked))
    }

    fn scale(&self, picture: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let caps = self.exit.current_caps().ok_or(gst::FlowError::NotNegotiated)?;
        let info = gstreamer_video::VideoInfo::from_caps(&caps).map_err(|_| gst::FlowError::NotNegotiated)?;
        let [r, g, b] = COLOUR;
        let mut scaled =
            gst::Buffer::from_slice([r, g, b, 255].repeat((info.width() * info.height()) as usize));
        scaled.get_mut().ok_or(gst::FlowError::Error)?.set_pts(picture.pts());
        self.exit.push(scaled)
    }
}

fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
    static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
        gst::subclass::ElementMetadata::new("stand-in", "Test", "in place of NVIDIA's", "tvsl")
    });
    Some(&METADATA)
}
