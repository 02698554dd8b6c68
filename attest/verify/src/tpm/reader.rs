//! Big-endian reading with caps, and why a structure was not read.

use strongroom_protocol::limits;

/// Why bytes were not taken for a TPM structure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than any such structure.
    #[error("{actual} bytes are more than the {limit} that a TPM structure may have")]
    TooLong {
        /// The cap, bytes.
        limit: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// Ends inside a field.
    #[error("it ends inside {field}")]
    Truncated {
        /// The field.
        field: &'static str,
    },
    /// Something follows the structure.
    #[error("{extra} bytes follow the structure: send exactly one structure, without a TPM2B size around it")]
    Trailing {
        /// Bytes that follow.
        extra: usize,
    },
    /// A sized field is larger than it may be.
    #[error("{field} has {actual}, allowed are {limit}")]
    Oversized {
        /// The field.
        field: &'static str,
        /// The cap, bytes or elements.
        limit: usize,
        /// What was given.
        actual: usize,
    },
    /// A field does not have the length that its kind prescribes.
    #[error("{field} has {actual} bytes, expected are {expected}")]
    Length {
        /// The field.
        field: &'static str,
        /// Bytes that it must have.
        expected: usize,
        /// Bytes that it has.
        actual: usize,
    },
    /// A value that no verifier here can judge.
    #[error("{field} {value:#06x} ({name}) is not supported")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
        /// The value's name in the TPM specification, or `unknown`.
        name: &'static str,
    },
    /// A value that the specification does not allow.
    #[error("{field} is {value:#x}, which the TPM specification does not allow")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
}

/// Reads one structure from front to back.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts, unless the input is longer than any TPM structure.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, ParseError> {
        if bytes.len() > limits::TPM_STRUCTURE {
            return Err(ParseError::TooLong { limit: limits::TPM_STRUCTURE, actual: bytes.len() });
        }
        Ok(Self { rest: bytes })
    }

    /// The structure must end here.
    pub(super) fn finish(self) -> Result<(), ParseError> {
        if self.rest.is_empty() { Ok(()) } else { Err(ParseError::Trailing { extra: self.rest.len() }) }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, ParseError> {
        self.array(field).map(|[byte]: [u8; 1]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, ParseError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, ParseError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, ParseError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A `TPM2B`: u16 size, then that many bytes, at most `limit`.
    pub(super) fn sized(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], ParseError> {
        let size = usize::from(self.u16(field)?);
        if size > limit {
            return Err(ParseError::Oversized { field, limit, actual: size });
        }
        self.take(field, size)
    }

    pub(super) fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], ParseError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ParseError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ParseError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ParseError::Truncated { field })?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_big_endian_and_capped() {
        let mut reader = Reader::new(&[1, 2, 0, 2, 7, 8, 9]).unwrap();
        assert_eq!(reader.u16("a"), Ok(0x0102));
        assert_eq!(reader.sized("b", 2), Ok([7, 8].as_slice()));
        assert_eq!(reader.u16("c"), Err(ParseError::Truncated { field: "c" }));
        assert_eq!(reader.finish(), Err(ParseError::Trailing { extra: 1 }));

        let mut reader = Reader::new(&[0xff, 0xff]).unwrap();
        assert_eq!(reader.sized("d", 64), Err(ParseError::Oversized { field: "d", limit: 64, actual: 0xffff }));
        assert!(Reader::new(&vec![0; limits::TPM_STRUCTURE + 1]).is_err());
    }
}
