//! The header: the first 4,096 bytes, in clear, authenticated by the key commitment.

use crate::{ReadAt, SealedError, open_regular};
use std::path::Path;
use strongroom_protocol::{ObjectId, WriterId, push_length_prefixed};

/// Bytes of the header; ciphertext begins here.
pub const HEADER: usize = 4096;
/// The first and the last 8 bytes of every file.
pub(crate) const MAGIC: [u8; 8] = *b"STRNGRM1";
/// Where the salt stands.
const SALT: std::ops::Range<usize> = 44..68;
/// Where the key commitment stands; zeros here when the header is hashed.
const COMMITMENT: std::ops::Range<usize> = 68..100;
/// Where the asset's name stands, after its length.
const ASSET: usize = 108;
/// HKDF-SHA-256, AES-256-GCM with 16-byte tags.
const SUITE: u8 = 1;
/// Bytes of an asset's name at the most.
const ASSET_MAX: usize = 255;

/// The size of all chunks but the last: a power of two from 64 KiB to 16 MiB, 1 MiB unless chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize(u8);

impl ChunkSize {
    /// 64 KiB.
    pub const MIN: Self = Self(16);
    /// 16 MiB.
    pub const MAX: Self = Self(24);

    /// From a number of bytes; `None` unless it is a power of two from 64 KiB to 16 MiB.
    pub fn new(bytes: u64) -> Option<Self> {
        let log2 = u8::try_from(bytes.checked_ilog2()?).ok()?;
        Self::from_log2(log2).filter(|size| size.bytes() == bytes)
    }

    /// From a logarithm to base 2; `None` unless it is from 16 to 24.
    pub fn from_log2(log2: u8) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&log2).then_some(Self(log2))
    }

    /// The logarithm to base 2.
    pub fn log2(self) -> u8 {
        self.0
    }

    /// Bytes.
    pub fn bytes(self) -> u64 {
        1 << self.0
    }

    /// Bytes, as a length in memory.
    pub(crate) fn len(self) -> usize {
        1 << self.0
    }
}

impl Default for ChunkSize {
    /// 1 MiB.
    fn default() -> Self {
        Self(20)
    }
}

/// What the header says. Untrusted until the index has verified under the object's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The object.
    pub object: ObjectId,
    /// Who wrote it: the id of the lease.
    pub writer: WriterId,
    /// Drawn for this writing of this plaintext; 24 bytes.
    pub salt: [u8; 24],
    /// Commits to the object's key and to this header; 32 bytes.
    pub commitment: [u8; 32],
    /// Key version of the asset.
    pub version: u32,
    /// Asset name, 1 to 255 bytes. The format allows any UTF-8: escape it before showing it.
    pub asset: String,
    /// Size of all chunks but the last.
    pub chunk_size: ChunkSize,
}

impl Header {
    /// Reads a header, strictly: what no writer writes is refused.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, SealedError> {
        check_magic(bytes)?;
        let tampered = |what| SealedError::HeaderTampered { what };
        let suite = byte(bytes, 8);
        if suite != SUITE {
            return Err(SealedError::UnsupportedVersion { found: format!("cipher suite {suite}") });
        }
        let chunk_size = ChunkSize::from_log2(byte(bytes, 9)).ok_or(tampered("no such chunk size"))?;
        if field::<2>(bytes, 10) != [0; 2] {
            return Err(tampered("reserved bytes are not zero"));
        }
        let length = usize::try_from(u32::from_le_bytes(field(bytes, 104))).unwrap_or(usize::MAX);
        if !(1..=ASSET_MAX).contains(&length) {
            return Err(tampered("an asset name has 1 to 255 bytes"));
        }
        let (asset, zeros) =
            bytes.get(ASSET..).and_then(|rest| rest.split_at_checked(length)).ok_or(tampered("no asset name"))?;
        let asset = std::str::from_utf8(asset).map_err(|_| tampered("the asset name is not UTF-8"))?;
        if zeros.iter().any(|&b| b != 0) {
            return Err(tampered("padding is not zero"));
        }
        Ok(Self {
            object: ObjectId::from(field(bytes, 12)),
            writer: WriterId::from(field(bytes, 28)),
            salt: field(bytes, SALT.start),
            commitment: field(bytes, COMMITMENT.start),
            version: u32::from_le_bytes(field(bytes, 100)),
            asset: asset.to_owned(),
            chunk_size,
        })
    }

    /// The header's bytes; an error when the asset's name has not 1 to 255 bytes.
    pub fn to_bytes(&self) -> Result<Box<[u8; HEADER]>, SealedError> {
        if !(1..=ASSET_MAX).contains(&self.asset.len()) {
            return Err(SealedError::NotWritable { what: "an asset name has 1 to 255 bytes" });
        }
        let mut front = Vec::with_capacity(ASSET + ASSET_MAX);
        front.extend_from_slice(&MAGIC);
        front.extend_from_slice(&[SUITE, self.chunk_size.log2(), 0, 0]);
        front.extend_from_slice(self.object.as_array());
        front.extend_from_slice(self.writer.as_array());
        front.extend_from_slice(&self.salt);
        front.extend_from_slice(&self.commitment);
        front.extend_from_slice(&self.version.to_le_bytes());
        push_length_prefixed(&mut front, self.asset.as_bytes());
        let mut bytes = Box::new([0; HEADER]);
        for (to, from) in bytes.iter_mut().zip(front) {
            *to = from;
        }
        Ok(bytes)
    }

    /// Reads the header of a file, for which no key is needed.
    pub fn peek(source: &(impl ReadAt + ?Sized)) -> Result<Self, SealedError> {
        Self::parse(&*read_header(source)?)
    }

    /// Reads the header of the file at `path`, for which no key is needed.
    pub fn peek_path(path: &Path) -> Result<Self, SealedError> {
        let file = open_regular(path).map_err(|e| SealedError::from_io("open the sealed file", e))?;
        Self::peek(&file)
    }
}

/// SHA-256 of all 4,096 bytes with the commitment's place zeroed: what the derivation binds.
pub(crate) fn commitment_hash(bytes: &[u8; HEADER]) -> [u8; 32] {
    let (front, rest) = bytes.split_at(COMMITMENT.start);
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(front);
    context.update(&[0; 32]);
    context.update(rest.get(32..).unwrap_or_default());
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Reads the first 4,096 bytes. A file too short for them is `NotSealed` or `Truncated`, by its magic.
pub(crate) fn read_header(source: &(impl ReadAt + ?Sized)) -> Result<Box<[u8; HEADER]>, SealedError> {
    let actual = source.len().map_err(|e| SealedError::from_io("find the file's length", e))?;
    let mut bytes = Box::new([0; HEADER]);
    let present = usize::try_from(actual).map_or(HEADER, |actual| actual.min(HEADER));
    if let Some(front) = bytes.get_mut(..present) {
        source.read_exact_at(front, 0).map_err(|e| SealedError::from_io("read the header", e))?;
    }
    check_magic(&bytes)?;
    if present < HEADER {
        return Err(SealedError::Truncated { expected: None, actual });
    }
    Ok(bytes)
}

fn check_magic(bytes: &[u8; HEADER]) -> Result<(), SealedError> {
    let magic: [u8; 8] = field(bytes, 0);
    let [name @ .., version] = magic;
    let [own_name @ .., own_version] = MAGIC;
    if name != own_name {
        return Err(SealedError::NotSealed);
    }
    if version != own_version && version.is_ascii_graphic() {
        return Err(SealedError::UnsupportedVersion { found: format!("format version {:?}", char::from(version)) });
    }
    if version == own_version { Ok(()) } else { Err(SealedError::NotSealed) }
}

/// `N` bytes at a fixed place of the header.
fn field<const N: usize>(bytes: &[u8; HEADER], at: usize) -> [u8; N] {
    // INVARIANT: every caller names a place within the header, so the default is never taken.
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn byte(bytes: &[u8; HEADER], at: usize) -> u8 {
    let [b] = field(bytes, at);
    b
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            object: ObjectId::from([1; 16]),
            writer: WriterId::from([2; 16]),
            salt: [3; 24],
            commitment: [4; 32],
            version: 5,
            asset: "minilm".into(),
            chunk_size: ChunkSize::default(),
        }
    }

    fn refused(change: impl FnOnce(&mut [u8; HEADER])) -> SealedError {
        let mut bytes = header().to_bytes().unwrap();
        change(&mut bytes);
        Header::parse(&bytes).unwrap_err()
    }

    #[test]
    fn fields_stand_where_the_format_says() {
        let bytes = header().to_bytes().unwrap();
        assert_eq!(&bytes[..12], b"STRNGRM1\x01\x14\0\0");
        assert_eq!(bytes[12..28], [1; 16]);
        assert_eq!(bytes[28..44], [2; 16]);
        assert_eq!(bytes[44..68], [3; 24]);
        assert_eq!(bytes[68..100], [4; 32]);
        assert_eq!(&bytes[100..114], b"\x05\0\0\0\x06\0\0\0minilm");
        assert!(bytes[114..].iter().all(|&b| b == 0));
        assert_eq!(Header::parse(&bytes).unwrap(), header());
    }

    #[test]
    fn each_rule_refuses_what_it_alone_forbids() {
        assert!(matches!(refused(|b| b[0] = b's'), SealedError::NotSealed));
        assert!(matches!(refused(|b| b[7] = 0), SealedError::NotSealed));
        assert!(matches!(refused(|b| b[7] = b'2'), SealedError::UnsupportedVersion { found } if found.contains('2')));
        assert!(
            matches!(refused(|b| b[8] = 2), SealedError::UnsupportedVersion { found } if found.contains("suite 2"))
        );
        let what = |e| match e {
            SealedError::HeaderTampered { what } => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(what(refused(|b| b[9] = 15)), "no such chunk size");
        assert_eq!(what(refused(|b| b[9] = 25)), "no such chunk size");
        assert_eq!(what(refused(|b| b[11] = 1)), "reserved bytes are not zero");
        assert_eq!(what(refused(|b| b[104] = 0)), "an asset name has 1 to 255 bytes");
        assert_eq!(what(refused(|b| b[105] = 1)), "an asset name has 1 to 255 bytes");
        assert_eq!(what(refused(|b| b[107] = 255)), "an asset name has 1 to 255 bytes");
        assert_eq!(what(refused(|b| b[108] = 0xff)), "the asset name is not UTF-8");
        assert_eq!(what(refused(|b| b[114] = 1)), "padding is not zero");
        assert_eq!(what(refused(|b| b[4095] = 1)), "padding is not zero");
        assert_eq!(what(refused(|b| b[104] = 5)), "padding is not zero");
    }

    #[test]
    fn names_at_the_limits() {
        for (length, fits) in [(0, false), (1, true), (255, true), (256, false)] {
            let mut long = header();
            long.asset = "a".repeat(length);
            match long.to_bytes() {
                Ok(bytes) => assert!(fits && Header::parse(&bytes).unwrap() == long),
                Err(error) => assert!(!fits && matches!(error, SealedError::NotWritable { .. })),
            }
        }
    }

    #[test]
    fn chunk_sizes_are_powers_of_two_within_bounds() {
        assert_eq!(ChunkSize::new(1 << 20), Some(ChunkSize::default()));
        assert_eq!(ChunkSize::new(1 << 16), Some(ChunkSize::MIN));
        assert_eq!(ChunkSize::new(1 << 24), Some(ChunkSize::MAX));
        for wrong in [0, 1 << 15, 1 << 25, (1 << 20) + 1, u64::MAX] {
            assert_eq!(ChunkSize::new(wrong), None);
        }
    }

    #[test]
    fn the_hash_leaves_out_the_commitment_only() {
        let bytes = header().to_bytes().unwrap();
        let mut zeroed = bytes.clone();
        zeroed[68..100].fill(0);
        assert_eq!(commitment_hash(&bytes), strongroom_protocol::sha256(zeroed.as_slice()));
        for at in 0..HEADER {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(commitment_hash(&other) == commitment_hash(&bytes), COMMITMENT.contains(&at), "{at}");
        }
    }

    #[test]
    fn short_files_are_named_by_what_they_begin_with() {
        assert!(matches!(Header::peek(b"".as_slice()), Err(SealedError::NotSealed)));
        assert!(matches!(Header::peek(b"STRNGRM".as_slice()), Err(SealedError::NotSealed)));
        let bytes = header().to_bytes().unwrap();
        assert!(matches!(Header::peek(&bytes[..4095]), Err(SealedError::Truncated { expected: None, actual: 4095 })));
        assert_eq!(Header::peek(bytes.as_slice()).unwrap(), header());
    }

    proptest! {
        #[test]
        fn what_parses_is_written_back_alike(front in prop::collection::vec(any::<u8>(), 0..200), log2 in 14_u8..27) {
            let mut bytes = header().to_bytes().unwrap();
            bytes[12..12 + front.len()].copy_from_slice(&front);
            bytes[9] = log2;
            if let Ok(parsed) = Header::parse(&bytes) {
                prop_assert_eq!(parsed.to_bytes().unwrap(), bytes);
            }
        }
    }
}
