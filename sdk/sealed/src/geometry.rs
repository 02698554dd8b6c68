//! The trailer, and the arithmetic that places header, chunks, index and trailer in a file.

use crate::{
    ReadAt, SealedError,
    header::{ChunkSize, HEADER, MAGIC},
};

/// Bytes of the trailer.
pub(crate) const TRAILER: usize = 32;
/// Bytes of an AEAD tag.
pub(crate) const TAG: usize = 16;
/// Bytes of a chunk's hash.
pub(crate) const HASH: usize = 32;
/// The plaintext's length at the most.
pub(crate) const PLAINTEXT_MAX: u64 = 1 << 48;
/// Chunks of a file at the most.
pub(crate) const CHUNKS_MAX: u64 = 1 << 26;
/// The index's plaintext is a multiple of this.
pub(crate) const INDEX_UNIT: u64 = 4096;
/// What an index may have beyond its tags and hashes.
const INDEX_SLACK: u64 = 1 << 20;

/// The sizes of one file: all derive from the plaintext's length, the chunk size and the index's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// The plaintext's length, bytes.
    pub(crate) n: u64,
    /// The size of all chunks but the last.
    pub(crate) chunk_size: ChunkSize,
    /// The encrypted index's length, its tag included, bytes.
    pub(crate) index_len: u64,
}

impl Geometry {
    /// Checks lengths against the caps of the format; all later arithmetic on them cannot overflow.
    pub(crate) fn new(n: u64, chunk_size: ChunkSize, index_len: u64) -> Result<Self, SealedError> {
        let chunks = chunk_count(n, chunk_size)?;
        within("the index's length", index_len, (TAG + HASH) as u64 * chunks + INDEX_SLACK)?;
        let plain = index_len.checked_sub(TAG as u64).filter(|plain| *plain > 0);
        if plain.is_none_or(|plain| !plain.is_multiple_of(INDEX_UNIT)) {
            return Err(SealedError::IndexTampered { what: "its length is not a multiple of 4,096" });
        }
        Ok(Self { n, chunk_size, index_len })
    }

    /// Reads the trailer at the end of `source` and compares the file's size with it.
    pub(crate) fn read(source: &(impl ReadAt + ?Sized), chunk_size: ChunkSize) -> Result<Self, SealedError> {
        let actual = source.len().map_err(|e| SealedError::from_io("find the file's length", e))?;
        let least = HEADER as u64 + INDEX_UNIT + (TAG + TRAILER) as u64;
        if actual < least {
            return Err(SealedError::Truncated { expected: None, actual });
        }
        let mut trailer = [0; TRAILER];
        source
            .read_exact_at(&mut trailer, actual - TRAILER as u64)
            .map_err(|e| SealedError::from_io("read the trailer", e))?;
        let geometry = Self::parse(&trailer, chunk_size, actual)?;
        let expected = geometry.file_len();
        if expected != actual {
            return Err(SealedError::Truncated { expected: Some(expected), actual });
        }
        Ok(geometry)
    }

    /// Reads the trailer's fields; `actual` is the file's size, for the error.
    pub(crate) fn parse(trailer: &[u8; TRAILER], chunk_size: ChunkSize, actual: u64) -> Result<Self, SealedError> {
        let (words, _) = trailer.as_chunks::<8>();
        let [n, index_len, zeros, magic] = words else {
            return Err(SealedError::Truncated { expected: None, actual });
        };
        if *magic != MAGIC {
            return Err(SealedError::Truncated { expected: None, actual });
        }
        if *zeros != [0; 8] {
            return Err(SealedError::IndexTampered { what: "the trailer's reserved bytes are not zero" });
        }
        Self::new(u64::from_le_bytes(*n), chunk_size, u64::from_le_bytes(*index_len))
    }

    /// The trailer's bytes.
    pub(crate) fn trailer(&self) -> [u8; TRAILER] {
        let mut trailer = [0; TRAILER];
        let words = [self.n.to_le_bytes(), self.index_len.to_le_bytes(), [0; 8], MAGIC];
        for (to, from) in trailer.iter_mut().zip(words.as_flattened()) {
            *to = *from;
        }
        trailer
    }

    /// How many chunks there are.
    pub(crate) fn chunks(&self) -> u64 {
        self.n.div_ceil(self.chunk_size.bytes())
    }

    /// The end of chunk `chunk` in the plaintext: its beginning is `chunk` chunk sizes.
    pub(crate) fn chunk_end(&self, chunk: u64) -> u64 {
        chunk.saturating_add(1).saturating_mul(self.chunk_size.bytes()).min(self.n)
    }

    /// Where the index begins in the file.
    pub(crate) fn index_at(&self) -> u64 {
        HEADER as u64 + self.n
    }

    /// The whole file's length.
    pub(crate) fn file_len(&self) -> u64 {
        self.index_at() + self.index_len + TRAILER as u64
    }
}

/// `⌈n / C⌉`, checked against the caps.
pub(crate) fn chunk_count(n: u64, chunk_size: ChunkSize) -> Result<u64, SealedError> {
    within("the plaintext's length", n, PLAINTEXT_MAX)?;
    let chunks = n.div_ceil(chunk_size.bytes());
    within("the number of chunks", chunks, CHUNKS_MAX)?;
    Ok(chunks)
}

/// The chunk size that `n` bytes are written with: the wanted one, or the smallest with few enough chunks.
pub(crate) fn raise_chunk_size(n: u64, wanted: ChunkSize) -> Result<ChunkSize, SealedError> {
    let mut size = wanted;
    while size < ChunkSize::MAX && n.div_ceil(size.bytes()) > CHUNKS_MAX {
        size = ChunkSize::from_log2(size.log2() + 1).unwrap_or(ChunkSize::MAX);
    }
    chunk_count(n, size)?;
    Ok(size)
}

fn within(what: &'static str, value: u64, limit: u64) -> Result<(), SealedError> {
    if value > limit { Err(SealedError::LimitExceeded { what, value, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const C: ChunkSize = ChunkSize::MIN;
    const INDEX: u64 = 4096 + 16;

    fn file(geometry: &Geometry) -> Vec<u8> {
        let mut file = vec![0; usize::try_from(geometry.file_len()).unwrap()];
        let at = file.len() - TRAILER;
        file[at..].copy_from_slice(&geometry.trailer());
        file
    }

    #[test]
    fn a_trailer_is_read_back() {
        let geometry = Geometry::new(100_000, C, INDEX).unwrap();
        assert_eq!(geometry.chunks(), 2);
        assert_eq!(geometry.chunk_end(0), 65_536);
        assert_eq!(geometry.chunk_end(1), 100_000);
        assert_eq!(geometry.file_len(), 4096 + 100_000 + INDEX + 32);
        assert_eq!(Geometry::read(&file(&geometry), C).unwrap(), geometry);
    }

    #[test]
    fn a_file_of_another_length_is_named() {
        let geometry = Geometry::new(100_000, C, INDEX).unwrap();
        let good = file(&geometry);
        let expected = geometry.file_len();

        let mut longer = vec![0; 16];
        longer.extend_from_slice(&good);
        let error = Geometry::read(&longer, C).unwrap_err();
        assert!(
            matches!(error, SealedError::Truncated { expected: Some(e), actual } if e == expected && actual == e + 16)
        );
        let error = Geometry::read(&good[16..], C).unwrap_err();
        assert!(
            matches!(error, SealedError::Truncated { expected: Some(e), actual } if e == expected && actual == e - 16)
        );
        for cut in [0, 8239, good.len() - 1] {
            let error = Geometry::read(&good[..cut], C).unwrap_err();
            assert!(matches!(error, SealedError::Truncated { expected: None, .. }), "{cut} {error:?}");
        }
    }

    #[test]
    fn reserved_bytes_and_odd_index_lengths_are_refused() {
        let geometry = Geometry::new(0, C, INDEX).unwrap();
        let mut trailer = geometry.trailer();
        trailer[16] = 1;
        assert!(matches!(Geometry::parse(&trailer, C, 0), Err(SealedError::IndexTampered { .. })));
        for length in [0, 15, 16, INDEX - 1, INDEX + 1] {
            assert!(matches!(Geometry::new(0, C, length), Err(SealedError::IndexTampered { .. })), "{length}");
        }
    }

    #[test]
    fn caps_hold_exactly() {
        let what = |n, chunk_size, index| match Geometry::new(n, chunk_size, index) {
            Ok(_) => "fits",
            Err(SealedError::LimitExceeded { what, .. }) => what,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(what(1 << 48, ChunkSize::MAX, INDEX), "fits");
        assert_eq!(what((1 << 48) + 1, ChunkSize::MAX, INDEX), "the plaintext's length");
        assert_eq!(what(1 << 42, C, INDEX), "fits");
        assert_eq!(what((1 << 42) + 1, C, INDEX), "the number of chunks");
        let most = 48 + (1 << 20);
        assert_eq!(what(1, C, (most - 16) / 4096 * 4096 + 16), "fits");
        assert_eq!(what(1, C, most + 1), "the index's length");
        assert_eq!(what(0, C, u64::MAX), "the index's length");
        assert_eq!(what(u64::MAX, C, u64::MAX), "the plaintext's length");
    }

    #[test]
    fn writers_raise_the_chunk_size() {
        assert_eq!(raise_chunk_size(1 << 42, C).unwrap(), C);
        assert_eq!(raise_chunk_size((1 << 42) + 1, C).unwrap().log2(), 17);
        assert_eq!(raise_chunk_size(1 << 48, C).unwrap().log2(), 22);
        assert!(matches!(raise_chunk_size((1 << 48) + 1, C), Err(SealedError::LimitExceeded { .. })));
    }

    proptest! {
        #[test]
        fn no_trailer_overflows(trailer: [u8; 32], log2 in 16_u8..=24, n in 0..=u64::MAX, index in 0..=u64::MAX) {
            let chunk_size = ChunkSize::from_log2(log2).unwrap();
            let mut trailer = trailer;
            let _ = Geometry::parse(&trailer, chunk_size, 0);
            trailer[..8].copy_from_slice(&n.to_le_bytes());
            trailer[8..16].copy_from_slice(&index.to_le_bytes());
            trailer[16..24].fill(0);
            trailer[24..].copy_from_slice(&MAGIC);
            if let Ok(geometry) = Geometry::parse(&trailer, chunk_size, 0) {
                prop_assert_eq!(geometry.trailer(), trailer);
                prop_assert!(geometry.file_len() > geometry.n);
            }
        }
    }
}
