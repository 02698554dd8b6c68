//! The part of CBOR (RFC 8949) that the index needs, in its deterministic encoding (§4.2.1) only.
//!
//! Read by hand because the libraries at hand accept what must be refused here: lengths that are not
//! the shortest, indefinite lengths, keys twice or out of order. One index has one encoding. Only
//! whether a floating-point number is the shortest form of its value is not checked: no known key has one.

/// Arrays, maps and tags within one another at the most; a known value needs none.
const DEPTH: u8 = 16;

/// What is wrong with an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CborError {
    /// It ends too early.
    Short,
    /// A length or number is not in its shortest form, or a length is indefinite, or the form is reserved.
    NotDeterministic,
    /// Keys of a map are not in ascending order, or one stands there twice.
    KeyOrder,
    /// Text is not UTF-8.
    NotUtf8,
    /// Nested too deep.
    Depth,
    /// Another type than the one asked for.
    Type,
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAGGED: u8 = 6;

/// Reads from a slice; allocates nothing.
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(encoded: &'a [u8]) -> Self {
        Self { rest: encoded }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads a map and calls `entry` with each text key; `entry` reads the value, or answers `false`
    /// to have it skipped. Keys that are not text are skipped with their values.
    pub(crate) fn map(
        &mut self,
        mut entry: impl FnMut(&'a str, &mut Self) -> Result<bool, CborError>,
    ) -> Result<(), CborError> {
        let count = self.length(MAP)?;
        let mut last_key: &[u8] = &[];
        for _ in 0..count {
            let key = self.key(&mut last_key, 1)?;
            let known = match Decoder::new(key).text() {
                Ok(name) => entry(name, self)?,
                Err(_) => false,
            };
            if !known {
                self.skip(1)?;
            }
        }
        Ok(())
    }

    /// An unsigned integer.
    pub(crate) fn unsigned(&mut self) -> Result<u64, CborError> {
        self.length(UNSIGNED)
    }

    /// A byte string.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let length = self.length(BYTES)?;
        self.take(length)
    }

    /// A text string.
    pub(crate) fn text(&mut self) -> Result<&'a str, CborError> {
        let length = self.length(TEXT)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| CborError::NotUtf8)
    }

    /// Reads one item of whatever type, checking its form.
    fn skip(&mut self, depth: u8) -> Result<(), CborError> {
        if depth > DEPTH {
            return Err(CborError::Depth);
        }
        // Each item takes at least a byte, so counts that lie end in `Short`.
        let (major, argument) = self.head()?;
        match major {
            BYTES => self.take(argument).map(|_| ()),
            TEXT => std::str::from_utf8(self.take(argument)?).map(|_| ()).map_err(|_| CborError::NotUtf8),
            ARRAY => (0..argument).try_for_each(|_| self.skip(depth + 1)),
            MAP => {
                let mut last_key: &[u8] = &[];
                (0..argument).try_for_each(|_| {
                    self.key(&mut last_key, depth + 1)?;
                    self.skip(depth + 1)
                })
            }
            TAGGED => self.skip(depth + 1),
            // Numbers and simple values end with their head.
            _ => Ok(()),
        }
    }

    /// A map's key, as its encoded bytes, which must be greater than the last one's.
    fn key(&mut self, last_key: &mut &'a [u8], depth: u8) -> Result<&'a [u8], CborError> {
        let before = self.rest;
        self.skip(depth)?;
        let key = before.get(..before.len() - self.rest.len()).unwrap_or_default();
        if key <= *last_key {
            return Err(CborError::KeyOrder);
        }
        *last_key = key;
        Ok(key)
    }

    fn length(&mut self, wanted: u8) -> Result<u64, CborError> {
        let (major, argument) = self.head()?;
        if major == wanted { Ok(argument) } else { Err(CborError::Type) }
    }

    /// The major type and the argument, whose form must be the shortest.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let (&initial, rest) = self.rest.split_first().ok_or(CborError::Short)?;
        self.rest = rest;
        let (major, info) = (initial >> 5, initial & 0x1f);
        // Of major type 7, two bytes hold a simple value (32 and up) and longer forms a float.
        let least = |number: u64| if major > TAGGED { 0 } else { number };
        let (argument, least) = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => (self.number::<1>()?, if major > TAGGED { 32 } else { 24 }),
            25 => (self.number::<2>()?, least(1 << 8)),
            26 => (self.number::<4>()?, least(1 << 16)),
            27 => (self.number::<8>()?, least(1 << 32)),
            _ => return Err(CborError::NotDeterministic),
        };
        if argument < least { Err(CborError::NotDeterministic) } else { Ok((major, argument)) }
    }

    fn number<const N: usize>(&mut self) -> Result<u64, CborError> {
        let bytes = self.take(N as u64)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CborError> {
        let length = usize::try_from(length).map_err(|_| CborError::Short)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CborError::Short)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Writes a map's head; `count` entries follow, their keys in ascending order of their encodings.
pub(crate) fn push_map(out: &mut Vec<u8>, count: u64) {
    push_head(out, MAP, count);
}

/// Writes an unsigned integer.
pub(crate) fn push_unsigned(out: &mut Vec<u8>, number: u64) {
    push_head(out, UNSIGNED, number);
}

/// Writes a byte string.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_head(out, BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a text string.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    push_head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn push_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let [.., d3, d2, d1, d0] = argument.to_be_bytes();
    let major = major << 5;
    // Additional information of 24 to 27: an argument of 1, 2, 4 or 8 bytes follows.
    match argument {
        0..=23 => out.push(major | d0),
        24..=0xff => out.extend_from_slice(&[major | 0x18, d0]),
        0x100..=0xffff => out.extend_from_slice(&[major | 0x19, d1, d0]),
        0x1_0000..=0xffff_ffff => out.extend_from_slice(&[major | 0x1a, d3, d2, d1, d0]),
        _ => {
            out.push(major | 0x1b);
            out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

// `NEGATIVE` is read like any number; the name is here so that the table of types is whole.
const _: () = assert!(NEGATIVE < BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use ciborium::Value;
    use proptest::prelude::*;

    fn skip(encoded: &[u8]) -> Result<(), CborError> {
        let mut decoder = Decoder::new(encoded);
        decoder.skip(0)?;
        assert!(decoder.rest().is_empty());
        Ok(())
    }

    /// RFC 8949, Appendix A: deterministic examples are read whole, the others refused.
    #[test]
    fn examples_of_the_standard() {
        for good in [
            "00",
            "17",
            "1818",
            "1903e8",
            "1a000f4240",
            "1b000000e8d4a51000",
            "1bffffffffffffffff",
            "20",
            "3903e7",
            "f90000",
            "fa47c35000",
            "fb3ff199999999999a",
            "f4",
            "f6",
            "f0",
            "f8ff",
            "c11a514b67b0",
            "d74401020304",
            "40",
            "4401020304",
            "60",
            "6449455446",
            "64f0908591",
            "80",
            "83010203",
            "8301820203820405",
            "a0",
            "a201020304",
            "a26161016162820203",
            "826161a161626163",
        ] {
            assert_eq!(skip(&hex::decode(good).unwrap()), Ok(()), "{good}");
        }
        for (wrong, error) in [
            ("5f42010243030405ff", CborError::NotDeterministic),
            ("7f657374726561646d696e67ff", CborError::NotDeterministic),
            ("9fff", CborError::NotDeterministic),
            ("bf61610161629f0203ffff", CborError::NotDeterministic),
            ("1800", CborError::NotDeterministic),
            ("1817", CborError::NotDeterministic),
            ("1900ff", CborError::NotDeterministic),
            ("1a0000ffff", CborError::NotDeterministic),
            ("1b00000000ffffffff", CborError::NotDeterministic),
            ("5803010203", CborError::NotDeterministic),
            ("f818", CborError::NotDeterministic),
            ("1c", CborError::NotDeterministic),
            ("ff", CborError::NotDeterministic),
            ("", CborError::Short),
            ("18", CborError::Short),
            ("4201", CborError::Short),
            ("8201", CborError::Short),
            ("9bffffffffffffffff00", CborError::Short),
            ("5bffffffffffffffff00", CborError::Short),
            ("a101", CborError::Short),
            ("a201020102", CborError::KeyOrder),
            ("a202020102", CborError::KeyOrder),
            ("a2626161016162", CborError::KeyOrder),
            ("61ff", CborError::NotUtf8),
        ] {
            assert_eq!(skip(&hex::decode(wrong).unwrap()), Err(error), "{wrong}");
        }
    }

    #[test]
    fn depth_is_capped() {
        for head in [0x81_u8, 0xc1] {
            let nested = |depth: usize| [vec![head; depth], vec![0]].concat();
            assert_eq!(skip(&nested(16)), Ok(()));
            assert_eq!(skip(&nested(17)), Err(CborError::Depth));
            assert_eq!(skip(&nested(1_000_000)), Err(CborError::Depth));
        }
        let keys = |depth: usize| [vec![0xa1; depth], vec![0; depth + 1]].concat();
        assert_eq!(skip(&keys(16)), Ok(()));
        assert_eq!(skip(&keys(100_000)), Err(CborError::Depth));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_by_another_library(number: u64, bytes: Vec<u8>, text: String) {
            let mut out = Vec::new();
            push_map(&mut out, 3);
            push_text(&mut out, "a");
            push_unsigned(&mut out, number);
            push_text(&mut out, "b");
            push_bytes(&mut out, &bytes);
            push_text(&mut out, "c");
            push_text(&mut out, &text);
            let value: Value = ciborium::from_reader(out.as_slice()).unwrap();
            let expected = Value::Map(vec![
                ("a".into(), number.into()),
                ("b".into(), bytes.clone().into()),
                ("c".into(), text.clone().into()),
            ]);
            prop_assert_eq!(&value, &expected);
            let mut again = Vec::new();
            ciborium::into_writer(&expected, &mut again).unwrap();
            prop_assert_eq!(again, out);
        }

        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = Decoder::new(&bytes).skip(0);
            let _ = Decoder::new(&bytes).map(|_, value| value.bytes().map(|_| true));
        }
    }
}
