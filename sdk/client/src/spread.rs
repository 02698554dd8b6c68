//! When to ask: spread, so that those who began together do not come together, and do not keep
//! knocking together at a door that is shut.

use ring::rand::{SecureRandom, SystemRandom};
use std::time::Duration;
use strongroom_protocol::{LeaseId, sha256};

/// The shortest pause after a failure.
const SHORTEST: Duration = Duration::from_millis(200);
/// The longest pause after the first failure; it doubles with each.
const FIRST: Duration = Duration::from_secs(1);
/// The longest of all.
const LONGEST: Duration = Duration::from_secs(30);

/// A place in a window of time, in parts of 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// The lease's own place, so that leases of one moment are spread evenly over the window, whatever
    /// their random numbers are worth; and up to an eighth of the window on, drawn each time, so that no
    /// two leases stay together for ever.
    pub(crate) fn of(lease: LeaseId, drawn: u32) -> Self {
        let digest = sha256(&[b"strongroom/spread".as_slice(), lease.as_array()].concat());
        let own = digest.iter().take(4).fold(0, |own: u32, byte| own << 8 | u32::from(*byte));
        Self(own.wrapping_add(drawn >> 3))
    }

    /// This place in a window.
    pub(crate) fn within(self, window: Duration) -> Duration {
        let nanos = (window.as_nanos() * u128::from(self.0)) >> 32;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Random bits that nothing secret rests on; without any, the lease's own place has to do.
pub(crate) fn draw() -> u32 {
    let mut drawn = [0; 4];
    match SystemRandom::new().fill(&mut drawn) {
        Ok(()) => u32::from_le_bytes(drawn),
        Err(_) => 0,
    }
}

/// Pauses after failures: doubling, with jitter, and never more than half of the time that is left.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The pause after one more failure.
    pub(crate) fn pause(&mut self, left: Duration, drawn: u32) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST).min(left / 2);
        self.failures = self.failures.saturating_add(1);
        let half = ceiling / 2;
        (half + Place(drawn).within(half)).max(SHORTEST)
    }

    /// It went well.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(n: u32) -> LeaseId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        id.into()
    }

    /// How many of these places fall into each tenth of a window.
    fn tenths(places: impl Iterator<Item = Place>) -> [u32; 10] {
        let mut tenths = [0; 10];
        for place in places {
            tenths[usize::try_from(place.within(Duration::from_secs(10)).as_secs()).unwrap()] += 1;
        }
        tenths
    }

    #[test]
    fn leases_of_one_moment_are_spread_over_the_window() {
        // Whether or not there is any randomness; ids may even follow one another.
        for drawn in [0, u32::MAX] {
            let tenths = tenths((0..10_000).map(|n| Place::of(lease(n), drawn)));
            println!("of 10,000 leases, in each tenth of the window: {tenths:?}");
            assert!(tenths.iter().all(|count| (850..=1150).contains(count)), "{tenths:?}");
        }
    }

    #[test]
    fn a_lease_keeps_near_its_place_and_not_on_it() {
        let (window, id) = (Duration::from_secs(80), lease(7));
        let at = |drawn| Place::of(id, drawn).within(window).as_secs_f64();
        assert!((at(0) - Place::of(id, 0).within(window).as_secs_f64()).abs() < f64::EPSILON, "it is the lease's own");
        let moved = (at(u32::MAX) - at(0)).rem_euclid(80.0);
        assert!((9.99..=10.0).contains(&moved), "an eighth of the window: {moved}");
        assert_ne!(Place::of(id, 0), Place::of(lease(8), 0));
    }

    #[test]
    fn a_place_is_within_its_window() {
        let window = Duration::from_hours(1);
        assert_eq!(Place(0).within(window), Duration::ZERO);
        assert!(Place(u32::MAX).within(window) < window);
        assert_eq!(Place(1 << 31).within(window), window / 2);
        assert_eq!(Place(u32::MAX).within(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_leave_time_for_another_attempt() {
        let far = Duration::from_hours(1);
        let mut most = BackOff::default();
        let pauses: Vec<_> = (0..8).map(|_| most.pause(far, u32::MAX).as_secs_f64().round()).collect();
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        let mut least = BackOff::default();
        let pauses: Vec<_> = (0..4).map(|_| least.pause(far, 0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000]);
        assert!(least.pause(Duration::from_secs(3), u32::MAX) <= Duration::from_millis(1500));
        assert_eq!(least.pause(Duration::ZERO, u32::MAX), SHORTEST);
        least.reset();
        assert_eq!(least.pause(far, 0).as_millis(), 500);
    }

    #[test]
    fn a_herd_that_failed_together_comes_back_spread() {
        let pauses = (0..10_000_u32).map(|n| {
            // The draws of a uniform source, evenly.
            let drawn = n.wrapping_mul(429_497);
            BackOff { failures: 5 }.pause(Duration::from_hours(1), drawn)
        });
        let mut tenths = [0; 10];
        for pause in pauses {
            // Between 15 and 30 seconds.
            tenths[usize::try_from((pause.as_millis() - 15_000) / 1500).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (900..=1100).contains(count)), "{tenths:?}");
    }
}
