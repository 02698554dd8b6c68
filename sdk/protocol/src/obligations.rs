//! What a release obliges its holder to do: a closed set, so that an obligation nobody
//! understands refuses the release instead of being passed over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The longest lease, seconds: a week.
pub const LONGEST_LEASE: u64 = 7 * 24 * 3600;

/// One protection that the holder must have for keys and plaintext, or not open at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Keys lie in pages that the kernel itself cannot read (`memfd_secret`); locked anonymous
    /// pages do not satisfy it.
    SecretKeyPages,
    /// Keys and plaintext are locked in memory.
    NoSwap,
    /// Keys and plaintext are left out of core dumps.
    NoCoreDump,
    /// Keys and plaintext are not inherited by child processes.
    NoInheritance,
    /// The process cannot be traced by others of the same user.
    NoTrace,
    /// Keys and plaintext are zeroed when the lease ends.
    ZeroOnEnd,
}

/// What policy obliges the holder to do. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Obligations {
    /// Seconds that the lease lives, 1 to [`LONGEST_LEASE`].
    pub lease_seconds: u64,
    /// Seconds after which to prove possession.
    pub renew_after: u64,
    /// Seconds after which only fresh evidence will do.
    pub reattest_after: u64,
    /// Protections that must be there.
    pub handling: BTreeSet<Protection>,
    /// Whether plaintext may be written to a disk on the user's explicit wish.
    pub plaintext_to_disk: bool,
}

impl Obligations {
    /// Whether the times make sense: `1 <= renew_after <= reattest_after <= lease_seconds <= LONGEST_LEASE`.
    pub fn times_are_ordered(&self) -> bool {
        1 <= self.renew_after
            && self.renew_after <= self.reattest_after
            && self.reattest_after <= self.lease_seconds
            && self.lease_seconds <= LONGEST_LEASE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = r#"{"lease_seconds":3600,"renew_after":60,"reattest_after":900,"handling":["no_swap"],"plaintext_to_disk":false}"#;

    #[test]
    fn an_obligation_that_nobody_knows_is_refused() {
        let given: Obligations = serde_json::from_str(GIVEN).unwrap();
        assert_eq!(serde_json::to_string(&given).unwrap(), GIVEN);
        for (from, to) in [("no_swap", "no_such"), ("{\"lease", "{\"watermark\":true,\"lease"), ("3600", "-1")] {
            let wrong = GIVEN.replacen(from, to, 1);
            assert!(serde_json::from_str::<Obligations>(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_out_of_order_are_seen() {
        let with = |lease_seconds, renew_after, reattest_after| {
            let given = serde_json::from_str::<Obligations>(GIVEN).unwrap();
            Obligations { lease_seconds, renew_after, reattest_after, ..given }.times_are_ordered()
        };
        assert!(with(10, 10, 10));
        assert!(with(LONGEST_LEASE, 1, 2));
        assert!(!with(LONGEST_LEASE + 1, 1, 2));
        assert!(!with(10, 0, 5));
        assert!(!with(10, 6, 5));
        assert!(!with(10, 1, 11));
    }
}
