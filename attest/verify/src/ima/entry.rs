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
}

/// A template whose fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    /// A bare SHA-1 digest and a name, without lengths: the first that there was.
    Ima,
    /// Digest with its algorithm, name; what follows is not read, and is hashed with the rest.
    Named,
}

impl Template {
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "ima" => Some(Self::Ima),
            "ima-ng" | "ima-sig" | "ima-buf" | "ima-modsig" | "evm-sig" | "ima-ngv2" | "ima-sigv2" => Some(Self::Named),
            _ => None,
        }
    }
}

/// Reads the first two fields of a template's data: `u32` little-endian length, then bytes.
pub(super) fn fields(number: u64, data: &[u8]) -> Result<(String, String), ImaRefused> {
    let malformed = |problem| ImaRefused::L8Malformed { entry: number, problem };
    let (digest, rest) = sized(data).ok_or(malformed("ends inside its digest"))?;
    let (name, _) = sized(rest).ok_or(malformed("ends inside its name"))?;
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
    format!("{}:{}", algorithm.strip_prefix("ima:").unwrap_or(algorithm), crate::quote::hex(value))
}

/// A path as text. One that is no UTF-8 is shown with replacement characters; its bytes are in the hash.
pub(super) fn path(number: u64, bytes: &[u8]) -> Result<String, ImaRefused> {
    if bytes.len() > MAX_PATH {
        return Err(ImaRefused::L8Malformed { entry: number, problem: "has a path of more than 4,096 bytes" });
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}
