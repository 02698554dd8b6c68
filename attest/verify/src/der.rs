//! The little DER (X.690) that is written and read here by hand: what hands a TPM's key or signature to a verifier, what
//! a certificate is spelled again with, and what no crate here reads, the DICE extension and stored OCSP answers.
//!
//! `asn1-rs`, which `x509-parser` brings, reads lengths in any form. Here each has its shortest, so that nothing can be
//! written in two ways.

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// `INTEGER` of an unsigned big-endian number.
pub(crate) fn unsigned(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    let mut content = Vec::with_capacity(number.len() + 1);
    let digits = number.get(start..).unwrap_or_default();
    if digits.first().is_none_or(|&byte| byte >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    tagged(INTEGER, &[&content])
}

/// `SEQUENCE` of parts that are DER already.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(SEQUENCE, parts)
}

/// `BIT STRING` of whole bytes.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tagged(BIT_STRING, &[&[0], bytes])
}

/// Any tag around the parts.
pub(crate) fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    let bytes = length.to_be_bytes();
    if let Ok(short @ ..0x80) = u8::try_from(length) {
        out.push(short);
    } else {
        let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len() - 1);
        let digits = bytes.get(start..).unwrap_or_default();
        // A usize has at most eight bytes, so the count fits beside the high bit.
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
        out.extend_from_slice(digits);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// One value: its tag, its contents, and all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    /// The identifier octet. High tag numbers are not read: nothing here has them.
    pub(crate) tag: u8,
    /// What is inside.
    pub(crate) content: &'a [u8],
    /// With tag and length.
    pub(crate) whole: &'a [u8],
}

/// Reads values one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// One value and nothing after it.
    pub(crate) fn only(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let mut reader = Self::new(bytes);
        let content = reader.take(tag)?;
        reader.rest.is_empty().then(|| Self::new(content))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is: definite length, in its shortest form.
    pub(crate) fn next(&mut self) -> Option<Value<'a>> {
        let (&tag, after) = self.rest.split_first()?;
        let (&first, after) = after.split_first()?;
        let (length, body) = match first {
            0..=0x7f => (usize::from(first), after),
            0x81..=0x83 => {
                let (digits, body) = after.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0, |sum, &digit| sum << 8 | usize::from(digit));
                let shortest = digits.first() != Some(&0) && length >= 0x80;
                (shortest.then_some(length)?, body)
            }
            _ => return None,
        };
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (content, rest) = body.split_at_checked(length)?;
        let (whole, _) = self.rest.split_at_checked(self.rest.len() - rest.len())?;
        self.rest = rest;
        Some(Value { tag, content, whole })
    }

    /// The contents of the next value, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let value = ahead.next().filter(|value| value.tag == tag)?;
        *self = ahead;
        Some(value.content)
    }

    /// The values inside the next one.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self::new)
    }

    /// Whether the next value has this tag.
    pub(crate) fn is(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_is_minimal() {
        assert_eq!(unsigned(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(bit_string(&[7]), [3, 2, 0, 7]);
        assert_eq!(sequence(&[&[1; 127]])[..2], [0x30, 0x7f]);
        assert_eq!(sequence(&[&[1; 128]])[..3], [0x30, 0x81, 0x80]);
        assert_eq!(sequence(&[&[1; 256]])[..4], [0x30, 0x82, 1, 0]);
    }

    #[test]
    fn only_definite_shortest_lengths_are_read() {
        let mut reader = Reader::new(&[0x30, 3, 2, 1, 5, 4, 0]);
        let mut inner = reader.enter(SEQUENCE).unwrap();
        assert_eq!(inner.take(OCTET_STRING), None);
        assert_eq!(inner.take(INTEGER), Some([5].as_slice()));
        assert!(inner.is_empty() && reader.is(OCTET_STRING));
        assert_eq!(reader.next().unwrap().whole, [4, 0]);
        for wrong in [&[0x30, 0x80, 0, 0][..], &[2, 0x81, 1, 5], &[2, 0x82, 0, 0x80], &[2, 2, 5], &[0x1f, 0], &[2]] {
            assert!(Reader::new(wrong).next().is_none(), "{wrong:?}");
        }
        assert!(Reader::only(&[0x30, 0, 0], SEQUENCE).is_none());
    }
}
