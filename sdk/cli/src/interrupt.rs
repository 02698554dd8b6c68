//! Signals: an orderly end of work under a lease, and files that reach a limit of their size.

use crate::output::{Exit, Failure};
use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGXFSZ},
    flag,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The first SIGINT or SIGTERM asks the work to stop, which ends its lease and leaves no half-written
/// file; a second one ends the process as if nobody had listened.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Listens from now on, until the process ends.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::new(Exit::Machine, format!("signals cannot be listened to: {e}"));
        let signal = Arc::new(AtomicUsize::new(0));
        for (number, value) in [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)] {
            let again = Arc::new(AtomicBool::new(false));
            // In this order: the first signal finds the flag down, and raises it.
            flag::register_conditional_default(number, Arc::clone(&again)).map_err(failed)?;
            flag::register(number, again).map_err(failed)?;
            flag::register_usize(number, Arc::clone(&signal), value as usize).map_err(failed)?;
        }
        Ok(Self(signal))
    }

    /// Whether somebody asked to stop.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// An error once somebody asked to stop.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let (exit, name) = match self.0.load(Ordering::Relaxed) {
            0 => return Ok(()),
            code if code == Exit::Interrupted as usize => (Exit::Interrupted, "SIGINT"),
            _ => (Exit::Terminated, "SIGTERM"),
        };
        Err(Failure::new(exit, format!("stopped by {name}; the lease was ended, and nothing was written")))
    }
}

/// Makes a write beyond `RLIMIT_FSIZE` an error that can be told, where the signal would kill.
pub(crate) fn survive_file_limits() {
    // Whatever listens keeps the kernel from killing. Where that is refused, it kills as it always did.
    let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}
