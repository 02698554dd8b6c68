//! How long one request may wait for a vault that is busy or away, and who is told meanwhile.

use crate::Error;
use std::time::Duration;

/// Shortest pause that is worth telling of.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// The bound of waiting: over all attempts at one request and the pauses between them, whatever
/// the vault's `Retry-After` asks for. The default is one minute, and tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the start of the first attempt. When the next one could not begin within it, the request
    /// ends with [`Error::PatienceOver`].
    pub total: Duration,
    /// Called before each pause of a second or more.
    pub tell: Option<fn(&Waiting<'_>)>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Why the last attempt did not succeed.
    pub cause: &'a Error,
    /// How long until the next.
    pub pause: Duration,
    /// How much patience is left before that pause.
    pub left: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { total: Duration::from_mins(1), tell: None }
    }
}

impl Patience {
    /// What is left of it after `elapsed`.
    pub(crate) fn left(&self, elapsed: Duration) -> Duration {
        self.total.saturating_sub(elapsed)
    }

    /// Whether a pause fits into it after `elapsed`; if it does, it is told.
    pub(crate) fn allows(&self, pause: Duration, elapsed: Duration, cause: &Error) -> bool {
        let left = self.left(elapsed);
        if pause >= left {
            return false;
        }
        if let Some(tell) = self.tell.filter(|_| pause >= WORTH_TELLING) {
            tell(&Waiting { cause, pause, left });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_pause_that_does_not_fit_is_not_begun_and_a_short_one_is_not_told() {
        static TOLD: AtomicU32 = AtomicU32::new(0);
        let tell: fn(&Waiting<'_>) = |waiting| {
            assert_eq!((waiting.pause.as_secs(), waiting.left.as_secs()), (4, 5));
            TOLD.fetch_add(1, Ordering::SeqCst);
        };
        let patience = Patience { total: Duration::from_secs(10), tell: Some(tell) };
        let (cause, five) = (Error::NoRandomness, Duration::from_secs(5));
        assert!(patience.allows(Duration::from_millis(999), five, &cause));
        assert_eq!(TOLD.load(Ordering::SeqCst), 0);
        assert!(patience.allows(Duration::from_secs(4), five, &cause));
        assert!(!patience.allows(five, five, &cause));
        assert!(!patience.allows(Duration::ZERO, Duration::from_secs(11), &cause));
        assert_eq!(TOLD.load(Ordering::SeqCst), 1);
    }
}
