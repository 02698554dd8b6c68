//! A mapping between two guards, the ground that every protected region stands on.

use crate::{error::MemoryError, limits, lineage::Lineage, workers};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
    slice,
    sync::OnceLock,
};

/// The size of a huge page on `x86_64`, and on `aarch64` with 4 KiB pages.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// Pages between two inaccessible guards; absent in forked children. Unmapped on drop, after its
/// owner has zeroed it.
pub(crate) struct Mapping {
    /// Everything that was mapped: alignment, guards and data.
    reserved: NonNull<u8>,
    reserved_len: usize,
    data: NonNull<u8>,
    len: usize,
    lineage: Lineage,
}

// SAFETY: a mapping belongs to the process, not to a thread, and `Mapping` hands out its bytes by
// the rules of borrowing only (`bytes`, `bytes_mut`) or as raw pointers.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` gives shared slices, or raw pointers that the callers answer for.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Private anonymous pages for at least `bytes` bytes, zeroed, not yet backed by memory. Begins
    /// on a huge page if it holds one.
    pub(crate) fn anonymous(bytes: usize) -> Result<Self, MemoryError> {
        let mapping = Self::reserve(bytes)?;
        // SAFETY: the range lies inside the reservation just made, which nobody has a reference to.
        let opened =
            unsafe { libc::mprotect(mapping.data.as_ptr().cast(), mapping.len, libc::PROT_READ | libc::PROT_WRITE) };
        if opened == 0 { Ok(mapping) } else { Err(MemoryError::refused("mprotect", "commit private memory")) }
    }

    /// The whole of a memory file (`memfd_secret`), which must be `bytes` long, a multiple of the page.
    pub(crate) fn of_file(file: BorrowedFd<'_>, bytes: usize) -> Result<Self, MemoryError> {
        let mapping = Self::reserve(bytes)?;
        // SAFETY: MAP_FIXED replaces pages of the reservation just made, which nobody has a
        // reference to; data and len are on page boundaries.
        let mapped = unsafe {
            libc::mmap(
                mapping.data.as_ptr().cast(),
                mapping.len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                file.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            // Such a mapping is locked by nature, and counts against the same limit.
            return Err(limits::explain_lock(io::Error::last_os_error(), mapping.len, "mmap of memfd_secret"));
        }
        mapping.advise(libc::MADV_DONTFORK, "madvise(MADV_DONTFORK)", "keep memory out of forked children")?;
        Ok(mapping)
    }

    /// Address space with everything inaccessible: a guard, the data's place, a guard.
    fn reserve(bytes: usize) -> Result<Self, MemoryError> {
        let lineage = Lineage::current()?;
        let page = page_size();
        let too_large = || MemoryError::TooLarge { bytes };
        let len = bytes.max(1).checked_next_multiple_of(page).ok_or_else(too_large)?;
        let align = if len >= HUGE_PAGE { HUGE_PAGE } else { page };
        let reserved_len = len.checked_add(2 * page + align).ok_or_else(too_large)?;
        if isize::try_from(reserved_len).is_err() {
            return Err(too_large());
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), reserved_len, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        let Some(reserved) = NonNull::new(start.cast::<u8>()).filter(|_| start != libc::MAP_FAILED) else {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::ENOMEM) => too_large(),
                _ => MemoryError::Refused { call: "mmap", purpose: "reserve address space", source: error },
            });
        };
        // At least one page before the data, and at least one behind.
        let skip = page + reserved.as_ptr().wrapping_add(page).align_offset(align);
        // SAFETY: skip <= page + align, so data and data + len + page lie within reserved_len.
        let data = unsafe { reserved.add(skip) };
        let mapping = Self { reserved, reserved_len, data, len, lineage };
        // The guards too: in a child nothing shall be left at these addresses.
        // SAFETY: the range is the reservation just made.
        if unsafe { libc::madvise(start, reserved_len, libc::MADV_DONTFORK) } != 0 {
            return Err(MemoryError::refused("madvise(MADV_DONTFORK)", "keep memory out of forked children"));
        }
        Ok(mapping)
    }

    /// Length of the data in bytes, a multiple of the page.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// True in the process that made the mapping; false in a forked child, where it is not.
    pub(crate) fn is_ours(&self) -> bool {
        self.lineage.is_ours()
    }

    /// Where the data begins. Dangling in a forked child.
    pub(crate) fn data(&self) -> NonNull<u8> {
        self.data
    }

    /// The data. In a forked child the process ends.
    pub(crate) fn bytes(&self) -> &[u8] {
        if !self.is_ours() {
            crate::lineage::used_after_fork();
        }
        // SAFETY: data..data+len is mapped readable as long as self lives (checked: in this
        // process), initialised by the kernel, shorter than isize::MAX, and written only through
        // `bytes_mut`, which borrows self exclusively.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    /// The data, to be written. In a forked child the process ends.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        if !self.is_ours() {
            crate::lineage::used_after_fork();
        }
        // SAFETY: as in `bytes`, mapped writable, and self is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }

    /// `madvise` on the data.
    fn advise(&self, advice: libc::c_int, call: &'static str, purpose: &'static str) -> Result<(), MemoryError> {
        // SAFETY: the range is this mapping's own; the advices used here change no contents.
        if unsafe { libc::madvise(self.data.as_ptr().cast(), self.len, advice) } == 0 {
            Ok(())
        } else {
            Err(MemoryError::refused(call, purpose))
        }
    }

    /// Keeps the data out of core dumps.
    pub(crate) fn exclude_from_dumps(&self) -> Result<(), MemoryError> {
        self.advise(libc::MADV_DONTDUMP, "madvise(MADV_DONTDUMP)", "keep memory out of core dumps")
    }

    /// Asks for huge pages. A wish: kernels without them serve as well, only slower.
    pub(crate) fn prefer_huge_pages(&self) {
        if self.len >= HUGE_PAGE {
            let _ = self.advise(libc::MADV_HUGEPAGE, "madvise(MADV_HUGEPAGE)", "use huge pages");
        }
    }

    /// Locks the data: pages stay in memory from the moment that they are first touched. Done
    /// before they are, so that too low a limit shows at once, and no page is ever unlocked.
    pub(crate) fn lock(&self) -> Result<(), MemoryError> {
        // SAFETY: the range is this mapping's own; locking changes no contents.
        if unsafe { libc::mlock2(self.data.as_ptr().cast(), self.len, libc::MLOCK_ONFAULT as libc::c_uint) } == 0 {
            Ok(())
        } else {
            Err(limits::explain_lock(io::Error::last_os_error(), self.len, "mlock2"))
        }
    }

    /// Gives the memory behind zeroed data back; it reads as zeros, and comes back at a touch. A
    /// kernel that will not do it leaves zeroed pages.
    pub(crate) fn give_back(&self) {
        // SAFETY: the range is this mapping's own, private and anonymous; its contents are zero, and
        // are zero after it.
        unsafe {
            // Locked pages cannot be given back.
            libc::munlock(self.data.as_ptr().cast(), self.len);
            libc::madvise(self.data.as_ptr().cast(), self.len, libc::MADV_DONTNEED);
        }
    }

    /// Backs all of the data with memory, with several threads.
    pub(crate) fn populate(&mut self) -> Result<(), MemoryError> {
        workers::spread(self.bytes_mut(), HUGE_PAGE, populate).map_err(|source| MemoryError::Refused {
            call: "madvise(MADV_POPULATE_WRITE)",
            purpose: "back the arena with memory",
            source,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.is_ours() {
            // A forked child: there is nothing here, or something else.
            return;
        }
        #[cfg(test)]
        tests::observe(self);
        // SAFETY: the whole reservation is ours, and no reference into it outlives self.
        unsafe { libc::munmap(self.reserved.as_ptr().cast(), self.reserved_len) };
    }
}

/// Faults the pages of `piece` in, whose start is on a page boundary.
fn populate(piece: &mut [u8]) -> io::Result<()> {
    // SAFETY: the range is a live, exclusive slice of whole pages; populating changes no contents.
    if unsafe { libc::madvise(piece.as_mut_ptr().cast(), piece.len(), libc::MADV_POPULATE_WRITE) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EINVAL) {
        return Err(error);
    }
    touch(piece);
    Ok(())
}

/// What kernels before 5.14 have to be content with: a store to each page.
fn touch(piece: &mut [u8]) {
    for page in piece.chunks_mut(page_size()) {
        if let Some(first) = page.first_mut() {
            let value = *first;
            // SAFETY: `first` is a live, exclusive reference; volatile, since storing what is there
            // already would otherwise be left out.
            unsafe { ptr::write_volatile(first, value) };
        }
    }
}

/// Bytes in a page.
pub(crate) fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        // SAFETY: sysconf reads no memory of ours.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size).ok().filter(|size| size.is_power_of_two()).unwrap_or(64 << 10)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;

    thread_local! {
        static UNMAPPED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }

    /// Keeps what lies in a mapping in the moment before it is unmapped.
    pub(super) fn observe(mapping: &Mapping) {
        const MOST: usize = 64 << 20;
        if mapping.len > MOST {
            return;
        }
        let mut bytes = vec![0; mapping.len];
        let read = std::fs::File::open("/proc/self/mem").and_then(|memory| {
            std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, mapping.data.as_ptr() as u64)
        });
        UNMAPPED.with(|cell| *cell.borrow_mut() = read.is_ok().then_some(bytes));
    }

    /// What lay in the mapping that this thread dropped last, if the kernel lets it be read.
    pub(crate) fn last_unmapped() -> Option<Vec<u8>> {
        UNMAPPED.with(|cell| cell.borrow_mut().take())
    }

    #[test]
    fn what_was_in_a_mapping_can_be_observed() {
        let mut mapping = Mapping::anonymous(5000).unwrap();
        mapping.bytes_mut()[4999] = 7;
        drop(mapping);
        let seen = last_unmapped().unwrap();
        assert_eq!((seen.len(), seen[4999]), (8192, 7));
    }

    #[test]
    fn large_mappings_begin_on_a_huge_page_and_small_ones_on_a_page() {
        for (bytes, align) in [(1, page_size()), (HUGE_PAGE, HUGE_PAGE), (3 * HUGE_PAGE + 1, HUGE_PAGE)] {
            let mapping = Mapping::anonymous(bytes).unwrap();
            assert_eq!(mapping.data.as_ptr() as usize % align, 0);
            assert!(mapping.len >= bytes && mapping.len.is_multiple_of(page_size()));
            let front = mapping.data.as_ptr() as usize - mapping.reserved.as_ptr() as usize;
            assert!(front >= page_size());
            assert!(mapping.reserved_len - front - mapping.len >= page_size());
        }
    }

    #[test]
    fn sizes_beyond_the_address_space_are_refused() {
        for bytes in [usize::MAX, usize::MAX - 4096, isize::MAX as usize, 1 << 60] {
            assert!(matches!(Mapping::anonymous(bytes), Err(MemoryError::TooLarge { .. })), "{bytes}");
        }
    }

    #[test]
    fn touching_backs_every_page_and_changes_none() {
        let mut mapping = Mapping::anonymous(64 << 10).unwrap();
        mapping.bytes_mut()[0] = 9;
        touch(mapping.bytes_mut());
        let mut resident = vec![0_u8; mapping.len / page_size()];
        // SAFETY: the range is the mapping's, and `resident` holds a byte for each of its pages.
        let asked = unsafe { libc::mincore(mapping.data.as_ptr().cast(), mapping.len, resident.as_mut_ptr()) };
        assert_eq!(asked, 0);
        assert!(resident.iter().all(|page| page & 1 == 1));
        assert_eq!(mapping.bytes()[..2], [9, 0]);
    }
}
