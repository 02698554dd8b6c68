//! How often may be asked: one bucket of tokens for each user, and one for all together.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Users whose buckets are remembered; a full bucket needs no memory.
const USERS: usize = 1024;

/// Requests a minute. A bucket holds a minute's worth, so that the ranks of a job may start together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// Of one user.
    pub(crate) user: u32,
    /// Of all users together.
    pub(crate) all: u32,
}

/// Buckets and how full they are.
pub(super) struct Quota {
    rates: Rates,
    users: HashMap<u32, Bucket>,
    all: Bucket,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, rate: u32, now: Instant) {
        let most = f64::from(rate);
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * most / 60.0;
        self.tokens = (self.tokens + gained).min(most);
        self.at = now;
    }

    /// How long until there is a token.
    fn wait(self, rate: u32) -> Option<Duration> {
        // The small part that rounding may have taken is not waited for.
        let missing = 1.0 - self.tokens - 1e-6;
        (missing > 0.0).then(|| Duration::from_secs_f64(missing * 60.0 / f64::from(rate.max(1))))
    }
}

impl Quota {
    pub(super) fn new(rates: Rates, now: Instant) -> Self {
        let all = Bucket { tokens: f64::from(rates.all), at: now };
        Self { rates, users: HashMap::new(), all }
    }

    /// Takes a token, or says after what time there will be one. Who has none takes none from the others.
    pub(super) fn take(&mut self, uid: u32, now: Instant) -> Result<(), Duration> {
        self.all.refill(self.rates.all, now);
        let rate = self.rates.user;
        if self.users.len() >= USERS && !self.users.contains_key(&uid) {
            self.users.retain(|_, bucket| {
                bucket.refill(rate, now);
                bucket.tokens < f64::from(rate)
            });
            if self.users.len() >= USERS {
                return Err(Duration::from_secs(1));
            }
        }
        let user = self.users.entry(uid).or_insert(Bucket { tokens: f64::from(rate), at: now });
        user.refill(rate, now);
        if let Some(wait) = user.wait(rate).or_else(|| self.all.wait(self.rates.all)) {
            return Err(wait);
        }
        user.tokens -= 1.0;
        self.all.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_user_has_a_minutes_worth_at_once_and_then_so_many_a_minute() {
        let now = Instant::now();
        let mut quota = Quota::new(Rates { user: 60, all: 1000 }, now);
        for _ in 0..60 {
            quota.take(1, now).unwrap();
        }
        let wait = quota.take(1, now).unwrap_err();
        assert!(wait <= SECOND && wait > SECOND / 2, "{wait:?}");
        // Another user is not touched by it.
        quota.take(2, now).unwrap();
        quota.take(1, now + SECOND).unwrap();
        assert!(quota.take(1, now + SECOND).is_err());
        let later = now + 600 * SECOND;
        let taken = (0..100).filter(|_| quota.take(1, later).is_ok()).count();
        assert_eq!(taken, 60, "a bucket holds no more than it holds");
    }

    #[test]
    fn all_together_have_a_bound_and_who_is_refused_takes_nothing() {
        let now = Instant::now();
        let mut quota = Quota::new(Rates { user: 2, all: 3 }, now);
        quota.take(1, now).unwrap();
        quota.take(1, now).unwrap();
        for _ in 0..10 {
            assert!(quota.take(1, now).is_err());
        }
        quota.take(2, now).unwrap();
        assert!(quota.take(3, now).is_err(), "the fourth of three");
    }

    #[test]
    fn users_without_end_take_no_memory_without_end() {
        let now = Instant::now();
        let mut quota = Quota::new(Rates { user: 60, all: 1_000_000 }, now);
        for uid in 0..5000 {
            let _ = quota.take(uid, now);
        }
        assert!(quota.users.len() <= USERS);
        // Those that are full again are forgotten.
        quota.take(9999, now + 600 * SECOND).unwrap();
        assert_eq!(quota.users.len(), 1);
    }
}
