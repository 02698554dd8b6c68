//! Operations that end in time, or are given up: libtss2 waits for a TPM's answer without end, its software
//! TPM's TCTI even for a connection, and drivers wait for their host.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// One operation at a time, each on a thread of its own, none waited for longer than a deadline.
#[derive(Debug)]
pub(crate) struct Worker {
    /// True while an operation runs, which may be one that was given up.
    busy: Arc<(Mutex<bool>, Condvar)>,
    deadline: Duration,
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The deadline passed. The thread goes on waiting; what it gets is dropped.
    TimedOut,
    /// No thread could be started, or it panicked.
    NoThread,
}

impl Worker {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { busy: Arc::default(), deadline }
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The same turns, waited for as long as this.
    #[cfg(test)]
    pub(crate) fn with_deadline(&self, deadline: Duration) -> Self {
        Self { busy: Arc::clone(&self.busy), deadline }
    }

    /// Waits for its turn and then for the operation, both within one deadline. As long as an
    /// operation that was given up still hangs, others are not begun: no threads pile up.
    pub(crate) fn run<T: Send + 'static>(&self, operation: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
        let start = Instant::now();
        let turn = Turn::take(&self.busy, self.deadline).ok_or(Lost::TimedOut)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let work = move || {
            let result = operation();
            // Before the result is told: whoever asks next finds it free.
            drop(turn);
            // Nobody may be waiting any more.
            let _ = sender.send(result);
        };
        thread::Builder::new().name("device".to_owned()).spawn(work).map_err(|_| Lost::NoThread)?;
        let left = self.deadline.saturating_sub(start.elapsed());
        receiver.recv_timeout(left).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => Lost::TimedOut,
            mpsc::RecvTimeoutError::Disconnected => Lost::NoThread,
        })
    }
}

/// The right to operate, given back when it is dropped, even by a panic.
struct Turn(Arc<(Mutex<bool>, Condvar)>);

impl Turn {
    fn take(busy: &Arc<(Mutex<bool>, Condvar)>, patience: Duration) -> Option<Self> {
        let (lock, freed) = &**busy;
        let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut held, wait) =
            freed.wait_timeout_while(held, patience, |busy| *busy).unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() && *held {
            return None;
        }
        *held = true;
        drop(held);
        Some(Self(Arc::clone(busy)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (lock, freed) = &*self.0;
        *lock.lock().unwrap_or_else(PoisonError::into_inner) = false;
        freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_given_up_and_nothing_is_begun_beside_it() {
        let worker = Worker::new(Duration::from_millis(50));
        let (end, hang) = mpsc::channel::<()>();
        let (ended, has_ended) = mpsc::channel();
        let hanging = move || {
            let _ = hang.recv();
            let _ = ended.send(());
        };
        assert_eq!(worker.run(hanging), Err(Lost::TimedOut));
        let (begun, has_begun) = mpsc::channel();
        assert_eq!(worker.run(move || begun.send(())).err(), Some(Lost::TimedOut));
        assert!(has_begun.recv().is_err(), "a second operation was begun");
        end.send(()).unwrap();
        has_ended.recv().unwrap();
        let patient = worker.with_deadline(Duration::from_secs(20));
        assert_eq!(patient.run(|| 7), Ok(7));
    }

    #[test]
    fn an_operation_that_panics_is_none_and_blocks_nobody() {
        let worker = Worker::new(Duration::from_secs(20));
        assert_eq!(worker.run(|| -> u8 { panic!("as it is meant") }), Err(Lost::NoThread));
        assert_eq!(worker.run(|| 7), Ok(7));
    }
}
