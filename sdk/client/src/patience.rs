//! How long a request, or all of a command, may wait for a vault that is busy or away, and who is told
//! meanwhile.

use crate::{Error, transport::Pause};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Shortest pause that is worth telling of.
const WORTH_TELLING: Duration = Duration::from_secs(1);
/// Least time that an attempt gets, however little patience is left.
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);
/// The same where requests share their patience: the first attempt of a later one is to have a chance.
const LEAST_SHARED: Duration = Duration::from_secs(5);

/// The bound of waiting: over all attempts at one request and the pauses between them, whatever
/// the vault's `Retry-After` asks for. The default is one minute, and tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the start of the first attempt. When the next one could not begin within it, the request
    /// ends with [`Error::PatienceOver`]. Ends and renewals of leases are tried six times at the most:
    /// nobody is held up by them.
    pub total: Duration,
    /// Called before each pause of a second or more.
    pub tell: Option<fn(&Waiting<'_>)>,
    /// Where requests share this patience, as those of one command do: milliseconds that they have
    /// waited so far. Without it each request has the whole of it to itself, which is right for whoever
    /// goes on asking for days.
    pub spent: Option<&'static AtomicU64>,
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
        Self { total: Duration::from_mins(1), tell: None, spent: None }
    }
}

impl Patience {
    /// What is left of it after `elapsed`.
    pub(crate) fn left(&self, elapsed: Duration) -> Duration {
        let spent = self.spent.map_or(0, |spent| spent.load(Ordering::Relaxed));
        self.total.saturating_sub(Duration::from_millis(spent)).saturating_sub(elapsed)
    }

    /// A request has waited: an attempt failed, or there was a pause before one that did not.
    pub(crate) fn spend(&self, waited: Duration) {
        if let Some(spent) = self.spent {
            spent.fetch_add(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX >> 8), Ordering::Relaxed);
        }
    }

    /// What the next attempt may take, of `timeout` at the most.
    pub(crate) fn timeout(&self, timeout: Duration, elapsed: Duration) -> Duration {
        let least = if self.spent.is_some() { LEAST_SHARED.min(self.total) } else { Duration::ZERO };
        timeout.min(self.left(elapsed).max(least).max(LEAST_TIMEOUT))
    }

    /// The pause to make after `elapsed`, told if it is worth that; none when patience does not allow what the
    /// vault asked for. Jitter is cut so that the last attempt comes when patience is nearly over.
    pub(crate) fn pause(&self, wanted: Pause, elapsed: Duration, cause: &Error) -> Option<Duration> {
        let left = self.left(elapsed);
        let most = left.checked_sub(LEAST_TIMEOUT).filter(|most| !most.is_zero() && wanted.least <= *most)?;
        let pause = (wanted.least + wanted.jitter).min(most);
        if let Some(tell) = self.tell.filter(|_| pause >= WORTH_TELLING) {
            tell(&Waiting { cause, pause, left });
        }
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_pause_that_does_not_fit_is_not_begun_jitter_is_cut_and_a_short_one_is_not_told() {
        static TOLD: AtomicU32 = AtomicU32::new(0);
        let tell: fn(&Waiting<'_>) = |waiting| {
            assert_eq!((waiting.pause.as_secs(), waiting.left.as_secs()), (4, 5));
            TOLD.fetch_add(1, Ordering::SeqCst);
        };
        let patience = Patience { total: Duration::from_secs(10), tell: Some(tell), spent: None };
        let (cause, five) = (Error::NoRandomness, Duration::from_secs(5));
        let wanted = |seconds, jitter| Pause { least: Duration::from_secs(seconds), jitter };
        let short = Duration::from_millis(999);
        assert_eq!(patience.pause(wanted(0, short), five, &cause), Some(short));
        assert_eq!(TOLD.load(Ordering::SeqCst), 0);
        assert_eq!(patience.pause(wanted(4, Duration::ZERO), five, &cause), Some(Duration::from_secs(4)));
        assert_eq!(TOLD.load(Ordering::SeqCst), 1);
        assert_eq!(patience.pause(wanted(5, Duration::ZERO), five, &cause), None);
        assert_eq!(patience.pause(wanted(0, Duration::ZERO), Duration::from_secs(11), &cause), None);
        assert_eq!(patience.pause(wanted(0, five), Duration::from_millis(9_950), &cause), None);
        // What is left of patience is used, and leaves time for one more attempt.
        let late = Duration::from_millis(9_500);
        assert_eq!(patience.pause(wanted(0, five), late, &cause), Some(Duration::from_millis(400)));
    }

    #[test]
    fn requests_that_share_their_patience_use_it_up_together() {
        static SPENT: AtomicU64 = AtomicU64::new(0);
        let second = Duration::from_secs;
        let shared = Patience { total: second(10), tell: None, spent: Some(&SPENT) };
        let own = Patience { spent: None, ..shared };
        let cause = Error::NoRandomness;
        let wanted = |seconds| Pause { least: second(seconds), jitter: Duration::ZERO };
        assert_eq!(shared.pause(wanted(7), second(1), &cause), Some(second(7)));
        for patience in [&shared, &own] {
            patience.spend(second(8));
        }
        assert_eq!(shared.pause(wanted(2), Duration::ZERO, &cause), None, "8 of 10 seconds are spent");
        assert_eq!(own.pause(wanted(2), Duration::ZERO, &cause), Some(second(2)));
        assert_eq!((shared.left(second(1)), own.left(second(1))), (second(1), second(9)));
        // A later request still has its first attempt, and no more than its timeout for it.
        assert_eq!(shared.timeout(second(30), Duration::ZERO), second(5));
        assert_eq!(shared.timeout(second(3), Duration::ZERO), second(3));
        assert_eq!(own.timeout(second(30), second(9)), second(1));
        assert_eq!(own.timeout(second(30), second(10)), LEAST_TIMEOUT);
    }
}
