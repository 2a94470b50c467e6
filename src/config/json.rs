//! JSON of strangers: a key that stands twice in an object is a mistake, and neither value is taken.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads one value.
///
/// # Errors
/// The text is no JSON, or names a key twice; the sentence says where.
pub(super) fn read(text: &[u8]) -> Result<Value, String> {
    let read = serde_json::from_slice::<Strict>(text);
    read.map(|strict| strict.0)
        .map_err(|error| if error.is_data() { error.to_string() } else { format!("is no JSON: {error}") })
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((key, Strict(value))) = object.next_entry::<String, Strict>()? {
            if values.contains_key(&key) {
                return Err(A::Error::custom(format!("names {key:?} twice, expected each key once")));
            }
            values.insert(key, value);
        }
        Ok(values.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_anybody_reads() {
        let text = r#"{"a": [1, -2, 0.5, 1e300, true, null, "é\n"], "b": {"a": {}, "b": []}}"#;
        assert_eq!(read(text.as_bytes()), Ok(serde_json::from_str(text).expect("JSON")));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_wherever_it_stands() {
        for text in
            [r#"{"dog": 1, "dog": 1}"#, r#"[{"dog": {"p": 0.5, "p": 0.6}}]"#, r#"{"p": 1, "\u0070": 2}"#]
        {
            assert!(
                read(text.as_bytes()).is_err_and(|why| why.contains("twice") && !why.contains("no JSON")),
                "{text}"
            );
        }
        for text in ["", "yes", "{", "[1,]", "1 2"] {
            assert!(read(text.as_bytes()).is_err_and(|why| why.contains("no JSON")), "{text}");
        }
        assert!(read("[".repeat(100_000).as_bytes()).is_err());
    }
}
