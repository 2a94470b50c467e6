//! Protocol buffers as far as ONNX files need them: a message is its fields in order, and what is not understood
//! passes through unchanged.

use std::borrow::Cow;

/// What one field holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Number(u64),
    Eight([u8; 8]),
    Bytes(Cow<'a, [u8]>),
    Four([u8; 4]),
}

/// One message: field numbers with their values.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message<'a>(Vec<(u64, Value<'a>)>);

impl<'a> Message<'a> {
    /// `None` if `bytes` are no message.
    pub fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = number(&mut bytes)?;
            let value = match tag & 7 {
                0 => Value::Number(number(&mut bytes)?),
                1 => Value::Eight(*take(&mut bytes, 8)?.first_chunk()?),
                2 => {
                    let length = usize::try_from(number(&mut bytes)?).ok()?;
                    Value::Bytes(Cow::Borrowed(take(&mut bytes, length)?))
                }
                5 => Value::Four(*take(&mut bytes, 4)?.first_chunk()?),
                _ => return None,
            };
            fields.push((tag >> 3, value));
        }
        Some(Self(fields))
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (field, value) in &self.0 {
            let kind = match value {
                Value::Number(_) => 0,
                Value::Eight(_) => 1,
                Value::Bytes(_) => 2,
                Value::Four(_) => 5,
            };
            push_number(&mut out, field << 3 | kind);
            match value {
                Value::Number(value) => push_number(&mut out, *value),
                Value::Eight(bytes) => out.extend(bytes),
                Value::Bytes(bytes) => {
                    push_number(&mut out, bytes.len() as u64);
                    out.extend_from_slice(bytes);
                }
                Value::Four(bytes) => out.extend(bytes),
            }
        }
        out
    }

    /// Adds a field.
    pub fn with(mut self, field: u64, value: Value<'a>) -> Self {
        self.0.push((field, value));
        self
    }

    /// Adds a field of bytes or text.
    pub fn with_bytes(self, field: u64, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(field, Value::Bytes(Cow::Owned(bytes.into())))
    }

    /// Every value of a field of bytes, text or messages.
    pub fn all(&self, field: u64) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter_map(move |(own, value)| match value {
            Value::Bytes(bytes) if *own == field => Some(bytes.as_ref()),
            _ => None,
        })
    }

    /// The same as they stand in the bytes that were read, without what was added.
    pub fn borrowed(&self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter_map(move |(own, value)| match value {
            Value::Bytes(Cow::Borrowed(bytes)) if *own == field => Some(*bytes),
            _ => None,
        })
    }

    /// The text of a field; empty if it is absent.
    pub fn text(&self, field: u64) -> &str {
        self.all(field).last().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The numbers of a field, packed or not.
    pub fn numbers(&self, field: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        for (_, value) in self.0.iter().filter(|(own, _)| *own == field) {
            match value {
                Value::Number(value) => numbers.push(*value),
                Value::Bytes(bytes) => {
                    let mut rest = bytes.as_ref();
                    numbers.extend(std::iter::from_fn(|| number(&mut rest)));
                }
                Value::Eight(_) | Value::Four(_) => {}
            }
        }
        numbers
    }

    /// The 32-bit floats of a field, packed or not.
    pub fn floats(&self, field: u64) -> Vec<f32> {
        let of = |(own, value): &(u64, Value<'_>)| match value {
            Value::Four(bytes) if *own == field => bytes.to_vec(),
            Value::Bytes(bytes) if *own == field => bytes.to_vec(),
            _ => Vec::new(),
        };
        let bytes: Vec<u8> = self.0.iter().flat_map(of).collect();
        bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
    }

    /// Every field but those of number `field`.
    pub fn without(self, field: u64) -> Self {
        Self(self.0.into_iter().filter(|(own, _)| *own != field).collect())
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// Seven bits a byte, the lowest first; the last byte has no highest bit.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn push_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_damage_is_no_message() {
        let message = Message::default()
            .with(1, Value::Number(u64::MAX))
            .with(2, Value::Eight([7; 8]))
            .with_bytes(300, b"text".as_slice())
            .with(4, Value::Four([1, 2, 3, 4]));
        let bytes = message.write();
        assert_eq!(Message::read(&bytes), Some(message.clone()));
        assert_eq!((message.text(300), message.numbers(1)), ("text", vec![u64::MAX]));
        for end in [1, 5, 12, bytes.len() - 1] {
            assert_eq!(Message::read(&bytes[..end]), None, "{end} bytes");
        }
        assert_eq!(Message::read(&[0xff; 20]), None);
        assert_eq!(
            Message::read(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            None,
            "longer than anything"
        );
    }

    #[test]
    fn numbers_are_read_packed_or_not() {
        let apart = Message::default().with(8, Value::Number(3)).with(8, Value::Number(300));
        assert_eq!(apart.numbers(8), [3, 300]);
        let packed = Message::default().with_bytes(8, vec![3, 0xac, 2]);
        assert_eq!(packed.numbers(8), [3, 300]);
        let floats = Message::default().with_bytes(4, [1.5_f32, -2.0].map(f32::to_le_bytes).concat());
        assert_eq!(floats.floats(4), [1.5, -2.0]);
    }
}
