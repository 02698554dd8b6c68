//! Zeroing that nobody has to ask for: when a lease's time is over, and when the process is told
//! to end.
//!
//! A lease that is used finds out by itself that it has expired. One that lies there, with nobody
//! reading and no keeper, is found by the watch: one thread a process, started with the first lease.

use crate::{Error, lease::Inner};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level,
};
use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// How late the watch may be. Short, since a machine that slept wakes with the clock ahead, and
/// waiting does not notice.
const PRECISION: Duration = Duration::from_millis(500);
/// How long an end by signal waits for readers to let go, and then for the vault to be told.
const FAREWELL: Duration = Duration::from_secs(3);

/// Leases of this process, and whoever waits for their number to change.
static LIVE: (Mutex<Vec<Weak<Inner>>>, Condvar) = (Mutex::new(Vec::new()), Condvar::new());
/// The process that has a watch; a forked child has none of its parent's threads.
static WATCHED: AtomicU32 = AtomicU32::new(0);

fn live() -> MutexGuard<'static, Vec<Weak<Inner>>> {
    LIVE.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees to it that this lease is zeroed when its time is over, whether or not anybody looks.
pub(crate) fn watch(lease: &Arc<Inner>) {
    live().push(Arc::downgrade(lease));
    let this = std::process::id();
    if WATCHED.swap(this, Ordering::AcqRel) != this {
        let watch = thread::Builder::new().name("lease-watch".to_owned()).spawn(watch_all);
        if let Err(error) = watch {
            WATCHED.store(0, Ordering::Release);
            tracing::warn!(%error, "no thread for the watch: a lease that nobody uses is not zeroed when it expires");
        }
    }
    LIVE.1.notify_all();
}

/// Never ends.
fn watch_all() {
    let mut leases = live();
    loop {
        leases.retain(|lease| lease.strong_count() > 0);
        if leases.is_empty() {
            leases = LIVE.1.wait(leases).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let held: Vec<Arc<Inner>> = leases.iter().filter_map(Weak::upgrade).collect();
        drop(leases);
        let mut next = PRECISION;
        let mut over = Vec::new();
        for lease in held {
            if lease.is_over() {
                over.push(Arc::downgrade(&lease));
                continue;
            }
            let remaining = lease.schedule().ends.remaining();
            lease.tell_left(remaining);
            if remaining.is_zero() {
                // By itself: zeroing waits for readers, and other leases do not.
                in_thread(move || drop(lease.check()));
            } else {
                next = next.min(remaining);
            }
        }
        leases = live();
        leases.retain(|lease| !over.iter().any(|gone| gone.ptr_eq(lease)));
        leases = LIVE.1.wait_timeout(leases, next).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Does something in a thread of its own, or here where there is none to be had.
fn in_thread<F: FnOnce() + Send + 'static>(work: F) {
    let work = Arc::new(Mutex::new(Some(work)));
    let run = |work: &Mutex<Option<F>>| {
        let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            work();
        }
    };
    let theirs = Arc::clone(&work);
    if thread::Builder::new().spawn(move || run(&theirs)).is_err() {
        run(&work);
    }
}

/// From now on SIGTERM, SIGINT and SIGHUP zero the keys and plaintext of all leases of this process,
/// tell the vault, and end the process with 128 plus the signal's number (143 for SIGTERM); a signal
/// that the process was started to ignore stays ignored. For programs that handle no signals
/// themselves: a handler that is installed later takes the signal's place.
///
/// Readers have three seconds to let go of guards, and the vault to be told; then the process ends
/// all the same, and the kernel clears what is left before it gives the pages to anybody else.
///
/// # Errors
/// [`Error::File`] if the kernel takes no handler, or `/proc/self/status` cannot be read.
pub fn zero_on_termination() -> Result<(), Error> {
    let failed = |source| Error::File { path: PathBuf::from("/proc/self/status"), source };
    let ignored = ignored_signals(&fs::read_to_string("/proc/self/status").map_err(failed)?);
    let wanted = [SIGTERM, SIGINT, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(wanted).map_err(failed)?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            end_all(FAREWELL);
            low_level::exit(128 + signal);
        }
    };
    thread::Builder::new().name("termination".to_owned()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// Ends every lease, and waits for that no longer than `patience`.
fn end_all(patience: Duration) {
    let leases: Vec<Arc<Inner>> = live().iter().filter_map(Weak::upgrade).collect();
    let (sender, receiver) = mpsc::channel::<()>();
    for lease in leases {
        let sender = sender.clone();
        in_thread(move || {
            // Zeroes first. That the vault did not hear of it is no reason to stay.
            drop(lease.end());
            drop(sender);
        });
    }
    drop(sender);
    // Nothing is sent: it ends when the last sender is gone.
    if receiver.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
        tracing::warn!("a reader still holds plaintext, or the vault does not answer: ending all the same");
    }
}

/// The mask of ignored signals, bit 0 for signal 1.
fn ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        boottime::Moment,
        lease::{LeaseOver, Schedule, tests::held},
        pinned::tests::Vault,
    };
    use std::time::Instant;

    /// `is_over` does not look at the clock: whoever made it so was the watch.
    fn wait_until_over(lease: &Inner) {
        let start = Instant::now();
        while !lease.is_over() {
            assert!(start.elapsed() < Duration::from_secs(20), "nobody zeroed an expired lease");
            thread::yield_now();
        }
    }

    #[test]
    fn a_lease_that_nobody_looks_at_is_zeroed_when_its_time_is_over() {
        let (short, long) = (held(&Vault::new(1), 1), held(&Vault::new(1), 60));
        assert!(!short.inner.is_over());
        wait_until_over(&short.inner);
        assert_eq!(short.check(), Err(LeaseOver::Expired));
        assert!(!long.inner.is_over());
        // Shortened: nobody tells the watch, and it finds out.
        *long.inner.schedule() = Schedule::new(Moment::now(), 0, 0, 0);
        wait_until_over(&long.inner);
    }

    #[test]
    fn ignored_signals_are_read() {
        let mask = ignored_signals("Name:\tx\nSigIgn:\t0000000000001001\n");
        assert_eq!(mask, 1 | 1 << 12);
        assert_eq!(ignored_signals(""), 0);
    }
}
