//! What becomes of a forked child that touches an array of its parent's.
//!
//! Everything of this package asks whose process it is in. An array that was made before the fork does
//! not ask anybody: numpy reads its address, at which there is nothing in a child. So that this ends
//! with a message and an exit code, and not as a crash that nobody understands, a child gets a handler
//! for exactly these addresses; all other faults go to whoever handled them before.

use pyo3::prelude::*;
use std::{
    ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
};

/// The exit code of such a child: `EX_SOFTWARE` of sysexits.
const EXIT: libc::c_int = 70;

/// Where plaintext lies that Python may hold: address and length.
static PLACES: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());
/// The same, as it was at the last fork; written in the child only.
static OF_THE_PARENT: AtomicPtr<Vec<(usize, usize)>> = AtomicPtr::new(ptr::null_mut());
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A place is in use as long as this lives.
pub(crate) struct Place(usize, usize);

impl Place {
    pub(crate) fn new(address: usize, length: usize) -> Self {
        PLACES.lock().unwrap_or_else(PoisonError::into_inner).push((address, length));
        Self(address, length)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Not waited for: in a forked child the lock may belong to a thread that there is not. A place
        // too many does no harm.
        if let Ok(mut places) = PLACES.try_lock()
            && let Some(at) = places.iter().position(|place| *place == (self.0, self.1))
        {
            places.swap_remove(at);
        }
    }
}

/// Python calls it in each forked child, before anything else.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    let Ok(places) = PLACES.try_lock() else { return };
    if places.is_empty() {
        return;
    }
    // Leaked: a handler may not free anything, and a child's children inherit it.
    OF_THE_PARENT.store(Box::into_raw(Box::new(places.clone())), Ordering::Release);
    // SAFETY: a zeroed sigaction is a valid one; the calls read and write live values.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGSEGV, ptr::null(), &raw mut before) != 0 {
            return;
        }
        let handler = on_fault as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        if before.sa_sigaction == handler || BEFORE.set(before).is_err() {
            return;
        }
        let mut ours: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = handler;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &raw const ours, ptr::null_mut());
    }
}

/// Runs on a fault: makes only calls that are safe then.
extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    const MESSAGE: &str = concat!(
        "strongroom: this array's memory belongs to the parent process, a forked child does not have it; ",
        "start children with spawn, or open the asset again in the child\n"
    );
    // SAFETY: the kernel passes a live siginfo to a handler with SA_SIGINFO; the list was leaked, and
    // is not written any more; `write` and `_exit` are safe in a handler.
    unsafe {
        let address = (*info).si_addr() as usize;
        let places = OF_THE_PARENT.load(Ordering::Acquire).as_ref();
        let inside = |&(start, length): &(usize, usize)| address.wrapping_sub(start) < length;
        if places.is_some_and(|places| places.iter().any(inside)) {
            libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(EXIT);
        }
        // Not ours: the fault comes again, for whoever handled it before.
        if let Some(before) = BEFORE.get() {
            libc::sigaction(signal, ptr::from_ref(before), ptr::null_mut());
        }
    }
}
