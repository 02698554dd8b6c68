//! JSON in which no name stands twice in an object: of two values for one PCR, readers would believe different ones.

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Any JSON, without repeated names.
struct Unrepeated(Value);

/// Reads one JSON text, whole; an error names what is given twice, and where.
pub(crate) fn from_slice(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(text).map(|Unrepeated(value)| value)
}

impl<'de> Deserialize<'de> for Unrepeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Unrepeated;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Unrepeated, E> {
                Ok(Unrepeated(Value::Bool(value)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Unrepeated, E> {
                Ok(Unrepeated(Value::Number(value.into())))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Unrepeated, E> {
                Ok(Unrepeated(Value::Number(value.into())))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Unrepeated, E> {
                Ok(Unrepeated(Number::from_f64(value).map_or(Value::Null, Value::Number)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Unrepeated, E> {
                Ok(Unrepeated(Value::String(value.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Unrepeated, E> {
                Ok(Unrepeated(Value::Null))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Unrepeated, A::Error> {
                let mut values = Vec::new();
                while let Some(Unrepeated(value)) = parts.next_element()? {
                    values.push(value);
                }
                Ok(Unrepeated(Value::Array(values)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Unrepeated, A::Error> {
                let mut values = Map::new();
                while let Some((name, Unrepeated(value))) = parts.next_entry::<String, _>()? {
                    if values.contains_key(&name) {
                        return Err(de::Error::custom(format!("`{}` is given twice", name.escape_debug())));
                    }
                    values.insert(name, value);
                }
                Ok(Unrepeated(Value::Object(values)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let text = r#"{"a": [null, true, -1, 2, 0.5, "x", {"a": {}}], "b": {"a": 1}}"#;
        assert_eq!(from_slice(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        for twice in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"a": 1, "c": 2, "a": 3}}]"#, r#"{"a": 1, "\u0061": 2}"#] {
            assert!(serde_json::from_str::<Value>(twice).is_ok());
            let refused = from_slice(twice.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("`a` is given twice"), "{refused}");
        }
        assert!(from_slice(b"{} {}").is_err());
    }
}
