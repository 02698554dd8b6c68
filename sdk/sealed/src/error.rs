//! What can go wrong with a sealed file, each fault under the name that the format gives it.

use std::{io, path::PathBuf};
use strongroom_protocol::ObjectId;

/// Why a sealed file could not be read or written.
///
/// A wrong key and a changed header cannot always be told apart, because the key commitment covers
/// the header: a header that no writer could have written is [`Self::HeaderTampered`]; one that is
/// well formed but does not fit the key is [`Self::WrongKey`], whichever of the two was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// The file does not begin with the magic of the format.
    #[error("not a sealed file: it does not begin with the format's magic")]
    NotSealed,
    /// A later version of the format, or a cipher suite that this one does not know.
    #[error("sealed with {found}, which this version cannot read: use a newer one")]
    UnsupportedVersion {
        /// The version or suite, as the header names it.
        found: String,
    },
    /// The file's length is not what its trailer says, or it does not end in a trailer: it was cut
    /// or extended, or is still being written.
    #[error("the file was cut or extended: it has {actual} bytes{}", expected_bytes(*.expected))]
    Truncated {
        /// The size that the trailer gives, bytes; `None` where there is no trailer to say it.
        expected: Option<u64>,
        /// The size that the file has, bytes.
        actual: u64,
    },
    /// The key is not this object's, or the header was changed: the two cannot be told apart.
    #[error("the key does not fit: it is another object's, or the header was changed")]
    WrongKey,
    /// The header holds what no writer writes.
    #[error("the header was changed: {what}")]
    HeaderTampered {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The encrypted index, or the trailer that frames it, was changed.
    #[error("the index was changed: {what}")]
    IndexTampered {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A chunk does not verify. Nothing of it, and nothing else of the same read, was handed out.
    #[error("chunk {chunk}, which begins at byte {offset} of the plaintext, was changed")]
    ChunkTampered {
        /// The chunk's number, from 0.
        chunk: u64,
        /// Where it begins in the plaintext, bytes.
        offset: u64,
    },
    /// A chunk's ciphertext is not the one that the writer hashed: another holder of the key forged it.
    #[error("the ciphertext of chunk {chunk} is not the one that was written: a holder of the key replaced it")]
    HashMismatch {
        /// The chunk's number, from 0.
        chunk: u64,
    },
    /// The asset asks for chunk hashes (`integrity: hashed`) and the file has none.
    #[error("the asset requires chunk hashes and this file has none: seal it again with hashes")]
    HashesMissing,
    /// The file is not the one that the caller expects; no key was asked for.
    #[error("another object than expected: its {what} is {found:?}, expected {expected:?}")]
    ObjectReplaced {
        /// Which part of the identity differs: `asset`, `version` or `object`.
        what: &'static str,
        /// What the caller expects.
        expected: String,
        /// What the untrusted header says.
        found: String,
    },
    /// The caller holds no key for this object.
    #[error("no key granted for object {object} of {asset}@{version}: ask for a lease that names it")]
    KeyNotGranted {
        /// Asset name.
        asset: String,
        /// Key version.
        version: u32,
        /// Object id.
        object: ObjectId,
    },
    /// A size is beyond what the format allows. Nothing was allocated for it.
    #[error("{what} is {value}, the most is {limit}")]
    LimitExceeded {
        /// What is too large.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The largest that is allowed.
        limit: u64,
    },
    /// A range that does not lie within the plaintext, or a destination of the wrong length.
    #[error("bytes {offset} to {offset}+{length} are not within a plaintext of {len} bytes, or not all of it")]
    OutOfRange {
        /// Where the range begins, bytes.
        offset: u64,
        /// Its length, bytes.
        length: u64,
        /// The plaintext's length, bytes.
        len: u64,
    },
    /// The caller's progress object asked to stop. A destination was zeroed, a partial file removed.
    #[error("cancelled")]
    Cancelled,
    /// The writer must not encrypt any more: it would risk using a nonce twice.
    #[error("this writer is poisoned: {why}; begin a new object")]
    Poisoned {
        /// What poisoned it.
        why: &'static str,
    },
    /// The plaintext is not as long as was announced, or changed its length while it was sealed.
    #[error("the plaintext has {actual} bytes, announced were {expected}")]
    LengthChanged {
        /// Announced, bytes.
        expected: u64,
        /// Found, bytes.
        actual: u64,
    },
    /// What the caller asked to be written is not possible.
    #[error("cannot be written: {what}")]
    NotWritable {
        /// What is wrong with the request.
        what: &'static str,
    },
    /// There is a file under the final name already, and the caller did not ask to replace it.
    #[error("{} exists already", .path.display())]
    TargetExists {
        /// The final name.
        path: PathBuf,
    },
    /// No space, quota or file size is left for the sealed file. Nothing stands under its final name.
    #[error("the disk is full, or a quota or file size limit is reached")]
    DiskFull {
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system has no random bytes, or the cipher could not be set up.
    #[error("{doing} failed")]
    Cryptography {
        /// What was being done.
        doing: &'static str,
    },
    /// Any other input or output error.
    #[error("could not {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

fn expected_bytes(expected: Option<u64>) -> String {
    expected.map_or_else(|| " and no trailer at its end".to_owned(), |bytes| format!(", its trailer says {bytes}"))
}

impl SealedError {
    /// Gives an I/O error its name; an error of this crate that travelled inside it is taken out again.
    pub fn from_io(doing: &'static str, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    Self::DiskFull { source }
                }
                _ => Self::Io { doing, source },
            },
        }
    }
}

impl From<SealedError> for io::Error {
    /// Keeps the kind of an I/O error; [`SealedError::from_io`] is the way back.
    fn from(error: SealedError) -> Self {
        let kind = match &error {
            SealedError::Io { source, .. } | SealedError::DiskFull { source } => source.kind(),
            SealedError::Cancelled => io::ErrorKind::Interrupted,
            SealedError::OutOfRange { .. } | SealedError::NotWritable { .. } => io::ErrorKind::InvalidInput,
            SealedError::TargetExists { .. } => io::ErrorKind::AlreadyExists,
            SealedError::Poisoned { .. } | SealedError::Cryptography { .. } => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        };
        // `Interrupted` makes `read_exact` and `io::copy` try again for ever.
        let kind = if kind == io::ErrorKind::Interrupted { io::ErrorKind::Other } else { kind };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_io() {
        let error = io::Error::from(SealedError::ChunkTampered { chunk: 3, offset: 9 });
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(matches!(SealedError::from_io("read", error), SealedError::ChunkTampered { chunk: 3, offset: 9 }));
        assert_eq!(io::Error::from(SealedError::Cancelled).kind(), io::ErrorKind::Other);
    }

    #[test]
    fn a_full_disk_has_its_own_name() {
        for errno in [libc::ENOSPC, libc::EDQUOT, libc::EFBIG] {
            let error = SealedError::from_io("write", io::Error::from_raw_os_error(errno));
            assert!(matches!(error, SealedError::DiskFull { .. }), "{error:?}");
        }
        let error = SealedError::from_io("write", io::Error::from_raw_os_error(libc::EIO));
        assert!(matches!(error, SealedError::Io { .. }));
    }

    #[test]
    fn texts_say_what_to_act_on() {
        let cut = SealedError::Truncated { expected: Some(10), actual: 9 };
        assert_eq!(cut.to_string(), "the file was cut or extended: it has 9 bytes, its trailer says 10");
        let replaced = SealedError::ObjectReplaced { what: "asset", expected: "a".into(), found: "b\n".into() };
        assert_eq!(replaced.to_string(), "another object than expected: its asset is \"b\\n\", expected \"a\"");
    }
}
