//! One input or output of a graph: where it lies, its shape of the moment, and how it comes there.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::abi::Element;
use super::cuda::Device;
use super::error::TensorRtError;
use super::lent::{Lent, Readers, Spot};
use super::memory::Memory;
use super::network::TensorInfo;
use super::runtime::Context;
use super::staging::{Spares, Staging};
use super::stream::{MOST_UNDER_WAY, Stopwatch, Stream};
use crate::engine::value::ended;
use crate::engine::{Easel, Input, Layout, Picture, Tensor, Value};

/// An input.
pub(super) struct InputSlot {
    pub name: CString,
    shape: Vec<i64>,
    memory: Memory<f32>,
    /// Where numbers wait while runs before still read `memory`.
    staging: Staging<f32>,
    /// Where its numbers come from in this run.
    source: Source,
    /// What other graphs gave, so many numbers of each, that comes last, the newest at the end.
    ends: Vec<(usize, Spot)>,
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
    /// What was put into `staging` last.
    Staged,
    /// A picture in `pictures`.
    Picture,
}

/// What laying pictures out takes: the GPU's kernel, or the CPU's way.
struct Pictures {
    rgb: Staging<u8>,
    layout: Option<Layout>,
    easel: Easel,
}

impl Pictures {
    /// For an input of so many numbers: a picture has a byte where the input has a number, and is not larger.
    fn new(device: &Device, numbers: usize) -> Result<Self, TensorRtError> {
        // While one is still on its way, the next is taken.
        let rgb = Staging::new(Memory::new).with(device, numbers, 2)?;
        Ok(Self { rgb, layout: None, easel: Easel::default() })
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
        let is_picture = matches!(largest[..], [_, 3, _, _]);
        let shared = !is_picture || device.kernel.is_none();
        let memory = allocate(tensor, &largest, shared, context, device)?;
        let (name, source) = (tensor.name.clone(), Source::Host);
        let pictures = is_picture.then(|| Pictures::new(device, memory.len())).transpose()?;
        let (staging, ends) = (Staging::new(Memory::staged), Vec::new());
        Ok(Self { name, shape: largest, memory, staging, source, ends, lasting: None, bound: None, pictures })
    }

    /// Forgets the shape, which may be half set, and what may not have come to the GPU.
    pub(super) fn forget(&mut self) {
        self.shape = vec![-1];
        self.lasting = None;
    }

    /// The run of `watch`, which goes on to time another, is over.
    pub(super) fn let_go(&mut self, watch: &Arc<Stopwatch>) {
        self.staging.let_go(watch);
        self.pictures.iter_mut().for_each(|pictures| pictures.rgb.let_go(watch));
    }

    /// Takes what it is given for the next run. The `last` one, and runs before it, may be under way: nothing changes that
    /// they read.
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
        let shape = self.follow(input.shape(&mut [0; 4]), context)?;
        let mut spot = None;
        let lasting = self.lasting.take();
        self.let_ends_go(last)?;
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
            Input::Ending(tensor, ends) => {
                self.ends.extend(ends.iter().map_while(on_gpu));
                if self.ends.len() == ends.len() {
                    self.fill(tensor, last)?;
                } else {
                    self.ends.clear();
                    self.fill(&ended(tensor, ends)?, last)?;
                }
            }
            Input::Picture(picture) => self.hang(picture, last)?,
        }
        Ok(Changes { shape, address: self.bind(spot, context, last)? })
    }

    /// Forgets what came last in the `last` run, which reads it while it is under way.
    fn let_ends_go(&mut self, last: &Stopwatch) -> Result<(), TensorRtError> {
        // Usually the graph that gave it holds it as well.
        if self.ends.iter().any(|(_, end)| Arc::strong_count(&end.memory) == 1) {
            last.wait()?;
        }
        self.ends.clear();
        Ok(())
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
        if self.memory.is_shared() && last.is_over()? {
            self.memory.write(data);
            self.source = Source::Host;
            return Ok(());
        }
        self.source = Source::Staged;
        match self.staging.put(self.memory.device(), self.memory.len(), data) {
            // Whoever waits needs no more memory.
            Err(TensorRtError::Memory { .. }) if self.memory.is_shared() => {
                last.wait()?;
                self.memory.write(data);
                self.source = Source::Host;
                Ok(())
            }
            put => put,
        }
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
            let mut easel = std::mem::take(&mut pictures.easel);
            let filled = self.fill(easel.lay(picture), last);
            self.pictures.iter_mut().for_each(|pictures| std::mem::swap(&mut pictures.easel, &mut easel));
            return filled;
        }
        pictures.rgb.put(&device, self.memory.len(), picture.rgb)?;
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

    /// Has `stream` wait, on the GPU, for the graphs that this comes from.
    pub(super) fn await_source(&self, stream: &Stream) -> Result<(), TensorRtError> {
        if let Source::Gpu(ready, _) = &self.source {
            stream.after(ready)?;
        }
        self.ends.iter().try_for_each(|(_, end)| stream.after(&end.ready))
    }

    /// Tells whoever has what this comes from of the run that reads it, over when `watch` stops.
    pub(super) fn read_by(&mut self, watch: &Arc<Stopwatch>) {
        match (&self.source, &mut self.pictures) {
            (Source::Gpu(_, readers), _) => readers.note(watch),
            (Source::Staged, _) => self.staging.read_by(watch),
            (Source::Picture, Some(pictures)) => pictures.rgb.read_by(watch),
            (Source::Host | Source::Kept | Source::Picture, _) => {}
        }
        self.ends.iter().for_each(|(_, end)| end.readers.note(watch));
    }

    /// Enqueues what brings its numbers to where the context reads them.
    pub(super) fn bring(&self, stream: &Stream) -> Result<(), TensorRtError> {
        let count = count(&self.shape);
        match (&self.source, self.staging.last()) {
            (Source::Kept | Source::Gpu(..), _) => {}
            (Source::Picture, _) => self.lay(stream)?,
            (Source::Staged, Some(staged)) => self.memory.upload_from(staged, count, stream)?,
            (Source::Host | Source::Staged, _) if self.memory.is_shared() => {
                self.memory.upload(count, stream)?
            }
            // Nothing was given yet.
            (Source::Host | Source::Staged, _) => self.memory.clear(stream)?,
        }
        let mut room = count;
        for (len, end) in self.ends.iter().rev() {
            if room == 0 {
                break;
            }
            self.memory.end_with(room, &end.memory, *len, stream)?;
            room = room.saturating_sub(*len);
        }
        Ok(())
    }

    /// Enqueues what makes an input of a picture.
    fn lay(&self, stream: &Stream) -> Result<(), TensorRtError> {
        let Some(Pictures { rgb, layout: Some(layout), .. }) = &self.pictures else { return Ok(()) };
        let (Some(kernel), Some(rgb)) = (&self.memory.device().kernel, rgb.last()) else { return Ok(()) };
        rgb.upload(layout.bytes(), stream)?;
        // SAFETY: `hang` has checked that both have room; they live until the graph's stream was waited for.
        unsafe { kernel.lay(layout, rgb.address(), self.memory.address(), stream) }
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
    /// What was lent of it, to those who may still want to read it; what nobody else holds is lent again.
    lent: Vec<Arc<Lent>>,
    /// Where it goes for them, when the next run writes `memory`.
    spares: Spares,
    /// Who reads it on the GPU.
    readers: Readers,
    /// Whether the host once read it although it was not sent there.
    missed: Arc<AtomicBool>,
}

impl OutputSlot {
    /// Allocates room for the `largest` shape and tells the context where it lies.
    pub(super) fn new(
        tensor: &TensorInfo,
        largest: Vec<i64>,
        context: &mut Context,
        device: &Device,
    ) -> Result<Self, TensorRtError> {
        let memory = Arc::new(allocate(tensor, &largest, !device.integrated, context, device)?);
        let (lent, spares, readers) = (Vec::new(), Spares::default(), Readers::default());
        let (name, missed) = (tensor.name.clone(), Arc::default());
        Ok(Self { name, shape: largest, memory, lent, spares, readers, missed })
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

    /// Has the context write where the host reads it, from the first time on that it is `wanted` there, or was; true if that
    /// is somewhere else than before. Runs may be under way on `stream`, and copies of what they wrote.
    pub(super) fn share(
        &mut self,
        wanted: bool,
        context: &mut Context,
        stream: &Stream,
    ) -> Result<bool, TensorRtError> {
        if self.memory.is_shared() || !(wanted || self.missed.load(Ordering::Relaxed)) {
            return Ok(false);
        }
        let shared = Arc::new(Memory::new(self.memory.device(), self.memory.len())?);
        stream.wait()?; // the memory that they write and read is let go here
        // SAFETY: there is as much room as before, which lives in this slot for as long as the context is told to write it.
        unsafe { context.set_address(&self.name, shared.address()) }?;
        self.memory = shared;
        Ok(true)
    }

    /// Puts aside what is still lent, before the next run.
    pub(super) fn make_way(&mut self, stream: &Stream) {
        let Self { lent, spares, memory, .. } = self;
        // What nobody holds keeps no spare from others.
        lent.iter_mut().filter_map(Arc::get_mut).for_each(Lent::let_go);
        lent.iter().for_each(|lent| lent.make_way(memory, |len, spot| spares.keep(len, spot, stream)));
    }

    /// Has `stream` wait, on the GPU, for the runs of other graphs that read it.
    pub(super) fn await_readers(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.readers.keep_waiting(stream)
    }

    /// The same for where it was put aside as well, before all of it is freed.
    pub(super) fn await_last_readers(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.await_readers(stream).and_then(|()| self.spares.await_readers(stream))
    }

    /// Lends it out where it is, and where it was `sent`; it is there when `ready` has stopped.
    pub(super) fn lend(&mut self, ready: &Arc<Stopwatch>, stream: &Stream, sent: bool) -> Value {
        let (memory, readers) = (Arc::clone(&self.memory), self.readers.clone());
        let (ready, missed) = (Arc::clone(ready), Arc::clone(&self.missed));
        let spot = Spot { memory, ready, stream: stream.clone(), sent, readers, missed };
        let free = self.lent.iter_mut().position(|lent| Arc::get_mut(lent).is_some());
        let place = free.unwrap_or_else(|| {
            // All of them are put aside by now, and those beyond are their holders' alone.
            self.lent.truncate(MOST_UNDER_WAY);
            self.lent.push(Arc::default());
            self.lent.len() - 1
        });
        let lent = &mut self.lent[place];
        if let Some(lent) = Arc::get_mut(lent) {
            lent.lie(extents(&self.shape), spot);
        }
        Value::Gpu(Arc::clone(lent))
    }

    /// Enqueues its way to the host.
    pub(super) fn download(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.memory.download(count(&self.shape), stream)
    }

    /// What was downloaded, once the stream was waited for.
    pub(super) fn read(&self) -> Tensor {
        let mut data = Vec::new();
        self.memory.read(count(&self.shape), &mut data);
        Tensor { shape: extents(&self.shape).collect(), data }
    }
}

/// So many numbers, and where they lie, if that is on the GPU.
fn on_gpu(value: &Value) -> Option<(usize, Spot)> {
    let lent = value.lent()?;
    Some((lent.count(), lent.spot()?))
}

fn allocate(
    tensor: &TensorInfo,
    largest: &[i64],
    shared: bool,
    context: &mut Context,
    device: &Device,
) -> Result<Memory<f32>, TensorRtError> {
    if tensor.element != Element::Float32 {
        let reason = format!("holds {:?}; expected a plan with float32 at its ends", tensor.element);
        return Err(TensorRtError::Tensor { tensor: tensor.label(), reason });
    }
    let make = if shared { Memory::new } else { Memory::on_gpu };
    let memory = make(device, count(largest))?;
    // SAFETY: the memory has room for the largest shape and lives in the graph beside the context.
    unsafe { context.set_address(&tensor.name, memory.address()) }?;
    Ok(memory)
}

/// Numbers in a shape whose extents are all known.
fn count(shape: &[i64]) -> usize {
    extents(shape).product()
}

fn extents(shape: &[i64]) -> impl Iterator<Item = usize> {
    shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(0))
}
