//! Long work with Python's lock released: told of on the caller's thread, stopped by its exceptions.

use crate::errors::raise;
use pyo3::prelude::*;
use std::{
    panic,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};
use strongroom::{Error, sealed::Progress};

/// How often the callback is called, and signals are looked at.
const EVERY: Duration = Duration::from_millis(50);

/// How far the work is, and whether it is to stop.
#[derive(Default)]
struct Watch {
    done: AtomicU64,
    stop: AtomicBool,
}

impl Progress for Watch {
    fn advanced(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Does `work` of `total` bytes on a thread of its own. Meanwhile the calling thread calls
/// `callback(done, total)` from time to time, and looks for signals. An exception of either (Ctrl-C
/// too) stops the work, which then leaves nothing behind, and is raised.
pub(crate) fn watched<T: Send>(
    py: Python<'_>,
    total: u64,
    callback: Option<Bound<'_, PyAny>>,
    work: impl FnOnce(&dyn Progress) -> Result<T, Error> + Send,
) -> PyResult<T> {
    if let Some(callback) = &callback {
        callback.call1((0, total))?;
    }
    let watch = Watch::default();
    let kept = callback.as_ref().map(|callback| callback.clone().unbind());
    let (result, interruption) = py.detach(|| {
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel::<()>();
            let worker = scope.spawn(|| {
                // Dropped when the work ends, however it does.
                let _sender = sender;
                work(&watch)
            });
            let mut interruption = None;
            while matches!(receiver.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                if interruption.is_none() {
                    interruption = Python::attach(|py| look(py, kept.as_ref(), &watch, total)).err();
                }
                if interruption.is_some() {
                    watch.stop.store(true, Ordering::Relaxed);
                }
            }
            (worker.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)), interruption)
        })
    });
    if let Some(interruption) = interruption {
        return Err(interruption);
    }
    let result = result.map_err(|error| raise(py, &error))?;
    if let Some(callback) = callback {
        callback.call1((total, total))?;
    }
    Ok(result)
}

fn look(py: Python<'_>, callback: Option<&Py<PyAny>>, watch: &Watch, total: u64) -> PyResult<()> {
    py.check_signals()?;
    if let Some(callback) = callback {
        // What is done twice, as a chunk of which two parts are wanted, is not more than all.
        callback.call1(py, (watch.done.load(Ordering::Relaxed).min(total), total))?;
    }
    Ok(())
}
