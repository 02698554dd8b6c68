//! Reading DER (X.690) where no crate here reads what NVIDIA writes: the DICE extension, and stored OCSP answers.

/// One value: its tag, its contents, and all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    /// The identifier octet. High tag numbers are not read: nothing here has them.
    pub(super) tag: u8,
    /// What is inside.
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// Reads values one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// One value and nothing after it.
    pub(super) fn only(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let mut reader = Self::new(bytes);
        let content = reader.take(tag)?;
        reader.rest.is_empty().then(|| Self::new(content))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is: definite length, in its shortest form.
    pub(super) fn next(&mut self) -> Option<Value<'a>> {
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
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let value = ahead.next().filter(|value| value.tag == tag)?;
        *self = ahead;
        Some(value.content)
    }

    /// The values inside the next one.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self::new)
    }

    /// Whether the next value has this tag.
    pub(super) fn is(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
