//! The weight arena.

use crate::{
    error::MemoryError,
    limits,
    mapping::Mapping,
    protection::{Protection, Weakening},
    zeroing::zero,
};
use std::{ptr::NonNull, slice};

/// A block of protected memory for decrypted weights, datasets or checkpoints: private, locked,
/// kept out of core dumps and forked children, backed by memory from the start, between guard
/// pages, zeroed on drop. Begins on a 2 MiB boundary from that size on, otherwise on a page.
///
/// Shared readers hold it in an `Arc`; parallel writers split [`Self::as_mut_slice`]. Has neither
/// `Debug` nor `Clone`: its contents leave it only where somebody writes that they do.
pub struct Arena {
    /// Absent only when nothing was asked for.
    mapping: Option<Mapping>,
    len: usize,
    /// Bytes from the start that may hold something, and have to be zeroed.
    used: usize,
    locked: bool,
}

impl Arena {
    /// Zeroed memory for `bytes` bytes, protected as demanded. Takes as long as the kernel needs to
    /// clear that much memory; use an [`crate::ArenaPool`] to do that once.
    ///
    /// # Errors
    /// [`MemoryError::NotEnoughMemory`], [`MemoryError::LockLimit`] with the remedy,
    /// [`MemoryError::TooLarge`], or [`MemoryError::Refused`]. Memory is never weaker than `protection` allows.
    pub fn allocate(bytes: usize, protection: &Protection) -> Result<Self, MemoryError> {
        if bytes == 0 {
            return Ok(Self::empty());
        }
        limits::check_available(bytes)?;
        let mut mapping = Mapping::anonymous(bytes)?;
        mapping.exclude_from_dumps()?;
        let locked = match mapping.lock() {
            Ok(()) => true,
            Err(error) if protection.accepts(Weakening::UnlockedMemory) => {
                tracing::warn!(bytes, %error, "the arena is not locked, as was accepted: its contents can reach swap");
                false
            }
            Err(error) => return Err(error),
        };
        mapping.prefer_huge_pages();
        mapping.populate()?;
        Ok(Self { mapping: Some(mapping), len: bytes, used: 0, locked })
    }

    /// Holds nothing, and needs no protection.
    pub(crate) fn empty() -> Self {
        Self { mapping: None, len: 0, used: 0, locked: true }
    }

    /// The contents. In a forked child, where there are none, the process ends.
    pub fn as_slice(&self) -> &[u8] {
        self.mapping.as_ref().and_then(|mapping| mapping.bytes().get(..self.len)).unwrap_or_default()
    }

    /// The contents, to be written. In a forked child, where there are none, the process ends.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.used = self.used.max(self.len);
        let len = self.len;
        self.mapping.as_mut().and_then(|mapping| mapping.bytes_mut().get_mut(..len)).unwrap_or_default()
    }

    /// Length in bytes, as asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.mapping.as_ref().map_or(0, Mapping::len)
    }

    /// False only if unlocked memory was accepted and the kernel refused to lock.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    /// Zeroes what was used, with several threads, and keeps the pages. In a forked child there is
    /// nothing to zero.
    pub fn clear(&mut self) {
        let used = self.used;
        let bytes = self.mapping.as_mut().filter(|mapping| mapping.is_ours());
        if let Some(bytes) = bytes.and_then(|mapping| mapping.bytes_mut().get_mut(..used)) {
            zero(bytes);
        }
        self.used = 0;
    }

    /// Whether the contents are here: an error in a forked child, where touching them would end
    /// the process.
    ///
    /// # Errors
    /// [`MemoryError::Forked`].
    pub fn check_owner(&self) -> Result<(), MemoryError> {
        if self.mapping.as_ref().is_none_or(Mapping::is_ours) { Ok(()) } else { Err(MemoryError::Forked) }
    }

    /// Where the contents begin; dangling if there are none, and in a forked child.
    pub(crate) fn address(&self) -> NonNull<u8> {
        self.mapping.as_ref().map_or(NonNull::dangling(), Mapping::data)
    }

    /// Zeroes what was used while others hold the address. The arena is not to be written after that.
    /// In a forked child there is nothing to zero.
    ///
    /// # Safety
    /// No slice of this arena is alive.
    pub(crate) unsafe fn zero_in_place(&self) {
        let Some(mapping) = self.mapping.as_ref().filter(|mapping| mapping.is_ours()) else { return };
        let used = self.used.min(mapping.len());
        // SAFETY: the pages are mapped, writable and initialised, and by the caller's promise no
        // other slice of them is alive.
        zero(unsafe { slice::from_raw_parts_mut(mapping.data().as_ptr(), used) });
    }

    /// Gives the memory behind a zeroed arena back; its addresses stay, and read as zeros.
    pub(crate) fn give_back(&self) {
        if let Some(mapping) = self.mapping.as_ref().filter(|mapping| mapping.is_ours()) {
            mapping.give_back();
        }
    }

    /// Says that an arena was zeroed by [`Self::zero_in_place`].
    pub(crate) fn mark_clear(&mut self) {
        self.used = 0;
    }

    /// Makes a cleared arena `len` bytes long; false, and nothing changes, if it cannot hold them.
    pub(crate) fn set_len(&mut self, len: usize) -> bool {
        let fits = len <= self.capacity();
        if fits {
            self.len = len;
        }
        fits
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.clear();
    }
}

impl AsRef<[u8]> for Arena {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsMut<[u8]> for Arena {
    fn as_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::tests::last_unmapped;

    /// Without `CAP_IPC_LOCK`, 8 MiB is the most that can be locked; zeroing is the same either way.
    fn protection() -> Protection {
        Protection::default().accepting(Weakening::UnlockedMemory)
    }

    const SIZES: [usize; 3] = [1, 100_000, 33 << 20];

    #[test]
    fn an_arena_is_zeroed_before_its_pages_go() {
        for bytes in SIZES {
            let mut arena = Arena::allocate(bytes, &protection()).unwrap();
            arena.as_mut_slice().fill(0xA5);
            assert!(arena.len() == bytes && arena.as_slice().iter().all(|byte| *byte == 0xA5));
            drop(arena);
            let seen = last_unmapped().unwrap();
            assert!(seen.len() >= bytes && seen.iter().all(|byte| *byte == 0), "{bytes}");
        }
    }

    #[test]
    fn clearing_zeroes_and_keeps_the_pages() {
        for bytes in SIZES {
            let mut arena = Arena::allocate(bytes, &protection()).unwrap();
            let place = arena.as_slice().as_ptr();
            arena.as_mut_slice().fill(0xA5);
            arena.clear();
            assert!(arena.as_slice().iter().all(|byte| *byte == 0), "{bytes}");
            assert_eq!((arena.as_slice().as_ptr(), arena.len()), (place, bytes));
        }
    }

    #[test]
    fn zeroing_in_place_zeroes_whatever_becomes_of_the_pages() {
        for bytes in SIZES {
            let mut arena = Arena::allocate(bytes, &protection()).unwrap();
            arena.as_mut_slice().fill(0xA5);
            // SAFETY: no slice is alive here.
            unsafe { arena.zero_in_place() };
            assert!(arena.as_slice().iter().all(|byte| *byte == 0), "{bytes}");
        }
    }

    #[test]
    fn shrinking_does_not_forget_what_was_used() {
        let mut arena = Arena::allocate(8192, &protection()).unwrap();
        arena.as_mut_slice().fill(0xA5);
        assert!(arena.set_len(1));
        arena.clear();
        assert!(arena.set_len(8192) && !arena.set_len(8193));
        assert!(arena.as_slice().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn nothing_is_a_size_too() {
        let mut arena = Arena::allocate(0, &protection()).unwrap();
        assert!(arena.is_empty() && arena.as_slice().is_empty() && arena.as_mut_slice().is_empty());
        arena.clear();
        arena.check_owner().unwrap();
    }

    #[test]
    fn more_than_there_is_is_refused_before_it_is_touched() {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total: usize = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
        for bytes in [total * 1024 + 1, usize::MAX] {
            let error = Arena::allocate(bytes, &protection()).err().unwrap();
            assert!(matches!(error, MemoryError::NotEnoughMemory { needed, .. } if needed == bytes as u64), "{error}");
        }
    }
}
