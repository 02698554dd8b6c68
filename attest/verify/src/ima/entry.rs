//! Entries of an IMA log and the templates that they follow (Linux, `Documentation/security/IMA-templates.rst`).

use super::ImaRefused;
use crate::tpm::HashAlg;

/// Longest path that is read, bytes (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(super) number: u64,
    pub(super) violation: bool,
    /// What the template's hash is of.
    pub(super) data: Vec<u8>,
    pub(super) digest: String,
    pub(super) path: String,
    /// Where the next entry starts, bytes from the start of what was read.
    pub(super) end: usize,
}

impl Entry {
    /// Its place in the node's whole log, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The file changed while it was measured, or was open for writing: its digest means nothing.
    pub fn is_violation(&self) -> bool {
        self.violation
    }

    /// The file's digest: the algorithm as the kernel calls it, a colon, lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The file's path in the mount namespace of who opened it. A hint: whoever may mount chooses it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What PCR 10 of this bank was extended with: the hash of the template's data by the bank's own
    /// algorithm (Linux 5.8 and newer), or ones for a violation.
    pub fn extended(&self, algorithm: HashAlg) -> Vec<u8> {
        if self.violation { vec![0xff; algorithm.digest_length()] } else { algorithm.digest(&[&self.data]) }
    }

    /// Extends a value of PCR 10 by the entry.
    pub(super) fn extend(&self, algorithm: HashAlg, value: &mut Vec<u8>) {
        let extended = if self.violation {
            algorithm.hash(&[value, &self.extended(algorithm)])
        } else {
            algorithm.hash(&[value, algorithm.hash(&[&self.data]).as_ref()])
        };
        value.clear();
        value.extend_from_slice(extended.as_ref());
    }
}

/// How a kernel writes: the hash beside each entry, and the order of bytes in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// SHA-1, but in the files of other banks that Linux 6.9 and newer have too.
    pub(super) hash: HashAlg,
    /// Numbers are big-endian: the kernel of such a machine, without `ima_canonical_fmt`.
    pub(super) big_endian: bool,
}

impl Form {
    pub(super) fn number(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Appends a field of a template's data: its length, then its parts.
    pub(super) fn push(self, data: &mut Vec<u8>, parts: &[&[u8]]) {
        let length = u32::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).unwrap_or(u32::MAX);
        data.extend(if self.big_endian { length.to_be_bytes() } else { length.to_le_bytes() });
        for part in parts {
            data.extend_from_slice(part);
        }
    }
}

/// A template whose fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template<'a> {
    /// A bare SHA-1 digest and a name, without lengths: the first that there was.
    Ima,
    /// The fields of this format: a digest with its algorithm, a name, and more, which are hashed with the rest.
    Fields(&'a str),
}

impl<'a> Template<'a> {
    /// By its name; one that an administrator put together is named by its format.
    pub(super) fn of(name: &'a str) -> Option<Self> {
        let format = match name {
            "ima" => return Some(Self::Ima),
            "ima-ng" => "d-ng|n-ng",
            "ima-sig" => "d-ng|n-ng|sig",
            "ima-ngv2" => "d-ngv2|n-ng",
            "ima-sigv2" => "d-ngv2|n-ng|sig",
            "ima-buf" => "d-ng|n-ng|buf",
            "ima-modsig" => "d-ng|n-ng|sig|d-modsig|modsig",
            "evm-sig" => "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode",
            format => format,
        };
        let mut fields = format.split('|');
        let begins = matches!((fields.next(), fields.next()), (Some("d-ng" | "d-ngv2"), Some("n-ng")));
        (begins && fields.all(|field| Kind::of(field).is_some())).then_some(Self::Fields(format))
    }
}

/// What a field holds (Linux, `security/integrity/ima/ima_template.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `algorithm:`, a NUL, the digest.
    Digest,
    /// Text and a NUL. The kernel writes no spaces into it.
    Text,
    Bytes,
    Number32,
    Number16,
}

impl Kind {
    pub(super) fn of(field: &str) -> Option<Self> {
        match field {
            "d-ng" | "d-ngv2" | "d-modsig" => Some(Self::Digest),
            "n-ng" | "xattrnames" => Some(Self::Text),
            "sig" | "buf" | "modsig" | "evmsig" | "xattrlengths" | "xattrvalues" => Some(Self::Bytes),
            "iuid" | "igid" => Some(Self::Number32),
            "imode" => Some(Self::Number16),
            _ => None,
        }
    }
}

/// Reads the first two fields of a template's data: a length of 32 bits, then bytes.
pub(super) fn fields(form: Form, number: u64, data: &[u8]) -> Result<(String, String), ImaRefused> {
    let malformed = |problem| ImaRefused::L8Malformed { entry: number, problem };
    let (digest, rest) = sized(form, data).ok_or(malformed("ends inside its digest"))?;
    let (name, _) = sized(form, rest).ok_or(malformed("ends inside its name"))?;
    let colon =
        digest.windows(2).position(|pair| pair == b":\0").ok_or(malformed("has a digest without an algorithm"))?;
    let (algorithm, value) = digest.split_at(colon);
    let algorithm = std::str::from_utf8(algorithm).map_err(|_| malformed("has an algorithm that is no text"))?;
    // `ima-ngv2` says whose digest it is before the algorithm: `ima:sha256`, `verity:sha256`.
    let digest = name_digest(algorithm, value.get(2..).unwrap_or_default());
    Ok((digest, path(number, name.strip_suffix(&[0]).unwrap_or(name))?))
}

/// A file's digest as claims and lists name it.
pub(super) fn name_digest(algorithm: &str, value: &[u8]) -> String {
    let algorithm = algorithm.strip_prefix("ima:").unwrap_or(algorithm);
    [algorithm, ":", &crate::quote::hex(value)].concat()
}

/// A path as text. One that is no UTF-8 is shown with replacement characters; its bytes are in the hash.
pub(super) fn path(number: u64, bytes: &[u8]) -> Result<String, ImaRefused> {
    if bytes.len() > MAX_PATH {
        return Err(ImaRefused::L8Malformed { entry: number, problem: "has a path of more than 4,096 bytes" });
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn sized(form: Form, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(form.number(*length)).ok()?)
}
