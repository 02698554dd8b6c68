//! How long work says how far it is, and learns that it should stop.

use std::sync::atomic::{AtomicBool, Ordering};

/// Called by every working thread after each chunk. `&()` neither listens nor stops.
pub trait Progress: Sync {
    /// So many more bytes of plaintext are done.
    fn advanced(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Whether to stop: asked before each chunk, and before a sealed file gets its name.
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {}

/// A flag: set it to stop the work.
impl Progress for AtomicBool {
    fn cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

/// How many threads to use: as many as asked for, all that the machine offers for 0, never more than there is work for.
pub(crate) fn thread_count(asked: usize, work: u64) -> usize {
    let threads = if asked == 0 { std::thread::available_parallelism().map_or(1, Into::into) } else { asked };
    threads.min(usize::try_from(work).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_bounded_by_work() {
        assert_eq!(thread_count(4, 2), 2);
        assert_eq!(thread_count(4, 0), 1);
        assert_eq!(thread_count(4, u64::MAX), 4);
        assert!(thread_count(0, u64::MAX) >= 1);
    }

    #[test]
    fn a_flag_cancels() {
        let flag = AtomicBool::new(false);
        assert!(!Progress::cancelled(&flag));
        flag.store(true, Ordering::Relaxed);
        assert!(Progress::cancelled(&flag));
        assert!(!Progress::cancelled(&()));
    }
}
