//! Which process memory belongs to.
//!
//! A forked child keeps every value of its parent, but not the protected pages behind them. A
//! process id does not tell the two apart for certain (ids are reused, and asking costs a system
//! call), so the kernel is made to: one page is marked `MADV_WIPEONFORK` and reads as zero in a
//! child. Threads, and children of `vfork` until they `exec`, share the memory and the page.

use crate::error::MemoryError;
use std::{
    io, ptr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The address space that something was made in; counts from 1 along a line of forks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lineage(u64);

impl Lineage {
    /// This address space. An error where the kernel does not know `MADV_WIPEONFORK` (before 4.14).
    pub(crate) fn current() -> Result<Self, MemoryError> {
        let marker = marker().as_ref().map_err(|errno| MemoryError::Refused {
            call: "madvise(MADV_WIPEONFORK)",
            purpose: "mark a page that tells a forked child from its parent",
            source: io::Error::from_raw_os_error(*errno),
        })?;
        Ok(Self(marker.generation()))
    }

    /// True in the process that it was made in, false in any forked child.
    pub(crate) fn is_ours(self) -> bool {
        marker().as_ref().is_ok_and(|marker| marker.generation() == self.0)
    }
}

/// The process that something was made in, for values that a forked child shall not use either: a
/// connection, a lock that another thread may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(Lineage);

impl Owner {
    /// This process.
    ///
    /// # Errors
    /// [`MemoryError::Refused`] where the kernel cannot mark a page for it (before 4.14).
    pub fn current() -> Result<Self, MemoryError> {
        Lineage::current().map(Self)
    }

    /// Whether this is still that process. Takes no lock.
    ///
    /// # Errors
    /// [`MemoryError::Forked`] in a forked child.
    pub fn check(self) -> Result<(), MemoryError> {
        if self.0.is_ours() { Ok(()) } else { Err(MemoryError::Forked) }
    }
}

/// Ends a forked child that reaches for its parent's memory. Going on could read whatever else has
/// come to lie at that address, and a panic could be caught.
#[cold]
pub(crate) fn used_after_fork() -> ! {
    const MESSAGE: &str = concat!(
        "strongroom: this memory belongs to the parent process; ",
        "open the asset again in the forked child, or start children with spawn\n"
    );
    // Not by `eprintln!`: a thread that the child does not have may hold its lock for ever.
    // SAFETY: the call reads a static string of the length given.
    unsafe { libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len()) };
    std::process::abort()
}

/// A word in a page that is wiped on fork.
struct Marker(&'static AtomicU64);

impl Marker {
    fn generation(&self) -> u64 {
        // Ordinary memory, so a child goes on counting from where its parent was.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let seen = self.0.load(Ordering::Acquire);
        if seen != 0 {
            return seen;
        }
        let next = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        match self.0.compare_exchange(0, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => next,
            Err(of_another_thread) => of_another_thread,
        }
    }
}

fn marker() -> &'static Result<Marker, i32> {
    static MARKER: OnceLock<Result<Marker, i32>> = OnceLock::new();
    MARKER.get_or_init(|| map_marker().map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL)))
}

fn map_marker() -> io::Result<Marker> {
    let len = crate::mapping::page_size();
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is the mapping just made; the advice changes only what a child sees.
    if unsafe { libc::madvise(page, len, libc::MADV_WIPEONFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: the mapping was made above, and no reference to it exists.
        unsafe { libc::munmap(page, len) };
        return Err(error);
    }
    // SAFETY: the page is aligned, readable, writable, zeroed (a valid AtomicU64) and never unmapped.
    Ok(Marker(unsafe { AtomicU64::from_ptr(page.cast()) }))
}
