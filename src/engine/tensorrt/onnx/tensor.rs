//! Weights of an ONNX file, read as 32-bit floats.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use super::wire::{Message, Value};

/// Fields of `TensorProto`.
const EXTENTS: u64 = 1;
const ELEMENT: u64 = 2;
const FLOATS: u64 = 4;
const INTEGERS: u64 = 5;
const NAME: u64 = 8;
const RAW: u64 = 9;
pub(super) const EXTERNAL: u64 = 13;

/// Numbers of the types that weights are stored in.
const FLOAT32: u64 = 1;
const UINT8: u64 = 2;
const INT8: u64 = 3;
const FLOAT16: u64 = 10;

/// A weight.
pub(super) struct Tensor {
    pub name: String,
    pub shape: Vec<u64>,
    pub data: Vec<f32>,
}

impl Tensor {
    /// Reads an initialiser whose name is `wanted`; `None` also if it is of another type or damaged, which is for
    /// TensorRT's parser to say.
    pub fn read(bytes: &[u8], folder: &Path, wanted: impl FnOnce(&str) -> bool) -> Option<Self> {
        let proto = Message::read(bytes).filter(|proto| wanted(proto.text(NAME)))?;
        let shape = proto.numbers(EXTENTS);
        let element = proto.numbers(ELEMENT).pop()?;
        let external: Vec<_> = proto.all(EXTERNAL).filter_map(Message::read).collect();
        let data = match (external.is_empty(), proto.all(RAW).next()) {
            (false, _) => real(element, &stored_outside(&external, folder)?)?,
            (true, Some(raw)) => real(element, raw)?,
            (true, None) if element == FLOAT32 => proto.floats(FLOATS),
            (true, None) => {
                let narrow = |number: u64| match element {
                    FLOAT16 => Some(from_half(number as u16)),
                    INT8 => Some(f32::from(number as i8)),
                    UINT8 => Some(f32::from(number as u8)),
                    _ => None,
                };
                proto.numbers(INTEGERS).into_iter().map(narrow).collect::<Option<_>>()?
            }
        };
        let count = shape.iter().try_fold(1, |count: u64, extent| count.checked_mul(*extent))?;
        (count == data.len() as u64).then(|| Self { name: proto.text(NAME).to_owned(), shape, data })
    }

    /// The initialiser, in 32-bit floats.
    pub fn write(&self) -> Vec<u8> {
        let raw: Vec<u8> = self.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        let extents = |proto: Message<'static>, extent: &u64| proto.with(EXTENTS, Value::Number(*extent));
        let proto = self.shape.iter().fold(Message::default(), extents);
        let named = proto.with(ELEMENT, Value::Number(FLOAT32)).with_bytes(NAME, self.name.as_str());
        named.with_bytes(RAW, raw).write()
    }

    /// (steps − zero) · scale, each of them one number or one along `axis`.
    pub fn scaled(&self, name: String, scale: &Self, zero: Option<&Self>, axis: i64) -> Option<Self> {
        let rank = self.shape.len() as i64;
        let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
        let along = self.shape.get(axis).copied().unwrap_or(1) as usize;
        let inner: usize = self.shape.iter().skip(axis + 1).product::<u64>() as usize;
        let fits = |own: &Self| own.data.len() == 1 || own.data.len() == along;
        if !fits(scale) || !zero.is_none_or(fits) {
            return None;
        }
        let at = |own: &Self, place: usize| match own.data.as_slice() {
            [one] => *one,
            many => many[place / inner.max(1) % along.max(1)],
        };
        let real = |(place, step): (usize, &f32)| {
            (step - zero.map_or(0.0, |zero| at(zero, place))) * at(scale, place)
        };
        let data = self.data.iter().enumerate().map(real).collect();
        Some(Self { name, shape: self.shape.clone(), data })
    }
}

/// The bytes in a file beside the graph.
fn stored_outside(external: &[Message<'_>], folder: &Path) -> Option<Vec<u8>> {
    const KEY: u64 = 1;
    const VALUE: u64 = 2;
    let value = |key: &str| Some(external.iter().find(|entry| entry.text(KEY) == key)?.text(VALUE));
    let location = Path::new(value("location")?);
    if !location.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let mut file = File::open(folder.join(location)).ok()?;
    file.seek(SeekFrom::Start(value("offset").map_or(Some(0), |offset| offset.parse().ok())?)).ok()?;
    let length: u64 = value("length")?.parse().ok()?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == length).then_some(bytes)
}

/// Stored numbers as floats.
fn real(element: u64, bytes: &[u8]) -> Option<Vec<f32>> {
    match element {
        FLOAT32 => Some(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()),
        FLOAT16 => Some(bytes.as_chunks().0.iter().map(|two| from_half(u16::from_le_bytes(*two))).collect()),
        INT8 => Some(bytes.iter().map(|byte| f32::from(*byte as i8)).collect()),
        UINT8 => Some(bytes.iter().map(|byte| f32::from(*byte)).collect()),
        _ => None,
    }
}

/// A number of half precision: a sign, five bits of exponent and ten of fraction.
fn from_half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 0x1f, f32::from(bits & 0x3ff) / 1024.0);
    let size = match exponent {
        0 => fraction * 2.0_f32.powi(-14),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (1.0 + fraction) * 2.0_f32.powi(i32::from(exponent) - 15),
    };
    if sign == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read_to_the_bit() {
        let cases: [(u16, f32); 7] = [
            (0x3c00, 1.0),
            (0xc100, -2.5),
            (0x7bff, 65_504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0xfc00, f32::NEG_INFINITY),
            (0x8000, -0.0),
        ];
        for (bits, value) in cases {
            assert_eq!(from_half(bits).to_bits(), value.to_bits(), "{bits:#06x}");
        }
        assert!(from_half(0x7e00).is_nan());
    }

    fn tensor(shape: &[u64], data: &[f32]) -> Tensor {
        Tensor { name: "w".to_owned(), shape: shape.to_vec(), data: data.to_vec() }
    }

    #[test]
    fn steps_are_scaled_as_a_whole_or_along_an_axis() {
        let steps = tensor(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let scaled = |scale: &[f32], zero: Option<&Tensor>, axis| {
            steps.scaled(String::new(), &tensor(&[scale.len() as u64], scale), zero, axis).map(|own| own.data)
        };
        let one = tensor(&[], &[1.0]);
        assert_eq!(scaled(&[2.0], Some(&one), 1).unwrap(), [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(scaled(&[1.0, 10.0, 100.0], None, -1).unwrap(), [0.0, 10.0, 200.0, 3.0, 40.0, 500.0]);
        assert_eq!(scaled(&[1.0, 10.0], None, 0).unwrap(), [0.0, 1.0, 2.0, 30.0, 40.0, 50.0]);
        assert!(scaled(&[1.0, 10.0], None, 1).is_none(), "two scales for three columns");
    }

    #[test]
    fn weights_lie_in_the_graph_or_beside_it_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("weights.bin"), [9, 9, 0xff, 3]).unwrap();
        let entry =
            |key: &str, value: &str| Message::default().with_bytes(1, key).with_bytes(2, value).write();
        let stored = |location: &str, length: &str| {
            let proto = Message::default().with(EXTENTS, Value::Number(2)).with(ELEMENT, Value::Number(INT8));
            proto
                .with_bytes(EXTERNAL, entry("location", location))
                .with_bytes(EXTERNAL, entry("offset", "2"))
                .with_bytes(EXTERNAL, entry("length", length))
                .write()
        };
        let read = |bytes: &[u8]| Tensor::read(bytes, folder.path(), |_| true).map(|tensor| tensor.data);
        assert_eq!(read(&stored("weights.bin", "2")), Some(vec![-1.0, 3.0]));
        assert_eq!(read(&stored("weights.bin", "3")), None, "the file is shorter");
        assert_eq!(read(&stored("weights.bin", "1")), None, "fewer numbers than the shape has");
        assert_eq!(read(&stored("../weights.bin", "2")), None);
        assert_eq!(read(&stored("absent.bin", "2")), None);
        let within = tensor(&[2], &[0.5, -4.0]).write();
        assert_eq!(read(&within), Some(vec![0.5, -4.0]));
    }
}
