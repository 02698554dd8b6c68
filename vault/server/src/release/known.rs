//! What was verified once and is good for many requests: chains of AMD's certificates, manifests of NVIDIA's.
//!
//! Each is kept by a digest of all that it was verified from, of one generation of the endorsements, and no longer
//! than every certificate and list of it holds. A chain is kept only once a report was signed under it: certificates
//! are public, and whoever sends them in ever other company shall not push out those of nodes.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};
use strongroom_attest::{nvidia::VerifiedRim, snp::VerifiedChain};

/// Chains that are kept: one for each chip and TCB.
const CHAINS: usize = 4096;
/// Manifests that are kept: two for each kind of GPU and driver.
const MANIFESTS: usize = 64;

/// An id of NVIDIA's, and SHA-256 of the document.
pub(super) type ManifestKey = (String, [u8; 32]);

/// What is kept.
#[derive(Default)]
pub(crate) struct Known(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    generation: i64,
    chains: HashMap<[u8; 32], Arc<VerifiedChain>>,
    manifests: HashMap<ManifestKey, Arc<VerifiedRim>>,
}

/// Something that holds until a time, Unix seconds.
trait Ends {
    fn until(&self) -> i64;
}

impl Ends for VerifiedChain {
    fn until(&self) -> i64 {
        self.until()
    }
}

impl Ends for VerifiedRim {
    fn until(&self) -> i64 {
        self.validity().1
    }
}

impl Known {
    /// A chain that was verified by the endorsements of this generation, and holds at this time (Unix seconds).
    pub(super) fn chain(&self, generation: i64, key: &[u8; 32], at: i64) -> Option<Arc<VerifiedChain>> {
        self.of(generation, |kept| find(&mut kept.chains, key, at))?
    }

    pub(super) fn keep_chain(&self, generation: i64, key: [u8; 32], chain: Arc<VerifiedChain>, at: i64) {
        self.of(generation, |kept| keep(&mut kept.chains, CHAINS, key, chain, at));
    }

    /// A manifest, likewise.
    pub(super) fn manifest(&self, generation: i64, key: &ManifestKey, at: i64) -> Option<Arc<VerifiedRim>> {
        self.of(generation, |kept| find(&mut kept.manifests, key, at))?
    }

    pub(super) fn keep_manifest(&self, generation: i64, key: ManifestKey, manifest: Arc<VerifiedRim>, at: i64) {
        self.of(generation, |kept| keep(&mut kept.manifests, MANIFESTS, key, manifest, at));
    }

    /// What is kept of a generation: a newer one drops all, and of an older one nothing is kept any more.
    fn of<T>(&self, generation: i64, act: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generation > kept.generation {
            *kept = Kept { generation, ..Kept::default() };
        }
        (generation == kept.generation).then(|| act(&mut kept))
    }
}

fn find<K: Eq + Hash, V: Ends>(kept: &mut HashMap<K, Arc<V>>, key: &K, at: i64) -> Option<Arc<V>> {
    let found = kept.get(key)?;
    if found.until() < at {
        kept.remove(key);
        return None;
    }
    Some(Arc::clone(found))
}

fn keep<K: Clone + Eq + Hash, V: Ends>(kept: &mut HashMap<K, Arc<V>>, most: usize, key: K, value: Arc<V>, at: i64) {
    if kept.len() >= most && !kept.contains_key(&key) {
        kept.retain(|_, kept| kept.until() >= at);
        // The one that ends first goes: whoever brings ever other certificates must not push out all of the others'.
        let first = kept.iter().min_by_key(|(_, kept)| kept.until()).map(|(key, _)| key.clone());
        if let Some(first) = first.filter(|_| kept.len() >= most) {
            kept.remove(&first);
        }
    }
    kept.insert(key, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Until(i64);

    impl Ends for Until {
        fn until(&self) -> i64 {
            self.0
        }
    }

    #[test]
    fn nothing_is_found_past_its_end() {
        let mut kept = HashMap::new();
        keep(&mut kept, 2, 1, Arc::new(Until(10)), 0);
        assert!(find(&mut kept, &1, 10).is_some() && find(&mut kept, &2, 10).is_none());
        assert!(find(&mut kept, &1, 11).is_none() && kept.is_empty(), "and it is kept no longer");
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_has_ended_goes_first() {
        let mut kept = HashMap::new();
        for (key, until) in [(1, 5), (2, 50)] {
            keep(&mut kept, 2, key, Arc::new(Until(until)), 0);
        }
        keep(&mut kept, 2, 3, Arc::new(Until(50)), 6);
        assert!(!kept.contains_key(&1) && kept.len() == 2);
        keep(&mut kept, 2, 3, Arc::new(Until(60)), 6);
        assert_eq!(kept.len(), 2, "the same again takes no room");
        keep(&mut kept, 2, 4, Arc::new(Until(50)), 6);
        assert!(kept.len() == 2 && kept.contains_key(&4), "a new one is kept");
        assert!(kept.contains_key(&3) && !kept.contains_key(&2), "and pushes out the one that ends first, alone");
    }

    #[test]
    fn another_generation_of_endorsements_drops_all() {
        let known = Known::default();
        // Room that was made is a mark: a map that was dropped has none.
        known.of(3, |kept| (kept.chains.reserve(8), kept.manifests.reserve(8)));
        let room = |generation| known.of(generation, |kept| kept.chains.capacity().min(kept.manifests.capacity()));
        assert!(room(3).is_some_and(|room| room >= 8), "of the same generation all stays");
        assert_eq!(room(2), None, "an older one is neither read nor written");
        assert_eq!(room(4), Some(0));
        assert_eq!(room(3), None);
    }
}
