//! Golden values, read from the canonical bytes that the signature covers.

use super::{
    RimKind,
    markup::{self, SWID},
};
use crate::{nvidia::GpuRefused, x509::printable};
use std::collections::BTreeMap;
use uppsala::{Document, Element, NodeId};

/// The namespace of the attributes `Hash0`, `Hash1`, …
const HASHES: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
/// Most alternatives of one measurement.
const ALTERNATIVES: usize = 64;
/// Most bytes of a golden value.
const SIZE: usize = 1024;
/// Most characters of a version or a tag id.
const TEXT: usize = 256;

/// What one measurement may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Golden {
    /// Whether it is to be compared.
    pub active: bool,
    /// The accepted values, all of one size.
    pub values: Vec<Vec<u8>>,
    /// What NVIDIA calls it.
    pub name: String,
}

/// What a manifest says.
pub(super) struct Tag {
    pub(super) version: String,
    pub(super) id: String,
    pub(super) golden: BTreeMap<u8, Golden>,
}

/// Reads a canonical manifest.
pub(super) fn read(canonical: &str, rim: RimKind) -> Result<Tag, GpuRefused> {
    let malformed = |problem: String| GpuRefused::G3Malformed { rim, problem };
    let document = &markup::parse(canonical).map_err(malformed)?;
    let root = document.document_element().ok_or_else(|| malformed("it is empty".to_owned()))?;
    let children = markup::elements(document, root).map_err(malformed)?;
    let one = |name: &str| {
        let mut found = children.iter().copied().filter(|&child| markup::is(document, child, SWID, name));
        match (found.next(), found.next()) {
            (Some(child), None) => Ok(child),
            _ => Err(malformed(format!("it has not exactly one {name}"))),
        }
    };
    let said = |node: NodeId, name: &str| {
        let value = document.element(node).and_then(|element| plain(element, name));
        let value = value.filter(|value| !value.is_empty() && value.len() <= TEXT);
        value.map(printable).ok_or_else(|| malformed(format!("it has no {name}")))
    };
    let version = said(one("Meta")?, "colloquialVersion")?;
    let id = said(root, "tagId")?;
    let mut golden = BTreeMap::new();
    for resource in markup::elements(document, one("Payload")?).map_err(malformed)? {
        let (index, value) = resource_of(document, resource).map_err(|(index, problem)| GpuRefused::G3Golden {
            rim,
            index: printable(&index),
            problem,
        })?;
        if golden.insert(index, value).is_some() {
            return Err(GpuRefused::G3Golden { rim, index: index.to_string(), problem: "stands twice" });
        }
    }
    if golden.values().any(|golden| golden.active) {
        Ok(Tag { version, id, golden })
    } else {
        Err(GpuRefused::G3Empty { rim })
    }
}

/// One `Resource`: its index, and what it accepts.
fn resource_of(document: &Document<'_>, node: NodeId) -> Result<(u8, Golden), (String, &'static str)> {
    let element = document.element(node).filter(|element| element.name.matches(Some(SWID), "Resource"));
    let Some(element) = element else { return Err((String::new(), "is no Resource")) };
    let written = plain(element, "index").unwrap_or_default();
    let refuse = |problem: &'static str| (written.to_owned(), problem);
    if plain(element, "type") != Some("Measurement") {
        return Err(refuse("is of another type than Measurement"));
    }
    let index = number(written).and_then(|index| u8::try_from(index).ok()).filter(|index| *index < 0xff);
    let index = index.ok_or_else(|| refuse("has no index of a measurement"))?;
    let active = match plain(element, "active") {
        Some("True") => true,
        Some("False") => false,
        _ => return Err(refuse("is neither active nor not")),
    };
    let size = plain(element, "size").and_then(number).filter(|size| (1..=SIZE).contains(size));
    let size = size.ok_or_else(|| refuse("has no size"))?;
    let alternatives = plain(element, "alternatives").and_then(number).filter(|count| *count <= ALTERNATIVES);
    let alternatives = alternatives.ok_or_else(|| refuse("has no count of alternatives"))?;
    let hashes: Vec<_> = element.attributes.iter().filter(|found| found.name.namespace_uri.is_some()).collect();
    if hashes.len() != alternatives {
        return Err(refuse("has another number of values than it says"));
    }
    let mut values = Vec::with_capacity(alternatives);
    for place in 0..alternatives {
        let value = element.get_attribute_ns(HASHES, &format!("Hash{place}"));
        let value = value.ok_or_else(|| refuse("has a value under another name"))?;
        let value = bytes(value).ok_or_else(|| refuse("has a value that is not hexadecimal"))?;
        if value.len() != size {
            return Err(refuse("has a value of another size than it says"));
        }
        values.push(value);
    }
    let name = plain(element, "name").map(printable).unwrap_or_default();
    Ok((index, Golden { active, values, name }))
}

/// An attribute in no namespace.
fn plain<'a>(element: &'a Element<'_>, name: &str) -> Option<&'a str> {
    element.attributes.iter().find(|found| found.name.matches(None, name)).map(|found| &*found.value)
}

/// A decimal number in its shortest form.
fn number(text: &str) -> Option<usize> {
    let number: usize = text.parse().ok()?;
    (text.len() <= 4 && number.to_string() == text).then_some(number)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let pairs = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    pairs.collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}
