//! An arena that several hold, and that can be zeroed under all of them.

use crate::{arena::Arena, error::MemoryError};
use std::{
    ops::Deref,
    ptr::NonNull,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak},
};

/// A filled arena that is only read from now on, at an address that does not change while anybody
/// holds it. Clones are holders of the same memory; it is zeroed at the latest when the last of
/// them lets go, and only then unmapped.
///
/// There are two ways to read. [`Self::read`] gives a guard, and zeroing waits for it. [`Self::address`]
/// is for readers that know no guards (numpy, torch): they hold a clone for as long as they may read,
/// and [`Self::zero_now`] does not wait for them. Whatever such a reader is doing at that moment, it sees
/// zeros from then on, and never memory that has become somebody else's.
#[derive(Clone)]
pub struct SharedArena {
    inner: Arc<Inner>,
}

/// Leads to a [`SharedArena`] for as long as somebody holds it.
#[derive(Clone)]
pub struct WeakArena {
    inner: Weak<Inner>,
}

struct Inner {
    arena: Arena,
    /// Whether it was zeroed. Readers of the slice hold this lock, and zeroing takes it for itself.
    zeroed: RwLock<bool>,
}

impl Arena {
    /// Gives up writing: from now on the contents can be shared, and zeroed while they are.
    pub fn share(self) -> SharedArena {
        SharedArena { inner: Arc::new(Inner { arena: self, zeroed: RwLock::new(false) }) }
    }
}

impl SharedArena {
    /// The contents, or zeros once they were zeroed; zeroing waits for the guard.
    ///
    /// # Errors
    /// [`MemoryError::Forked`] in a forked child.
    pub fn read(&self) -> Result<SharedBytes<'_>, MemoryError> {
        // First: in a child the lock may belong to a thread that there is not.
        self.check_owner()?;
        let zeroed = self.inner.zeroed.read().unwrap_or_else(PoisonError::into_inner);
        Ok(SharedBytes { bytes: self.inner.arena.as_slice(), zeroed })
    }

    /// Where the contents begin, for readers outside of Rust; dangling if there are none. It is good for
    /// [`Self::len`] bytes while a clone is held. Another thread may zero them at any time, so nobody
    /// may make a Rust reference of it.
    ///
    /// # Errors
    /// [`MemoryError::Forked`] in a forked child, where there is nothing at that address.
    pub fn address(&self) -> Result<NonNull<u8>, MemoryError> {
        self.check_owner()?;
        Ok(self.inner.arena.address())
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.inner.arena.len()
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.inner.arena.is_empty()
    }

    /// Zeroes the contents for all holders and gives the memory behind them back; the addresses
    /// stay, and read as zeros. Waits for guards of [`Self::read`], and for nobody else. In a forked
    /// child there is nothing to zero.
    pub fn zero_now(&self) {
        if self.check_owner().is_err() {
            return;
        }
        let mut zeroed = self.inner.zeroed.write().unwrap_or_else(PoisonError::into_inner);
        if !*zeroed {
            // SAFETY: every slice of a shared arena lives in a guard of the lock that is held here
            // alone; who reads by address was told that this happens.
            unsafe { self.inner.arena.zero_in_place() };
            self.inner.arena.give_back();
            *zeroed = true;
        }
    }

    /// Whether it was zeroed.
    ///
    /// # Errors
    /// [`MemoryError::Forked`] in a forked child.
    pub fn is_zeroed(&self) -> Result<bool, MemoryError> {
        self.check_owner()?;
        Ok(*self.inner.zeroed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the contents are here, or in the process that this one was forked from.
    ///
    /// # Errors
    /// [`MemoryError::Forked`].
    pub fn check_owner(&self) -> Result<(), MemoryError> {
        self.inner.arena.check_owner()
    }

    /// A way back to it that keeps nothing.
    pub fn downgrade(&self) -> WeakArena {
        WeakArena { inner: Arc::downgrade(&self.inner) }
    }
}

impl WeakArena {
    /// The arena, if anybody holds it.
    pub fn upgrade(&self) -> Option<SharedArena> {
        self.inner.upgrade().map(|inner| SharedArena { inner })
    }

    /// Whether nobody holds it any more.
    pub fn is_gone(&self) -> bool {
        self.inner.strong_count() == 0
    }
}

/// The contents of a shared arena, for as long as the guard is held. Let go of it soon: zeroing waits.
pub struct SharedBytes<'a> {
    bytes: &'a [u8],
    zeroed: RwLockReadGuard<'a, bool>,
}

impl SharedBytes<'_> {
    /// Whether the contents were zeroed before the guard was taken.
    pub fn were_zeroed(&self) -> bool {
        *self.zeroed
    }
}

impl Deref for SharedBytes<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if *self.zeroed.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // Zeroing once more would fetch all the pages that were given back.
            self.arena.mark_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mapping::tests::last_unmapped,
        protection::{Protection, Weakening},
    };
    use std::sync::mpsc;

    fn filled(bytes: usize) -> SharedArena {
        // Whether memory can be locked here is not the question.
        let protection = Protection::default().accepting(Weakening::UnlockedMemory);
        let mut arena = Arena::allocate(bytes, &protection).unwrap();
        arena.as_mut_slice().fill(0xA5);
        arena.share()
    }

    /// What somebody who knows no guards sees.
    fn seen(arena: &SharedArena, at: usize) -> u8 {
        let address = arena.address().unwrap();
        // SAFETY: the holder is borrowed, and the tests read within its length.
        unsafe { address.add(at).read_volatile() }
    }

    #[test]
    fn zeroing_reaches_those_who_know_no_guards() {
        for bytes in [1, 100_000, 33 << 20] {
            let arena = filled(bytes);
            let holder = arena.clone();
            let place = holder.address().unwrap();
            assert_eq!((seen(&holder, 0), seen(&holder, bytes - 1)), (0xA5, 0xA5));
            arena.zero_now();
            assert!((0..bytes).step_by(1009).all(|at| seen(&holder, at) == 0), "{bytes}");
            assert!(seen(&holder, bytes - 1) == 0 && holder.read().unwrap().iter().all(|byte| *byte == 0));
            assert_eq!((holder.address().unwrap(), holder.len()), (place, bytes));
            assert!(holder.is_zeroed().unwrap() && holder.read().unwrap().were_zeroed());
            arena.zero_now();
        }
    }

    #[test]
    fn memory_stays_for_the_last_holder_and_goes_zeroed() {
        let arena = filled(100_000);
        let last = arena.clone();
        let way = arena.downgrade();
        drop(arena);
        assert!(last_unmapped().is_none() && !way.is_gone());
        assert_eq!(seen(&way.upgrade().unwrap(), 99_999), 0xA5);
        drop(last);
        let pages = last_unmapped().unwrap();
        assert!(pages.len() >= 100_000 && pages.iter().all(|byte| *byte == 0));
        assert!(way.is_gone() && way.upgrade().is_none());
    }

    #[test]
    fn zeroing_gives_the_memory_back() {
        let arena = filled(8 << 20);
        let resident = |arena: &SharedArena| {
            let mut pages = vec![0_u8; (8 << 20) / 4096];
            let start = arena.address().unwrap();
            // SAFETY: the range is the arena's, and `pages` holds a byte for each of its pages.
            let asked = unsafe { libc::mincore(start.as_ptr().cast(), 8 << 20, pages.as_mut_ptr()) };
            assert_eq!(asked, 0);
            pages.iter().filter(|page| **page & 1 == 1).count()
        };
        assert_eq!(resident(&arena), 2048);
        arena.zero_now();
        assert_eq!(resident(&arena), 0);
        drop(arena);
    }

    #[test]
    fn zeroing_waits_for_a_guard() {
        let arena = filled(4096);
        let guard = arena.read().unwrap();
        let (sender, receiver) = mpsc::channel();
        let other = arena.clone();
        let thread = std::thread::spawn(move || {
            sender.send("about to").unwrap();
            other.zero_now();
            sender.send("zeroed").unwrap();
        });
        assert_eq!(receiver.recv().unwrap(), "about to");
        for _ in 0..1000 {
            std::thread::yield_now();
            assert!(guard.iter().all(|byte| *byte == 0xA5) && !guard.were_zeroed());
        }
        assert!(receiver.try_recv().is_err());
        drop(guard);
        assert_eq!(receiver.recv().unwrap(), "zeroed");
        thread.join().unwrap();
        assert_eq!(seen(&arena, 4095), 0);
    }

    #[test]
    fn nothing_can_be_shared_too() {
        let arena = Arena::allocate(0, &Protection::default()).unwrap().share();
        assert!(arena.is_empty() && arena.read().unwrap().is_empty());
        arena.address().unwrap();
        arena.zero_now();
        assert!(arena.is_zeroed().unwrap());
    }
}
