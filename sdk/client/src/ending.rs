//! Telling a job that its lease is about to end, so that it can write a checkpoint and leave.
//!
//! Whoever is told runs in a thread of its own. Nothing waits for it: keys and plaintext go when they
//! have to, whether it returns, hangs or panics.

use crate::{Lease, lease::Inner, lease::LeaseOver};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// What is told of a lease that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why it is over: keys and plaintext are gone or going. None while it lives: nothing has prolonged
    /// it so far, as when the vault cannot be reached, and it is over when the time left is.
    pub over: Option<LeaseOver>,
    /// The time left; zero once it is over.
    pub left: Duration,
}

type Callback = Arc<dyn Fn(Ending) + Send + Sync>;

/// Who wants to be told.
#[derive(Default)]
pub(crate) struct Endings(Mutex<Vec<Hook>>);

struct Hook {
    before: Duration,
    call: Callback,
    /// Whether it was told that the lease is about to expire, and nothing prolonged the lease since.
    told: bool,
}

impl Lease {
    /// Has `callback` called when the lease is about to end: `before` its expiry unless something
    /// prolongs it in time, and once more when it is over, with the reason. A revocation leaves no time:
    /// then the second call is the only one. Of an end by its own holder nobody is told.
    ///
    /// Each call is made in a thread of its own, and nothing waits for it. If the lease is prolonged
    /// after a first call, the next time that it is about to expire is told again. `before` counts for
    /// half of the lease's life at the most; it is kept to half a second.
    pub fn on_ending(&self, callback: impl Fn(Ending) + Send + Sync + 'static, before: Duration) {
        let before = before.min(self.inner.schedule().life() / 2);
        self.inner.endings().hooks().push(Hook { before, call: Arc::new(callback), told: false });
        // It may have ended before anybody could be told.
        if let Err(over) = self.inner.check() {
            self.inner.endings().over(&over);
        }
    }
}

impl Inner {
    /// Tells whoever wants to know it now that so much time is left.
    pub(crate) fn tell_left(&self, left: Duration) {
        self.endings().expiring(left);
    }
}

impl Endings {
    fn hooks(&self) -> MutexGuard<'_, Vec<Hook>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expiring(&self, left: Duration) {
        for hook in self.hooks().iter_mut() {
            let due = left <= hook.before;
            if due && !hook.told {
                call(&hook.call, Ending { over: None, left });
            }
            hook.told = due;
        }
    }

    /// Tells everybody, once.
    pub(crate) fn over(&self, over: &LeaseOver) {
        let hooks = std::mem::take(&mut *self.hooks());
        if *over == LeaseOver::Ended {
            return;
        }
        for hook in hooks {
            call(&hook.call, Ending { over: Some(over.clone()), left: Duration::ZERO });
        }
    }
}

fn call(callback: &Callback, ending: Ending) {
    let callback = Arc::clone(callback);
    let thread = thread::Builder::new().name("lease-ending".to_owned()).spawn(move || callback(ending));
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread to tell that the lease ends");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        boottime::Moment,
        lease::{Schedule, tests::held},
        pinned::tests::Vault,
    };
    use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

    const SOON: Duration = Duration::from_secs(20);

    /// A lease of a minute, and what is told of it.
    fn told(before: Duration) -> (Lease, Receiver<Ending>) {
        let (sender, receiver) = mpsc::channel();
        let lease = held(&Vault::new(1), 60);
        // Nobody listens any more where a test is over.
        lease.on_ending(move |ending| drop(sender.send(ending)), before);
        (lease, receiver)
    }

    /// What was told by now: all who could tell more are gone.
    fn all(told: &Receiver<Ending>) -> Vec<Ending> {
        std::iter::from_fn(|| told.recv_timeout(SOON).ok()).collect()
    }

    #[test]
    fn a_revocation_is_told_with_its_reason_once() {
        let (lease, told) = told(Duration::from_secs(10));
        let over = LeaseOver::Revoked(Some("incident 17".into()));
        lease.inner.finish(over.clone());
        lease.inner.finish(LeaseOver::Expired);
        drop(lease);
        assert_eq!(all(&told), [Ending { over: Some(over), left: Duration::ZERO }]);
    }

    #[test]
    fn the_holders_own_end_is_told_to_nobody() {
        let (lease, told) = told(Duration::from_secs(10));
        drop(lease);
        assert_eq!(told.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn what_is_about_to_expire_is_told_again_only_after_it_was_prolonged() {
        let (sender, told) = mpsc::channel();
        let endings = Endings::default();
        let hook = Hook { before: Duration::from_secs(10), call: Arc::new(move |e| drop(sender.send(e))), told: false };
        endings.hooks().push(hook);
        for seconds in [11, 10, 9, 30, 8] {
            endings.expiring(Duration::from_secs(seconds));
        }
        endings.over(&LeaseOver::Expired);
        let mut tellings = all(&told);
        // Each came from a thread of its own.
        tellings.sort_by_key(|ending| std::cmp::Reverse(ending.left));
        let soon = |left| Ending { over: None, left: Duration::from_secs(left) };
        let over = Ending { over: Some(LeaseOver::Expired), left: Duration::ZERO };
        assert_eq!(tellings, [soon(10), soon(8), over]);
    }

    #[test]
    fn before_is_half_of_a_life_at_the_most() {
        let lease = held(&Vault::new(1), 60);
        for (wanted, counts) in [(3600, 30), (31, 30), (29, 29)] {
            lease.on_ending(|_| (), Duration::from_secs(wanted));
            assert_eq!(lease.inner.endings().hooks().pop().map(|h| h.before), Some(Duration::from_secs(counts)));
        }
    }

    #[test]
    fn the_watch_tells_in_time() {
        let (lease, told) = told(Duration::from_secs(10));
        // Nobody prolongs it: two seconds from now it is over.
        *lease.inner.schedule() = Schedule::new(Moment::now(), 2, 1, 1);
        let first = told.recv_timeout(SOON).unwrap();
        assert!(first.over.is_none() && first.left <= Duration::from_secs(2) && !first.left.is_zero(), "{first:?}");
        let last = told.recv_timeout(SOON).unwrap();
        assert_eq!(last, Ending { over: Some(LeaseOver::Expired), left: Duration::ZERO });
    }

    #[test]
    fn who_comes_too_late_is_told_at_once() {
        let lease = held(&Vault::new(1), 60);
        lease.inner.finish(LeaseOver::Expired);
        let (sender, told) = mpsc::channel();
        lease.on_ending(move |ending| drop(sender.send(ending)), Duration::ZERO);
        assert_eq!(told.recv_timeout(SOON).unwrap().over, Some(LeaseOver::Expired));
    }

    #[test]
    fn a_hook_that_panics_or_hangs_stops_nothing() {
        let lease = held(&Vault::new(1), 60);
        let (hold, held_up) = mpsc::channel::<()>();
        let held_up = Mutex::new(held_up);
        lease.on_ending(|_| panic!("a hook of a test panics"), Duration::ZERO);
        lease.on_ending(move |_| held_up.lock().unwrap().recv().unwrap_or_default(), Duration::ZERO);
        let (sender, told) = mpsc::channel();
        lease.on_ending(move |ending| drop(sender.send(ending)), Duration::ZERO);
        lease.inner.finish(LeaseOver::Expired);
        assert!(lease.inner.is_over(), "the keys are gone while a hook hangs");
        assert_eq!(told.recv_timeout(SOON).unwrap().over, Some(LeaseOver::Expired));
        drop(hold);
    }
}
