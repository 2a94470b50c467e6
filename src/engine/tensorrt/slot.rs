//! One input or output of a graph: where it lies, its shape of the moment, and how it comes there.

use std::ffi::CString;
use std::sync::{Arc, Weak};

use super::abi::Element;
use super::cuda::Device;
use super::error::TensorRtError;
use super::lent::{Lent, Readers, Spot};
use super::memory::Memory;
use super::network::TensorInfo;
use super::runtime::Context;
use super::stream::{Stopwatch, Stream};
use crate::engine::value::ended;
use crate::engine::{Easel, Input, Layout, Picture, Tensor, Value};

/// An input.
pub(super) struct InputSlot {
    pub name: CString,
    shape: Vec<i64>,
    memory: Memory<f32>,
    /// Where its numbers come from in this run.
    source: Source,
    /// What `memory` holds for good, on both sides.
    lasting: Option<Arc<Tensor>>,
    /// The output of another graph that the context reads in place of `memory`.
    bound: Option<Arc<Memory<f32>>>,
    pictures: Option<Pictures>,
}

enum Source {
    /// `memory`, on the host's side.
    Host,
    /// `memory`, on the GPU's side already.
    Kept,
    /// Another graph, which is done when the watch has stopped.
    Gpu(Arc<Stopwatch>, Readers),
    /// `memory`, on the host's side, and at its end the last of so many numbers of another graph.
    Ending(usize, Spot),
    /// A picture in `pictures`.
    Picture,
}

/// What laying pictures out takes: the GPU's kernel, or the CPU's way.
struct Pictures {
    /// Two in turn: while one is still on its way, the next is taken.
    rgb: [Memory<u8>; 2],
    turn: usize,
    layout: Option<Layout>,
    easel: Easel,
}

impl Pictures {
    /// For an input of so many numbers: a picture has a byte where the input has a number, and is not larger.
    fn new(device: &Device, numbers: usize) -> Result<Self, TensorRtError> {
        let rgb = [Memory::new(device, numbers)?, Memory::new(device, numbers)?];
        Ok(Self { rgb, turn: 0, layout: None, easel: Easel::default() })
    }
}

/// What an input's arrival changes for the context.
#[derive(Default)]
pub(super) struct Changes {
    /// Another shape.
    pub shape: bool,
    /// Another address.
    pub address: bool,
}

impl InputSlot {
    /// Allocates room for the `largest` shape and tells the context where it lies.
    pub(super) fn new(
        tensor: &TensorInfo,
        largest: Vec<i64>,
        context: &mut Context,
        device: &Device,
    ) -> Result<Self, TensorRtError> {
        let memory = allocate(tensor, &largest, context, device)?;
        let name = tensor.name.clone();
        let (source, is_picture) = (Source::Host, largest.len() == 4);
        let pictures = is_picture.then(|| Pictures::new(device, memory.len())).transpose()?;
        Ok(Self { name, shape: largest, memory, source, lasting: None, bound: None, pictures })
    }

    /// Forgets the shape, which may be half set, and what may not have come to the GPU.
    pub(super) fn forget(&mut self) {
        self.shape = vec![-1];
        self.lasting = None;
    }

    /// Takes what it is given for the next run. The `last` one may be under way: it is waited for before anything changes
    /// that it reads. None before it may be.
    pub(super) fn take(
        &mut self,
        given: &[(&str, Input<'_>)],
        context: &mut Context,
        last: &Stopwatch,
    ) -> Result<Changes, TensorRtError> {
        let name = self.name.to_bytes();
        let Some(&(_, input)) = given.iter().find(|(given, _)| given.as_bytes() == name) else {
            return Err(self.error("was not given".to_owned()));
        };
        let shape = self.follow(&input.shape(), context)?;
        let mut spot = None;
        let lasting = self.lasting.take();
        match input {
            Input::Tensor(tensor) => self.fill(tensor, last)?,
            Input::Lasting(tensor) => {
                if lasting.is_some_and(|before| Arc::ptr_eq(&before, tensor)) {
                    self.source = Source::Kept;
                } else {
                    self.fill(tensor, last)?;
                }
                self.lasting = Some(Arc::clone(tensor));
            }
            Input::Value(Value::Host(tensor)) => self.fill(tensor, last)?,
            Input::Value(Value::Gpu(lent)) => match lent.spot() {
                Some(found) => spot = Some(found),
                None => self.fill(&lent.read()?, last)?,
            },
            Input::Ending(tensor, Value::Gpu(lent)) => match lent.spot() {
                Some(end) => {
                    self.fill(tensor, last)?;
                    self.source = Source::Ending(lent.shape().iter().product(), end);
                }
                None => self.fill(&ended(tensor, &lent.read()?), last)?,
            },
            Input::Ending(tensor, Value::Host(end)) => self.fill(&ended(tensor, end), last)?,
            Input::Picture(picture) => self.hang(picture, last)?,
        }
        Ok(Changes { shape, address: self.bind(spot, context, last)? })
    }

    /// Sets the shape; true if it changed.
    fn follow(&mut self, shape: &[usize], context: &mut Context) -> Result<bool, TensorRtError> {
        if self.shape.iter().map(|extent| *extent as usize).eq(shape.iter().copied()) {
            return Ok(false);
        }
        let shape: Vec<i64> = shape.iter().map(|extent| *extent as i64).collect();
        context.set_input_shape(&self.name, &shape)?;
        self.shape = shape;
        Ok(true)
    }

    fn fill(&mut self, tensor: &Tensor, last: &Stopwatch) -> Result<(), TensorRtError> {
        let Tensor { shape, data } = tensor;
        if data.len() != count(&self.shape) || data.len() > self.memory.len() {
            return Err(self.error(format!("has {} numbers for the shape {shape:?}", data.len())));
        }
        last.wait()?;
        self.memory.write(data);
        self.source = Source::Host;
        Ok(())
    }

    /// Takes a picture: its bytes for the kernel, or what the CPU makes of them.
    fn hang(&mut self, picture: Picture<'_>, last: &Stopwatch) -> Result<(), TensorRtError> {
        let (layout, device) = (picture.layout, self.memory.device().clone());
        let fits = count(&self.shape) <= self.memory.len() && layout.is_sound();
        if picture.rgb.len() != layout.bytes() || !fits {
            return Err(self.error(format!("a picture of {} bytes for {layout:?}", picture.rgb.len())));
        }
        let pictures = match &mut self.pictures {
            Some(pictures) => pictures,
            none => none.insert(Pictures::new(&device, self.memory.len())?),
        };
        if device.kernel.is_none() {
            last.wait()?;
            self.memory.write(&pictures.easel.lay(picture).data);
            self.source = Source::Host;
            return Ok(());
        }
        pictures.turn = 1 - pictures.turn;
        pictures.rgb[pictures.turn].write(picture.rgb);
        if pictures.layout.as_ref() != Some(layout) {
            pictures.layout = Some(layout.clone());
        }
        self.source = Source::Picture;
        Ok(())
    }

    /// Has the context read `spot`, or this slot's own memory; true if that is somewhere else than before.
    fn bind(
        &mut self,
        spot: Option<Spot>,
        context: &mut Context,
        last: &Stopwatch,
    ) -> Result<bool, TensorRtError> {
        let (memory, before) = (spot.as_ref().map(|spot| &spot.memory), self.bound.as_ref());
        let changed = memory.map(Arc::as_ptr) != before.map(Arc::as_ptr);
        if changed {
            last.wait()?; // the memory that it reads is let go here
            let address = memory.map_or(self.memory.address(), |memory| memory.address());
            // SAFETY: either memory has room for the shape, which its writer had too, and lives in this slot for as
            // long as the context is told to read it.
            unsafe { context.set_address(&self.name, address) }?;
            self.bound = memory.cloned();
        }
        if let Some(spot) = spot {
            self.source = Source::Gpu(spot.ready, spot.readers);
        }
        Ok(changed)
    }

    /// Has `stream` wait, on the GPU, for the graph that this comes from.
    pub(super) fn await_source(&self, stream: &Stream) -> Result<(), TensorRtError> {
        match &self.source {
            Source::Gpu(ready, _) | Source::Ending(_, Spot { ready, .. }) => stream.after(ready),
            Source::Host | Source::Kept | Source::Picture => Ok(()),
        }
    }

    /// Tells the graph that this comes from of the run that reads it, over when `watch` stops.
    pub(super) fn read_by(&self, watch: &Arc<Stopwatch>) {
        if let Source::Gpu(_, readers) | Source::Ending(_, Spot { readers, .. }) = &self.source {
            readers.note(watch);
        }
    }

    /// Enqueues what brings its numbers to where the context reads them.
    pub(super) fn bring(&self, stream: &Stream) -> Result<(), TensorRtError> {
        let count = count(&self.shape);
        match &self.source {
            Source::Kept | Source::Gpu(..) => Ok(()),
            Source::Host => self.memory.upload(count, stream),
            Source::Ending(len, end) => {
                self.memory.upload(count, stream)?;
                self.memory.end_with(count, &end.memory, *len, stream)
            }
            Source::Picture => self.lay(stream),
        }
    }

    /// Enqueues what makes an input of a picture.
    fn lay(&self, stream: &Stream) -> Result<(), TensorRtError> {
        let Some(Pictures { rgb, turn, layout: Some(layout), .. }) = &self.pictures else { return Ok(()) };
        let Some(kernel) = &self.memory.device().kernel else { return Ok(()) };
        let rgb = &rgb[*turn];
        rgb.upload(layout.bytes(), stream)?;
        // SAFETY: `hang` has checked that both have room; they live until the graph's stream was waited for.
        unsafe { kernel.lay(layout, rgb.address(), self.memory.address(), stream) }
    }

    /// Whether it is room for a picture.
    pub(super) fn takes_pictures(&self) -> bool {
        self.pictures.is_some()
    }

    /// Whether the GPU lays it out.
    pub(super) fn is_laid(&self) -> bool {
        matches!(self.source, Source::Picture)
    }

    fn error(&self, reason: String) -> TensorRtError {
        TensorRtError::Tensor { tensor: self.name.to_string_lossy().into_owned(), reason }
    }
}

/// An output.
pub(super) struct OutputSlot {
    name: CString,
    shape: Vec<i64>,
    memory: Arc<Memory<f32>>,
    /// Who may still want to read it.
    lent: Weak<Lent>,
    /// Who reads it on the GPU.
    readers: Readers,
}

impl OutputSlot {
    /// Allocates room for the `largest` shape and tells the context where it lies.
    pub(super) fn new(
        tensor: &TensorInfo,
        largest: Vec<i64>,
        context: &mut Context,
        device: &Device,
    ) -> Result<Self, TensorRtError> {
        let memory = Arc::new(allocate(tensor, &largest, context, device)?);
        let (lent, readers) = (Weak::new(), Readers::default());
        Ok(Self { name: tensor.name.clone(), shape: largest, memory, lent, readers })
    }

    /// Takes over the shape that the context works out.
    pub(super) fn follow(&mut self, context: &Context) -> Result<(), TensorRtError> {
        self.shape = context.shape(&self.name)?;
        if count(&self.shape) > self.memory.len() {
            let reason = format!("{:?} is larger than at the largest inputs", self.shape);
            return Err(TensorRtError::Tensor { tensor: self.name.to_string_lossy().into_owned(), reason });
        }
        Ok(())
    }

    /// Saves what is still lent, before the next run.
    pub(super) fn settle(&mut self) {
        if let Some(lent) = std::mem::take(&mut self.lent).upgrade() {
            lent.settle();
        }
    }

    /// Has `stream` wait, on the GPU, for the runs of other graphs that read it.
    pub(super) fn await_readers(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.readers.keep_waiting(stream)
    }

    /// Lends it out where it is, and where it was `sent`; it is there when `ready` has stopped.
    pub(super) fn lend(&mut self, ready: &Arc<Stopwatch>, stream: &Stream, sent: bool) -> Value {
        let (memory, readers) = (Arc::clone(&self.memory), self.readers.clone());
        let spot = Spot { memory, ready: Arc::clone(ready), stream: stream.clone(), sent, readers };
        let lent = Arc::new(Lent::new(extents(&self.shape), spot));
        self.lent = Arc::downgrade(&lent);
        Value::Gpu(lent)
    }

    /// Enqueues its way to the host.
    pub(super) fn download(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.memory.download(count(&self.shape), stream)
    }

    /// What was downloaded, once the stream was waited for.
    pub(super) fn read(&self) -> Tensor {
        Tensor { shape: extents(&self.shape), data: self.memory.read(count(&self.shape)) }
    }
}

fn allocate(
    tensor: &TensorInfo,
    largest: &[i64],
    context: &mut Context,
    device: &Device,
) -> Result<Memory<f32>, TensorRtError> {
    if tensor.element != Element::Float32 {
        let reason = format!("holds {:?}; expected a plan with float32 at its ends", tensor.element);
        return Err(TensorRtError::Tensor { tensor: tensor.label(), reason });
    }
    let memory = Memory::new(device, count(largest))?;
    // SAFETY: the memory has room for the largest shape and lives in the graph beside the context.
    unsafe { context.set_address(&tensor.name, memory.address()) }?;
    Ok(memory)
}

/// Numbers in a shape whose extents are all known.
fn count(shape: &[i64]) -> usize {
    extents(shape).iter().product()
}

fn extents(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(0)).collect()
}
