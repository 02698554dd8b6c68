//! What is demanded of protected memory.

/// What is demanded of protected memory. The default demands everything.
///
/// Guard pages, exclusion from core dumps and from forked children, and zeroing are never up for
/// discussion; [`Weakening`] lists what is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protection {
    /// Where keys may lie.
    pub key_pages: KeyPagesPreference,
    accepted: Vec<Weakening>,
}

/// Which kind of key pages to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyPagesPreference {
    /// `memfd_secret(2)` where the kernel has it, otherwise locked anonymous pages and a warning.
    #[default]
    Best,
    /// `memfd_secret(2)` or an error.
    MemfdSecret,
    /// Locked anonymous pages, which root can read. For systems that hibernate (the kernel refuses
    /// to while a `memfd_secret` lives), and for tests.
    LockedAnonymous,
}

/// A protection that can be done without, if somebody says so. Where it can be had all the same,
/// it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Weakening {
    /// The arena may be unlocked: plaintext can reach swap. Key pages are locked in any case.
    UnlockedMemory,
}

impl Weakening {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::UnlockedMemory];

    /// The stable name that the ledger keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnlockedMemory => "unlocked_memory",
        }
    }
}

impl Protection {
    /// Accepts memory without this protection. The ledger will say so.
    #[must_use]
    pub fn accepting(mut self, weakening: Weakening) -> Self {
        if !self.accepts(weakening) {
            self.accepted.push(weakening);
            self.accepted.sort_unstable();
        }
        self
    }

    /// Takes other key pages than the best that there are.
    #[must_use]
    pub fn with_key_pages(mut self, preference: KeyPagesPreference) -> Self {
        self.key_pages = preference;
        self
    }

    /// Stable names of what was given up, sorted, for `Handling::weakened`; empty as a rule. It
    /// names what was accepted, whether or not a machine then made use of it.
    pub fn weakened(&self) -> Vec<&'static str> {
        self.accepted.iter().map(|weakening| weakening.as_str()).collect()
    }

    /// True if memory without this protection is accepted.
    pub fn accepts(&self, weakening: Weakening) -> bool {
        self.accepted.contains(&weakening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_gives_nothing_up() {
        let default = Protection::default();
        assert!(default.weakened().is_empty());
        assert!(Weakening::ALL.into_iter().all(|weakening| !default.accepts(weakening)));
        assert_eq!(default.key_pages, KeyPagesPreference::Best);
    }

    #[test]
    fn what_is_given_up_has_a_stable_name_and_counts_once() {
        let weak = Protection::default().accepting(Weakening::UnlockedMemory).accepting(Weakening::UnlockedMemory);
        assert_eq!(weak.weakened(), ["unlocked_memory"]);
    }
}
