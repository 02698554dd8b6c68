//! Arenas that outlive what was opened in them.

use crate::{arena::Arena, error::MemoryError, protection::Protection};
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keeps cleared arenas for reuse: having the kernel find and clear pages is what makes a large
/// arena slow, and once is enough.
pub struct ArenaPool {
    shared: Arc<Shared>,
}

struct Shared {
    protection: Protection,
    keep: usize,
    idle: Mutex<Vec<Arena>>,
}

impl ArenaPool {
    /// A pool whose idle arenas hold at most `keep` bytes together, all protected as demanded.
    pub fn new(protection: Protection, keep: usize) -> Self {
        Self { shared: Arc::new(Shared { protection, keep, idle: Mutex::default() }) }
    }

    /// A zeroed arena of `bytes` bytes: the smallest idle one that holds them, unless it were more
    /// than half empty, or else a new one. If there is no room for a new one, idle ones make it.
    ///
    /// # Errors
    /// As [`Arena::allocate`].
    pub fn take(&self, bytes: usize) -> Result<PooledArena, MemoryError> {
        let arena = match self.shared.take_idle(bytes) {
            Some(arena) => arena,
            None => self.shared.allocate(bytes)?,
        };
        Ok(PooledArena { arena, home: Arc::clone(&self.shared) })
    }

    /// Bytes that idle arenas hold.
    pub fn idle_bytes(&self) -> usize {
        self.shared.idle().iter().map(Arena::capacity).sum()
    }

    /// Gives all idle arenas back to the kernel.
    pub fn shrink(&self) {
        self.shared.idle().clear();
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Arena>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self, bytes: usize) -> Option<Arena> {
        let mut idle = self.idle();
        let fitting = idle.iter().enumerate().filter(|(_, arena)| {
            let capacity = arena.capacity();
            capacity >= bytes && capacity / 2 <= bytes && arena.check_owner().is_ok()
        });
        let (position, _) = fitting.min_by_key(|(_, arena)| arena.capacity())?;
        let mut arena = idle.swap_remove(position);
        arena.set_len(bytes).then_some(arena)
    }

    fn allocate(&self, bytes: usize) -> Result<Arena, MemoryError> {
        match Arena::allocate(bytes, &self.protection) {
            Err(MemoryError::NotEnoughMemory { .. } | MemoryError::LockLimit { .. }) => {
                self.idle().clear();
                Arena::allocate(bytes, &self.protection)
            }
            other => other,
        }
    }

    fn put_back(&self, mut arena: Arena) {
        if arena.check_owner().is_err() {
            return;
        }
        arena.clear();
        let mut idle = self.idle();
        let held: usize = idle.iter().map(Arena::capacity).sum();
        if arena.capacity() > 0 && held.saturating_add(arena.capacity()) <= self.keep {
            idle.push(arena);
        }
    }
}

/// An arena that is cleared and goes back to its pool on drop.
pub struct PooledArena {
    arena: Arena,
    home: Arc<Shared>,
}

impl Deref for PooledArena {
    type Target = Arena;
    fn deref(&self) -> &Arena {
        &self.arena
    }
}

impl DerefMut for PooledArena {
    fn deref_mut(&mut self) -> &mut Arena {
        &mut self.arena
    }
}

impl AsRef<[u8]> for PooledArena {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Drop for PooledArena {
    fn drop(&mut self) {
        self.home.put_back(std::mem::replace(&mut self.arena, Arena::empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(keep: usize) -> ArenaPool {
        ArenaPool::new(Protection::default(), keep)
    }

    #[test]
    fn a_returned_arena_comes_back_zeroed_with_the_same_pages() {
        let pool = pool(1 << 20);
        let mut arena = pool.take(100_000).unwrap();
        arena.as_mut_slice().fill(0xA5);
        let place = arena.as_slice().as_ptr();
        drop(arena);
        assert_eq!(pool.idle_bytes(), 102_400);
        let again = pool.take(102_400).unwrap();
        assert_eq!(again.as_slice().as_ptr(), place);
        assert!(again.as_slice().len() == 102_400 && again.as_slice().iter().all(|byte| *byte == 0));
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn the_smallest_that_fits_is_taken_and_none_that_is_half_empty() {
        let pool = pool(1 << 20);
        let (large, small) = (pool.take(96 << 10).unwrap(), pool.take(64 << 10).unwrap());
        let (at_large, at_small) = (large.as_slice().as_ptr(), small.as_slice().as_ptr());
        drop((large, small));
        assert_eq!(pool.take(60 << 10).unwrap().as_slice().as_ptr(), at_small);
        assert_eq!(pool.take(65 << 10).unwrap().as_slice().as_ptr(), at_large);
        let tiny = pool.take(8 << 10).unwrap();
        assert_eq!((tiny.capacity(), pool.idle_bytes()), (8 << 10, 160 << 10));
    }

    #[test]
    fn no_more_is_kept_than_was_said() {
        let pool = pool(64 << 10);
        drop((pool.take(64 << 10).unwrap(), pool.take(4096).unwrap()));
        assert_eq!(pool.idle_bytes(), 64 << 10);
        pool.shrink();
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn nothing_is_not_kept() {
        let pool = pool(1 << 20);
        assert!(pool.take(0).unwrap().is_empty());
        assert_eq!(pool.idle_bytes(), 0);
    }
}
