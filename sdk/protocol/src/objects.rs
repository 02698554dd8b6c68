//! Reading JSON in which an object is an object.
//!
//! Serde's derived readers take a struct from an array, too: its fields by their places. Then
//! `["release"]` would be a challenge request, a field could be given without its name, and two
//! implementations would disagree about what is a request at all. The protocol says objects.
//!
//! ```text
//! from_slice ─> Objects(serde_json::Deserializer) ─> the type's own reader
//!                 └─ wherever it asks for a struct, a sequence is refused; all else passes through
//! ```
//!
//! It costs no pass of its own over the text and no allocation: every call is handed on.
//!
//! A type that buffers what it reads (`#[serde(tag)]`, `untagged`, `flatten`) reads its fields from
//! that buffer, where nothing is refused: types that are read from strangers do without these.

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
    },
};
use std::fmt;

/// Reads one JSON text, whole, in which structs are objects; an error names line and column.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = T::deserialize(Objects(&mut reader))?;
    reader.end()?;
    Ok(value)
}

/// A reader that takes structs from objects only.
struct Objects<D>(D);

/// A visitor, a seed, or access to parts, within such a reader.
struct Within<T>(T);

/// The visitor of a struct.
struct Object<V>(V);

macro_rules! hand_on {
    ($($method:ident($($name:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            self.0.$method($($name,)* Within(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Objects<D> {
    type Error = D::Error;

    hand_on! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32()
        deserialize_i64() deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32()
        deserialize_u64() deserialize_u128() deserialize_f32() deserialize_f64() deserialize_char()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_seq() deserialize_map()
        deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, Object(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Within(map))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<V::Value, A::Error> {
        Err(de::Error::invalid_type(Unexpected::Seq, &self))
    }
}

macro_rules! visit {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> { self.0.$method(value) })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
    visit! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32)
        visit_f64(f64) visit_char(char) visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }
    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }
    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Objects(inner))
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Objects(inner))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Within(parts))
    }
    fn visit_map<A: MapAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Within(parts))
    }
    fn visit_enum<A: EnumAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Within(parts))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Within<S> {
    type Value = S::Value;
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Objects(inner))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Within<A> {
    type Error = A::Error;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Within(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Within<A> {
    type Error = A::Error;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(Within(seed))
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Within(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Within<A> {
    type Error = A::Error;
    type Variant = Within<A::Variant>;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        self.0.variant_seed(Within(seed)).map(|(value, variant)| (value, Within(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Within<A> {
    type Error = A::Error;
    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Within(seed))
    }
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(length, Within(visitor))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Object(visitor))
    }
}

/// Reads a value that is there, where one that is missing or `null` has another meaning: with
/// `#[serde(default)]`, `None` is missing and `Some(None)` is null.
#[expect(clippy::option_option, reason = "null and missing are two things")]
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        challenge::ChallengeRequest, evidence::Evidence, join::JoinFile, lease::RevokeLease, release::ReleaseRequest,
    };
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        a: u8,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Choice {
        One(Inner),
        Two { a: u8 },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        plain: Inner,
        maybe: Option<Inner>,
        many: Vec<Inner>,
        named: BTreeMap<String, Inner>,
        pair: (u8, Inner),
        choices: Vec<Choice>,
        any: Value,
    }

    fn outer() -> Value {
        json!({
            "plain": {"a": 1}, "maybe": {"a": 2}, "many": [{"a": 3}], "named": {"x": {"a": 4}},
            "pair": [5, {"a": 6}], "choices": [{"One": {"a": 7}}, {"Two": {"a": 8}}], "any": [[1], {"b": [null]}],
        })
    }

    #[test]
    fn what_is_an_object_is_read_as_serde_reads_it() {
        let text = outer().to_string();
        let read: Outer = from_slice(text.as_bytes()).unwrap();
        assert_eq!(read, serde_json::from_str(&text).unwrap());
        assert_eq!(from_slice::<Value>(text.as_bytes()).unwrap(), outer());
        assert!(from_slice::<Value>(b"{} {}").is_err(), "one text and no more");
    }

    #[test]
    fn an_array_is_no_struct_wherever_it_stands() {
        let places = ["/plain", "/maybe", "/many/0", "/named/x", "/pair/1", "/choices/0/One", "/choices/1/Two"];
        for place in places {
            let mut wrong = outer();
            *wrong.pointer_mut(place).unwrap() = json!([1]);
            let text = wrong.to_string();
            assert!(serde_json::from_str::<Outer>(&text).is_ok(), "{place}: serde would take it");
            let refused = from_slice::<Outer>(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("expected an object"), "{place}: {refused}");
        }
        assert!(from_slice::<Inner>(b"[1]").is_err());
    }

    #[test]
    fn requests_are_objects() {
        assert!(from_slice::<ChallengeRequest>(br#"{"purpose":"release"}"#).is_ok());
        assert!(from_slice::<ChallengeRequest>(br#"["release"]"#).is_err());
        assert!(from_slice::<RevokeLease>(br#"["why"]"#).is_err());
        assert!(from_slice::<JoinFile>(br#"[1,"https://a","",[],""]"#).is_err());
        let evidence = |pcrs: Value| {
            let ak = crate::Fixed([0_u8; 32]);
            json!({ "type": "tpm2", "ak": ak, "message": "", "signature": "", "pcrs": pcrs })
        };
        let request = |item: Value| json!({ "statement": "AA", "evidence": [item] }).to_string();
        let good = request(evidence(json!({ "bank": "sha256", "values": {} })));
        assert!(from_slice::<ReleaseRequest>(good.as_bytes()).is_ok());
        for wrong in [
            request(evidence(json!(["sha256", {}]))),
            request(json!(["tpm2", crate::Fixed([0_u8; 32]), "", "", { "bank": "sha256", "values": {} }])),
        ] {
            assert!(from_slice::<ReleaseRequest>(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(from_slice::<Evidence>(br#"{"type":"tpm1"}"#).is_err());
    }
}
