//! Work on a large slice, spread over the machine's processors.

use std::{
    io,
    num::NonZeroUsize,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

/// Below this many bytes a second thread costs more than it brings (starting one takes some
/// 50 µs, in which a core clears about half a megabyte).
const WORTH_A_THREAD: usize = 8 << 20;
/// Memory bandwidth is used up long before all cores of a large machine are at work.
const MOST_THREADS: usize = 32;
/// Pieces for each thread, so that one which is held up does not hold up all.
const PIECES_EACH: usize = 4;

/// Does `work` on all of `bytes`, in pieces whose lengths are multiples of `granule` (the last one
/// excepted). Stops early on the first error and returns it.
///
/// Cannot fail for want of threads: the calling thread works too, alone if need be.
pub(crate) fn spread<W>(bytes: &mut [u8], granule: usize, work: W) -> io::Result<()>
where
    W: Fn(&mut [u8]) -> io::Result<()> + Sync,
{
    let threads = threads_for(bytes.len());
    if threads == 1 {
        return work(bytes);
    }
    let piece = bytes.len().div_ceil(threads * PIECES_EACH).next_multiple_of(granule);
    let pieces = Mutex::new(bytes.chunks_mut(piece));
    let failure = Mutex::new(None);
    let run = || {
        loop {
            let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(piece) = next else { return };
            if let Err(error) = work(piece) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                // What is left is of no use to anybody.
                while pieces.lock().unwrap_or_else(PoisonError::into_inner).next().is_some() {}
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            let builder = thread::Builder::new().name("strongroom-mem".to_owned());
            if builder.spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// How many threads `bytes` deserve, this one included.
fn threads_for(bytes: usize) -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    let processors = *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, NonZeroUsize::get));
    (bytes / WORTH_A_THREAD).min(processors).clamp(1, MOST_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_byte_is_worked_on_once() {
        for len in [0, 1, WORTH_A_THREAD, 3 * WORTH_A_THREAD + 4097] {
            let mut bytes = vec![1_u8; len];
            spread(&mut bytes, 4096, |piece| {
                for byte in piece {
                    *byte += 1;
                }
                Ok(())
            })
            .unwrap();
            assert!(bytes.iter().all(|byte| *byte == 2), "{len}");
        }
    }

    #[test]
    fn pieces_begin_on_the_granule() {
        let mut bytes = vec![0_u8; 3 * WORTH_A_THREAD + 5];
        let start = bytes.as_ptr() as usize;
        let seen = AtomicUsize::new(0);
        spread(&mut bytes, 1 << 20, |piece| {
            assert_eq!((piece.as_ptr() as usize - start) % (1 << 20), 0);
            seen.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert!(seen.into_inner() >= 1);
    }

    #[test]
    fn the_first_error_comes_back() {
        let mut bytes = vec![0_u8; 4 * WORTH_A_THREAD];
        let error = spread(&mut bytes, 4096, |_| Err(io::Error::from_raw_os_error(libc::ENOMEM))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    }
}
