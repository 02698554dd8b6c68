//! Divides a read into runs of neighbouring chunks, each fetched and decrypted by one thread.

use std::collections::VecDeque;

/// A part of the plaintext, and where the caller wants it.
pub(crate) struct Piece<'d> {
    pub(crate) offset: u64,
    pub(crate) dest: &'d mut [u8],
}

impl Piece<'_> {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.dest.len() as u64)
    }
}

/// Neighbouring chunks, and the pieces that lie in them.
pub(crate) struct Run<'d> {
    /// The first chunk.
    pub(crate) first: u64,
    /// One beyond the last chunk.
    pub(crate) end: u64,
    pub(crate) pieces: Vec<Piece<'d>>,
}

/// An iterator over the runs of a read, in ascending order. It holds the pieces that are left, and
/// nothing for each chunk: a plaintext may have 2^26 of them.
pub(crate) struct Runs<'d> {
    left: VecDeque<Piece<'d>>,
    chunk_size: u64,
    most_chunks: u64,
}

impl<'d> Runs<'d> {
    /// `request` is how many bytes a run may have; at least one chunk is taken.
    pub(crate) fn new(pieces: impl IntoIterator<Item = Piece<'d>>, chunk_size: u64, request: u64) -> Self {
        let mut left: Vec<_> = pieces.into_iter().filter(|piece| !piece.dest.is_empty()).collect();
        left.sort_by_key(|piece| piece.offset);
        Self { left: left.into(), chunk_size, most_chunks: (request / chunk_size).max(1) }
    }

    /// About how many runs there are: not less than there is work for a thread.
    pub(crate) fn estimate(&self) -> u64 {
        let run = self.chunk_size * self.most_chunks;
        self.left.iter().map(|piece| piece.dest.len() as u64 / run + 1).sum()
    }
}

impl<'d> Iterator for Runs<'d> {
    type Item = Run<'d>;

    fn next(&mut self) -> Option<Run<'d>> {
        let first = self.left.front()?.offset / self.chunk_size;
        let limit = (first + self.most_chunks) * self.chunk_size;
        let mut run = Run { first, end: first, pieces: Vec::new() };
        while let Some(piece) = self.left.front() {
            // A piece that begins where no chunk of this run is wanted begins a run of its own.
            let chunk = piece.offset / self.chunk_size;
            let joins = run.pieces.is_empty() || (chunk >= first && chunk <= run.end);
            if !joins || piece.offset >= limit {
                break;
            }
            let Some(Piece { offset, dest }) = self.left.pop_front() else { break };
            let here = usize::try_from(limit - offset).unwrap_or(usize::MAX).min(dest.len());
            let (dest, rest) = dest.split_at_mut(here);
            let piece = Piece { offset, dest };
            run.end = run.end.max(piece.end().div_ceil(self.chunk_size));
            run.pieces.push(piece);
            if !rest.is_empty() {
                self.left.push_front(Piece { offset: limit, dest: rest });
                break;
            }
        }
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// first, end, pieces as (offset, length)
    type Shape = (u64, u64, Vec<(u64, usize)>);

    fn shapes(pieces: &[(u64, usize)], request: u64) -> Vec<Shape> {
        let mut space: Vec<_> = pieces.iter().map(|(offset, length)| (*offset, vec![0_u8; *length])).collect();
        let pieces = space.iter_mut().map(|(offset, dest)| Piece { offset: *offset, dest });
        Runs::new(pieces, 10, request)
            .map(|run| (run.first, run.end, run.pieces.iter().map(|p| (p.offset, p.dest.len())).collect()))
            .collect()
    }

    #[test]
    fn a_file_is_read_chunk_by_chunk() {
        assert_eq!(shapes(&[(0, 25)], 0), [(0, 1, vec![(0, 10)]), (1, 2, vec![(10, 10)]), (2, 3, vec![(20, 5)])]);
        assert_eq!(shapes(&[(9, 2)], 0), [(0, 1, vec![(9, 1)]), (1, 2, vec![(10, 1)])]);
        assert_eq!(shapes(&[(5, 0)], 0), []);
    }

    #[test]
    fn larger_requests_take_neighbours_together() {
        assert_eq!(shapes(&[(5, 30)], 20), [(0, 2, vec![(5, 15)]), (2, 4, vec![(20, 15)])]);
        assert_eq!(shapes(&[(5, 5), (10, 5)], 20), [(0, 2, vec![(5, 5), (10, 5)])]);
        assert_eq!(shapes(&[(5, 5), (20, 5)], 40), [(0, 1, vec![(5, 5)]), (2, 3, vec![(20, 5)])]);
    }

    #[test]
    fn pieces_of_one_chunk_share_its_run() {
        assert_eq!(shapes(&[(7, 2), (1, 2)], 0), [(0, 1, vec![(1, 2), (7, 2)])]);
        assert_eq!(shapes(&[(1, 5), (3, 5)], 0), [(0, 1, vec![(1, 5), (3, 5)])]);
    }

    proptest! {
        #[test]
        fn every_byte_is_read_once_and_within_its_run(
            pieces in prop::collection::vec((0_u64..200, 0_usize..60), 0..8), request in 0_u64..60,
        ) {
            let mut space: Vec<_> = pieces.iter().map(|(offset, length)| (*offset, vec![0_u8; *length])).collect();
            let runs = Runs::new(space.iter_mut().map(|(offset, dest)| Piece { offset: *offset, dest }), 10, request);
            for run in runs {
                prop_assert!(run.first < run.end && run.end - run.first <= (request / 10).max(1));
                for piece in run.pieces {
                    prop_assert!(piece.offset >= run.first * 10 && piece.end() <= run.end * 10);
                    for (i, byte) in piece.dest.iter_mut().enumerate() {
                        *byte += u8::try_from(1 + (piece.offset + i as u64) % 50).unwrap();
                    }
                }
            }
            for (offset, dest) in space {
                for (i, byte) in dest.into_iter().enumerate() {
                    prop_assert_eq!(usize::from(byte), 1 + (usize::try_from(offset).unwrap() + i) % 50);
                }
            }
        }
    }
}
